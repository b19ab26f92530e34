"""Records money that only the gateway knows, because a restore to an earlier time lost our record of it (X.1, X.9).

A charge after the restored time has perhaps paid for a chat that took place and that the restore lost. The tables do
not show whether the chat took place. So the service refunds no lost charge automatically. Each lost charge gets a
review case with the reason `restored`, and an operator decides. This also holds for a charge that had no final answer
at the restored time. Every function takes an open transaction and never commits it. A repeated call changes nothing.

The functions change payments, charge attempts, refunds and cases. The caller first ends what belongs to other packages:
the open extension of the payment, and the search of a payment that was refunded (app/restoring/reconciling.py).
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID, uuid4

from curhat.accounts import service as accounts
from curhat.deadlines import service as deadlines
from curhat.kit.database import Transaction
from curhat.kit.queries import read_clock
from curhat.payments import queries, service
from curhat.payments.gateway import ListedCharge, ListedRefund
from curhat.payments.queries import LateCharge
from curhat.payments.service import CHARGE_ANSWER, REFUND_ANSWER

# The reason of a charge attempt or refund that only the gateway knew after a restore. The invariants know this text.
RESTORED: Final = "known to the gateway alone after a restore"


async def unknown_charges(tx: Transaction, listed: Sequence[ListedCharge]) -> list[ListedCharge]:
    """Return the charges that we do not know, and that have taken money or can still take money."""
    keys = await queries.find_unknown_charges(tx, keys=[charge.key for charge in listed])
    return [charge for charge in listed if charge.key in set(keys) and charge.status != "declined"]


async def unknown_refunds(tx: Transaction, listed: Sequence[ListedRefund]) -> list[ListedRefund]:
    """Return the refunds that we do not know, and that have given money back or can still give money back."""
    keys = await queries.find_unknown_refunds(tx, keys=[refund.key for refund in listed])
    return [refund for refund in listed if refund.key in set(keys) and refund.status != "failed"]


async def undecided_keys(tx: Transaction, since: datetime) -> list[UUID]:
    """Return the keys of the charges that can have got their final answer after `since`, as far as we know."""
    return await queries.list_undecided_attempts(tx, since=since)


async def late_charges(tx: Transaction, approved_keys: Collection[UUID]) -> list[LateCharge]:
    """Return the charges that we know, and of which only the gateway knows that it approved them."""
    return await queries.find_late_charges(tx, keys=list(approved_keys))


async def record_late_charge(tx: Transaction, key: UUID) -> None:
    """started or declined → approved late, with an open case.

    If the payment is still open, close the payment, so that its customer cannot pay again. An extension of the payment
    must be closed already.
    """
    payment_id = await queries.find_payment_of_attempt(tx, attempt_id=key)
    assert payment_id is not None  # `late_charges` has found the attempt.
    payment = await service.lock(tx, payment_id)
    attempt = await queries.lock_attempt(tx, attempt_id=key)
    if attempt.attempt_status not in ("started", "declined"):
        return
    await deadlines.disarm(tx, CHARGE_ANSWER, key)
    if payment.purpose == "session" and payment.status in ("pending", "confirming"):
        await service.close(tx, [payment_id], "abandoned")
    await queries.answer_attempt(tx, attempt_id=key, attempt_status="approved_late", reason=RESTORED)
    await service.open_cases(tx, [payment_id], "restored")


async def searching_payment(tx: Transaction, charge_key: UUID) -> UUID | None:
    """Return the payment that this charge paid, if the payment's search has not ended."""
    return await queries.find_searching_payment(tx, attempt_id=charge_key)


async def record_lost_charge(tx: Transaction, charge: ListedCharge) -> None:
    """nothing → approved late, with an open case; or nothing → started, if the gateway has not decided yet.

    If the payment is still open, close the payment, so that its customer cannot pay again. If the restore lost the
    payment too, or if the charge was for an extension, insert a payment for the charge alone.
    If no payment can be inserted, because there is no offer, raise a gateway alert.
    """
    payment_id = await _payment_of(tx, charge)
    if payment_id is None:
        await service.raise_alert(tx, "gateway_alert:unknown_charge", charge.key, charge.amount_rp)
        return
    await queries.insert_lost_attempt(
        tx,
        key=charge.key,
        payment_id=payment_id,
        amount_rp=charge.amount_rp,
        attempt_status="approved_late" if charge.status == "approved" else "started",
        charged_at=charge.at,
        reason=RESTORED,
    )
    if charge.status == "approved":
        await service.open_cases(tx, [payment_id], "restored")
    else:
        # The worker queries the gateway. If the gateway approves, nothing was delivered, and the charge is refunded.
        await deadlines.arm(tx, CHARGE_ANSWER, charge.key, await read_clock(tx))


async def _payment_of(tx: Transaction, charge: ListedCharge) -> UUID | None:
    """Lock and close the payment to which the charge belongs, or insert one. Return None if there is no offer."""
    payment = await queries.lock_payment(tx, payment_id=charge.payment_id)
    customer_id = charge.customer_id if payment is None else payment.customer_id
    if payment is None:
        payment_id = charge.payment_id
    elif payment.purpose == "extension" or (
        charge.status == "processing" and await queries.has_undecided_attempt(tx, payment_id=payment.id)
    ):
        # The extension decides about its own payment (5.4). A payment has at most one undecided attempt.
        payment_id = charge.key
    else:
        if payment.status in ("pending", "confirming"):
            await service.close(tx, [payment.id], "abandoned")
        return payment.id
    customer_id = customer_id or uuid4()
    await accounts.ensure_lost_customer(tx, customer_id)
    inserted = await queries.insert_lost_payment(
        tx,
        payment_id=payment_id,
        customer_id=customer_id,
        amount_rp=charge.amount_rp,
        charged_at=charge.at,
    )
    return payment_id if inserted else None


async def record_lost_refund(tx: Transaction, refund: ListedRefund) -> None:
    """nothing → done, with a case; or nothing → requested, if the gateway has not decided yet.

    Call this after `record_lost_charge` and `record_late_charge`, and after the search of the payment has ended. If a
    refund of the same charge was requested before the restored time, and both exceed the charge, take the request back.
    If the charge is unknown, or its done refunds exceed it, only people can find out where the money is: raise an
    alert.
    """
    payment_id = await queries.find_payment_of_attempt(tx, attempt_id=refund.charge_key)
    if payment_id is None:
        await service.raise_alert(tx, "gateway_alert:unknown_refund", refund.key, refund.amount_rp)
        return
    await service.lock(tx, payment_id)
    # The gateway accepts further refunds of a charge only if they do not exceed the charge.
    if not await service.make_room(tx, refund.charge_key, refund.key, refund.amount_rp, None):
        await service.raise_alert(
            tx, "gateway_alert:refunded_twice", refund.key, refund.amount_rp, payment_id
        )
        return
    is_done = refund.status == "done"
    await queries.insert_lost_refund(
        tx,
        key=refund.key,
        payment_id=payment_id,
        charge_key=refund.charge_key,
        amount_rp=refund.amount_rp,
        refund_status="done" if is_done else "requested",
        gateway_reason=RESTORED if is_done else None,
        requested_at=refund.at,
    )
    if is_done:
        await queries.mark_payment_refunded(tx, payment_id=payment_id, refund_id=refund.key)
    else:
        await deadlines.arm(tx, REFUND_ANSWER, refund.key, await read_clock(tx))
    await service.open_cases(tx, [payment_id], "restored")
