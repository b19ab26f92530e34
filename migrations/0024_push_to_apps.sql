-- Push to the native apps by FCM, beside Web Push.
--
-- A subscription of a native app has the app's FCM registration token as its endpoint. FCM encrypts on its own, so such
-- a subscription has no keys: both are empty. The constraint push_subscriptions_one_owner then makes the token unique.

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
