"""Opens, confirms, cancels and expires payments. Functions that take a transaction never commit it."""

from collections.abc import Sequence
from uuid import UUID

from curhat.accounts import service as accounts
from curhat.configuration import service as configuration
from curhat.content.texts import service as texts
from curhat.content.texts.kinds import KINDS_OF
from curhat.journeys import queries
from curhat.journeys.availability import (
    GateAnswer,
    SomeCandidates,
    lacks,
    others_available,
    refuse_strangers,
    status_of,
)
from curhat.journeys.searching import begin_search
from curhat.kit.database import Database, Transaction
from curhat.kit.errors import PresenceUnknown
from curhat.kit.identity import Identity
from curhat.kit.pause_points import pause_point
from curhat.pairing import service as pairing
from curhat.pairing import views
from curhat.pairing.errors import MitraUnavailable, NoMitraAvailable
from curhat.pairing.schemas import Payment
from curhat.payments import service as payments
from curhat.payments.errors import JourneyInProgress
from curhat.payments.queries import LockedPayment
from curhat.payments.service import Charge
from curhat.presence import service as presence_service
from curhat.presence.service import Presence
from curhat.pricing import service as pricing
from curhat.realtime import service as realtime
from curhat.safety.blocks import service as blocks
from curhat.safety.reports import service as reports


async def open_payment(
    tx: Transaction, customer_id: UUID, offer_id: UUID, gate: GateAnswer, target_mitra_id: UUID | None = None
) -> Payment:
    """Open a payment session (2a), for a blast (1) or for the mitra of a past chat (3.2).

    Raises Suspended, AcknowledgementNeeded, JourneyInProgress, AcceptanceNeeded, TrialUsed, TooManyRequests and
    PresenceUnknown. Raises NotFound for an unknown offer, or for a mitra with whom this customer never had a session.
    Without a chosen mitra, raises NoMitraAvailable if no mitra can be asked. With a chosen mitra, raises
    MitraUnavailable if this mitra is not available, even if other mitras are available (3.6).
    """
    # A block that is under way closes the requests of the customer's open payment. Wait for it, so that it cannot miss
    # this payment (T.1).
    await blocks.lock_blocks_of(tx, customer_id)
    # With `until_commit`, no deletion of the account commits meanwhile (P.3).
    await accounts.refuse_suspended_customer(tx, customer_id, until_commit=True)
    await reports.refuse_unacknowledged(tx, Identity("customer", customer_id))
    if target_mitra_id is not None:
        await refuse_strangers(tx, customer_id, target_mitra_id)
    await _refuse_obstacles(tx, customer_id)
    offer = await pricing.quote(tx, customer_id, offer_id, "session")
    timeout_minutes = await configuration.payment_session_timeout_minutes(tx)
    payment_id = await payments.open_payment(tx, customer_id, offer, timeout_minutes, target_mitra_id)
    await pause_point("open_payment.opened")
    # Check a second time, because a mitra has perhaps accepted a request of this customer meanwhile.
    # Step 1: The accept closes the customer's old payment and starts a session, but does not commit yet. The first
    # check does not see the session.
    # Step 2: The INSERT above waits for the accept, because a customer can have only one open payment.
    # Step 3: The accept commits. The INSERT succeeds, because the old payment is no longer open. The second check sees
    # the session.
    # Also check the trial again. If the customer has cancelled the search of an earlier trial payment meanwhile, the
    # trial is used up.
    await _refuse_during_session(tx, customer_id)
    if offer.is_trial:
        await pricing.refuse_used_trial(tx, customer_id)
    if gate.available is None:
        raise PresenceUnknown
    if target_mitra_id is not None:
        if gate.mitra_reachable is None:
            raise PresenceUnknown
        target = await presence_service.mitra_state(tx, target_mitra_id)
        is_blocked = target_mitra_id in await blocks.blocked_mitras(tx, customer_id)
        status = status_of(target, reachable=gate.mitra_reachable, is_blocked=is_blocked)
        if status != "available":
            raise MitraUnavailable(mitra_status=status, other_available=gate.available)
    elif not gate.available:
        raise NoMitraAvailable
    await realtime.append(tx, await views.payment_events(tx, payment_id))
    return await views.payment_view(tx, payment_id, customer_id)


async def _refuse_obstacles(tx: Transaction, customer_id: UUID) -> None:
    """Refuse to open a payment during a session, and before the newest texts are accepted (P.1).

    A text that is published after this check counts for the customer's next payment.
    """
    obstacles = await queries.find_obstacles(tx, customer_id=customer_id, kinds=KINDS_OF["customer"])
    if obstacles.session_id is not None:
        raise JourneyInProgress(session_id=obstacles.session_id)
    texts.refuse_kinds(obstacles.missing_kinds)


async def _refuse_during_session(tx: Transaction, customer_id: UUID) -> None:
    session_id = await queries.find_running_session(tx, customer_id=customer_id)
    if session_id is not None:
        raise JourneyInProgress(session_id=session_id)


async def begin_confirmation(
    tx: Transaction, customer_id: UUID, payment_id: UUID, candidates: Sequence[UUID] | None
) -> Charge | None:
    """Begin to confirm a payment. For a payment of Rp0, confirm the payment and begin the search.

    Returns the charge to carry out after the commit. Returns None if there is nothing to charge, or the payment is
    already confirmed or confirming. `candidates` are the mitras who can be asked. None means that presence is unknown.
    Raises NotFound, PaymentExpired, PaymentClosed. Raises Suspended, TrialUsed, PresenceUnknown, NoMitraAvailable,
    MitraUnavailable or TooManyRequests before anything is charged, and leaves the payment pending.
    """
    payment = await payments.lock_own(tx, payment_id, customer_id)
    if payment.status != "pending":
        if payment.confirmed_at is None and payment.status != "confirming":
            raise payments.closed_error(payment.status)
        return None
    await accounts.refuse_suspended_customer(tx, customer_id, until_commit=True)
    if not payment.is_over:  # payments.begin_confirmation refuses a payment whose time is over.
        await _refuse_empty_search(tx, payment, candidates)
    charge = await payments.begin_confirmation(tx, payment)
    if charge is None:
        await begin_search(tx, payment, candidates)
    else:
        await realtime.append(tx, await views.payment_events(tx, payment_id))
    return charge


async def _refuse_empty_search(
    tx: Transaction, payment: LockedPayment, candidates: Sequence[UUID] | None
) -> None:
    """Refuse to confirm a trial that is used up (2a.9), and a payment whose search could ask nobody (1.8).

    If the chosen mitra is not available but other mitras are, the payment is charged and carries over (4.4). If mitras
    can be missing in `candidates`, presence is unknown wherever a missing mitra would change the answer.
    """
    if payment.amount_rp == 0:
        await pricing.refuse_used_trial(tx, payment.customer_id)
    if candidates is None:
        raise PresenceUnknown
    # The caller holds the payment's lock, so these are all blocks (T.1).
    blocked = await blocks.blocked_mitras(tx, payment.customer_id)
    if payment.target_mitra_id is None:
        if not await pairing.can_ask_anybody(tx, candidates, payment.customer_id, *blocked):
            raise PresenceUnknown if isinstance(candidates, SomeCandidates) else NoMitraAvailable
        return
    target = await presence_service.mitra_state(tx, payment.target_mitra_id)
    is_blocked = target.id in blocked
    status = status_of(target, reachable=target.id in candidates, is_blocked=is_blocked)
    if status == "available":
        return
    if status_of(target, reachable=not lacks(candidates, target.id), is_blocked=is_blocked) == "available":
        # Only Valkey's list lacks the chosen mitra, and mitras can be missing in it.
        raise PresenceUnknown
    if not await pairing.can_ask_anybody(tx, candidates, payment.customer_id, target.id, *blocked):
        if isinstance(candidates, SomeCandidates):
            raise PresenceUnknown
        raise MitraUnavailable(mitra_status=status, other_available=False)


async def cancel_payment(tx: Transaction, customer_id: UUID, payment_id: UUID) -> Payment:
    """Cancel a payment: pending → abandoned. The payment's row stays (2a.4).

    Raises NotFound, and the errors of payments.abandon.
    """
    payment = await payments.lock_own(tx, payment_id, customer_id)
    if payment.status != "abandoned":
        await payments.abandon(tx, payment)
        await realtime.append(tx, await views.payment_events(tx, payment_id))
    return await views.payment_view(tx, payment_id, customer_id)


async def expire_payments(tx: Transaction, *payment_ids: UUID) -> list[UUID]:
    """Expire the pending payments whose `expires_at` has passed (2a.5). Logs each failure, but opens no case (2a.4).

    Returns the ids of the payments that expired.
    """
    expired = await payments.expire(tx, payment_ids)
    if expired:
        sessions_paid_for = [payment_id for payment_id, purpose in expired.items() if purpose == "session"]
        await pairing.log_expired_payments(tx, sessions_paid_for)
        await realtime.append(tx, await views.payment_events(tx, *expired))
    return list(expired)


async def as_shown(
    database: Database, presence: Presence, customer_id: UUID, payment: views.AnyPayment
) -> views.AnyPayment:
    """Return the payment as its customer sees it.

    If the payment offers a fallback, ask presence whether another mitra can be asked now (3.5).
    """
    fallback = None if payment.pairing is None else payment.pairing.fallback
    if fallback is None or not fallback.allowed or payment.target_mitra is None:
        return payment
    blocked = await blocks.blocked_mitras(database, customer_id)
    available = await others_available(presence, customer_id, payment.target_mitra.id, *blocked)
    return views.with_other_available(payment, other_available=bool(available))


async def shown_with(
    tx: Transaction, payment: Payment, customer_id: UUID, candidates: Sequence[UUID] | None
) -> Payment:
    """Return the payment as its customer sees it. Unlike `as_shown`, this function runs inside a transaction.

    `candidates` are the mitras who can be asked. `candidates` is None if presence was unknown just before the
    transaction.
    """
    if payment.target_mitra is None:
        return payment
    available = await pairing.anybody_else(tx, candidates, customer_id, payment.target_mitra.id)
    return views.with_other_available(payment, other_available=available)
