-- squawk-ignore-file constraint-missing-not-valid, ban-drop-constraint  -- one scan of the sessions, and the new CHECK is wider
-- Leaving a chat in one press (T.5).

-- `leave_reason`: why a member left, as a code of a closed set. `not_given`: a mitra gave no reason. Null: nobody left,
-- a mitra ended the session with a free text (`end_note`), or a customer gave no reason.
ALTER TABLE sessions ADD COLUMN leave_reason text;
ALTER TABLE sessions ADD CONSTRAINT sessions_leave_reason CHECK (
    leave_reason IS NULL
    OR (
        leave_reason IN ('felt_unsafe', 'customer_inappropriate', 'emergency', 'technical', 'other', 'not_given')
        AND end_reason IN ('customer_ended', 'mitra_ended') AND end_note IS NULL
        -- These two are a mitra's only.
        AND (leave_reason NOT IN ('customer_inappropriate', 'not_given') OR end_reason = 'mitra_ended')
    )
) NOT VALID;
-- A mitra who ends a session says why, with a text or with a code.
ALTER TABLE sessions DROP CONSTRAINT sessions_mitra_gives_a_reason;
ALTER TABLE sessions ADD CONSTRAINT sessions_mitra_gives_a_reason CHECK (
    end_reason IS DISTINCT FROM 'mitra_ended' OR end_note IS NOT NULL OR leave_reason IS NOT NULL
) NOT VALID;
ALTER TABLE sessions VALIDATE CONSTRAINT sessions_leave_reason;
ALTER TABLE sessions VALIDATE CONSTRAINT sessions_mitra_gives_a_reason;
