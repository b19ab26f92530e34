-- name: lock_phone
-- Takes the lock of phone $1 for this transaction. A statement of its own: the next one sees what the last holder
-- has committed.
SELECT pg_advisory_xact_lock(hashtextextended('one-time codes of ' || $1::text, 0))

-- name: next_code
-- The id for a code to phone $1, and the seconds until that phone may be sent one; null or negative: now.
-- $2 codes an hour that were not used, $3 codes an hour in all; the last one that still counts says how long.
WITH moment AS MATERIALIZED (
    SELECT curhat_now() AS now
), recent AS MATERIALIZED (
    SELECT codes.id, codes.created_at, codes.resend_after, codes.consumed_at
    FROM one_time_codes AS codes, moment
    WHERE codes.phone_number = $1 AND codes.created_at > moment.now - interval '1 hour'
), waits AS (
    (SELECT CASE WHEN consumed_at IS NULL THEN resend_after END AS until
     FROM recent ORDER BY created_at DESC, id DESC LIMIT 1)
    UNION ALL
    (SELECT created_at + interval '1 hour' FROM recent WHERE consumed_at IS NULL
     ORDER BY created_at DESC, id DESC OFFSET $2::integer - 1 LIMIT 1)
    UNION ALL
    (SELECT created_at + interval '1 hour' FROM recent
     ORDER BY created_at DESC, id DESC OFFSET $3::integer - 1 LIMIT 1)
)
SELECT uuidv7() AS id,
    (SELECT extract(epoch FROM max(waits.until) - moment.now)::double precision FROM waits) AS wait_seconds
FROM moment

-- name: insert_code
-- nothing → sent. $4 digest, $5 seconds until it may be asked for again, $6 seconds it is good for.
INSERT INTO one_time_codes (id, role, phone_number, code_digest, created_at, resend_after, expires_at)
SELECT $1, $2, $3, $4, now, now + make_interval(secs => $5), now + make_interval(secs => $6)
FROM curhat_now() AS now
RETURNING created_at, resend_after, expires_at

-- name: lock_phone_of_code
-- Takes the lock of the phone that the code $1 of role $2 was sent to. No row: there is no such code.
SELECT phone_number, pg_advisory_xact_lock(hashtextextended('one-time codes of ' || phone_number, 0))
FROM one_time_codes WHERE id = $1 AND role = $2

-- name: code_to_verify
-- Code $1, under its lock: whether it can still be used ($2 tries a code), and the seconds until its phone may try
-- again at all ($3 wrong tries an hour; null or negative: now). Tries are noted on their codes, which are good for
-- $4 seconds: one within the last hour is on a code of the last hour and $4 seconds.
WITH locked AS MATERIALIZED (
    SELECT phone_number, code_digest, wrong_tries, expires_at, consumed_at
    FROM one_time_codes WHERE id = $1 FOR NO KEY UPDATE
), moment AS MATERIALIZED (
    SELECT curhat_now() AS now, interval '1 hour' + make_interval(secs => $4) AS memory, count(*) AS locks
    FROM locked
), tries AS (
    SELECT codes.created_at, sum(codes.wrong_tries) OVER (ORDER BY codes.created_at DESC, codes.id DESC) AS so_far
    FROM locked, moment, one_time_codes AS codes
    WHERE codes.phone_number = locked.phone_number AND codes.created_at > moment.now - moment.memory
)
SELECT locked.phone_number, locked.code_digest,
    locked.consumed_at IS NULL AND locked.wrong_tries < $2 AND locked.expires_at > moment.now AS is_live,
    (SELECT extract(epoch FROM max(tries.created_at) + moment.memory - moment.now)::double precision
     FROM tries WHERE tries.so_far >= $3) AS wait_seconds
FROM locked, moment

-- name: note_wrong_try
-- One more wrong try on code $1.
UPDATE one_time_codes SET wrong_tries = wrong_tries + 1 WHERE id = $1

-- name: use_code
-- live → used.
UPDATE one_time_codes SET consumed_at = curhat_now() WHERE id = $1

-- name: customer_of_phone
SELECT customers.id, customers.call_name
FROM people JOIN customers USING (id) WHERE people.phone_number = $1

-- name: mitra_of_phone
SELECT mitras.id, mitras.display_name, mitras.suspended_at IS NOT NULL AS suspended
FROM people JOIN mitras USING (id) WHERE people.phone_number = $1

-- name: ensure_person
-- nothing → a person with phone $1; somebody who is there stays as they are.
INSERT INTO people (phone_number) VALUES ($1)
ON CONFLICT (phone_number) DO UPDATE SET phone_number = excluded.phone_number
RETURNING id

-- name: insert_customer
-- person → customer too.
INSERT INTO customers (id, call_name) VALUES ($1, $2)

-- name: insert_mitra
-- person → mitra too. No row: a mitra already, who stays as they are.
INSERT INTO mitras (id, display_name, max_customers) VALUES ($1, $2, $3)
ON CONFLICT (id) DO NOTHING
RETURNING id

-- name: insert_token
-- nothing → good for $5 seconds.
INSERT INTO access_tokens (digest, role, user_id, transport, created_at, expires_at)
SELECT $1, $2, $3, $4, now, now + make_interval(secs => $5) FROM curhat_now() AS now

-- name: token
-- Whose the tokens $1 are, those that are good.
SELECT tokens.digest, tokens.role, tokens.user_id, tokens.transport, mitras.suspended_at IS NOT NULL AS suspended
FROM access_tokens AS tokens
LEFT JOIN mitras ON tokens.role = 'mitra' AND mitras.id = tokens.user_id
WHERE tokens.digest = ANY ($1::bytea[]) AND tokens.revoked_at IS NULL AND tokens.expires_at > curhat_now()

-- name: good_tokens
-- Which of the tokens $1 still admit their owner.
SELECT tokens.digest
FROM access_tokens AS tokens
LEFT JOIN mitras ON tokens.role = 'mitra' AND mitras.id = tokens.user_id
WHERE tokens.digest = ANY ($1::bytea[]) AND tokens.revoked_at IS NULL AND tokens.expires_at > curhat_now()
    AND mitras.suspended_at IS NULL

-- name: revoke_token
-- good → revoked. No row: it was not good.
UPDATE access_tokens SET revoked_at = curhat_now() WHERE digest = $1 AND revoked_at IS NULL
RETURNING digest

-- name: customer_account
SELECT customers.id, customers.call_name, people.phone_number
FROM customers JOIN people USING (id) WHERE customers.id = $1

-- name: rename_customer
-- One call name → another. No row: no such customer.
UPDATE customers SET call_name = $2 WHERE id = $1
RETURNING id

-- name: lock_mitra
SELECT display_name, max_customers, active_sessions, suspended_at FROM mitras WHERE id = $1 FOR NO KEY UPDATE

-- name: rename_mitra
-- One display name → another.
UPDATE mitras SET display_name = $2 WHERE id = $1

-- name: change_capacity
-- One capacity → another.
UPDATE mitras SET max_customers = $2 WHERE id = $1

-- name: suspend_mitra
-- admitted → suspended.
UPDATE mitras SET suspended_at = curhat_now() WHERE id = $1

-- name: lift_suspension
-- suspended → admitted.
UPDATE mitras SET suspended_at = NULL WHERE id = $1

-- name: audit
-- Who ($1) did what ($2) to which mitra ($3), from what ($4) to what ($5).
INSERT INTO audit_entries (actor, action, subject, subject_id, old_value, new_value)
VALUES ($1, $2, 'mitra', $3::uuid::text, $4, $5)

-- name: prune_codes
-- Codes that no limit looks at any more are forgotten, and with them who wanted to sign in: at most $1.
DELETE FROM one_time_codes WHERE id IN (
    SELECT id FROM one_time_codes WHERE created_at < (SELECT curhat_now() - interval '24 hours')
    LIMIT $1 FOR UPDATE SKIP LOCKED
)

-- name: prune_tokens
-- Tokens that admit nobody for a week are forgotten: at most $1.
DELETE FROM access_tokens WHERE digest IN (
    SELECT digest FROM access_tokens
    WHERE least(expires_at, revoked_at) < (SELECT curhat_now() - interval '7 days')
    LIMIT $1 FOR UPDATE SKIP LOCKED
)

-- name: add_to_inbox
-- nothing → in the inbox.
INSERT INTO development_inbox (phone_number, text, code) VALUES ($1, $2, $3)

-- name: prune_inbox
-- Messages to phone $1 before the last 20 are thrown away.
DELETE FROM development_inbox WHERE phone_number = $1 AND id <= (
    SELECT id FROM development_inbox WHERE phone_number = $1 ORDER BY id DESC OFFSET 20 LIMIT 1
)

-- name: inbox
SELECT text, code, sent_at FROM development_inbox WHERE phone_number = $1 ORDER BY id DESC
