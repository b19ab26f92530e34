"""Test each pair of a block and a concurrent step of a search, in both orders (T.1, invariant 13)."""

from uuid import UUID

import msgspec
import pytest

from curhat.app import invariants
from curhat.journeys import blocking, charging, paying, searching
from curhat.journeys.availability import GateAnswer
from curhat.kit.database import Database
from curhat.kit.identity import Identity
from curhat.pairing import queries as pairing_queries
from curhat.pairing import service as pairing
from curhat.payments import service as payments
from curhat.payments.gateway import ChargeAnswer
from curhat.pricing.schemas import Offer
from curhat.safety.blocks import service as blocks
from curhat.sessions import service as sessions
from tests.support.chats import open_chat
from tests.support.journey import open_blast, reject, request_of
from tests.support.people import Make
from tests.support.race import Side, command, race

# `open_chat` writes a chat without its request and its charge, so the other invariants do not hold here.
ABOUT_BLOCKS = [invariant for invariant in invariants.ALWAYS if invariant.number == "13"]


class Scenario(msgspec.Struct, frozen=True):
    """A customer and a mitra with a past chat. The field `other` is another mitra who can take a customer."""

    database: Database
    make: Make
    customer: UUID
    mitra: UUID
    other: UUID
    session_id: UUID

    def blocks(self, *, held_at: str | None = None) -> Side:
        """Return the side of the mitra's block."""
        by = Identity("mitra", self.mitra)
        return command(
            self.database,
            lambda tx: blocking.block(tx, by, self.session_id, [self.mitra, self.other]),
            held_at=held_at,
        )

    async def search(self, *mitras: UUID) -> UUID:
        """Open a blast of the customer to these mitras. Returns its id."""
        return await open_blast(self.database, await self.make.confirmed_payment(self.customer), list(mitras))

    async def targeted(self) -> UUID:
        """Open a targeted pairing of the two. Returns its id."""
        payment_id = await self.make.confirmed_payment(self.customer, target_mitra_id=self.mitra)
        async with self.database.transaction() as tx:
            target = pairing.Target(self.mitra, reachable=True, other_available=True)
            return await pairing.open_targeted(tx, payment_id, 20, target)

    async def offered(self) -> set[UUID]:
        """Return the mitras with an open card of an open search."""
        rows = await self.database.fetch(
            """
            SELECT mitra_id FROM requests JOIN pairings ON pairings.id = requests.pairing_id
            WHERE requests.status = 'offered' AND pairings.status = 'open'
            """
        )
        return {row["mitra_id"] for row in rows}

    async def check(self) -> None:
        """Assert that invariant 13 holds, and that the mitra has no open card."""
        assert await invariants.violations_of(ABOUT_BLOCKS, self.database, None) == []
        assert self.mitra not in await self.offered()


@pytest.fixture
async def scenario(database: Database, make: Make) -> Scenario:
    """A past chat. Both mitras are online."""
    chat = await open_chat(database, make)
    async with database.transaction() as tx:
        await sessions.end_by_customer(tx, chat.customer.user_id, chat.id)
    return Scenario(
        database, make, chat.customer.user_id, chat.mitra.user_id, await make.mitra("Kak Budi"), chat.id
    )


@pytest.mark.rule("T.1", "2b.5")
@pytest.mark.invariant(6, 13)
@pytest.mark.parametrize("kind", ["blast", "targeted"])
@pytest.mark.parametrize("block_first", [True, False])
async def test_a_race_between_block_and_accept_has_one_outcome(
    scenario: Scenario, kind: str, block_first: bool
) -> None:
    pairing_id = await (scenario.search(scenario.mitra) if kind == "blast" else scenario.targeted())
    request_id = await request_of(scenario.database, pairing_id, scenario.mitra)
    accepts = command(scenario.database, lambda tx: searching.accept(tx, scenario.mitra, request_id))
    if block_first:
        assert await race(scenario.database, scenario.blocks(), accepts) == ("done", "request_closed")
    else:
        assert await race(scenario.database, accepts, scenario.blocks()) == ("done", "session_running")
        assert await scenario.database.fetchval("SELECT count(*) FROM blocks") == 0
    await scenario.check()


@pytest.mark.rule("T.1", "2b.6")
@pytest.mark.invariant(13)
@pytest.mark.parametrize("block_first", [True, False])
async def test_a_race_between_block_and_wave_leaves_no_card(scenario: Scenario, block_first: bool) -> None:
    """The wave takes its snapshot before the block commits."""
    pairing_id = await scenario.search(scenario.other)
    wave = command(
        scenario.database, lambda tx: pairing.ask_waves(tx, [pairing_id], [scenario.mitra, scenario.other])
    )
    sides = (scenario.blocks(), wave) if block_first else (wave, scenario.blocks())
    assert await race(scenario.database, *sides) == ("done", "done")
    await scenario.check()
    assert await scenario.offered() == {scenario.other}


@pytest.mark.rule("T.1", "2b.6")
@pytest.mark.invariant(13)
async def test_an_offer_to_a_newly_available_mitra_skips_a_search_that_a_block_holds(
    scenario: Scenario,
) -> None:
    await scenario.search()

    async def offers(_hold: object) -> str:
        return str((await pairing.offer_open_blasts(scenario.database, [scenario.mitra])).is_complete)

    # The server repeats an incomplete offer.
    assert await race(scenario.database, scenario.blocks(), offers, waits=False) == ("done", "False")
    assert await offers(None) == "True"
    await scenario.check()


@pytest.mark.rule("T.1", "2b.6")
@pytest.mark.invariant(13)
async def test_a_block_closes_the_card_of_an_offer_that_commits_first(scenario: Scenario) -> None:
    pairing_id = await scenario.search()
    offers = command(
        scenario.database,
        lambda tx: pairing_queries.offer_blasts(tx, pairing_ids=[pairing_id], mitra_ids=[scenario.mitra]),
    )
    assert await race(scenario.database, offers, scenario.blocks()) == ("done", "done")
    await scenario.check()


@pytest.mark.rule("T.1", "2c.1")
@pytest.mark.invariant(4, 13)
@pytest.mark.parametrize("is_targeted", [False, True])
@pytest.mark.parametrize("block_first", [True, False])
async def test_a_race_between_block_and_the_begin_of_a_search_leaves_no_card(
    scenario: Scenario, is_targeted: bool, block_first: bool
) -> None:
    """The gateway approves the charge, and the search begins in the same transaction."""
    offer = Offer(await scenario.make.offer(), duration_minutes=30, price_rp=20_000, is_trial=False)
    candidates = [scenario.mitra, scenario.other]
    async with scenario.database.transaction() as tx:
        target = scenario.mitra if is_targeted else None
        payment_id = await payments.open_payment(tx, scenario.customer, offer, 20, target)
        charge = await paying.begin_confirmation(tx, scenario.customer, payment_id, candidates)
    assert charge is not None
    begins = command(
        scenario.database,
        lambda tx: charging.charge_answered(tx, charge.key, ChargeAnswer("approved"), candidates),
    )
    sides = (scenario.blocks(), begins) if block_first else (begins, scenario.blocks())
    assert await race(scenario.database, *sides) == ("done", "done")
    await scenario.check()
    tag = await scenario.database.fetchval("SELECT failure_tag FROM pairings WHERE kind = 'targeted'")
    assert tag == ("targeted_mitra_offline" if is_targeted else None)


@pytest.mark.rule("T.1", "1.8")
@pytest.mark.invariant(2, 13)
@pytest.mark.parametrize("block_first", [True, False])
async def test_a_block_that_commits_before_a_confirmation_prevents_the_charge(
    scenario: Scenario, block_first: bool
) -> None:
    offer = Offer(await scenario.make.offer(), duration_minutes=30, price_rp=20_000, is_trial=False)
    async with scenario.database.transaction() as tx:
        payment_id = await payments.open_payment(tx, scenario.customer, offer, 20)
    confirms = command(
        scenario.database,
        lambda tx: paying.begin_confirmation(tx, scenario.customer, payment_id, [scenario.mitra]),
    )
    if block_first:
        outcomes = await race(scenario.database, scenario.blocks(), confirms)
        assert outcomes == ("done", "no_mitra_available")
    else:
        assert await race(scenario.database, confirms, scenario.blocks()) == ("done", "done")
    charged = await scenario.database.fetchval(
        "SELECT count(*) FROM charge_attempts WHERE status = 'started'"
    )
    assert charged == (0 if block_first else 1)
    await scenario.check()


@pytest.mark.rule("T.1")
@pytest.mark.invariant(13)
async def test_a_payment_that_opens_during_a_block_waits_for_the_block(scenario: Scenario) -> None:
    """Otherwise the block does not see the payment, and the search of the payment does not see the block."""
    offer_id = await scenario.make.offer()
    opens = command(
        scenario.database,
        lambda tx: paying.open_payment(tx, scenario.customer, offer_id, GateAnswer(available=True)),
    )
    held = scenario.blocks(held_at="block.before_commit")
    assert await race(scenario.database, held, opens) == ("done", "done")


@pytest.mark.rule("T.1", "3.5")
@pytest.mark.invariant(2, 13)
@pytest.mark.parametrize("block_first", [True, False])
async def test_a_race_between_block_and_fallback_leaves_no_card(
    scenario: Scenario, block_first: bool
) -> None:
    """The customer chose another mitra, who rejected. The fallback could ask the mitra who blocks."""
    chat = await open_chat(
        scenario.database, scenario.make, customer_id=scenario.customer, mitra_id=scenario.other
    )
    async with scenario.database.transaction() as tx:
        await sessions.end_by_customer(tx, scenario.customer, chat.id)
    third = await scenario.make.mitra("Kak Citra")
    payment_id = await scenario.make.confirmed_payment(scenario.customer, target_mitra_id=scenario.other)
    async with scenario.database.transaction() as tx:
        target = pairing.Target(scenario.other, reachable=True, other_available=True)
        failed_id = await pairing.open_targeted(tx, payment_id, 20, target)
    await reject(
        scenario.database, scenario.other, await request_of(scenario.database, failed_id, scenario.other)
    )
    takes = command(
        scenario.database,
        lambda tx: searching.take_fallback(tx, scenario.customer, failed_id, [scenario.mitra, third]),
    )
    sides = (scenario.blocks(), takes) if block_first else (takes, scenario.blocks())
    assert await race(scenario.database, *sides) == ("done", "done")
    await scenario.check()
    assert await scenario.offered() == {third}


@pytest.mark.rule("T.1")
async def test_two_blocks_at_the_same_time_do_not_exceed_the_limit(
    scenario: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "MAX_BLOCKS_PER_PERSON", 1)
    chat = await open_chat(scenario.database, scenario.make, mitra_id=scenario.mitra)
    async with scenario.database.transaction() as tx:
        await sessions.end_by_customer(tx, chat.customer.user_id, chat.id)
    other = command(
        scenario.database,
        lambda tx: blocking.block(tx, Identity("mitra", scenario.mitra), chat.id, []),
    )
    assert await race(scenario.database, scenario.blocks(), other) == ("done", "too_many_blocks")
