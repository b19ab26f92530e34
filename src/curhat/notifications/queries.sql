-- name: lock_person
-- Takes the person's row: what one person does to their subscriptions happens one after the other.
SELECT id FROM people WHERE id = $1 FOR NO KEY UPDATE

-- name: lock_endpoint
-- Takes the lock of an address for this transaction: two people who bring the same browser come one after the other.
SELECT pg_advisory_xact_lock(hashtextextended('push subscription at ' || $1::text, 0))

-- name: take_over
-- somebody else's, or of an earlier sign-in → nobody's: the subscription ($1 endpoint, $2 p256dh, $3 auth), unless it
-- is of the sign-in $4 already.
DELETE FROM push_subscriptions WHERE endpoint = $1 AND p256dh = $2 AND auth = $3 AND token_digest <> $4

-- name: subscribe
-- nothing, or failed → good: the subscription ($4 endpoint, $5 p256dh, $6 auth, $7 language) of person ($1, $2)
-- under the sign-in $3.
INSERT INTO push_subscriptions (role, user_id, token_digest, endpoint, p256dh, auth, language)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT ON CONSTRAINT push_subscriptions_one_owner DO UPDATE
SET language = excluded.language, failures = 0, failed_at = NULL

-- name: keep_newest
-- Subscriptions of person ($1, $2) beyond the newest $3 → gone.
DELETE FROM push_subscriptions WHERE id IN (
    SELECT id FROM push_subscriptions WHERE role = $1 AND user_id = $2 ORDER BY id DESC OFFSET $3
)

-- name: see_mitra
-- mitras.last_seen_at → now: whoever subscribes is there.
UPDATE mitras SET last_seen_at = greatest(last_seen_at, curhat_now()) WHERE id = $1

-- name: unsubscribe
-- there → gone: the subscription with endpoint $3 of person ($1, $2).
DELETE FROM push_subscriptions WHERE role = $1 AND user_id = $2 AND endpoint = $3
RETURNING id

-- name: last_test
-- Seconds until mitra $1 may test again ($2 seconds a test); null or negative: now.
SELECT extract(epoch FROM max(messages.reason_at) + make_interval(secs => $2) - curhat_now())::float8
FROM push_messages AS messages JOIN push_subscriptions AS subscriptions ON subscriptions.id = messages.subscription_id
WHERE subscriptions.role = 'mitra' AND subscriptions.user_id = $1 AND messages.kind = 'test'

-- name: of_mitra
-- The subscriptions of mitra $1, failed ones too: a test may show that they work again.
SELECT id, language FROM push_subscriptions WHERE role = 'mitra' AND user_id = $1

-- name: good_of_people
-- The subscriptions of the people $2 (of role $1) that have not failed.
SELECT id, user_id, language FROM push_subscriptions
WHERE role = $1 AND user_id = ANY ($2::uuid[]) AND failed_at IS NULL
ORDER BY user_id, id

-- name: enqueue
-- nothing → waiting; done for an earlier reason → waiting again. One element a message: $1 subscription, $2 kind,
-- $3 subject, $4 topic, $5 payload, $6 when its reason arose, $7 until when it is worth anything. A subscription that
-- is gone meanwhile is left out.
INSERT INTO push_messages (subscription_id, kind, subject_id, topic, payload, reason_at, expires_at)
SELECT asked.subscription_id, asked.kind, asked.subject_id, asked.topic, asked.payload, asked.reason_at, asked.expires_at
FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[], $5::text[], $6::timestamptz[], $7::timestamptz[])
    AS asked (subscription_id, kind, subject_id, topic, payload, reason_at, expires_at)
JOIN push_subscriptions ON push_subscriptions.id = asked.subscription_id
ORDER BY asked.subscription_id, asked.kind, asked.subject_id
ON CONFLICT ON CONSTRAINT push_messages_once DO UPDATE
SET topic = excluded.topic, payload = excluded.payload, reason_at = excluded.reason_at,
    expires_at = excluded.expires_at, due_at = curhat_now(), attempts = 0, done_at = NULL
WHERE push_messages.reason_at < excluded.reason_at

-- name: claim
-- due → due in $2 seconds, when a try is over for certain: at most $1 messages, oldest first.
WITH due AS MATERIALIZED (
    SELECT id FROM push_messages
    WHERE done_at IS NULL AND due_at <= (SELECT curhat_now()) AND expires_at > (SELECT curhat_now())
    ORDER BY due_at
    LIMIT $1
    FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE push_messages SET due_at = curhat_now() + make_interval(secs => $2), attempts = push_messages.attempts + 1
FROM due, push_subscriptions AS subscriptions
LEFT JOIN access_tokens AS tokens ON tokens.digest = subscriptions.token_digest
WHERE push_messages.id = due.id AND subscriptions.id = push_messages.subscription_id
RETURNING push_messages.id, push_messages.kind, push_messages.subject_id, push_messages.topic, push_messages.payload,
    push_messages.attempts, extract(epoch FROM push_messages.expires_at - curhat_now())::float8 AS left_seconds,
    subscriptions.id AS subscription_id, subscriptions.role, subscriptions.user_id, subscriptions.endpoint,
    subscriptions.p256dh, subscriptions.auth, subscriptions.failures,
    tokens.revoked_at IS NULL AND tokens.expires_at > curhat_now() AS is_signed_in

-- name: note_done
-- waiting → done.
UPDATE push_messages SET done_at = curhat_now() WHERE id = ANY ($1::bigint[])

-- name: drop_messages
-- waiting → gone: nobody needs them any more.
DELETE FROM push_messages WHERE id = ANY ($1::bigint[]) AND done_at IS NULL

-- name: try_again
-- waiting → waiting, due in $2 seconds.
UPDATE push_messages SET due_at = curhat_now() + make_interval(secs => $2) WHERE id = $1

-- name: remove_subscription
-- there → gone, with all that waits for it.
DELETE FROM push_subscriptions WHERE id = $1
RETURNING user_id

-- name: works_again
-- failures → none, failed → good.
UPDATE push_subscriptions SET failures = 0, failed_at = NULL WHERE id = $1
RETURNING user_id

-- name: count_failure
-- One more failure in a row; at $2, good → failed. Says whether it has failed.
UPDATE push_subscriptions
SET failures = failures + 1,
    failed_at = CASE WHEN failures + 1 >= $2 THEN coalesce(failed_at, curhat_now()) END
WHERE id = $1
RETURNING user_id, failures = $2 AS failed_now

-- name: prune_messages
-- Messages that are worth nothing any more are forgotten: at most $1.
DELETE FROM push_messages WHERE id IN (
    SELECT id FROM push_messages WHERE expires_at < (SELECT curhat_now()) LIMIT $1 FOR UPDATE SKIP LOCKED
)

-- name: prune_subscriptions
-- Subscriptions of sign-ins that are over are forgotten: at most $1. Gives whose they were.
DELETE FROM push_subscriptions WHERE id IN (
    SELECT subscriptions.id
    FROM push_subscriptions AS subscriptions JOIN access_tokens AS tokens ON tokens.digest = subscriptions.token_digest
    WHERE tokens.expires_at < (SELECT curhat_now())
    LIMIT $1
    FOR UPDATE OF subscriptions SKIP LOCKED
)
RETURNING role, user_id
