"""Reads payments with their timelines, sessions, customers and mitras. Changes mitras."""
