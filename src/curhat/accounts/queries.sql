-- type: role = Role from curhat.kit.identity
-- type: transport = Transport from curhat.accounts.schemas

-- name: lock_phone :one
-- Lock this phone number until the transaction ends. This must be a separate statement, so that the next
-- statement sees the rows that the previous lock holder committed.
SELECT pg_advisory_xact_lock(hashtextextended('one-time codes of ' || @phone_number::text, 0)) AS locked

-- name: prepare_code :one
-- Return an id for a new code, and how many seconds this phone number must wait for the code. `wait_seconds` is
-- null or negative if a code may be sent now. After the wait, every limit allows another code.
-- nullable: wait_seconds
WITH moment AS MATERIALIZED (
    SELECT curhat_now() AS now
), recent_codes AS MATERIALIZED (
    SELECT codes.id, codes.created_at, codes.resend_after, codes.consumed_at
    FROM one_time_codes AS codes, moment
    WHERE codes.phone_number = @phone_number AND codes.created_at > moment.now - interval '1 hour'
), waits AS (
    (SELECT CASE WHEN consumed_at IS NULL THEN resend_after END AS until
     FROM recent_codes ORDER BY created_at DESC, id DESC LIMIT 1)
    UNION ALL
    (SELECT created_at + interval '1 hour' FROM recent_codes WHERE consumed_at IS NULL
     ORDER BY created_at DESC, id DESC OFFSET @max_unused_codes_per_hour::integer - 1 LIMIT 1)
    UNION ALL
    (SELECT created_at + interval '1 hour' FROM recent_codes
     ORDER BY created_at DESC, id DESC OFFSET @max_codes_per_hour::integer - 1 LIMIT 1)
)
SELECT uuidv7() AS id,
    (SELECT extract(epoch FROM max(waits.until) - moment.now)::double precision FROM waits) AS wait_seconds
FROM moment

-- name: insert_code :one
-- nothing → live.
-- row: CodeTimes
INSERT INTO one_time_codes (id, role, phone_number, code_digest, created_at, resend_after, expires_at)
SELECT @id, @role, @phone_number, @code_digest, now, now + make_interval(secs => @resend_seconds),
    now + make_interval(secs => @valid_seconds)
FROM curhat_now() AS now
RETURNING created_at, resend_after, expires_at

-- name: lock_phone_of_code :optional
-- Lock the phone number to which this code was sent, in the same way as lock_phone. No row: this role has no
-- such code.
WITH locked_phone AS MATERIALIZED (
    SELECT phone_number, pg_advisory_xact_lock(hashtextextended('one-time codes of ' || phone_number, 0))
    FROM one_time_codes WHERE id = @id AND role = @role
)
SELECT phone_number FROM locked_phone

-- name: lock_code :optional
-- Lock the code. `is_live` is true if the code can still be used. `wait_seconds` says how long the code's phone
-- number must wait before the next try of any code. Null or negative: no wait. Each code's row counts the wrong
-- tries of this code. A code is valid for @valid_seconds. So all tries of the last hour are in rows that are at
-- most one hour plus @valid_seconds old.
-- nullable: wait_seconds
-- row: LockedCode
WITH locked_code AS MATERIALIZED (
    SELECT phone_number, code_digest, wrong_tries, expires_at, consumed_at
    FROM one_time_codes WHERE id = @id FOR NO KEY UPDATE
), moment AS MATERIALIZED (
    -- count(*) reads all of locked_code. So PostgreSQL takes the lock before it reads the clock.
    SELECT curhat_now() AS now, interval '1 hour' + make_interval(secs => @valid_seconds) AS memory, count(*) AS locks
    FROM locked_code
), tries AS (
    SELECT codes.created_at, sum(codes.wrong_tries) OVER (ORDER BY codes.created_at DESC, codes.id DESC) AS so_far
    FROM locked_code, moment, one_time_codes AS codes
    WHERE codes.phone_number = locked_code.phone_number AND codes.created_at > moment.now - moment.memory
)
SELECT locked_code.phone_number, locked_code.code_digest,
    locked_code.consumed_at IS NULL AND locked_code.wrong_tries < @max_tries_per_code
        AND locked_code.expires_at > moment.now AS is_live,
    (SELECT extract(epoch FROM max(tries.created_at) + moment.memory - moment.now)::double precision
     FROM tries WHERE tries.so_far >= @max_wrong_tries_per_hour) AS wait_seconds
FROM locked_code, moment

-- name: count_wrong_try :exec
UPDATE one_time_codes SET wrong_tries = wrong_tries + 1 WHERE id = @id

-- name: use_code :exec
-- live → used.
UPDATE one_time_codes SET consumed_at = curhat_now() WHERE id = @id

-- name: find_customer_by_phone :optional
SELECT customers.id, customers.call_name
FROM people JOIN customers USING (id) WHERE people.phone_number = @phone_number

-- name: find_mitra_by_phone :optional
SELECT mitras.id, mitras.display_name, mitras.suspended_at IS NOT NULL AS is_suspended
FROM people JOIN mitras USING (id) WHERE people.phone_number = @phone_number

-- name: ensure_person :one
-- Insert a person with this phone number, or find the existing person with this number. Returns the person's
-- id.
INSERT INTO people (phone_number) VALUES (@phone_number)
ON CONFLICT (phone_number) DO UPDATE SET phone_number = excluded.phone_number
RETURNING id

-- name: insert_customer :exec
-- Make the person a customer too.
INSERT INTO customers (id, call_name) VALUES (@id, @call_name)

-- name: insert_mitra :execrows
-- Make the person a mitra too. Changes no row if the person is already a mitra.
INSERT INTO mitras (id, display_name, max_customers) VALUES (@id, @display_name, @max_customers)
ON CONFLICT (id) DO NOTHING

-- name: insert_token :exec
-- nothing → valid for @valid_seconds.
INSERT INTO access_tokens (digest, role, user_id, transport, created_at, expires_at)
SELECT @digest, @role, @user_id, @transport, now, now + make_interval(secs => @valid_seconds) FROM curhat_now() AS now

-- name: find_valid_tokens :many
-- Find the tokens among @digests that are neither revoked nor expired, each with its owner.
-- row: ValidToken
SELECT tokens.digest, tokens.role, tokens.user_id, tokens.transport, mitras.suspended_at IS NOT NULL AS is_suspended
FROM access_tokens AS tokens
LEFT JOIN mitras ON tokens.role = 'mitra' AND mitras.id = tokens.user_id
WHERE tokens.digest = ANY (@digests::bytea[]) AND tokens.revoked_at IS NULL AND tokens.expires_at > curhat_now()

-- name: find_admitting_tokens :many
-- Find the tokens among @digests that are neither revoked nor expired, and whose owner is not suspended.
SELECT tokens.digest
FROM access_tokens AS tokens
LEFT JOIN mitras ON tokens.role = 'mitra' AND mitras.id = tokens.user_id
WHERE tokens.digest = ANY (@digests::bytea[]) AND tokens.revoked_at IS NULL AND tokens.expires_at > curhat_now()
    AND mitras.suspended_at IS NULL

-- name: revoke_token :execrows
-- not revoked → revoked. Changes no row if the token was already revoked.
UPDATE access_tokens SET revoked_at = curhat_now() WHERE digest = @digest AND revoked_at IS NULL

-- name: find_customer :optional
SELECT customers.id, customers.call_name, people.phone_number
FROM customers JOIN people USING (id) WHERE customers.id = @id

-- name: rename_customer :execrows
-- Change the customer's call name. Changes no row if no such customer exists.
UPDATE customers SET call_name = @call_name WHERE id = @id

-- name: lock_mitra :optional
-- Lock the mitra before an operator's change. No row: no such mitra exists.
-- row: LockedMitra
SELECT display_name, max_customers, active_sessions, suspended_at IS NOT NULL AS is_suspended
FROM mitras WHERE id = @id FOR NO KEY UPDATE

-- name: rename_mitra :exec
-- Change the mitra's display name.
UPDATE mitras SET display_name = @display_name WHERE id = @id

-- name: change_capacity :exec
-- Change the mitra's capacity.
UPDATE mitras SET max_customers = @max_customers WHERE id = @id

-- name: suspend_mitra :exec
-- admitted → suspended.
UPDATE mitras SET suspended_at = curhat_now() WHERE id = @id

-- name: lift_suspension :exec
-- suspended → admitted.
UPDATE mitras SET suspended_at = NULL WHERE id = @id

-- name: prune_codes :exec
-- Delete at most @max_codes codes that are older than a day. The limits count only newer codes. After the
-- deletion, no row shows any more that somebody asked to sign in with this phone number.
DELETE FROM one_time_codes WHERE id IN (
    SELECT id FROM one_time_codes WHERE created_at < (SELECT curhat_now() - interval '24 hours')
    LIMIT @max_codes FOR UPDATE SKIP LOCKED
)

-- name: prune_tokens :exec
-- Delete at most @max_tokens tokens that expired or were revoked more than a week ago.
DELETE FROM access_tokens WHERE digest IN (
    SELECT digest FROM access_tokens
    WHERE least(expires_at, revoked_at) < (SELECT curhat_now() - interval '7 days')
    LIMIT @max_tokens FOR UPDATE SKIP LOCKED
)

-- name: insert_inbox_message :exec
-- nothing → in the inbox.
INSERT INTO development_inbox (phone_number, text, code) VALUES (@phone_number, @text, @code)

-- name: prune_inbox :exec
-- Delete all text messages to this phone number except the newest 20.
DELETE FROM development_inbox WHERE phone_number = @phone_number AND id <= (
    SELECT id FROM development_inbox WHERE phone_number = @phone_number ORDER BY id DESC OFFSET 20 LIMIT 1
)

-- name: list_inbox :many
-- Read the text messages to this phone number, newest first.
SELECT text, code, sent_at FROM development_inbox WHERE phone_number = @phone_number ORDER BY id DESC
