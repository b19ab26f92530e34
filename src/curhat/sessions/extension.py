"""Extensions of running sessions. The customer pays when an extension is approved (section 5).

Functions that take a transaction never commit it.

Guarantees:
    The terms are fixed when the customer asks. A session has at most one open extension.
    An extension is decided once. The mitra decides, or the default action decides if the mitra does not answer in time.
    If the mitra is not connected or the session ended, the extension is rejected.
    An approved extension is charged once. A rejected extension is never charged. The gateway has CHARGE_TIMEOUT_SECONDS
    to approve the charge. If the gateway approves the charge after CHARGE_TIMEOUT_SECONDS, the service refunds the
    charge. After an approval in time, the session's new end is the old end plus the extension's duration.
    While an extension is open, the session does not end by time. When the extension closes, the deadline of the
    session's end is armed again.
Concurrency:
    Every step first locks the session. The step that sets the toggle to offline is an exception, because this step
    already holds the lock of the mitra's row.
    Step 1: The step sets `mitra_went_offline` on the pending extensions. After step 1, nobody can approve these
    extensions.
    Step 2: A worker locks the sessions of these extensions and rejects the extensions, in another transaction.
    A decision checks `mitra_went_offline`, so each decision locks the session and then the extension.
    A step with several extensions first locks all their sessions in id order, and then the extensions in id order.
Relies on:
    The package `presence` says whether a mitra is connected, and when the mitra's frames came. Callers ask presence
    before they take any lock. When the default action decides, a mitra with unknown presence counts as disconnected
    (5.6). The class ExtensionPings pings the mitra of a pending extension every second. Without these pings, a
    connected mitra sends too few frames, so the default action approves nothing.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal, NamedTuple
from uuid import UUID

import structlog

from curhat.configuration import service as configuration
from curhat.configuration.definitions import DefaultAction
from curhat.deadlines import service as deadlines
from curhat.kit.database import Database, Transaction
from curhat.kit.errors import NotFound
from curhat.kit.pause_points import pause_point
from curhat.payments import service as payments
from curhat.payments.gateway import ChargeAnswer
from curhat.payments.service import Charge, ChargeOutcome
from curhat.presence.states import COME_BACK_SECONDS, MITRA_HEARD_SECONDS
from curhat.pricing import service as pricing
from curhat.pricing.schemas import Offer
from curhat.realtime import service as realtime
from curhat.realtime.event_types import StreamEvent
from curhat.sessions import events, queries
from curhat.sessions.errors import ExtensionDecided, ExtensionPending, SessionEnded, TermsChanged
from curhat.sessions.queries import ExtensionRow, LockedExtension, LockedSession
from curhat.sessions.schemas import Extension
from curhat.sessions.states import CHARGE_TIMEOUT_SECONDS, DecidedBy

log = structlog.get_logger(__name__)

# The deadline kinds of extensions. This module also rearms SESSION_END, the deadline of a session's end.
EXTENSION_WINDOW = "extension_window"
EXTENSION_PRESENCE = "extension_presence"
EXTENSION_LOST = "extension_lost"
EXTENSION_CHARGE = "extension_charge"
SESSION_END = "session_end"

# PRESENCE_CHECK_SECONDS is slightly longer than the time within which a mitra can reconnect. So the old lease has also
# ended by Valkey's clock.
PRESENCE_CHECK_SECONDS = COME_BACK_SECONDS + 0.1
HEARD_WITHIN = timedelta(seconds=MITRA_HEARD_SECONDS)


class Frames(NamedTuple):
    """The frames on one connection of a mitra, by PostgreSQL's clock (see presence.store.FrameAges)."""

    last_at: datetime
    heard_since: datetime
    present_since: datetime


# The request ---------------------------------------------------------------------------------------------


async def request(
    tx: Transaction,
    customer_id: UUID,
    session_id: UUID,
    offer_id: UUID,
    connected: bool | None,
    told_action: DefaultAction | None = None,
) -> Extension:
    """Open an extension on the current terms (nothing → pending, 5.4, 5.7).

    If the mitra is not connected, the extension is rejected immediately (5.6). `connected` is the answer of presence
    about the mitra just before the transaction. If `connected` is None (unknown), the extension waits for the mitra's
    answer. `told_action` is what the customer was told about silence, if known. Raises NotFound if the session or the
    offer does not exist. Raises SessionEnded, ExtensionPending, TermsChanged, TooManyRequests.
    """
    session = await lock_session(tx, session_id)
    if session.customer_id != customer_id:
        raise NotFound
    if not session.runs:
        raise SessionEnded
    if session.open_extension_id is not None:
        raise ExtensionPending(extension_id=session.open_extension_id)
    offer = await pricing.quote(tx, customer_id, offer_id, "extension")
    default_action = await configuration.extension_default_action_on_timeout(tx)
    if told_action not in (None, default_action):
        raise TermsChanged(default_action=default_action)
    deadline_at = session.now + timedelta(seconds=await configuration.extension_timeout_seconds(tx))
    payment_id = await payments.open_extension_payment(tx, customer_id, offer, deadline_at)
    opened = await queries.open_extension(
        tx,
        session_id=session.id,
        mitra_id=session.mitra_id,
        payment_id=payment_id,
        offer_id=offer.id,
        duration_minutes=offer.duration_minutes,
        price_rp=offer.price_rp,
        default_action=default_action,
        deadline_at=deadline_at,
    )
    await pause_point("extension.opened")
    if not opened.mitra_is_online or connected is False:
        locked = await queries.lock_extensions(tx, extension_ids=[opened.id])
        await _reject(tx, [(extension, "mitra_unreachable") for extension in locked])
        await realtime.append(tx, await _decided_events(tx, locked))
        return await extension_view(tx, opened.id)
    await deadlines.arm(tx, EXTENSION_WINDOW, opened.id, deadline_at)
    # If the mitra's socket closed just before this step, a worker checks the reconnection only at EXTENSION_PRESENCE.
    check_at = session.now + timedelta(seconds=PRESENCE_CHECK_SECONDS)
    await deadlines.arm(tx, EXTENSION_PRESENCE, opened.id, check_at)
    view = await extension_view(tx, opened.id)
    requested = events.to_both(events.EXTENSION_REQUESTED, session.customer_id, session.mitra_id, view)
    await realtime.append(tx, requested)
    return view


# The decision --------------------------------------------------------------------------------------------


async def approve_by_mitra(
    tx: Transaction, mitra_id: UUID, extension_id: UUID
) -> tuple[Extension, Charge | None]:
    """Approve an extension for its mitra (pending → charging).

    The caller carries out the returned charge after the commit.

    A repeated approval returns no charge. Raises NotFound. Raises ExtensionDecided in three cases: the extension was
    decided in another way, the deadline has passed, or the mitra went offline after the customer asked.
    """
    extension = await _lock_own(tx, mitra_id, extension_id)
    charge = None
    if extension.status == "pending":
        if extension.is_over or not extension.mitra_is_there:
            raise _already_decided(extension)
        charge = (await _approve(tx, [extension], "mitra"))[extension.id]
        await realtime.append(tx, await _decided_events(tx, [extension]))
    elif extension.decided_by != "mitra" or extension.charge_by is None:
        raise _already_decided(extension)
    return await extension_view(tx, extension_id), charge


async def reject_by_mitra(tx: Transaction, mitra_id: UUID, extension_id: UUID) -> Extension:
    """Reject an extension for its mitra (pending → rejected). Nothing is charged (5.4).

    A repeated call changes nothing.

    Raises NotFound. Raises ExtensionDecided if the extension was decided in another way, or if the deadline has
    passed.
    """
    extension = await _lock_own(tx, mitra_id, extension_id)
    if extension.status == "pending":
        if extension.is_over:
            raise _already_decided(extension)
        await _reject(tx, [(extension, "mitra")])
        await realtime.append(tx, await _decided_events(tx, [extension]))
    elif extension.decided_by != "mitra" or extension.status != "rejected":
        raise _already_decided(extension)
    return await extension_view(tx, extension_id)


async def window_over(
    tx: Transaction,
    extension_ids: Sequence[UUID],
    frames: Mapping[UUID, Sequence[Frames]],
) -> dict[UUID, Charge]:
    """Decide extensions at their deadlines by the default action (pending → charging or rejected, 5.1, 5.2).

    Does nothing for a decided extension. `frames` has the frames on each connection of the mitras, as presence answered
    before this step took its locks. Silence approves only if these frames show that the mitra was connected at the
    deadline (5.8), even if the worker is late.
    Returns a map from each extension's id to its charge. The caller carries out the charges after the commit.
    """
    pending = await _lock_pending(tx, extension_ids)
    over = [extension for extension in pending if extension.is_over]
    # If a window still runs, the clock was set back after the worker claimed the deadline.
    not_over = [(each.id, each.deadline_at, 1) for each in pending if not each.is_over]
    await deadlines.arm_each(tx, EXTENSION_WINDOW, not_over)
    there = [
        each
        for each in over
        if each.mitra_is_there
        and any(_was_connected(each, connection) for connection in frames.get(each.mitra_id, ()))
    ]
    approved = [each for each in there if each.default_action == "auto_approve"]
    charges = await _approve(tx, approved, "timeout")
    rejected = [each for each in over if each.id not in charges]
    await _reject(tx, [(each, "timeout" if each in there else "mitra_unreachable") for each in rejected])
    await realtime.append(tx, await _decided_events(tx, over))
    return charges


def _was_connected(extension: LockedExtension, frames: Frames) -> bool:
    """Return whether the frames on one connection show that the mitra was connected at the deadline (5.6, 5.8).

    Two conditions must hold. First, a frame must have come shortly before the deadline and after the request. If the
    last frame came after the deadline, frames must have come without a gap since a time before the deadline. Second,
    whenever the mitra's socket closed after the request, the mitra must have come back in time.
    """
    heard_after = max(extension.deadline_at - HEARD_WITHIN, extension.requested_at)
    was_heard = frames.heard_since <= extension.deadline_at and frames.last_at > heard_after
    return was_heard and frames.present_since <= extension.requested_at


async def mitra_lost(tx: Transaction, *extension_ids: UUID) -> None:
    """Reject extensions whose mitras went offline, or did not reconnect after their sockets closed (5.6)."""
    pending = await _lock_pending(tx, extension_ids)
    await _reject(tx, [(extension, "mitra_unreachable") for extension in pending])
    await realtime.append(tx, await _decided_events(tx, pending))


async def toggle_went_off(tx: Transaction, mitra_id: UUID) -> None:
    """Make a worker reject the mitra's pending extensions immediately.

    The caller holds the lock of the mitra's row, but sessions must be locked before mitras. So this step only sets
    `mitra_went_offline` on the extensions. While `mitra_went_offline` is set, nobody can approve an extension. The
    worker then locks the sessions and rejects the extensions.
    """
    for extension_id in await queries.mark_mitra_offline(tx, mitra_id=mitra_id):
        await deadlines.arm_now(tx, EXTENSION_LOST, extension_id)


async def socket_closed(database: Database, mitra_id: UUID) -> None:
    """After a mitra's socket closed, make a worker check 3 s later whether the mitra has reconnected (5.6)."""
    pending = await queries.list_pending_extensions(database, mitra_id=mitra_id)
    if pending:
        async with database.transaction() as tx:
            await deadlines.arm_another(tx, EXTENSION_PRESENCE, pending, PRESENCE_CHECK_SECONDS)


async def end_with_session(tx: Transaction, extension_id: UUID) -> list[StreamEvent]:
    """Close an open extension whose session ended early.

    The row of the ended session no longer refers to the extension.

    A pending extension becomes rejected, without a charge. A charging extension becomes charge_failed, and a later
    approval is refunded (5.7).
    Returns the events to append.
    """
    (extension,) = await queries.lock_extensions(tx, extension_ids=[extension_id])
    if extension.status == "pending":
        await queries.reject_extensions(tx, extension_ids=[extension.id], decided_by=["session_ended"])
    else:
        await _settle(tx, extension, "charge_failed")
    await payments.abandon_extensions(tx, [extension.payment_id])
    return await _decided_events(tx, [extension])


# The charge ----------------------------------------------------------------------------------------------


async def session_of_charge(tx: Transaction, key: UUID) -> UUID | None:
    """Return the session whose extension this charge attempt pays for. Return None if there is no such extension."""
    return await queries.find_session_of_charge(tx, charge_attempt_id=key)


async def charge_answered(
    tx: Transaction, session_id: UUID, key: UUID, answer: ChargeAnswer
) -> tuple[ChargeOutcome | None, list[StreamEvent]]:
    """Record the gateway's answer to an extension's charge (charging → approved or charge_failed).

    If the approval is in time, the session becomes longer. A charge that is approved too late is refunded. Returns the
    effect on the payment, and the events to append.
    """
    session = await lock_session(tx, session_id)
    outcome = await payments.record_charge_answer(tx, key, answer)
    if outcome is None or session.open_extension_id is None:
        return outcome, []
    (extension,) = await queries.lock_extensions(tx, extension_ids=[session.open_extension_id])
    if extension.payment_id != outcome.payment.id or extension.status != "charging":
        return outcome, []
    if outcome.step == "confirmed":
        await payments.close(tx, [extension.payment_id], "served")
        await _settle(tx, extension, "approved")
        await _release_ends(tx, [session.id], extension.duration_minutes)
        return outcome, await _decided_events(tx, [extension])
    if outcome.step in ("abandoned", "refunding"):
        return outcome, await _charge_failed(tx, extension)
    return outcome, []


async def charge_too_late(tx: Transaction, extension_id: UUID) -> None:
    """Fail an extension, because the gateway did not approve its charge in time (charging → charge_failed, 5.7)."""
    (extension,) = await _lock_with_sessions(tx, [extension_id])
    if extension.status == "charging" and extension.charge_is_late:
        await realtime.append(tx, await _charge_failed(tx, extension))
    elif extension.status == "charging":
        assert extension.charge_by is not None  # extensions_charged_after_approval
        # The clock was set back after the worker claimed the deadline, so the gateway still has time.
        await deadlines.arm(tx, EXTENSION_CHARGE, extension_id, extension.charge_by)


async def charge_was_lost(tx: Transaction, payment_id: UUID) -> None:
    """Close the open extension of this payment without a charge, because a restore lost the answer about its charge.

    pending → rejected, or charging → charge_failed. Changes nothing if the payment is not for an extension, or if the
    extension is closed. The session keeps its end, so the service has not delivered what the charge paid for.
    """
    session_id = await queries.find_session_of_extension_payment(tx, payment_id=payment_id)
    if session_id is None:
        return
    session = await lock_session(tx, session_id)
    if session.open_extension_id is None:
        return
    (extension,) = await queries.lock_extensions(tx, extension_ids=[session.open_extension_id])
    if extension.payment_id != payment_id:
        return
    if extension.status == "charging":
        await realtime.append(tx, await _charge_failed(tx, extension))
        return
    await _reject(tx, [(extension, "mitra_unreachable")])
    await realtime.append(tx, await _decided_events(tx, [extension]))


# Reading -------------------------------------------------------------------------------------------------


async def extension_view(tx: Transaction, extension_id: UUID) -> Extension:
    """Return an extension as both sides see it. Raises NotFound."""
    rows = await queries.list_extensions(tx, extension_ids=[extension_id])
    if not rows:
        raise NotFound
    return _extension_of(rows[0])


async def open_extensions_of_mitra(tx: Transaction, mitra_id: UUID) -> list[Extension]:
    """Return the extensions that wait for this mitra's answer or for the gateway, oldest first."""
    return [_extension_of(row) for row in await queries.list_open_extensions_of_mitra(tx, mitra_id=mitra_id)]


def _extension_of(row: ExtensionRow) -> Extension:
    return Extension(
        id=row.id,
        session_id=row.session_id,
        payment_id=row.payment_id,
        status=row.status,
        decided_by=row.decided_by,
        offer=Offer(row.offer_id, row.duration_minutes, row.price_rp, is_trial=False),
        deadline_at=row.deadline_at,
        default_action=row.default_action,
        mitra_went_offline=row.status != "pending" and row.mitra_went_offline,
        server_now=row.server_now,
    )


async def mitras_of(tx: Transaction, extension_ids: Sequence[UUID]) -> dict[UUID, UUID]:
    """Return the mitra of each extension. Takes no lock, because the mitra of an extension never changes."""
    rows = await queries.list_mitras_of_extensions(tx, extension_ids=extension_ids)
    return {row.id: row.mitra_id for row in rows}


# The steps -----------------------------------------------------------------------------------------------


async def lock_session(tx: Transaction, session_id: UUID) -> LockedSession:
    """Lock a session's row. This lock also protects the session's extensions. Raises NotFound."""
    session = await queries.lock_session(tx, session_id=session_id)
    if session is None:
        raise NotFound
    return session


async def _lock_with_sessions(tx: Transaction, extension_ids: Sequence[UUID]) -> list[LockedExtension]:
    await queries.lock_sessions_of_extensions(tx, extension_ids=extension_ids)
    return await queries.lock_extensions(tx, extension_ids=extension_ids)


async def _lock_pending(tx: Transaction, extension_ids: Sequence[UUID]) -> list[LockedExtension]:
    return [each for each in await _lock_with_sessions(tx, extension_ids) if each.status == "pending"]


async def _lock_own(tx: Transaction, mitra_id: UUID, extension_id: UUID) -> LockedExtension:
    locked = await _lock_with_sessions(tx, [extension_id])
    if not locked or locked[0].mitra_id != mitra_id:
        raise NotFound
    return locked[0]


def _already_decided(extension: LockedExtension) -> ExtensionDecided:
    return ExtensionDecided(extension_status=extension.status, decided_by=extension.decided_by)


async def _approve(
    tx: Transaction, extensions: Sequence[LockedExtension], decided_by: DecidedBy
) -> dict[UUID, Charge]:
    """Approve extensions (pending → charging). Returns a map from each extension's id to the charge to carry out."""
    if not extensions:
        return {}
    extension_ids = [extension.id for extension in extensions]
    charge_by = await queries.approve_extensions(
        tx,
        extension_ids=extension_ids,
        decided_by=decided_by,
        charge_timeout_seconds=CHARGE_TIMEOUT_SECONDS,
    )
    by_payment = {extension.payment_id: extension.id for extension in extensions}
    charges = await payments.begin_extension_charges(tx, list(by_payment), charge_by)
    await deadlines.arm_each(tx, EXTENSION_CHARGE, [(each, charge_by, 1) for each in extension_ids])
    for extension_id in extension_ids:
        log.info("extension.approved", extension_id=str(extension_id), decided_by=decided_by)
    return {by_payment[charge.payment_id]: charge for charge in charges}


async def _reject(tx: Transaction, decisions: Sequence[tuple[LockedExtension, DecidedBy]]) -> None:
    """Reject extensions, each with its own reason (pending → rejected). Nothing is charged."""
    if not decisions:
        return
    await queries.reject_extensions(
        tx,
        extension_ids=[extension.id for extension, _ in decisions],
        decided_by=[decided_by for _, decided_by in decisions],
    )
    await payments.abandon_extensions(tx, [extension.payment_id for extension, _ in decisions])
    await _release_ends(tx, [extension.session_id for extension, _ in decisions], 0)
    for extension, decided_by in decisions:
        log.info("extension.rejected", extension_id=str(extension.id), decided_by=decided_by)


async def _charge_failed(tx: Transaction, extension: LockedExtension) -> list[StreamEvent]:
    await _settle(tx, extension, "charge_failed")
    await payments.abandon_extensions(tx, [extension.payment_id])
    await _release_ends(tx, [extension.session_id], 0)
    log.info("extension.charge_failed", extension_id=str(extension.id))
    return await _decided_events(tx, [extension])


async def _settle(
    tx: Transaction, extension: LockedExtension, status: Literal["approved", "charge_failed"]
) -> None:
    """Settle an extension (charging → approved or charge_failed)."""
    await queries.settle_extension(tx, extension_id=extension.id, status=status)
    await deadlines.disarm(tx, EXTENSION_CHARGE, extension.id)


async def _release_ends(tx: Transaction, session_ids: Sequence[UUID], added_minutes: int) -> None:
    """Let the sessions end by time again, `added_minutes` after their old ends. Arms the deadlines of the new ends.

    Each new deadline has a new generation, because a worker perhaps still holds the old deadline. The old deadline
    fired while the extension was open.
    """
    released = await queries.release_session_ends(tx, session_ids=session_ids, added_minutes=added_minutes)
    await deadlines.disarm(tx, SESSION_END, *session_ids)
    await deadlines.arm_each(
        tx, SESSION_END, [(end.id, end.ends_at, end.settled_extensions + 1) for end in released]
    )
    if any(end.is_over for end in released):
        deadlines.wake_workers(tx)


async def _decided_events(tx: Transaction, extensions: Sequence[LockedExtension]) -> list[StreamEvent]:
    """Disarm the deadlines of decided extensions. Returns the events for both sides."""
    if not extensions:
        return []
    members = {extension.id: (extension.customer_id, extension.mitra_id) for extension in extensions}
    await deadlines.disarm_each(tx, (EXTENSION_WINDOW, EXTENSION_PRESENCE), *members)
    return [
        event
        for row in await queries.list_extensions(tx, extension_ids=list(members))
        for event in events.to_both(events.EXTENSION_DECIDED, *members[row.id], _extension_of(row))
    ]
