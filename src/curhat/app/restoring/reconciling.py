"""Compares the gateway's records with ours after a restore, and records what only the gateway knows.

The steps span packages. A charge or refund that the restore lost also ends what it decided: an open extension, or the
search of a payment that was refunded. Each charge and each refund is recorded in a transaction of its own. A repeated
call finds only what is not recorded yet.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, TypeVar
from uuid import UUID

from curhat.kit.database import Database, Transaction
from curhat.pairing import service as pairing
from curhat.payments import reconciliation
from curhat.payments.gateway import Gateway, ListedCharge, ListedRefund
from curhat.payments.queries import LateCharge
from curhat.sessions import extension

# The gateway's clock can differ from the database's clock, so begin the comparison CLOCK_MARGIN before `since`.
# Comparing a charge that we know costs little.
CLOCK_MARGIN: Final = timedelta(hours=1)
# How many charges one statement compares.
CHARGES_PER_STATEMENT: Final = 500

Listed = TypeVar("Listed")


@dataclass(slots=True)
class Unknown:
    """What only the gateway knows: charges, approvals of charges that we know (`late`), and refunds."""

    charges: list[ListedCharge] = field(default_factory=list)
    late: list[LateCharge] = field(default_factory=list)
    refunds: list[ListedRefund] = field(default_factory=list)

    def __str__(self) -> str:
        amounts_rp = [charge.amount_rp for charge in self.charges]
        amounts_rp += [charge.amount_rp for charge in self.late]
        return f"{len(amounts_rp)} charges of Rp{sum(amounts_rp)} and {len(self.refunds)} refunds"


async def find_unknown(database: Database, gateway: Gateway, since: datetime) -> Unknown:
    """Compare the gateway's charges and refunds from `since` on with our charges and refunds. Raises GatewayUnknown.

    Also ask about each older charge of which we know no final answer.
    """
    since -= CLOCK_MARGIN
    async with database.transaction() as tx:
        undecided = await reconciliation.undecided_keys(tx, since)
    charges = await _all(gateway.list_charges(since))
    refunds = await _all(gateway.list_refunds(since))
    approved = {charge.key for charge in charges if charge.status == "approved"}
    for key in undecided:
        if key not in approved and (await gateway.find_charge(key)).status == "approved":
            approved.add(key)
    unknown = Unknown()
    async with database.transaction() as tx:
        for some_charges in _batches(charges):
            unknown.charges += await reconciliation.unknown_charges(tx, some_charges)
        for some_refunds in _batches(refunds):
            unknown.refunds += await reconciliation.unknown_refunds(tx, some_refunds)
        # A charge that the gateway has given back was approved before.
        approved |= {refund.charge_key for refund in unknown.refunds}
        for some_keys in _batches(sorted(approved)):
            unknown.late += await reconciliation.late_charges(tx, some_keys)
    return unknown


async def record(database: Database, unknown: Unknown) -> None:
    """Record what only the gateway knows. Refunds come last, because each belongs to a charge."""
    for charge in unknown.charges:
        async with database.transaction() as tx:
            await extension.charge_was_lost(tx, charge.payment_id)
            await reconciliation.record_lost_charge(tx, charge)
    for late in unknown.late:
        async with database.transaction() as tx:
            await extension.charge_was_lost(tx, late.payment_id)
            await reconciliation.record_late_charge(tx, late.key)
    for refund in unknown.refunds:
        async with database.transaction() as tx:
            await _end_search(tx, refund.charge_key)
            await reconciliation.record_lost_refund(tx, refund)


async def _end_search(tx: Transaction, charge_key: UUID) -> None:
    payment_id = await reconciliation.searching_payment(tx, charge_key)
    if payment_id is not None:
        await pairing.end_search_of_refunded(tx, payment_id)


async def _all(listed: AsyncIterator[Listed]) -> list[Listed]:
    return [one async for one in listed]


def _batches(listed: Sequence[Listed]) -> list[Sequence[Listed]]:
    return [
        listed[start : start + CHARGES_PER_STATEMENT]
        for start in range(0, len(listed), CHARGES_PER_STATEMENT)
    ]
