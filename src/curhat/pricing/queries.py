"""Generated from queries.sql by `make contracts`. Do not edit."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

import msgspec

from curhat.kit.database import Executor, NoRow
from curhat.pricing.schemas import Purpose


class ListOffersRow(msgspec.Struct, frozen=True):
    id: UUID
    duration_minutes: int
    price_rp: int
    is_trial: bool


LIST_OFFERS: Final = """
SELECT id, duration_minutes, price_rp, is_trial FROM offers
WHERE purpose = $1 AND withdrawn_at IS NULL
    AND NOT (is_trial AND trial_is_used($2))
ORDER BY is_trial DESC, duration_minutes
"""


async def list_offers(db: Executor, /, *, purpose: Purpose, customer_id: UUID) -> list[ListOffersRow]:
    """Read the current offers that this customer can choose. The trial comes first, and the paid offers follow in order of
    duration."""
    return [ListOffersRow(*row) for row in await db.fetch(LIST_OFFERS, purpose, customer_id)]


class PublicPrices(msgspec.Struct, frozen=True):
    lowest_price_rp: int | None
    trial_minutes: int | None


READ_PUBLIC_PRICES: Final = """
SELECT min(price_rp) FILTER (WHERE NOT is_trial) AS lowest_price_rp,
    min(duration_minutes) FILTER (WHERE is_trial) AS trial_minutes
FROM offers WHERE purpose = 'session' AND withdrawn_at IS NULL
"""


async def read_public_prices(db: Executor, /) -> PublicPrices:
    """Read the lowest price of a session, and the duration of the trial."""
    row = await db.fetchrow(READ_PUBLIC_PRICES)
    if row is None:
        raise NoRow(READ_PUBLIC_PRICES)
    return PublicPrices(*row)


class FindOfferRow(msgspec.Struct, frozen=True):
    id: UUID
    duration_minutes: int
    price_rp: int
    is_trial: bool
    is_used_up: bool


FIND_OFFER: Final = """
SELECT id, duration_minutes, price_rp, is_trial, is_trial AND trial_is_used($1) AS is_used_up
FROM offers WHERE id = $2 AND purpose = $3 AND withdrawn_at IS NULL
"""


async def find_offer(
    db: Executor, /, *, customer_id: UUID, id: UUID, purpose: Purpose
) -> FindOfferRow | None:
    """Read one current offer. `is_used_up` is true if the offer is the trial and this customer can no longer use the trial.
    Returns no row if the offer is unknown, withdrawn or for another purpose."""
    row = await db.fetchrow(FIND_OFFER, customer_id, id, purpose)
    if row is None:
        return None
    return FindOfferRow(*row)


IS_TRIAL_AVAILABLE: Final = """
SELECT EXISTS (SELECT 1 FROM offers WHERE is_trial AND withdrawn_at IS NULL)
    AND NOT trial_is_used($1) AS is_available
"""


async def is_trial_available(db: Executor, /, *, customer_id: UUID) -> bool:
    row = await db.fetchrow(IS_TRIAL_AVAILABLE, customer_id)
    if row is None:
        raise NoRow(IS_TRIAL_AVAILABLE)
    value: bool = row[0]
    return value


IS_TRIAL_USED: Final = """
SELECT trial_is_used($1) AS is_used
"""


async def is_trial_used(db: Executor, /, *, customer_id: UUID) -> bool:
    row = await db.fetchrow(IS_TRIAL_USED, customer_id)
    if row is None:
        raise NoRow(IS_TRIAL_USED)
    value: bool = row[0]
    return value


SEED_OFFERS: Final = """
INSERT INTO offers (purpose, duration_minutes, price_rp, is_trial)
SELECT purpose, duration_minutes, price_rp, price_rp = 0
FROM unnest($1::text[], $2::integer[], $3::integer[])
    AS seed (purpose, duration_minutes, price_rp)
ON CONFLICT (purpose, duration_minutes, is_trial) WHERE withdrawn_at IS NULL DO NOTHING
"""


async def seed_offers(
    db: Executor,
    /,
    *,
    purposes: Sequence[Purpose],
    durations_minutes: Sequence[int],
    prices_rp: Sequence[int],
) -> None:
    """Insert each offer (nothing → current). An offer at Rp0 is the trial. If a current offer already has the purpose and
    the duration of a given offer, the statement skips the given offer."""
    await db.execute(SEED_OFFERS, purposes, durations_minutes, prices_rp)
