"""Signals: small messages that processes send each other after a commit.

A signal only wakes its receivers. The data itself is in PostgreSQL. A signal can be lost, duplicated or late. Every
receiver also reads the database every few seconds, so a lost signal causes only a short delay.

Channels:
    `stream`: a transaction added an event to a user's stream (realtime).
    `requests`: the open requests of some mitras changed (pairing).
    `sockets`: the sockets of a token or a user must be closed (accounts).
    `typing`: a user is typing (realtime).
    `deadlines`: a deadline is due now, so sleeping workers wake (deadlines).
    `mitra_changed`: the intent, capacity or load of some mitras changed (presence).

The signal `mitra_changed` stays in the process that committed the change. All signals except `mitra_changed` go through
Valkey.

The signals `stream` and `typing` are for one person. Each person has a channel of their own in Valkey (`to_person`). A
process subscribes to the channels of the people whose sockets it holds (`follow`). So a process spends nothing on the
signals of other people. All other signals go to every process that handles their channel.

The processes of the previous release know no channels of people. While such a process is subscribed, each signal for
one person also goes to every process.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from typing import Final, Protocol

import structlog
import valkey.asyncio
import valkey.asyncio.client
from prometheus_client import Counter
from valkey.exceptions import ValkeyError

from curhat.kit.identity import Identity

log = structlog.get_logger(__name__)

# Receivers read the database every few seconds, so a dropped signal delays its event by at most 3 s.
DROPPED: Final = Counter(
    "curhat_signals_dropped_total", "Signals that did not reach Valkey, by the reason", ["reason"]
)
QUEUE_FULL: Final = DROPPED.labels("queue_full")
NOT_SENT: Final = DROPPED.labels("not_sent")

# One process queues at most MAX_QUEUED_SIGNALS signals, and drops further signals. The limit bounds the memory while
# Valkey is away.
MAX_QUEUED_SIGNALS = 20_000
MAX_SIGNALS_PER_BATCH = 500
# If Valkey does not accept a batch of signals within SEND_TIMEOUT_SECONDS, the process drops the batch.
SEND_TIMEOUT_SECONDS = 1.0
# If the subscription gets no message for MAX_SILENCE_SECONDS, the process pings Valkey. If Valkey does not answer the
# ping within MAX_SILENCE_SECONDS, the process treats the subscription as lost.
MAX_SILENCE_SECONDS = 5.0
# The pause between two tries to subscribe while Valkey is away.
RECONNECT_INTERVAL_SECONDS = 0.5
# A hello waits at most FOLLOW_TIMEOUT_SECONDS for the subscription to its person's channel. Without the subscription,
# the hub finds new events when it compares the streams with PostgreSQL.
FOLLOW_TIMEOUT_SECONDS = 0.5
MAX_CHANNELS_PER_COMMAND = 1_000
# How often a process asks Valkey whether a process of the previous release is subscribed.
RELEASE_CHECK_INTERVAL_SECONDS = 3.0
PREFIX = "curhat:signal:"
PERSON_PREFIX = "curhat:signal:person:"
# Every process that follows people subscribes to this channel, and no process publishes on it.
FOLLOWS_PEOPLE = PREFIX + "follows_people"

SignalHandler = Callable[[bytes], None]


def to_person(channel: str, person: Identity) -> str:
    """Return the channel for a signal that concerns one person."""
    return f"{channel}/{person.role}:{person.user_id}"


class SignalSink(Protocol):
    """Receives the signals of committed transactions."""

    def publish(self, channel: str, payload: bytes) -> None:
        """Send or queue `payload`. Never waits and never raises."""


class NoSignals:
    """Drops all signals.

    The command line uses this class, because other processes need not notice its changes immediately.
    """

    def publish(self, channel: str, payload: bytes) -> None:
        """Do nothing."""


class Signals:
    """Signals over Valkey publish/subscribe, sent in batches from a bounded queue."""

    def __init__(self, client: valkey.asyncio.Valkey) -> None:
        self._client = client
        self._local: dict[str, SignalHandler] = {}
        self._handlers: dict[str, SignalHandler] = {}
        self._queue: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue(MAX_QUEUED_SIGNALS)
        self.subscribed = asyncio.Event()
        # Each followed person's channel in Valkey, with a future that is done when Valkey has confirmed the
        # subscription.
        self._followed: dict[bytes, asyncio.Future[None]] = {}
        # The channels that were followed or unfollowed since the last SUBSCRIBE and UNSUBSCRIBE.
        self._changed: set[bytes] = set()
        self._change_waits = asyncio.Event()
        # Whether a process of the previous release is perhaps subscribed.
        self._tells_everybody = True

    def handle_locally(self, channel: str, handler: SignalHandler) -> None:
        """Immediately call `handler` for each signal that this process publishes on `channel`.

        The process does not send these signals to Valkey.
        """
        self._local[channel] = handler

    def handle(self, channel: str, handler: SignalHandler) -> None:
        """Call `handler` for each signal that any process publishes on `channel`. Call this method before `run`."""
        self._handlers[channel] = handler

    async def follow(self, person: Identity) -> None:
        """Receive the signals for this person from now on.

        Returns when Valkey has confirmed the subscription. If Valkey is away or slow, returns after at most
        FOLLOW_TIMEOUT_SECONDS, and the subscription follows when Valkey is back.
        """
        channel = _wire_channel(person)
        confirmed = self._followed.get(channel)
        if confirmed is None:
            confirmed = self._followed[channel] = asyncio.get_running_loop().create_future()
            self._changed.add(channel)
            self._change_waits.set()
        if not confirmed.done() and self.subscribed.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FOLLOW_TIMEOUT_SECONDS):
                    await asyncio.shield(confirmed)

    def unfollow(self, person: Identity) -> None:
        """Receive no further signals for this person."""
        channel = _wire_channel(person)
        confirmed = self._followed.pop(channel, None)
        if confirmed is not None:
            if not confirmed.done():
                confirmed.set_result(None)
            self._changed.add(channel)
            self._change_waits.set()

    def publish(self, channel: str, payload: bytes) -> None:
        """Queue the signal for Valkey. If the channel has a local handler, call that handler instead."""
        local = self._local.get(channel)
        if local is not None:
            local(payload)
            return
        try:
            self._queue.put_nowait((channel, payload))
        except asyncio.QueueFull:
            QUEUE_FULL.inc()

    async def run(self) -> None:
        """Send and receive signals until the task is cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._send())
            tasks.create_task(self._watch_previous_release())
            if self._handlers:
                tasks.create_task(self._receive())

    async def _send(self) -> None:
        while True:
            batch = [await self._queue.get()]
            while len(batch) < MAX_SIGNALS_PER_BATCH and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            try:
                async with (
                    asyncio.timeout(SEND_TIMEOUT_SECONDS),
                    self._client.pipeline(transaction=False) as pipeline,
                ):
                    for channel, payload in batch:
                        kind, _, person = channel.partition("/")
                        if person:
                            pipeline.publish(PERSON_PREFIX + person, kind.encode() + b"/" + payload)
                        if not person or self._tells_everybody:
                            pipeline.publish(PREFIX + kind, payload)
                    await pipeline.execute()
            except (ValkeyError, OSError) as error:
                NOT_SENT.inc(len(batch))
                log.warning("signals.not_sent", count=len(batch), error=type(error).__name__)

    async def _receive(self) -> None:
        while True:
            try:
                async with self._client.pubsub() as listener:
                    await listener.subscribe(
                        *(PREFIX + channel for channel in self._handlers), FOLLOWS_PEOPLE
                    )
                    self._changed.update(self._followed)
                    self._change_waits.set()
                    following = asyncio.create_task(self._follow_people(listener))
                    try:
                        await self._listen(listener)
                    finally:
                        following.cancel()
            except (ValkeyError, OSError) as error:
                log.warning("signals.subscription_lost", error=type(error).__name__)
            self.subscribed.clear()
            # Valkey has dropped the subscriptions, so the next connection subscribes again.
            for channel, confirmed in self._followed.items():
                if confirmed.done():
                    self._followed[channel] = asyncio.get_running_loop().create_future()
            await asyncio.sleep(RECONNECT_INTERVAL_SECONDS)

    async def _follow_people(self, listener: valkey.asyncio.client.PubSub) -> None:
        """Subscribe to the channels of people who were followed, and unsubscribe from those who were unfollowed."""
        subscribed: set[bytes] = set()
        while True:
            await self._change_waits.wait()
            self._change_waits.clear()
            changed, self._changed = self._changed, set()
            followed = {channel for channel in changed if channel in self._followed}
            try:
                for channels in _chunks(changed - followed & subscribed):
                    await listener.unsubscribe(*channels)
                for channels in _chunks(followed - subscribed):
                    await listener.subscribe(*channels)
            except (ValkeyError, OSError):
                return  # `_listen` loses the connection too, and the next connection subscribes to everything.
            for channel in followed & subscribed:
                # Unfollowed and followed again in the meantime. Valkey confirmed the subscription before.
                self._confirm(channel)
            subscribed = (subscribed - changed) | followed

    def _confirm(self, channel: bytes) -> None:
        confirmed = self._followed.get(channel)
        if confirmed is not None and not confirmed.done():
            confirmed.set_result(None)

    async def _watch_previous_release(self) -> None:
        """Notice whether a process of the previous release is subscribed. Such a process does not follow people."""
        while True:
            try:
                async with asyncio.timeout(SEND_TIMEOUT_SECONDS):
                    counts = await self._client.pubsub_numsub(PREFIX + "stream", FOLLOWS_PEOPLE)
                self._tells_everybody = counts[0][1] > counts[1][1]
            except (ValkeyError, OSError):
                pass  # `_send` logs that Valkey is away.
            await asyncio.sleep(RELEASE_CHECK_INTERVAL_SECONDS)

    async def _listen(self, listener: valkey.asyncio.client.PubSub) -> None:
        """Call the handlers until the connection breaks. Ping Valkey if the connection is silent."""
        pinged = False
        while True:
            _raise_lost_cancellation()
            message = await listener.get_message(timeout=MAX_SILENCE_SECONDS)
            if message is None:
                if pinged:
                    raise TimeoutError("Valkey does not answer on the subscription")
                await listener.ping()
                pinged = True
                continue
            pinged = False
            if message["type"] == "message":
                self._dispatch(message)
            elif message["type"] == "subscribe":
                self.subscribed.set()
                self._confirm(message["channel"])

    def _dispatch(self, message: dict[str, bytes]) -> None:
        channel, payload = message["channel"].decode(), message["data"]
        try:
            if channel.startswith(PERSON_PREFIX):
                kind, _, payload = payload.partition(b"/")
                self._handlers[kind.decode()](payload)
            else:
                self._handlers[channel.removeprefix(PREFIX)](payload)
        except Exception:
            # One malformed signal must not end the subscription, because this process would miss later signals.
            log.exception("signals.handler_failed", channel=channel)


def _wire_channel(person: Identity) -> bytes:
    return f"{PERSON_PREFIX}{person.role}:{person.user_id}".encode()


def _chunks(channels: Iterable[bytes]) -> Iterable[list[bytes]]:
    listed = list(channels)
    for start in range(0, len(listed), MAX_CHANNELS_PER_COMMAND):
        yield listed[start : start + MAX_CHANNELS_PER_COMMAND]


def _raise_lost_cancellation() -> None:
    """Raise CancelledError if this task was cancelled but still runs.

    The library valkey-py can lose a cancellation while it connects (Python 3.11). After a lost cancellation, a process
    that was told to stop would listen for ever.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
