"""Tells the Control Center whether payments move money, so that every screen can warn operators of a mock."""
