"""Simulates push. Half of the people have a subscription, and a fake push service causes faults.

The product's triggers, PushTransitions and Outbox run unchanged. The fake push service checks each push that it gets.
"""

import random
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

from curhat.deadlines.service import FollowUp, Transition
from curhat.journeys.push import (
    MATCH_SECONDS,
    MESSAGES_SECONDS,
    NOTICE_SECONDS,
    OUTCOMES_SECONDS,
    PushTransitions,
    still_wanted,
)
from curhat.kit.database import Database
from curhat.kit.errors import PresenceUnknown
from curhat.kit.identity import Role
from curhat.notifications import port
from curhat.notifications.outbox import Outbox
from tests.simulation.checker import Checker
from tests.simulation.fake_gateway import SimulatedPresence

# Stores a sign-in and its subscription as the product does.
SUBSCRIBE = """
WITH sign_in AS (
    INSERT INTO access_tokens (digest, role, user_id, transport, expires_at)
    VALUES ($3::text::bytea, $1, $2, 'cookie', curhat_now() + interval '1 year')
    RETURNING digest, role, user_id
)
INSERT INTO push_subscriptions (role, user_id, token_digest, endpoint, p256dh, auth, language)
SELECT role, user_id, digest, $3, decode(repeat('04', 65), 'hex'), decode(repeat('00', 16), 'hex'), 'id' FROM sign_in
"""

# Finds the message that the product sends now, and whether the subject of the message still needs a push. If several
# pushes are equal, the query returns several rows, those first that wait in the outbox.
MESSAGE_TO_SEND = """
SELECT messages.id, messages.kind, messages.reason_at, messages.done_at IS NULL AS is_waiting,
    subscriptions.role, subscriptions.user_id,
    CASE messages.kind
        WHEN 'request_offered' THEN EXISTS (
            SELECT 1 FROM requests JOIN pairings ON pairings.id = requests.pairing_id
            WHERE requests.id = subject_id AND requests.status = 'offered' AND pairings.status = 'open')
        WHEN 'matched' THEN EXISTS (SELECT 1 FROM sessions WHERE id = subject_id AND status = 'active')
        WHEN 'search_failed' THEN EXISTS (SELECT 1 FROM payments WHERE id = subject_id AND status = 'unserved')
        WHEN 'fallback_offered' THEN EXISTS (SELECT 1 FROM pairings WHERE id = subject_id AND fallback_status = 'open')
        WHEN 'decided' THEN EXISTS (SELECT 1 FROM review_cases WHERE id = subject_id AND status = 'decided')
        WHEN 'refunded' THEN EXISTS (SELECT 1 FROM refunds WHERE id = subject_id AND status = 'done')
        WHEN 'notice' THEN EXISTS (SELECT 1 FROM notices WHERE id = subject_id AND acknowledged_at IS NULL)
        WHEN 'extension_requested' THEN EXISTS (SELECT 1 FROM extensions WHERE id = subject_id AND status = 'pending')
        ELSE EXISTS (SELECT 1 FROM messages AS chat WHERE chat.id = subject_id AND chat.read_at IS NULL)
    END AS is_wanted
FROM push_messages AS messages JOIN push_subscriptions AS subscriptions ON subscriptions.id = messages.subscription_id
WHERE messages.subscription_id = $1 AND messages.topic = $2 AND messages.payload = $3
ORDER BY messages.done_at IS NOT NULL, messages.id
"""

# Finds events that need a push, but have neither an armed deadline nor a message in the outbox. Also finds mitras who
# are marked as reachable or unreachable by mistake.
FORGOTTEN = f"""
WITH subscribed AS (
    SELECT role, user_id, array_agg(id) AS ids FROM push_subscriptions WHERE failed_at IS NULL GROUP BY role, user_id
), reasons AS (
    SELECT 'push_requests' AS deadline, requests.pairing_id AS entity_id, 'request_offered' AS kind,
        requests.id AS subject_id, requests.mitra_id AS user_id, 'mitra' AS role, requests.offered_at AS reason_at
    FROM requests JOIN pairings ON pairings.id = requests.pairing_id
    WHERE requests.status = 'offered' AND pairings.status = 'open' AND pairings.deadline_at > curhat_now()
    UNION ALL
    SELECT 'push_match', id, 'matched', id, customer_id, 'customer', started_at FROM sessions
    WHERE status = 'active' AND ends_at > curhat_now()
        AND started_at > curhat_now() - interval '{MATCH_SECONDS} seconds'
    UNION ALL
    SELECT 'push_messages', sessions.id, 'message', newest.id, sessions.customer_id, 'customer', newest.sent_at
    FROM sessions JOIN LATERAL (
        SELECT id, sent_at FROM messages
        WHERE session_id = sessions.id AND sender = 'mitra' AND read_at IS NULL ORDER BY id DESC LIMIT 1
    ) AS newest ON newest.sent_at > curhat_now() - interval '{MESSAGES_SECONDS} seconds'
    UNION ALL
    SELECT 'push_outcomes', payment_id, 'fallback_offered', id, customer_id, 'customer', decided_at FROM pairings
    WHERE fallback_status = 'open' AND fallback_answer_by > curhat_now()
        AND decided_at > curhat_now() - interval '{OUTCOMES_SECONDS} seconds'
    UNION ALL
    SELECT 'push_outcomes', payments.id, 'search_failed', payments.id, payments.customer_id, 'customer',
        events.occurred_at
    FROM payments JOIN failed_pairing_events AS events ON events.payment_id = payments.id
    WHERE payments.status = 'unserved' AND events.occurred_at > curhat_now() - interval '{OUTCOMES_SECONDS} seconds'
        AND events.tag IN ('no_mitra_available', 'all_mitras_rejected', 'payment_session_expired')
    UNION ALL
    SELECT 'push_outcomes', payment_id, 'decided', cases.id, customer_id, 'customer', cases.effective_at
    FROM (
        SELECT review_cases.*, payments.customer_id, coalesce(approved_at, decided_at) AS effective_at
        FROM review_cases JOIN payments ON payments.id = payment_id
    ) AS cases
    WHERE cases.status = 'decided' AND (NOT needs_approval OR approved_by IS NOT NULL)
        AND effective_at > curhat_now() - interval '{OUTCOMES_SECONDS} seconds'
        AND NOT EXISTS (
            SELECT 1 FROM refunds
            WHERE refunds.payment_id = cases.payment_id AND refunds.status = 'done' AND answered_at >= effective_at)
    UNION ALL
    SELECT 'push_outcomes', payments.id, 'refunded', refunds.id, payments.customer_id, 'customer', refunds.answered_at
    FROM refunds JOIN payments ON payments.id = refunds.payment_id
    WHERE refunds.status = 'done' AND refunds.answered_at > curhat_now() - interval '{OUTCOMES_SECONDS} seconds'
    UNION ALL
    SELECT 'push_notice', id, 'notice', id, user_id, role, created_at FROM notices
    WHERE acknowledged_at IS NULL AND created_at > curhat_now() - interval '{NOTICE_SECONDS} seconds'
)
SELECT reasons.kind, reasons.subject_id, reasons.user_id, reasons.role, reasons.reason_at
FROM reasons JOIN subscribed USING (role, user_id)
WHERE NOT EXISTS (
        SELECT 1 FROM deadlines WHERE deadlines.kind = reasons.deadline AND deadlines.entity_id = reasons.entity_id)
    AND NOT EXISTS (
        SELECT 1 FROM push_messages
        WHERE subscription_id = ANY (subscribed.ids) AND push_messages.kind = reasons.kind
            AND push_messages.subject_id = reasons.subject_id AND push_messages.reason_at >= reasons.reason_at)
UNION ALL
SELECT 'push_ready', id, id, 'mitra', NULL FROM mitras
WHERE push_ready <> EXISTS (SELECT 1 FROM subscribed WHERE role = 'mitra' AND user_id = mitras.id)
"""

# The possible reactions of a push service to a push, each with its weight when `trouble` is 1.
BEHAVIOURS: Mapping[str, float] = {"silent": 3.0, "overloaded": 1.0, "refuses": 2.0, "gone": 1.0}
OUTCOMES: Mapping[str, port.Outcome] = {
    "delivers": port.Delivered(),
    "silent": port.TIMED_OUT,
    "overloaded": port.Unavailable("429", retry_after_seconds=2.0, is_their_limit=True),
    "refuses": port.Refused("400"),
    "gone": port.Gone(),
}


class PushDevices:
    """The subscriptions, the push services, and the part of a worker that sends pushes."""

    def __init__(
        self,
        database: Database,
        random_source: random.Random,
        presence: SimulatedPresence,
        trouble: float,
        reached: set[str],
    ) -> None:
        self._database = database
        self._random = random_source
        self._presence = presence
        self._trouble = trouble
        self._reached = reached
        self._endpoints: list[str] = []
        self._behaviours: dict[str, str] = {}
        # The messages that a push service has accepted, each with the time of the event that caused the push.
        self._accepted: set[tuple[int, datetime]] = set()
        self._broken: list[str] = []
        # The time at which each customer was last connected. A customer who is connected needs no push.
        self._customers: set[UUID] = set()
        self._left_at: dict[UUID, datetime] = {}
        # The look-ups of recipients that a worker must make after a commit. If the worker is killed, these look-ups are
        # lost.
        self._look_ups: list[FollowUp] = []
        self.outbox = Outbox(database, self, self._connected_among, partial(still_wanted, database))
        self._transitions = PushTransitions(database, self._connected_among, self.outbox.wake).by_kind()

    def by_kind(self) -> Mapping[str, Transition]:
        """The transitions of the push deadlines. The look-up after each transition waits until `send` is called."""

        def keeping(transition: Transition) -> Transition:
            async def run(tx: Any, deadline: Any) -> None:
                if (look_up := await transition(tx, deadline)) is not None:
                    self._look_ups.append(look_up)

            return run

        return {kind: keeping(transition) for kind, transition in self._transitions.items()}

    async def set_up(self, people: Sequence[tuple[Role, UUID]], customers: Sequence[UUID]) -> None:
        """Subscribe half of these people. The function marks half of the customers as connected."""
        for number, (role, user_id) in enumerate(people):
            if self._random.random() < 0.5:
                # The outbox treats one of the two push services as a known service.
                service = ("fcm.googleapis.com", "service.example")[number % 2]
                endpoint = f"https://{service}/{number}"
                await self._database.execute(SUBSCRIBE, role, user_id, endpoint)
                self._endpoints.append(endpoint)
        self._customers = {customer for customer in customers if self._random.random() < 0.5}

    async def _connected_among(self, role: Role, user_ids: Sequence[UUID]) -> set[UUID]:
        if role == "mitra":
            return await self._presence.connected_among(user_ids)
        if self._presence.unknown:
            raise PresenceUnknown
        return self._customers.intersection(user_ids)

    def customer_comes_or_goes(self, customer: UUID, now: datetime) -> str:
        """Let a customer open or leave the app."""
        self._customers ^= {customer}
        self._left_at[customer] = now
        return "back" if customer in self._customers else "gone"

    def lose_look_ups(self) -> int:
        """Simulate a worker that dies after its commits. Returns the number of lost look-ups."""
        lost = len(self._look_ups)
        self._look_ups.clear()
        return lost

    async def send(self) -> tuple[str | None, list[str]]:
        """Let a worker look up the recipients and send all messages that are due.

        Returns the actions of the worker and the detected faults. The actions are None if nothing was due.
        """
        look_ups, self._look_ups = self._look_ups, []
        for look_up in look_ups:
            await look_up()
        # Choose the reactions before the outbox sends several messages concurrently. The same seed therefore leads to
        # the same choices.
        for endpoint in self._endpoints:
            if self._behaviours.get(endpoint) != "gone":
                self._behaviours[endpoint] = self._random.choices(
                    ["delivers", *BEHAVIOURS],
                    [8, *(weight * self._trouble for weight in BEHAVIOURS.values())],
                )[0]
        sent = await self.outbox.send_due()
        await self.outbox.settle()
        broken, self._broken = self._broken, []
        return (f"{len(look_ups)} reasons, {sent=}" if look_ups or sent else None), broken

    async def deliver(self, subscription_id: UUID, address: port.Address, push: port.Push) -> port.Outcome:
        """See PushChannel."""
        assert isinstance(address, port.BrowserAddress)
        payload = push.payload.decode()
        rows = await self._database.fetch(MESSAGE_TO_SEND, subscription_id, push.topic, payload)
        behaviour = self._behaviours[address.endpoint]
        waiting = [each for each in rows if each["is_waiting"]]
        if not waiting:
            # Perhaps a concurrent message has already found that the subscription is gone.
            if behaviour != "gone":
                self._broken.append(f"a push that does not wait in the outbox: {payload}")
            return OUTCOMES[behaviour]
        what = f"{rows[0]['kind']} to {rows[0]['role']} {rows[0]['user_id']}"
        if not any(each["is_wanted"] for each in waiting):
            self._broken.append(f"a push whose reason is over: {what}")
        if not self._presence.unknown and await self._connected_among(rows[0]["role"], [rows[0]["user_id"]]):
            self._broken.append(f"a push to a person who is connected: {what}")
        # The pushes about two messages of a chat, or about two refunds of a payment, can be equal. They are sent
        # concurrently. So this push is perhaps an equal one whose name another push has taken, and which is done.
        row = next((each for each in rows if (each["id"], each["reason_at"]) not in self._accepted), rows[0])
        reason = (row["id"], row["reason_at"])
        if reason in self._accepted:
            self._broken.append(f"a second push for the same reason: {what}")
        if behaviour == "delivers":
            self._accepted.add(reason)
            self._reached.add(f"push {row['kind']}")
        else:
            self._reached.add(f"push service {behaviour}")
        return OUTCOMES[behaviour]

    async def forgotten(self, checker: Checker, *, compares_times: bool) -> list[str]:
        """Describe each event that needs a push, but has neither a deadline nor a message for the push.

        `compares_times` is true if the clock never went back.
        """
        return [
            f"nothing will push {row['kind']} {row['subject_id']} to {row['role']} {row['user_id']}"
            for row in await checker.fetch(FORGOTTEN)
            if row["reason_at"] is None
            or (compares_times and not self._was_connected_since(row["user_id"], row["reason_at"]))
        ]

    def _was_connected_since(self, user_id: UUID, at: datetime) -> bool:
        left_at = self._left_at.get(user_id)
        return user_id in self._customers or (left_at is not None and left_at >= at)
