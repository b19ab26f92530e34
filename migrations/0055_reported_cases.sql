-- squawk-ignore-file constraint-missing-not-valid, ban-drop-constraint  -- push_messages holds messages of one day at most
-- A customer's report opens a review case with the reason `reported` (T.3).
ALTER TABLE review_cases DROP CONSTRAINT review_cases_reason_check;
ALTER TABLE review_cases ADD CONSTRAINT review_cases_reason_check CHECK (reason IN (
    'no_session', 'cut_short', 'refund_failed', 'restored', 'mitra_away', 'unanswered', 'complaint', 'books_differ',
    'reported')) NOT VALID;
ALTER TABLE review_cases VALIDATE CONSTRAINT review_cases_reason_check;

-- The push that says that there is a notice (T.4). Only a worker of this release puts it into the outbox, and a worker of
-- the previous release leaves a message of an unknown kind alone.
ALTER TABLE push_messages DROP CONSTRAINT push_messages_kind_check;
ALTER TABLE push_messages ADD CONSTRAINT push_messages_kind_check CHECK (kind IN (
    'request_offered', 'matched', 'message', 'customer_message', 'extension_requested',
    'search_failed', 'fallback_offered', 'decided', 'refunded', 'break_over', 'notice', 'test')) NOT VALID;
ALTER TABLE push_messages VALIDATE CONSTRAINT push_messages_kind_check;
