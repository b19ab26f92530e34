"""Sends what waits in the outbox, in the workers: claim, look once more whether it is wanted, send, note the outcome.

Nothing is sent inside a transaction. A message that was claimed and not noted (the worker died, PostgreSQL went away)
is due again after CLAIM_SECONDS.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final
from uuid import UUID

import asyncpg
import structlog
from prometheus_client import Counter, Gauge

from curhat.kit.database import DATABASE_AWAY, Database
from curhat.kit.errors import PresenceUnknown
from curhat.kit.identity import Role
from curhat.kit.pause_points import pause_point
from curhat.notifications import service
from curhat.notifications.port import (
    Address,
    Delivered,
    Gone,
    Outcome,
    Push,
    PushChannel,
    Refused,
    Unavailable,
    Urgency,
)
from curhat.notifications.service import SQL
from curhat.notifications.templates import PushKind

log = structlog.get_logger(__name__)

# Messages of one worker that are being sent at once: with the 0.1 s that a push service takes, 500 a second.
PLACES: Final = 50
# Longer than a message can take: a try whose outcome was not noted by then never will be.
CLAIM_SECONDS: Final = 10.0
# How long a message can wait that another process put into the outbox.
POLL_SECONDS: Final = 0.5
# Before the second try, the third, …; a push service that says how long to wait is believed up to the longest.
AGAIN_SECONDS: Final = (1.0, 2.0, 4.0, 8.0, 15.0)
# Messages in a row that failed, after which the subscription has failed.
FAILURES_LIMIT: Final = 5

URGENCIES: Final[dict[PushKind, Urgency]] = {
    "request_offered": "high",
    "matched": "high",
    "message": "high",
    "test": "high",
}

SENT: Final = Counter(
    "curhat_push_messages_total", "Push messages by kind and what became of a try", ["kind", "outcome"]
)
IN_FLIGHT: Final = Gauge("curhat_push_in_flight", "Push messages that are being sent by this process")

# Who of these people holds a live connection. May raise PresenceUnknown.
ConnectedAmong = Callable[[Role, Sequence[UUID]], Awaitable[set[UUID]]]
# Which of these subjects are still worth a push (a request that is open, a message that is unread, …).
StillWanted = Callable[[PushKind, Sequence[UUID]], Awaitable[set[UUID]]]


class Outbox:
    """The sender of one worker."""

    def __init__(
        self,
        database: Database,
        channel: PushChannel,
        connected_among: ConnectedAmong,
        still_wanted: StillWanted,
    ) -> None:
        self._database = database
        self._channel = channel
        self._connected_among = connected_among
        self._still_wanted = still_wanted
        self._wake = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._done: list[int] = []
        self._noting: asyncio.Task[None] | None = None

    def wake(self) -> None:
        """There is something new to send."""
        self._wake.set()

    async def run(self) -> None:
        """Send until cancelled; what is on its way then is due again later. PostgreSQL away is waited out."""
        try:
            while True:
                self._wake.clear()
                try:
                    if await self.send_due():
                        continue
                except DATABASE_AWAY as error:
                    log.warning("push.database_trouble", error=type(error).__name__)
                except Exception:
                    # A fault in one round must not end push for everybody; what was claimed is due again.
                    log.exception("push.round_failed")
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(POLL_SECONDS):
                        await self._wake.wait()
        finally:
            for task in self._tasks:
                task.cancel()

    async def send_due(self) -> bool:
        """Claim what there is place for, and start sending it. False: nothing was due."""
        while len(self._tasks) >= PLACES:
            await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        rows = await self._database.fetch(SQL.claim, PLACES - len(self._tasks), CLAIM_SECONDS)
        if not rows:
            return False
        await pause_point("push.claimed")
        for row in await self._drop_unwanted(rows):
            self._start(self._send(row))
        return True

    async def settle(self) -> None:
        """Send all that is due, and wait for the outcomes."""
        while await self.send_due() or self._tasks or self._noting is not None:
            waiting = [*self._tasks, *([self._noting] if self._noting else [])]
            if waiting:
                await asyncio.wait(waiting)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        IN_FLIGHT.set(len(self._tasks))
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        IN_FLIGHT.set(len(self._tasks))

    # Whether it is wanted ------------------------------------------------------------------------------------

    async def _drop_unwanted(self, rows: Sequence[asyncpg.Record]) -> list[asyncpg.Record]:
        """What is to be sent of these; the rest is dropped: its subject is over, or its reader is connected."""
        wanted: list[asyncpg.Record] = []
        unwanted: list[asyncpg.Record] = []
        for kind in sorted({row["kind"] for row in rows}):
            of_kind = [row for row in rows if row["kind"] == kind]
            if kind == "test":
                wanted += of_kind
                continue
            subjects = await self._still_wanted(kind, [row["subject_id"] for row in of_kind])
            role = of_kind[0]["role"]
            try:
                connected = await self._connected_among(role, list({row["user_id"] for row in of_kind}))
            except PresenceUnknown:
                connected = set()
            for row in of_kind:
                is_wanted = row["subject_id"] in subjects and row["user_id"] not in connected
                (wanted if is_wanted else unwanted).append(row)
        if unwanted:
            await self._database.execute(SQL.drop_messages, [row["id"] for row in unwanted])
            for row in unwanted:
                SENT.labels(row["kind"], "not_needed").inc()
        return wanted

    # Sending -------------------------------------------------------------------------------------------------

    async def _send(self, row: asyncpg.Record) -> None:
        try:
            if not row["is_signed_in"]:
                await self._changed(SQL.remove_subscription, row)
                return
            outcome = await self._deliver(row)
            await pause_point("push.delivered")
            await self._note(row, outcome)
        except DATABASE_AWAY as error:
            # Not noted: it is due again in CLAIM_SECONDS, and may come twice.
            log.warning("push.outcome_not_noted", error=type(error).__name__)
        except Exception:
            log.exception("push.not_sent", kind=row["kind"], subscription_id=str(row["subscription_id"]))

    async def _deliver(self, row: asyncpg.Record) -> Outcome:
        # Rounded down: a message is never delivered after its time, by a push service that counts whole seconds.
        push = Push(
            payload=row["payload"].encode(),
            topic=row["topic"],
            ttl_seconds=int(row["left_seconds"]),
            urgency=URGENCIES[row["kind"]],
        )
        address = Address(endpoint=row["endpoint"], p256dh=row["p256dh"], auth=row["auth"])
        return await self._channel.deliver(row["subscription_id"], address, push)

    async def _note(self, row: asyncpg.Record, outcome: Outcome) -> None:
        SENT.labels(row["kind"], type(outcome).__name__.lower()).inc()
        match outcome:
            case Delivered():
                self._note_done(row["id"])
                if row["failures"]:
                    await self._changed(SQL.works_again, row)
            case Gone():
                await self._changed(SQL.remove_subscription, row)
                log.info("push.subscription_gone", subscription_id=str(row["subscription_id"]))
            case Refused():
                # Done, and not dropped: it would only be put into the outbox again.
                self._note_done(row["id"])
                await self._count_failure(row, outcome.reason)
            case Unavailable():
                await self._database.execute(
                    SQL.try_again, row["id"], _wait_seconds(row["attempts"], outcome)
                )
                # One message is one failure, however often it is tried.
                if row["attempts"] == 1 and not outcome.is_their_limit:
                    await self._count_failure(row, outcome.reason)

    async def _count_failure(self, row: asyncpg.Record, reason: str) -> None:
        failed = await self._changed(SQL.count_failure, row, FAILURES_LIMIT)
        log.warning(
            "push.subscription_failed" if failed else "push.failed",
            kind=row["kind"],
            subscription_id=str(row["subscription_id"]),
            reason=reason,
        )

    async def _changed(self, query: str, row: asyncpg.Record, *arguments: object) -> bool:
        """Change a subscription, and let presence know where that may matter. Whether it has failed now."""
        async with self._database.transaction() as tx:
            changed = await tx.fetchrow(query, row["subscription_id"], *arguments)
            if changed is None:
                return False
            failed = bool(changed.get("failed_now"))
            if failed or query != SQL.count_failure:
                service.signal_changed(tx, row["role"], row["user_id"])
            return failed

    # Noting what is done, many at once --------------------------------------------------------------------------

    def _note_done(self, message_id: int) -> None:
        self._done.append(message_id)
        if self._noting is None:
            self._noting = asyncio.create_task(self._note_all_done())

    async def _note_all_done(self) -> None:
        try:
            while self._done:
                message_ids, self._done = self._done, []
                try:
                    await self._database.execute(SQL.note_done, sorted(message_ids))
                except DATABASE_AWAY as error:
                    log.warning("push.outcome_not_noted", error=type(error).__name__)
        finally:
            self._noting = None


def _wait_seconds(attempts: int, outcome: Unavailable) -> float:
    own = AGAIN_SECONDS[min(attempts, len(AGAIN_SECONDS)) - 1]
    asked = outcome.retry_after_seconds or 0.0
    return max(own, min(asked, AGAIN_SECONDS[-1]))
