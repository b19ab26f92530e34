"""Test what `curhat restore --finish` makes of each charge and refund whose outcome the restore lost.

A table holds each state in which a payment and its charge can be at the restored time. Another table holds what the
gateway did afterwards. The test builds every combination in one database, finishes the restore, and lets the worker
fire every deadline of the next hours. The mock gateway's records have more than our tables.
"""

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple
from uuid import UUID, uuid4

import pytest
import valkey.asyncio

from curhat.app.invariants import check
from curhat.app.restoring import finishing
from curhat.deadlines import loop as deadline_loop
from curhat.journeys import charging, paying
from curhat.journeys.availability import GateAnswer
from curhat.journeys.transitions import Transitions
from curhat.kit.database import Database
from curhat.kit.pause_points import set_pause_point
from curhat.pairing import service as pairing
from curhat.pairing.service import Target
from curhat.payments.gateway import ChargeAnswer, ListedCharge, ListedRefund
from curhat.payments.mock import queries as mock
from curhat.payments.mock.gateway import MockGateway
from curhat.payments.mock.schemas import RecordedChargeStatus, RecordedRefundStatus
from curhat.payments.service import Charge
from curhat.sessions import extension
from curhat.sessions import service as sessions
from tests.support.clock import VirtualClock
from tests.support.fake_presence import FakePresence
from tests.support.journey import accept, open_blast, request_of
from tests.support.people import Make

PRICE_RP: Final = 20_000
DECLINED: Final = ChargeAnswer("declined", reason="no money")
NOT_FOUND: Final = ChargeAnswer("not_found")
APPROVED: Final = ChargeAnswer("approved")
TO_PAY: Final = timedelta(minutes=20)
GIVEN_UP: Final = timedelta(minutes=31)


class Later(NamedTuple):
    """What the gateway did after the restored time."""

    charge: RecordedChargeStatus
    refund: RecordedRefundStatus | None = None


class Found(NamedTuple):
    """A payment and its charge after the restore. `case` is the reason of the open case."""

    payment: str
    attempt: str | None
    refund: str | None
    case: str | None


class Journey(NamedTuple):
    """A journey at the restored time, and the key of the charge of which the gateway knows more."""

    payment_id: UUID
    key: UUID
    customer_id: UUID
    amount_rp: int = PRICE_RP


class Gateway(MockGateway):
    """The mock gateway, with a longer list of refunds and a longer or shorter list of charges."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        # We need not record a refund that the gateway refused.
        self.refused: list[ListedRefund] = []
        self.lost: list[ListedCharge] = []
        self.lists_nothing = False

    async def list_charges(self, since: datetime) -> AsyncIterator[ListedCharge]:
        if not self.lists_nothing:
            async for charge in super().list_charges(since):
                yield charge
            for charge in self.lost:
                yield charge

    async def list_refunds(self, since: datetime) -> AsyncIterator[ListedRefund]:
        async for refund in super().list_refunds(since):
            yield refund
        for refund in self.refused:
            yield refund


class World:
    """Makes journeys, each with people of its own."""

    def __init__(self, database: Database, make: Make, clock: VirtualClock) -> None:
        self.database = database
        self.make = make
        self.clock = clock
        self.gateway = Gateway(database)

    async def pending(self) -> Journey:
        customer_id, mitra_id = await self.make.customer(), await self.make.mitra(max_customers=5)
        async with self.database.transaction() as tx:
            gate, offer_id = GateAnswer(available=True), await self.make.offer()
            payment = await paying.open_payment(tx, customer_id, offer_id, gate)
        self.mitra_id = mitra_id
        return Journey(payment.id, uuid4(), customer_id)

    async def confirm(self, journey: Journey) -> Journey:
        """Begin an attempt. Returns the journey with the attempt's key."""
        async with self.database.transaction() as tx:
            charge = await paying.begin_confirmation(
                tx, journey.customer_id, journey.payment_id, [self.mitra_id]
            )
        assert charge is not None
        return journey._replace(key=charge.key)

    async def confirming(self, *answers: ChargeAnswer) -> Journey:
        """An attempt that has got these answers."""
        journey = await self.confirm(await self.pending())
        await self.answer(journey.key, *answers)
        return journey

    async def answer(self, key: UUID, *answers: ChargeAnswer) -> None:
        for answer in answers:
            async with self.database.transaction() as tx:
                await charging.charge_answered(tx, key, answer, [self.mitra_id])

    async def expired(self, *answers: ChargeAnswer) -> Journey:
        journey = await self.confirming(*answers)
        await self.clock.advance((TO_PAY if answers else GIVEN_UP).total_seconds())
        async with self.database.transaction() as tx:
            if answers:
                await paying.expire_payments(tx, journey.payment_id)
            else:
                await charging.give_up_charge(tx, journey.key)
        return journey

    async def abandoned(self, *answers: ChargeAnswer) -> Journey:
        journey = await self.confirming(*answers)
        async with self.database.transaction() as tx:
            await paying.cancel_payment(tx, journey.customer_id, journey.payment_id)
        return journey

    async def tried_again(self, *answers: ChargeAnswer) -> Journey:
        """A second attempt with these answers, after an attempt that the gateway did not know."""
        first = await self.confirming(NOT_FOUND)
        await self.answer((await self.confirm(first)).key, *answers)
        return first

    async def served_by_second_attempt(self) -> Journey:
        journey = await self.tried_again(APPROVED)
        await self.match(journey)
        return journey

    async def match(self, journey: Journey) -> UUID:
        pairing_id = await self.database.fetchval(
            "SELECT id FROM pairings WHERE payment_id = $1", journey.payment_id
        )
        request_id = await request_of(self.database, pairing_id, self.mitra_id)
        return (await accept(self.database, self.mitra_id, request_id)).id

    async def late(self) -> Journey:
        """An approval that came too late, and whose automatic refund is requested."""
        journey = await self.abandoned(DECLINED)
        await self.answer(journey.key, APPROVED)
        return journey

    # Paid.

    async def searching(self) -> Journey:
        return await self.confirming(APPROVED)

    async def searched_in_vain(self) -> Journey:
        journey = await self.searching()
        await self.clock.advance(61)
        return journey

    async def unserved(self) -> Journey:
        journey = await self.searched_in_vain()
        pairing_id = await self.database.fetchval(
            "SELECT id FROM pairings WHERE payment_id = $1", journey.payment_id
        )
        async with self.database.transaction() as tx:
            await pairing.window_over(tx, pairing_id)
        return journey

    async def targeted(self) -> Journey:
        customer_id, mitra_id = await self.make.customer(), await self.make.mitra()
        payment_id = await self.make.confirmed_payment(customer_id, target_mitra_id=mitra_id)
        async with self.database.transaction() as tx:
            await pairing.open_targeted(
                tx, payment_id, 20, Target(mitra_id, reachable=True, other_available=True)
            )
        return await self.paid(payment_id, customer_id)

    async def targeted_in_vain(self) -> Journey:
        journey = await self.targeted()
        await self.clock.advance(21)
        return journey

    async def fallback(self) -> Journey:
        journey = await self.targeted_in_vain()
        pairing_id = await self.database.fetchval(
            "SELECT id FROM pairings WHERE payment_id = $1", journey.payment_id
        )
        async with self.database.transaction() as tx:
            await pairing.targeted_over(tx, [pairing_id], [pairing_id])
        return journey

    async def fallback_ignored(self) -> Journey:
        journey = await self.fallback()
        await self.clock.advance(TO_PAY.total_seconds())
        return journey

    async def paid(self, payment_id: UUID, customer_id: UUID, amount_rp: int = PRICE_RP) -> Journey:
        key = await self.database.fetchval("SELECT id FROM charge_attempts WHERE payment_id = $1", payment_id)
        return Journey(payment_id, key or uuid4(), customer_id, amount_rp)

    async def chat(self) -> Journey:
        customer_id, self.mitra_id = await self.make.customer(), await self.make.mitra(max_customers=5)
        payment_id = await self.make.confirmed_payment(customer_id)
        await open_blast(self.database, payment_id, [self.mitra_id])
        journey = await self.paid(payment_id, customer_id)
        self.session_id = await self.match(journey)
        return journey

    async def chat_ended(self, by: str) -> Journey:
        journey = await self.chat()
        async with self.database.transaction() as tx:
            if by == "customer":
                await sessions.end_by_customer(tx, journey.customer_id, self.session_id)
            else:
                await sessions.end_by_mitra(tx, self.mitra_id, self.session_id, "I am ill")
        return journey

    # Extensions.

    async def extension(self) -> Journey:
        chat = await self.chat()
        offer_id = await self.make.offer(purpose="extension", duration_minutes=15, price_rp=10_000)
        async with self.database.transaction() as tx:
            asked = await extension.request(tx, chat.customer_id, self.session_id, offer_id, connected=True)
        self.extension_id = asked.id
        return await self.paid(asked.payment_id, chat.customer_id, 10_000)

    async def extension_rejected(self) -> Journey:
        journey = await self.extension()
        async with self.database.transaction() as tx:
            await extension.reject_by_mitra(tx, self.mitra_id, self.extension_id)
        return journey

    async def charging_extension(self, *answers: ChargeAnswer) -> Journey:
        journey = await self.extension()
        async with self.database.transaction() as tx:
            _, charge = await extension.approve_by_mitra(tx, self.mitra_id, self.extension_id)
        assert isinstance(charge, Charge)
        await self.answer(charge.key, *answers)
        return journey._replace(key=charge.key)

    async def extension_too_late(self, *answers: ChargeAnswer) -> Journey:
        journey = await self.charging_extension()
        await self.clock.advance(31)
        async with self.database.transaction() as tx:
            await extension.charge_too_late(tx, self.extension_id)
        await self.answer(journey.key, *answers)
        return journey


Build = Callable[[World], Awaitable[Journey]]

# A charge that was undecided, or that we did not know as approved. The name says the state of the payment and of the
# attempt. The second value is the payment's status after a late approval, and the third its status otherwise. The slow
# states come first, because they move the clock.
UNDECIDED: Final[dict[str, tuple[Build, str, str]]] = {
    "expired, started": (lambda world: world.expired(), "expired", "expired"),
    "expired, declined": (lambda world: world.expired(DECLINED), "expired", "expired"),
    "expired, not found": (lambda world: world.expired(NOT_FOUND), "expired", "expired"),
    "extension failed, started": (lambda world: world.extension_too_late(), "abandoned", "abandoned"),
    "extension failed, not found": (
        lambda world: world.extension_too_late(NOT_FOUND),
        "abandoned",
        "abandoned",
    ),
    "extension failed, declined": (
        lambda world: world.charging_extension(DECLINED),
        "abandoned",
        "abandoned",
    ),
    "extension charging, started": (lambda world: world.charging_extension(), "abandoned", "confirming"),
    "confirming, started": (lambda world: world.confirming(), "abandoned", "confirming"),
    "pending, declined": (lambda world: world.confirming(DECLINED), "abandoned", "pending"),
    "pending, not found": (lambda world: world.confirming(NOT_FOUND), "abandoned", "pending"),
    "abandoned, declined": (lambda world: world.abandoned(DECLINED), "abandoned", "abandoned"),
    "abandoned, not found": (lambda world: world.abandoned(NOT_FOUND), "abandoned", "abandoned"),
    "confirming again, not found": (lambda world: world.tried_again(), "abandoned", "confirming"),
    "searching, not found": (lambda world: world.tried_again(APPROVED), "confirmed", "confirmed"),
    "served, not found": (lambda world: world.served_by_second_attempt(), "served", "served"),
}
# A charge that we know as paid. The second value is the payment's status after a refund that is done, and the third its
# status while the gateway works on the refund. The last is its status and the reason of its case without a refund.
PAID: Final[dict[str, tuple[Build, str, str, tuple[str, str | None]]]] = {
    "fallback ignored": (
        lambda world: world.fallback_ignored(),
        "refunded",
        "unserved",
        ("confirmed", None),
    ),
    "fallback open": (lambda world: world.fallback(), "refunded", "unserved", ("confirmed", None)),
    "targeted in vain": (lambda world: world.targeted_in_vain(), "refunded", "unserved", ("confirmed", None)),
    "searched in vain": (lambda world: world.searched_in_vain(), "refunded", "unserved", ("confirmed", None)),
    "unserved": (lambda world: world.unserved(), "refunded", "unserved", ("unserved", "no_session")),
    "targeted": (lambda world: world.targeted(), "refunded", "unserved", ("confirmed", None)),
    "searching": (lambda world: world.searching(), "refunded", "unserved", ("confirmed", None)),
    "chat": (lambda world: world.chat(), "refunded", "served", ("served", None)),
    "chat ended": (lambda world: world.chat_ended("customer"), "refunded", "served", ("served", None)),
    "chat cut short": (
        lambda world: world.chat_ended("mitra"),
        "refunded",
        "served",
        ("served", "cut_short"),
    ),
    "extension": (
        lambda world: world.charging_extension(APPROVED),
        "refunded",
        "served",
        ("served", None),
    ),
}
# A charge that the restore lost, of a payment that it did not lose, and the payment's status afterwards.
LOST: Final[dict[str, tuple[Build, str]]] = {
    "pending": (lambda world: world.pending(), "abandoned"),
    "confirming": (lambda world: world.confirming(), "abandoned"),
    "expired": (lambda world: world.expired(DECLINED), "expired"),
    "searching": (lambda world: world.searching(), "confirmed"),
    "unserved": (lambda world: world.unserved(), "unserved"),
    "chat": (lambda world: world.chat(), "served"),
}
APPROVALS: Final = (Later("approved"), Later("approved", "done"), Later("approved", "processing"))
# Record at the gateway the other charges that we know, such as those of the chats that were extended.
KNOWN_CHARGES: Final = """
INSERT INTO mock_gateway.charges (key, payment_id, amount_rp, status, known_at, at)
SELECT id, payment_id, amount_rp, 'approved', started_at, started_at FROM charge_attempts WHERE status = 'approved'
ON CONFLICT (key) DO NOTHING
"""
REFUND_STATUS: Final[dict[str | None, str | None]] = {None: None, "done": "done", "processing": "requested"}


async def gateway_did(world: World, journey: Journey, later: Later) -> None:
    await mock.record_charge(
        world.database,
        key=journey.key,
        payment_id=journey.payment_id,
        customer_id=journey.customer_id,
        amount_rp=journey.amount_rp,
        charge_status=later.charge,
        known_after_seconds=0,
    )
    if later.refund == "failed":
        refused = ListedRefund(
            uuid4(), journey.key, journey.payment_id, journey.amount_rp, "failed", datetime.now(UTC)
        )
        world.gateway.refused.append(refused)
    elif later.refund is not None:
        await mock.record_refund(
            world.database,
            key=uuid4(),
            charge_key=journey.key,
            payment_id=journey.payment_id,
            amount_rp=journey.amount_rp,
            refund_status=later.refund,
            known_after_seconds=0,
        )


async def build(world: World) -> dict[tuple[str, Later], tuple[Journey, Found]]:
    """Build every combination. Returns each with what is wanted after the restore."""
    built: dict[tuple[str, Later], tuple[Journey, Found]] = {}

    async def add(name: str, begin: Build, later: Later, wanted: Found) -> None:
        journey = await begin(world)
        await gateway_did(world, journey, later)
        built[name, later] = journey, wanted

    for name, (begin, closed, unchanged) in UNDECIDED.items():
        for later in APPROVALS:
            wanted = Found(closed, "approved_late", REFUND_STATUS[later.refund], "restored")
            await add(name, begin, later, wanted)
        status = "started" if name.endswith("started") else "declined"
        for later in (Later("declined"), Later("processing")):
            await add(name, begin, later, Found(unchanged, status, None, None))
    for name, (begin, done, processing, (unchanged, case)) in PAID.items():
        await add(f"paid: {name}", begin, Later("approved"), Found(unchanged, "approved", None, case))
        later = Later("approved", "failed")
        await add(f"paid: {name}", begin, later, Found(unchanged, "approved", None, case))
        later = Later("approved", "done")
        await add(f"paid: {name}", begin, later, Found(done, "approved", "done", "restored"))
        later = Later("approved", "processing")
        await add(f"paid: {name}", begin, later, Found(processing, "approved", "requested", "restored"))
    for name, (begin, closed) in LOST.items():

        async def lose(world: World, begin: Build = begin) -> Journey:
            return (await begin(world))._replace(key=uuid4())

        for later in APPROVALS:
            wanted = Found(closed, "approved_late", REFUND_STATUS[later.refund], "restored")
            await add(f"lost: {name}", lose, later, wanted)
    # Our automatic refund of a late approval was requested. The gateway refused it, and an operator's further refund
    # was lost.
    for later in APPROVALS[1:]:
        wanted = Found("abandoned", "approved_late", REFUND_STATUS[later.refund], "restored")
        await add("late", lambda world: world.late(), later, wanted)
    await world.database.execute(KNOWN_CHARGES)
    return built


async def found(database: Database, journey: Journey) -> Found:
    row = await database.fetchrow(
        """
        SELECT payments.status,
            (SELECT status FROM charge_attempts WHERE id = $2),
            (SELECT status FROM refunds WHERE charge_attempt_id = $2 AND status <> 'failed'),
            (SELECT reason FROM review_cases WHERE payment_id = payments.id AND status = 'open')
        FROM payments WHERE id = $1
        """,
        journey.payment_id,
        journey.key,
    )
    assert row is not None
    return Found(*row)


async def settle(world: World, gateway: MockGateway, seconds: float) -> None:
    """Let the worker fire each deadline of the next `seconds`, in steps of ten minutes."""
    transitions = Transitions(world.database, FakePresence(), gateway).by_kind()  # type: ignore[arg-type]
    for _ in range(int(seconds / 600)):
        await world.clock.advance(600)
        while await deadline_loop.run_once(world.database, transitions):
            pass


@asynccontextmanager
async def closed(database: Database, url: str) -> AsyncIterator[Database]:
    """Mark the database as restored, and connect to it as the command does."""
    name = await database.fetchval("SELECT current_database()")
    await database.execute(f"ALTER DATABASE {name} SET curhat.restore = 'a restore'")
    connected = await Database.connect(url, pool_size=3, may_be_restored=True)
    yield connected
    await connected.close()


async def kill_after_each_commit(finish: Callable[[], Awaitable[None]]) -> None:
    """Call `finish` until it ends. The n-th call is interrupted after its n-th commit."""
    for calls in itertools.count(1):
        commits = itertools.count(1)

        async def die(last: int = calls, commits: Iterator[int] = commits) -> None:
            if next(commits) == last:
                raise ConnectionResetError

        set_pause_point("transaction.committed", die)
        try:
            await finish()
        except ConnectionResetError:
            continue
        set_pause_point("transaction.committed", None)
        return


@pytest.mark.timeout(60)
@pytest.mark.rule("2a.7", "2a.10", "5.4", "X.1", "X.9")
@pytest.mark.invariant(2, 4, 7, 9, 12, 15)
@pytest.mark.parametrize("is_killed", [False, True])
async def test_every_charge_and_refund_whose_outcome_the_restore_lost_is_recorded_once_and_has_a_case(
    database: Database,
    database_url: str,
    make: Make,
    clock: VirtualClock,
    valkey_client: valkey.asyncio.Valkey,
    is_killed: bool,
) -> None:
    await clock.set()
    world = World(database, make, clock)
    gateway = world.gateway
    built = await build(world)
    async with closed(database, database_url) as restored:
        if is_killed:
            await kill_after_each_commit(lambda: finishing.finish(restored, valkey_client, gateway, print))
        else:
            await finishing.finish(restored, valkey_client, gateway, print)
    assert await check(database) == []
    for case, (journey, wanted) in built.items():
        assert await found(database, journey) == wanted, case
    assert await database.fetch("SELECT entity_id FROM deadlines WHERE kind = 'extension_window'") == []
    # Later, the gateway decides the rest. Nothing that it took before is given back without an operator's decision.
    await database.execute("UPDATE mock_gateway.charges SET status = 'declined' WHERE status = 'processing'")
    await database.execute("UPDATE mock_gateway.refunds SET status = 'done' WHERE status = 'processing'")
    await settle(world, gateway, 2 * 3600)
    assert await check(database, quiet=True) == []
    automatic = await database.fetch("SELECT charge_attempt_id FROM refunds WHERE reason = 'late_approval'")
    late = {journey.key for (name, _), (journey, _) in built.items() if name == "late"}
    assert {row["charge_attempt_id"] for row in automatic} == late


@pytest.mark.rule("2a.10", "X.9")
@pytest.mark.invariant(9, 15)
@pytest.mark.parametrize("state", ["expired, started", "expired, not found"])
async def test_a_charge_that_is_too_old_for_the_gateways_list_is_asked_about_by_its_key(
    database: Database,
    database_url: str,
    make: Make,
    clock: VirtualClock,
    valkey_client: valkey.asyncio.Valkey,
    state: str,
) -> None:
    await clock.set()
    world = World(database, make, clock)
    journey = await UNDECIDED[state][0](world)
    await gateway_did(world, journey, Later("approved"))
    world.gateway.lists_nothing = True
    async with closed(database, database_url) as restored:
        await finishing.finish(restored, valkey_client, world.gateway, print)
    assert await found(database, journey) == Found("expired", "approved_late", None, "restored")


@pytest.mark.rule("5.4", "5.7", "X.9")
@pytest.mark.invariant(7, 15)
@pytest.mark.parametrize("is_decided", [False, True])
async def test_a_lost_charge_of_an_extension_gets_a_payment_of_its_own_and_closes_the_extension(
    database: Database,
    database_url: str,
    make: Make,
    clock: VirtualClock,
    valkey_client: valkey.asyncio.Valkey,
    is_decided: bool,
) -> None:
    await clock.set()
    world = World(database, make, clock)
    asked = await (world.extension_rejected() if is_decided else world.extension())
    charge = ListedCharge(uuid4(), asked.payment_id, None, asked.amount_rp, "approved", datetime.now(UTC))
    world.gateway.lost.append(charge)
    async with closed(database, database_url) as restored:
        await finishing.finish(restored, valkey_client, world.gateway, print)
    own = asked._replace(payment_id=charge.key, key=charge.key)
    assert await found(database, own) == Found("abandoned", "approved_late", None, "restored")
    assert await found(database, asked) == Found("abandoned", None, None, None)
    assert await database.fetchval("SELECT status FROM extensions") == "rejected"
    owner = "SELECT customer_id FROM payments WHERE id = $1"
    assert await database.fetchval(owner, charge.key) == asked.customer_id
    # The session still ends by its clock.
    await settle(world, world.gateway, 3600)
    assert await database.fetchval("SELECT end_reason FROM sessions") == "time_up"
    assert await check(database) == []
