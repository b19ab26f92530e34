"""Reads payments (each with its timeline), sessions, customers and mitras. Changes mitras."""
