"""Offers, quotes and the trial. Every function takes an open transaction and never commits it."""

from typing import Final
from uuid import UUID

from curhat.kit.database import Transaction, load_queries
from curhat.kit.errors import NotFound
from curhat.pricing.errors import TrialUsed
from curhat.pricing.schemas import Offer, Purpose, Quote

SQL = load_queries(__file__)

# The mock tiers (2a.2): purpose, minutes, rupiah.
SEED: Final[tuple[tuple[Purpose, int, int], ...]] = (
    ("session", 5, 0),
    ("session", 15, 10_000),
    ("session", 30, 20_000),
    ("session", 60, 35_000),
    ("extension", 15, 10_000),
    ("extension", 30, 18_000),
)


async def offers(tx: Transaction, customer_id: UUID, purpose: Purpose) -> list[Offer]:
    """What this customer may choose from: the trial first, then by duration."""
    return [
        Offer(
            id=row["id"],
            duration_minutes=row["duration_minutes"],
            price_rp=row["price_rp"],
            is_trial=row["is_trial"],
        )
        for row in await tx.fetch(SQL.offers, customer_id, purpose)
    ]


async def quote(tx: Transaction, customer_id: UUID, offer_id: UUID, purpose: Purpose) -> Quote:
    """The terms of an offer for this customer.

    Raises NotFound for an offer that is unknown, withdrawn or for another purpose, TrialUsed.
    """
    row = await tx.fetchrow(SQL.offer, offer_id, purpose, customer_id)
    if row is None:
        raise NotFound
    if row["is_trial"] and row["trial_used"]:
        raise TrialUsed
    return Quote(
        offer_id=row["id"],
        duration_minutes=row["duration_minutes"],
        price_rp=row["price_rp"],
        is_trial=row["is_trial"],
    )


async def trial_available(tx: Transaction, customer_id: UUID) -> bool:
    """Whether this customer may have the trial: no session of one ever started (2a.3)."""
    available: bool = await tx.fetchval(SQL.trial_available, customer_id)
    return available


async def seed_offers(tx: Transaction) -> None:
    """Write the tiers of 2a.2. Repeated, nothing changes, whatever the prices have become."""
    purposes, minutes, prices = zip(*SEED, strict=True)
    await tx.execute(SQL.seed, list(purposes), list(minutes), list(prices))
