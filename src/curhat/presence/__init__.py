"""Presence: who wants to work (intent), who can be reached (leases), and whether anybody is available.

Start at `service.py`; the windows are in `states.py`, what Valkey keeps in `store.py`.
"""
