"""Curhat: a customer who needs to talk, and a real person who listens, within seconds."""
