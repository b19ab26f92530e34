"""The code that all packages share: database, errors, settings, idempotency, signals, logging.

This package imports no other package of curhat.
"""
