-- This file adds push: the subscriptions, the reasons to push, and the outbox.
--
-- There are three reasons to push: a request is offered, a session begins, or a mitra sends a message. Each reason is a
-- new or changed row, and a trigger on the row's table arms a deadline. So code that offers a request, begins a session
-- or sends a message cannot forget the push. The deadline's transition finds the users who are not connected, and fills
-- the outbox. A blast arms only one deadline for all its mitras. For a user without a subscription, a reason to push
-- costs one index lookup.
--
-- The lock order is: person, subscription, mitra. The triggers on push_subscriptions lock the subscription's
-- mitra.

CREATE TABLE push_subscriptions (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    role text NOT NULL CHECK (role IN ('customer', 'mitra')),
    user_id uuid NOT NULL REFERENCES people (id),
    -- token_digest identifies the access token of the sign-in that made the subscription. A trigger deletes the
    -- subscription when the token is revoked.
    token_digest bytea NOT NULL REFERENCES access_tokens (digest) ON DELETE CASCADE,
    -- The endpoint is the URL at which the browser's vendor accepts pushes for this browser. Anyone who knows the URL
    -- can send pushes to the browser, so no HTTP response and no log contains the URL.
    endpoint text NOT NULL CHECK (char_length(endpoint) BETWEEN 1 AND 1000),
    p256dh bytea NOT NULL CHECK (octet_length(p256dh) = 65),
    auth bytea NOT NULL CHECK (octet_length(auth) = 16),
    language text NOT NULL CHECK (language IN ('id', 'en')),
    -- This column counts the consecutive pushes that the worker could not deliver. When the count reaches the limit,
    -- the worker sets failed_at.
    failures integer NOT NULL DEFAULT 0 CHECK (failures >= 0),
    failed_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT curhat_now(),
    -- A browser's subscription belongs to one person at a time. The constraint includes the keys, so that a person who
    -- knows only the endpoint cannot take over the subscription.
    CONSTRAINT push_subscriptions_one_owner UNIQUE (endpoint, p256dh, auth)
);
CREATE INDEX push_subscriptions_by_person ON push_subscriptions (user_id, role);
CREATE INDEX push_subscriptions_by_token ON push_subscriptions (token_digest);

CREATE TABLE push_messages (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    subscription_id uuid NOT NULL REFERENCES push_subscriptions (id) ON DELETE CASCADE,
    kind text NOT NULL CHECK (kind IN ('request_offered', 'matched', 'message', 'test')),
    -- subject_id is the id of the request, session or message that the push is about. A test push has no subject, so
    -- subject_id is a random id.
    subject_id uuid NOT NULL,
    -- If a newer push has the topic of this push, the newer push replaces this push at the push service and on the
    -- screen.
    topic text NOT NULL CHECK (topic ~ '^[A-Za-z0-9_-]{1,32}$'),
    payload text NOT NULL CHECK (octet_length(payload) <= 2000),
    -- reason_at is the time at which the reason to push arose. A second push about a subject needs a reason that arose
    -- after the reason of the first push. For example, the request was offered again.
    reason_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    -- due_at is the earliest time at which a worker is allowed to send the push. Before a worker sends the push, the
    -- worker moves due_at to a time at which the sending has certainly ended. Before due_at, no second worker sends the
    -- push.
    due_at timestamptz NOT NULL DEFAULT curhat_now(),
    attempts integer NOT NULL DEFAULT 0,
    -- done_at is the time at which the push service accepted the push or permanently refused the push.
    done_at timestamptz,
    CONSTRAINT push_messages_once UNIQUE (subscription_id, kind, subject_id)
) WITH (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000);
CREATE INDEX push_messages_waiting ON push_messages (due_at) WHERE done_at IS NULL;
CREATE INDEX push_messages_by_end ON push_messages (expires_at);

-- When a statement revokes a token, this trigger deletes the token's subscriptions.
CREATE FUNCTION token_revoked() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM push_subscriptions WHERE token_digest = NEW.digest;
    RETURN NULL;
END $$;
CREATE TRIGGER access_tokens_revoked AFTER UPDATE OF revoked_at ON access_tokens FOR EACH ROW
    WHEN (OLD.revoked_at IS NULL AND NEW.revoked_at IS NOT NULL) EXECUTE FUNCTION token_revoked();

-- Push-reachability (1.1) ---------------------------------------------------------------------------------------

-- push_ready is true if the mitra has a subscription that has not failed. The mitra's row stores this value, so that a
-- query of availability reads only one row per mitra.
ALTER TABLE mitras ADD COLUMN push_ready boolean NOT NULL DEFAULT false;

-- Replace the trigger of 0001, because availability now also depends on push_ready.
CREATE OR REPLACE TRIGGER mitras_availability_version BEFORE UPDATE ON mitras FOR EACH ROW
    WHEN ((OLD.online, OLD.suspended_at, OLD.active_sessions, OLD.max_customers, OLD.push_ready)
        IS DISTINCT FROM (NEW.online, NEW.suspended_at, NEW.active_sessions, NEW.max_customers, NEW.push_ready))
    EXECUTE FUNCTION next_availability_version();

CREATE FUNCTION push_subscription_changed() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    mitra uuid := CASE TG_OP WHEN 'DELETE' THEN OLD.user_id ELSE NEW.user_id END;
BEGIN
    -- Lock in a separate statement. The next statement then takes a new snapshot, which includes the changes that the
    -- previous lock holder committed.
    PERFORM FROM mitras WHERE id = mitra FOR NO KEY UPDATE;
    UPDATE mitras SET push_ready = NOT push_ready
    WHERE id = mitra AND push_ready <> EXISTS (
        SELECT 1 FROM push_subscriptions WHERE user_id = mitra AND role = 'mitra' AND failed_at IS NULL);
    RETURN NULL;
END $$;
CREATE TRIGGER push_subscriptions_came AFTER INSERT ON push_subscriptions FOR EACH ROW
    WHEN (NEW.role = 'mitra') EXECUTE FUNCTION push_subscription_changed();
CREATE TRIGGER push_subscriptions_failed AFTER UPDATE ON push_subscriptions FOR EACH ROW
    WHEN (NEW.role = 'mitra' AND (OLD.failed_at IS NULL) <> (NEW.failed_at IS NULL))
    EXECUTE FUNCTION push_subscription_changed();
CREATE TRIGGER push_subscriptions_went AFTER DELETE ON push_subscriptions FOR EACH ROW
    WHEN (OLD.role = 'mitra') EXECUTE FUNCTION push_subscription_changed();

-- The reasons ---------------------------------------------------------------------------------------------------

-- requests: (new) → offered. The function arms one deadline per pairing, for any number of mitras.
CREATE FUNCTION requests_to_push() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO deadlines (kind, entity_id, due_at)
    SELECT 'push_requests', offered.pairing_id, curhat_now()
    FROM offered JOIN mitras ON mitras.id = offered.mitra_id
    WHERE mitras.push_ready
    GROUP BY offered.pairing_id
    ORDER BY offered.pairing_id
    ON CONFLICT (kind, entity_id, generation) DO UPDATE SET due_at = excluded.due_at
    WHERE deadlines.due_at > excluded.due_at;
    RETURN NULL;
END $$;
CREATE TRIGGER requests_offered_push AFTER INSERT ON requests REFERENCING NEW TABLE AS offered
    FOR EACH STATEMENT EXECUTE FUNCTION requests_to_push();

-- requests: closed → offered.
CREATE FUNCTION request_to_push_again() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO deadlines (kind, entity_id, due_at)
    SELECT 'push_requests', NEW.pairing_id, curhat_now() FROM mitras WHERE id = NEW.mitra_id AND push_ready
    ON CONFLICT (kind, entity_id, generation) DO UPDATE SET due_at = excluded.due_at
    WHERE deadlines.due_at > excluded.due_at;
    RETURN NULL;
END $$;
CREATE TRIGGER requests_offered_again_push AFTER UPDATE ON requests FOR EACH ROW
    WHEN (NEW.status = 'offered' AND OLD.status <> 'offered') EXECUTE FUNCTION request_to_push_again();

-- sessions: (new) → active. The push tells the customer that a mitra has accepted.
CREATE FUNCTION match_to_push() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO deadlines (kind, entity_id, due_at)
    SELECT 'push_match', NEW.id, curhat_now()
    WHERE EXISTS (SELECT 1 FROM push_subscriptions WHERE user_id = NEW.customer_id AND role = 'customer' AND failed_at IS NULL);
    RETURN NULL;
END $$;
CREATE TRIGGER sessions_begun_push AFTER INSERT ON sessions FOR EACH ROW EXECUTE FUNCTION match_to_push();

-- A new message from a mitra is a reason to push. The deadline is due 3 s after the message, because a customer who
-- reads the chat or reconnects within 3 s needs no push. ON CONFLICT DO NOTHING keeps a deadline that is already armed.
-- So the worker checks a busy chat once every few seconds, and not once per message.
CREATE FUNCTION messages_to_push() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO deadlines (kind, entity_id, due_at)
    SELECT DISTINCT 'push_messages', sessions.id, curhat_now() + interval '3 seconds'
    FROM sent JOIN sessions ON sessions.id = sent.session_id
    WHERE sent.sender = 'mitra' AND EXISTS (
        SELECT 1 FROM push_subscriptions
        WHERE user_id = sessions.customer_id AND role = 'customer' AND failed_at IS NULL)
    ORDER BY sessions.id
    ON CONFLICT (kind, entity_id, generation) DO NOTHING;
    RETURN NULL;
END $$;
CREATE TRIGGER messages_sent_push AFTER INSERT ON messages REFERENCING NEW TABLE AS sent
    FOR EACH STATEMENT EXECUTE FUNCTION messages_to_push();
