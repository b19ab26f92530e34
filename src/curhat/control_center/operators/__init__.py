"""Operators: how they sign in, what each may do, and the devices they are signed in on."""
