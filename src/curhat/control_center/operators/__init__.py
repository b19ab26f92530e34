"""Operators: how they sign in, what each role may do, and the devices that they are signed in on."""
