"""Sends the outbox's messages, in the workers.

A worker claims messages. The sender checks whether each message is still wanted, sends the message, and records the
outcome. The sender sends outside of transactions. If the worker dies or PostgreSQL goes away before the outcome is
recorded, the message is due again after CLAIM_SECONDS.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final, get_args
from uuid import UUID

import prometheus_client
import structlog
from prometheus_client import Gauge

from curhat.kit.database import DATABASE_AWAY, Database, Transaction
from curhat.kit.errors import PresenceUnknown
from curhat.kit.identity import Role
from curhat.kit.pause_points import pause_point
from curhat.notifications import port, queries, service
from curhat.notifications.addresses import KNOWN_ENDPOINT
from curhat.notifications.queries import ClaimedMessage
from curhat.notifications.templates import PushKind

log = structlog.get_logger(__name__)

# One worker sends at most MAX_SENDS_RUNNING messages at the same time.
MAX_SENDS_RUNNING: Final = 100
# One worker claims at most MAX_MESSAGES_PER_CLAIM messages at the same time. All claimed messages can be for one push
# service.
MAX_MESSAGES_PER_CLAIM: Final = 25
# While MAX_SENDS_PER_SERVICE messages to one push service are on their way, the worker claims no further messages to
# this service. So one service occupies fewer than half of the places. If a service takes 0.1 s per message, the worker
# sends 250 to 500 messages per second to this service.
MAX_SENDS_PER_SERVICE: Final = 25
# If the last message to a service timed out, MAX_SENDS_TO_DOUBTFUL_SERVICE is the service's limit until the service
# answers again. MAX_SENDS_TO_DOUBTFUL_SERVICE also limits the sum over all services that are not KNOWN_SERVICES. A
# client chooses the endpoints, so a few people could name any number of silent hosts.
MAX_SENDS_TO_DOUBTFUL_SERVICE: Final = 5
# The name that `claim_messages` gives to the services that are not KNOWN_SERVICES.
OTHER_SERVICES: Final = "other"
# A claim lasts CLAIM_SECONDS, which is longer than any attempt. An attempt takes at most 1 s for Valkey and 5 s for the
# push service. So no worker is still sending the message after the claim has ended.
CLAIM_SECONDS: Final = 7.0
# A worker looks for due messages every POLL_INTERVAL_SECONDS. So a message that another process put into the outbox
# waits at most POLL_INTERVAL_SECONDS.
POLL_INTERVAL_SECONDS: Final = 0.5
# Every COUNT_INTERVAL_SECONDS, a worker counts the messages that wait.
COUNT_INTERVAL_SECONDS: Final = 5.0
# The waits before the second attempt, before the third attempt, and so on. If a push service asks for a longer wait,
# the worker obeys, but waits at most the longest time in RETRY_SECONDS.
RETRY_SECONDS: Final = (1.0, 2.0, 4.0, 8.0, 15.0)
# An old message waits at least RETRY_AGE_RATIO of its age before the next attempt. A message about a failed search
# lives for a day, so it would otherwise be sent 5,000 times to a push service that is down.
RETRY_AGE_RATIO: Final = 0.1
# A subscription has failed after MAX_FAILURES failed messages in a row.
MAX_FAILURES: Final = 5

SENT: Final = prometheus_client.Counter(
    "curhat_push_messages_total", "Push messages by kind and outcome of an attempt", ["kind", "outcome"]
)
IN_FLIGHT: Final = Gauge("curhat_push_in_flight", "Push messages that this process is sending")
WAITING: Final = Gauge("curhat_push_waiting", "Due push messages that no worker has claimed")
SILENT: Final = Gauge("curhat_push_silent_services", "Push services that let the last message time out")

# Returns which of these people hold a live connection. May raise PresenceUnknown.
ConnectedAmong = Callable[[Role, Sequence[UUID]], Awaitable[set[UUID]]]
# Returns which of these subjects still need a push, for example an open request or an unread chat message.
StillWanted = Callable[[PushKind, Sequence[UUID]], Awaitable[set[UUID]]]


class Outbox:
    """The sender of one worker. It sends through `channel`."""

    def __init__(
        self,
        database: Database,
        channel: port.PushChannel[port.Address],
        connected_among: ConnectedAmong,
        still_wanted: StillWanted,
    ) -> None:
        self._database = database
        self._channel = channel
        self._connected_among = connected_among
        self._still_wanted = still_wanted
        self._wake = asyncio.Event()
        self._is_stopping = False
        self._tasks: set[asyncio.Task[None]] = set()
        IN_FLIGHT.set_function(self._tasks.__len__)
        # `_sending` counts the messages that are on their way to each push service. `_silent` has the services whose
        # last message timed out.
        self._sending: Counter[str] = Counter()
        self._silent: set[str] = set()
        SILENT.set_function(self._silent.__len__)
        self._finished: list[int] = []
        self._recording: asyncio.Task[None] | None = None

    def wake(self) -> None:
        """Make `run` look for due messages soon. Call this function when there is a new message."""
        self._wake.set()

    async def run(self) -> None:
        """Send until cancelled. After an error, try again."""
        loop = asyncio.get_running_loop()
        count_at = 0.0
        try:
            while True:
                self._wake.clear()
                try:
                    if not self._is_stopping and await self.send_due():
                        continue
                    if loop.time() >= count_at:
                        count_at = loop.time() + COUNT_INTERVAL_SECONDS
                        WAITING.set(await queries.count_waiting_messages(self._database))
                except DATABASE_AWAY as error:
                    log.warning("push.database_trouble", error=type(error).__name__)
                except Exception:
                    # The loop must continue, because every push depends on the loop. Claimed messages become due again.
                    log.exception("push.round_failed")
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(POLL_INTERVAL_SECONDS):
                        await self._wake.wait()
        finally:
            for task in self._tasks:
                task.cancel()

    async def finish(self) -> None:
        """Claim no further message, and wait until the running sends have ended and are recorded."""
        self._is_stopping = True
        while waiting := [*self._tasks, *([self._recording] if self._recording else [])]:
            await asyncio.wait(waiting)

    async def send_due(self) -> bool:
        """Claim as many due messages as this worker can send now, and start to send them.

        Return False if no message was due.
        """
        while len(self._tasks) >= MAX_SENDS_RUNNING:
            await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        claimed = await queries.claim_messages(
            self._database,
            max_messages=min(MAX_MESSAGES_PER_CLAIM, MAX_SENDS_RUNNING - len(self._tasks)),
            kinds=get_args(PushKind),
            known_endpoint=KNOWN_ENDPOINT,
            busy_services=[service for service in self._sending if self._is_busy(service)],
            claim_seconds=CLAIM_SECONDS,
        )
        if not claimed:
            return False
        await pause_point("push.claimed")
        for message in await self._drop_unwanted(claimed):
            self._sending[message.service] += 1
            task = asyncio.create_task(self._send(message))
            self._tasks.add(task)
            task.add_done_callback(partial(self._sent, message.service))
        return True

    def _sent(self, service: str, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        was_busy = self._is_busy(service)
        self._sending -= Counter([service])
        if was_busy and not self._is_busy(service):
            self.wake()

    def _is_busy(self, service: str) -> bool:
        is_doubtful = service == OTHER_SERVICES or service in self._silent
        limit = MAX_SENDS_TO_DOUBTFUL_SERVICE if is_doubtful else MAX_SENDS_PER_SERVICE
        return self._sending[service] >= limit

    async def settle(self) -> None:
        """Send everything that is due, and wait until the outcomes are recorded."""
        while await self.send_due() or self._tasks or self._recording is not None:
            waiting = [*self._tasks, *([self._recording] if self._recording else [])]
            if waiting:
                await asyncio.wait(waiting)

    async def _drop_unwanted(self, claimed: Sequence[ClaimedMessage]) -> list[ClaimedMessage]:
        """Return the messages to send. Delete a message if its subject is over or its recipient is connected."""
        unwanted: list[ClaimedMessage] = []
        for kind in sorted({message.kind for message in claimed if message.kind != "test"}):
            of_kind = [message for message in claimed if message.kind == kind]
            subjects = await self._still_wanted(kind, [message.subject_id for message in of_kind])
            readers = list({message.user_id for message in of_kind})
            try:
                connected = await self._connected_among(of_kind[0].role, readers)
            except PresenceUnknown:
                connected = set()
            unwanted += [
                each for each in of_kind if each.subject_id not in subjects or each.user_id in connected
            ]
        if unwanted:
            await queries.delete_unwanted_messages(self._database, ids=[message.id for message in unwanted])
            for message in unwanted:
                SENT.labels(message.kind, "not_needed").inc()
        return [message for message in claimed if message not in unwanted]

    # Sending -------------------------------------------------------------------------------------------------

    async def _send(self, message: ClaimedMessage) -> None:
        try:
            if not message.is_signed_in:
                await self._delete_subscription(message)
                return
            # Round the time down. A push service counts whole seconds, and must never deliver an expired message.
            push = port.Push(message.payload.encode(), message.topic, ttl_seconds=int(message.left_seconds))
            outcome = await self._channel.deliver(message.subscription_id, _address_of(message), push)
            if outcome == port.TIMED_OUT:
                self._silent.add(message.service)
            else:
                self._silent.discard(message.service)
            await pause_point("push.delivered")
            await self._record(message, outcome)
        except DATABASE_AWAY as error:
            # The message is due again after CLAIM_SECONDS, and can arrive twice.
            log.warning("push.outcome_not_recorded", error=type(error).__name__)
        except Exception:
            log.exception("push.not_sent", kind=message.kind, subscription_id=str(message.subscription_id))

    async def _record(self, message: ClaimedMessage, outcome: port.Outcome) -> None:
        SENT.labels(message.kind, type(outcome).__name__.lower()).inc()
        match outcome:
            case port.Delivered():
                self._finish(message.id)
                if message.failures:
                    await self._change_subscription(
                        message, lambda tx: queries.reset_failures(tx, id=message.subscription_id)
                    )
            case port.Gone():
                await self._delete_subscription(message)
                log.info("push.subscription_gone", subscription_id=str(message.subscription_id))
            case port.Refused():
                # Keep the finished message. Otherwise, `enqueue` could put a message with the same reason into the
                # outbox again.
                self._finish(message.id)
                await self._count_failure(message, outcome.reason)
            case port.Unavailable():
                own_seconds = max(
                    RETRY_SECONDS[min(message.attempts, len(RETRY_SECONDS)) - 1],
                    message.age_seconds * RETRY_AGE_RATIO,
                )
                asked_seconds = min(outcome.retry_after_seconds or 0.0, RETRY_SECONDS[-1])
                await queries.postpone_message(
                    self._database, id=message.id, wait_seconds=max(own_seconds, asked_seconds)
                )
                # Count one failure per message, at its first attempt.
                if message.attempts == 1 and not outcome.is_their_limit:
                    await self._count_failure(message, outcome.reason)

    async def _delete_subscription(self, message: ClaimedMessage) -> None:
        await self._change_subscription(
            message, lambda tx: queries.delete_subscription(tx, id=message.subscription_id)
        )

    async def _count_failure(self, message: ClaimedMessage, reason: str) -> None:
        subscription_id = message.subscription_id
        failed_now = await self._change_subscription(
            message, lambda tx: queries.count_failure(tx, id=subscription_id, max_failures=MAX_FAILURES)
        )
        event = "push.subscription_failed" if failed_now else "push.failed"
        log.warning(event, kind=message.kind, subscription_id=str(subscription_id), reason=reason)

    async def _change_subscription(
        self, message: ClaimedMessage, change: Callable[[Transaction], Awaitable[int | None]]
    ) -> int | None:
        """Change the message's subscription.

        A change can affect whether push reaches the mitra, so send the signal.
        """
        async with self._database.transaction() as tx:
            changed = await change(tx)
            if changed:
                service.signal_changed(tx, message.role, message.user_id)
        return changed

    # Finished messages -------------------------------------------------------------------------------------------

    def _finish(self, message_id: int) -> None:
        self._finished.append(message_id)
        if self._recording is None:
            self._recording = asyncio.create_task(self._record_finished())

    async def _record_finished(self) -> None:
        try:
            while self._finished:
                message_ids, self._finished = self._finished, []
                try:
                    await queries.finish_messages(self._database, ids=sorted(message_ids))
                except DATABASE_AWAY as error:
                    log.warning("push.outcome_not_recorded", error=type(error).__name__)
        finally:
            self._recording = None


def _address_of(message: ClaimedMessage) -> port.Address:
    if message.subscription_kind == "fcm":
        return port.AppAddress(message.endpoint)
    return port.BrowserAddress(message.endpoint, message.p256dh, message.auth)
