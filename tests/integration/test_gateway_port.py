"""Test every gateway behind the port with the same tests (2a.1), and test each fault that the mock can simulate."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import pytest

from curhat.kit.database import Database
from curhat.payments.gateway import ChargeAnswer, Gateway, RefundAnswer, RefundStatus
from curhat.payments.mock.gateway import MockGateway
from curhat.payments.mock.schemas import Behaviour
from tests.simulation.fake_gateway import SimulatedGateway


@pytest.fixture(params=["mock", "simulated"])
def gateway(request: pytest.FixtureRequest, database: Database) -> Gateway:
    if request.param == "mock":
        return MockGateway(database)
    return SimulatedGateway(database, random.Random(1), trouble=0)


@pytest.mark.rule("2a.1", "2a.7")
@pytest.mark.invariant(2)
async def test_repeated_charges_with_one_key_are_one_charge(gateway: Gateway) -> None:
    key, payment_id = uuid4(), uuid4()
    assert (await gateway.find_charge(key)).status == "not_found"
    for _ in range(3):
        assert await gateway.charge(key, payment_id, 20_000) == ChargeAnswer("approved")
    assert (await gateway.find_charge(key)).status == "approved"


@pytest.mark.rule("2a.1")
@pytest.mark.invariant(2, 9)
async def test_repeated_refunds_with_one_key_are_one_refund(gateway: Gateway) -> None:
    charge_key, key, payment_id = uuid4(), uuid4(), uuid4()
    await gateway.charge(charge_key, payment_id, 20_000)
    assert (await gateway.find_refund(key)).status == "not_found"
    for _ in range(3):
        assert (await gateway.refund(key, charge_key, payment_id, 20_000)).status == "done"
    assert (await gateway.find_refund(key)).status == "done"


@pytest.mark.rule("2a.1")
@pytest.mark.invariant(2, 9)
async def test_the_mock_records_one_charge_and_one_refund_per_key(database: Database) -> None:
    mock, charge_key, refund_key, payment_id = MockGateway(database), uuid4(), uuid4(), uuid4()
    for _ in range(3):
        await mock.charge(charge_key, payment_id, 20_000)
        await mock.refund(refund_key, charge_key, payment_id, 20_000)
    assert await database.fetchval("SELECT count(*) FROM mock_gateway.charges") == 1
    assert await database.fetchval("SELECT count(*) FROM mock_gateway.refunds") == 1


@pytest.mark.rule("2a.1")
async def test_the_mock_can_decline_one_payment_or_all_payments(database: Database) -> None:
    mock, ours, other = MockGateway(database), uuid4(), uuid4()
    await mock.set_behaviour("decline", ours)
    assert (await mock.charge(uuid4(), ours, 10_000)).status == "declined"
    assert (await mock.charge(uuid4(), other, 10_000)).status == "approved"
    await mock.set_behaviour("decline", None)
    assert (await mock.charge(uuid4(), other, 10_000)).status == "declined"


@pytest.mark.rule("2a.1")
async def test_the_method_find_charge_finds_an_approved_charge_after_a_lost_answer(
    database: Database,
) -> None:
    mock, key, payment_id = MockGateway(database), uuid4(), uuid4()
    await mock.set_behaviour("lost", payment_id)
    call = asyncio.create_task(mock.charge(key, payment_id, 10_000))
    async with asyncio.timeout(10):
        while (await mock.find_charge(key)).status != "approved":
            assert not call.done()
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    assert [charge.status for charge in (await mock.recorded(payment_id)).charges] == ["approved"]


@pytest.mark.rule("2a.1")
async def test_each_charge_answer_arrives_twice_when_the_behaviour_of_the_mock_is_double(
    database: Database,
) -> None:
    key, payment_id = uuid4(), uuid4()
    heard: list[tuple[UUID, ChargeAnswer]] = []
    twice = asyncio.Event()

    async def hear(heard_key: UUID, answer: ChargeAnswer) -> None:
        heard.append((heard_key, answer))
        if len(heard) == 2:
            twice.set()

    mock = MockGateway(database, hear)
    await mock.set_behaviour("double", payment_id)
    assert (await mock.charge(key, payment_id, 10_000)).status == "approved"
    async with asyncio.timeout(10):
        await twice.wait()
    assert heard == [(key, ChargeAnswer("approved", amount_rp=10_000))] * 2


@pytest.mark.rule("2a.1")
async def test_a_slow_charge_is_processing_until_the_gateway_answers(database: Database) -> None:
    mock, key, payment_id = MockGateway(database), uuid4(), uuid4()
    await mock.set_behaviour("slow", payment_id)
    call = asyncio.create_task(mock.charge(key, payment_id, 10_000))
    async with asyncio.timeout(10):
        while (await mock.find_charge(key)).status != "processing":
            assert not call.done()
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    await mock.close()


# Refund behaviours -------------------------------------------------------------------


class Charged:
    """A mock with an approved charge. The object also records the refund answers of the mock's callbacks."""

    def __init__(self, database: Database) -> None:
        self.heard: list[tuple[UUID, RefundAnswer]] = []
        self._heard_one = asyncio.Event()
        self.mock = MockGateway(database, refund_callback=self._hear)
        self.charge_key, self.key, self.payment_id = uuid4(), uuid4(), uuid4()

    async def _hear(self, key: UUID, answer: RefundAnswer) -> None:
        self.heard.append((key, answer))
        self._heard_one.set()

    async def behaves(self, behaviour: Behaviour) -> "Charged":
        """Charge the payment, and then change the mock's behaviour."""
        await self.mock.charge(self.charge_key, self.payment_id, 10_000)
        await self.mock.set_behaviour(behaviour, self.payment_id)
        return self

    async def refund(self) -> RefundAnswer:
        """Refund the charge."""
        return await self.mock.refund(self.key, self.charge_key, self.payment_id, 10_000)

    async def hears(self, *answers: RefundAnswer) -> None:
        """Wait until the mock has called back with exactly these answers."""
        async with asyncio.timeout(10):
            while len(self.heard) < len(answers):
                self._heard_one.clear()
                await self._heard_one.wait()
        assert self.heard == [(self.key, answer) for answer in answers]

    @contextlib.asynccontextmanager
    async def refunding(self, until: RefundStatus) -> AsyncIterator[None]:
        """Refund the charge in a task that gets no answer.

        Then wait until a query under the key of the refund gives the status `until`.
        """
        call = asyncio.create_task(self.refund())
        async with asyncio.timeout(10):
            while (await self.mock.find_refund(self.key)).status != until:
                assert not call.done()
        yield
        assert not call.done()
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        await self.mock.close()


@pytest.mark.rule("2a.1")
async def test_the_method_find_refund_finds_a_refund_after_a_lost_answer(database: Database) -> None:
    charged = await Charged(database).behaves("lost")
    async with charged.refunding("done"):
        # Like the worker, the caller requests the same refund again.
        assert (await charged.refund()).status == "done"


@pytest.mark.rule("2a.1")
async def test_a_slow_refund_is_processing_until_the_gateway_answers(database: Database) -> None:
    async with (await Charged(database).behaves("slow")).refunding("processing"):
        pass


@pytest.mark.rule("2a.1")
async def test_each_refund_answer_arrives_twice_when_the_behaviour_of_the_mock_is_double(
    database: Database,
) -> None:
    charged = await Charged(database).behaves("double")
    assert (await charged.refund()).status == "done"
    await charged.hears(RefundAnswer("done"), RefundAnswer("done"))


@pytest.mark.rule("2a.1")
@pytest.mark.parametrize("pending", ["pending", "processing"])
@pytest.mark.parametrize(
    ("after", "answer"),
    [
        ("approve", RefundAnswer("done")),
        ("decline", RefundAnswer("failed", "refused by the mock gateway")),
    ],
)
async def test_a_pending_refund_becomes_done_or_refused_when_the_behaviour_changes(
    database: Database, pending: Behaviour, after: Behaviour, answer: RefundAnswer
) -> None:
    charged = await Charged(database).behaves(pending)
    for _ in range(2):
        assert (await charged.refund()).status == "processing"
    assert [refund.status for refund in (await charged.mock.recorded(charged.payment_id)).refunds] == [
        "processing"
    ]
    await charged.mock.set_behaviour(after, charged.payment_id)
    assert await charged.mock.find_refund(charged.key) == answer
    await charged.hears(answer)


@pytest.mark.rule("2a.1")
async def test_a_charge_stays_processing_until_the_behaviour_changes(database: Database) -> None:
    mock, key, payment_id = MockGateway(database), uuid4(), uuid4()
    await mock.set_behaviour("processing", None)
    assert (await mock.charge(key, payment_id, 10_000)).status == "processing"
    await mock.set_behaviour("pending", None)
    assert (await mock.find_charge(key)).status == "approved"
    assert (await mock.charge(uuid4(), payment_id, 10_000)).status == "approved"


@pytest.mark.rule("2a.1")
async def test_a_new_default_behaviour_does_not_change_the_charge_of_a_payment_with_its_own_behaviour(
    database: Database,
) -> None:
    mock, key, payment_id = MockGateway(database), uuid4(), uuid4()
    await mock.set_behaviour("processing", payment_id)
    await mock.charge(key, payment_id, 10_000)
    await mock.set_behaviour("approve", None)
    assert (await mock.find_charge(key)).status == "processing"
