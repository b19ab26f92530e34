"""A FastAPI service on SQLAlchemy's async ORM with the same accept as ours, as a good team would first write it.

It does the same work in its own tables in the same PostgreSQL. It checks the token and the Idempotency-Key, takes the
locks in one order, compares, and updates five rows. It writes the session, its end, the status history, four stream
events numbered without gaps, and the answer. Then it commits and publishes to the same Valkey. It leaves out
contracts, metrics and correlation ids, which the comparison does not cover.
"""
