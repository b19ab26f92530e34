"""Decides which mitras can be asked, and which mitras are connected.

PostgreSQL stores the toggle, and Valkey stores the leases. Loops in this module make Valkey follow PostgreSQL.

Guarantees:
    `may_be_asked`, `ask_candidates`, `count_available`, `is_connected`, `connected_among` and `frame_ages` answer
    from Valkey within a second, or raise PresenceUnknown, and never guess. When a mitra accepts, PostgreSQL checks
    again whether the mitra can take a customer.
    If this process committed a change, Valkey shows the change immediately. If another process committed the change, or
    if the signal was lost, Valkey shows the change within RECONCILE_INTERVAL_SECONDS. Valkey never returns to an older
    state.
    After Valkey was away, wiped or damaged, its data is correct again within RECONCILE_INTERVAL_SECONDS. For mitras
    whom only push reaches, the correction takes up to PUSH_RECONCILE_INTERVAL_SECONDS. Until then, the methods do not
    believe an answer "nobody".
How it works:
    A frame from a mitra only sets a time in memory. `flush` reports to Valkey, in batches, which connections have
    received a frame. Each report contains the age of the last frame and the time of the report. So a late report does
    not make a lease longer, even if Valkey stops and runs the report later.
    After this process was stopped for a while, it reads frames that arrived long ago. The process treats these frames
    as if they arrived when the stop began. So a mitra who left during the stop is not connected.
    `reconcile` applies the states of the mitras of this process to Valkey. If Valkey shows one of them as disconnected,
    `reconcile` reports its connections again. `reconcile` repairs the effects of a lost signal or an outage.
    Valkey marks each mitra who becomes available. The process that reads the mark tells the package pairing. After the
    open blasts have been offered to the mitra, the process removes the mark. If the process dies before, the next
    `reconcile` reads the mark again.
    No process holds a connection of a mitra whom only push reaches (1.1). So the workers read from PostgreSQL which
    mitras only push reaches. PostgreSQL stores each subscription, whether the subscription has failed, and the time
    when the app was last seen.
Relies on:
    The hub's hooks call `opened`, `frame_received` and `closed` for every socket of a mitra. The hooks never reuse a
    connection id. The signal of each change that this process commits reaches `mitra_changed`. `run` runs in every
    process, and `keep_push_reachable` runs in at least one process.
"""

import asyncio
import contextlib
import dataclasses
import math
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final
from uuid import UUID

import msgspec
import structlog
import valkey.asyncio
from prometheus_client import Gauge, Histogram

from curhat.content.texts import service as texts
from curhat.deadlines import service as deadlines
from curhat.kit.database import DATABASE_AWAY, Database, Transaction
from curhat.kit.errors import NotFound, PresenceUnknown
from curhat.kit.identity import Identity
from curhat.kit.pause_points import pause_point
from curhat.presence import queries
from curhat.presence.hooks import IntentChanged, PresenceHooks
from curhat.presence.queries import LockedMitra, MitraState
from curhat.presence.schemas import MitraPresence
from curhat.presence.states import (
    COME_BACK_SECONDS,
    MAY_BE_ASKED_SECONDS,
    MITRA_CONNECTED_SECONDS,
    PUSH_REACHABLE_SECONDS,
)
from curhat.presence.store import Applied, FrameAges, PresenceStore, Report

log = structlog.get_logger(__name__)

SIGNAL = "mitra_changed"

# Deadline kind: the time of a mitra's break is over. The transition is in journeys/push.py.
BREAK_OVER: Final = "push_break"

FLUSH_INTERVAL_SECONDS = 0.25
WATCH_INTERVAL_SECONDS = 0.1
# If a process does not run for longer than MAX_PAUSE_SECONDS, the arrival times of the next frames are unknown.
MAX_PAUSE_SECONDS = 1.0
# A process can take OLD_FRAMES_SECONDS to read the frames that arrived during a pause.
OLD_FRAMES_SECONDS = 1.0
RECONCILE_INTERVAL_SECONDS = 2
# `reconcile` divides its work into at most MAX_RECONCILE_STEPS steps, and spreads the steps over the interval. A step
# that handles hundreds of mitras would block the event loop of this process.
MAX_RECONCILE_STEPS = 20
MIN_MITRAS_PER_STEP = 25
PUSH_RECONCILE_INTERVAL_SECONDS = 5
LAST_SEEN_INTERVAL_SECONDS = 30
# One statement locks the rows of at most MAX_LAST_SEEN_ROWS mitras to write last-seen times. This limits how long an
# accept waits for the lock of a mitra's row.
MAX_LAST_SEEN_ROWS = 500

_available = Gauge("curhat_presence_available_mitras", "Mitras that may be asked now.")
_held = Gauge("curhat_presence_connections", "Connections of mitras that this process holds.")
_flush_seconds = Histogram("curhat_presence_flush_seconds", "How long reporting frames to Valkey took.")


# In a transaction ----------------------------------------------------------------------------------------


async def set_intent(
    tx: Transaction, mitra_id: UUID, online: bool, intent_changed: IntentChanged
) -> MitraState:
    """Set the toggle and return the new state. Locks the mitra's row, and calls the hook if the intent changed.

    A mitra who sets the toggle by hand, to online or to offline, ends a break.
    Raises NotFound if the user is not a mitra. Raises AcceptanceNeeded if the mitra wants to go online, and has not
    accepted the newest texts (P.1). The function also raises every error of the hook `intent_changed`.
    """
    if online:
        await texts.refuse_missing(tx, Identity("mitra", mitra_id))
    locked = await _lock_mitra(tx, mitra_id)
    state = await queries.set_intent(
        tx, online=online, mitra_id=mitra_id, push_window_seconds=PUSH_REACHABLE_SECONDS
    )
    if locked.is_on_break:
        await deadlines.disarm(tx, BREAK_OVER, mitra_id)
    if locked.online != online:
        await intent_changed(tx, mitra_id, online)
    announce(tx, [mitra_id])
    return state


async def begin_break(
    tx: Transaction, mitra_id: UUID, minutes: int, intent_changed: IntentChanged
) -> MitraState:
    """Switch the toggle off for a break, arm the reminder, and return the new state (M.3).

    A break has the consequences of the toggle. The end of its time changes nothing: only the mitra goes online again.
    Raises NotFound if the user is not a mitra. The function also raises every error of the hook `intent_changed`.
    """
    locked = await _lock_mitra(tx, mitra_id)
    seconds = minutes * 60.0
    state = await queries.begin_break(
        tx, mitra_id=mitra_id, break_seconds=seconds, push_window_seconds=PUSH_REACHABLE_SECONDS
    )
    # A worker can hold the deadline of an earlier break. That deadline fires, and finds that this break is not over.
    await deadlines.disarm(tx, BREAK_OVER, mitra_id)
    await deadlines.arm_another(tx, BREAK_OVER, [mitra_id], seconds)
    if locked.online:
        await intent_changed(tx, mitra_id, False)
    announce(tx, [mitra_id])
    return state


async def _lock_mitra(tx: Transaction, mitra_id: UUID) -> LockedMitra:
    locked = await queries.lock_mitras(tx, mitra_ids=[mitra_id])
    if not locked:
        raise NotFound
    return locked[0]


async def release_places(tx: Transaction, mitra_ids: Sequence[UUID]) -> None:
    """Subtract 1 from a mitra's `active_sessions` for each time that the mitra appears in `mitra_ids`.

    Locks the mitras' rows.
    """
    await queries.lock_mitras(tx, mitra_ids=mitra_ids)
    await queries.release_places(tx, mitra_ids=mitra_ids)
    announce(tx, mitra_ids)


def announce(tx: Transaction, mitra_ids: Sequence[UUID]) -> None:
    """Make this process refresh these mitras in Valkey after the commit.

    Call this function in every transaction that changes a mitra's intent, suspension, number of sessions or capacity.
    """
    tx.signal(SIGNAL, msgspec.json.encode(mitra_ids))


async def mitra_state(database: Database | Transaction, mitra_id: UUID) -> MitraState:
    """Read the state of a mitra from PostgreSQL. Raises NotFound."""
    states = await queries.read_mitra_states(
        database, mitra_ids=[mitra_id], push_window_seconds=PUSH_REACHABLE_SECONDS
    )
    if not states:
        raise NotFound
    return states[0]


# In a process --------------------------------------------------------------------------------------------


@dataclasses.dataclass(slots=True, eq=False)
class _Connection:
    mitra_id: UUID
    id: str
    opened_at: float
    last_frame: float
    closed_at: float | None = None


@dataclasses.dataclass(slots=True, eq=False)
class _Mitra:
    """A mitra who has connections in this process."""

    connections: dict[str, _Connection] = dataclasses.field(default_factory=dict)
    # The presence that this process last sent to the mitra's devices: its version, and whether it showed the mitra as
    # connected. The value is None after a device connected, because the device perhaps shows an older state.
    told: tuple[int, bool] | None = None


class Presence:
    """The connections of mitras in this process, and, through Valkey, the presence of every mitra."""

    def __init__(self, client: "valkey.asyncio.Valkey", database: Database, hooks: PresenceHooks) -> None:
        self.hooks = hooks
        self._database = database
        self._store = PresenceStore(client)
        self._mitras: dict[UUID, _Mitra] = {}
        # The connections whose last frame or close this process has not reported to Valkey yet.
        self._unreported: set[_Connection] = set()
        self._flushing = asyncio.Lock()
        self._next_flush: asyncio.Task[None] | None = None
        # The last-seen times that this process has not written to PostgreSQL yet.
        self._unwritten_last_seen: dict[UUID, float] = {}
        # The last time at which `watch_for_pauses` ran. After a pause, frames that are read until `_old_until` count as
        # arrived at `_paused_at`.
        self._awake_at = math.inf
        self._paused_at = self._old_until = 0.0
        self._to_refresh: set[UUID] = set()
        self._refresh_wanted = asyncio.Event()

    # Queries. Each query except `view` raises PresenceUnknown when Valkey does not answer.

    async def ask_candidates(self) -> list[UUID]:
        """Return every mitra who can be asked now (1.1)."""
        candidates = await self._store.candidates()
        if not candidates:
            self._store.believe_no()
        return candidates

    async def may_be_asked(self, mitra_id: UUID) -> bool:
        """Return whether this mitra can be asked now (1.1)."""
        may_be_asked = (await self._store.look(mitra_id)).may_be_asked
        if not may_be_asked:
            self._store.believe_no()
        return may_be_asked

    async def count_among(self, person_ids: Sequence[UUID]) -> int:
        """Return how many of these people `count_available` counts. Unlike `may_be_asked`, this believes every "no"."""
        return sum(standing.may_be_asked for standing in await self._store.look_at(person_ids))

    def believe_no(self) -> None:
        """Raise PresenceUnknown while Valkey can lack mitras after an outage (record 0103)."""
        self._store.believe_no()

    async def is_connected(self, mitra_id: UUID) -> bool:
        """Return whether this mitra is connected now (5.6). A running session does not make a mitra connected."""
        connected = (await self._store.look(mitra_id)).connected
        if not connected:
            self._store.believe_no()
        return connected

    async def connected_among(self, mitra_ids: Sequence[UUID]) -> set[UUID]:
        """Return which of these mitras are connected now (5.6)."""
        standings = await self._store.look_at(mitra_ids)
        connected = {each for each, standing in zip(mitra_ids, standings, strict=True) if standing.connected}
        if len(connected) < len(set(mitra_ids)):
            self._store.believe_no()
        return connected

    async def frame_ages(self, mitra_ids: Sequence[UUID]) -> dict[UUID, list[FrameAges]]:
        """Return what Valkey knows about the frames of each mitra's connections (5.6, 5.8)."""
        return await self._store.frame_ages(mitra_ids)

    async def heard_ages(self, mitra_ids: Sequence[UUID]) -> dict[UUID, float | None]:
        """Return how many seconds ago each of these mitras was last known to be connected (X.11).

        None: never, as far as Valkey knows. Raises PresenceUnknown also if an answer says that a mitra was not heard,
        and Valkey may lack what the processes know.
        """
        ages = await self._store.heard_ages(mitra_ids)
        if any(age is None or age > MITRA_CONNECTED_SECONDS for age in ages.values()):
            self._store.believe_no()
        return ages

    def holds_mitras(self) -> bool:
        """Return whether this process holds a socket of a mitra."""
        return bool(self._mitras)

    def heard_here(self, mitra_ids: Iterable[UUID], within_seconds: float) -> dict[UUID, float]:
        """Return which of these mitras this process hears now, and how many seconds ago. Reads only memory.

        Omits a mitra whose last frame on a socket of this process is older than `within_seconds`.
        """
        now = self._arrival()
        held = ((each, self._mitras[each]) for each in mitra_ids if each in self._mitras)
        ages = {
            mitra_id: now - max(connection.last_frame for connection in mitra.connections.values())
            for mitra_id, mitra in held
        }
        return {mitra_id: max(0.0, age) for mitra_id, age in ages.items() if age <= within_seconds}

    async def count_available(self) -> int:
        """Return how many mitras can be asked now."""
        count = await self._store.count()
        if count == 0:
            self._store.believe_no()
        return count

    async def view(self, state: MitraState) -> MitraPresence:
        """Return the presence that the mitra's devices show.

        Never raises. If Valkey does not answer, `connected` is false.
        """
        try:
            connected = await self.is_connected(state.id)
        except PresenceUnknown:
            connected = False
        return _to_presence(state, connected=connected)

    # The methods below handle events of the mitras' sockets. When Valkey is away, these methods do not raise an error.

    async def opened(self, mitra_id: UUID, connection_id: str) -> None:
        """Begin the lease of an opened socket. When `opened` returns, Valkey has the lease, unless Valkey is away."""
        mitra = self._mitras.setdefault(mitra_id, _Mitra())
        arrival = self._arrival()
        mitra.connections[connection_id] = connection = _Connection(mitra_id, connection_id, arrival, arrival)
        self._unreported.add(connection)
        with _left_to_reconcile("opened"):
            await self.flush()
        # The refresh offers the open requests to the mitra, and sends the current state to the new device.
        mitra.told = None
        self.refresh_soon([mitra_id])

    def frame_received(self, mitra_id: UUID, connection_id: str) -> None:
        """Renew the lease, on any frame from the client. Ignores a closed connection. Writes only to memory."""
        mitra = self._mitras.get(mitra_id)
        connection = mitra.connections.get(connection_id) if mitra else None
        if connection is not None:
            connection.last_frame = max(connection.last_frame, self._arrival())
            self._unreported.add(connection)

    async def closed(self, mitra_id: UUID, connection_id: str, *, may_come_back: bool = True) -> None:
        """End the lease of a socket that closed, cleanly or not. The lease ends within COME_BACK_SECONDS.

        If the token has ended, the mitra cannot come back, and the lease ends immediately.
        """
        mitra = self._mitras.get(mitra_id)
        if mitra is None or connection_id not in mitra.connections:
            return
        connection = mitra.connections.pop(connection_id)
        if not mitra.connections:
            del self._mitras[mitra_id]
        connection.closed_at = time.monotonic() - (0 if may_come_back else COME_BACK_SECONDS)
        self._unreported.add(connection)
        with _left_to_reconcile("closed"):
            await self.flush()

    def seen(self, mitra_id: UUID) -> None:
        """Note that the mitra's app sent an HTTP request (1.1). `write_last_seen` writes the time to PostgreSQL."""
        self._unwritten_last_seen[mitra_id] = time.monotonic()

    # Making Valkey follow PostgreSQL.

    async def refresh(self, mitra_ids: Iterable[UUID]) -> dict[UUID, str]:
        """Read these mitras' states from PostgreSQL and apply them to Valkey.

        Returns the mitras who are newly available, with their marks. Raises PresenceUnknown.
        """
        return {
            mitra_id: applied.mark
            for mitra_id, applied in (await self._apply(mitra_ids)).items()
            if applied.mark
        }

    async def _apply(self, mitra_ids: Iterable[UUID], *, tells_of_loss: bool = True) -> dict[UUID, Applied]:
        """Do as `refresh`. Without `tells_of_loss`, tell no device that its mitra is disconnected."""
        ids = list(mitra_ids)
        if not ids:
            return {}
        states = await queries.read_mitra_states(
            self._database, mitra_ids=ids, push_window_seconds=PUSH_REACHABLE_SECONDS
        )
        applied = await self._store.apply(states)
        for state, (standing, _) in zip(states, applied, strict=True):
            if standing.connected or tells_of_loss:
                self._tell_devices(state, connected=standing.connected)
        return {state.id: each for state, each in zip(states, applied, strict=True)}

    def refresh_soon(self, mitra_ids: Iterable[UUID]) -> None:
        """Make `run` refresh these mitras, together with all other mitras that wait for a refresh."""
        self._to_refresh.update(mitra_ids)
        self._refresh_wanted.set()

    def mitra_changed(self, payload: bytes) -> None:
        """Handle the signal `mitra_changed`."""
        self.refresh_soon(msgspec.json.decode(payload, type=list[UUID]))

    # Loops.

    async def run(self) -> None:
        """Keep leases, states and last-seen times correct, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(repeat(self.watch_for_pauses, WATCH_INTERVAL_SECONDS))
            tasks.create_task(repeat(self.flush, FLUSH_INTERVAL_SECONDS))
            tasks.create_task(repeat(self.reconcile, RECONCILE_INTERVAL_SECONDS))
            tasks.create_task(repeat(self.write_last_seen, LAST_SEEN_INTERVAL_SECONDS))
            tasks.create_task(repeat(self.refresh_waiting, 0))

    async def keep_push_reachable(self) -> None:
        """Keep Valkey correct for the mitras whom only push reaches, until cancelled. Runs in the workers."""
        await repeat(self.reconcile_push, PUSH_RECONCILE_INTERVAL_SECONDS)

    async def reconcile_push(self) -> None:
        """Refresh every mitra whom push reaches, and every mitra who can be asked according to Valkey.

        Raises PresenceUnknown.
        """
        reachable = await queries.read_push_reachable_mitras(
            self._database, push_window_seconds=PUSH_REACHABLE_SECONDS
        )
        await self._tell_pairing(await self.refresh({*reachable, *await self._store.candidates()}))

    async def flush(self) -> None:
        """Report the unreported frames and closes to Valkey.

        If Valkey does not answer, keeps the frames and closes for the next flush, and raises PresenceUnknown.
        One report runs at a time. All callers that wait during a report share the next report. So a thousand mitras who
        reconnect at the same time need only a few batches.
        """
        if self._next_flush is None:
            self._next_flush = asyncio.create_task(self._flush())
        await asyncio.shield(self._next_flush)

    async def reconcile(self) -> None:
        """Refresh every mitra who has connections in this process, a few at a time. Raises PresenceUnknown."""
        held = list(self._mitras)
        size = max(MIN_MITRAS_PER_STEP, math.ceil(len(held) / MAX_RECONCILE_STEPS))
        for start in range(0, len(held), size):
            if start:
                await asyncio.sleep(RECONCILE_INTERVAL_SECONDS * size / len(held))
            # Skip a mitra whose connections have closed since the last step, because `closed` has already reported
            # the closes.
            mitra_ids = [each for each in held[start : start + size] if each in self._mitras]
            # Frames are reported as they come. Report a connection again only if Valkey does not know it any more.
            # Until then, do not tell its devices that they are disconnected.
            applied = await self._apply(mitra_ids, tells_of_loss=False)
            lost = [mitra_id for mitra_id, (standing, _) in applied.items() if not standing.connected]
            if lost:
                for mitra_id in lost:
                    if mitra := self._mitras.get(mitra_id):
                        self._unreported.update(mitra.connections.values())
                await self.flush()
                applied |= await self._apply(lost)
            await self._tell_pairing({each: mark for each, (_, mark) in applied.items() if mark})
        await self._store.prune()
        _available.set(await self._store.count())

    async def refresh_waiting(self) -> None:
        """Wait until a mitra needs a refresh, then refresh every mitra that needs a refresh.

        After a failure, `reconcile` refreshes these mitras.
        """
        await self._refresh_wanted.wait()
        self._refresh_wanted.clear()
        ids, self._to_refresh = self._to_refresh, set()
        await self._tell_pairing(await self.refresh(ids))

    async def write_last_seen(self) -> None:
        """Write the last-seen times of mitras to PostgreSQL.

        Skips the rows that another transaction has locked, and leaves them to the next call.
        """
        now = time.monotonic()
        seen = self._unwritten_last_seen.copy()
        mitra_ids = list(seen)
        for start in range(0, len(mitra_ids), MAX_LAST_SEEN_ROWS):
            batch = mitra_ids[start : start + MAX_LAST_SEEN_ROWS]
            ages_seconds = [now - seen[mitra_id] for mitra_id in batch]
            for mitra_id in await queries.write_last_seen(
                self._database, mitra_ids=batch, ages_seconds=ages_seconds
            ):
                if self._unwritten_last_seen[mitra_id] == seen[mitra_id]:
                    del self._unwritten_last_seen[mitra_id]

    async def watch_for_pauses(self) -> None:
        """Notice when this process did not run for a while, because it was stopped or too busy."""
        now = time.monotonic()
        if now - self._awake_at > MAX_PAUSE_SECONDS:
            log.warning("presence.paused", seconds=round(now - self._awake_at, 1))
            self._paused_at, self._old_until = self._awake_at, now + OLD_FRAMES_SECONDS
        self._awake_at = now

    def _arrival(self) -> float:
        """Return the latest possible arrival time of the frame that is read now.

        After a pause, the latest possible arrival time is the beginning of the pause.
        """
        now = time.monotonic()
        if now < self._old_until:
            return self._paused_at
        return self._awake_at if now - self._awake_at > MAX_PAUSE_SECONDS else now

    async def _flush(self) -> None:
        async with self._flushing:
            self._next_flush = None
            _held.set(sum(len(mitra.connections) for mitra in self._mitras.values()))
            with _flush_seconds.time():
                unknown = await self._report()
            await self.refresh(unknown)

    async def _report(self) -> set[UUID]:
        """Report all unreported connections to Valkey. Returns the mitras without a state in Valkey."""
        now = time.monotonic()
        # Drop the connections whose leases have ended, because `_unreported` would otherwise grow while Valkey is away.
        alive = [each for each in self._unreported if now - each.last_frame < MAY_BE_ASKED_SECONDS]
        self._unreported.clear()
        for connection in alive:
            seen = self._unwritten_last_seen.get(connection.mitra_id, 0.0)
            self._unwritten_last_seen[connection.mitra_id] = max(seen, connection.last_frame)
        try:
            return await self._store.report(
                [
                    Report(each.mitra_id, each.id, each.opened_at, each.last_frame, each.closed_at)
                    for each in alive
                ]
            )
        except PresenceUnknown:
            self._unreported.update(alive)
            raise

    def _tell_devices(self, state: MitraState, *, connected: bool) -> None:
        mitra = self._mitras.get(state.id)
        if mitra is None:
            return
        version = state.availability_version
        # Compare states of the same version, too. A refresh that started before the socket opened has perhaps told the
        # devices that the mitra is not connected.
        if mitra.told is None or mitra.told[0] < version or mitra.told == (version, not connected):
            mitra.told = (version, connected)
            self.hooks.presence_changed(state.id, _to_presence(state, connected=connected))

    async def _tell_pairing(self, marks: Mapping[UUID, str]) -> None:
        if marks and await self.hooks.newly_available(list(marks)):
            await pause_point("presence.offered")
            await self._store.offered(marks)


async def repeat(step: Callable[[], Awaitable[None]], interval_seconds: float) -> None:
    """Run `step` every `interval_seconds` until cancelled. After an error, the next round repeats the work."""
    task = asyncio.current_task()
    while True:
        begun = time.monotonic()
        try:
            with _left_to_reconcile(step.__name__):
                await step()
        except Exception:
            # The loop must continue, because every user's presence depends on the loop.
            log.exception("presence.step_failed", step=step.__name__)
        if task is not None and task.cancelling():
            # Up to Python 3.11, asyncio.wait_for can lose a cancellation. The Valkey client uses asyncio.wait_for for
            # writes when it has a socket timeout.
            raise asyncio.CancelledError
        await asyncio.sleep(max(0.0, begun + interval_seconds - time.monotonic()))


@contextlib.contextmanager
def _left_to_reconcile(step: str) -> Iterator[None]:
    """Suppress the errors of a `step` while Valkey or PostgreSQL is away, because a later round repeats the step."""
    try:
        yield
    except PresenceUnknown:
        pass  # The store has logged the outage, once.
    except DATABASE_AWAY as error:
        log.warning("presence.database_failed", step=step, error=repr(error))


def _to_presence(state: MitraState, *, connected: bool) -> MitraPresence:
    return MitraPresence(
        online=state.online,
        connected=connected,
        active_sessions=state.active_sessions,
        max_customers=state.max_customers,
        break_until=state.break_until,
    )
