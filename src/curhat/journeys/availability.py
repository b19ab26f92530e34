"""Asks presence before a step of a journey.

Ask before the transaction, because no transaction may wait for Valkey.
"""

from uuid import UUID

import msgspec

from curhat.journeys import queries
from curhat.journeys.schemas import MitraStatus, MitraStatusAnswer
from curhat.kit.database import Database, Transaction
from curhat.kit.errors import NotFound, PresenceUnknown
from curhat.presence import service as presence_service
from curhat.presence.queries import MitraState
from curhat.presence.service import Presence


class GateAnswer(msgspec.Struct, frozen=True):
    """The answer of presence just before a payment is opened. None means unknown.

    `available` says whether any mitra may be asked, apart from the mitra whom the payment is for (1.1).
    `mitra_reachable` says whether that mitra may be asked. It is also None if the payment is not for a particular
    mitra.
    """

    available: bool | None
    mitra_reachable: bool | None = None


async def ask_gate(presence: Presence, customer_id: UUID, target_mitra_id: UUID | None) -> GateAnswer:
    """Ask presence about a payment that is about to be opened."""
    if target_mitra_id is None:
        return GateAnswer(await others_available(presence, customer_id))
    return GateAnswer(
        await others_available(presence, customer_id, target_mitra_id),
        await _is_reachable(presence, target_mitra_id),
    )


async def others_available(presence: Presence, *excluded: UUID) -> bool | None:
    """Whether any mitra except these people may be asked now (1.1). Return None if presence is unknown.

    The customer is always excluded. One phone may be both customer and mitra, and must not be paired with itself.
    """
    try:
        available = await presence.count_available()
        if available > len(excluded):
            return True
        for person_id in excluded:
            if available == 0:
                break
            available -= await presence.may_be_asked(person_id)
        return available > 0
    except PresenceUnknown:
        return None


async def candidates_or_none(presence: Presence) -> list[UUID] | None:
    """Return the mitras who may be asked now. Return None if presence is unknown."""
    try:
        return await presence.ask_candidates()
    except PresenceUnknown:
        return None


async def is_connected_or_none(presence: Presence, mitra_id: UUID) -> bool | None:
    """Whether this mitra is connected now (5.6). Return None if presence is unknown."""
    try:
        return await presence.is_connected(mitra_id)
    except PresenceUnknown:
        return None


async def mitra_status(
    database: Database, presence: Presence, customer_id: UUID, mitra_id: UUID
) -> MitraStatusAnswer:
    """Return the status of the mitra of a past chat, for the tap on "Curhat lagi" (3.3, 3.4, 3.6).

    Raises NotFound if this customer never had a session with the mitra. Raises PresenceUnknown.
    """
    async with database.transaction() as tx:
        await refuse_strangers(tx, customer_id, mitra_id)
        state = await presence_service.mitra_state(tx, mitra_id)
    gate = await ask_gate(presence, customer_id, mitra_id)
    if gate.available is None or gate.mitra_reachable is None:
        raise PresenceUnknown
    status = status_of(state, reachable=gate.mitra_reachable)
    return MitraStatusAnswer(status=status, other_available=gate.available)


def status_of(state: MitraState, *, reachable: bool) -> MitraStatus:
    """Return the status that customers see of a mitra in this state."""
    if not state.online or state.suspended:
        return "offline"
    if state.active_sessions >= state.max_customers:
        return "full"
    return "available" if reachable else "offline"


async def refuse_strangers(tx: Transaction, customer_id: UUID, mitra_id: UUID) -> None:
    """Raise NotFound if this customer never had a session with the mitra."""
    if not await queries.had_session_with(tx, customer_id=customer_id, mitra_id=mitra_id):
        raise NotFound


async def _is_reachable(presence: Presence, mitra_id: UUID) -> bool | None:
    try:
        return await presence.may_be_asked(mitra_id)
    except PresenceUnknown:
        return None
