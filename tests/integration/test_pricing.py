"""Test offers, quotes and the trial on a real PostgreSQL."""

from uuid import UUID, uuid4

import pytest

from curhat.kit.database import Database
from curhat.kit.errors import NotFound
from curhat.pricing import service
from curhat.pricing.errors import TrialUsed
from curhat.pricing.schemas import Offer, Purpose
from tests.support.people import Make

TIERS = [(5, 0, True), (15, 10_000, False), (30, 20_000, False), (60, 35_000, False)]


@pytest.fixture
async def customer(database: Database, make: Make) -> UUID:
    """Seed the offers, and create a customer."""
    async with database.transaction() as tx:
        await service.seed_offers(tx)
    return await make.customer()


async def offers(database: Database, customer_id: UUID, purpose: Purpose = "session") -> list[Offer]:
    async with database.transaction() as tx:
        return await service.offers(tx, customer_id, purpose)


async def quote(database: Database, customer_id: UUID, offer_id: UUID, purpose: Purpose = "session") -> Offer:
    async with database.transaction() as tx:
        return await service.quote(tx, customer_id, offer_id, purpose)


async def trial_available(database: Database, customer_id: UUID) -> bool:
    async with database.transaction() as tx:
        return await service.trial_available(tx, customer_id)


async def trial_payment(make: Make, customer_id: UUID) -> UUID:
    """Create a confirmed payment for the trial."""
    return await make.confirmed_payment(customer_id, duration_minutes=5, price_rp=0)


async def start_session(database: Database, make: Make, payment_id: UUID) -> None:
    """Start the session of this payment, as an accept does."""
    mitra_id = await make.mitra()
    await database.execute(
        """
        WITH pairing AS (
            INSERT INTO pairings (payment_id, customer_id, kind, deadline_at)
            SELECT id, customer_id, 'blast', curhat_now() + interval '1 minute' FROM payments WHERE id = $1
            RETURNING id, payment_id, customer_id
        )
        INSERT INTO sessions (payment_id, pairing_id, customer_id, mitra_id, duration_minutes, is_trial, ends_at)
        SELECT payments.id, pairing.id, payments.customer_id, $2, payments.duration_minutes, payments.is_trial,
            curhat_now() + interval '5 minutes'
        FROM pairing JOIN payments ON payments.id = pairing.payment_id
        """,
        payment_id,
        mitra_id,
    )


def terms(found: list[Offer]) -> list[tuple[int, int, bool]]:
    return [(offer.duration_minutes, offer.price_rp, offer.is_trial) for offer in found]


@pytest.mark.rule("2a.2")
async def test_the_seeded_offers_are_listed_with_the_trial_first_and_the_others_by_duration(
    database: Database, customer: UUID
) -> None:
    assert terms(await offers(database, customer)) == TIERS
    assert terms(await offers(database, customer, "extension")) == [(15, 10_000, False), (30, 18_000, False)]


@pytest.mark.rule("2a.2")
@pytest.mark.usefixtures("customer")
async def test_seeding_the_offers_again_changes_nothing(database: Database) -> None:
    await database.execute(
        "UPDATE offers SET price_rp = 25000 WHERE duration_minutes = 30 AND purpose = 'session'"
    )
    before = await database.fetch("SELECT * FROM offers ORDER BY id")
    async with database.transaction() as tx:
        await service.seed_offers(tx)
    assert await database.fetch("SELECT * FROM offers ORDER BY id") == before


@pytest.mark.rule("2a.8")
async def test_a_quote_has_the_terms_of_the_offer(database: Database, customer: UUID) -> None:
    for offer in await offers(database, customer):
        assert await quote(database, customer, offer.id) == offer


@pytest.mark.rule("2a.8")
async def test_an_offer_has_no_quote_if_it_is_unknown_or_withdrawn_or_for_another_purpose(
    database: Database, customer: UUID
) -> None:
    session, extension = (
        (await offers(database, customer))[1],
        (await offers(database, customer, "extension"))[0],
    )
    with pytest.raises(NotFound):
        await quote(database, customer, uuid4())
    with pytest.raises(NotFound):
        await quote(database, customer, session.id, "extension")
    with pytest.raises(NotFound):
        await quote(database, customer, extension.id)
    await database.execute("UPDATE offers SET withdrawn_at = curhat_now() WHERE id = $1", session.id)
    with pytest.raises(NotFound):
        await quote(database, customer, session.id)
    assert session not in await offers(database, customer)


@pytest.mark.rule("2a.3")
async def test_the_trial_is_available_until_a_trial_session_starts(
    database: Database, customer: UUID, make: Make
) -> None:
    trial = (await offers(database, customer))[0]
    assert trial.is_trial
    assert await trial_available(database, customer)
    payment_id = await trial_payment(make, customer)
    # A confirmed payment does not use up the trial until its session starts.
    assert (await quote(database, customer, trial.id)).price_rp == 0
    assert await trial_available(database, customer)
    await start_session(database, make, payment_id)
    assert not await trial_available(database, customer)
    assert terms(await offers(database, customer)) == TIERS[1:]
    with pytest.raises(TrialUsed):
        await quote(database, customer, trial.id)


@pytest.mark.rule("2a.3")
async def test_the_trial_is_available_again_after_a_trial_search_without_a_mitra(
    database: Database, customer: UUID, make: Make
) -> None:
    payment_id = await trial_payment(make, customer)
    await database.execute("UPDATE payments SET status = 'unserved' WHERE id = $1", payment_id)
    assert await trial_available(database, customer)
    assert terms(await offers(database, customer)) == TIERS


@pytest.mark.rule("2a.3")
async def test_a_paid_session_and_the_trial_of_another_customer_do_not_use_up_the_trial(
    database: Database, customer: UUID, make: Make
) -> None:
    await start_session(database, make, await make.confirmed_payment(customer))
    other = await make.customer()
    await start_session(database, make, await trial_payment(make, other))
    assert await trial_available(database, customer)
    assert not await trial_available(database, other)


@pytest.mark.rule("2a.3")
async def test_the_trial_is_unavailable_when_no_offer_is_a_trial(database: Database, customer: UUID) -> None:
    await database.execute("UPDATE offers SET withdrawn_at = curhat_now() WHERE is_trial")
    assert not await trial_available(database, customer)
    assert terms(await offers(database, customer)) == TIERS[1:]
