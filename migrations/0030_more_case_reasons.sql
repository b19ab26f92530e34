-- squawk-ignore-file constraint-missing-not-valid, ban-drop-constraint  -- a case is opened for one payment in a hundred
-- The message to which a message replies. It belongs to the same session (send_messages of sessions/queries.sql).
ALTER TABLE messages ADD COLUMN reply_to_message_id uuid;

-- More reasons of review cases. `mitra_away`: the customer ended the session because its mitra was disconnected.
-- `unanswered`: the mitra sent no message. `complaint`: an operator opened the case by hand. `books_differ`: the gateway's
-- records differ from ours.
ALTER TABLE review_cases DROP CONSTRAINT review_cases_reason_check;
ALTER TABLE review_cases ADD CONSTRAINT review_cases_reason_check
    CHECK (reason IN ('no_session', 'cut_short', 'refund_failed', 'restored', 'mitra_away', 'unanswered', 'complaint',
        'books_differ')) NOT VALID;
ALTER TABLE review_cases VALIDATE CONSTRAINT review_cases_reason_check;
