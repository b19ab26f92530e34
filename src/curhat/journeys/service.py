"""The steps of a journey that cross rooms. Functions that take a transaction never commit it."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec
import structlog

from curhat.accounts import service as accounts
from curhat.configuration import service as configuration
from curhat.deadlines import service as deadlines
from curhat.journeys.schemas import MitraStatus, MitraStatusAnswer
from curhat.journeys.single_flight import SingleFlight
from curhat.kit.database import Database, Transaction, load_queries
from curhat.kit.errors import IdempotencyInProgress, NotFound, PresenceUnknown
from curhat.kit.idempotency import Answer, IdempotentRequest, refusal
from curhat.kit.logging import current_correlation_id
from curhat.kit.pause_points import pause_point
from curhat.pairing import service as pairing
from curhat.pairing import views
from curhat.pairing.errors import (
    AlreadyTaken,
    AtCapacity,
    MitraOffline,
    MitraUnavailable,
    NoMitraAvailable,
    RequestClosed,
)
from curhat.pairing.metrics import MATCH_SECONDS, OUTCOMES
from curhat.pairing.queries import PaymentViewRow
from curhat.pairing.schemas import Pairing, Payment
from curhat.pairing.service import Target
from curhat.payments import service as payments
from curhat.payments.errors import JourneyInProgress, PaymentDeclined, PaymentExpired
from curhat.payments.gateway import (
    ChargeAnswer,
    Gateway,
    GatewayUnknown,
    RefundAnswer,
)
from curhat.payments.queries import LockedPayment
from curhat.payments.service import Charge, ChargeOutcome, PaymentTerms
from curhat.presence import service as presence_service
from curhat.presence.service import Presence
from curhat.presence.states import MitraState
from curhat.pricing import service as pricing
from curhat.realtime import service as realtime
from curhat.sessions import extension
from curhat.sessions import service as sessions
from curhat.sessions.events import session_started, session_updated
from curhat.sessions.schemas import MitraSession, SessionViews

log = structlog.get_logger(__name__)
SQL = load_queries(__file__)

# What everybody but the winner is answered.
ALREADY_TAKEN = refusal(AlreadyTaken())
# Deadline kind: a session of a mitra who was suspended is to be ended.
SUSPENSION_END = "suspension_end"
# A mitra has another name: what its customers see of a session, and of a payment, is to be told again.
SESSION_RENAMED = "session_renamed"
PAYMENT_RENAMED = "payment_renamed"


# Paying --------------------------------------------------------------------------------------------------


async def others_available(presence: Presence, *not_counted: UUID) -> bool | None:
    """Whether any mitra other than these persons may be asked now (1.1). None: nobody knows.

    One phone may be customer and mitra, and is never paired with itself.
    """
    try:
        available = await presence.count_available()
        if available > len(not_counted):
            return True
        for person_id in not_counted:
            if available == 0:
                break
            available -= await presence.may_be_asked(person_id)
        return available > 0
    except PresenceUnknown:
        return None


class GateAnswer(msgspec.Struct, frozen=True):
    """What presence said just before a payment is opened; None: unknown. `available`: anybody else at all (1.1);
    `mitra_reachable`: the mitra it is for, if it is for one."""

    available: bool | None
    mitra_reachable: bool | None = None


async def ask_gate(presence: Presence, customer_id: UUID, target_mitra_id: UUID | None) -> GateAnswer:
    """Ask presence for a payment that is about to be opened."""
    if target_mitra_id is None:
        return GateAnswer(await others_available(presence, customer_id))
    return GateAnswer(
        await others_available(presence, customer_id, target_mitra_id),
        await _reachable(presence, target_mitra_id),
    )


async def _reachable(presence: Presence, mitra_id: UUID) -> bool | None:
    try:
        return await presence.may_be_asked(mitra_id)
    except PresenceUnknown:
        return None


async def mitra_status(
    database: Database, presence: Presence, customer_id: UUID, mitra_id: UUID
) -> MitraStatusAnswer:
    """How the mitra of a past chat stands, for the tap on "Curhat lagi" (3.3, 3.4, 3.6).

    Raises NotFound for a mitra this customer never had a session with, PresenceUnknown.
    """
    async with database.transaction() as tx:
        await _refuse_strangers(tx, customer_id, mitra_id)
        state = await presence_service.mitra_state(tx, mitra_id)
    gate = await ask_gate(presence, customer_id, mitra_id)
    if gate.available is None or gate.mitra_reachable is None:
        raise PresenceUnknown
    return MitraStatusAnswer(
        status=_mitra_status(state, reachable=gate.mitra_reachable), other_available=gate.available
    )


def _mitra_status(state: MitraState, *, reachable: bool) -> MitraStatus:
    if not state.online or state.suspended:
        return "offline"
    if state.active_sessions >= state.max_customers:
        return "full"
    return "available" if reachable else "offline"


async def _refuse_strangers(tx: Transaction, customer_id: UUID, mitra_id: UUID) -> None:
    if not await tx.fetchval(SQL.had_a_session, customer_id, mitra_id):
        raise NotFound


async def open_payment(
    tx: Transaction, customer_id: UUID, offer_id: UUID, gate: GateAnswer, target_mitra_id: UUID | None = None
) -> Payment:
    """Open a payment session (2a), for a blast (1) or for the same mitra again (3.2).

    Raises JourneyInProgress, NotFound (the offer, or a mitra this customer never had a session with), TrialUsed,
    PresenceUnknown, NoMitraAvailable or, for a chosen mitra whose own status alone counts (3.6), MitraUnavailable.
    """
    if target_mitra_id is not None:
        await _refuse_strangers(tx, customer_id, target_mitra_id)
    await _refuse_during_session(tx, customer_id)
    quote = await pricing.quote(tx, customer_id, offer_id, "session")
    terms = PaymentTerms(
        purpose="session",
        offer_id=quote.offer_id,
        duration_minutes=quote.duration_minutes,
        amount_rp=quote.price_rp,
        is_trial=quote.is_trial,
        target_mitra_id=target_mitra_id,
    )
    timeout_minutes = await configuration.payment_session_timeout_minutes(tx)
    payment_id = await payments.open_payment(tx, customer_id, terms, timeout_minutes)
    await pause_point("open_payment.opened")
    # Check a second time. If an accept was under way, the INSERT waited for it, and by now it has started a session.
    # So this transaction sees either the open payment or the session, never neither.
    await _refuse_during_session(tx, customer_id)
    if gate.available is None:
        raise PresenceUnknown
    if target_mitra_id is not None:
        await _refuse_unless_available(tx, target_mitra_id, gate)
    elif not gate.available:
        raise NoMitraAvailable
    await realtime.append(tx, await views.payment_events(tx, payment_id))
    return await views.payment_view(tx, payment_id, customer_id)


async def _refuse_unless_available(tx: Transaction, mitra_id: UUID, gate: GateAnswer) -> None:
    if gate.mitra_reachable is None:
        raise PresenceUnknown
    status = _mitra_status(await presence_service.mitra_state(tx, mitra_id), reachable=gate.mitra_reachable)
    if status != "available":
        raise MitraUnavailable(mitra_status=status, other_available=gate.available)


async def _refuse_during_session(tx: Transaction, customer_id: UUID) -> None:
    session_id = await tx.fetchval(SQL.running_session, customer_id)
    if session_id is not None:
        raise JourneyInProgress(session_id=session_id)


async def begin_confirmation(
    tx: Transaction, customer_id: UUID, payment_id: UUID, candidates: Sequence[UUID] | None
) -> Charge | None:
    """Begin to confirm; for Rp0 this confirms and blasts at once. Repeated, nothing more happens.

    Returns the charge to carry out after the commit; None when there is nothing to charge (any more).
    Raises NotFound, PresenceUnknown (before anything is charged), PaymentExpired, PaymentClosed.
    """
    payment = await payments.lock_own(tx, payment_id, customer_id)
    if payment.status != "pending":
        if payment.confirmed_at is None and payment.status != "confirming":
            raise payments.closed_error(payment.status)
        return None
    if candidates is None:
        raise PresenceUnknown
    charge = await payments.begin_confirmation(tx, payment)
    if charge is None:
        await _begin_search(tx, payment, candidates)
    else:
        await realtime.append(tx, await views.payment_events(tx, payment_id))
    return charge


async def carry_out(gateway: Gateway, charge: Charge) -> ChargeAnswer | None:
    """Ask the gateway for the money, between transactions. None: not known within 5 s of the attempt's beginning.

    Nothing is sent later than that, when this process stood still meanwhile: by then the gateway may have been asked,
    have known of nothing, and the customer be paying again.
    """
    await pause_point("confirm.before_charge")
    left_seconds = charge.until - time.monotonic()
    if left_seconds <= 0:
        return None
    try:
        async with asyncio.timeout(left_seconds):
            answer = await gateway.charge(charge.key, charge.payment_id, charge.amount_rp)
    except (TimeoutError, GatewayUnknown):
        return None
    await pause_point("confirm.after_charge")
    return None if answer.status == "processing" else answer


async def charge_answered(
    tx: Transaction, key: UUID, answer: ChargeAnswer, candidates: Sequence[UUID] | None
) -> ChargeOutcome | None:
    """Record what the gateway said; a confirmation opens the search in the same transaction (2c.1), an extension that
    was charged lengthens its session (5.4).

    The same function whether the answer came with the call, late, twice, or by asking. None: an unknown key.
    """
    session_id = await extension.session_of_charge(tx, key)
    if session_id is not None:
        return await _extension_charge_answered(tx, session_id, key, answer)
    outcome = await payments.record_charge_answer(tx, key, answer)
    if outcome is None or outcome.step == "nothing":
        return outcome
    payment = outcome.payment
    log.info("charge.answered", payment_id=str(payment.id), answer=answer.status, step=outcome.step)
    if outcome.step == "refunding":
        # Nothing about the payment changed, and its customer may have gone on to another one.
        return outcome
    if outcome.step == "confirmed":
        await _begin_search(tx, payment, candidates)
        return outcome
    if outcome.step == "expired":
        await pairing.log_expired_payments(tx, [payment.id])
    await realtime.append(tx, await views.payment_events(tx, payment.id))
    return outcome


async def _extension_charge_answered(
    tx: Transaction, session_id: UUID, key: UUID, answer: ChargeAnswer
) -> ChargeOutcome | None:
    outcome, events = await extension.charge_answered(tx, session_id, key, answer)
    if outcome is not None and outcome.step != "nothing":
        log.info(
            "extension.charge_answered", session_id=str(session_id), answer=answer.status, step=outcome.step
        )
    if outcome is not None and outcome.step == "confirmed":
        events += session_updated(await sessions.session_views(tx, session_id))
    await realtime.append(tx, events)
    return outcome


def refuse_if_declined(charged: ChargeAnswer | None, payment: Payment) -> None:
    """Raises PaymentDeclined or PaymentExpired for a charge that was declined, whoever recorded it first: the
    gateway's call-back may have overtaken the answer to the call."""
    if charged is None or charged.status != "declined":
        return
    if payment.status == "pending":
        raise PaymentDeclined
    if payment.status == "expired":
        raise PaymentExpired


async def candidates_or_none(presence: Presence) -> list[UUID] | None:
    """Who may be asked now; None when presence is unknown."""
    try:
        return await presence.ask_candidates()
    except PresenceUnknown:
        return None


async def is_connected_or_none(presence: Presence, mitra_id: UUID) -> bool | None:
    """Whether this mitra is connected now (5.6); None when presence is unknown."""
    try:
        return await presence.is_connected(mitra_id)
    except PresenceUnknown:
        return None


async def take_charge_answer(
    database: Database, presence: Presence, key: UUID, answer: ChargeAnswer
) -> ChargeOutcome | None:
    """`charge_answered` in a transaction of its own: for call-backs and for answers found by asking."""
    candidates = await candidates_or_none(presence)
    async with database.transaction() as tx:
        return await charge_answered(tx, key, answer, candidates)


async def refund_answered(tx: Transaction, refund_id: UUID, answer: RefundAnswer) -> None:
    """Record what the gateway says of a refund; the customer learns of a payment that is refunded by it (X.9)."""
    payment_id = await payments.record_refund_answer(tx, refund_id, answer)
    if payment_id is not None:
        await realtime.append(tx, await views.payment_events(tx, payment_id))


async def cancel_payment(tx: Transaction, customer_id: UUID, payment_id: UUID) -> Payment:
    """pending → abandoned; the row stays (2a.4). Raises what payments.abandon refuses with, NotFound."""
    payment = await payments.lock_own(tx, payment_id, customer_id)
    if payment.status != "abandoned":
        await payments.abandon(tx, payment)
        await realtime.append(tx, await views.payment_events(tx, payment_id))
    return await views.payment_view(tx, payment_id, customer_id)


async def expire_payments(tx: Transaction, *payment_ids: UUID) -> list[UUID]:
    """pending → expired once their time is over, logged without a case (2a.4). Returns which."""
    expired = await payments.expire(tx, payment_ids)
    if expired:
        sessions_paid_for = [payment_id for payment_id, purpose in expired.items() if purpose == "session"]
        await pairing.log_expired_payments(tx, sessions_paid_for)
        await realtime.append(tx, await views.payment_events(tx, *expired))
    return list(expired)


async def _begin_search(tx: Transaction, payment: LockedPayment, candidates: Sequence[UUID] | None) -> None:
    """The confirmed payment's first pairing: with the mitra it is for (3.2), or with everybody (2b.2). The customer is
    told of both.

    `candidates` is what presence said just before. None: unknown. A blast then begins with nobody and asks as mitras
    are found to be available; a chosen mitra is asked and has its whole window.
    """
    if payment.target_mitra_id is None:
        window_seconds = await configuration.pairing_blast_timeout_seconds(tx)
        await pairing.open_blast(tx, payment.id, window_seconds, candidates or [])
        await realtime.append(tx, await views.payment_events(tx, payment.id))
        return
    target = Target(
        mitra_id=payment.target_mitra_id,
        reachable=candidates is None or payment.target_mitra_id in candidates,
        other_available=pairing.anybody_else(candidates, payment.target_mitra_id, payment.customer_id),
    )
    window_seconds = await configuration.returning_chat_confirmation_timeout_seconds(tx)
    await pairing.open_targeted(tx, payment.id, window_seconds, target)


# Pairing -------------------------------------------------------------------------------------------------


async def refuse_if_decided(
    database: Database, request_id: UUID, idempotent: IdempotentRequest, flight: SingleFlight
) -> Answer | None:
    """Tell those who come after the decision so, and store it under their key, in one statement: of fifty who are
    asked, most. None: it is not decided, and the turn is taken; or it was decided for this very mitra.

    Raises AlreadyTaken when the key has an answer, RequestClosed; neither is stored then. IdempotencyInProgress.
    """
    while True:
        row = await database.fetchrow(
            SQL.refuse_if_decided,
            request_id,
            idempotent.user_id,
            idempotent.key,
            idempotent.fingerprint,
            ALREADY_TAKEN.status,
            ALREADY_TAKEN.body,
        )
        if row is None:
            return None
        if row["is_stored"]:
            return ALREADY_TAKEN
        if row["outcome"] != "open":
            raise _refusal(row)
        if await flight.enter(row["pairing_id"]):
            return None


async def accept(
    tx: Transaction, mitra_id: UUID, request_id: UUID, key_lock: int | None = None
) -> MitraSession:
    """offered → accepted, and the session begins (2b.5). The winner who repeats gets the same session.

    Takes `key_lock`, that of the request's idempotency key, in the same statement; None: there is no key.
    Raises IdempotencyInProgress, NotFound, AlreadyTaken, RequestClosed, MitraOffline, AtCapacity, in the order of
    the contract.
    """
    row = await tx.fetchrow(SQL.accept_and_start, request_id, mitra_id, current_correlation_id(), key_lock)
    if row is None:
        raise NotFound
    if row["outcome"] == "in_progress":
        raise IdempotencyInProgress
    if row["outcome"] == "won_before":
        session_id = await tx.fetchval(SQL.session_of_pairing, row["asked_pairing_id"])
        return (await sessions.session_views(tx, session_id)).for_mitra
    if row["outcome"] != "won":
        raise _refusal(row)
    await presence_service.take_place(tx, mitra_id)
    if row["fills_up"]:
        # A customer may have asked for this very mitra while the statement waited for the mitra's row: it saw things as
        # they were before. Under the row's lock, nobody can be asked any more.
        await pairing.withdraw(tx, mitra_id, "at_capacity")
    both = _started_session(row, mitra_id)
    events = views.events_of(_served_payment(row), row["customer_id"])
    events += session_started(both)
    await realtime.append(tx, events)
    pairing.signal_requests(tx, [mitra_id, *row["closed_for"]])
    if row["lost_targeted"]:
        deadlines.wake_workers(tx)
    OUTCOMES.labels("matched").inc()
    MATCH_SECONDS.observe((row["now"] - row["pairing_created_at"]).total_seconds())
    log.info(
        "pairing.matched",
        payment_id=str(row["payment_id"]),
        pairing_id=str(row["pairing_id"]),
        session_id=str(row["session_id"]),
        mitra_id=str(mitra_id),
    )
    await pause_point("accept.before_commit")
    return both.for_mitra


def _refusal(row: Any) -> Exception:
    match row["outcome"]:
        case "already_taken":
            return AlreadyTaken()
        case "mitra_offline":
            return MitraOffline()
        case "at_capacity":
            return AtCapacity()
        case _:
            return RequestClosed(close_reason=row["close_reason"])


def _served_payment(row: Any) -> Payment:
    return views.payment_from(
        PaymentViewRow(
            id=row["payment_id"],
            customer_id=row["customer_id"],
            purpose="session",
            payment_status="served",
            offer_id=row["offer_id"],
            duration_minutes=row["duration_minutes"],
            amount_rp=row["amount_rp"],
            is_trial=row["is_trial"],
            created_at=row["created_at"],
            expires_at=row["expires_at"],
            target_mitra_id=row["target_mitra_id"],
            target_display_name=row["target_display_name"],
            pairing_id=row["pairing_id"],
            pairing_kind=row["kind"],
            pairing_status="matched",
            pairing_deadline_at=row["deadline_at"],
            pairing_failure_tag=None,
            fallback_status=None,
            fallback_answer_by=None,
            session_id=row["session_id"],
            server_now=row["now"],
        )
    )


def _started_session(row: Any, mitra_id: UUID) -> SessionViews:
    return sessions.both_views(
        {
            **dict(row),
            "id": row["session_id"],
            "status": "active",
            "mitra_id": mitra_id,
            "ended_at": None,
            "end_reason": None,
            "extension_id": None,
            "server_now": row["now"],
        }
    )


async def reject(
    tx: Transaction, mitra_id: UUID, request_id: UUID, candidates: Sequence[UUID] | None
) -> None:
    """offered → rejected, and the failure at once when nobody else is left (2b.4)."""
    await pairing.reject(tx, request_id, mitra_id, candidates)


async def rename_customer(tx: Transaction, customer_id: UUID, call_name: str) -> None:
    """Change the call name; the mitra of a running session learns it. Raises ValidationFailed.

    The session is looked at under its lock: told of without it, one that ends meanwhile would seem to run again.
    """
    await accounts.rename_customer(tx, customer_id, call_name)
    session_id = await tx.fetchval(SQL.running_session, customer_id)
    if session_id is not None:
        await tell_session(tx, session_id)


async def tell_session(tx: Transaction, session_id: UUID) -> None:
    """A name changed: both sides get the session as it is, unless it has ended. Takes its lock."""
    session = await extension.lock_session(tx, session_id)
    if session.runs:
        await realtime.append(tx, session_updated(await sessions.session_views(tx, session_id)))


async def tell_payment(tx: Transaction, presence: Presence, payment_id: UUID) -> None:
    """A name changed: the customer gets the payment as it is. Presence is asked first, then its lock is taken."""
    people = await tx.fetchrow(SQL.people_of_payment, payment_id)
    assert people is not None  # Payments are never deleted.
    available = await others_available(presence, people["customer_id"], people["target_mitra_id"])
    await payments.lock(tx, payment_id)
    others = [payment_id] if available else []
    await realtime.append(tx, await views.payment_events(tx, payment_id, other_available=others))


async def cancel_search(tx: Transaction, customer_id: UUID, pairing_id: UUID) -> Pairing:
    """open → failed with `customer_cancelled`. Raises NotFound, PairingDecided."""
    await pairing.cancel(tx, pairing_id, customer_id)
    return await views.pairing_view(tx, pairing_id, customer_id)


async def take_fallback(
    tx: Transaction, customer_id: UUID, pairing_id: UUID, candidates: Sequence[UUID] | None
) -> Pairing:
    """The new blast under the same payment, after a targeted pairing failed (3.5).

    `candidates` is what presence said just before; None: unknown. Raises NotFound, FallbackDecided; PresenceUnknown and
    NoMitraAvailable leave the choice open.
    """
    failed = await pairing.lock_failed(tx, pairing_id, customer_id)
    if candidates is None:
        raise PresenceUnknown
    assert failed.target_mitra_id is not None  # pairings_fallback_after_a_targeted_failure, pairings_target
    if not pairing.anybody_else(candidates, failed.target_mitra_id, customer_id):
        raise NoMitraAvailable
    window_seconds = await configuration.pairing_blast_timeout_seconds(tx)
    blast_id = await pairing.take_fallback(tx, failed, window_seconds, candidates)
    await realtime.append(tx, await views.payment_events(tx, failed.payment_id))
    return await views.pairing_view(tx, blast_id, customer_id)


def shown_with(payment: Payment, customer_id: UUID, candidates: Sequence[UUID] | None) -> Payment:
    """`as_shown` for whoever has asked already who may be asked: in a transaction nobody waits for presence."""
    if payment.pairing is None or payment.target_mitra is None:
        return payment
    available = pairing.anybody_else(candidates, payment.target_mitra.id, customer_id)
    shown = views.with_other_available(payment.pairing, other_available=available)
    return msgspec.structs.replace(payment, pairing=shown)


async def as_shown(presence: Presence, customer_id: UUID, payment: Payment) -> Payment:
    """A payment as a reader gets it: whether a fallback under it could be taken at this moment (3.5)."""
    shown = payment.pairing
    if shown is None or shown.fallback is None or not shown.fallback.allowed or payment.target_mitra is None:
        return payment
    available = await others_available(presence, customer_id, payment.target_mitra.id)
    shown = views.with_other_available(shown, other_available=bool(available))
    return msgspec.structs.replace(payment, pairing=shown)


# Mitras --------------------------------------------------------------------------------------------------


async def intent_changed(tx: Transaction, mitra_id: UUID, online: bool) -> None:
    """The toggle to offline withdraws the mitra's requests, in the same transaction; they are offered again on
    return by the offers that going online sets off. Targeted pairings (4.4) and pending extensions (5.6) are lost."""
    if not online:
        await pairing.withdraw(tx, mitra_id, "went_offline")
        await extension.toggle_went_off(tx, mitra_id)


async def rename_mitra(tx: Transaction, mitra_id: UUID, display_name: str, *, by: str) -> None:
    """One display name → another. The customers who see it now learn of it from the worker, since the locks of their
    sessions and payments come before the mitra's. Raises ValidationFailed, NotFound."""
    await accounts.rename_mitra(tx, mitra_id, display_name, by=by)
    for row in await tx.fetch(SQL.running_sessions_of_mitra, mitra_id):
        await deadlines.arm_now(tx, SESSION_RENAMED, row["id"])
    for row in await tx.fetch(SQL.open_payments_for_mitra, mitra_id):
        await deadlines.arm_now(tx, PAYMENT_RENAMED, row["id"])


async def change_capacity(tx: Transaction, mitra_id: UUID, max_customers: int, *, by: str) -> None:
    """How many customers at once: raised, the mitra is offered what is open; lowered to what it has, its requests
    close as when it fills up. Sessions go on. Raises NotFound, ValidationFailed."""
    is_full = await accounts.change_capacity(tx, mitra_id, max_customers, by=by)
    if is_full:
        await pairing.withdraw(tx, mitra_id, "at_capacity")


async def suspend_mitra(tx: Transaction, mitra_id: UUID, *, by: str = "command line") -> None:
    """Suspend: sockets close and requests are withdrawn now; the worker ends the running sessions at once, each in
    a transaction of its own, since a session's lock comes before its mitra's. Repeated, nothing happens."""
    if not await accounts.suspend_mitra(tx, mitra_id, by=by):
        return
    await pairing.withdraw(tx, mitra_id, "suspended")
    await extension.toggle_went_off(tx, mitra_id)
    for row in await tx.fetch(SQL.running_sessions_of_mitra, mitra_id):
        await deadlines.arm_now(tx, SUSPENSION_END, row["id"])
