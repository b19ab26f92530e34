"""Tickets for clients that cannot set a header. The socket's URL contains a ticket instead of a long-lived token.

A ticket can be used once, within 30 s. Valkey stores only the digest of a ticket. So a digest from Valkey opens no
socket. A used ticket from a log of URLs opens no socket either.
"""

import asyncio
import hashlib
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import parse_qs

import msgspec
from valkey.asyncio import Valkey
from valkey.exceptions import ValkeyError

from curhat.kit.asgi import Scope
from curhat.kit.errors import PresenceUnknown
from curhat.kit.identity import Identity, Role
from curhat.realtime.hooks import SocketIdentity

TICKET_LIFETIME_SECONDS: Final = 30
VALKEY_TIMEOUT_SECONDS: Final = 1.0


async def issue_ticket(valkey: Valkey, identity: Identity, token_digest: bytes) -> str:
    """Issue a ticket that opens one socket for this user, as long as the user's token is valid.

    Raises PresenceUnknown when Valkey does not answer.
    """
    ticket = secrets.token_urlsafe(32)
    owner = msgspec.msgpack.encode(SocketIdentity(identity, token_digest))
    async with _valkey_may_be_away():
        await valkey.set(_key(ticket), owner, ex=TICKET_LIFETIME_SECONDS)
    return ticket


async def redeem_ticket(valkey: Valkey, role: Role, ticket: str) -> SocketIdentity | None:
    """Use up a ticket and return its owner.

    Returns None if the ticket is unknown, used or expired, or if it belongs to the other role.
    Raises PresenceUnknown when Valkey does not answer.
    """
    async with _valkey_may_be_away():
        stored = await valkey.getdel(_key(ticket))
    if stored is None:
        return None
    owner = msgspec.msgpack.decode(stored, type=SocketIdentity)
    return owner if owner.identity.role == role else None


async def peek_ticket(valkey: Valkey, ticket: str) -> SocketIdentity | None:
    """Return the owner of a ticket without using it up. Returns None if the ticket is unknown, used or expired.

    Raises PresenceUnknown when Valkey does not answer.
    """
    async with _valkey_may_be_away():
        stored = await valkey.get(_key(ticket))
    return None if stored is None else msgspec.msgpack.decode(stored, type=SocketIdentity)


def ticket_in(scope: Scope) -> str | None:
    """Return the ticket in the URL of a socket's handshake, or None."""
    tickets = parse_qs(scope["query_string"].decode("latin-1")).get("ticket")
    return tickets[0] if tickets else None


@asynccontextmanager
async def _valkey_may_be_away() -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(VALKEY_TIMEOUT_SECONDS):
            yield
    except (ValkeyError, OSError):
        raise PresenceUnknown from None


def _key(ticket: str) -> str:
    return "curhat:realtime-ticket:" + hashlib.sha256(ticket.encode()).hexdigest()
