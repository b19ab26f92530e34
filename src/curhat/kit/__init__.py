"""What every package uses: database, clock, ids, errors, settings, idempotency, logging. Imports no package."""
