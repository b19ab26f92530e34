"""The sockets of one process, and what reaches them.

A committed event comes as a signal that carries its frame. A socket in step (its seq is the one before) sends
it at once; a socket that finds a gap reads what is missing from PostgreSQL. Signals may be lost, doubled or
out of order: every 3 s the hub compares where the users held here stand with PostgreSQL, in bulk, and asks
which tokens are no longer good.

A hello is answered in this order: register the socket, read the head and what was missed, send the welcome
and the missed events, read again until nothing newer is known. Then, with no await in between, it is live.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Final, TypeVar
from uuid import UUID

import msgspec
import structlog

from curhat.kit.database import DATABASE_AWAY, Database
from curhat.kit.identity import Identity, Role
from curhat.kit.pause_points import pause_point
from curhat.kit.signals import Signals, SignalSink
from curhat.realtime import protocol, service
from curhat.realtime.event_types import UnsequencedEvent
from curhat.realtime.hooks import SocketHooks
from curhat.realtime.metrics import GAPS_READ, SOCKETS_OPEN, WELCOMES
from curhat.realtime.protocol import Event, Hello, Ping, TypingSignal, Welcome
from curhat.realtime.service import SQL, StoredEvent, StreamSignal
from curhat.realtime.sockets import Feed, Socket, Stalled

log = structlog.get_logger(__name__)

ROLES: Final[tuple[Role, ...]] = ("customer", "mitra")
# How often a socket is pinged. The turns are spread evenly over the beats, so that no beat pings everyone.
PING_SECONDS: Final[dict[Role, float]] = {"customer": 15.0, "mitra": 3.0}
BEAT_SECONDS: Final = 0.1
HELLO_SECONDS: Final = 5.0
# A client that answered none of the pings of this time is gone, even where the network does not say so.
SILENCE_SECONDS: Final = 120.0
# Bounds how late a lost signal, or a revoked token, takes effect.
COMPARE_SECONDS: Final = 3.0
# Bounds how long one comparison keeps the event loop.
COMPARE_LIMIT: Final = 2_000
# Bounds the memory of one read of missed events: 100 messages of the greatest length are 2.4 MB.
READ_LIMIT: Final = 100
# Bounds the share of the pool that a burst of hellos, or the end of a long loss of signals, can take.
READS_AT_ONCE: Final = 4
# How long a shutdown waits for the close frames to go out.
DRAIN_SECONDS: Final = 5.0

Item = TypeVar("Item")


class TypingNotice(msgspec.Struct, frozen=True, array_like=True):
    """To every process: show this user that the other side types."""

    role: Role
    user_id: UUID
    session_id: UUID


_read_stream_signals = msgspec.msgpack.Decoder(list[StreamSignal]).decode
_read_typing_notice = msgspec.msgpack.Decoder(TypingNotice).decode
_data_encoder = msgspec.json.Encoder()


class Hub:
    """The sockets of this process. Made on the event loop that everything of it runs on."""

    def __init__(self, database: Database, signals: SignalSink, hooks: SocketHooks) -> None:
        self._database = database
        self._signals = signals
        self._hooks = hooks
        self._feeds: dict[Role, dict[UUID, Feed]] = {role: {} for role in ROLES}
        # Every socket is in one slot of its role; each beat pings one slot.
        self._slots: dict[Role, list[set[Socket]]] = {
            role: [set() for _ in range(round(PING_SECONDS[role] / BEAT_SECONDS))] for role in ROLES
        }
        self._admitted = 0
        self._beats = 0
        # Who has still to say hello, with the time until when, earliest first.
        self._speechless: deque[tuple[float, Socket]] = deque()
        self._reads = asyncio.Semaphore(READS_AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()
        self._draining = False
        self._empty = asyncio.Event()
        self._empty.set()
        self._open = 0
        # What the database's clock said, less the event loop's time; at first, what this process's says.
        self._clock = datetime.now(UTC) - timedelta(seconds=asyncio.get_running_loop().time())

    # For the rooms above ------------------------------------------------------------------------------------

    def listen(self, signals: Signals) -> None:
        """Have the signals that sockets need come here. Before `signals.run`."""
        signals.handle("stream", self.stream_grew)
        signals.handle("typing", self.somebody_types)

    def held(self, role: Role) -> set[UUID]:
        """The users of this role with a socket here that said hello."""
        return set(self._feeds[role])

    def holds(self, identity: Identity) -> bool:
        """Whether this user has a socket here that said hello."""
        return identity.user_id in self._feeds[identity.role]

    def send_unsequenced(self, event: UnsequencedEvent) -> None:
        """Send a level-triggered event to its user's sockets here; nothing happens when there are none."""
        feed = self._feeds[event.role].get(event.user_id)
        if feed is None:
            return
        raw = msgspec.Raw(_data_encoder.encode(event.data))
        frame = protocol.write(Event(seq=None, type=event.type, at=self.server_now(), data=raw))
        for socket in feed.sockets:
            if socket.phase != "greeting":
                socket.send(frame)
            else:
                socket.hold_back(frame)

    def close_token(self, token_digest: bytes, code: int = protocol.SIGNED_OUT) -> None:
        """Close the sockets here that were opened with this token, or with a ticket of it."""
        self._close_tokens({token_digest}, code)

    def close_user(self, role: Role, user_id: UUID, code: int = protocol.SIGNED_OUT) -> None:
        """Close all of this user's sockets here."""
        identity = Identity(role=role, user_id=user_id)
        for socket in self._all():
            if socket.who.identity == identity:
                socket.close(code)

    async def run(self) -> None:
        """Ping, and compare with PostgreSQL, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._beat())
            tasks.create_task(self._compare())

    async def drain(self) -> None:
        """The process stops: admit nobody any more, and close everyone with 1012."""
        self._draining = True
        for socket in self._all():
            socket.close(protocol.RESTARTING, "come back after a random wait")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                await self._empty.wait()
        for task in tuple(self._tasks):
            task.cancel()

    def server_now(self) -> datetime:
        """The database's clock, as of the last time it was asked, carried on."""
        return self._clock + timedelta(seconds=asyncio.get_running_loop().time())

    # For the endpoint ---------------------------------------------------------------------------------------

    def admit(self, socket: Socket) -> None:
        """An accepted socket, from now on until `forget`. It has 5 s to say hello."""
        role = socket.who.identity.role
        slots = self._slots[role]
        socket.slot = self._admitted % len(slots)
        slots[socket.slot].add(socket)
        self._admitted += 1
        self._open += 1
        self._empty.clear()
        SOCKETS_OPEN.labels(role=role).inc()
        self._speechless.append((asyncio.get_running_loop().time() + HELLO_SECONDS, socket))
        if self._draining:
            socket.close(protocol.RESTARTING, "come back after a random wait")

    def forget(self, socket: Socket) -> None:
        """The socket has gone."""
        role = socket.who.identity.role
        socket.generation += 1
        self._slots[role][socket.slot].discard(socket)
        feed = socket.feed
        if feed is not None:
            feed.sockets.remove(socket)
            if not feed.sockets:
                del self._feeds[role][feed.identity.user_id]
        self._open -= 1
        if self._open == 0:
            self._empty.set()
        SOCKETS_OPEN.labels(role=role).dec()

    async def greet(self, socket: Socket, hello: Hello) -> None:
        """Answer a hello, the first or a later one. Raises Stalled, and DATABASE_AWAY's errors."""
        socket.generation += 1
        await self._welcome(socket, socket.generation, hello)

    async def typed(self, socket: Socket, session_id: UUID) -> None:
        """This socket's user types in this session: tell the other side, unless it was told just now."""
        if not socket.may_type(session_id):
            return
        recipient = await self._hooks.typing_recipient(socket.who.identity, session_id)
        if recipient is not None:
            notice = TypingNotice(recipient.role, recipient.user_id, session_id)
            self._signals.publish("typing", msgspec.msgpack.encode(notice))

    # Signals ------------------------------------------------------------------------------------------------

    def stream_grew(self, payload: bytes) -> None:
        """Handler of the channel `stream`."""
        for signal in _read_stream_signals(payload):
            self._event_committed(signal)

    def _event_committed(self, signal: StreamSignal) -> None:
        feed = self._feeds[signal.role].get(signal.user_id)
        if feed is None:
            return
        feed.head = max(feed.head, signal.seq)
        for socket in feed.sockets:
            # One that is greeted or reads a gap goes on reading until it has reached feed.head.
            if socket.phase == "live":
                if signal.seq == socket.seq + 1:
                    socket.seq = signal.seq
                    socket.send(signal.frame)
                elif signal.seq > socket.seq:
                    self._heal(socket)

    def somebody_types(self, payload: bytes) -> None:
        """Handler of the channel `typing`."""
        notice = _read_typing_notice(payload)
        feed = self._feeds[notice.role].get(notice.user_id)
        if feed is None:
            return
        frame = protocol.write(TypingSignal(type="typing", session_id=notice.session_id))
        for socket in feed.sockets:
            # Nobody needs to hear of typing late: a socket with a queue does without.
            if socket.phase == "live" and not socket.busy:
                socket.send(frame)

    # Hello, and gaps ----------------------------------------------------------------------------------------

    async def _welcome(self, socket: Socket, generation: int, hello: Hello | None) -> None:
        """Welcome a socket and bring it up to date. Without a hello: have it begin anew."""
        socket.phase = "greeting"
        feed = self._register(socket)
        identity = feed.identity
        await pause_point("realtime.registered")
        missed: list[StoredEvent] = []
        async with self._reads:
            look = await service.look(self._database, identity.role, identity.user_id)
            head = look.head
            seq = _resumable_seq(hello, head)
            if seq is not None and seq < head.seq:
                missed = await self._events_after(identity, seq)
                if not missed or missed[0].seq != seq + 1:
                    seq = None
        self._set_clock(look.server_now)
        # A socket that begins anew does so because of a head that PostgreSQL does not have, or not any more.
        feed.head = head.seq if hello is None else max(feed.head, head.seq)
        extras = await self._hooks.welcome_extras(identity)
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
        """Send what was missed, read on until nothing newer is known, and go live."""
        while True:
            for event in missed:
                if event.seq != socket.seq + 1:
                    break
                socket.seq = event.seq
                socket.send(event.frame)
                await socket.flushed()
                if socket.generation != generation or socket.close_code is not None:
                    return
            if socket.seq >= feed.head:
                break
            async with self._reads:
                missed = await self._events_after(feed.identity, socket.seq)
            if socket.generation != generation or socket.close_code is not None:
                return
            if not missed or missed[0].seq != socket.seq + 1:
                # What is missing is not stored any more.
                await self._welcome(socket, generation, None)
                return
        socket.phase = "live"
        socket.send_held_back()

    def _register(self, socket: Socket) -> Feed:
        if socket.feed is None:
            identity = socket.who.identity
            feeds = self._feeds[identity.role]
            feed = feeds.get(identity.user_id)
            if feed is None:
                feed = feeds[identity.user_id] = Feed(identity)
            feed.sockets.append(socket)
            socket.feed = feed
        return socket.feed

    def _heal(self, socket: Socket) -> None:
        socket.phase = "behind"
        GAPS_READ.inc()
        task = asyncio.create_task(self._read_gap(socket, socket.generation))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _read_gap(self, socket: Socket, generation: int) -> None:
        feed = socket.feed
        assert feed is not None  # Only a socket that was welcomed has a gap.
        try:
            await self._bring_up_to_date(socket, generation, feed, [])
        except Stalled:
            socket.close(protocol.TOO_SLOW, "say hello again")
        except DATABASE_AWAY as error:
            log.warning("realtime.gap_not_read", error=type(error).__name__)
            if socket.generation == generation:
                # The next comparison finds the gap again.
                socket.phase = "live"
        except Exception:
            log.exception("realtime.gap_failed")
            socket.close(protocol.OUR_FAULT)

    async def _events_after(self, identity: Identity, seq: int) -> list[StoredEvent]:
        return await service.events_after(self._database, identity.role, identity.user_id, seq, READ_LIMIT)

    # What happens by the clock ------------------------------------------------------------------------------

    async def _beat(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            # After a stall of the process, what was left out is made up for one second at most.
            due = max(due + BEAT_SECONDS, loop.time() - 1)
            await asyncio.sleep(due - loop.time())
            self.beat_once()

    def beat_once(self) -> None:
        """Ping the sockets whose turn it is; close those that said no hello in time, or nothing for long."""
        loop_time = asyncio.get_running_loop().time()
        while self._speechless and self._speechless[0][0] <= loop_time:
            _, socket = self._speechless.popleft()
            if socket.phase == "opened":
                socket.close(protocol.TIMED_OUT, "no hello")
        now = self.server_now()
        for role in ROLES:
            slots = self._slots[role]
            for socket in slots[self._beats % len(slots)]:
                if socket.heard_at < loop_time - SILENCE_SECONDS:
                    socket.close(protocol.TIMED_OUT, "nothing heard")
                elif socket.feed is not None and socket.phase != "greeting":
                    socket.send(protocol.write(Ping(seq=socket.feed.head, server_now=now)))
        self._beats += 1

    async def _compare(self) -> None:
        while True:
            for step in (self.compare_heads, self.compare_tokens):
                try:
                    await step()
                except DATABASE_AWAY as error:
                    log.warning("realtime.not_compared", step=step.__name__, error=type(error).__name__)
                except Exception:
                    # Without this loop, lost signals stay lost for everyone.
                    log.exception("realtime.comparison_failed", step=step.__name__)
            await asyncio.sleep(COMPARE_SECONDS)

    async def compare_heads(self) -> None:
        """Find the sockets that are behind PostgreSQL, and have them read what they miss."""
        self._set_clock(await self._database.fetchval(SQL.server_now))
        for role in ROLES:
            feeds = self._feeds[role]
            for chunk in _chunks(list(feeds.values())):
                known = [min((socket.seq for socket in feed.sockets), default=0) for feed in chunk]
                ids = [feed.identity.user_id for feed in chunk]
                for row in await self._database.fetch(SQL.heads_ahead, role, ids, known):
                    feed = feeds.get(row["user_id"])
                    if feed is None:
                        continue
                    feed.head = max(feed.head, row["head"])
                    for socket in feed.sockets:
                        if socket.phase == "live" and socket.seq < feed.head:
                            self._heal(socket)

    async def compare_tokens(self) -> None:
        """Close the sockets whose token is no longer good."""
        for chunk in _chunks([socket.who for socket in self._all()]):
            self._close_tokens(await self._hooks.signed_out(chunk), protocol.SIGNED_OUT)

    def _close_tokens(self, token_digests: Collection[bytes], code: int) -> None:
        if token_digests:
            for socket in self._all():
                if socket.who.token_digest in token_digests:
                    socket.close(code)

    def _all(self) -> Iterator[Socket]:
        return chain.from_iterable(chain.from_iterable(self._slots.values()))

    def _set_clock(self, server_now: datetime) -> None:
        self._clock = server_now - timedelta(seconds=asyncio.get_running_loop().time())


def _resumable_seq(hello: Hello | None, head: service.Head) -> int | None:
    """The seq that a client can go on from, as far as the head tells."""
    if hello is None or hello.seq is None or hello.epoch != str(head.epoch):
        return None
    return hello.seq if 0 <= hello.seq <= head.seq else None


def _chunks(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    for start in range(0, len(items), COMPARE_LIMIT):
        yield items[start : start + COMPARE_LIMIT]
