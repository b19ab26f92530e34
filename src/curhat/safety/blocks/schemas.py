"""The structs of the HTTP API about blocks."""

from datetime import datetime
from uuid import UUID

import msgspec


class Block(msgspec.Struct, frozen=True):
    """A person whom the reader has blocked.

    `session_id` is the session after which the reader blocked. `name` is the display name of the mitra, or the
    call name of the customer.
    """

    session_id: UUID
    name: str
    created_at: datetime


class BlockList(msgspec.Struct, frozen=True):
    """All blocks of the reader, newest first. There are at most 200."""

    items: list[Block]
