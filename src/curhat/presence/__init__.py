"""Presence: which mitras want to work (intent), which mitras are reachable (leases), and whether one is available.

`service.py` states the guarantees. `states.py` has the time limits. `store.py` keeps the leases in Valkey.
"""
