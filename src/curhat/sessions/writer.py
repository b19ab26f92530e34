"""Group commit for messages: those that arrive together in one process share a transaction.

Guarantees
    A message is acknowledged only after its transaction is committed. Each has its own outcome: a refused or
    a broken one never fails the others. What waits is bounded.
Concurrency
    One transaction at a time: whatever arrives while it runs forms the next batch, so nothing is ever delayed
    on purpose, and the busier the process the larger the batches. A batch locks sessions in id order and then
    streams in their order, so the batches of several processes cannot deadlock.
Relies on
    `send_messages` being repeatable: after a transaction whose end is unknown, the messages are sent again.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from contextvars import Context
from uuid import UUID

import structlog
from prometheus_client import Counter, Gauge, Histogram

from curhat.kit.database import Database
from curhat.kit.errors import TooManyRequests
from curhat.kit.identity import Identity
from curhat.kit.pause_points import pause_point
from curhat.sessions.schemas import Message
from curhat.sessions.service import Send, SendOutcome, Sent, send_messages

log = structlog.get_logger(__name__)

# Bounds how long one transaction holds its sessions and streams.
BATCH_LIMIT = 100
# Bounds memory and waiting when PostgreSQL is slower than the senders: about a second's worth of messages.
WAITING_LIMIT = 2_000
# Bounds how long a lock that somebody else holds can stop the messages of this process.
WRITE_TIMEOUT_SECONDS = 5.0

MESSAGES = Counter("curhat_sessions_messages_total", "Messages by what became of them", ["outcome"])
BATCH_SIZE = Histogram(
    "curhat_sessions_message_batch_size",
    "Messages written in one transaction",
    buckets=(1, 2, 5, 10, 20, 50, BATCH_LIMIT),
)
WAITING = Gauge("curhat_sessions_messages_waiting", "Messages waiting for the transaction before theirs")


class _Waiting:
    """A message and the caller who waits for its outcome."""

    __slots__ = ("outcome", "send")

    def __init__(self, send: Send, outcome: "asyncio.Future[Message]") -> None:
        self.send = send
        self.outcome = outcome


class MessageWriter:
    """The one way by which a process sends messages."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: deque[_Waiting] = deque()
        self._writing: asyncio.Task[None] | None = None

    async def send(self, identity: Identity, session_id: UUID, client_message_id: str, text: str) -> Message:
        """Send a message and return it once it is committed; repeated, the first one.

        Raises NotFound, SessionEnded, TooManyRequests.
        """
        if len(self._waiting) >= WAITING_LIMIT:
            raise TooManyRequests(retry_after_seconds=1)
        loop = asyncio.get_running_loop()
        waiting = _Waiting(Send(identity, session_id, client_message_id, text), loop.create_future())
        self._waiting.append(waiting)
        if self._writing is None:
            # Its own context: what it logs belongs to a batch, not to the request that happened to start it.
            self._writing = loop.create_task(self._write_all(), context=Context())
        return await waiting.outcome

    async def _write_all(self) -> None:
        try:
            while self._waiting:
                size = min(len(self._waiting), BATCH_LIMIT)
                await self._write([self._waiting.popleft() for _ in range(size)])
        finally:
            self._writing = None

    async def _write(self, batch: Sequence[_Waiting]) -> None:
        WAITING.set(len(self._waiting))
        try:
            outcomes = await self._commit([waiting.send for waiting in batch])
        except Exception as error:
            log.warning("messages.batch_failed", size=len(batch), exc_info=error)
            if len(batch) == 1:
                _fail(batch[0], error)
            else:
                for waiting in batch:
                    await self._write([waiting])
            return
        for waiting, outcome in zip(batch, outcomes, strict=True):
            _settle(waiting, outcome)
        BATCH_SIZE.observe(len(batch))

    async def _commit(self, sends: Sequence[Send]) -> list[SendOutcome]:
        async with asyncio.timeout(WRITE_TIMEOUT_SECONDS):
            async with self._database.transaction() as tx:
                outcomes = await send_messages(tx, sends)
                await pause_point("messages.before_commit")
            await pause_point("messages.after_commit")
            return outcomes


def _settle(waiting: _Waiting, outcome: SendOutcome) -> None:
    if isinstance(outcome, Sent):
        MESSAGES.labels("repeated" if outcome.repeated else "sent").inc()
        if not waiting.outcome.done():
            waiting.outcome.set_result(outcome.message)
    else:
        _fail(waiting, outcome)


def _fail(waiting: _Waiting, error: Exception) -> None:
    MESSAGES.labels(getattr(error, "code", "failed")).inc()
    # The caller may have gone away meanwhile.
    if not waiting.outcome.done():
        waiting.outcome.set_exception(error)
