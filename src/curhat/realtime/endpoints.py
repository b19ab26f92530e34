"""The HTTP operations that issue tickets for sockets. `endpoint.py` serves the sockets."""

from datetime import datetime, timedelta

import msgspec
from litestar import post
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from valkey.asyncio import Valkey

from curhat.kit.database import Database
from curhat.kit.errors import PresenceUnknown
from curhat.kit.http import AnyRequest
from curhat.kit.identity import Identity
from curhat.kit.openapi import MITRA_SIGNED_IN, SIGNED_IN, answers
from curhat.kit.queries import read_clock
from curhat.realtime.tickets import TICKET_LIFETIME_SECONDS, issue_ticket


class RealtimeTicket(msgspec.Struct, frozen=True):
    """A ticket that opens one socket, once. The client adds `?ticket=…` to the URL of the socket."""

    ticket: str
    expires_at: datetime
    server_now: datetime


@post("/api/client/realtime-ticket", responses=answers({201: RealtimeTicket}, *SIGNED_IN, PresenceUnknown))
async def issue_customer_realtime_ticket(
    request: AnyRequest,
    customer: NamedDependency[Identity],
    database: NamedDependency[Database],
    valkey_client: NamedDependency[Valkey],
) -> RealtimeTicket:
    """Issue a ticket for a customer's socket, for clients that cannot set a header.

    The ticket can be used once, within 30 s.
    """
    return await _issue(request, customer, database, valkey_client)


@post(
    "/api/mitra/realtime-ticket", responses=answers({201: RealtimeTicket}, *MITRA_SIGNED_IN, PresenceUnknown)
)
async def issue_mitra_realtime_ticket(
    request: AnyRequest,
    mitra: NamedDependency[Identity],
    database: NamedDependency[Database],
    valkey_client: NamedDependency[Valkey],
) -> RealtimeTicket:
    """Issue a ticket for a mitra's socket, for clients that cannot set a header.

    The ticket can be used once, within 30 s.
    """
    return await _issue(request, mitra, database, valkey_client)


ROUTES: list[HTTPRouteHandler] = [issue_customer_realtime_ticket, issue_mitra_realtime_ticket]


async def _issue(
    request: AnyRequest, identity: Identity, database: Database, valkey_client: Valkey
) -> RealtimeTicket:
    # Read the clock first, so that the ticket lives at least until `expires_at`.
    server_now = await read_clock(database)
    ticket = await issue_ticket(valkey_client, identity, request.state["token_digest"])
    return RealtimeTicket(ticket, server_now + timedelta(seconds=TICKET_LIFETIME_SECONDS), server_now)
