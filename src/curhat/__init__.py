"""Curhat connects a customer who needs to talk with a real person who listens, within seconds."""
