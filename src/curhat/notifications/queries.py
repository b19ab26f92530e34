"""Generated from queries.sql by `make contracts`. Do not edit."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from curhat.kit.database import Executor, NoRow, rows_changed
from curhat.kit.identity import Role
from curhat.notifications.port import SubscriptionKind
from curhat.notifications.templates import Language, PushKind

LOCK_PERSON: Final = """
SELECT FROM people WHERE id = $1 FOR NO KEY UPDATE
"""


async def lock_person(db: Executor, /, *, user_id: UUID) -> None:
    """Lock the person's row, so that changes to one person's subscriptions happen one after the other."""
    await db.execute(LOCK_PERSON, user_id)


LOCK_ENDPOINT: Final = """
SELECT FROM pg_advisory_xact_lock(hashtextextended('push subscription at ' || $1::text, 0))
"""


async def lock_endpoint(db: Executor, /, *, endpoint: str) -> None:
    """Take the endpoint's advisory lock for this transaction. If two people subscribe in the same browser, the second
    transaction waits for the first transaction."""
    await db.execute(LOCK_ENDPOINT, endpoint)


DELETE_EARLIER_OWNER: Final = """
DELETE FROM push_subscriptions
WHERE endpoint = $1 AND p256dh = $2 AND auth = $3 AND token_digest <> $4
"""


async def delete_earlier_owner(
    db: Executor, /, *, endpoint: str, p256dh: bytes, auth: bytes, token_digest: bytes
) -> None:
    """Delete the existing subscription of this browser or app if it belongs to another person or to an earlier sign-in."""
    await db.execute(DELETE_EARLIER_OWNER, endpoint, p256dh, auth, token_digest)


UPSERT_SUBSCRIPTION: Final = """
INSERT INTO push_subscriptions (kind, role, user_id, token_digest, endpoint, p256dh, auth, language)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT ON CONSTRAINT push_subscriptions_one_owner DO UPDATE
SET language = excluded.language, failures = 0, failed_at = NULL
"""


async def upsert_subscription(
    db: Executor,
    /,
    *,
    subscription_kind: SubscriptionKind,
    role: Role,
    user_id: UUID,
    token_digest: bytes,
    endpoint: str,
    p256dh: bytes,
    auth: bytes,
    language: Language,
) -> None:
    """Insert the subscription. If the subscription exists already, set its language and clear its failures."""
    await db.execute(
        UPSERT_SUBSCRIPTION, subscription_kind, role, user_id, token_digest, endpoint, p256dh, auth, language
    )


DELETE_OLDEST_SUBSCRIPTIONS: Final = """
DELETE FROM push_subscriptions WHERE id IN (
    SELECT id FROM push_subscriptions WHERE role = $1 AND user_id = $2
    ORDER BY id DESC OFFSET $3
)
"""


async def delete_oldest_subscriptions(
    db: Executor, /, *, role: Role, user_id: UUID, max_subscriptions: int
) -> None:
    """Delete the person's subscriptions except the newest @max_subscriptions."""
    await db.execute(DELETE_OLDEST_SUBSCRIPTIONS, role, user_id, max_subscriptions)


WRITE_MITRA_SEEN: Final = """
UPDATE mitras SET last_seen_at = greatest(last_seen_at, curhat_now()) WHERE id = $1
"""


async def write_mitra_seen(db: Executor, /, *, mitra_id: UUID) -> None:
    """Set mitras.last_seen_at to now, because a mitra who subscribes is using the app."""
    await db.execute(WRITE_MITRA_SEEN, mitra_id)


DELETE_SUBSCRIPTIONS_AT: Final = """
DELETE FROM push_subscriptions WHERE role = $1 AND user_id = $2 AND endpoint = $3
"""


async def delete_subscriptions_at(db: Executor, /, *, role: Role, user_id: UUID, endpoint: str) -> int:
    """Delete the person's subscriptions with this endpoint."""
    return rows_changed(await db.execute(DELETE_SUBSCRIPTIONS_AT, role, user_id, endpoint))


SECONDS_UNTIL_TEST_ALLOWED: Final = """
SELECT extract(epoch FROM max(messages.reason_at) + make_interval(secs => $1) - curhat_now())::float8
    AS seconds
FROM push_messages AS messages JOIN push_subscriptions AS subscriptions ON subscriptions.id = messages.subscription_id
WHERE subscriptions.role = 'mitra' AND subscriptions.user_id = $2 AND messages.kind = 'test'
"""


async def seconds_until_test_allowed(
    db: Executor, /, *, seconds_per_test: float, mitra_id: UUID
) -> float | None:
    """Compute the seconds until the mitra is allowed to send another test push. The result is null if the mitra has sent no
    test push, and negative if the wait is over."""
    row = await db.fetchrow(SECONDS_UNTIL_TEST_ALLOWED, seconds_per_test, mitra_id)
    if row is None:
        raise NoRow(SECONDS_UNTIL_TEST_ALLOWED)
    value: float | None = row[0]
    return value


class Subscription(msgspec.Struct, frozen=True):
    id: UUID
    user_id: UUID
    language: Language


LIST_SUBSCRIPTIONS_OF_MITRA: Final = """
SELECT id, user_id, language FROM push_subscriptions WHERE role = 'mitra' AND user_id = $1
"""


async def list_subscriptions_of_mitra(db: Executor, /, *, mitra_id: UUID) -> list[Subscription]:
    """List all subscriptions of the mitra, including failed subscriptions. If a test push arrives at a failed subscription,
    the worker clears the subscription's failures."""
    return [Subscription(*row) for row in await db.fetch(LIST_SUBSCRIPTIONS_OF_MITRA, mitra_id)]


LIST_GOOD_SUBSCRIPTIONS: Final = """
SELECT id, user_id, language FROM push_subscriptions
WHERE role = $1 AND user_id = ANY ($2::uuid[]) AND failed_at IS NULL
ORDER BY user_id, id
"""


async def list_good_subscriptions(
    db: Executor, /, *, role: Role, user_ids: Sequence[UUID]
) -> list[Subscription]:
    """List these people's subscriptions that have not failed."""
    return [Subscription(*row) for row in await db.fetch(LIST_GOOD_SUBSCRIPTIONS, role, user_ids)]


ENQUEUE_MESSAGES: Final = """
INSERT INTO push_messages (subscription_id, kind, subject_id, topic, payload, reason_at, expires_at)
SELECT given.subscription_id, given.kind, given.subject_id, given.topic, given.payload, given.reason_at,
    given.expires_at
FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[], $5::text[],
        $6::timestamptz[], $7::timestamptz[])
    AS given (subscription_id, kind, subject_id, topic, payload, reason_at, expires_at)
JOIN push_subscriptions ON push_subscriptions.id = given.subscription_id
ORDER BY given.subscription_id, given.kind, given.subject_id
ON CONFLICT ON CONSTRAINT push_messages_once DO UPDATE
SET topic = excluded.topic, payload = excluded.payload, reason_at = excluded.reason_at,
    expires_at = excluded.expires_at, due_at = curhat_now(), attempts = 0, done_at = NULL
WHERE push_messages.reason_at < excluded.reason_at
"""


async def enqueue_messages(
    db: Executor,
    /,
    *,
    subscription_ids: Sequence[UUID],
    kinds: Sequence[str],
    subject_ids: Sequence[UUID],
    topics: Sequence[str],
    payloads: Sequence[str],
    reason_at: Sequence[datetime],
    expires_at: Sequence[datetime],
) -> None:
    """Insert push messages that wait to be sent. The table holds one message per subscription, kind and subject. If a new
    message has a later `reason_at` than the stored message, the statement replaces the stored message, and the new
    message waits to be sent. The statement inserts no message for a subscription that no longer exists."""
    await db.execute(
        ENQUEUE_MESSAGES, subscription_ids, kinds, subject_ids, topics, payloads, reason_at, expires_at
    )


class ClaimedMessage(msgspec.Struct, frozen=True):
    id: int
    kind: PushKind
    subject_id: UUID
    topic: str
    payload: str
    attempts: int
    left_seconds: float
    age_seconds: float
    subscription_id: UUID
    role: Role
    user_id: UUID
    endpoint: str
    subscription_kind: SubscriptionKind
    service: str
    p256dh: bytes
    auth: bytes
    failures: int
    is_signed_in: bool


CLAIM_MESSAGES: Final = """
WITH due_messages AS MATERIALIZED (
    SELECT push_messages.id, services.service
    FROM push_messages JOIN push_subscriptions ON push_subscriptions.id = push_messages.subscription_id
    CROSS JOIN LATERAL (
        SELECT CASE push_subscriptions.kind WHEN 'fcm' THEN 'fcm'
            ELSE coalesce(substring(push_subscriptions.endpoint, $1::text), 'other') END AS service
    ) AS services
    WHERE done_at IS NULL AND due_at <= (SELECT curhat_now()) AND expires_at > (SELECT curhat_now())
        AND push_messages.kind = ANY ($2::text[])
        AND services.service <> ALL ($3::text[])
    ORDER BY due_at
    LIMIT $4
    FOR NO KEY UPDATE OF push_messages SKIP LOCKED
)
UPDATE push_messages
SET due_at = curhat_now() + make_interval(secs => $5), attempts = push_messages.attempts + 1
FROM due_messages, push_subscriptions AS subscriptions
LEFT JOIN access_tokens AS tokens ON tokens.digest = subscriptions.token_digest
WHERE push_messages.id = due_messages.id AND subscriptions.id = push_messages.subscription_id
RETURNING push_messages.id, push_messages.kind, push_messages.subject_id, push_messages.topic, push_messages.payload,
    push_messages.attempts, extract(epoch FROM push_messages.expires_at - curhat_now())::float8 AS left_seconds,
    extract(epoch FROM curhat_now() - push_messages.reason_at)::float8 AS age_seconds,
    subscriptions.id AS subscription_id, subscriptions.role, subscriptions.user_id, subscriptions.endpoint,
    subscriptions.kind AS subscription_kind,
    due_messages.service,
    subscriptions.p256dh, subscriptions.auth,
    subscriptions.failures,
    coalesce(tokens.revoked_at IS NULL AND tokens.expires_at > curhat_now(), false) AS is_signed_in
"""


async def claim_messages(
    db: Executor,
    /,
    *,
    known_endpoint: str,
    kinds: Sequence[str],
    busy_services: Sequence[str],
    max_messages: int,
    claim_seconds: float,
) -> list[ClaimedMessage]:
    """Claim at most @max_messages due messages of these kinds, oldest first, except messages to @busy_services. A message of
    an unknown kind waits for a worker of a newer release. A claimed message is due again after @claim_seconds. The
    worker's attempt to send the message has certainly ended after @claim_seconds. `service` names the push service. The
    name is `fcm`, `other`, or the part of the endpoint that the regular expression @known_endpoint captures."""
    return [
        ClaimedMessage(*row)
        for row in await db.fetch(
            CLAIM_MESSAGES, known_endpoint, kinds, busy_services, max_messages, claim_seconds
        )
    ]


COUNT_WAITING_MESSAGES: Final = """
SELECT count(*) AS waiting FROM push_messages
WHERE done_at IS NULL AND due_at <= (SELECT curhat_now()) AND expires_at > (SELECT curhat_now())
"""


async def count_waiting_messages(db: Executor, /) -> int:
    """Count the due messages that no worker has claimed."""
    row = await db.fetchrow(COUNT_WAITING_MESSAGES)
    if row is None:
        raise NoRow(COUNT_WAITING_MESSAGES)
    value: int = row[0]
    return value


FINISH_MESSAGES: Final = """
UPDATE push_messages SET done_at = curhat_now() WHERE id = ANY ($1::bigint[])
"""


async def finish_messages(db: Executor, /, *, ids: Sequence[int]) -> None:
    """Mark these push messages as done."""
    await db.execute(FINISH_MESSAGES, ids)


DELETE_UNWANTED_MESSAGES: Final = """
DELETE FROM push_messages WHERE id = ANY ($1::bigint[]) AND done_at IS NULL
"""


async def delete_unwanted_messages(db: Executor, /, *, ids: Sequence[int]) -> None:
    """Delete the push messages with these ids, except messages that are done."""
    await db.execute(DELETE_UNWANTED_MESSAGES, ids)


POSTPONE_MESSAGE: Final = """
UPDATE push_messages SET due_at = curhat_now() + make_interval(secs => $1) WHERE id = $2
"""


async def postpone_message(db: Executor, /, *, wait_seconds: float, id: int) -> None:
    """Postpone a waiting message: set its due time to @wait_seconds from now."""
    await db.execute(POSTPONE_MESSAGE, wait_seconds, id)


DELETE_SUBSCRIPTION: Final = """
DELETE FROM push_subscriptions WHERE id = $1
"""


async def delete_subscription(db: Executor, /, *, id: UUID) -> int:
    """Delete the subscription. PostgreSQL also deletes the subscription's messages."""
    return rows_changed(await db.execute(DELETE_SUBSCRIPTION, id))


RESET_FAILURES: Final = """
UPDATE push_subscriptions SET failures = 0, failed_at = NULL WHERE id = $1
"""


async def reset_failures(db: Executor, /, *, id: UUID) -> int:
    """Clear the failures of the subscription."""
    return rows_changed(await db.execute(RESET_FAILURES, id))


COUNT_FAILURE: Final = """
UPDATE push_subscriptions
SET failures = failures + 1,
    failed_at = CASE WHEN failures + 1 >= $1 THEN coalesce(failed_at, curhat_now()) END
WHERE id = $2
RETURNING failures = $1 AS failed_now
"""


async def count_failure(db: Executor, /, *, max_failures: int, id: UUID) -> bool | None:
    """Add 1 to the subscription's failures. When the failures reach @max_failures, mark the subscription as failed. Returns
    whether this statement marked the subscription as failed. Returns no row if the subscription was deleted."""
    row = await db.fetchrow(COUNT_FAILURE, max_failures, id)
    if row is None:
        return None
    value: bool = row[0]
    return value


PRUNE_MESSAGES: Final = """
DELETE FROM push_messages WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM push_messages WHERE expires_at < (SELECT curhat_now())
    ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED
))
"""


async def prune_messages(db: Executor, /, *, max_rows: int) -> int:
    """Delete at most @max_rows expired messages, oldest first."""
    return rows_changed(await db.execute(PRUNE_MESSAGES, max_rows))


class PrunedSubscription(msgspec.Struct, frozen=True):
    role: Role
    user_id: UUID


PRUNE_SUBSCRIPTIONS: Final = """
DELETE FROM push_subscriptions WHERE ctid = ANY (ARRAY(
    SELECT subscriptions.ctid
    FROM access_tokens AS tokens JOIN push_subscriptions AS subscriptions ON subscriptions.token_digest = tokens.digest
    WHERE least(tokens.expires_at, tokens.revoked_at) < (SELECT curhat_now())
    ORDER BY least(tokens.expires_at, tokens.revoked_at) DESC
    LIMIT $1
    FOR UPDATE OF subscriptions SKIP LOCKED
))
RETURNING role, user_id
"""


async def prune_subscriptions(db: Executor, /, *, max_rows: int) -> list[PrunedSubscription]:
    """Delete at most @max_rows subscriptions whose access token is no longer valid, those first that ended last. Returns the
    owners of the deleted subscriptions. A token is deleted a week after its end, so the index access_tokens_by_end has
    few ended tokens."""
    return [PrunedSubscription(*row) for row in await db.fetch(PRUNE_SUBSCRIPTIONS, max_rows)]


DELETE_SUBSCRIPTIONS_OF: Final = """
DELETE FROM push_subscriptions WHERE user_id = $1 AND role = $2
"""


async def delete_subscriptions_of(db: Executor, /, *, user_id: UUID, role: Role) -> None:
    """Delete the subscriptions of a deleted account, with their messages."""
    await db.execute(DELETE_SUBSCRIPTIONS_OF, user_id, role)
