"""Signals: small messages between processes after a commit. They wake; they never carry the truth.

A signal may be lost, doubled or late. Whoever acts on one also looks at the database every few seconds, so a lost
signal costs a short delay and nothing else.

Channels
    stream         a user's stream grew (realtime)
    requests       the open requests of some mitras changed (pairing)
    sockets        sockets of a token or a user must close (accounts)
    typing         somebody types (realtime)
    deadlines      something is due now: workers need not sleep on (deadlines)
    mitra_changed  intent, capacity or load of some mitras changed; for the process that committed it only
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Protocol

import structlog
import valkey.asyncio
import valkey.asyncio.client
from valkey.exceptions import ValkeyError

log = structlog.get_logger(__name__)

# What may wait for Valkey in one process: bounds memory while Valkey is away. The rest is dropped; looking heals it.
QUEUE_LIMIT = 20_000
BATCH_LIMIT = 500
# A batch that Valkey does not take within this is dropped.
SEND_SECONDS = 1.0
# A subscription that is silent for this long is asked whether it lives, and given up after as long again.
SILENCE_SECONDS = 5.0
RECONNECT_SECONDS = 0.5
PREFIX = "curhat:signal:"

SignalHandler = Callable[[bytes], None]


class SignalSink(Protocol):
    """Where a committed transaction's signals go."""

    def publish(self, channel: str, payload: bytes) -> None:
        """Hand `payload` on. Quick; never raises."""


class NoSignals:
    """For programs whose changes nobody needs to hear of at once (commands, migrations)."""

    def publish(self, channel: str, payload: bytes) -> None:
        """Drop it."""


class Signals:
    """Signals over Valkey publish/subscribe, with a bounded queue that is sent in batches.

    `local` channels never leave this process: their handlers are called at once.
    """

    def __init__(self, client: valkey.asyncio.Valkey) -> None:
        self._client = client
        self._local: dict[str, SignalHandler] = {}
        self._handlers: dict[str, SignalHandler] = {}
        self._queue: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue(QUEUE_LIMIT)
        self.dropped = 0
        self.subscribed = asyncio.Event()

    def handle_locally(self, channel: str, handler: SignalHandler) -> None:
        """Call `handler` for what this very process publishes on `channel`; nothing goes out."""
        self._local[channel] = handler

    def handle(self, channel: str, handler: SignalHandler) -> None:
        """Call `handler` for what any process publishes on `channel`. Register before `run`."""
        self._handlers[channel] = handler

    def publish(self, channel: str, payload: bytes) -> None:
        """Queue for sending, or hand to the local handler."""
        local = self._local.get(channel)
        if local is not None:
            local(payload)
            return
        try:
            self._queue.put_nowait((channel, payload))
        except asyncio.QueueFull:
            self.dropped += 1

    async def run(self) -> None:
        """Send and receive until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._send())
            if self._handlers:
                tasks.create_task(self._receive())

    async def _send(self) -> None:
        while True:
            batch = [await self._queue.get()]
            while len(batch) < BATCH_LIMIT and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            try:
                async with (
                    asyncio.timeout(SEND_SECONDS),
                    self._client.pipeline(transaction=False) as pipeline,
                ):
                    for channel, payload in batch:
                        pipeline.publish(PREFIX + channel, payload)
                    await pipeline.execute()
            except (ValkeyError, OSError) as error:
                self.dropped += len(batch)
                log.warning("signals.not_sent", count=len(batch), error=type(error).__name__)

    async def _receive(self) -> None:
        while True:
            try:
                async with self._client.pubsub() as listener:
                    await listener.subscribe(*(PREFIX + channel for channel in self._handlers))
                    await self._listen(listener)
            except (ValkeyError, OSError) as error:
                log.warning("signals.subscription_lost", error=type(error).__name__)
            self.subscribed.clear()
            # Bounds how hard an unreachable Valkey is knocked at; looking heals what is missed meanwhile.
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _listen(self, listener: valkey.asyncio.client.PubSub) -> None:
        """Dispatch until the connection breaks; a silent one is asked whether it lives."""
        asked = False
        while True:
            message = await listener.get_message(timeout=SILENCE_SECONDS)
            if message is None:
                if asked:
                    raise TimeoutError("Valkey does not answer on the subscription")
                await listener.ping()
                asked = True
                continue
            asked = False
            if message["type"] == "message":
                self._dispatch(message)
            elif message["type"] == "subscribe":
                self.subscribed.set()

    def _dispatch(self, message: dict[str, bytes]) -> None:
        channel = message["channel"].decode().removeprefix(PREFIX)
        handler = self._handlers.get(channel)
        if handler is None:
            return
        with contextlib.suppress(asyncio.QueueFull):
            try:
                handler(message["data"])
            except Exception:
                # One malformed signal must not end the subscription for everyone.
                log.exception("signals.handler_failed", channel=channel)
