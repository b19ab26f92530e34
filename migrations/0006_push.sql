-- Push: who may be pushed to, the reasons to push, and the outbox.
--
-- A reason to push is noted by the statement that gives it, here: a request that is offered, a session that begins,
-- a message that is sent. Each arms a deadline whose transition looks who is not connected and fills the outbox;
-- nobody who has no subscription costs more than a look into an index. So no way to offer, match or send can forget
-- it, and the transaction itself gets one row at most, however many mitras a blast asks.
--
-- Rows are locked in this order: person, subscription, mitra; a trigger that follows a subscription takes its mitra's.

CREATE TABLE push_subscriptions (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    role text NOT NULL CHECK (role IN ('customer', 'mitra')),
    user_id uuid NOT NULL REFERENCES people (id),
    -- The sign-in that it belongs to, and goes with.
    token_digest bytea NOT NULL REFERENCES access_tokens (digest) ON DELETE CASCADE,
    -- Where the browser's vendor takes messages for this browser: who knows it can send there, so it is never shown.
    endpoint text NOT NULL CHECK (char_length(endpoint) BETWEEN 1 AND 1000),
    p256dh bytea NOT NULL CHECK (octet_length(p256dh) = 65),
    auth bytea NOT NULL CHECK (octet_length(auth) = 16),
    language text NOT NULL CHECK (language IN ('id', 'en')),
    -- Messages in a row that could not be delivered; at the limit the subscription has failed.
    failures integer NOT NULL DEFAULT 0 CHECK (failures >= 0),
    failed_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT curhat_now(),
    -- One browser is one person's at a time. With the keys: who only knows an address cannot take it over.
    CONSTRAINT push_subscriptions_one_owner UNIQUE (endpoint, p256dh, auth)
);
CREATE INDEX push_subscriptions_by_person ON push_subscriptions (user_id, role);
CREATE INDEX push_subscriptions_by_token ON push_subscriptions (token_digest);

CREATE TABLE push_messages (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    subscription_id uuid NOT NULL REFERENCES push_subscriptions (id) ON DELETE CASCADE,
    kind text NOT NULL CHECK (kind IN ('request_offered', 'matched', 'message', 'test')),
    -- The request, session or message that it is about; of a test, an id of its own.
    subject_id uuid NOT NULL,
    -- What it replaces and is replaced by, at the push service and on the screen.
    topic text NOT NULL CHECK (topic ~ '^[A-Za-z0-9_-]{1,32}$'),
    payload text NOT NULL CHECK (octet_length(payload) <= 2000),
    -- When its reason arose. The same subject is pushed again only for a later reason (a request offered again).
    reason_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    -- When it is to be tried (again). While somebody tries, later than a try can take.
    due_at timestamptz NOT NULL DEFAULT curhat_now(),
    attempts integer NOT NULL DEFAULT 0,
    -- Taken by the push service, or refused for good.
    done_at timestamptz,
    CONSTRAINT push_messages_once UNIQUE (subscription_id, kind, subject_id)
) WITH (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000);
CREATE INDEX push_messages_waiting ON push_messages (due_at) WHERE done_at IS NULL;
CREATE INDEX push_messages_by_end ON push_messages (expires_at);

-- A revoked token takes its subscriptions with it, whatever revoked it.
CREATE FUNCTION token_revoked() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM push_subscriptions WHERE token_digest = NEW.digest;
    RETURN NULL;
END $$;
CREATE TRIGGER access_tokens_revoked AFTER UPDATE OF revoked_at ON access_tokens FOR EACH ROW
    WHEN (OLD.revoked_at IS NULL AND NEW.revoked_at IS NOT NULL) EXECUTE FUNCTION token_revoked();

-- Push-reachability (1.1) ---------------------------------------------------------------------------------------

-- Whether a mitra has a subscription that has not failed. Kept here, so that availability reads one row a mitra.
ALTER TABLE mitras ADD COLUMN push_ready boolean NOT NULL DEFAULT false;

-- As before, and with push_ready: it is one more thing that availability depends on.
CREATE OR REPLACE TRIGGER mitras_availability_version BEFORE UPDATE ON mitras FOR EACH ROW
    WHEN ((OLD.online, OLD.suspended_at, OLD.active_sessions, OLD.max_customers, OLD.push_ready)
        IS DISTINCT FROM (NEW.online, NEW.suspended_at, NEW.active_sessions, NEW.max_customers, NEW.push_ready))
    EXECUTE FUNCTION next_availability_version();

CREATE FUNCTION push_subscription_changed() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    mitra uuid := CASE TG_OP WHEN 'DELETE' THEN OLD.user_id ELSE NEW.user_id END;
BEGIN
    -- The lock first, in a statement of its own: the next one sees what its last holder has committed.
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

-- requests: nothing → offered. One deadline a pairing, whether one mitra is asked or a thousand.
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

-- requests: closed → offered again.
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

-- sessions: nothing → active: the customer is told that somebody is there.
CREATE FUNCTION match_to_push() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO deadlines (kind, entity_id, due_at)
    SELECT 'push_match', NEW.id, curhat_now()
    WHERE EXISTS (SELECT 1 FROM push_subscriptions WHERE user_id = NEW.customer_id AND role = 'customer' AND failed_at IS NULL);
    RETURN NULL;
END $$;
CREATE TRIGGER sessions_begun_push AFTER INSERT ON sessions FOR EACH ROW EXECUTE FUNCTION match_to_push();

-- messages: nothing → sent by a mitra. A moment later, since a customer who reads along, or whose network blinks,
-- is no reason; and a deadline that is armed already stays, so that a lively chat is looked at now and then, and
-- not at each message.
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
