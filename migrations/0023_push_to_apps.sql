-- squawk-ignore-file constraint-missing-not-valid, ban-drop-constraint  -- the table is small: ten rows per person at most

-- This file adds pushes to the native apps by FCM, beside Web Push. This file also adds pushes to mitras about messages
-- and extension requests.
--
-- A subscription of a native app has the app's FCM registration token as its endpoint. FCM encrypts the pushes itself,
-- so the two keys of a native app's subscription are empty. Because the keys are empty, the constraint
-- push_subscriptions_one_owner makes the token unique.

ALTER TABLE push_subscriptions ADD COLUMN kind text NOT NULL DEFAULT 'web_push';
ALTER TABLE push_subscriptions ADD CONSTRAINT push_subscriptions_kind_check
    CHECK (kind IN ('web_push', 'fcm')) NOT VALID;
ALTER TABLE push_subscriptions VALIDATE CONSTRAINT push_subscriptions_kind_check;

ALTER TABLE push_subscriptions DROP CONSTRAINT push_subscriptions_p256dh_check;
ALTER TABLE push_subscriptions ADD CONSTRAINT push_subscriptions_p256dh_check
    CHECK (octet_length(p256dh) = CASE kind WHEN 'fcm' THEN 0 ELSE 65 END) NOT VALID;
ALTER TABLE push_subscriptions VALIDATE CONSTRAINT push_subscriptions_p256dh_check;

ALTER TABLE push_subscriptions DROP CONSTRAINT push_subscriptions_auth_check;
ALTER TABLE push_subscriptions ADD CONSTRAINT push_subscriptions_auth_check
    CHECK (octet_length(auth) = CASE kind WHEN 'fcm' THEN 0 ELSE 16 END) NOT VALID;
ALTER TABLE push_subscriptions VALIDATE CONSTRAINT push_subscriptions_auth_check;

-- Pushes to mitras ----------------------------------------------------------------------------------------------

ALTER TABLE push_messages DROP CONSTRAINT push_messages_kind_check;
ALTER TABLE push_messages ADD CONSTRAINT push_messages_kind_check CHECK (kind IN (
    'request_offered', 'matched', 'message', 'customer_message', 'extension_requested', 'test')) NOT VALID;
ALTER TABLE push_messages VALIDATE CONSTRAINT push_messages_kind_check;

-- messages: (new). The customer gets a push about a mitra's message (0018), and the mitra gets a push about a
-- customer's message. Pushes to the customer and to the mitra use the same kind of deadline, so a worker of the
-- previous version handles both.
CREATE OR REPLACE FUNCTION messages_to_push() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM arm_push('push_messages', array_agg(DISTINCT sessions.id), curhat_now() + interval '3 seconds', 'infinity')
    FROM sent
    JOIN sessions ON sessions.id = sent.session_id
    JOIN mitras ON mitras.id = sessions.mitra_id
    WHERE CASE sent.sender
        WHEN 'customer' THEN mitras.push_ready
        ELSE EXISTS (
            SELECT 1 FROM push_subscriptions
            WHERE user_id = sessions.customer_id AND role = 'customer' AND failed_at IS NULL)
        END
    HAVING count(*) > 0;
    RETURN NULL;
END $$;

-- extensions: (new). A mitra's connection can be dead although its socket is still open. A push can bring a mitra with
-- a dead connection back in time to answer the extension. The transition of the deadline push_messages also looks for a
-- pending extension of the session.
CREATE FUNCTION extension_to_push() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM arm_push('push_messages', ARRAY[NEW.session_id], curhat_now(), curhat_now())
    FROM sessions JOIN mitras ON mitras.id = sessions.mitra_id
    WHERE sessions.id = NEW.session_id AND mitras.push_ready AND NEW.status = 'pending';
    RETURN NULL;
END $$;
CREATE TRIGGER extensions_requested_push AFTER INSERT ON extensions FOR EACH ROW
    EXECUTE FUNCTION extension_to_push();
