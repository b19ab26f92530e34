"""Run seeded schedules of chats, reports, decisions, deletions, erasures and retention, with clock jumps of months.

A model of a few lines says which text is held. After every step, text that has gone must not have been held, and the
invariants must hold. At the end of a schedule, the worker has destroyed what is over its time.
"""

import random
import secrets
from collections.abc import Awaitable, Callable
from datetime import timedelta
from uuid import UUID

import pytest

from curhat.app import invariants
from curhat.kit.database import Database
from curhat.kit.errors import BusinessError
from curhat.safety.reports.errors import TextGone
from curhat.sessions import service as sessions
from tests.simulation.checker import Checker, checker_of
from tests.support.chats import Chat, open_chat
from tests.support.clock import VirtualClock
from tests.support.old_chats import DECIDE, end, new_operator, report, texts_of, write
from tests.support.people import Make

SCHEDULES = 12
STEPS = 24
HELD_AFTER_DECISION = timedelta(days=90)
MUST_BE_REACHED = {
    "text destroyed by age",
    "text destroyed because its customer deleted the chat",
    "text destroyed by an erasure",
    "held text left out",
    "text destroyed after its hold",
    "report refused because the text is gone",
}

# A decision can be appealed, and another operator decides the appeal. Meanwhile the text stays held.
WARN = """
UPDATE reports SET status = 'decided', decision = 'warn', decision_note = 'read', decided_by = $2,
    decided_at = curhat_now(), closed_at = curhat_now()
WHERE id = $1
"""
APPEAL = (
    "UPDATE reports SET status = 'appealed', appealed_at = curhat_now(), appeal_text = 'no' WHERE id = $1"
)
DECIDE_APPEAL = """
UPDATE reports SET status = 'decided', appeal_decision = 'upheld', appeal_note = 'read', appeal_decided_by = $2,
    appeal_decided_at = curhat_now(), closed_at = curhat_now()
WHERE id = $1
"""
REPORTS = (
    "SELECT id, session_id, status, decision, appealed_at, decided_at, closed_at FROM reports ORDER BY id"
)


class Schedule:
    """One schedule. The rows of earlier schedules stay in the database."""

    def __init__(
        self, database: Database, checker: Checker, clock: VirtualClock, make: Make, seed: int
    ) -> None:
        self.database = database
        self.checker = checker
        self.clock = clock
        self.random = random.Random(seed)
        self.make = make
        self.chats: list[Chat] = []
        self.customers: list[UUID] = []
        self.mitras: list[UUID] = []
        self.operators: list[UUID] = []
        self.hidden: set[UUID] = set()
        self.reached: set[str] = set()
        self.log: list[str] = []

    async def set_up(self) -> None:
        self.customers = [await self.make.customer() for _ in range(2)]
        self.mitras = [await self.make.mitra(max_customers=20) for _ in range(2)]
        self.operators = [await new_operator(self.database) for _ in range(2)]

    async def run(self) -> None:
        """Do STEPS steps, and then let the worker finish."""
        steps: dict[str, tuple[int, Callable[[], Awaitable[str]]]] = {
            "chat": (4, self.chat),
            "report": (4, self.report),
            "decide": (3, self.decide),
            "appeal": (2, self.appeal),
            "delete chat": (3, self.delete_chat),
            "erase": (1, self.erase),
            "worker": (3, self.worker),
            "clock": (6, self.move_clock),
        }
        names, weights = list(steps), [weight for weight, _ in steps.values()]
        await self.chat()
        for _ in range(STEPS):
            name = self.random.choices(names, weights)[0]
            await self._do(name, steps[name][1])
        await self._do("the worker finishes", self.finish)
        await self._check(quiet=True)

    async def _do(self, name: str, step: Callable[[], Awaitable[str]]) -> None:
        before = await self._kept()
        held = await self._held()
        self.log.append(f"{name}: {await step()}")
        gone = before - await self._kept()
        assert gone & held == set(), f"held text is gone after: {self.log}"
        if name not in ("worker", "erase", "the worker finishes"):
            assert gone == set(), f"text is gone after: {self.log}"
        await self._check()

    async def _check(self, *, quiet: bool = False) -> None:
        broken = await invariants.violations_of(
            [each for each in invariants.INVARIANTS if each.number == "14" and (quiet or not each.quiet)],
            self.checker,
            None,
        )
        assert broken == [], f"{broken[0]} after: {self.log}"

    async def _kept(self) -> set[UUID]:
        rows = await self.database.fetch("SELECT DISTINCT session_id FROM messages")
        return {row["session_id"] for row in rows}

    async def _held(self) -> set[UUID]:
        now = await self.clock.now()
        return {
            row["session_id"]
            for row in await self.database.fetch(REPORTS)
            if row["status"] != "decided" or row["closed_at"] > now - HELD_AFTER_DECISION
        }

    async def chat(self) -> str:
        customer = self.random.choice(self.customers)
        chat = await open_chat(
            self.database, self.make, customer_id=customer, mitra_id=self.random.choice(self.mitras)
        )
        await write(self.database, chat, *(f"pesan {number}" for number in range(self.random.randint(1, 5))))
        await end(self.database, chat)
        self.chats.append(chat)
        return str(chat.id)

    async def report(self) -> str:
        chat = self.random.choice(self.chats)
        who = self.random.choice((chat.customer, chat.mitra))
        rows = await self.database.fetch("SELECT id FROM messages WHERE session_id = $1 LIMIT 2", chat.id)
        had_text = bool(rows)
        try:
            await report(self.database, who, chat.id, *(row["id"] for row in rows))
        except TextGone:
            self.reached.add("report refused because the text is gone")
            return f"{chat.id}: the text is gone"
        except BusinessError as error:
            return f"{chat.id}: {error.code}"
        assert had_text
        return str(chat.id)

    async def decide(self) -> str:
        reports = [row for row in await self.database.fetch(REPORTS) if row["status"] == "open"]
        if not reports:
            return "nothing to decide"
        chosen = self.random.choice(reports)
        await self.database.execute(
            self.random.choice((DECIDE, WARN)), chosen["id"], self.random.choice(self.operators)
        )
        return str(chosen["session_id"])

    async def appeal(self) -> str:
        for row in await self.database.fetch(REPORTS):
            if row["status"] == "appealed":
                decided_by = await self.database.fetchval(
                    "SELECT decided_by FROM reports WHERE id = $1", row["id"]
                )
                other = next(each for each in self.operators if each != decided_by)
                await self.database.execute(DECIDE_APPEAL, row["id"], other)
                return f"decided for {row['session_id']}"
            is_in_time = row["decided_at"] and await self.clock.now() < row["decided_at"] + timedelta(days=14)
            if row["decision"] == "warn" and row["appealed_at"] is None and is_in_time:
                await self.database.execute(APPEAL, row["id"])
                return f"of {row['session_id']}"
        return "nothing to appeal"

    async def delete_chat(self) -> str:
        chat = self.random.choice(self.chats)
        async with self.database.transaction() as tx:
            await sessions.hide_text(tx, chat.customer.user_id, chat.id)
        self.hidden.add(chat.id)
        for member in (chat.customer, chat.mitra):
            async with self.database.transaction() as tx:
                page = await sessions.messages_page(tx, member, chat.id, None)
            assert (page.items, page.text_gone) == ([], True), self.log
        return str(chat.id)

    async def erase(self) -> str:
        """Destroy the text of all chats of a customer, as the erasure of an account does."""
        customer = self.random.choice(self.customers)
        session_ids = [chat.id for chat in self.chats if chat.customer.user_id == customer]
        kept, held = await self._kept(), await self._held()
        async with self.database.transaction() as tx:
            destroyed = await sessions.destroy_text(tx, session_ids)
        assert set(destroyed) == kept & set(session_ids) - held, self.log
        if destroyed:
            self.reached.add("text destroyed by an erasure")
        if held & set(session_ids):
            self.reached.add("held text left out")
        return str(destroyed)

    async def worker(self) -> str:
        before = await self._kept()
        async with self.database.transaction() as tx:
            await sessions.destroy_due_texts(tx, self.random.choice((1, 4, 10_000)))
        destroyed = before - await self._kept()
        once_held = {row["session_id"] for row in await self.database.fetch(REPORTS)}
        for session_id in destroyed:
            if session_id in once_held:
                self.reached.add("text destroyed after its hold")
            elif session_id in self.hidden:
                self.reached.add("text destroyed because its customer deleted the chat")
            else:
                self.reached.add("text destroyed by age")
        return str(destroyed)

    async def finish(self) -> str:
        async with self.database.transaction() as tx:
            while await sessions.destroy_due_texts(tx):
                pass
        now = await self.clock.now()
        held = await self._held()
        for chat in self.chats:
            async with self.database.transaction() as tx:
                session = (await sessions.own_session(tx, chat.customer, chat.id)).for_customer
            assert session.ended_at is not None
            assert session.text_until is not None
            is_due = now >= session.text_until or (
                chat.id in self.hidden and now >= session.ended_at + timedelta(hours=72)
            )
            has_text = bool(await texts_of(self.database, chat.id))
            assert not (is_due and has_text and chat.id not in held), self.log
        return "done"

    async def move_clock(self) -> str:
        step = self.random.choice(
            (
                timedelta(hours=20),
                timedelta(days=4),
                timedelta(days=31),
                timedelta(days=120),
                timedelta(days=400),
            )
        )
        await self.clock.advance(step.total_seconds())
        return str(step)


@pytest.mark.rule("P.7", "T.2")
@pytest.mark.invariant(14)
async def test_no_schedule_of_reports_deletions_and_months_destroys_held_text_or_keeps_overdue_text(
    database: Database, clock: VirtualClock, make: Make
) -> None:
    first = secrets.randbelow(10**9)
    reached: set[str] = set()
    await clock.set()
    async with checker_of(database) as checker:
        seed = first
        while seed < first + SCHEDULES or (reached < MUST_BE_REACHED and seed < first + 10 * SCHEDULES):
            schedule = Schedule(database, checker, clock, make, seed)
            await schedule.set_up()
            try:
                await schedule.run()
            except AssertionError as error:
                raise AssertionError(f"seed {seed}: {error}") from error
            reached |= schedule.reached
            seed += 1
    assert MUST_BE_REACHED - reached == set()
