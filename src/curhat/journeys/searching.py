"""Finds a mitra for a confirmed payment: the search, the accept, the cancellation, the fallback.

Functions that take a transaction never commit it.
"""

from collections.abc import Sequence
from uuid import UUID

import msgspec
import structlog

from curhat.configuration import service as configuration
from curhat.deadlines import service as deadlines
from curhat.journeys import queries
from curhat.journeys.availability import SomeCandidates, lacks
from curhat.journeys.queries import AcceptedPairing
from curhat.journeys.schemas import AcceptedRequest
from curhat.journeys.single_flight import SingleFlight
from curhat.kit.database import Database, Transaction
from curhat.kit.errors import IdempotencyInProgress, NotFound, PresenceUnknown
from curhat.kit.http import to_answer
from curhat.kit.idempotency import Answer, IdempotentRequest, insert_answer, refusal
from curhat.kit.logging import current_correlation_id
from curhat.kit.pause_points import pause_point
from curhat.pairing import service as pairing
from curhat.pairing import views
from curhat.pairing.errors import AlreadyTaken, AtCapacity, MitraOffline, NoMitraAvailable, RequestClosed
from curhat.pairing.metrics import MATCH_SECONDS, OUTCOMES
from curhat.pairing.schemas import Pairing, Payment, PaymentOffer
from curhat.pairing.service import CLOSE_LOSERS, TARGETED_LOST, Target
from curhat.pairing.states import CloseReason
from curhat.payments.queries import LockedPayment
from curhat.presence import service as presence_service
from curhat.realtime import service as realtime
from curhat.sessions import service as sessions
from curhat.sessions.events import SESSION_STARTED, views_to_both
from curhat.sessions.schemas import MitraName, MitraSession, Session, SessionViews

log = structlog.get_logger(__name__)

# If more mitras lose, a worker closes their requests just after the winner's commit. The pairing is matched by then, so
# nobody else can accept, and each card closes with `already_taken` at the winner's signal. To close 499 requests would
# take ten times as long as the rest of the accept.
MAX_CLOSED_BY_WINNER = 50

# The answer to a mitra who accepts after another mitra has won.
ALREADY_TAKEN = refusal(AlreadyTaken())


async def begin_search(tx: Transaction, payment: LockedPayment, candidates: Sequence[UUID] | None) -> None:
    """Open the first pairing of a confirmed payment, targeted (3.2) or a blast (2b.2), and tell the customer.

    `candidates` are the mitras who can be asked, according to presence just before the transaction. None means that
    presence is unknown. While presence is unknown, a blast begins without requests, and asks mitras when they become
    available. A targeted pairing asks its mitra even if presence is unknown, or if mitras can be missing in
    `candidates`.
    """
    if payment.target_mitra_id is None:
        window_seconds = await configuration.pairing_blast_timeout_seconds(tx)
        await pairing.open_blast(tx, payment.id, window_seconds, candidates or [])
        await realtime.append(tx, await views.payment_events(tx, payment.id))
        return
    target = Target(
        mitra_id=payment.target_mitra_id,
        reachable=not lacks(candidates, payment.target_mitra_id),
        other_available=await pairing.anybody_else(
            tx, candidates, payment.customer_id, payment.target_mitra_id
        ),
    )
    window_seconds = await configuration.returning_chat_confirmation_timeout_seconds(tx)
    await pairing.open_targeted(tx, payment.id, window_seconds, target)


async def refuse_if_decided(
    database: Database, request_id: UUID, idempotent: IdempotentRequest, flight: SingleFlight
) -> Answer | None:
    """Refuse to accept a request whose pairing is already decided.

    If fifty mitras accept together, most of them get their answer from this function. If another mitra has won, the SQL
    statement stores the refusal under the idempotency key, and this function returns the refusal. Returns None if this
    mitra has won, or if the pairing is open and this accept has entered the single flight.
    Raises AlreadyTaken if another mitra has won and the key already has an answer. Raises RequestClosed if the pairing
    has failed. AlreadyTaken and RequestClosed are not stored. Raises IdempotencyInProgress.
    """
    while True:
        found = await queries.refuse_if_decided(
            database,
            request_id=request_id,
            mitra_id=idempotent.user_id,
            key=idempotent.key,
            fingerprint=idempotent.fingerprint,
            status=ALREADY_TAKEN.status,
            body=ALREADY_TAKEN.body,
        )
        if found is None:
            return None
        if found.is_stored:
            return ALREADY_TAKEN
        if found.outcome != "open":
            raise _refusal(found.outcome, found.close_reason)
        if await flight.enter(found.pairing_id):
            return None


class Accepted(msgspec.Struct, frozen=True):
    """An accept: the session as the mitra sees it, and the answer to the HTTP request."""

    session: MitraSession
    answer: Answer


async def accept(
    tx: Transaction, mitra_id: UUID, request_id: UUID, idempotent: IdempotentRequest | None = None
) -> Accepted:
    """Accept an offered request, and begin the session (2b.5). If the winner accepts again, return the same session.

    With `idempotent`, the accepting statement takes the lock of the idempotency key, and the last statement stores the
    answer under the key.
    Raises IdempotencyInProgress, NotFound, AlreadyTaken, RequestClosed, MitraOffline, AtCapacity. If several errors
    apply, the function raises the first error in this list.
    """
    correlation_id = current_correlation_id()
    key_lock = None if idempotent is None else idempotent.lock
    won = await queries.accept_and_start(
        tx,
        request_id=request_id,
        mitra_id=mitra_id,
        max_closed_requests=MAX_CLOSED_BY_WINNER,
        correlation_id=correlation_id,
        key_lock=key_lock,
    )
    if won is None:
        before = _accepted(await _session_won_before(tx, mitra_id, request_id, key_lock))
        if idempotent is not None:
            await insert_answer(tx, idempotent, before.answer)
        return before
    if won.fills_up:
        # The accepting statement can miss a request of a customer who chose this mitra.
        # Step 1: `open_targeted` locks the mitra's row FOR SHARE, and inserts the request.
        # Step 2: The accepting statement takes its snapshot, and waits for the lock of the mitra's row.
        # Step 3: `open_targeted` commits. The accepting statement goes on, but its snapshot does not contain the
        # request.
        # Withdraw the request that the accepting statement missed. This transaction now holds the lock of the mitra's
        # row, so a later `open_targeted` waits.
        await pairing.withdraw(tx, mitra_id, "at_capacity")
    if won.closes_later:
        await deadlines.arm_now(tx, CLOSE_LOSERS, won.pairing_id)
    for lost_id in won.lost_targeted:
        await deadlines.arm_now(tx, TARGETED_LOST, lost_id)
    if won.kind == "blast" and won.target_mitra_id is not None:
        await queries.mark_recovered(tx, payment_id=won.payment_id)
    started = _started_session(won, mitra_id)
    accepted = _accepted(started.for_mitra)
    events = realtime.encode(
        [*views.events_of(_served_payment(won), won.customer_id), *views_to_both(SESSION_STARTED, started)]
    )
    appended = await queries.finish_accept(
        tx,
        mitra_id=mitra_id,
        key=None if idempotent is None else idempotent.key,
        fingerprint=None if idempotent is None else idempotent.fingerprint,
        status=accepted.answer.status,
        body=accepted.answer.body,
        roles=events.roles,
        user_ids=events.user_ids,
        types=events.types,
        data=events.data,
    )
    realtime.publish_encoded(tx, events, [(row.seq, row.at) for row in appended])
    presence_service.announce(tx, [mitra_id])
    pairing.signal_requests(tx, [mitra_id, *won.closed_for])
    OUTCOMES.labels("matched").inc()
    MATCH_SECONDS.observe((won.now - won.pairing_created_at).total_seconds())
    log.info(
        "pairing.matched",
        payment_id=str(won.payment_id),
        pairing_id=str(won.pairing_id),
        session_id=str(won.session_id),
        mitra_id=str(mitra_id),
    )
    await pause_point("accept.before_commit")
    return accepted


def _accepted(session: MitraSession) -> Accepted:
    return Accepted(session, to_answer(AcceptedRequest(session=session)))


async def _session_won_before(
    tx: Transaction, mitra_id: UUID, request_id: UUID, key_lock: int | None
) -> MitraSession:
    refused = await queries.explain_refusal(tx, request_id=request_id, mitra_id=mitra_id, key_lock=key_lock)
    if refused is None:
        raise NotFound
    if refused.outcome != "won_before":
        raise _refusal(refused.outcome, refused.close_reason)
    session_id = await queries.find_session_of_pairing(tx, pairing_id=refused.pairing_id)
    return (await sessions.session_views(tx, session_id)).for_mitra


def _refusal(outcome: str, close_reason: CloseReason | None) -> Exception:
    match outcome:
        case "in_progress":
            return IdempotencyInProgress()
        case "already_taken":
            return AlreadyTaken()
        case "mitra_offline":
            return MitraOffline()
        case "at_capacity":
            return AtCapacity()
        case _:
            return RequestClosed(close_reason=close_reason)


def _served_payment(won: AcceptedPairing) -> Payment:
    """Return the payment as its customer sees it after the accept."""
    return Payment(
        id=won.payment_id,
        purpose="session",
        status="served",
        offer=PaymentOffer(won.offer_id, won.duration_minutes, won.amount_rp, won.is_trial),
        amount_rp=won.amount_rp,
        target_mitra=views.target_from(won.target_mitra_id, won.target_display_name),
        created_at=won.payment_created_at,
        expires_at=won.payment_expires_at,
        pairing=Pairing(
            id=won.pairing_id,
            payment_id=won.payment_id,
            kind=won.kind,
            status="matched",
            deadline_at=won.deadline_at,
            failure_tag=None,
            anybody_asked=True,
            fallback=None,
            session_id=won.session_id,
            server_now=won.now,
        ),
        server_now=won.now,
    )


def _started_session(won: AcceptedPairing, mitra_id: UUID) -> SessionViews:
    """Return the session as both sides see it when it begins."""
    session = Session(
        id=won.session_id,
        status="active",
        mitra=MitraName(id=mitra_id, display_name=won.display_name),
        started_at=won.started_at,
        ends_at=won.ends_at,
        ended_at=None,
        end_reason=None,
        duration_minutes=won.duration_minutes,
        extended_minutes=0,
        extension=None,
        payment_id=won.payment_id,
        mitra_connected=True,
        review_possible_at=None,
        review_reason=None,
        text_until=None,
        text_gone=False,
        server_now=won.now,
    )
    return sessions.both_views(session, customer_id=won.customer_id, call_name=won.call_name)


async def cancel_search(tx: Transaction, customer_id: UUID, pairing_id: UUID) -> Pairing:
    """Fail an open pairing with the tag `customer_cancelled`. Raises NotFound, PairingDecided."""
    await pairing.cancel(tx, pairing_id, customer_id)
    return await views.pairing_view(tx, pairing_id, customer_id)


async def take_fallback(
    tx: Transaction, customer_id: UUID, pairing_id: UUID, candidates: Sequence[UUID] | None
) -> Pairing:
    """Take the fallback of a failed targeted pairing: open a blast under the same payment (3.5).

    `candidates` are the mitras who can be asked, or None if presence was unknown just before the transaction.
    Raises NotFound, FallbackDecided. Raises PresenceUnknown or NoMitraAvailable. After PresenceUnknown or
    NoMitraAvailable, the fallback stays open, so the customer can still take or decline the fallback.
    """
    failed = await pairing.lock_failed(tx, pairing_id, customer_id)
    if candidates is None:
        raise PresenceUnknown
    assert failed.target_mitra_id is not None  # pairings_fallback_after_a_targeted_failure, pairings_target
    if not await pairing.anybody_else(tx, candidates, customer_id, failed.target_mitra_id):
        raise PresenceUnknown if isinstance(candidates, SomeCandidates) else NoMitraAvailable
    window_seconds = await configuration.pairing_blast_timeout_seconds(tx)
    blast_id = await pairing.take_fallback(tx, failed, window_seconds, candidates)
    await realtime.append(tx, await views.payment_events(tx, failed.payment_id))
    return await views.pairing_view(tx, blast_id, customer_id)
