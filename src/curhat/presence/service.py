"""Who may be asked, and who is connected: the toggle in PostgreSQL, leases in Valkey, the loops between.

Guarantees
    `may_be_asked`, `ask_candidates`, `count_available`, `is_connected` and `connected_among` answer from Valkey within
    a second, or raise PresenceUnknown; they never guess. Whether a mitra may really take a customer is checked again in
    PostgreSQL when it accepts.
    What Valkey shows follows PostgreSQL: at once when this process committed the change, within
    RECONCILE_SECONDS when another did or the signal was lost. It never goes back to an older state.
    Valkey that was away, wiped or damaged is made right within RECONCILE_SECONDS, without anybody's help; of
    mitras whom only push reaches, within PUSH_RECONCILE_SECONDS.
How it works
    A frame from a mitra only sets a time in memory. Every FLUSH_SECONDS the connections that had one are reported
    to Valkey in batches, each with the age of its last frame: a report that comes late lengthens no lease.
    In every RECONCILE_SECONDS the process reports all its connections, reads its mitras' states from PostgreSQL,
    applies them, and tells pairing who of them may be asked, some mitras at a time. Whatever a lost signal or an
    outage left undone is done then.
    Whom push reaches (1.1) is known to PostgreSQL: a subscription that has not failed, and when the app was last
    seen. No process holds such a mitra; the workers read them all, every PUSH_RECONCILE_SECONDS.
Relies on
    `opened`, `frame_received` and `closed` for every socket of a mitra, with a connection id that is never
    used again; `mitra_changed` for what this process commits; `run` running, and in some process
    `keep_push_reachable`.
"""

import asyncio
import contextlib
import dataclasses
import math
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from uuid import UUID

import asyncpg
import msgspec
import structlog
import valkey.asyncio
from prometheus_client import Gauge, Histogram

from curhat.kit.database import DATABASE_AWAY, Database, Transaction, load_queries
from curhat.kit.errors import NotFound, PresenceUnknown
from curhat.presence.hooks import on_intent_changed
from curhat.presence.schemas import MitraPresence
from curhat.presence.states import MAY_BE_ASKED_SECONDS, PUSH_REACHABLE_SECONDS, MitraState
from curhat.presence.store import PresenceStore, Report

log = structlog.get_logger(__name__)

SQL = load_queries(__file__)

SIGNAL = "mitra_changed"

FLUSH_SECONDS = 0.25
RECONCILE_SECONDS = 2
# A round goes through its mitras in this many steps, spread over its time, each of so many mitras at least: hundreds of
# them at once would hold up whatever else this process has to answer.
RECONCILE_STEPS = 20
RECONCILE_STEP_SIZE = 25
PUSH_RECONCILE_SECONDS = 5
LAST_SEEN_SECONDS = 30
# Rows locked by one statement while last-seen times are written: bounds how long an accept waits for one.
LAST_SEEN_BATCH = 500

_available = Gauge("curhat_presence_available_mitras", "Mitras that may be asked now.")
_held = Gauge("curhat_presence_connections", "Connections of mitras that this process holds.")
_flush_seconds = Histogram("curhat_presence_flush_seconds", "How long reporting frames to Valkey took.")


# In a transaction ----------------------------------------------------------------------------------------


async def set_intent(tx: Transaction, mitra_id: UUID, online: bool) -> MitraState:
    """The toggle. Takes the mitra's row lock; runs the hooks when the intent changed.

    Raises NotFound for somebody who is no mitra, and whatever a hook refuses with.
    """
    before = await tx.fetchrow(SQL.lock_mitras, [mitra_id])
    if before is None:
        raise NotFound
    row = await tx.fetchrow(SQL.set_intent, mitra_id, online)
    assert row is not None  # Its lock is held.
    if before["online"] != online:
        for hook in on_intent_changed:
            await hook(tx, mitra_id, online)
    announce(tx, [mitra_id])
    return _to_state(row)


async def take_place(tx: Transaction, mitra_id: UUID) -> None:
    """A session of this mitra begins: one customer more. The caller holds the mitra's row lock."""
    await tx.execute(SQL.take_place, mitra_id)
    announce(tx, [mitra_id])


async def release_places(tx: Transaction, mitra_ids: Sequence[UUID]) -> None:
    """Sessions of these mitras ended, one for each time that a mitra is named. Takes the mitras' row locks."""
    await tx.fetch(SQL.lock_mitras, mitra_ids)
    await tx.execute(SQL.release_places, mitra_ids)
    announce(tx, mitra_ids)


def announce(tx: Transaction, mitra_ids: Sequence[UUID]) -> None:
    """For whoever changes intent, suspension, load or capacity: Valkey follows after the commit."""
    tx.signal(SIGNAL, msgspec.json.encode(mitra_ids))


async def mitra_state(database: Database | Transaction, mitra_id: UUID) -> MitraState:
    """What PostgreSQL knows of a mitra. Raises NotFound."""
    row = await database.fetchrow(SQL.states, [mitra_id])
    if row is None:
        raise NotFound
    return _to_state(row)


# In a process --------------------------------------------------------------------------------------------


@dataclasses.dataclass(slots=True, eq=False)
class _Connection:
    mitra_id: UUID
    id: str
    last_frame: float
    closed_at: float | None = None


@dataclasses.dataclass(slots=True, eq=False)
class _Mitra:
    """A mitra of whom this process holds connections."""

    connections: dict[str, _Connection] = dataclasses.field(default_factory=dict)
    # The version whose presence its devices were told, and whether it was connected; None when one connected that may
    # know something older.
    told: tuple[int, bool] | None = None


class Presence:
    """What one process knows of its mitras' connections, and its view of everybody's through Valkey."""

    def __init__(self, client: "valkey.asyncio.Valkey", database: Database) -> None:
        self._database = database
        self._store = PresenceStore(client)
        self._mitras: dict[UUID, _Mitra] = {}
        # Connections with a frame, or a close, that Valkey has not been told of.
        self._unreported: set[_Connection] = set()
        self._flushing = asyncio.Lock()
        self._next_flush: asyncio.Task[None] | None = None
        # When mitras were last seen, as far as PostgreSQL has not been told.
        self._unwritten_last_seen: dict[UUID, float] = {}
        self._to_refresh: set[UUID] = set()
        self._refresh_wanted = asyncio.Event()
        # Called with mitras that may be asked now, again and again while they may.
        self.on_may_be_asked: Callable[[list[UUID]], Awaitable[None]] | None = None
        # Called with a mitra this process holds, when its presence changed or a device connected.
        self.on_presence_changed: Callable[[UUID, MitraPresence], None] | None = None

    # Questions. Each raises PresenceUnknown when Valkey does not answer.

    async def ask_candidates(self) -> list[UUID]:
        """Every mitra who may be asked now (1.1)."""
        return await self._store.candidates()

    async def may_be_asked(self, mitra_id: UUID) -> bool:
        """Whether this mitra may be asked now (1.1)."""
        return (await self._store.look(mitra_id)).may_be_asked

    async def is_connected(self, mitra_id: UUID) -> bool:
        """Whether this mitra is connected now (5.6). A session under way says nothing about it."""
        return (await self._store.look(mitra_id)).connected

    async def connected_among(self, mitra_ids: Sequence[UUID]) -> set[UUID]:
        """Which of these mitras are connected now (5.6)."""
        standings = await self._store.look_at(mitra_ids)
        return {each for each, standing in zip(mitra_ids, standings, strict=True) if standing.connected}

    async def count_available(self) -> int:
        """How many mitras may be asked now."""
        return await self._store.count()

    async def view(self, state: MitraState) -> MitraPresence:
        """A mitra's presence for showing. Unknown shows as not connected; never raises."""
        try:
            connected = await self.is_connected(state.id)
        except PresenceUnknown:
            connected = False
        return _to_presence(state, connected=connected)

    # What happens to sockets. Called by whoever holds them; none of them raises because Valkey is away.

    async def opened(self, mitra_id: UUID, connection_id: str) -> None:
        """A socket opened: its lease begins, and Valkey shows it when this returns (unless it is away)."""
        mitra = self._mitras.setdefault(mitra_id, _Mitra())
        mitra.connections[connection_id] = connection = _Connection(mitra_id, connection_id, time.monotonic())
        self._unreported.add(connection)
        with _left_to_reconcile("opened"):
            await self.flush()
        # Once the caller goes on: pairing offers what is open, and the device learns what it may have missed.
        mitra.told = None
        self.refresh_soon([mitra_id])

    def frame_received(self, mitra_id: UUID, connection_id: str) -> None:
        """Any frame from the client renews its lease. In memory; one of a closed connection is nothing."""
        mitra = self._mitras.get(mitra_id)
        connection = mitra.connections.get(connection_id) if mitra else None
        if connection is not None:
            connection.last_frame = time.monotonic()
            self._unreported.add(connection)

    async def closed(self, mitra_id: UUID, connection_id: str) -> None:
        """A socket closed, cleanly or not: its lease ends in COME_BACK_SECONDS at the latest."""
        mitra = self._mitras.get(mitra_id)
        connection = mitra.connections.pop(connection_id, None) if mitra else None
        if mitra is None or connection is None:
            return
        if not mitra.connections:
            del self._mitras[mitra_id]
        connection.closed_at = time.monotonic()
        self._unreported.add(connection)
        with _left_to_reconcile("closed"):
            await self.flush()

    def seen(self, mitra_id: UUID) -> None:
        """The mitra's app asked for something over HTTP: it was seen (1.1). In memory, written down in time."""
        self._unwritten_last_seen[mitra_id] = time.monotonic()

    # Bringing Valkey in step with PostgreSQL.

    async def refresh(self, mitra_ids: Iterable[UUID]) -> list[UUID]:
        """Read these mitras' states from PostgreSQL and make Valkey show them.

        Answers who of them may be asked now. Raises PresenceUnknown.
        """
        ids = list(mitra_ids)
        if not ids:
            return []
        states = [_to_state(row) for row in await self._database.fetch(SQL.states, ids)]
        standings = await self._store.apply(states)
        for state, standing in zip(states, standings, strict=True):
            self._tell_devices(state, connected=standing.connected)
        return [state.id for state, standing in zip(states, standings, strict=True) if standing.may_be_asked]

    def refresh_soon(self, mitra_ids: Iterable[UUID]) -> None:
        """Refresh these mitras in `run`, together with all others that are waiting for it."""
        self._to_refresh.update(mitra_ids)
        self._refresh_wanted.set()

    def mitra_changed(self, payload: bytes) -> None:
        """Handler of the signal `mitra_changed`."""
        self.refresh_soon(msgspec.json.decode(payload, type=list[UUID]))

    # Loops.

    async def run(self) -> None:
        """Keep leases, states and last-seen times in step until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._repeat(self.flush, FLUSH_SECONDS))
            tasks.create_task(self._repeat(self.reconcile, RECONCILE_SECONDS))
            tasks.create_task(self._repeat(self.write_last_seen, LAST_SEEN_SECONDS))
            tasks.create_task(self._repeat(self.refresh_waiting, 0))

    async def keep_push_reachable(self) -> None:
        """Keep Valkey right about the mitras whom only push reaches, until cancelled. For the workers."""
        await self._repeat(self.reconcile_push, PUSH_RECONCILE_SECONDS)

    async def reconcile_push(self) -> None:
        """Make Valkey right about every mitra whom push reaches, and whoever else it says may be asked.

        Raises PresenceUnknown.
        """
        reachable = {
            row["id"] for row in await self._database.fetch(SQL.push_reachable, PUSH_REACHABLE_SECONDS)
        }
        await self._tell_pairing(await self.refresh(reachable | set(await self._store.candidates())))

    async def flush(self) -> None:
        """Report the frames and closes Valkey was not told of. Raises PresenceUnknown, and keeps them.

        One report at a time; all who ask for one meanwhile share the next: a thousand mitras who come back at
        once are a few batches, and not a thousand connections to Valkey.
        """
        if self._next_flush is None:
            self._next_flush = asyncio.create_task(self._flush())
        await asyncio.shield(self._next_flush)

    async def reconcile(self) -> None:
        """Make Valkey right about every mitra this process holds, a few at a time. Raises PresenceUnknown."""
        held = list(self._mitras)
        size = max(RECONCILE_STEP_SIZE, math.ceil(len(held) / RECONCILE_STEPS))
        for start in range(0, len(held), size):
            if start:
                await asyncio.sleep(RECONCILE_SECONDS * size / len(held))
            # Those who left meanwhile were reported when they did.
            mitras = {each: self._mitras[each] for each in held[start : start + size] if each in self._mitras}
            for mitra in mitras.values():
                self._unreported.update(mitra.connections.values())
            await self.flush()
            await self._tell_pairing(await self.refresh(mitras))
        await self._store.prune()
        _available.set(await self._store.count())

    async def refresh_waiting(self) -> None:
        """Wait until a refresh is wanted, and do all that are. What fails is left to `reconcile`."""
        await self._refresh_wanted.wait()
        self._refresh_wanted.clear()
        ids, self._to_refresh = self._to_refresh, set()
        await self._tell_pairing(await self.refresh(ids))

    async def write_last_seen(self) -> None:
        """Write down in PostgreSQL when mitras were last seen; what was not written waits for the next time."""
        now = time.monotonic()
        waiting = list(self._unwritten_last_seen.items())
        for start in range(0, len(waiting), LAST_SEEN_BATCH):
            batch = waiting[start : start + LAST_SEEN_BATCH]
            rows = await self._database.fetch(
                SQL.write_last_seen, [mitra_id for mitra_id, _ in batch], [now - seen for _, seen in batch]
            )
            written = {row["id"] for row in rows}
            for mitra_id, seen in batch:
                if mitra_id in written and self._unwritten_last_seen[mitra_id] == seen:
                    del self._unwritten_last_seen[mitra_id]

    async def _repeat(self, step: Callable[[], Awaitable[None]], period_seconds: float) -> None:
        task = asyncio.current_task()
        while True:
            begun = time.monotonic()
            try:
                with _left_to_reconcile(step.__name__):
                    await step()
            except Exception:
                # A fault in one round must not end presence for everybody; the next does the work again.
                log.exception("presence.step_failed", step=step.__name__)
            if task is not None and task.cancelling():
                # Up to Python 3.11 asyncio.wait_for, through which the Valkey client writes when it has a socket
                # timeout, can swallow a cancellation.
                raise asyncio.CancelledError
            await asyncio.sleep(max(0.0, begun + period_seconds - time.monotonic()))

    async def _flush(self) -> None:
        async with self._flushing:
            self._next_flush = None
            _held.set(sum(len(mitra.connections) for mitra in self._mitras.values()))
            with _flush_seconds.time():
                unknown = await self._report()
            await self.refresh(unknown)

    async def _report(self) -> set[UUID]:
        """Tell Valkey of all unreported connections. Answers the mitras it does not know."""
        now = time.monotonic()
        # A lease that is over is not worth a word; this also bounds how long a close waits for Valkey.
        alive = [each for each in self._unreported if now - each.last_frame < MAY_BE_ASKED_SECONDS]
        self._unreported.clear()
        for connection in alive:
            seen = self._unwritten_last_seen.get(connection.mitra_id, 0.0)
            self._unwritten_last_seen[connection.mitra_id] = max(seen, connection.last_frame)
        try:
            return await self._store.report(
                [
                    Report(
                        each.mitra_id,
                        each.id,
                        now - each.last_frame,
                        None if each.closed_at is None else now - each.closed_at,
                    )
                    for each in alive
                ]
            )
        except PresenceUnknown:
            self._unreported.update(alive)
            raise

    def _tell_devices(self, state: MitraState, *, connected: bool) -> None:
        mitra = self._mitras.get(state.id)
        if mitra is None or self.on_presence_changed is None:
            return
        version = state.availability_version
        # Of one version too: a refresh under way when the socket opened may have found the mitra not connected yet.
        if mitra.told is None or mitra.told[0] < version or mitra.told == (version, not connected):
            mitra.told = (version, connected)
            self.on_presence_changed(state.id, _to_presence(state, connected=connected))

    async def _tell_pairing(self, mitra_ids: list[UUID]) -> None:
        if mitra_ids and self.on_may_be_asked is not None:
            await self.on_may_be_asked(mitra_ids)


@contextlib.contextmanager
def _left_to_reconcile(step: str) -> Iterator[None]:
    """For what the next rounds do again by themselves when Valkey or PostgreSQL is away."""
    try:
        yield
    except PresenceUnknown:
        pass  # The store has logged it, once for the outage.
    except DATABASE_AWAY as error:
        log.warning("presence.database_failed", step=step, error=repr(error))


def _to_state(row: asyncpg.Record) -> MitraState:
    return MitraState(
        id=row["id"],
        display_name=row["display_name"],
        online=row["online"],
        suspended=row["suspended"],
        active_sessions=row["active_sessions"],
        max_customers=row["max_customers"],
        push_reachable_seconds=_push_reachable_seconds(row),
        availability_version=row["availability_version"],
    )


def _push_reachable_seconds(row: asyncpg.Record) -> float:
    if not row["push_ready"] or row["unseen_seconds"] is None:
        return 0.0
    return max(0.0, PUSH_REACHABLE_SECONDS - float(row["unseen_seconds"]))


def _to_presence(state: MitraState, *, connected: bool) -> MitraPresence:
    return MitraPresence(
        online=state.online,
        connected=connected,
        active_sessions=state.active_sessions,
        max_customers=state.max_customers,
    )
