"""A FastAPI service on SQLAlchemy's async ORM that accepts a request as ours does: what a good team writes first.

It does the same work, in tables of its own in the same PostgreSQL: checks the token and the Idempotency-Key, takes the
locks in one order, compares, moves five rows, writes the session, its end, the status history, four stream events
numbered without gaps and the answer, commits, and publishes to the same Valkey. It leaves out what the ORM would not
make slower or faster to show: contracts, metrics, request ids.
"""
