"""Knows which mitras want to work (intent), which are reachable (leases), and whether any is available.

`service.py` states the guarantees. `states.py` has the time limits. `store.py` keeps the leases in Valkey.
"""
