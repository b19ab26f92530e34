-- type: role = Role from curhat.kit.identity
-- type: kind = PushKind from curhat.notifications.templates
-- type: language = Language from curhat.notifications.templates
-- type: subscription_kind = SubscriptionKind from curhat.notifications.port

-- name: lock_person :exec
-- Lock the person's row, so that changes to one person's subscriptions happen one after the other.
SELECT FROM people WHERE id = @user_id FOR NO KEY UPDATE

-- name: lock_endpoint :exec
-- Take the endpoint's advisory lock for this transaction. If two people subscribe in the same browser, the second
-- transaction waits for the first transaction.
SELECT FROM pg_advisory_xact_lock(hashtextextended('push subscription at ' || @endpoint::text, 0))

-- name: delete_earlier_owner :exec
-- Delete the existing subscription of this browser or app if it belongs to another person or to an earlier sign-in.
DELETE FROM push_subscriptions
WHERE endpoint = @endpoint AND p256dh = @p256dh AND auth = @auth AND token_digest <> @token_digest

-- name: upsert_subscription :exec
-- Insert the subscription. If the subscription exists already, set its language and clear its failures.
INSERT INTO push_subscriptions (kind, role, user_id, token_digest, endpoint, p256dh, auth, language)
VALUES (@subscription_kind, @role, @user_id, @token_digest, @endpoint, @p256dh, @auth, @language)
ON CONFLICT ON CONSTRAINT push_subscriptions_one_owner DO UPDATE
SET language = excluded.language, failures = 0, failed_at = NULL

-- name: delete_oldest_subscriptions :exec
-- Delete the person's subscriptions except the newest @max_subscriptions.
DELETE FROM push_subscriptions WHERE id IN (
    SELECT id FROM push_subscriptions WHERE role = @role AND user_id = @user_id
    ORDER BY id DESC OFFSET @max_subscriptions
)

-- name: write_mitra_seen :exec
-- Set mitras.last_seen_at to now, because a mitra who subscribes is using the app.
UPDATE mitras SET last_seen_at = greatest(last_seen_at, curhat_now()) WHERE id = @mitra_id

-- name: delete_subscriptions_at :execrows
-- Delete the person's subscriptions with this endpoint.
DELETE FROM push_subscriptions WHERE role = @role AND user_id = @user_id AND endpoint = @endpoint

-- name: seconds_until_test_allowed :one
-- Compute the seconds until the mitra is allowed to send another test push. The result is null if the mitra has sent no
-- test push, and negative if the wait is over.
-- nullable: seconds
SELECT extract(epoch FROM max(messages.reason_at) + make_interval(secs => @seconds_per_test) - curhat_now())::float8
    AS seconds
FROM push_messages AS messages JOIN push_subscriptions AS subscriptions ON subscriptions.id = messages.subscription_id
WHERE subscriptions.role = 'mitra' AND subscriptions.user_id = @mitra_id AND messages.kind = 'test'

-- name: list_subscriptions_of_mitra :many
-- List all subscriptions of the mitra, including failed subscriptions. If a test push arrives at a failed subscription,
-- the worker clears the subscription's failures.
-- row: Subscription
SELECT id, user_id, language FROM push_subscriptions WHERE role = 'mitra' AND user_id = @mitra_id

-- name: list_good_subscriptions :many
-- List these people's subscriptions that have not failed.
-- row: Subscription
SELECT id, user_id, language FROM push_subscriptions
WHERE role = @role AND user_id = ANY (@user_ids::uuid[]) AND failed_at IS NULL
ORDER BY user_id, id

-- name: enqueue_messages :exec
-- Insert push messages that wait to be sent. The table holds one message per subscription, kind and subject. If a new
-- message has a later `reason_at` than the stored message, the statement replaces the stored message, and the new
-- message waits to be sent. The statement inserts no message for a subscription that no longer exists.
INSERT INTO push_messages (subscription_id, kind, subject_id, topic, payload, reason_at, expires_at)
SELECT given.subscription_id, given.kind, given.subject_id, given.topic, given.payload, given.reason_at,
    given.expires_at
FROM unnest(@subscription_ids::uuid[], @kinds::text[], @subject_ids::uuid[], @topics::text[], @payloads::text[],
        @reason_at::timestamptz[], @expires_at::timestamptz[])
    AS given (subscription_id, kind, subject_id, topic, payload, reason_at, expires_at)
JOIN push_subscriptions ON push_subscriptions.id = given.subscription_id
ORDER BY given.subscription_id, given.kind, given.subject_id
ON CONFLICT ON CONSTRAINT push_messages_once DO UPDATE
SET topic = excluded.topic, payload = excluded.payload, reason_at = excluded.reason_at,
    expires_at = excluded.expires_at, due_at = curhat_now(), attempts = 0, done_at = NULL
WHERE push_messages.reason_at < excluded.reason_at

-- name: claim_messages :many
-- Claim at most @max_messages due messages of these kinds, oldest first, except messages to @busy_services. A message of
-- an unknown kind waits for a worker of a newer release. A claimed message is due again after @claim_seconds. The
-- worker's attempt to send the message has certainly ended after @claim_seconds. `service` names the push service. The
-- name is `fcm`, `other`, or the part of the endpoint that the regular expression @known_endpoint captures.
-- row: ClaimedMessage
WITH due_messages AS MATERIALIZED (
    SELECT push_messages.id, services.service
    FROM push_messages JOIN push_subscriptions ON push_subscriptions.id = push_messages.subscription_id
    CROSS JOIN LATERAL (
        SELECT CASE push_subscriptions.kind WHEN 'fcm' THEN 'fcm'
            ELSE coalesce(substring(push_subscriptions.endpoint, @known_endpoint::text), 'other') END AS service
    ) AS services
    WHERE done_at IS NULL AND due_at <= (SELECT curhat_now()) AND expires_at > (SELECT curhat_now())
        AND push_messages.kind = ANY (@kinds::text[])
        AND services.service <> ALL (@busy_services::text[])
    ORDER BY due_at
    LIMIT @max_messages
    FOR NO KEY UPDATE OF push_messages SKIP LOCKED
)
UPDATE push_messages
SET due_at = curhat_now() + make_interval(secs => @claim_seconds), attempts = push_messages.attempts + 1
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

-- name: count_waiting_messages :one
-- Count the due messages that no worker has claimed.
SELECT count(*) AS waiting FROM push_messages
WHERE done_at IS NULL AND due_at <= (SELECT curhat_now()) AND expires_at > (SELECT curhat_now())

-- name: finish_messages :exec
-- Mark these push messages as done.
UPDATE push_messages SET done_at = curhat_now() WHERE id = ANY (@ids::bigint[])

-- name: delete_unwanted_messages :exec
-- Delete the push messages with these ids, except messages that are done.
DELETE FROM push_messages WHERE id = ANY (@ids::bigint[]) AND done_at IS NULL

-- name: postpone_message :exec
-- Postpone a waiting message: set its due time to @wait_seconds from now.
UPDATE push_messages SET due_at = curhat_now() + make_interval(secs => @wait_seconds) WHERE id = @id

-- name: delete_subscription :execrows
-- Delete the subscription. PostgreSQL also deletes the subscription's messages.
DELETE FROM push_subscriptions WHERE id = @id

-- name: reset_failures :execrows
-- Clear the failures of the subscription.
UPDATE push_subscriptions SET failures = 0, failed_at = NULL WHERE id = @id

-- name: count_failure :optional
-- Add 1 to the subscription's failures. When the failures reach @max_failures, mark the subscription as failed. Returns
-- whether this statement marked the subscription as failed. Returns no row if the subscription was deleted.
UPDATE push_subscriptions
SET failures = failures + 1,
    failed_at = CASE WHEN failures + 1 >= @max_failures THEN coalesce(failed_at, curhat_now()) END
WHERE id = @id
RETURNING failures = @max_failures AS failed_now

-- name: prune_messages :execrows
-- Delete at most @max_rows expired messages, oldest first.
DELETE FROM push_messages WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM push_messages WHERE expires_at < (SELECT curhat_now())
    ORDER BY expires_at LIMIT @max_rows FOR UPDATE SKIP LOCKED
))

-- name: prune_subscriptions :many
-- Delete at most @max_rows subscriptions whose access token is no longer valid, those first that ended last. Returns the
-- owners of the deleted subscriptions. A token is deleted a week after its end, so the index access_tokens_by_end has
-- few ended tokens.
-- row: PrunedSubscription
DELETE FROM push_subscriptions WHERE ctid = ANY (ARRAY(
    SELECT subscriptions.ctid
    FROM access_tokens AS tokens JOIN push_subscriptions AS subscriptions ON subscriptions.token_digest = tokens.digest
    WHERE least(tokens.expires_at, tokens.revoked_at) < (SELECT curhat_now())
    ORDER BY least(tokens.expires_at, tokens.revoked_at) DESC
    LIMIT @max_rows
    FOR UPDATE OF subscriptions SKIP LOCKED
))
RETURNING role, user_id

-- name: delete_subscriptions_of :exec
-- Delete the subscriptions of a deleted account, with their messages.
DELETE FROM push_subscriptions WHERE user_id = @user_id AND role = @role
