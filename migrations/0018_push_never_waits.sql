-- A person's transaction never waits for a row of `deadlines` that a worker has claimed.
--
-- Before this migration, the triggers of 0006 inserted a deadline with ON CONFLICT. An INSERT with ON CONFLICT waits if
-- a worker has claimed a deadline with the same kind, entity and generation. The chat message that caused the INSERT
-- then waits, together with all other messages of its batch.

-- own_generation() returns a generation that no other transaction uses. An INSERT with this generation conflicts only
-- with a row of its own transaction, so the INSERT never waits.
CREATE FUNCTION own_generation() RETURNS integer
    LANGUAGE sql VOLATILE
    RETURN (pg_current_xact_id()::text::numeric % 2147483647)::integer;

-- arm_push makes sure that each entity in `entity_ids` has an armed deadline of the kind `push_kind` when the
-- transaction commits. An existing deadline is enough if it is armed and due at `latest` or earlier. Otherwise arm_push
-- arms a new deadline that is due at `due`. The function arm_push never waits. The function locks an existing deadline
-- until this transaction ends, so the deadline's transition sees this transaction's rows. If a worker has already
-- claimed the deadline, its transition possibly does not see this transaction's rows. So arm_push ignores a claimed
-- deadline, and arms a new deadline.
CREATE FUNCTION arm_push(push_kind text, entity_ids uuid[], due timestamptz, latest timestamptz) RETURNS void
    LANGUAGE plpgsql AS $$
BEGIN
    WITH armed AS MATERIALIZED (
        SELECT entity_id FROM deadlines
        WHERE kind = push_kind AND entity_id = ANY (entity_ids) AND parked_at IS NULL AND due_at <= latest
        FOR KEY SHARE SKIP LOCKED
    )
    INSERT INTO deadlines (kind, entity_id, generation, due_at)
    SELECT push_kind, wanted, own_generation(), due FROM unnest(entity_ids) AS wanted
    WHERE wanted NOT IN (SELECT entity_id FROM armed)
    ON CONFLICT (kind, entity_id, generation) DO NOTHING;
END $$;

CREATE OR REPLACE FUNCTION requests_to_push() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM arm_push('push_requests', array_agg(DISTINCT offered.pairing_id), curhat_now(), curhat_now())
    FROM offered JOIN mitras ON mitras.id = offered.mitra_id
    WHERE mitras.push_ready
    HAVING count(*) > 0;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION request_to_push_again() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM arm_push('push_requests', ARRAY[NEW.pairing_id], curhat_now(), curhat_now())
    FROM mitras WHERE id = NEW.mitra_id AND push_ready;
    RETURN NULL;
END $$;

-- A new deadline is due 3 s after the message (see 0006). An existing deadline is due within the next 10 s, and 10 s is
-- soon enough for a busy chat.
CREATE OR REPLACE FUNCTION messages_to_push() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM arm_push('push_messages', array_agg(DISTINCT sessions.id), curhat_now() + interval '3 seconds', 'infinity')
    FROM sent JOIN sessions ON sessions.id = sent.session_id
    WHERE sent.sender = 'mitra' AND EXISTS (
        SELECT 1 FROM push_subscriptions
        WHERE user_id = sessions.customer_id AND role = 'customer' AND failed_at IS NULL)
    HAVING count(*) > 0;
    RETURN NULL;
END $$;
