"""A FastAPI service on SQLAlchemy's async ORM. It does our accept, as a good team would first write it.

The service does the same work as our product, in its own tables in the same PostgreSQL. It checks the token and the
Idempotency-Key, takes the locks in a fixed order, checks the statuses and the deadline, and updates five rows. It
writes the session, the deadline of the session's end, the status history, four stream events numbered without gaps,
and the answer. Then the service commits and publishes to the same Valkey. It leaves out contracts, metrics and
correlation ids, which the comparison does not cover.
"""
