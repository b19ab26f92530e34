"""Reads payments and everything that happened to them, sessions, customers and mitras. Changes mitras."""
