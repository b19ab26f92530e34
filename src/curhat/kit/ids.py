"""Ids made outside PostgreSQL. The ids of rows come from PostgreSQL (`uuidv7()`)."""

import uuid


def new_id() -> uuid.UUID:
    """Return a random id for something that is not a row, such as an HTTP request."""
    return uuid.uuid4()
