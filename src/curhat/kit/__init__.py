"""What every room stands on: database, clock, ids, errors, settings, idempotency, logging. Imports no room."""
