"""Deletes accounts, and erases them room by room."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final
from uuid import UUID

import structlog

from curhat.accounts import service as accounts
from curhat.deadlines import service as deadlines
from curhat.deadlines.queries import Deadline
from curhat.deadlines.service import FollowUp
from curhat.journeys import mitras
from curhat.journeys.renaming import PAYMENT_RENAMED
from curhat.kit import idempotency
from curhat.kit.audit import write_audit_entry
from curhat.kit.database import Database, Transaction
from curhat.kit.errors import NotFound
from curhat.kit.identity import Identity, Role
from curhat.kit.pause_points import pause_point
from curhat.notebook import service as notebook
from curhat.notifications import service as notifications
from curhat.payments.errors import JourneyInProgress
from curhat.presence import service as presence
from curhat.privacy.erasure import erasure_list, queries
from curhat.privacy.erasure.erasure_list import ListedErasure, ListError
from curhat.privacy.erasure.queries import Erasure
from curhat.realtime import service as realtime
from curhat.safety.erasure import service as safety
from curhat.sessions import service as sessions

log = structlog.get_logger(__name__)

# Deadline kinds: write the erasure to the list, and erase the rooms.
ERASURE_LIST: Final = "erasure_list"
ERASURE: Final = "erasure"
# The rooms begin at least this time after the deletion. Each process trusts a revoked token for at most 3 s, and a
# request can take some seconds more.
MIN_WAIT_SECONDS: Final = 60
# The other side can report the last session until this time after its end.
REPORTABLE: Final = timedelta(hours=72)
# When the worker tries an interrupted step again. A step that is under way takes less time.
RETRY_SECONDS: Final = 60.0
# When the worker looks again at a text that a report holds.
HOLD_RETRY_SECONDS: Final = 6 * 3600.0
# Streams and stored answers are deleted after one day. The second day covers a worker that was away.
STREAM_DAYS: Final = 2

Room = Callable[[Transaction, Role, UUID], Awaitable[bool]]


# Deleting ------------------------------------------------------------------------------------------------


async def delete_account(
    tx: Transaction, secret_key: bytes, identity: Identity, *, despite_journey: bool = False
) -> list[bytes]:
    """Delete the account of this person at once, and arm its erasure (P.3). Returns the digests of the tokens.

    `despite_journey` is for a restored database, in which the journey of a deleted account can run again. The journey
    then ends by its own deadlines.
    Raises NotFound if the account does not exist or is deleted. Raises JourneyInProgress if the customer has an open
    payment, or the person has a running session.
    """
    role, user_id = identity.role, identity.user_id
    await sessions.hide_texts_of(tx, role, user_id)
    if not await accounts.lock_account(tx, identity):
        raise NotFound
    await pause_point("delete_account.locked")
    if not despite_journey and await queries.has_journey(tx, role=role, user_id=user_id):
        journey = await queries.find_journey(tx, role=role, user_id=user_id)
        if journey.session_id is not None:
            raise JourneyInProgress(session_id=journey.session_id)
        raise JourneyInProgress(payment_id=journey.payment_id)
    trial_used = role == "customer" and await queries.is_trial_used(tx, customer_id=user_id)
    blocked_by = await safety.blockers_of(tx, identity)
    # Another session has perhaps ended between the first statement and the lock.
    await sessions.hide_texts_of(tx, role, user_id)
    if role == "mitra":
        await mitras.intent_changed(tx, user_id, online=False)
        for payment_id in await queries.list_open_payments_for_mitra(tx, mitra_id=user_id):
            await deadlines.arm_now(tx, PAYMENT_RENAMED, payment_id)
    deleted = await accounts.delete_account(tx, identity)
    await notifications.erase(tx, role, user_id)
    await accounts.keep_erased_phone(
        tx, secret_key, role, deleted, trial_used=trial_used, blocked_by=blocked_by
    )
    if role == "mitra":
        presence.announce(tx, [user_id])
    erasure_id = await queries.insert_erasure(tx, role=role, user_id=user_id)
    await write_audit_entry(tx, "system", "account_deleted", role, user_id)
    await deadlines.arm_now(tx, ERASURE_LIST, erasure_id)
    await deadlines.arm_another(tx, ERASURE, [erasure_id], MIN_WAIT_SECONDS)
    await pause_point("delete_account.before_commit")
    return deleted.token_digests


# Erasing -------------------------------------------------------------------------------------------------


class Erasing:
    """The transitions of the two deadlines of an erasure.

    `list_path` is the list outside the database. Without a list, the rooms are erased, but no erasure is finished.
    """

    def __init__(self, database: Database, list_path: Path | None) -> None:
        self._database = database
        self._list_path = list_path

    def by_kind(self) -> Mapping[str, Callable[[Transaction, Deadline], Awaitable[FollowUp | None]]]:
        """Return the transition of each deadline kind."""
        return {ERASURE_LIST: self._list, ERASURE: self._erase}

    async def _list(self, tx: Transaction, deadline: Deadline) -> FollowUp | None:
        """Write the erasure to the list after the commit. A later deadline repeats a lost write."""
        erasure = await queries.lock_erasure(tx, id=deadline.entity_id)
        if erasure is None or erasure.listed_at is not None:
            return None
        await deadlines.arm_another(tx, ERASURE_LIST, [erasure.id], RETRY_SECONDS)
        return partial(write_to_list, self._database, self._list_path, erasure)

    async def _erase(self, tx: Transaction, deadline: Deadline) -> FollowUp | None:
        """Erase the rooms after the commit, if the erasure is due. A later deadline goes on after a crash."""
        erasure = await queries.lock_erasure(tx, id=deadline.entity_id)
        if erasure is None or erasure.erased_at is not None:
            return None
        due_at = await due_time(tx, erasure)
        if due_at is None or due_at > erasure.now:
            wait_seconds = RETRY_SECONDS if due_at is None else (due_at - erasure.now).total_seconds()
            await deadlines.arm_another(tx, ERASURE, [erasure.id], wait_seconds)
            return None
        await deadlines.arm_another(tx, ERASURE, [erasure.id], RETRY_SECONDS)
        return partial(erase_rooms, self._database, erasure)


async def due_time(tx: Transaction, erasure: Erasure) -> datetime | None:
    """Return when the rooms of the erasure can be erased, or None while a session of the account runs."""
    left = await sessions.text_left_of(tx, erasure.role, erasure.user_id)
    if left.is_active:
        return None
    soonest = erasure.deleted_at + timedelta(seconds=MIN_WAIT_SECONDS)
    return soonest if left.ended_at is None else max(soonest, left.ended_at + REPORTABLE)


async def write_to_list(database: Database, path: Path | None, erasure: Erasure) -> None:
    """Append the erasure to the list, and record it. A crash in between repeats the line. Raises ListError."""
    if path is None:
        raise ListError("CURHAT_ERASURE_LIST is not set")
    listed = ListedErasure(role=erasure.role, user_id=str(erasure.user_id), deleted_at=erasure.deleted_at)
    await asyncio.to_thread(erasure_list.append, path, listed)
    await pause_point("erasure.listed")
    async with database.transaction() as tx:
        await queries.mark_listed(tx, id=erasure.id)
        await deadlines.disarm(tx, ERASURE_LIST, erasure.id)


async def _erase_traces(tx: Transaction, role: Role, user_id: UUID) -> bool:
    """Delete what the streams and the stored answers of other people hold of a deleted account."""
    others: Role = "mitra" if role == "customer" else "customer"
    counterparts = await queries.list_counterparts(tx, role=role, user_id=user_id)
    session_ids = await queries.list_sessions_of(tx, role=role, user_id=user_id, days=STREAM_DAYS)
    await realtime.erase_events_about(tx, others, counterparts, user_id, session_ids)
    await idempotency.erase_answers_about(tx, others, counterparts, user_id, session_ids)
    return False


# The rooms, in the order in which the worker erases them. The name is part of the pause point after the room.
ROOMS: Final[Mapping[str, Room]] = {
    "sessions": sessions.erase,
    "safety": safety.erase,
    "notebook": notebook.erase,
    "notifications": notifications.erase,
    "streams": realtime.erase,
    "answers": idempotency.erase,
    "traces": _erase_traces,
    "accounts": accounts.erase,
}


async def erase_rooms(database: Database, erasure: Erasure) -> None:
    """Erase every room, each in transactions of its own, and finish the erasure if nothing is left.

    A text that a report holds is left. Then a later deadline calls this function again.
    """
    for name, erase in ROOMS.items():
        is_left = True
        while is_left:
            async with database.transaction() as tx:
                is_left = await erase(tx, erasure.role, erasure.user_id)
            await pause_point(f"erasure.after_{name}")
    async with database.transaction() as tx:
        locked = await queries.lock_erasure(tx, id=erasure.id)
        if locked is None or locked.erased_at is not None:
            return
        await deadlines.disarm(tx, ERASURE, erasure.id)
        if await _is_held(tx, locked):
            await deadlines.arm_another(tx, ERASURE, [locked.id], HOLD_RETRY_SECONDS)
        elif locked.listed_at is None:
            await deadlines.arm_another(tx, ERASURE, [locked.id], RETRY_SECONDS)
        else:
            await queries.mark_erased(tx, id=locked.id)
            log.info("erasure.finished", erasure_id=str(locked.id))


async def _is_held(tx: Transaction, erasure: Erasure) -> bool:
    """Return whether a text of the account is left, because a report holds it."""
    left = await sessions.text_left_of(tx, erasure.role, erasure.user_id)
    return left.sessions > 0 or await safety.texts_left_of(tx, erasure.role, erasure.user_id) > 0


# After a restore -----------------------------------------------------------------------------------------


async def replay(database: Database, secret_key: bytes, path: Path) -> tuple[int, int]:
    """Delete the accounts of the list again, in a restored database (P.5). Raises ListError.

    Returns how many accounts were deleted, and how many erasures the list has. An account that the restored database
    does not know needs nothing. The erasure of each deleted account begins again, and its rooms that are due are
    erased now.
    """
    listed = {(one.role, UUID(one.user_id)) for one in await asyncio.to_thread(_read_all, path)}
    deleted = 0
    for role, user_id in sorted(listed):
        async with database.transaction() as tx:
            if not await queries.has_account(tx, role=role, user_id=user_id):
                continue
            erasure_id = await queries.find_erasure(tx, role=role, user_id=user_id)
            if erasure_id is None:
                await delete_account(tx, secret_key, Identity(role, user_id), despite_journey=True)
                erasure_id = await queries.find_erasure(tx, role=role, user_id=user_id)
                deleted += 1
            if erasure_id is None:
                raise AssertionError("a deletion inserts its erasure")
            await queries.mark_listed(tx, id=erasure_id)
            erasure = await queries.lock_erasure(tx, id=erasure_id)
            due_at = None if erasure is None else await due_time(tx, erasure)
        # No process serves a restored database, so nobody has a trusted token, and MIN_WAIT_SECONDS need not pass.
        if erasure is None or erasure.erased_at is not None or due_at is None:
            continue
        if due_at <= erasure.now + timedelta(seconds=MIN_WAIT_SECONDS):
            await erase_rooms(database, erasure)
    return deleted, len(listed)


def _read_all(path: Path) -> list[ListedErasure]:
    return list(erasure_list.read(path))
