"""More time for a running session, paid when it is approved (section 5). Functions never commit.

Guarantees
    Terms are fixed when it is asked for. One open extension a session, decided once: by the mitra in time, by
    silence as its default action says, or rejected since the mitra is not there or the session ended.
    It is charged after it was approved, once, and not at all otherwise. An approval of the gateway counts for
    CHARGE_SECONDS; later it is given back. New end = old end + duration.
    While it is open the session does not end by time. Each decision arms the end anew.
Concurrency
    Everything happens under the session's lock, taken first. The one exception is the toggle: it holds the mitra's row
    and marks pending extensions (`mitra_went_offline`), after which nobody can approve them; a worker rejects them
    at once, in a transaction of its own. So an extension is decided under its own row's lock as well.
    Of several, all sessions' locks are taken first, then the extensions', each in id order.
Relies on
    Presence for whether the mitra is connected, asked before the lock is taken. Unknown counts as disconnected where
    silence would decide (5.6).
"""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

import msgspec
import structlog

from curhat.configuration import service as configuration
from curhat.configuration.definitions import DefaultAction
from curhat.deadlines import service as deadlines
from curhat.kit.database import Database, Transaction, load_queries
from curhat.kit.errors import NotFound
from curhat.kit.pause_points import pause_point
from curhat.payments import service as payments
from curhat.payments.gateway import ChargeAnswer
from curhat.payments.service import Charge, ChargeOutcome, PaymentTerms
from curhat.presence.states import COME_BACK_SECONDS
from curhat.pricing import service as pricing
from curhat.pricing.schemas import Offer
from curhat.realtime import service as realtime
from curhat.realtime.event_types import StreamEvent
from curhat.sessions import events
from curhat.sessions.errors import ExtensionDecided, ExtensionPending, SessionEnded
from curhat.sessions.schemas import Extension
from curhat.sessions.states import CHARGE_SECONDS, DecidedBy, ExtensionStatus

log = structlog.get_logger(__name__)
SQL = load_queries(__file__)

# Deadline kinds of extensions, and that of the session's end, which a decision arms anew.
EXTENSION_WINDOW = "extension_window"
EXTENSION_PRESENCE = "extension_presence"
EXTENSION_LOST = "extension_lost"
EXTENSION_CHARGE = "extension_charge"
SESSION_END = "session_end"

# A little more than a socket has to come back: by then its lease is over on Valkey's clock as well.
PRESENCE_CHECK_SECONDS = COME_BACK_SECONDS + 0.1


class LockedSession(msgspec.Struct, frozen=True):
    """A session's row under its lock. `runs`: its time is not over, or an extension holds the end back."""

    id: UUID
    customer_id: UUID
    mitra_id: UUID
    ends_at: datetime
    open_extension_id: UUID | None
    now: datetime
    runs: bool


class LockedExtension(msgspec.Struct, frozen=True):
    """An extension, read under its session's lock and its own."""

    id: UUID
    session_id: UUID
    customer_id: UUID
    mitra_id: UUID
    payment_id: UUID
    duration_minutes: int
    default_action: DefaultAction
    deadline_at: datetime
    status: ExtensionStatus
    decided_by: DecidedBy | None
    charge_by: datetime | None
    is_over: bool
    charge_is_late: bool | None
    mitra_is_there: bool

    def decided(self) -> ExtensionDecided:
        """The refusal for whoever comes too late."""
        return ExtensionDecided(extension_status=self.status, decided_by=self.decided_by)


# Asking for it -------------------------------------------------------------------------------------------


async def request(
    tx: Transaction, customer_id: UUID, session_id: UUID, offer_id: UUID, connected: bool | None
) -> Extension:
    """nothing → pending, on the terms of this moment (5.4, 5.7); rejected at once when the mitra is not there (5.6).

    `connected` is what presence said just before; None: unknown, so it waits. Raises NotFound (the session, or the
    offer), SessionEnded, ExtensionPending.
    """
    session = await lock_session(tx, session_id)
    if session.customer_id != customer_id:
        raise NotFound
    if not session.runs:
        raise SessionEnded
    if session.open_extension_id is not None:
        raise ExtensionPending(extension_id=session.open_extension_id)
    quote = await pricing.quote(tx, customer_id, offer_id, "extension")
    terms = PaymentTerms(
        purpose="extension",
        offer_id=quote.offer_id,
        duration_minutes=quote.duration_minutes,
        amount_rp=quote.price_rp,
        is_trial=quote.is_trial,
    )
    window_seconds = await configuration.extension_timeout_seconds(tx)
    default_action = await configuration.extension_default_action_on_timeout(tx)
    deadline_at = session.now + timedelta(seconds=window_seconds)
    payment_id = await payments.open_extension_payment(tx, customer_id, terms, deadline_at)
    row = await tx.fetchrow(
        SQL.open_extension,
        session.id,
        session.mitra_id,
        payment_id,
        terms.offer_id,
        terms.duration_minutes,
        terms.amount_rp,
        default_action,
        deadline_at,
    )
    assert row is not None  # The session's mitra exists.
    extension_id: UUID = row["id"]
    await pause_point("extension.opened")
    if not row["online"] or connected is False:
        opened = await _lock_rows(tx, [extension_id])
        await _reject(tx, [(extension, "mitra_unreachable") for extension in opened])
        await _tell(tx, opened)
        return await extension_view(tx, extension_id)
    await deadlines.arm(tx, EXTENSION_WINDOW, extension_id, deadline_at)
    # For a socket that closed just before: its time to come back runs already.
    check_at = session.now + timedelta(seconds=PRESENCE_CHECK_SECONDS)
    await deadlines.arm(tx, EXTENSION_PRESENCE, extension_id, check_at)
    view = await extension_view(tx, extension_id)
    await realtime.append(tx, events.extension_requested(session.customer_id, session.mitra_id, view))
    return view


# Deciding it ---------------------------------------------------------------------------------------------


async def approve_by_mitra(
    tx: Transaction, mitra_id: UUID, extension_id: UUID
) -> tuple[Extension, Charge | None]:
    """pending → charging, by hand. The charge is to be carried out after the commit; repeated, there is none.

    Raises NotFound, ExtensionDecided: decided otherwise, too late, or the toggle is off.
    """
    extension = await _lock_own(tx, mitra_id, extension_id)
    charge = None
    if extension.status == "pending":
        if extension.is_over or not extension.mitra_is_there:
            raise extension.decided()
        charge = (await _approve(tx, [extension], "mitra"))[extension.id]
        await _tell(tx, [extension])
    elif extension.decided_by != "mitra" or extension.charge_by is None:
        raise extension.decided()
    return await extension_view(tx, extension_id), charge


async def reject_by_mitra(tx: Transaction, mitra_id: UUID, extension_id: UUID) -> Extension:
    """pending → rejected, by hand; nothing is charged (5.4). Repeated, nothing changes.

    Raises NotFound, ExtensionDecided: decided otherwise, or too late.
    """
    extension = await _lock_own(tx, mitra_id, extension_id)
    if extension.status == "pending":
        if extension.is_over:
            raise extension.decided()
        await _reject(tx, [(extension, "mitra")])
        await _tell(tx, [extension])
    elif extension.decided_by != "mitra" or extension.status != "rejected":
        raise extension.decided()
    return await extension_view(tx, extension_id)


async def window_over(
    tx: Transaction, extension_ids: Sequence[UUID], connected: Collection[UUID]
) -> dict[UUID, Charge]:
    """Silence until the deadlines: pending → charging or rejected, as the default actions say (5.1, 5.2), except what
    was decided, or is not over yet.

    `connected`: the mitras who were, as presence said at the deadline; one who is not there approves nothing (5.6).
    Returns the charges to be carried out after the commit, by extension.
    """
    pending = await _lock_pending(tx, extension_ids)
    over = [extension for extension in pending if extension.is_over]
    # The clock stepped back since the deadline was claimed: it is still to come.
    to_come = [(each.id, each.deadline_at, 1) for each in pending if not each.is_over]
    await deadlines.arm_each(tx, EXTENSION_WINDOW, to_come)
    there = [each for each in over if each.mitra_is_there and each.mitra_id in connected]
    approved = [each for each in there if each.default_action == "auto_approve"]
    charges = await _approve(tx, approved, "timeout")
    rejected = [each for each in over if each.id not in charges]
    await _reject(tx, [(each, "timeout" if each in there else "mitra_unreachable") for each in rejected])
    await _tell(tx, over)
    return charges


async def mitra_lost(tx: Transaction, extension_ids: Sequence[UUID]) -> None:
    """pending → rejected: their mitras went offline, or their sockets closed and did not come back (5.6)."""
    pending = await _lock_pending(tx, extension_ids)
    await _reject(tx, [(extension, "mitra_unreachable") for extension in pending])
    await _tell(tx, pending)


async def toggle_went_off(tx: Transaction, mitra_id: UUID) -> None:
    """The mitra's pending extensions are rejected at this moment. The caller holds the mitra's row, so a worker does
    it, under the session's lock; marked, they cannot be approved meanwhile."""
    for row in await tx.fetch(SQL.mitra_went_offline, mitra_id):
        await deadlines.arm_now(tx, EXTENSION_LOST, row["id"])


async def socket_closed(database: Database, mitra_id: UUID) -> None:
    """A mitra's socket closed, clean or not: look in 3 s whether it came back (5.6)."""
    await database.execute(SQL.check_presence_soon, mitra_id, PRESENCE_CHECK_SECONDS)


async def end_with_session(tx: Transaction, extension_id: UUID) -> list[StreamEvent]:
    """The session ended by hand: a pending extension is rejected without a charge; one that is being charged fails,
    and an approval that still comes is given back (5.7). The session no longer points at it."""
    (extension,) = await _lock_rows(tx, [extension_id])
    if extension.status == "pending":
        await tx.execute(SQL.reject_extensions, [extension.id], ["session_ended"])
    else:
        await _settle(tx, extension, "charge_failed")
    await payments.abandon_extensions(tx, [extension.payment_id])
    return await _decided(tx, [extension])


# Charging it ---------------------------------------------------------------------------------------------


async def session_of_charge(tx: Transaction, key: UUID) -> UUID | None:
    """The session whose extension a charge attempt is for; None when it is for something else."""
    session_id: UUID | None = await tx.fetchval(SQL.session_of_charge, key)
    return session_id


async def charge_answered(
    tx: Transaction, session_id: UUID, key: UUID, answer: ChargeAnswer
) -> tuple[ChargeOutcome | None, list[StreamEvent]]:
    """Take down what the gateway says of an extension's charge: charging → approved or charge_failed.

    An approval in time lengthens the session; a late one is given back, whatever came first. Returns what the answer
    did, and the events to append.
    """
    session = await lock_session(tx, session_id)
    outcome = await payments.record_charge_answer(tx, key, answer)
    if outcome is None or session.open_extension_id is None:
        return outcome, []
    (extension,) = await _lock_rows(tx, [session.open_extension_id])
    if extension.payment_id != outcome.payment.id or extension.status != "charging":
        return outcome, []
    if outcome.step == "confirmed":
        await payments.close(tx, [extension.payment_id], "served")
        await _settle(tx, extension, "approved")
        await _release_ends(tx, [session.id], extension.duration_minutes)
        return outcome, await _decided(tx, [extension])
    if outcome.step in ("abandoned", "refunding"):
        return outcome, await _charge_failed(tx, extension)
    return outcome, []


async def charge_too_late(tx: Transaction, extension_id: UUID) -> None:
    """charging → charge_failed: the gateway did not approve in time (5.7)."""
    extension = await _lock(tx, extension_id)
    if extension.status != "charging":
        return
    if not extension.charge_is_late:
        assert extension.charge_by is not None  # extensions_charged_after_approval
        # The clock stepped back since the deadline was claimed: it is still to come.
        await deadlines.arm(tx, EXTENSION_CHARGE, extension_id, extension.charge_by)
        return
    await realtime.append(tx, await _charge_failed(tx, extension))


# Reading -------------------------------------------------------------------------------------------------


async def extension_view(tx: Transaction, extension_id: UUID) -> Extension:
    """An extension as both sides see it."""
    row = await tx.fetchrow(SQL.extensions, [extension_id])
    if row is None:
        raise NotFound
    return extension_from(row)


async def open_extensions_of_mitra(tx: Transaction, mitra_id: UUID) -> list[Extension]:
    """What waits for this mitra's answer, or for the gateway, oldest first."""
    return [extension_from(row) for row in await tx.fetch(SQL.open_extensions_of_mitra, mitra_id)]


def extension_from(row: Any, prefix: str = "") -> Extension:
    """An Extension from a row whose columns of it begin with `prefix`, and that has `server_now`."""
    price_rp = row[f"{prefix}price_rp"]
    return Extension(
        id=row[f"{prefix}id"],
        session_id=row["id" if prefix else "session_id"],
        payment_id=row[f"{prefix}payment_id"],
        status=row[f"{prefix}status"],
        decided_by=row[f"{prefix}decided_by"],
        offer=Offer(
            id=row[f"{prefix}offer_id"],
            duration_minutes=row[f"{prefix}duration_minutes"],
            price_rp=price_rp,
            is_trial=False,
        ),
        deadline_at=row[f"{prefix}deadline_at"],
        default_action=row[f"{prefix}default_action"],
        server_now=row["server_now"],
    )


async def mitras_of(tx: Transaction, extension_ids: Sequence[UUID]) -> dict[UUID, UUID]:
    """By extension the mitra whose answer it waits for. No lock: it never changes."""
    rows = await tx.fetch(SQL.mitras_of_extensions, extension_ids)
    return {row["id"]: row["mitra_id"] for row in rows}


# The steps -----------------------------------------------------------------------------------------------


async def lock_session(tx: Transaction, session_id: UUID) -> LockedSession:
    """Take the session's lock, which is the lock of all that hangs on its extensions. Raises NotFound."""
    row = await tx.fetchrow(SQL.lock_session, session_id)
    if row is None:
        raise NotFound
    return LockedSession(**row)


async def _lock_each(tx: Transaction, extension_ids: Sequence[UUID]) -> list[LockedExtension]:
    """These extensions under all their locks, in id order."""
    await tx.execute(SQL.lock_sessions_of_extensions, extension_ids)
    return await _lock_rows(tx, extension_ids)


async def _lock_rows(tx: Transaction, extension_ids: Sequence[UUID]) -> list[LockedExtension]:
    """These extensions under their own locks; the caller holds those of their sessions."""
    rows = await tx.fetch(SQL.lock_extensions, extension_ids)
    return [
        LockedExtension(**{field: row[field] for field in LockedExtension.__struct_fields__}) for row in rows
    ]


async def _lock_pending(tx: Transaction, extension_ids: Sequence[UUID]) -> list[LockedExtension]:
    return [each for each in await _lock_each(tx, extension_ids) if each.status == "pending"]


async def _lock(tx: Transaction, extension_id: UUID) -> LockedExtension:
    locked = await _lock_each(tx, [extension_id])
    if not locked:
        raise NotFound
    return locked[0]


async def _lock_own(tx: Transaction, mitra_id: UUID, extension_id: UUID) -> LockedExtension:
    extension = await _lock(tx, extension_id)
    if extension.mitra_id != mitra_id:
        raise NotFound
    return extension


async def _approve(
    tx: Transaction, extensions: Sequence[LockedExtension], decided_by: DecidedBy
) -> dict[UUID, Charge]:
    """pending → charging. Returns the charges to be carried out, by extension."""
    if not extensions:
        return {}
    extension_ids = [extension.id for extension in extensions]
    charge_by = await tx.fetchval(SQL.approve_extensions, extension_ids, decided_by, float(CHARGE_SECONDS))
    payment_ids = [extension.payment_id for extension in extensions]
    charges = await payments.begin_extension_charges(tx, payment_ids, charge_by)
    await deadlines.arm_each(tx, EXTENSION_CHARGE, [(each, charge_by, 1) for each in extension_ids])
    for extension_id in extension_ids:
        log.info("extension.approved", extension_id=str(extension_id), decided_by=decided_by)
    by_payment = {charge.payment_id: charge for charge in charges}
    return {extension.id: by_payment[extension.payment_id] for extension in extensions}


async def _reject(tx: Transaction, decisions: Sequence[tuple[LockedExtension, DecidedBy]]) -> None:
    """pending → rejected, each for its reason; nothing is charged."""
    if not decisions:
        return
    extension_ids = [extension.id for extension, _ in decisions]
    await tx.execute(SQL.reject_extensions, extension_ids, [decided_by for _, decided_by in decisions])
    await payments.abandon_extensions(tx, [extension.payment_id for extension, _ in decisions])
    await _release_ends(tx, [extension.session_id for extension, _ in decisions], 0)
    for extension, decided_by in decisions:
        log.info("extension.rejected", extension_id=str(extension.id), decided_by=decided_by)


async def _charge_failed(tx: Transaction, extension: LockedExtension) -> list[StreamEvent]:
    await _settle(tx, extension, "charge_failed")
    await payments.abandon_extensions(tx, [extension.payment_id])
    await _release_ends(tx, [extension.session_id], 0)
    log.info("extension.charge_failed", extension_id=str(extension.id))
    return await _decided(tx, [extension])


async def _settle(
    tx: Transaction, extension: LockedExtension, status: Literal["approved", "charge_failed"]
) -> None:
    """charging → what became of the charge."""
    await tx.execute(SQL.settle_extension, extension.id, status)
    await deadlines.disarm(tx, EXTENSION_CHARGE, extension.id)


async def _release_ends(tx: Transaction, session_ids: Sequence[UUID], minutes: int) -> None:
    """Their extensions no longer hold the sessions' ends back: each is armed anew, under a generation of its own,
    since a worker may hold the deadline that fired while it was held back."""
    rows = await tx.fetch(SQL.release_ends, session_ids, minutes)
    await deadlines.disarm(tx, SESSION_END, *session_ids)
    await deadlines.arm_each(
        tx, SESSION_END, [(row["id"], row["ends_at"], row["settled"] + 1) for row in rows]
    )
    if any(row["is_over"] for row in rows):
        deadlines.wake_workers(tx)


async def _tell(tx: Transaction, extensions: Sequence[LockedExtension]) -> None:
    """What was waited for is over: both sides of each hear of it. Takes the streams' locks, which come last."""
    if extensions:
        await realtime.append(tx, await _decided(tx, extensions))


async def _decided(tx: Transaction, extensions: Sequence[LockedExtension]) -> list[StreamEvent]:
    """What was waited for is over: the events by which both sides of each hear of it."""
    people = {extension.id: (extension.customer_id, extension.mitra_id) for extension in extensions}
    await deadlines.disarm_each(tx, (EXTENSION_WINDOW, EXTENSION_PRESENCE), *people)
    return [
        event
        for row in await tx.fetch(SQL.extensions, list(people))
        for event in events.extension_decided(*people[row["id"]], extension_from(row))
    ]
