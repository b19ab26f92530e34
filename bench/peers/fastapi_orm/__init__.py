"""A FastAPI service on SQLAlchemy's async ORM.

The service implements our accept in the style of a good team's first version.

The service does the same work as our product, in its own tables in our PostgreSQL. The service checks the token and the
Idempotency-Key, and takes the locks in a fixed order. Then the service checks the statuses and the deadline, and
updates five rows. The service also writes the session, its end deadline, the status history, four stream events without
gaps, and the answer. Finally, the service commits and publishes to our Valkey. The service has no contracts, metrics or
correlation ids, because the comparison does not cover them.
"""
