"""When somebody is pushed to: who is not connected is looked up some moments after the reason arose, and again.

The reasons are noted in the database (migrations/…_push.sql) as deadlines. A look fills the outbox for whoever holds no
live connection, and comes again while the reason lasts: a connection can be dead before anybody knows, and a person who
was there a moment ago may be gone. Nobody is pushed to twice for one reason.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import Final
from uuid import UUID

from curhat.deadlines import service as deadlines
from curhat.deadlines.queries import Deadline
from curhat.deadlines.service import FollowUp, Transition
from curhat.journeys.service import SQL
from curhat.kit.database import Database, Transaction
from curhat.kit.errors import PresenceUnknown
from curhat.kit.identity import Role
from curhat.kit.pause_points import pause_point
from curhat.notifications import service as notifications
from curhat.notifications.service import Message
from curhat.notifications.templates import PushKind

# Deadline kinds, as the migration has them: a pairing that asks, a session that began, a chat with unread messages.
PUSH_REQUESTS: Final = "push_requests"
PUSH_MATCH: Final = "push_match"
PUSH_MESSAGES: Final = "push_messages"

# How soon it is looked again: how long somebody whose connection died is left untold, at most.
REQUESTS_AGAIN_SECONDS: Final = 5.0
MATCH_AGAIN_SECONDS: Final = 5.0
MESSAGES_AGAIN_SECONDS: Final = 10.0
# For how long: longer than a dead connection of a customer counts as live (presence/customers.py).
MATCH_SECONDS: Final = 45.0
MESSAGES_SECONDS: Final = 60.0


class PushLooks:
    """The transitions of the push deadlines. `wake` is called when there is something to send."""

    def __init__(
        self,
        database: Database,
        connected_among: Callable[[Role, Sequence[UUID]], Awaitable[set[UUID]]],
        wake: Callable[[], None],
    ) -> None:
        self._database = database
        self._connected_among = connected_among
        self._wake = wake

    def by_kind(self) -> Mapping[str, Transition]:
        """The transition of each deadline kind."""
        return {PUSH_REQUESTS: self._requests, PUSH_MATCH: self._match, PUSH_MESSAGES: self._messages}

    async def _requests(self, tx: Transaction, deadline: Deadline) -> FollowUp | None:
        """A pairing asks mitras: those who are not connected are pushed to (4.1)."""
        pairing_id = deadline.entity_id
        asks_until = await tx.fetchval(SQL.searching_until, pairing_id)
        if asks_until is None:
            return None
        await _arm_again(tx, deadline, REQUESTS_AGAIN_SECONDS)

        async def look() -> None:
            await self._push(
                [
                    Message(
                        kind="request_offered",
                        role="mitra",
                        user_id=row["mitra_id"],
                        subject_id=row["id"],
                        topic_id=row["id"],
                        request_id=row["id"],
                        reason_at=row["offered_at"],
                        expires_at=row["deadline_at"],
                    )
                    for row in await self._database.fetch(SQL.requests_to_push, pairing_id)
                ]
            )

        return look

    async def _match(self, tx: Transaction, deadline: Deadline) -> FollowUp | None:
        """A session began: its customer is told, if not connected."""
        row = await tx.fetchrow(SQL.match_to_push, deadline.entity_id, MATCH_SECONDS)
        if row is None:
            return None
        await _arm_again(tx, deadline, MATCH_AGAIN_SECONDS)
        message = Message(
            kind="matched",
            role="customer",
            user_id=row["customer_id"],
            subject_id=row["id"],
            topic_id=row["id"],
            session_id=row["id"],
            reason_at=row["started_at"],
            expires_at=row["ends_at"],
        )
        return lambda: self._push([message])

    async def _messages(self, tx: Transaction, deadline: Deadline) -> FollowUp | None:
        """A mitra wrote: the customer is told, if not connected and the message is not read."""
        row = await tx.fetchrow(SQL.message_to_push, deadline.entity_id, MESSAGES_SECONDS)
        if row is None:
            return None
        await _arm_again(tx, deadline, MESSAGES_AGAIN_SECONDS)
        message = Message(
            kind="message",
            role="customer",
            user_id=row["customer_id"],
            subject_id=row["id"],
            topic_id=deadline.entity_id,
            session_id=deadline.entity_id,
            reason_at=row["sent_at"],
            expires_at=row["expires_at"],
        )
        return lambda: self._push([message])

    async def _push(self, messages: Sequence[Message]) -> None:
        """Put these into the outbox for whoever is not connected; nobody knows: for everybody."""
        if not messages:
            return
        try:
            connected = await self._connected_among(messages[0].role, [each.user_id for each in messages])
        except PresenceUnknown:
            connected = set()
        absent = [message for message in messages if message.user_id not in connected]
        if not absent:
            return
        await pause_point("push.before_enqueue")
        async with self._database.transaction() as tx:
            enqueued = await notifications.enqueue(tx, absent)
        if enqueued:
            self._wake()


async def still_wanted(database: Database, kind: PushKind, subject_ids: Sequence[UUID]) -> set[UUID]:
    """Which of these requests, sessions or messages are still worth a push."""
    query = {
        "request_offered": SQL.requests_still_open,
        "matched": SQL.sessions_still_running,
        "message": SQL.messages_still_unread,
    }[kind]
    return {row["id"] for row in await database.fetch(query, list(subject_ids))}


async def _arm_again(tx: Transaction, deadline: Deadline, seconds: float) -> None:
    now = await tx.fetchval("SELECT curhat_now()")
    await deadlines.arm(tx, deadline.kind, deadline.entity_id, now + timedelta(seconds=seconds))
