-- type: role = Role from curhat.kit.identity
-- type: transport = Transport from curhat.accounts.schemas

-- name: lock_phone :one
-- Lock this phone number until the transaction ends. The lock needs a separate statement, so that the next statement
-- sees the rows that the previous lock holder committed.
SELECT pg_advisory_xact_lock(hashtextextended('one-time codes of ' || @phone_number::text, 0)) AS locked

-- name: prepare_code :one
-- Return an id for a new code, and the figures that decide how long the requester must wait for this code. `own_unused`
-- counts the unused codes that this requester asked for in the last 24 hours. Codes from before the requester's last
-- use of a code do not count. `own_age_seconds` is the age of the newest code in `own_unused`. `strangers_unused`
-- counts the unused codes of the last 24 hours that unknown devices asked for. `strangers_age_seconds` is the age of
-- the newest code in `strangers_unused`. After `used_wait_seconds`, fewer than @max_used_codes_per_hour used codes are
-- less than an hour old.
-- nullable: own_age_seconds, strangers_age_seconds, used_wait_seconds
WITH moment AS MATERIALIZED (
    SELECT curhat_now() AS now
), recent_codes AS MATERIALIZED (
    SELECT codes.created_at, codes.consumed_at, codes.is_known_device,
        coalesce(codes.requester = @requester, false) AS is_own
    FROM one_time_codes AS codes, moment
    WHERE codes.phone_number = @phone_number AND codes.created_at > moment.now - interval '24 hours'
), last_own_use AS (
    SELECT coalesce(max(consumed_at), '-infinity') AS used_at FROM recent_codes WHERE is_own
), unused_codes AS (
    SELECT recent_codes.created_at, NOT is_known_device AS is_strangers, is_own AND created_at >= used_at AS is_own
    FROM recent_codes, last_own_use WHERE consumed_at IS NULL
), used_limit AS (
    SELECT created_at + interval '1 hour' AS until
    FROM recent_codes, moment WHERE consumed_at IS NOT NULL AND created_at > moment.now - interval '1 hour'
    ORDER BY created_at DESC OFFSET @max_used_codes_per_hour::integer - 1 LIMIT 1
), counts AS (
    SELECT count(*) FILTER (WHERE is_own) AS own, max(created_at) FILTER (WHERE is_own) AS own_at,
        count(*) FILTER (WHERE is_strangers) AS strangers, max(created_at) FILTER (WHERE is_strangers) AS strangers_at
    FROM unused_codes
)
SELECT uuidv7() AS id,
    counts.own AS own_unused, extract(epoch FROM moment.now - counts.own_at)::double precision AS own_age_seconds,
    counts.strangers AS strangers_unused,
    extract(epoch FROM moment.now - counts.strangers_at)::double precision AS strangers_age_seconds,
    (SELECT extract(epoch FROM until - moment.now)::double precision FROM used_limit) AS used_wait_seconds
FROM moment, counts

-- name: insert_code :one
-- Insert a code (nothing → live).
-- row: CodeTimes
INSERT INTO one_time_codes
    (id, role, phone_number, code_digest, requester, is_known_device, created_at, resend_after, expires_at)
SELECT @id, @role, @phone_number, @code_digest, @requester, @is_known_device, now,
    now + make_interval(secs => @resend_seconds), now + make_interval(secs => @valid_seconds)
FROM curhat_now() AS now
RETURNING created_at, resend_after, expires_at

-- name: count_code_of_day :optional
-- Add 1 to today's count of codes for this country, if the count is below @max_codes. Returns the new count. Returns no
-- row if the count has reached @max_codes. The row stays locked until the transaction ends, so run this statement last.
INSERT INTO code_days (day, region, codes)
SELECT (curhat_now() AT TIME ZONE 'UTC')::date, @region, 1 WHERE @max_codes::integer > 0
ON CONFLICT (day, region) DO UPDATE SET codes = code_days.codes + 1 WHERE code_days.codes < @max_codes
RETURNING codes

-- name: prune_code_days :exec
-- Delete the counts that are more than 30 days old.
DELETE FROM code_days WHERE day < (SELECT (curhat_now() - interval '30 days')::date)

-- name: shows_owner :one
-- Return whether a request comes from the owner of this phone number. `by_token` is true if @signed_in_id is the owner.
-- `by_device` is true if the owner has signed in on the device with this digest. The statement finds people only by
-- @signed_in_id and @device_digest, so it takes the same time for every phone number.
-- nullable: @signed_in_id, @device_digest
-- row: OwnerShown
WITH device AS MATERIALIZED (
    SELECT person_id FROM known_devices
    WHERE digest = @device_digest AND created_at > curhat_now() - make_interval(secs => @valid_seconds)
)
SELECT coalesce(bool_or(phone_number = @phone_number AND id = @signed_in_id), false) AS by_token,
    coalesce(bool_or(phone_number = @phone_number AND id IN (SELECT person_id FROM device)), false) AS by_device
FROM people
WHERE id = @signed_in_id OR id IN (SELECT person_id FROM device)

-- name: lock_phone_of_code :optional
-- Lock the phone number to which this code was sent, in the same way as lock_phone. Returns no row if this role has no
-- such code.
WITH locked_phone AS MATERIALIZED (
    SELECT phone_number, pg_advisory_xact_lock(hashtextextended('one-time codes of ' || phone_number, 0))
    FROM one_time_codes WHERE id = @id AND role = @role
)
SELECT phone_number FROM locked_phone

-- name: lock_code :optional
-- Lock the code. `is_live` is true if the code can still be used.
-- row: LockedCode
WITH locked_code AS MATERIALIZED (
    SELECT phone_number, code_digest, wrong_tries, expires_at, consumed_at
    FROM one_time_codes WHERE id = @id FOR NO KEY UPDATE
), moment AS MATERIALIZED (
    -- PostgreSQL takes the lock before it reads the clock, because count(*) reads all of locked_code.
    SELECT curhat_now() AS now, count(*) AS locks FROM locked_code
)
SELECT locked_code.phone_number, locked_code.code_digest,
    locked_code.consumed_at IS NULL AND locked_code.wrong_tries < @max_tries_per_code
        AND locked_code.expires_at > moment.now AS is_live
FROM locked_code, moment

-- name: count_wrong_try :exec
UPDATE one_time_codes SET wrong_tries = wrong_tries + 1 WHERE id = @id

-- name: use_code :one
-- Use the code (live → used). Returns the digest of the network address that asked for the code, or null if a known
-- device asked.
-- nullable: stranger
UPDATE one_time_codes SET consumed_at = curhat_now() WHERE id = @id
RETURNING CASE WHEN NOT is_known_device THEN requester END AS stranger

-- name: find_own_phone :optional
-- Read the person's phone number.
SELECT phone_number FROM people WHERE id = @id

-- name: find_customer_by_phone :optional
SELECT customers.id, customers.call_name
FROM people JOIN customers USING (id)
WHERE people.phone_number = @phone_number AND customers.deleted_at IS NULL

-- name: find_mitra_by_phone :optional
-- Find the mitra, and lock the row until the transaction ends. The lock ensures that no token is made while a
-- suspension begins or ends.
SELECT mitras.id, mitras.display_name, mitras.suspended_at IS NOT NULL AS is_suspended
FROM people JOIN mitras USING (id)
WHERE people.phone_number = @phone_number AND mitras.deleted_at IS NULL FOR SHARE OF mitras

-- name: ensure_person :optional
-- Find the person with this phone number who can have the role @role, or insert one. If the number belongs to a person
-- who deleted this role, the new person has only this role. The caller holds the number's lock. Returns the person's id.
-- Returns no row if the constraint people_phone_number_key still exists and the number belongs to such a person.
WITH found AS MATERIALIZED (
    SELECT id FROM people WHERE phone_number = @phone_number AND coalesce(only_role, @role::text) = @role
), inserted AS (
    INSERT INTO people (phone_number, only_role)
    SELECT @phone_number,
        CASE WHEN EXISTS (SELECT 1 FROM people WHERE phone_number = @phone_number) THEN @role::text END
    WHERE NOT EXISTS (SELECT 1 FROM found)
    ON CONFLICT DO NOTHING
    RETURNING id
)
SELECT id FROM found UNION ALL SELECT id FROM inserted

-- name: find_same_phone :optional
-- Find the person of the other role who has the phone number of this person. Returns no row if this person has both
-- roles, or if nobody of the other role has the number.
SELECT others.id
FROM people
JOIN people AS others ON others.phone_number = people.phone_number AND others.id <> people.id
WHERE people.id = @id

-- name: insert_customer :exec
-- Give this person the role of customer.
INSERT INTO customers (id, call_name) VALUES (@id, @call_name)

-- name: insert_mitra :execrows
-- Give this person the role of mitra. Changes no row if the person is already a mitra.
INSERT INTO mitras (id, display_name, max_customers) VALUES (@id, @display_name, @max_customers)
ON CONFLICT (id) DO NOTHING

-- name: insert_token :exec
-- Insert a token (nothing → valid for @idle_seconds). The statement touch_tokens makes the token valid for longer.
INSERT INTO access_tokens
    (digest, role, user_id, transport, user_agent, known_device_digest, created_at, last_seen_at, expires_at)
SELECT @digest, @role, @user_id, @transport, @user_agent, @known_device_digest, now, now,
    now + make_interval(secs => @idle_seconds)
FROM curhat_now() AS now

-- name: touch_tokens :exec
-- Record a use of those tokens whose last recorded use is at least @fresh_seconds ago. Each of these tokens is then
-- valid until @idle_seconds from now, but no longer than @valid_seconds after the sign-in.
WITH stale_tokens AS MATERIALIZED (
    SELECT digest FROM access_tokens
    WHERE digest = ANY (@digests::bytea[]) AND revoked_at IS NULL AND expires_at > curhat_now()
        AND last_seen_at < curhat_now() - make_interval(secs => @fresh_seconds)
    FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE access_tokens
SET last_seen_at = now,
    expires_at = least(created_at + make_interval(secs => @valid_seconds), now + make_interval(secs => @idle_seconds))
FROM stale_tokens, curhat_now() AS now
WHERE access_tokens.digest = stale_tokens.digest

-- name: find_valid_tokens :many
-- Find the tokens among @digests that are neither revoked nor expired, each with its owner. `is_seen_stale` is true if
-- the token's use was last recorded more than @fresh_seconds ago.
-- row: ValidToken
SELECT tokens.digest, tokens.role, tokens.user_id, tokens.transport, mitras.suspended_at IS NOT NULL AS is_suspended,
    tokens.last_seen_at < curhat_now() - make_interval(secs => @fresh_seconds) AS is_seen_stale
FROM access_tokens AS tokens
LEFT JOIN mitras ON tokens.role = 'mitra' AND mitras.id = tokens.user_id
WHERE tokens.digest = ANY (@digests::bytea[]) AND tokens.revoked_at IS NULL AND tokens.expires_at > curhat_now()

-- name: find_admitting_tokens :many
-- Find the tokens among @digests that are neither revoked nor expired and do not belong to a suspended mitra.
SELECT tokens.digest, tokens.last_seen_at < curhat_now() - make_interval(secs => @fresh_seconds) AS is_seen_stale
FROM access_tokens AS tokens
LEFT JOIN mitras ON tokens.role = 'mitra' AND mitras.id = tokens.user_id
WHERE tokens.digest = ANY (@digests::bytea[]) AND tokens.revoked_at IS NULL AND tokens.expires_at > curhat_now()
    AND mitras.suspended_at IS NULL

-- name: revoke_token :execrows
-- Revoke the token (not revoked → revoked). Changes no row if the token was already revoked.
UPDATE access_tokens SET revoked_at = curhat_now() WHERE digest = @digest AND revoked_at IS NULL

-- Devices ------------------------------------------------------------------------------------------------------

-- name: has_role :one
-- Return whether this person has the role @role.
SELECT CASE WHEN @role::text = 'customer' THEN EXISTS (SELECT 1 FROM customers WHERE id = @id)
    ELSE EXISTS (SELECT 1 FROM mitras WHERE id = @id) END AS has_role

-- name: list_devices :many
-- Read at most 100 valid tokens of a person in one role, the most recently seen first.
-- row: DeviceRow
SELECT id, digest, created_at, last_seen_at, user_agent
FROM access_tokens
WHERE user_id = @user_id AND role = @role AND revoked_at IS NULL AND expires_at > curhat_now()
ORDER BY last_seen_at DESC, id DESC
LIMIT 100

-- name: revoke_device :optional
-- Revoke this person's token with this id (valid → revoked). The statement also removes the device from the known
-- devices. Returns the token's digest. Returns no row if this person has no such valid token.
WITH revoked AS (
    UPDATE access_tokens SET revoked_at = curhat_now()
    WHERE id = @id AND user_id = @user_id AND role = @role AND revoked_at IS NULL AND expires_at > curhat_now()
    RETURNING digest, known_device_digest
), forgotten AS (
    DELETE FROM known_devices USING revoked WHERE known_devices.digest = revoked.known_device_digest
)
SELECT digest FROM revoked

-- name: revoke_other_devices :many
-- Revoke every token of this person in this role except @kept_digest (valid → revoked). A known device of the person
-- stays only if it has the kept token or a valid token of another role. The statement locks the tokens in a fixed
-- order, so that two runs of the statement cannot deadlock. Returns the digests of the revoked tokens.
-- nullable: @kept_digest
WITH kept AS MATERIALIZED (
    SELECT known_device_digest FROM access_tokens WHERE digest = @kept_digest
), locked_tokens AS MATERIALIZED (
    SELECT digest FROM access_tokens
    WHERE user_id = @user_id AND role = @role AND revoked_at IS NULL AND digest IS DISTINCT FROM @kept_digest
    ORDER BY digest FOR NO KEY UPDATE
), forgotten AS (
    DELETE FROM known_devices
    WHERE person_id = @user_id AND digest IS DISTINCT FROM (SELECT known_device_digest FROM kept) AND NOT EXISTS (
        SELECT 1 FROM access_tokens AS others
        WHERE others.user_id = @user_id AND others.role <> @role AND others.known_device_digest = known_devices.digest
            AND others.revoked_at IS NULL AND others.expires_at > curhat_now()
    )
)
UPDATE access_tokens SET revoked_at = curhat_now() FROM locked_tokens
WHERE access_tokens.digest = locked_tokens.digest
RETURNING access_tokens.digest

-- name: insert_known_device :exec
-- Make this device a known device of a person or of an operator, in place of the device with @replaced_digest. If the
-- owner then has more than @max_devices known devices, the statement deletes the oldest devices.
-- nullable: @person_id, @operator_id, @replaced_digest
WITH surplus AS (
    DELETE FROM known_devices WHERE digest = @replaced_digest OR digest IN (
        SELECT digest FROM known_devices WHERE person_id = @person_id OR operator_id = @operator_id
        ORDER BY created_at DESC OFFSET @max_devices::integer - 1
    )
)
INSERT INTO known_devices (digest, person_id, operator_id) VALUES (@digest, @person_id, @operator_id)

-- name: find_known_devices :many
-- Find the digests among @digests that belong to a known device of any person or operator.
SELECT digest FROM known_devices
WHERE digest = ANY (@digests::bytea[]) AND created_at > curhat_now() - make_interval(secs => @valid_seconds)

-- name: find_operator_of_device :optional
-- Find the operator who has signed in on the device with this digest.
-- nullable: operator_id
SELECT operator_id FROM known_devices
WHERE digest = @digest AND created_at > curhat_now() - make_interval(secs => @valid_seconds)

-- name: forget_devices_of_operator :exec
-- Delete the known devices of an operator, except the device with @kept_digest.
-- nullable: @kept_digest
DELETE FROM known_devices WHERE operator_id = @operator_id AND digest IS DISTINCT FROM @kept_digest

-- name: forget_device :exec
DELETE FROM known_devices WHERE digest = @digest

-- name: prune_known_devices :execrows
-- Delete at most @max_devices known devices whose secret is older than @valid_seconds, oldest first.
DELETE FROM known_devices WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM known_devices
    WHERE created_at < (SELECT curhat_now() - make_interval(secs => @valid_seconds))
    ORDER BY created_at LIMIT @max_devices FOR UPDATE SKIP LOCKED
))

-- name: find_customer :optional
SELECT customers.id, customers.call_name, people.phone_number
FROM customers JOIN people USING (id) WHERE customers.id = @id AND customers.deleted_at IS NULL

-- name: rename_customer :execrows
-- Change the customer's call name. Changes no row if no such customer exists, or the account is deleted.
UPDATE customers SET call_name = @call_name WHERE id = @id AND deleted_at IS NULL

-- name: note_adult_customer :exec
-- Note that the customer said to be an adult. A later note changes nothing.
UPDATE customers SET adult_at = curhat_now() WHERE id = @id AND adult_at IS NULL

-- name: note_adult_mitra :exec
-- Note that the mitra said to be an adult. A later note changes nothing.
UPDATE mitras SET adult_at = curhat_now() WHERE id = @id AND adult_at IS NULL

-- name: is_adult :one
-- Return whether this person has said in this role to be an adult.
SELECT CASE WHEN @role::text = 'customer' THEN EXISTS (SELECT 1 FROM customers WHERE id = @id AND adult_at IS NOT NULL)
    ELSE EXISTS (SELECT 1 FROM mitras WHERE id = @id AND adult_at IS NOT NULL) END AS is_adult

-- name: is_customer_suspended :optional
-- Read whether the customer is suspended now (T.3). A deleted account counts as suspended.
SELECT deleted_at IS NOT NULL
    OR suspended_at IS NOT NULL AND (suspended_until IS NULL OR suspended_until > curhat_now()) AS is_suspended
FROM customers WHERE id = @id

-- name: share_lock_customer :optional
-- Read whether the customer is suspended now, and hold back every suspension until this transaction ends. If a
-- suspension is being written, the statement waits, and then reads the new row.
SELECT deleted_at IS NOT NULL
    OR suspended_at IS NOT NULL AND (suspended_until IS NULL OR suspended_until > curhat_now()) AS is_suspended
FROM customers WHERE id = @id FOR SHARE

-- name: lock_customer :optional
-- Lock the customer before an operator's change. Returns no row if no such customer exists, or the
-- account is deleted.
-- nullable: suspended_until
-- row: LockedCustomer
SELECT suspended_at IS NOT NULL AND (suspended_until IS NULL OR suspended_until > curhat_now()) AS is_suspended,
    suspended_until
FROM customers WHERE id = @id AND deleted_at IS NULL FOR NO KEY UPDATE

-- name: suspend_customer :exec
-- Suspend the customer until @until, or for good. A suspension that is in force begins no later than before.
-- nullable: @until
UPDATE customers SET suspended_until = @until, suspended_at = CASE
    WHEN suspended_until IS NULL OR suspended_until > curhat_now() THEN coalesce(suspended_at, curhat_now())
    ELSE curhat_now()
END
WHERE id = @id

-- name: lift_customer_suspension :exec
-- Lift the suspension of the customer (suspended → admitted).
UPDATE customers SET suspended_at = NULL, suspended_until = NULL WHERE id = @id

-- name: lock_mitra :optional
-- Lock the mitra before an operator's change. Returns no row if no such mitra exists, or the account is
-- deleted.
-- nullable: suspended_until
-- row: LockedMitra
SELECT display_name, max_customers, active_sessions, suspended_at IS NOT NULL AS is_suspended,
    CASE WHEN suspended_at IS NOT NULL THEN suspended_until END AS suspended_until,
    coalesce(suspended_at IS NOT NULL AND suspended_until <= curhat_now(), false) AS is_over
FROM mitras WHERE id = @id AND deleted_at IS NULL FOR NO KEY UPDATE

-- name: rename_mitra :exec
-- Change the mitra's display name.
UPDATE mitras SET display_name = @display_name WHERE id = @id

-- name: change_capacity :exec
-- Change the mitra's capacity.
UPDATE mitras SET max_customers = @max_customers WHERE id = @id

-- name: suspend_mitra :exec
-- Suspend the mitra (admitted → suspended), until @until or until an operator lifts the suspension. The statement also
-- sets the toggle to offline. After the suspension, the mitra must switch to online again.
-- nullable: @until
UPDATE mitras SET suspended_at = curhat_now(), suspended_until = @until, online = false WHERE id = @id

-- name: change_suspension_end :exec
-- Change until when the suspended mitra is suspended.
-- nullable: @until
UPDATE mitras SET suspended_until = @until WHERE id = @id AND suspended_at IS NOT NULL

-- name: lift_suspension :exec
-- Lift the suspension of the mitra (suspended → admitted). Revokes every token of the mitra, so that a token from
-- before the suspension does not become valid again.
WITH revoked AS (
    UPDATE access_tokens SET revoked_at = curhat_now() WHERE user_id = @id AND role = 'mitra' AND revoked_at IS NULL
)
UPDATE mitras SET suspended_at = NULL, suspended_until = NULL WHERE id = @id

-- name: prune_codes :execrows
-- Delete at most @max_codes codes that are older than a day, oldest first. The limits on codes count only the codes of
-- the last day. After the deletion of a code, no row shows that somebody asked to sign in with the code's phone number.
DELETE FROM one_time_codes WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM one_time_codes WHERE created_at < (SELECT curhat_now() - interval '24 hours')
    ORDER BY created_at LIMIT @max_codes FOR UPDATE SKIP LOCKED
))

-- name: prune_tokens :execrows
-- Delete at most @max_tokens tokens that expired or were revoked more than a week ago, oldest first.
DELETE FROM access_tokens WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM access_tokens
    WHERE least(expires_at, revoked_at) < (SELECT curhat_now() - interval '7 days')
    ORDER BY least(expires_at, revoked_at) LIMIT @max_tokens FOR UPDATE SKIP LOCKED
))

-- name: insert_inbox_message :exec
-- Insert a text message into the inbox.
INSERT INTO development_inbox (phone_number, text, code) VALUES (@phone_number, @text, @code)

-- name: prune_inbox :exec
-- Delete all text messages to this phone number except the newest 20.
DELETE FROM development_inbox WHERE phone_number = @phone_number AND id <= (
    SELECT id FROM development_inbox WHERE phone_number = @phone_number ORDER BY id DESC OFFSET 20 LIMIT 1
)

-- name: list_inbox :many
-- Read the text messages to this phone number, newest first.
SELECT text, code, sent_at FROM development_inbox WHERE phone_number = @phone_number ORDER BY id DESC

-- Deleted accounts ----------------------------------------------------------------------------------------------

-- name: lock_person :optional
-- Lock the person before the deletion of an account. A subscription to push takes the same lock before the lock of the
-- mitra. Returns the phone number.
SELECT phone_number FROM people WHERE id = @id FOR NO KEY UPDATE

-- name: lock_account :optional
-- Lock the account FOR UPDATE. A new payment of this customer, and a new token, wait for this lock. Returns whether the
-- account is deleted. Returns no row if the person does not have this role.
-- nullable: suspended_at, suspended_until
-- row: LockedAccount
WITH locked_customer AS MATERIALIZED (
    SELECT deleted_at, suspended_at, suspended_until FROM customers WHERE id = @id AND @role::text = 'customer' FOR UPDATE
), locked_mitra AS MATERIALIZED (
    SELECT deleted_at, suspended_at, suspended_until FROM mitras WHERE id = @id AND @role = 'mitra' FOR UPDATE
)
SELECT deleted_at IS NOT NULL AS is_deleted, suspended_at, suspended_until
FROM (SELECT * FROM locked_customer UNION ALL SELECT * FROM locked_mitra) AS locked_account

-- name: mark_customer_deleted :exec
-- Delete the account (active → deleted), and replace the name.
UPDATE customers SET deleted_at = curhat_now(), call_name = @name WHERE id = @id

-- name: mark_mitra_deleted :exec
-- Delete the account (active → deleted), and replace the name. The mitra is offline and suspended from now on.
UPDATE mitras
SET deleted_at = curhat_now(), display_name = @name, online = false, break_until = NULL,
    suspended_at = coalesce(suspended_at, curhat_now()), suspended_until = NULL
WHERE id = @id

-- name: take_phone_number :exec
-- Take the role @role from the person. If the person has the other role too, the person keeps the number for that role.
-- Otherwise the person loses the number.
WITH other_role AS (
    SELECT 'mitra' AS role FROM mitras WHERE id = @id AND @role::text = 'customer' AND deleted_at IS NULL
    UNION ALL
    SELECT 'customer' FROM customers WHERE id = @id AND @role = 'mitra' AND deleted_at IS NULL
)
UPDATE people
SET only_role = coalesce((SELECT role FROM other_role), only_role),
    phone_number = CASE
        WHEN EXISTS (SELECT 1 FROM other_role) THEN phone_number
        ELSE '+999' || lpad(nextval('deleted_phone_numbers')::text, 12, '0')
    END
WHERE id = @id

-- name: end_codes_of_phone :exec
-- Delete the one-time codes of this number for this role.
DELETE FROM one_time_codes WHERE phone_number = @phone_number AND role = @role

-- name: empty_inbox :exec
-- Delete the text messages to this number.
DELETE FROM development_inbox WHERE phone_number = @phone_number

-- name: delete_tokens :execrows
-- Delete the tokens of a deleted account. The push subscriptions of the tokens end with them.
DELETE FROM access_tokens WHERE user_id = @user_id AND role = @role

-- name: forget_devices_of_person :exec
-- Delete the known devices of a person without a valid token.
DELETE FROM known_devices WHERE person_id = @person_id AND NOT EXISTS (
    SELECT 1 FROM access_tokens
    WHERE user_id = @person_id AND known_device_digest = known_devices.digest AND revoked_at IS NULL
        AND expires_at > curhat_now()
)

-- name: keep_erased_phone :exec
-- Keep what the same phone number inherits (P.4), for @kept_months. A second deletion adds to the first.
-- nullable: @suspended_at, @suspended_until
INSERT INTO erased_phones (digest, role, trial_used, suspended_at, suspended_until, blocked_by, expires_at)
SELECT @digest, @role, @trial_used, @suspended_at, @suspended_until, @blocked_by::uuid[],
    curhat_now() + make_interval(months => @kept_months)
ON CONFLICT (digest, role) DO UPDATE
SET trial_used = erased_phones.trial_used OR excluded.trial_used, suspended_at = excluded.suspended_at,
    suspended_until = excluded.suspended_until, expires_at = excluded.expires_at,
    blocked_by = ARRAY(SELECT DISTINCT unnest(erased_phones.blocked_by || excluded.blocked_by))

-- name: inherit_erased_phone :optional
-- Take what this phone number inherits. The new account holds it from now on.
-- nullable: suspended_at, suspended_until
-- row: ErasedPhone
DELETE FROM erased_phones WHERE digest = @digest AND role = @role AND expires_at > (SELECT curhat_now())
RETURNING trial_used, suspended_at, suspended_until, blocked_by

-- name: give_customer_inheritance :exec
-- Give a new customer the used trial and the suspension of an earlier account.
-- nullable: @suspended_at, @suspended_until
UPDATE customers
SET trial_used_before = @trial_used, suspended_at = @suspended_at, suspended_until = @suspended_until WHERE id = @id

-- name: give_mitra_inheritance :exec
-- Give a new mitra the suspension of an earlier account.
-- nullable: @suspended_at, @suspended_until
UPDATE mitras SET suspended_at = @suspended_at, suspended_until = @suspended_until WHERE id = @id

-- name: prune_erased_phones :execrows
-- Delete at most @max_phones rows whose time is over (P.4).
DELETE FROM erased_phones WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM erased_phones WHERE expires_at <= (SELECT curhat_now())
    ORDER BY expires_at LIMIT @max_phones FOR UPDATE SKIP LOCKED
))

-- After a restore to an earlier time -----------------------------------------------------------------------------

-- name: revoke_every_token :execrows
-- valid → revoked, for the tokens of all people.
UPDATE access_tokens SET revoked_at = curhat_now() WHERE revoked_at IS NULL AND expires_at > curhat_now()

-- name: forget_every_device :exec
DELETE FROM known_devices

-- name: end_every_code :exec
-- live → expired, for all one-time codes.
UPDATE one_time_codes SET expires_at = curhat_now() WHERE consumed_at IS NULL AND expires_at > curhat_now()

-- name: ensure_lost_person :exec
-- Insert a person with this id, unless the person exists.
INSERT INTO people (id, phone_number) VALUES (@id, @phone_number) ON CONFLICT DO NOTHING

-- name: ensure_lost_customer :exec
-- Make the person a customer, unless the person is one.
INSERT INTO customers (id, call_name) VALUES (@id, @call_name) ON CONFLICT (id) DO NOTHING
