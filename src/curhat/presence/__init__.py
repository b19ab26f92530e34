"""Presence: who wants to work (intent), who can be reached (leases), and whether any mitra is available.

`service.py` states the guarantees. The time windows are in `states.py`. `store.py` keeps the leases in Valkey.
"""
