"""Test many concurrent steps of users, workers, the gateway and the clock on few rows.

No step deadlocks or fails, and every invariant holds afterwards.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import pytest

from curhat.app.invariants import check
from curhat.deadlines import loop as deadline_loop
from curhat.journeys import availability, charging, paying, searching
from curhat.journeys.transitions import Transitions
from curhat.kit.database import Database
from curhat.kit.errors import BusinessError
from curhat.kit.identity import Identity
from curhat.pairing import service as pairing
from curhat.payments import service as payments
from curhat.payments.gateway import ChargeAnswer
from curhat.payments.mock.gateway import MockGateway
from curhat.sessions import extension
from curhat.sessions import service as sessions
from curhat.sessions.service import OutgoingMessage
from tests.support.clock import VirtualClock
from tests.support.fake_presence import FakePresence
from tests.support.journey import accept, open_blast, request_of
from tests.support.people import Make
from tests.support.toggle import set_toggle

ROUNDS = 60
STEPS_PER_ROUND = 40
CUSTOMERS = 5
MITRAS = 3
# The possible answers of the gateway about a charge that never reached the gateway.
ANSWERS_ABOUT_NO_CHARGE = (ChargeAnswer("declined"), ChargeAnswer("processing"), ChargeAnswer("not_found"))


class ConcurrentSteps:
    """Runs steps that a seed chooses. Each step chooses a row that has a suitable state."""

    def __init__(
        self, database: Database, seed: int, customers: list[UUID], mitras: list[UUID], offers: list[UUID]
    ) -> None:
        self.database = database
        self.choose = random.Random(seed)
        self.customers = customers
        self.mitras = mitras
        self.session_offer, self.extension_offer = offers
        self.presence = FakePresence(*mitras)
        self.gateway = MockGateway(database)
        self.transitions = Transitions(database, self.presence, self.gateway).by_kind()  # type: ignore[arg-type]
        self.done: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.steps: dict[str, Callable[[], Awaitable[object]]] = {
            "open and confirm": self.open_and_confirm,
            "accept": self.accept,
            "reject": self.reject,
            "cancel": self.cancel,
            "take fallback": self.take_fallback,
            "decline fallback": self.decline_fallback,
            "toggle": self.toggle,
            "offer": lambda: pairing.offer_open_blasts(database, mitras),
            "ask for more": self.ask_for_more,
            "approve": self.approve,
            "reject more": self.reject_more,
            "socket closed": lambda: extension.socket_closed(database, self.choose.choice(mitras)),
            "end": self.end,
            "say": self.say,
            "answer": self.answer,
            "worker": lambda: deadline_loop.run_once(database, self.transitions),
        }
        self.weights = [8, 10, 4, 2, 4, 2, 3, 4, 8, 10, 3, 3, 2, 5, 6, 5]

    async def step(self) -> None:
        """Run one step. A refusal is a valid outcome. Every error that is not a refusal makes the test fail."""
        [name] = self.choose.choices([*self.steps], self.weights)
        try:
            await self.steps[name]()
        except BusinessError as refusal:
            self.refused[refusal.code] += 1
        else:
            self.done[name] += 1

    async def one_of(self, query: str) -> Any:
        rows = await self.database.fetch(query)
        if not rows:
            raise NothingToDo
        return self.choose.choice(rows)

    async def open_and_confirm(self) -> None:
        customer = self.choose.choice(self.customers)
        target = self.choose.choice([None, *self.mitras, *self.mitras])
        gate = availability.GateAnswer(available=True, mitra_reachable=True)
        async with self.database.transaction() as tx:
            payment = await paying.open_payment(tx, customer, self.session_offer, gate, target)
        async with self.database.transaction() as tx:
            charge = await paying.begin_confirmation(tx, customer, payment.id, self.mitras)
        if charge is not None:
            await self.charge(charge)

    async def charge(self, charge: payments.Charge) -> None:
        answer = await self.gateway.charge(charge.key, charge.payment_id, charge.amount_rp)
        async with self.database.transaction() as tx:
            await charging.charge_answered(tx, charge.key, answer, self.mitras)

    async def accept(self) -> None:
        row = await self.one_of("SELECT id, mitra_id FROM requests WHERE status = 'offered'")
        async with self.database.transaction() as tx:
            await searching.accept(tx, row["mitra_id"], row["id"])

    async def reject(self) -> None:
        row = await self.one_of("SELECT id, mitra_id FROM requests WHERE status = 'offered'")
        async with self.database.transaction() as tx:
            await pairing.reject(tx, row["id"], row["mitra_id"], self.mitras)

    async def cancel(self) -> None:
        row = await self.one_of("SELECT id, customer_id FROM pairings WHERE status = 'open'")
        async with self.database.transaction() as tx:
            await searching.cancel_search(tx, row["customer_id"], row["id"])

    async def take_fallback(self) -> None:
        row = await self.one_of("SELECT id, customer_id FROM pairings WHERE fallback_status = 'open'")
        async with self.database.transaction() as tx:
            await searching.take_fallback(tx, row["customer_id"], row["id"], self.mitras)

    async def decline_fallback(self) -> None:
        row = await self.one_of("SELECT id, customer_id FROM pairings WHERE fallback_status = 'open'")
        async with self.database.transaction() as tx:
            await pairing.decline_fallback(tx, row["id"], row["customer_id"])

    async def toggle(self) -> None:
        mitra, online = self.choose.choice(self.mitras), self.choose.random() < 0.85
        async with self.database.transaction() as tx:
            await set_toggle(tx, mitra, online=online)

    async def session(self) -> Any:
        return await self.one_of("SELECT id, customer_id, mitra_id FROM sessions WHERE status = 'active'")

    async def ask_for_more(self) -> None:
        row = await self.session()
        async with self.database.transaction() as tx:
            await extension.request(tx, row["customer_id"], row["id"], self.extension_offer, connected=True)

    async def extension(self) -> Any:
        return await self.one_of(
            "SELECT extensions.id, mitra_id FROM extensions JOIN sessions ON sessions.id = session_id"
            " WHERE extensions.status IN ('pending', 'charging')"
        )

    async def approve(self) -> None:
        row = await self.extension()
        async with self.database.transaction() as tx:
            _, charge = await extension.approve_by_mitra(tx, row["mitra_id"], row["id"])
        # Sometimes no process sends the charge to the gateway now, so that a worker must send it later.
        if charge is not None and self.choose.random() < 0.4:
            await self.charge(charge)

    async def reject_more(self) -> None:
        row = await self.extension()
        async with self.database.transaction() as tx:
            await extension.reject_by_mitra(tx, row["mitra_id"], row["id"])

    async def end(self) -> None:
        row, by_mitra = await self.session(), self.choose.random() < 0.3
        async with self.database.transaction() as tx:
            if by_mitra:
                await sessions.end_by_mitra(tx, row["mitra_id"], row["id"], "sakit")
            else:
                await sessions.end_by_customer(tx, row["customer_id"], row["id"])

    async def say(self) -> None:
        row, number = await self.session(), self.choose.randrange(10**9)
        outgoing = [
            OutgoingMessage(
                Identity(role="customer", user_id=row["customer_id"]), row["id"], f"c{number}", "halo"
            ),
            OutgoingMessage(Identity(role="mitra", user_id=row["mitra_id"]), row["id"], f"m{number}", "halo"),
        ]
        async with self.database.transaction() as tx:
            await sessions.send_messages(tx, outgoing)

    async def answer(self) -> None:
        row = await self.one_of("SELECT id FROM charge_attempts WHERE status = 'started'")
        said = self.choose.choice(ANSWERS_ABOUT_NO_CHARGE)
        # If the mock gateway has recorded the charge, answer with the recorded result.
        found = await self.gateway.find_charge(row["id"])
        async with self.database.transaction() as tx:
            answer = found if found.status != "not_found" else said
            await charging.charge_answered(tx, row["id"], answer, self.mitras)


class NothingToDo(BusinessError):
    """No row has a suitable state for the step."""

    code = "nothing_to_do"
    status = 409
    detail = "There is none."


@pytest.mark.invariant(1, 2, 4, 6, 7, 8)
@pytest.mark.parametrize("seed", [1, 2])
async def test_concurrent_steps_on_few_rows_end_without_a_deadlock_and_keep_every_invariant(
    database: Database, clock: VirtualClock, make: Make, seed: int
) -> None:
    await clock.set()
    mitras = await make.mitras(MITRAS, max_customers=2)
    customers = [await make.customer() for _ in range(CUSTOMERS)]
    for number, customer in enumerate(customers):
        mitra = mitras[number % MITRAS]
        blast_id = await open_blast(database, await make.confirmed_payment(customer), [mitra])
        session = await accept(database, mitra, await request_of(database, blast_id, mitra))
        if number % 2:
            async with database.transaction() as tx:
                await sessions.end_by_customer(tx, customer, session.id)
    offers = [
        await make.offer(),
        await make.offer(purpose="extension", duration_minutes=15, price_rp=10_000),
    ]
    steps = ConcurrentSteps(database, seed, customers, mitras, offers)

    for _ in range(ROUNDS):
        # Some steps are refused, because a row is locked, no row has a suitable state, or a time limit is over.
        await clock.advance(steps.choose.choice([0, 0.1, 0.5, 1, 3.2, 10, 20, 60]))
        await asyncio.gather(*(steps.step() for _ in range(STEPS_PER_ROUND)), clock.advance(0.3))
        failed = await database.fetch("SELECT kind, last_error FROM deadlines WHERE last_error IS NOT NULL")
        assert [tuple(row) for row in failed] == []

    assert [str(violation) for violation in await check(database)] == []
    # The timing determines which steps take effect. At least two thirds of the kinds of steps must take effect.
    assert len(steps.done) >= len(steps.steps) * 2 // 3, steps.done
