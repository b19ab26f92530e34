"""Before a step of a journey, asks the package `presence` which mitras are connected and can be asked.

Callers use this module before they open a transaction, because no open transaction is allowed to wait for Valkey.
"""

from collections.abc import Awaitable, Collection, Sequence
from typing import TypeVar
from uuid import UUID

import msgspec

from curhat.journeys import queries
from curhat.journeys.schemas import MitraStatus, MitraStatusAnswer
from curhat.kit.database import Database, Transaction
from curhat.kit.errors import NotFound, PresenceUnknown
from curhat.presence import service as presence_service
from curhat.presence.queries import MitraState
from curhat.presence.service import Presence
from curhat.safety.blocks import service as blocks

Answer = TypeVar("Answer")


async def or_none(answer: Awaitable[Answer]) -> Answer | None:
    """Await and return an answer of the package `presence`. Return None if presence is unknown."""
    try:
        return await answer
    except PresenceUnknown:
        return None


class GateAnswer(msgspec.Struct, frozen=True):
    """The answer of the package `presence` just before a payment is opened. None means that presence is unknown.

    `available` says whether at least one mitra other than the chosen mitra can be asked (1.1).
    `mitra_reachable` says whether the chosen mitra can be asked. If the customer chose no mitra, `mitra_reachable` is
    None.
    """

    available: bool | None
    mitra_reachable: bool | None = None


async def ask_gate(
    database: Database, presence: Presence, customer_id: UUID, target_mitra_id: UUID | None
) -> GateAnswer:
    """Ask presence just before a payment is opened. `target_mitra_id` is the chosen mitra, or None.

    A mitra of a block with the customer is not available (T.1).
    """
    blocked = await blocks.blocked_mitras(database, customer_id)
    if target_mitra_id is None:
        return GateAnswer(await others_available(presence, customer_id, *blocked))
    available = await others_available(presence, customer_id, target_mitra_id, *blocked)
    if target_mitra_id in blocked:
        return GateAnswer(available, mitra_reachable=False)
    return GateAnswer(available, await or_none(presence.may_be_asked(target_mitra_id)))


async def others_available(presence: Presence, *excluded: UUID) -> bool | None:
    """Return whether at least one mitra who is not `excluded` can be asked now (1.1).

    Return None if presence is unknown. Callers always exclude the customer, because a customer can also be a mitra, and
    nobody can be paired with themself. Callers also exclude the mitras of a block with the customer (T.1).
    """
    return await or_none(_others_available(presence, set(excluded)))


async def _others_available(presence: Presence, excluded: Collection[UUID]) -> bool:
    available = await presence.count_available()
    if available == 0 or available > len(excluded):
        return available > 0
    if available > await presence.count_among(list(excluded)):
        return True
    presence.believe_no()
    return False


class SomeCandidates(list[UUID]):
    """Mitras who can be asked now, while others can be missing, because Valkey was away or was emptied (record 0103).

    Who is in this list can be asked. Nobody can conclude from this list that a mitra cannot be asked.
    """


async def candidates_or_none(presence: Presence) -> list[UUID] | None:
    """Return the mitras who can be asked now. Return None if presence is unknown.

    If mitras can be missing, return SomeCandidates.
    """
    return await or_none(_candidates(presence))


async def _candidates(presence: Presence) -> list[UUID]:
    candidates = await presence.ask_candidates()
    try:
        presence.believe_no()
    except PresenceUnknown:
        return SomeCandidates(candidates)
    return candidates


async def all_candidates_or_none(presence: Presence) -> list[UUID] | None:
    """Return the mitras who can be asked now. Return None if presence is unknown, or if mitras can be missing.

    A decision that nobody else can be asked needs all mitras.
    """
    candidates = await candidates_or_none(presence)
    return None if isinstance(candidates, SomeCandidates) else candidates


def lacks(candidates: Sequence[UUID] | None, mitra_id: UUID) -> bool:
    """Return whether this mitra certainly cannot be asked. None means that presence is unknown."""
    return (
        candidates is not None and not isinstance(candidates, SomeCandidates) and mitra_id not in candidates
    )


async def is_connected_or_none(presence: Presence, mitra_id: UUID) -> bool | None:
    """Return whether this mitra is connected now (5.6). Return None if presence is unknown."""
    return await or_none(presence.is_connected(mitra_id))


async def mitra_status(
    database: Database, presence: Presence, customer_id: UUID, mitra_id: UUID
) -> MitraStatusAnswer:
    """Return the status of a past chat's mitra, and whether another mitra can be asked (3.3, 3.4, 3.6).

    The client needs this answer when the customer taps "Curhat lagi". If one of the two has blocked the other, the
    mitra is offline for this customer (T.1). Raises NotFound if this customer never had a session with the mitra.
    Raises PresenceUnknown.
    """
    async with database.transaction() as tx:
        await refuse_strangers(tx, customer_id, mitra_id)
        state = await presence_service.mitra_state(tx, mitra_id)
        is_blocked = mitra_id in await blocks.blocked_mitras(tx, customer_id)
        blocked_by_you = is_blocked and await blocks.has_blocked(tx, customer_id, mitra_id)
    gate = await ask_gate(database, presence, customer_id, mitra_id)
    if gate.available is None or gate.mitra_reachable is None:
        raise PresenceUnknown
    status = status_of(state, reachable=gate.mitra_reachable, is_blocked=is_blocked)
    return MitraStatusAnswer(status=status, other_available=gate.available, blocked_by_you=blocked_by_you)


def status_of(state: MitraState, *, reachable: bool, is_blocked: bool) -> MitraStatus:
    """Return the status that a customer sees.

    `reachable` says whether the mitra can be asked. `is_blocked` says whether one of the two has blocked the other: the
    mitra is then offline for this customer, whatever the mitra does (T.1).
    """
    if is_blocked or not state.online or state.suspended:
        return "offline"
    if state.active_sessions >= state.max_customers:
        return "full"
    return "available" if reachable else "offline"


async def refuse_strangers(tx: Transaction, customer_id: UUID, mitra_id: UUID) -> None:
    """Raise NotFound if this customer never had a session with the mitra."""
    if not await queries.had_session_with(tx, customer_id=customer_id, mitra_id=mitra_id):
        raise NotFound
