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
"""

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

import structlog
import valkey.asyncio
import valkey.asyncio.client
from prometheus_client import Counter
from valkey.exceptions import ValkeyError

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
PREFIX = "curhat:signal:"

SignalHandler = Callable[[bytes], None]


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

    def handle_locally(self, channel: str, handler: SignalHandler) -> None:
        """Immediately call `handler` for each signal that this process publishes on `channel`.

        The process does not send these signals to Valkey.
        """
        self._local[channel] = handler

    def handle(self, channel: str, handler: SignalHandler) -> None:
        """Call `handler` for each signal that any process publishes on `channel`. Call this method before `run`."""
        self._handlers[channel] = handler

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
                        pipeline.publish(PREFIX + channel, payload)
                    await pipeline.execute()
            except (ValkeyError, OSError) as error:
                NOT_SENT.inc(len(batch))
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
            await asyncio.sleep(RECONNECT_INTERVAL_SECONDS)

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

    def _dispatch(self, message: dict[str, bytes]) -> None:
        channel = message["channel"].decode().removeprefix(PREFIX)
        try:
            self._handlers[channel](message["data"])
        except Exception:
            # One malformed signal must not end the subscription, because this process would miss later signals.
            log.exception("signals.handler_failed", channel=channel)


def _raise_lost_cancellation() -> None:
    """Raise CancelledError if this task was cancelled but still runs.

    The library valkey-py can lose a cancellation while it connects (Python 3.11). After a lost cancellation, a process
    that was told to stop would listen for ever.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
