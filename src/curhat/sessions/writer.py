"""Group commit for messages. Messages that arrive together in one process share a transaction.

Guarantees:
    The server acknowledges a message when the message's transaction has committed. Each message has its own outcome.
    If a message is refused or fails, the other messages of the batch are not affected. The number of waiting messages
    is limited.
Concurrency:
    Each process runs one batch at a time. The messages that arrive during this transaction form the next batch. So the
    writer delays no message on purpose, and batches grow with the load.
    A batch waits at most LOCK_TIMEOUT for a lock. If the batch fails, one task per session writes the session's
    messages one by one, in their order. The next batches run while the tasks write. A later message of a session waits
    for the session's task. So a locked session delays the messages of other sessions only briefly.
    A batch locks sessions in id order, and then streams in their order. So the batches of several processes cannot
    deadlock.
Relies on:
    The writer can safely call `send_messages` again with the same messages. If the transaction of several messages
    fails, PostgreSQL has perhaps committed the transaction anyway.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Sequence
from contextvars import Context
from typing import NamedTuple
from uuid import UUID

import asyncpg
import prometheus_client
import structlog
from prometheus_client import Gauge, Histogram

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
# Limits memory and waiting when PostgreSQL is slower than the senders. PostgreSQL stores MAX_WAITING_MESSAGES messages
# in about one second.
MAX_WAITING_MESSAGES = 2_000
# One person's messages must not fill the queue. A person sends at most 20 new messages in 5 s (pace.py).
MAX_WAITING_PER_PERSON = 20
# Limits the delay of a message by a lock of another transaction, or by PostgreSQL.
WRITE_TIMEOUT_SECONDS = 5.0
# The longest time that one transaction waits for one lock. LOCK_TIMEOUT is shorter than deadlock_timeout, so PostgreSQL
# never checks for a deadlock.
LOCK_TIMEOUT = "100ms"
# At most MAX_SINGLES_RUNNING transactions write the messages of single sessions at the same time, beside the batch.
# Each of these transactions occupies a connection to PostgreSQL.
MAX_SINGLES_RUNNING = 4

MESSAGES = prometheus_client.Counter(
    "curhat_sessions_messages_total", "Messages, by their outcome", ["outcome"]
)
BATCH_SIZE = Histogram(
    "curhat_sessions_message_batch_size",
    "Messages written in one transaction",
    buckets=(1, 2, 5, 10, 20, 50, MAX_BATCH_MESSAGES),
)
WAITING = Gauge("curhat_sessions_messages_waiting", "Messages that wait for the running transaction to end")


class _Waiting(NamedTuple):
    """A message, the future of the waiting caller, and whether this request has counted the message."""

    message: OutgoingMessage
    outcome: "asyncio.Future[Message]"
    is_counted: bool


class MessageWriter:
    """Sends the messages of one process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._pace = Pace()
        self._waiting: deque[_Waiting] = deque()
        # How many messages of each person wait.
        self._waiting_of: Counter[Identity] = Counter()
        self._writing: asyncio.Task[None] | None = None
        # The messages of the sessions of a failed batch, each with the time at which the writer gives up.
        self._apart: dict[UUID, deque[tuple[_Waiting, float]]] = {}
        self._writing_apart: set[asyncio.Task[None]] = set()
        self._places = asyncio.Semaphore(MAX_SINGLES_RUNNING)

    async def send(
        self,
        sender: Identity,
        session_id: UUID,
        client_message_id: str,
        text: str,
        reply_to_message_id: UUID | None = None,
    ) -> Message:
        """Send a message, and return it after the commit. A repeated `client_message_id` returns the first message.

        Raises the errors of `begin_sending`, and NotFound, SessionEnded and TooManyRequests.
        """
        return await self.begin_sending(sender, session_id, client_message_id, text, reply_to_message_id)

    def begin_sending(
        self,
        sender: Identity,
        session_id: UUID,
        client_message_id: str,
        text: str,
        reply_to_message_id: UUID | None = None,
    ) -> "asyncio.Future[Message]":
        """Put a message into the next batch. Returns the future result of `send`.

        Raises ValidationFailed. Raises TooManyRequests if the sender exceeds a limit, or too many messages wait.
        """
        self._pace.admit(sender)
        text = checked_text(text, "text", MAX_MESSAGE_CHARACTERS)
        waiting_messages = len(self._waiting) + sum(map(len, self._apart.values()))
        if waiting_messages >= MAX_WAITING_MESSAGES or self._waiting_of[sender] >= MAX_WAITING_PER_PERSON:
            raise TooManyRequests(retry_after_seconds=1)
        entry = self._pace.enter(sender, (session_id, client_message_id))
        loop = asyncio.get_running_loop()
        message = OutgoingMessage(
            sender, session_id, client_message_id, text, reply_to_message_id, entry.is_fast
        )
        outcome: asyncio.Future[Message] = loop.create_future()
        self._waiting_of[sender] += 1
        outcome.add_done_callback(lambda _outcome: self._forget_waiting(sender))
        self._waiting.append(_Waiting(message, outcome, entry.is_counted))
        if self._writing is None:
            # Use a new context, so that the batch's log lines do not contain the ids of the request that started it.
            self._writing = loop.create_task(self._write_all(), context=Context())
        return outcome

    def _forget_waiting(self, sender: Identity) -> None:
        self._waiting_of[sender] -= 1
        if not self._waiting_of[sender]:
            del self._waiting_of[sender]

    async def _write_all(self) -> None:
        try:
            while self._waiting:
                size = min(len(self._waiting), MAX_BATCH_MESSAGES)
                batch: list[_Waiting] = []
                for waiting in [self._waiting.popleft() for _ in range(size)]:
                    if waiting.message.session_id in self._apart:
                        self._set_apart(waiting)
                    else:
                        batch.append(waiting)
                if batch:
                    await self._write_batch(batch)
        finally:
            self._writing = None

    async def _write_batch(self, batch: Sequence[_Waiting]) -> None:
        WAITING.set(len(self._waiting))
        try:
            async with asyncio.timeout(WRITE_TIMEOUT_SECONDS):
                await self._write(batch)
        except Exception as error:
            log.warning("messages.batch_failed", size=len(batch), exc_info=error)
            if len(batch) == 1 and not isinstance(error, asyncpg.LockNotAvailableError):
                _settle(batch[0], error)
                return
            for waiting in batch:
                self._set_apart(waiting)

    def _set_apart(self, waiting: _Waiting) -> None:
        """Let the task of the message's session write the message. Start the task if it does not run yet."""
        loop = asyncio.get_running_loop()
        session_id = waiting.message.session_id
        if session_id not in self._apart:
            self._apart[session_id] = deque()
            task = loop.create_task(self._write_apart(session_id))
            self._writing_apart.add(task)
            task.add_done_callback(self._writing_apart.discard)
        self._apart[session_id].append((waiting, loop.time() + WRITE_TIMEOUT_SECONDS))

    async def _write_apart(self, session_id: UUID) -> None:
        queue = self._apart[session_id]
        while queue:
            waiting, give_up_at = queue[0]
            limit = asyncio.timeout_at(give_up_at)
            try:
                async with limit, self._places:
                    await self._write([waiting])
            except asyncpg.LockNotAvailableError:
                continue  # The next try waits for a place again, behind the tasks of the other sessions.
            except Exception as error:
                log.warning("messages.message_failed", exc_info=error)
                _settle(waiting, error)
                if is_away(error) and not limit.expired():
                    # While PostgreSQL is away, a message does not wait for the tries of earlier messages.
                    for later, _ in list(queue)[1:]:
                        _settle(later, error)
                    queue.clear()
                    break
            queue.popleft()
        del self._apart[session_id]

    async def _write(self, batch: Sequence[_Waiting]) -> None:
        """Write the messages in one transaction, and set their outcomes."""
        async with self._database.transaction() as tx:
            outcomes = await send_messages(
                tx, [waiting.message for waiting in batch], lock_timeout=LOCK_TIMEOUT
            )
            await pause_point("messages.before_commit")
        await pause_point("messages.after_commit")
        for waiting, outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, SentMessage) and outcome.is_repeated and waiting.is_counted:
                sent = waiting.message
                self._pace.leave(sent.sender, (sent.session_id, sent.client_message_id))
            _settle(waiting, outcome)
        BATCH_SIZE.observe(len(batch))


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
