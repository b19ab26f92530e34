"""Lets people with hidden habits use the real service under the virtual clock, so that there is a past to replay.

Searches, accepts, rejections, deadlines and chats run through the production functions. The habits (who ignores, who
rejects, how fast) are drawn here, from other distributions than those of the replay.
"""

import heapq
import itertools
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from curhat.deadlines import loop as deadline_loop
from curhat.journeys import mitras, searching
from curhat.journeys.transitions import Transitions
from curhat.kit.database import Database
from curhat.kit.errors import BusinessError
from curhat.pairing import service as pairing
from curhat.payments.mock.gateway import MockGateway
from tests.support.clock import START, VirtualClock
from tests.support.fake_presence import FakePresence
from tests.support.people import Make


@dataclass(frozen=True, slots=True)
class Habit:
    """How a mitra behaves: parts of the requests ignored and rejected, median answer, and the shift in hours."""

    ignores: float
    rejects: float
    median_seconds: float
    begins_hour: float
    ends_hour: float


class Business:
    """Runs `searches` searches over `hours`, each with a window of `window_seconds`. `seed` decides all draws."""

    def __init__(
        self, database: Database, clock: VirtualClock, make: Make, *, seed: int, window_seconds: int
    ) -> None:
        self._database = database
        self._clock = clock
        self._make = make
        self._seed = seed
        self._window_seconds = window_seconds
        self._events: list[tuple[datetime, int, tuple[object, ...]]] = []
        self._order = itertools.count()
        self._offers_seen: set[tuple[UUID, datetime]] = set()
        self._habits: dict[UUID, Habit] = {}
        transitions = Transitions(database, FakePresence(), MockGateway(database))  # type: ignore[arg-type]
        self._transitions = transitions.by_kind()

    async def run(
        self,
        habits: Sequence[Habit],
        *,
        searches: int,
        hours: float,
        minutes: int,
        begins_at: datetime = START,
    ) -> None:
        """Let the mitras and the customers of one day act until every chat is over."""
        await self._clock.set(begins_at)
        draws = random.Random(self._seed)
        for number, habit in enumerate(habits):
            mitra_id = await self._make.mitra(f"Kak {number}", online=False)
            self._habits[mitra_id] = habit
            self._at(begins_at + timedelta(hours=habit.begins_hour), "toggle", mitra_id, True)
            self._at(begins_at + timedelta(hours=habit.ends_hour), "toggle", mitra_id, False)
        for _ in range(searches):
            self._at(begins_at + timedelta(hours=draws.uniform(0.1, hours)), "search", minutes)
        while True:
            due = await self._database.fetchval("SELECT min(due_at) FROM deadlines WHERE parked_at IS NULL")
            if not self._events and due is None:
                return
            if due is not None and (not self._events or due <= self._events[0][0]):
                await self._clock.set(max(due, await self._clock.now()))
                while await deadline_loop.run_once(self._database, self._transitions):
                    pass
                await self._offer()
                continue
            at, _, (what, *about) = heapq.heappop(self._events)
            await self._clock.set(at)
            await self._act(str(what), about)

    def _at(self, at: datetime, *what: object) -> None:
        heapq.heappush(self._events, (at, next(self._order), what))

    async def _act(self, what: str, about: list[object]) -> None:
        database = self._database
        if what == "search":
            (minutes,) = about
            customer = await self._make.customer()
            payment = await self._make.confirmed_payment(customer, duration_minutes=int(str(minutes)))
            available = await database.fetch("SELECT id FROM mitras WHERE can_take_customer")
            async with database.transaction() as tx:
                ids = [row["id"] for row in available]
                await pairing.open_blast(tx, payment, self._window_seconds, ids)
            await self._notice_offers()
        elif what == "toggle":
            mitra_id, is_online = about
            async with database.transaction() as tx:
                await tx.execute("UPDATE mitras SET online = $2 WHERE id = $1", mitra_id, is_online)
                await mitras.intent_changed(tx, UUID(str(mitra_id)), bool(is_online))
            await self._offer()
        else:
            mitra_id, request_id = UUID(str(about[0])), UUID(str(about[1]))
            try:
                async with database.transaction() as tx:
                    if what == "accept":
                        await searching.accept(tx, mitra_id, request_id)
                    else:
                        available = await database.fetch("SELECT id FROM mitras WHERE can_take_customer")
                        await pairing.reject(tx, request_id, mitra_id, [row["id"] for row in available])
            except BusinessError:
                return

    async def _offer(self) -> None:
        available = await self._database.fetch("SELECT id FROM mitras WHERE can_take_customer")
        await pairing.offer_open_blasts(self._database, [row["id"] for row in available])
        await self._notice_offers()

    async def _notice_offers(self) -> None:
        """Let each mitra decide about new requests. The decision is carried out later, if it is still possible."""
        rows = await self._database.fetch(
            "SELECT id, mitra_id, offered_at FROM requests WHERE status = 'offered' ORDER BY id"
        )
        for row in rows:
            if (row["id"], row["offered_at"]) in self._offers_seen:
                continue
            self._offers_seen.add((row["id"], row["offered_at"]))
            habit = self._habits[row["mitra_id"]]
            draws = random.Random(f"{self._seed} {len(self._offers_seen)}")
            kind = draws.random()
            if kind < habit.ignores:
                continue
            seconds = draws.lognormvariate(math.log(habit.median_seconds), 0.6)
            what = "reject" if kind < habit.ignores + habit.rejects else "accept"
            self._at(row["offered_at"] + timedelta(seconds=seconds), what, row["mitra_id"], row["id"])
