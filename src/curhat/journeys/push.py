"""Sends push messages to people who have no live connection.

Triggers in the database (migrations/0006_push.sql) record each reason for a push as a deadline. The deadline's
transition puts a push message into the outbox for each recipient without a live connection. While the reason lasts, the
transition runs again every few seconds, because a connected person can leave. The server also sometimes notices late
that a connection is dead. A person gets at most one push per reason.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Final
from uuid import UUID

import msgspec

from curhat.deadlines import service as deadlines
from curhat.deadlines.queries import Deadline
from curhat.deadlines.service import FollowUp, Transition
from curhat.journeys import queries
from curhat.journeys.availability import or_none
from curhat.journeys.queries import (
    BreakPush,
    CustomerMessagePush,
    FindDecisionToPushRow,
    MoneyPush,
    NoticePush,
    OutcomePush,
    RequestPush,
    SessionPush,
)
from curhat.kit.database import Database, Transaction
from curhat.kit.identity import Role
from curhat.kit.pause_points import pause_point
from curhat.notifications import service as notifications
from curhat.notifications.service import Message
from curhat.notifications.templates import PushKind
from curhat.presence.service import BREAK_OVER
from curhat.safety.reports.service import PUSH_NOTICE

# The triggers arm deadlines of these four kinds. The step that begins a break arms a fifth kind, BREAK_OVER. The step
# that gives a notice arms a sixth kind, PUSH_NOTICE.
# PUSH_REQUESTS is armed when a pairing asks mitras, and PUSH_MATCH
# when a session begins. PUSH_MESSAGES is armed when somebody writes in a chat, or when a customer asks for more time.
# PUSH_OUTCOMES is armed when a search or a targeted pairing fails, when a case is decided, and when a refund is done.
PUSH_REQUESTS: Final = "push_requests"
PUSH_MATCH: Final = "push_match"
PUSH_MESSAGES: Final = "push_messages"
PUSH_OUTCOMES: Final = "push_outcomes"

# The seconds after which a transition runs again. If a person's connection died, a push is late by at most one
# interval.
REQUESTS_INTERVAL_SECONDS: Final = 5.0
MATCH_INTERVAL_SECONDS: Final = 5.0
MESSAGES_INTERVAL_SECONDS: Final = 10.0
OUTCOMES_INTERVAL_SECONDS: Final = 5.0
BREAK_INTERVAL_SECONDS: Final = 5.0
NOTICE_INTERVAL_SECONDS: Final = 5.0
# The window of an extension is short: 10 s by default.
EXTENSION_INTERVAL_SECONDS: Final = 1.0
# How long a reason lasts. A reason must last longer than a customer's dead connection can look alive
# (presence/customers.py).
MATCH_SECONDS: Final = 45.0
MESSAGES_SECONDS: Final = 60.0
OUTCOMES_SECONDS: Final = 60.0
BREAK_SECONDS: Final = 60.0
NOTICE_SECONDS: Final = 60.0
# After a push about a customer's message, the mitra gets no push about further messages of the chat for BURST_SECONDS,
# unless the mitra has read the message meanwhile.
BURST_SECONDS: Final = 30.0
# If the workers were away at the end of a break, they send the reminder at most LATE_BREAK_SECONDS late.
LATE_BREAK_SECONDS: Final = 3600.0
# Columns that decide about a push, and are not part of it.
_DECIDING_COLUMNS: Final = ("is_in_burst", "is_fresh", "role")


class PushTransitions:
    """The transitions of the push deadlines. A transition calls `wake_outbox` after a new push message."""

    def __init__(
        self,
        database: Database,
        connected_among: Callable[[Role, Sequence[UUID]], Awaitable[set[UUID]]],
        wake_outbox: Callable[[], None],
    ) -> None:
        self._database = database
        self._connected_among = connected_among
        self._wake_outbox = wake_outbox

    def by_kind(self) -> Mapping[str, Transition]:
        """Return the transition of each deadline kind."""
        return {
            PUSH_REQUESTS: self._requests,
            PUSH_MATCH: self._match,
            PUSH_MESSAGES: self._messages,
            PUSH_OUTCOMES: self._outcomes,
            BREAK_OVER: self._break_over,
            PUSH_NOTICE: self._notice,
        }

    async def _requests(self, tx: Transaction, deadline: Deadline) -> FollowUp | None:
        """Push to the mitras whom the pairing asks (4.1)."""
        pairing_id = deadline.entity_id
        if await queries.find_search_end(tx, pairing_id=pairing_id) is None:
            return None
        await _arm_again(tx, deadline, REQUESTS_INTERVAL_SECONDS)

        async def push_requests() -> None:
            requests = await queries.list_requests_to_push(self._database, pairing_id=pairing_id)
            await self._push("request_offered", "mitra", requests)

        return push_requests

    async def _match(self, tx: Transaction, deadline: Deadline) -> FollowUp | None:
        """Push to the customer whose session has begun."""
        match = await queries.find_match_to_push(
            tx, session_id=deadline.entity_id, within_seconds=MATCH_SECONDS
        )
        if match is None:
            return None
        await _arm_again(tx, deadline, MATCH_INTERVAL_SECONDS)
        return partial(self._push, "matched", "customer", [match])

    async def _messages(self, tx: Transaction, deadline: Deadline) -> FollowUp | None:
        """Push to the reader of a chat's newest unread messages, and to the mitra who is asked for more time (4.7)."""
        session_id = deadline.entity_id
        to_customer = await queries.find_message_to_push(
            tx, session_id=session_id, within_seconds=MESSAGES_SECONDS
        )
        to_mitra = await queries.find_customer_message_to_push(
            tx, session_id=session_id, within_seconds=MESSAGES_SECONDS, burst_seconds=BURST_SECONDS
        )
        extension = await queries.find_extension_to_push(tx, session_id=session_id)
        if extension is not None:
            # A deadline that is already armed for a chat message fires too late for the window of the extension.
            await deadlines.arm_another(tx, deadline.kind, [session_id], EXTENSION_INTERVAL_SECONDS)
        elif to_customer is not None or to_mitra is not None:
            await _arm_again(tx, deadline, MESSAGES_INTERVAL_SECONDS)
        else:
            return None

        async def push_all() -> None:
            await self._push("extension_requested", "mitra", [extension] if extension else [])
            await self._push("message", "customer", [to_customer] if to_customer else [])
            await self._push(
                "customer_message", "mitra", [to_mitra] if to_mitra and not to_mitra.is_in_burst else []
            )

        return push_all

    async def _outcomes(self, tx: Transaction, deadline: Deadline) -> FollowUp | None:
        """Push to a customer what became of a payment (4.7).

        The search failed, the chosen mitra did not accept, an operator decided the case, or money came back.
        """
        payment_id = deadline.entity_id
        failed = await queries.find_failed_search_to_push(
            tx, payment_id=payment_id, within_seconds=OUTCOMES_SECONDS
        )
        fallback = await queries.find_fallback_to_push(
            tx, payment_id=payment_id, within_seconds=OUTCOMES_SECONDS
        )
        decided = await queries.find_decision_to_push(
            tx, payment_id=payment_id, within_seconds=OUTCOMES_SECONDS
        )
        refunds = await queries.list_refunds_to_push(
            tx, payment_id=payment_id, within_seconds=OUTCOMES_SECONDS
        )
        if failed is None and fallback is None and decided is None and not refunds:
            return None
        await _arm_again(tx, deadline, OUTCOMES_INTERVAL_SECONDS)

        async def push_all() -> None:
            await self._push("search_failed", "customer", [failed] if failed else [])
            await self._push("fallback_offered", "customer", [fallback] if fallback else [])
            await self._push(
                "decided", "customer", [_money_push(decided)] if decided and decided.is_due else []
            )
            await self._push("refunded", "customer", refunds)

        return push_all

    async def _break_over(self, tx: Transaction, deadline: Deadline) -> FollowUp | None:
        """Remind a mitra that the time of the break is over (M.3). The mitra stays offline.

        The deadline of an earlier break finds that this break is not over, and does nothing.
        """
        mitra_id = deadline.entity_id
        reminder = await queries.find_break_to_push(
            tx, mitra_id=mitra_id, within_seconds=BREAK_SECONDS, late_seconds=LATE_BREAK_SECONDS
        )
        if reminder is None:
            return None
        if reminder.is_fresh:
            await _arm_again(tx, deadline, BREAK_INTERVAL_SECONDS)
        return partial(self._push, "break_over", "mitra", [reminder])

    async def _notice(self, tx: Transaction, deadline: Deadline) -> FollowUp | None:
        """Push to a person that there is a notice, and nothing about it (T.4)."""
        notice = await queries.find_notice_to_push(
            tx, notice_id=deadline.entity_id, within_seconds=NOTICE_SECONDS
        )
        if notice is None:
            return None
        await _arm_again(tx, deadline, NOTICE_INTERVAL_SECONDS)
        return partial(self._push, "notice", notice.role, [notice])

    async def _push(
        self,
        kind: PushKind,
        role: Role,
        reasons: Sequence[
            RequestPush | SessionPush | CustomerMessagePush | OutcomePush | MoneyPush | BreakPush | NoticePush
        ],
    ) -> None:
        """For each reason whose user is not connected, put a push message into the outbox.

        If presence is unknown, treat no user as connected.
        """
        if not reasons:
            return
        connected = await or_none(self._connected_among(role, [reason.user_id for reason in reasons])) or ()
        messages = [
            Message(
                kind=kind,
                role=role,
                **{
                    name: value
                    for name, value in msgspec.structs.asdict(reason).items()
                    if name not in _DECIDING_COLUMNS
                },
            )
            for reason in reasons
            if reason.user_id not in connected
        ]
        if not messages:
            return
        await pause_point("push.before_enqueue")
        async with self._database.transaction() as tx:
            enqueued = await notifications.enqueue(tx, messages)
        if enqueued:
            self._wake_outbox()


async def still_wanted(database: Database, kind: PushKind, subject_ids: Sequence[UUID]) -> set[UUID]:
    """Return the ids of the subjects that still need a push.

    `kind` says whether the subjects are requests, sessions, messages, extensions, pairings, payments,
    cases, refunds, mitras or notices.
    """
    filter_subjects = {
        "request_offered": queries.filter_open_requests,
        "matched": queries.filter_running_sessions,
        "message": queries.filter_unread_messages,
        "customer_message": queries.filter_unread_messages,
        "extension_requested": queries.filter_pending_extensions,
        "search_failed": queries.filter_unserved_payments,
        "fallback_offered": queries.filter_open_fallbacks,
        "decided": queries.filter_decided_cases,
        "refunded": queries.filter_done_refunds,
        "break_over": queries.filter_mitras_after_a_break,
        "notice": queries.filter_new_notices,
    }[kind]
    return set(await filter_subjects(database, ids=subject_ids))


def _money_push(decision: FindDecisionToPushRow) -> MoneyPush:
    return msgspec.convert(decision, MoneyPush, from_attributes=True)


async def _arm_again(tx: Transaction, deadline: Deadline, wait_seconds: float) -> None:
    await deadlines.arm_if_none_is_armed(tx, deadline.kind, deadline.entity_id, wait_seconds)
