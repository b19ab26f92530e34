"""The sockets of one process, and the frames that the process sends to them.

A committed event arrives as a signal that contains its frame. If a socket has already sent the preceding event, the hub
sends the frame immediately. If the socket has not sent the preceding event, the hub reads the missing events from
PostgreSQL. Signals can be lost. So every 3 s the hub compares its streams with PostgreSQL, in bulk, and closes the
sockets of invalid tokens.

The hub answers a hello in four steps.
Step 1: The hub registers the socket in the user's feed, and waits until the process receives the user's signals.
Step 2: The hub reads the head and the missed events from PostgreSQL, and sends the welcome and the missed events.
Step 3: The hub reads and sends newer events until `socket.seq` is at `feed.head`. A signal can increase `feed.head`.
Step 4: The hub sets `socket.phase` to `live`. After step 4, the hub sends the frame of each signal immediately.
The hub must not await between the last check of step 3 and step 4. Otherwise, a signal could increase `feed.head` while
the socket is not live. The socket would then become live without the signal's event.
"""

import asyncio
import contextlib
import math
from collections import deque
from collections.abc import Collection, Iterable, Iterator, KeysView, Sequence
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Final, TypeVar
from uuid import UUID

import msgspec
import structlog

from curhat.kit.database import DATABASE_AWAY, Database
from curhat.kit.identity import Identity, Role
from curhat.kit.pause_points import pause_point
from curhat.kit.signals import Signals, SignalSink, to_person
from curhat.realtime import protocol, queries, service
from curhat.realtime.event_types import UnsequencedEvent
from curhat.realtime.hooks import HubHooks
from curhat.realtime.metrics import DELIVERY_SECONDS, GAPS_READ, SOCKETS_OPEN, WELCOMES
from curhat.realtime.protocol import Event, Hello, Ping, TypingSignal, Welcome
from curhat.realtime.queries import StreamHead
from curhat.realtime.service import StoredEvent, StreamSignal
from curhat.realtime.sockets import HELLO_PERIOD_SECONDS, Feed, Socket, Stalled

log = structlog.get_logger(__name__)

# The hub pings each socket every PING_PERIOD_SECONDS. Each tick pings one slot of sockets, so that no tick pings all
# sockets.
PING_PERIOD_SECONDS: Final[dict[Role, float]] = {"customer": 15.0, "mitra": 3.0}
TICK_SECONDS: Final = 0.1
HELLO_TIMEOUT_SECONDS: Final = 5.0
# If a client sends nothing for SILENCE_TIMEOUT_SECONDS, the hub treats the client as gone, even if the network reports
# no error.
SILENCE_TIMEOUT_SECONDS: Final = 120.0
# If a signal is lost, the hub learns about the event or the revoked token within COMPARE_PERIOD_SECONDS.
COMPARE_PERIOD_SECONDS: Final = 3.0
# Limits how long one comparison occupies the event loop.
MAX_USERS_PER_COMPARISON: Final = 2_000
# Limits the memory of one read of missed events: 100 chat messages of the maximum length are 2.4 MB.
MAX_EVENTS_PER_READ: Final = 100
# Limits the events that the hub reads from PostgreSQL for one hello or one gap. A client that has missed more than
# MAX_REPLAYED_EVENTS events fetches `/state` again.
MAX_REPLAYED_EVENTS: Final = 1_000
MAX_REPLAYED_BYTES: Final = 1024 * 1024
# Limits the memory of all missed events that the process has read and not yet sent.
MAX_REPLAYING_BYTES: Final = 64 * 1024 * 1024
# Limits the events that the hub reads for one person, even if the person opens new sockets all the time. The limit
# allows ten sockets that each say hello as often as sockets.MAX_HELLOS. Each hello can cause a read of the maximum
# number of missed events.
MAX_HELLOS_PER_PERSON: Final = 50
MAX_REPLAYED_BYTES_PER_PERSON: Final = 16 * 1024 * 1024
REPLAYED_BYTES_PERIOD_SECONDS: Final = 60.0
# A person can have MAX_SOCKETS_PER_PERSON sockets in one process. One more socket closes the person's oldest socket.
MAX_SOCKETS_PER_PERSON: Final = 10
# Limits how many of the pool's connections the hub uses while many clients say hello, or many sockets read gaps.
MAX_READS_RUNNING: Final = 4
# A shutdown closes DRAINED_PER_SECOND sockets per second. The clients of closed sockets immediately say hello to the
# other servers.
DRAINED_PER_SECOND: Final = 1_000
# If a process has many sockets, a shutdown closes more than DRAINED_PER_SECOND, so that the closing takes at most
# MAX_DRAIN_SECONDS.
MAX_DRAIN_SECONDS: Final = 10.0
DRAIN_STEP_SECONDS: Final = 0.05
# The hub measures the delivery of every MEASURED_EVENTS-th event of each stream. Each measurement takes a microsecond.
MEASURED_EVENTS: Final = 16
# A shutdown waits DRAIN_TIMEOUT_SECONDS for the close frames to go out.
DRAIN_TIMEOUT_SECONDS: Final = 5.0

Item = TypeVar("Item")


class TypingNotice(msgspec.Struct, frozen=True, array_like=True):
    """Tells the processes that hold this user to send a typing signal, because the session's other member is typing."""

    role: Role
    user_id: UUID
    session_id: UUID


_read_stream_signals = msgspec.msgpack.Decoder(list[StreamSignal]).decode
_read_typing_notice = msgspec.msgpack.Decoder(TypingNotice).decode


class Hub:
    """The sockets of this process. Call the methods of the hub only on the event loop on which the hub was created."""

    def __init__(self, database: Database, signals: SignalSink, hooks: HubHooks) -> None:
        self._database = database
        self._signals = signals
        # Set by `listen`.
        self._follows: Signals | None = None
        self._hooks = hooks
        self._feeds: dict[Role, dict[UUID, Feed]] = {"customer": {}, "mitra": {}}
        # Each tick pings one slot per role.
        self._slots: dict[Role, list[set[Socket]]] = {
            role: [set() for _ in range(round(seconds / TICK_SECONDS))]
            for role, seconds in PING_PERIOD_SECONDS.items()
        }
        # The open sockets of each person, the oldest first. Sockets without a hello are included.
        self._opened: dict[Identity, list[Socket]] = {}
        self._replaying_bytes = 0
        self._hellos = _CountPerPerson(HELLO_PERIOD_SECONDS)
        self._replayed_bytes = _CountPerPerson(REPLAYED_BYTES_PERIOD_SECONDS)
        self._added = 0
        self._ticks = 0
        # The new sockets, each with the time by which the socket must say hello. The earliest time is first.
        self._awaiting_hello: deque[tuple[float, Socket]] = deque()
        self._reads = asyncio.Semaphore(MAX_READS_RUNNING)
        self._tasks: set[asyncio.Task[None]] = set()
        # PostgreSQL's timeline at the last comparison. None before the first.
        self._timeline: int | None = None
        self._draining = False
        self._empty = asyncio.Event()
        self._empty.set()
        self._open = 0
        # PostgreSQL's time minus the event loop's time. Before the first query, the hub uses this machine's time
        # instead of PostgreSQL's time.
        self._clock = datetime.now(UTC) - timedelta(seconds=asyncio.get_running_loop().time())

    # For higher packages ------------------------------------------------------------------------------------

    def listen(self, signals: Signals) -> None:
        """Handle the signals about streams and typing. Call this before `signals.run`."""
        signals.handle("stream", self.handle_stream_signal)
        signals.handle("typing", self.handle_typing_signal)
        self._follows = signals

    def held(self, role: Role) -> KeysView[UUID]:
        """Return the users of this role from whom a socket in this process has received a hello.

        The result is a view: it changes when a user comes or goes. A copy per signal would cost each process more with
        every user.
        """
        return self._feeds[role].keys()

    def holds(self, identity: Identity) -> bool:
        """Return whether an open socket in this process has received a hello from this user."""
        feed = self._feeds[identity.role].get(identity.user_id)
        return feed is not None and any(socket.close_code is None for socket in feed.sockets)

    def send_unsequenced(self, event: UnsequencedEvent) -> None:
        """Send an unsequenced event to all sockets of its user in this process."""
        feed = self._feeds[event.role].get(event.user_id)
        if feed is None:
            return
        raw = msgspec.Raw(msgspec.json.encode(event.data))
        frame = protocol.write(Event(seq=None, type=event.type, at=self.server_now(), data=raw))
        for socket in feed.sockets:
            if socket.phase != "welcoming":
                socket.send(frame)
            else:
                socket.hold_back(frame)

    def ping(self, role: Role, user_ids: Iterable[UUID]) -> None:
        """Ping the sockets of these users in this process now, in addition to the regular pings."""
        now = self.server_now()
        for user_id in user_ids:
            if feed := self._feeds[role].get(user_id):
                frame = protocol.write(Ping(seq=feed.head, server_now=now))
                for socket in feed.sockets:
                    if socket.phase != "welcoming":
                        socket.send(frame)

    def close_tokens(self, token_digests: Collection[bytes], code: int = protocol.SIGNED_OUT) -> None:
        """Close the sockets in this process that were opened with these tokens or with tickets of these tokens."""
        for socket in self._all():
            if socket.owner.token_digest in token_digests:
                socket.close(code)

    def close_user(self, role: Role, user_id: UUID, code: int = protocol.SIGNED_OUT) -> None:
        """Close all sockets of this user in this process."""
        identity = Identity(role=role, user_id=user_id)
        for socket in self._all():
            if socket.owner.identity == identity:
                socket.close(code)

    async def run(self) -> None:
        """Ping the sockets, and compare the streams with PostgreSQL, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._run_ticks())
            tasks.create_task(self._run_comparisons())

    async def drain(self) -> None:
        """Close every socket with 1012, because the process stops. Sockets that are not closed yet keep working.

        From now on, `add` closes each new socket immediately.
        """
        self._draining = True
        open_sockets = [socket for socket in self._all() if socket.close_code is None]
        per_second = max(DRAINED_PER_SECOND, len(open_sockets) / MAX_DRAIN_SECONDS)
        per_step = math.ceil(per_second * DRAIN_STEP_SECONDS)
        for start in range(0, len(open_sockets), per_step):
            if start:
                await asyncio.sleep(DRAIN_STEP_SECONDS)
            for socket in open_sockets[start : start + per_step]:
                socket.close(protocol.RESTARTING, "come back after a random wait")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_TIMEOUT_SECONDS):
                await self._empty.wait()
        for task in tuple(self._tasks):
            task.cancel()

    def server_now(self) -> datetime:
        """Return PostgreSQL's current time, computed from its last answer and the time that has passed since."""
        return self._clock + timedelta(seconds=asyncio.get_running_loop().time())

    # For the endpoint ---------------------------------------------------------------------------------------

    def add(self, socket: Socket) -> None:
        """Keep an accepted socket until `remove` is called. The socket must say hello within 5 s.

        If the person has too many sockets, close the oldest socket.
        """
        opened = self._opened.setdefault(socket.owner.identity, [])
        opened.append(socket)
        is_open = [one for one in opened if one.close_code is None]
        if len(is_open) > MAX_SOCKETS_PER_PERSON:
            is_open[0].close(protocol.TOO_FAST, "too many sockets")
        role = socket.owner.identity.role
        slots = self._slots[role]
        socket.slot = self._added % len(slots)
        slots[socket.slot].add(socket)
        self._added += 1
        self._open += 1
        self._empty.clear()
        SOCKETS_OPEN.labels(role=role).inc()
        self._awaiting_hello.append((asyncio.get_running_loop().time() + HELLO_TIMEOUT_SECONDS, socket))
        if self._draining:
            socket.close(protocol.RESTARTING, "come back after a random wait")

    def remove(self, socket: Socket) -> None:
        """Forget a socket that has ended."""
        role = socket.owner.identity.role
        opened = self._opened[socket.owner.identity]
        opened.remove(socket)
        if not opened:
            del self._opened[socket.owner.identity]
        socket.generation += 1
        self._slots[role][socket.slot].discard(socket)
        feed = socket.feed
        if feed is not None:
            feed.sockets.remove(socket)
            if not feed.sockets:
                del self._feeds[role][feed.identity.user_id]
                if self._follows is not None:
                    self._follows.unfollow(feed.identity)
        self._open -= 1
        if self._open == 0:
            self._empty.set()
        SOCKETS_OPEN.labels(role=role).dec()

    def allows_hello(self, socket: Socket) -> bool:
        """Count a hello.

        Returns False if the socket, or all sockets of the person together, have said hello too often.
        """
        is_within = self._hellos.add(socket.owner.identity, 1) <= MAX_HELLOS_PER_PERSON
        return socket.allows_hello() and is_within

    async def answer_hello(self, socket: Socket, hello: Hello) -> None:
        """Answer the first hello of a socket, or a later hello. Raises Stalled, and the errors of DATABASE_AWAY."""
        socket.generation += 1
        await self._welcome(socket, hello)

    async def forward_typing(self, socket: Socket, session_id: UUID) -> None:
        """Tell the other side of this session that the socket's user is typing, at most once every 2 s."""
        if not socket.allows_typing(session_id):
            return
        recipient = await self._hooks.typing_recipient(socket.owner.identity, session_id)
        if recipient is not None:
            notice = TypingNotice(recipient.role, recipient.user_id, session_id)
            self._signals.publish(to_person("typing", recipient), msgspec.msgpack.encode(notice))

    # Signals ------------------------------------------------------------------------------------------------

    def handle_stream_signal(self, payload: bytes) -> None:
        """Handle the signal `stream`: send committed events to the live sockets."""
        for signal in _read_stream_signals(payload):
            feed = self._feeds[signal.role].get(signal.user_id)
            if feed is None:
                continue
            feed.head = max(feed.head, signal.seq)
            for socket in feed.sockets:
                # For a socket that is not live, a task reads from PostgreSQL until the socket has reached feed.head.
                if socket.phase == "live" and signal.seq > socket.seq:
                    if signal.seq == socket.seq + 1:
                        socket.seq = signal.seq
                        socket.send(signal.frame)
                        if signal.seq % MEASURED_EVENTS == 0:
                            at = protocol.time_of_event(signal.frame)
                            DELIVERY_SECONDS.observe(max(0.0, (self.server_now() - at).total_seconds()))
                    else:
                        self._start_reading_gap(socket, feed)

    def handle_typing_signal(self, payload: bytes) -> None:
        """Handle the signal `typing`."""
        notice = _read_typing_notice(payload)
        feed = self._feeds[notice.role].get(notice.user_id)
        if feed is None:
            return
        frame = protocol.write(TypingSignal(type="typing", session_id=notice.session_id))
        for socket in feed.sockets:
            # A late typing signal is useless, so a socket with a backlog does not get it.
            if socket.phase == "live" and not socket.has_backlog:
                socket.send(frame)

    # Hello, and gaps ----------------------------------------------------------------------------------------

    async def _welcome(self, socket: Socket, hello: Hello | None) -> None:
        """Welcome a socket, and send the missed events. If `hello` is None, the client cannot resume."""
        socket.phase = "welcoming"
        generation = socket.generation
        feed = self._register(socket)
        identity = feed.identity
        if self._follows is not None:
            await self._follows.follow(identity)
        await pause_point("realtime.registered")
        missed: list[StoredEvent] = []
        async with self._reads:
            head = await service.read_head(self._database, identity.role, identity.user_id)
            seq = _resumable_seq(hello, head)
            if seq is not None and seq < head.seq:
                if head.seq - seq <= MAX_REPLAYED_EVENTS and self._may_replay(identity):
                    missed = await self._events_after(identity, seq)
                if not missed or missed[0].seq != seq + 1 or _size_bytes(missed) > MAX_REPLAYED_BYTES:
                    seq = None
        self._set_clock(head.server_now)
        # If `hello` is None, feed.head can be higher than PostgreSQL's head. So replace feed.head.
        feed.head = head.seq if hello is None else max(feed.head, head.seq)
        extras = await socket.hooks.welcome_extras(identity)
        await pause_point("realtime.looked")
        if socket.generation != generation or socket.close_code is not None:
            return
        resumed = seq is not None
        socket.seq = head.seq if seq is None else seq
        WELCOMES.labels(resumed=str(resumed).lower()).inc()
        welcome = Welcome(epoch=head.epoch, seq=head.seq, resumed=resumed, server_now=self.server_now())
        socket.send(protocol.write_welcome(welcome, extras))
        await self._bring_up_to_date(socket, generation, feed, missed if resumed else [])

    async def _bring_up_to_date(
        self, socket: Socket, generation: int, feed: Feed, missed: Sequence[StoredEvent]
    ) -> None:
        """Send missed events until the socket has reached feed.head. Then make the socket live.

        A client that has missed too much gets a welcome with `resumed: false`.
        """
        replayed_events = replayed_bytes = 0
        while True:
            replayed_events += len(missed)
            replayed_bytes += _size_bytes(missed)
            with self._replaying(missed):
                for event in missed:
                    if event.seq != socket.seq + 1:
                        break
                    socket.seq = event.seq
                    socket.send(event.frame)
                    await socket.flush()
                    if socket.generation != generation or socket.close_code is not None:
                        return
            if socket.seq >= feed.head:
                break
            if (
                replayed_events >= MAX_REPLAYED_EVENTS
                or replayed_bytes >= MAX_REPLAYED_BYTES
                or not self._may_replay(feed.identity)
            ):
                await self._welcome(socket, None)
                return
            async with self._reads:
                missed = await self._events_after(feed.identity, socket.seq)
            if socket.generation != generation or socket.close_code is not None:
                return
            if not missed or missed[0].seq != socket.seq + 1:
                # Pruning has deleted the next event.
                await self._welcome(socket, None)
                return
        socket.phase = "live"
        socket.send_held_back()

    def _may_replay(self, identity: Identity) -> bool:
        """Return whether the process is allowed to read further missed events for this person now."""
        drawn_bytes = self._replayed_bytes.add(identity, 0)
        return self._replaying_bytes < MAX_REPLAYING_BYTES and drawn_bytes < MAX_REPLAYED_BYTES_PER_PERSON

    @contextlib.contextmanager
    def _replaying(self, missed: Sequence[StoredEvent]) -> Iterator[None]:
        """Count the memory of these events during the block."""
        size = _size_bytes(missed)
        self._replaying_bytes += size
        try:
            yield
        finally:
            self._replaying_bytes -= size

    def _register(self, socket: Socket) -> Feed:
        if socket.feed is None:
            identity = socket.owner.identity
            socket.feed = self._feeds[identity.role].setdefault(identity.user_id, Feed(identity))
            socket.feed.sockets.append(socket)
        return socket.feed

    def _start_reading_gap(self, socket: Socket, feed: Feed) -> None:
        socket.phase = "behind"
        GAPS_READ.inc()
        task = asyncio.create_task(self._read_gap(socket, socket.generation, feed))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _read_gap(self, socket: Socket, generation: int, feed: Feed) -> None:
        try:
            await self._bring_up_to_date(socket, generation, feed, [])
        except Stalled:
            socket.close(protocol.TOO_SLOW, "say hello again")
        except DATABASE_AWAY as error:
            log.warning("realtime.gap_not_read", error=type(error).__name__)
            if socket.generation == generation:
                # The next call of `compare_heads` finds the gap again.
                socket.phase = "live"
        except Exception:
            log.exception("realtime.gap_failed")
            socket.close(protocol.OUR_FAULT)

    async def _events_after(self, identity: Identity, seq: int) -> list[StoredEvent]:
        events = await service.events_after(
            self._database, identity.role, identity.user_id, seq, MAX_EVENTS_PER_READ
        )
        self._replayed_bytes.add(identity, _size_bytes(events))
        return events

    # Periodic work ------------------------------------------------------------------------------------------

    async def _run_ticks(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            # After a pause of the process, run the missed ticks of the last second, and skip the earlier ticks.
            due = max(due + TICK_SECONDS, loop.time() - 1)
            await asyncio.sleep(due - loop.time())
            self.tick()

    def tick(self) -> None:
        """Ping the sockets of the next slot.

        Close sockets that received no hello in time, or no frame for two minutes.
        """
        loop_time = asyncio.get_running_loop().time()
        while self._awaiting_hello and self._awaiting_hello[0][0] <= loop_time:
            _, socket = self._awaiting_hello.popleft()
            if socket.phase == "opened":
                socket.close(protocol.TIMED_OUT, "no hello")
        now = self.server_now()
        for slots in self._slots.values():
            for socket in slots[self._ticks % len(slots)]:
                if socket.last_frame_at < loop_time - SILENCE_TIMEOUT_SECONDS:
                    socket.close(protocol.TIMED_OUT, "nothing heard")
                elif socket.feed is not None and socket.phase != "welcoming":
                    socket.send(protocol.write(Ping(seq=socket.feed.head, server_now=now)))
        self._ticks += 1

    async def _run_comparisons(self) -> None:
        while True:
            for step in (self.compare_heads, self.compare_tokens):
                try:
                    await step()
                except DATABASE_AWAY as error:
                    log.warning("realtime.not_compared", step=step.__name__, error=type(error).__name__)
                except Exception:
                    # This loop must continue. Without this loop, the hub would never deliver an event whose signal is
                    # lost.
                    log.exception("realtime.comparison_failed", step=step.__name__)
            await asyncio.sleep(COMPARE_PERIOD_SECONDS)

    async def compare_heads(self) -> None:
        """Begin to read the missing events of each socket whose seq is lower than PostgreSQL's head.

        After a failover, do not read, but close every socket.
        """
        read = await queries.read_clock_and_timeline(self._database)
        self._set_clock(read.server_now)
        if self._timeline not in (None, read.timeline):
            # After a failover, the sockets have perhaps sent events that PostgreSQL no longer has. The clients of these
            # sockets cannot resume, so they fetch the state again.
            for socket in self._all():
                socket.close(protocol.RESTARTING, "come back after a random wait")
        self._timeline = read.timeline
        for role, feeds in self._feeds.items():
            for chunk in _chunks(list(feeds.values())):
                ahead = await queries.list_heads_ahead(
                    self._database,
                    role=role,
                    user_ids=[feed.identity.user_id for feed in chunk],
                    known_heads=[min((socket.seq for socket in feed.sockets), default=0) for feed in chunk],
                )
                for row in ahead:
                    feed = feeds.get(row.user_id)
                    if feed is None:
                        continue
                    feed.head = max(feed.head, row.head)
                    for socket in feed.sockets:
                        if socket.phase == "live" and socket.seq < feed.head:
                            self._start_reading_gap(socket, feed)

    async def compare_tokens(self) -> None:
        """Close the sockets whose token is no longer valid."""
        for chunk in _chunks([socket.owner for socket in self._all()]):
            if signed_out := await self._hooks.signed_out(chunk):
                self.close_tokens(signed_out)

    def _all(self) -> Iterator[Socket]:
        return chain.from_iterable(chain.from_iterable(self._slots.values()))

    def _set_clock(self, server_now: datetime) -> None:
        self._clock = server_now - timedelta(seconds=asyncio.get_running_loop().time())


class _CountPerPerson:
    """Counts events per person, and starts from zero in each period. Holds only the people of the current period."""

    def __init__(self, period_seconds: float) -> None:
        self._period_seconds = period_seconds
        self._period = -1
        self._counts: dict[Identity, int] = {}

    def add(self, person: Identity, count: int) -> int:
        """Add to the person's count. Returns the sum."""
        period = int(asyncio.get_running_loop().time() // self._period_seconds)
        if period != self._period:
            self._period = period
            self._counts.clear()
        total = self._counts.get(person, 0) + count
        self._counts[person] = total
        return total


def _resumable_seq(hello: Hello | None, head: StreamHead) -> int | None:
    """Return the seq from which the client can resume. Return None if the hello does not match this head."""
    if hello is None or hello.seq is None or hello.epoch != str(head.epoch):
        return None
    return hello.seq if 0 <= hello.seq <= head.seq else None


def _size_bytes(events: Sequence[StoredEvent]) -> int:
    return sum(protocol.size_bytes(event.frame) for event in events)


def _chunks(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    for start in range(0, len(items), MAX_USERS_PER_COMPARISON):
        yield items[start : start + MAX_USERS_PER_COMPARISON]
