"""Charges a payment in three steps: record an attempt, call the gateway, record the gateway's answer.

The caller takes the first step in its own transaction. The first step records the attempt, arms the deadline
`charge_answer`, and returns a Charge. Only this module takes the second and the third step. `charge` calls the gateway
outside any transaction, and records the answer in a new transaction. The deadline fires if the process dies or the
answer is not known in time. The worker then queries the gateway by the attempt's key. The gateway's callbacks also call
`record_charge_answer`. So the gateway's answers can come in any order, twice, or late.
"""

import asyncio
import time
from uuid import UUID

import structlog

from curhat.journeys import money
from curhat.journeys.availability import candidates_or_none
from curhat.journeys.searching import begin_search
from curhat.kit.database import Database, Transaction
from curhat.kit.pause_points import pause_point
from curhat.pairing import service as pairing
from curhat.pairing import views
from curhat.payments import service as payments
from curhat.payments.gateway import ChargeAnswer, Gateway, GatewayUnknown, RefundAnswer
from curhat.payments.metrics import CHARGES
from curhat.payments.service import Charge, ChargeOutcome
from curhat.presence.service import Presence
from curhat.realtime import service as realtime
from curhat.sessions import extension
from curhat.sessions import service as sessions
from curhat.sessions.events import SESSION_UPDATED, views_to_both

log = structlog.get_logger(__name__)


async def charge(
    database: Database, presence: Presence, gateway: Gateway, attempt: Charge
) -> ChargeAnswer | None:
    """Call the gateway for a recorded attempt, and record the gateway's answer. Returns the answer.

    Returns None if the answer is not known within 5 s after the attempt began. After a result of None, the worker or a
    callback of the gateway records the answer later.
    """
    answer = await _call_gateway(gateway, attempt)
    if answer is None:
        CHARGES.labels("unanswered").inc()
    else:
        await record_charge_answer(database, presence, attempt.key, answer)
    return answer


async def _call_gateway(gateway: Gateway, attempt: Charge) -> ChargeAnswer | None:
    await pause_point("confirm.before_charge")
    left_seconds = attempt.until - time.monotonic()
    if left_seconds <= 0:
        # Do not send the charge, because the customer could pay twice.
        # Step 1: While this process was suspended, the worker queried the gateway, and the gateway did not know the
        # charge. Step 2: So the payment became pending again, and the customer has perhaps confirmed the payment again.
        return None
    try:
        async with asyncio.timeout(left_seconds):
            answer = await gateway.charge(
                attempt.key, attempt.payment_id, attempt.amount_rp, attempt.customer_id
            )
    except (TimeoutError, GatewayUnknown):
        return None
    await pause_point("confirm.after_charge")
    return None if answer.status == "processing" else answer


async def record_charge_answer(
    database: Database, presence: Presence, key: UUID, answer: ChargeAnswer
) -> ChargeOutcome | None:
    """Call `charge_answered` in a new transaction."""
    candidates = await candidates_or_none(presence)
    async with database.transaction() as tx:
        return await charge_answered(tx, key, answer, candidates)


async def charge_answered(
    tx: Transaction, key: UUID, answer: ChargeAnswer, candidates: list[UUID] | None
) -> ChargeOutcome | None:
    """Record the gateway's answer about an attempt. The answer comes from the call, a callback, or a query.

    If the answer confirms a payment, the search begins in the same transaction (2c.1). If the gateway approved the
    charge of an extension, the session becomes longer (5.4). Returns None if no attempt has this key.
    """
    session_id = await extension.session_of_charge(tx, key)
    if session_id is not None:
        return await _extension_charge_answered(tx, session_id, key, answer)
    outcome = await payments.record_charge_answer(tx, key, answer)
    if outcome is None or outcome.step == "nothing":
        return outcome
    payment = outcome.payment
    log.info("charge.answered", payment_id=str(payment.id), answer=answer.status, step=outcome.step)
    if outcome.step == "confirmed":
        await begin_search(tx, payment, candidates)
        return outcome
    if outcome.step in ("expired", "given_up"):
        await pairing.log_expired_payments(tx, [payment.id])
    await realtime.append(tx, await views.payment_events(tx, payment.id))
    return outcome


async def give_up_charge(tx: Transaction, key: UUID) -> None:
    """If the gateway has not answered 10 minutes after `expires_at`, expire the attempt's payment (2a.10).

    The customer can then open another payment. The Control Center lists the payments about which the gateway has not
    answered.
    """
    payment_id = await payments.give_up_charge(tx, key)
    if payment_id is not None:
        log.warning("charge.given_up", payment_id=str(payment_id), key=str(key))
        await pairing.log_expired_payments(tx, [payment_id])
        await realtime.append(tx, await views.payment_events(tx, payment_id))


async def _extension_charge_answered(
    tx: Transaction, session_id: UUID, key: UUID, answer: ChargeAnswer
) -> ChargeOutcome | None:
    outcome, events = await extension.charge_answered(tx, session_id, key, answer)
    if outcome is None or outcome.step == "nothing":
        return outcome
    log.info("extension.charge_answered", session_id=str(session_id), answer=answer.status, step=outcome.step)
    if outcome.step == "confirmed":
        events += views_to_both(SESSION_UPDATED, await sessions.session_views(tx, session_id))
    elif outcome.step == "refunding":
        events += await views.payment_events(tx, outcome.payment.id)
    await realtime.append(tx, events)
    return outcome


async def record_refund_answer(database: Database, refund_id: UUID, answer: RefundAnswer) -> None:
    """Call `refund_answered` in a new transaction."""
    async with database.transaction() as tx:
        await refund_answered(tx, refund_id, answer)


async def refund_answered(tx: Transaction, refund_id: UUID, answer: RefundAnswer) -> None:
    """Record the gateway's answer about a refund, and tell the customer (X.9)."""
    payment_id = await payments.record_refund_answer(tx, refund_id, answer)
    if payment_id is not None:
        await money.tell_customer(tx, payment_id)
