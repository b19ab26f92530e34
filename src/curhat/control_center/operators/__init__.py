"""Operators: their sign-in, the permissions of each role, and the devices on which they are signed in."""
