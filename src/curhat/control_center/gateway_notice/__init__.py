"""Tells the Control Center whether payments move money, so that every screen can warn operators who think they do."""
