"""The snapshot `/state`: what a client needs to be back where the journey stands, and from where its stream goes on.

Everything but presence is read in one PostgreSQL snapshot together with the stream's head: a client that applies the
events after `stream.seq` to it sees what a later snapshot says.
"""

from uuid import UUID

from curhat.journeys.schemas import CustomerState, MitraState, StreamPosition
from curhat.kit.database import Database, Transaction
from curhat.kit.identity import Role
from curhat.pairing import cards, views
from curhat.presence import service as presence_service
from curhat.presence.service import Presence
from curhat.realtime import service as realtime
from curhat.sessions import service as sessions


async def customer_state(database: Database, customer_id: UUID) -> CustomerState:
    """A customer's snapshot."""
    await realtime.look(database, "customer", customer_id)  # Begins the stream: a snapshot only reads.
    async with database.transaction(snapshot=True) as tx:
        payment = await views.current_payment(tx, customer_id)
        return CustomerState(
            payment=payment,
            pairing=None if payment is None else payment.pairing,
            session=await sessions.active_session(tx, customer_id),
            extension=None,
            stream=await _position(tx, "customer", customer_id),
            server_now=await tx.fetchval("SELECT curhat_now()"),
        )


async def mitra_state(database: Database, presence: Presence, mitra_id: UUID) -> MitraState:
    """A mitra's snapshot. `presence.connected` is false when presence is unknown."""
    await realtime.look(database, "mitra", mitra_id)
    own = await presence.view(await presence_service.mitra_state(database, mitra_id))
    async with database.transaction(snapshot=True) as tx:
        requests = await cards.open_requests(tx, [mitra_id])
        return MitraState(
            requests=requests.get(mitra_id, []),
            sessions=await sessions.active_mitra_sessions(tx, mitra_id),
            extensions=[],
            presence=own,
            stream=await _position(tx, "mitra", mitra_id),
            server_now=await tx.fetchval("SELECT curhat_now()"),
        )


async def _position(tx: Transaction, role: Role, user_id: UUID) -> StreamPosition:
    head = await realtime.head(tx, role, user_id)
    return StreamPosition(epoch=head.epoch, seq=head.seq)
