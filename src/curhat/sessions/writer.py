"""Group commit for messages. Messages that arrive together in one process share a transaction.

Guarantees
    The server acknowledges a message when the message's transaction has committed. Each message has its own outcome.
    If a message is refused or fails, the other messages of the batch are not affected. The number of waiting messages
    is limited.
Concurrency
    Each process runs one such transaction at a time. The messages that arrive during this transaction form the next
    batch. So no message is delayed on purpose, and batches grow with the load.
    A batch locks sessions in id order, and then streams in their order. So the batches of several processes cannot
    deadlock.
Relies on
    `send_messages`, which the writer can safely call again with the same messages. If the transaction of several
    messages fails, PostgreSQL may have committed it all the same. The writer sends each of these messages again, one
    by one.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from contextvars import Context
from typing import NamedTuple
from uuid import UUID

import structlog
from prometheus_client import Counter, Gauge, Histogram

from curhat.kit.database import Database, is_away
from curhat.kit.errors import TooManyRequests
from curhat.kit.identity import Identity
from curhat.kit.pause_points import pause_point
from curhat.kit.visible_text import checked_text
from curhat.sessions.pace import Pace
from curhat.sessions.schemas import MAX_MESSAGE_CHARACTERS, Message
from curhat.sessions.service import OutgoingMessage, SentMessage, send_messages

log = structlog.get_logger(__name__)

# Limits how long one transaction holds the locks of its sessions and streams.
MAX_BATCH_MESSAGES = 100
# Limits memory and waiting when PostgreSQL is slower than the senders. PostgreSQL stores this many in about one second.
MAX_WAITING_MESSAGES = 2_000
# Limits how long a lock of another transaction can delay the messages of this process.
WRITE_TIMEOUT_SECONDS = 5.0

MESSAGES = Counter("curhat_sessions_messages_total", "Messages, by their outcome", ["outcome"])
BATCH_SIZE = Histogram(
    "curhat_sessions_message_batch_size",
    "Messages written in one transaction",
    buckets=(1, 2, 5, 10, 20, 50, MAX_BATCH_MESSAGES),
)
WAITING = Gauge("curhat_sessions_messages_waiting", "Messages that wait for the running transaction to end")


class _Waiting(NamedTuple):
    """A message, the future of the caller who waits for its outcome, and whether this request has counted it."""

    message: OutgoingMessage
    outcome: "asyncio.Future[Message]"
    is_counted: bool


class MessageWriter:
    """Sends the messages of one process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._pace = Pace()
        self._waiting: deque[_Waiting] = deque()
        self._writing: asyncio.Task[None] | None = None

    async def send(self, sender: Identity, session_id: UUID, client_message_id: str, text: str) -> Message:
        """Send a message, and return it after the commit. A repeated `client_message_id` returns the first message.

        Raises ValidationFailed, NotFound, SessionEnded. Raises TooManyRequests if the sender exceeds a limit, or too
        many messages wait.
        """
        text = checked_text(text, "text", MAX_MESSAGE_CHARACTERS)
        if len(self._waiting) >= MAX_WAITING_MESSAGES:
            raise TooManyRequests(retry_after_seconds=1)
        entry = self._pace.enter(sender, (session_id, client_message_id))
        loop = asyncio.get_running_loop()
        message = OutgoingMessage(sender, session_id, client_message_id, text, entry.is_fast)
        outcome: asyncio.Future[Message] = loop.create_future()
        self._waiting.append(_Waiting(message, outcome, entry.is_counted))
        if self._writing is None:
            # Use a new context, so that the batch's log lines do not contain the ids of the request that started it.
            self._writing = loop.create_task(self._write_all(), context=Context())
        return await outcome

    async def _write_all(self) -> None:
        try:
            while self._waiting:
                size = min(len(self._waiting), MAX_BATCH_MESSAGES)
                await self._write([self._waiting.popleft() for _ in range(size)])
        finally:
            self._writing = None

    async def _write(self, batch: Sequence[_Waiting]) -> Exception | None:
        """Write these messages and settle them. Returns the error if PostgreSQL is away, and otherwise None."""
        WAITING.set(len(self._waiting))
        limit = asyncio.timeout(WRITE_TIMEOUT_SECONDS)
        try:
            async with limit:
                async with self._database.transaction() as tx:
                    outcomes = await send_messages(tx, [waiting.message for waiting in batch])
                    await pause_point("messages.before_commit")
                await pause_point("messages.after_commit")
        except Exception as error:
            log.warning("messages.batch_failed", size=len(batch), exc_info=error)
            if len(batch) == 1:
                _settle(batch[0], error)
                return error if is_away(error) and not limit.expired() else None
            away: Exception | None = None
            for waiting in batch:
                # While PostgreSQL is away, no message waits for the tries of all messages before it.
                if away is None:
                    away = await self._write([waiting])
                else:
                    _settle(waiting, away)
            return away
        for waiting, outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, SentMessage) and outcome.is_repeated and waiting.is_counted:
                sent = waiting.message
                self._pace.leave(sent.sender, (sent.session_id, sent.client_message_id))
            _settle(waiting, outcome)
        BATCH_SIZE.observe(len(batch))
        return None


def _settle(waiting: _Waiting, outcome: SentMessage | Exception) -> None:
    if isinstance(outcome, SentMessage):
        label = "repeated" if outcome.is_repeated else "sent"
    else:
        label = getattr(outcome, "code", "failed")
    MESSAGES.labels(label).inc()
    if waiting.outcome.done():  # The caller no longer waits.
        return
    if isinstance(outcome, SentMessage):
        waiting.outcome.set_result(outcome.message)
    else:
        waiting.outcome.set_exception(outcome)
