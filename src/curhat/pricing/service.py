"""Offers, quotes and the trial. Every function takes an open transaction and never commits it."""

from typing import Final
from uuid import UUID

import msgspec

from curhat.kit.database import Transaction
from curhat.kit.errors import NotFound
from curhat.pricing import queries
from curhat.pricing.errors import TrialUsed
from curhat.pricing.schemas import Offer, Purpose

# The price tiers of 2a.2: purpose, minutes, rupiah.
SEED: Final[tuple[tuple[Purpose, int, int], ...]] = (
    ("session", 5, 0),
    ("session", 15, 10_000),
    ("session", 30, 20_000),
    ("session", 60, 35_000),
    ("extension", 15, 10_000),
    ("extension", 30, 18_000),
)


async def offers(tx: Transaction, customer_id: UUID, purpose: Purpose) -> list[Offer]:
    """Return the offers that this customer can choose. The trial is first.

    The offers after the trial are in the order of their durations.
    """
    rows = await queries.list_offers(tx, customer_id=customer_id, purpose=purpose)
    return msgspec.convert(rows, list[Offer], from_attributes=True)


async def quote(tx: Transaction, customer_id: UUID, offer_id: UUID, purpose: Purpose) -> Offer:
    """Return an offer that this customer can choose.

    Raises NotFound for an offer that is unknown, withdrawn or for another purpose. Raises TrialUsed.
    """
    offer = await queries.find_offer(tx, customer_id=customer_id, id=offer_id, purpose=purpose)
    if offer is None:
        raise NotFound
    if offer.is_used_up:
        raise TrialUsed
    return msgspec.convert(offer, Offer, from_attributes=True)


async def refuse_used_trial(tx: Transaction, customer_id: UUID) -> None:
    """Raise TrialUsed if this customer can no longer confirm a trial (2a.9)."""
    if await queries.is_trial_used(tx, customer_id=customer_id):
        raise TrialUsed


async def trial_available(tx: Transaction, customer_id: UUID) -> bool:
    """Return whether a trial offer is current and this customer can have it (2a.3, 2a.9)."""
    return await queries.is_trial_available(tx, customer_id=customer_id)


async def seed_offers(tx: Transaction) -> None:
    """Write the price tiers of 2a.2.

    A repeated call changes nothing, even if the prices have changed since the first call.
    """
    purposes, durations_minutes, prices_rp = zip(*SEED, strict=True)
    await queries.seed_offers(tx, purposes=purposes, durations_minutes=durations_minutes, prices_rp=prices_rp)
