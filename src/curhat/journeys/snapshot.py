"""Builds the answer of `/state`: everything that a client needs to show the current journey, and a stream position.

The server reads everything except presence in one PostgreSQL snapshot, together with the head of the user's stream.
If a client applies the events after `stream.seq` to this answer, the result equals a newer answer.
"""

from uuid import UUID

import msgspec

from curhat.journeys import paying
from curhat.journeys.schemas import CustomerState, MitraState, StreamPosition
from curhat.kit.database import Database, Transaction
from curhat.kit.identity import Role
from curhat.kit.queries import read_clock
from curhat.pairing import cards, views
from curhat.presence import service as presence_service
from curhat.presence.service import Presence
from curhat.realtime import service as realtime
from curhat.sessions import extension
from curhat.sessions import service as sessions
from curhat.sessions.states import OPEN_EXTENSION_STATUSES


async def customer_state(database: Database, customer_id: UUID) -> CustomerState:
    """Return a customer's snapshot. The caller then calls `with_presence`, which needs no transaction."""
    # Create the stream if it is missing, because the transaction below must not write.
    await realtime.read_head(database, "customer", customer_id)
    async with database.transaction(snapshot=True) as tx:
        payment = await views.current_payment(tx, customer_id)
        session = await sessions.active_session(tx, customer_id)
        latest = None if session is None else session.extension
        is_open = latest is not None and latest.status in OPEN_EXTENSION_STATUSES
        return CustomerState(
            payment=payment,
            pairing=None if payment is None else payment.pairing,
            session=session,
            extension=latest if is_open else None,
            stream=await _position(tx, "customer", customer_id),
            server_now=await read_clock(tx),
        )


async def with_presence(
    database: Database, presence: Presence, customer_id: UUID, state: CustomerState
) -> CustomerState:
    """Return the snapshot. For an open fallback, ask presence whether another mitra can be asked now (3.5)."""
    if state.payment is None:
        return state
    payment = await paying.as_shown(database, presence, customer_id, state.payment)
    return msgspec.structs.replace(state, payment=payment, pairing=payment.pairing)


async def mitra_state(database: Database, presence: Presence, mitra_id: UUID) -> MitraState:
    """Return a mitra's snapshot. `presence.connected` is false if presence is unknown."""
    await realtime.read_head(database, "mitra", mitra_id)
    own = await presence.view(await presence_service.mitra_state(database, mitra_id))
    async with database.transaction(snapshot=True) as tx:
        requests = await cards.open_requests(tx, [mitra_id])
        return MitraState(
            requests=requests.get(mitra_id, []),
            sessions=await sessions.active_mitra_sessions(tx, mitra_id),
            extensions=await extension.open_extensions_of_mitra(tx, mitra_id),
            presence=own,
            stream=await _position(tx, "mitra", mitra_id),
            server_now=await read_clock(tx),
        )


async def _position(tx: Transaction, role: Role, user_id: UUID) -> StreamPosition:
    head = await realtime.read_head(tx, role, user_id)
    return StreamPosition(epoch=head.epoch, seq=head.seq)
