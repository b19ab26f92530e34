"""Presence: which mitras want to work (intent), which can be reached (leases), and whether any mitra is available.

`service.py` states the guarantees. `states.py` has the time limits. `store.py` keeps the leases in Valkey.
"""
