"""Notices that the mitra of a running session is disconnected, and that it is back (X.11).

Guarantees:
    `sessions.mitra_away_since` says since when the mitra is away. Only this column decides whether the customer can end
    the session with a review. So the step that ends the session, and the step that notes the mitra's return, have one
    order: the order in which they lock the session.
    A step writes the column and appends the event `session.updated` in one transaction.
    Nobody becomes away while presence is unknown: while Valkey does not answer, and shortly after Valkey lost its data.
    A mitra who was away before stays away until a server process receives a frame from this mitra. That needs no
    Valkey. After an outage, `mitra_away_since` is at most MAX_BACKDATED_SECONDS ago.
How it works:
    Every worker asks PostgreSQL every two seconds which mitras have a running session and are not away. The worker then
    asks Valkey, in one call per hundred mitras, when these mitras were last heard. Valkey also knows this about the
    mitras of a server process that was killed.
    Every server process asks PostgreSQL every second which mitras are away. The process then looks in its own memory
    whether it hears one of them. A new socket makes the process look at once.
    A worker can be late: it has read an old age, and meanwhile a server process has noted the mitra's return. So a
    return is a time (`mitra_back_at`), and an older age counts no more. The same rule protects a mitra whose server
    process cannot reach Valkey.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from curhat.kit.database import Database, Transaction
from curhat.kit.queries import read_clock
from curhat.presence.service import Presence, repeat
from curhat.realtime import service as realtime
from curhat.sessions import events, queries
from curhat.sessions import service as sessions
from curhat.sessions.states import MITRA_AWAY_SECONDS

LOOK_FOR_AWAY_SECONDS: Final = 2.0
LOOK_FOR_BACK_SECONDS: Final = 1.0
# A mitra is back if its last frame is at most BACK_WITHIN_SECONDS old: the interval of the pings, and a margin. This
# must be less than MITRA_AWAY_SECONDS - TOLERANCE_SECONDS.
BACK_WITHIN_SECONDS: Final = 3.5
# PostgreSQL's clock is read just before the ages, so a time can be this much too early.
TOLERANCE_SECONDS: Final = 2.0
# If reading the ages took longer, the process was perhaps stopped meanwhile, and the round does nothing.
MAX_LOOK_SECONDS: Final = 1.0
# A customer who was told late that the mitra is away waits nearly as long as others until an end with a review.
MAX_BACKDATED_SECONDS: Final = 10.0
# One transaction locks the sessions of at most MAX_MITRAS_PER_STEP mitras.
MAX_MITRAS_PER_STEP: Final = 100
# Stands for the time at which a mitra was heard if Valkey knows no such time.
NEVER: Final = datetime(1970, 1, 1, tzinfo=UTC)


async def mark_away(tx: Transaction, heard_ats: Mapping[UUID, datetime]) -> int:
    """Note which of these mitras are away, and tell their customers. Returns the number of changed sessions.

    `heard_ats` has when each mitra was last heard, by PostgreSQL's clock, or NEVER.
    """
    session_ids = await queries.mark_mitras_away(
        tx,
        mitra_ids=list(heard_ats),
        heard_ats=list(heard_ats.values()),
        away_seconds=MITRA_AWAY_SECONDS,
        max_backdated_seconds=MAX_BACKDATED_SECONDS,
        tolerance_seconds=TOLERANCE_SECONDS,
    )
    await _tell_customers(tx, session_ids)
    return len(session_ids)


async def mark_back(tx: Transaction, heard_ats: Mapping[UUID, datetime]) -> int:
    """Note that these mitras are back, and tell their customers. Returns the number of changed sessions."""
    session_ids = await queries.mark_mitras_back(
        tx, mitra_ids=list(heard_ats), heard_ats=list(heard_ats.values())
    )
    await _tell_customers(tx, session_ids)
    return len(session_ids)


async def _tell_customers(tx: Transaction, session_ids: Sequence[UUID]) -> None:
    changed = await sessions.views_of(tx, session_ids)
    await realtime.append(
        tx, [events.SESSION_UPDATED.to_customer(views.customer_id, views.for_customer) for views in changed]
    )


class Absences:
    """Looks for mitras who are away (in a worker) or back (in a server process)."""

    def __init__(self, database: Database, presence: Presence) -> None:
        self._database = database
        self._presence = presence
        self._look_now = asyncio.Event()

    async def run_in_worker(self) -> None:
        """Look for mitras who are away, until cancelled."""
        await repeat(self.look_for_away, LOOK_FOR_AWAY_SECONDS)

    async def run_in_server(self) -> None:
        """Look for mitras who are back, until cancelled."""
        await repeat(self._look_for_back_soon, 0)

    def opened(self) -> None:
        """A mitra opened a socket in this process. Look at once whether it was away."""
        self._look_now.set()

    async def look_for_away(self) -> None:
        """Mark the mitras who are away. Raises PresenceUnknown."""
        mitra_ids = await queries.list_present_mitras(self._database)
        for start in range(0, len(mitra_ids), MAX_MITRAS_PER_STEP):
            await self._look_for_away_among(mitra_ids[start : start + MAX_MITRAS_PER_STEP])

    async def _look_for_away_among(self, mitra_ids: Sequence[UUID]) -> None:
        ages = await self._presence.heard_ages(mitra_ids)
        # Most of the time, everybody is there. Then no clock is read, and no transaction begins.
        if all(age is not None and age <= MITRA_AWAY_SECONDS for age in ages.values()):
            return
        begun = time.monotonic()
        before = await read_clock(self._database)
        # Read the ages again, because they count from a time that PostgreSQL's clock had already passed.
        ages = await self._presence.heard_ages(mitra_ids)
        if time.monotonic() - begun > MAX_LOOK_SECONDS:
            return
        gone = {
            mitra_id: NEVER if age is None else before - timedelta(seconds=age)
            for mitra_id, age in ages.items()
            if age is None or age > MITRA_AWAY_SECONDS
        }
        if gone:
            async with self._database.transaction() as tx:
                await mark_away(tx, gone)

    async def _look_for_back_soon(self) -> None:
        try:
            async with asyncio.timeout(LOOK_FOR_BACK_SECONDS):
                await self._look_now.wait()
        except TimeoutError:
            pass
        self._look_now.clear()
        await self.look_for_back()

    async def look_for_back(self) -> None:
        """Mark the mitras who are back on a socket of this process. Needs no Valkey."""
        if not self._presence.holds_mitras():
            return
        away = await queries.list_away_mitras(self._database)
        for start in range(0, len(away), MAX_MITRAS_PER_STEP):
            some = away[start : start + MAX_MITRAS_PER_STEP]
            if not self._presence.heard_here(some, BACK_WITHIN_SECONDS):
                continue
            begun = time.monotonic()
            before = await read_clock(self._database)
            ages = self._presence.heard_here(some, BACK_WITHIN_SECONDS)
            if not ages or time.monotonic() - begun > MAX_LOOK_SECONDS:
                continue
            heard_ats = {mitra_id: before - timedelta(seconds=age) for mitra_id, age in ages.items()}
            async with self._database.transaction() as tx:
                await mark_back(tx, heard_ats)
