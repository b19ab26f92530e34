"""Ids made outside PostgreSQL. Rows get theirs from the database (`uuidv7()`)."""

import uuid


def new_id() -> uuid.UUID:
    """A random id, for what is no row: a request, a connection."""
    return uuid.uuid4()
