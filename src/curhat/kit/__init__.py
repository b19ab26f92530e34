"""What every package uses: database, errors, settings, idempotency, signals, logging. Imports no other package."""
