"""Computes from measured constants which machines a number of running sessions needs, and which limit comes first."""
