-- Reports and concerns, notices about decisions, and requests to read a chat (T.2 to T.4, H.3, P.8).

CREATE TABLE reports (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    -- `concern`: a mitra worries about the customer (H.3). Nobody is accused.
    kind text NOT NULL DEFAULT 'report' CHECK (kind IN ('report', 'concern')),
    session_id uuid NOT NULL REFERENCES sessions (id),
    -- The two members of the session. The foreign key of `session_id` already shows that they exist.
    customer_id uuid NOT NULL,
    mitra_id uuid NOT NULL,
    reporter text NOT NULL CHECK (reporter IN ('customer', 'mitra')),
    reason text CHECK (reason IN (
        'sexual', 'threat', 'insult', 'contact', 'money', 'minor', 'danger', 'not_listening', 'other')),
    level text CHECK (level IN ('worried', 'danger_now')),
    note text CHECK (char_length(note) BETWEEN 1 AND 500),
    message_ids uuid[] NOT NULL DEFAULT '{}' CHECK (cardinality(message_ids) <= 20),
    created_at timestamptz NOT NULL DEFAULT curhat_now(),
    -- How soon an operator must look: 0 within 15 minutes, 1 within 24 hours, 2 within 72 hours.
    urgency integer NOT NULL CHECK (urgency IN (0, 1, 2)),
    -- Until when an operator must take the next step: decide, approve, or decide the appeal.
    due_at timestamptz NOT NULL,
    status text NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'awaiting_approval', 'decided', 'appealed')),
    -- The order of the queue: the urgency while there is something to do, then the finished ones.
    queue_rank integer NOT NULL GENERATED ALWAYS AS (CASE WHEN status = 'decided' THEN 3 ELSE urgency END) STORED,
    decision text CHECK (decision IN ('no_action', 'warn', 'suspend')),
    decision_note text CHECK (char_length(decision_note) BETWEEN 1 AND 1000),
    -- Null with the decision `suspend`: for good.
    suspend_until timestamptz,
    decided_by uuid REFERENCES operators (id),
    decided_at timestamptz,
    approved_by uuid REFERENCES operators (id),
    approved_at timestamptz,
    appeal_text text CHECK (char_length(appeal_text) BETWEEN 1 AND 2000),
    appealed_at timestamptz,
    appeal_decision text CHECK (appeal_decision IN ('upheld', 'overturned')),
    appeal_note text CHECK (char_length(appeal_note) BETWEEN 1 AND 1000),
    appeal_decided_by uuid REFERENCES operators (id),
    appeal_decided_at timestamptz,
    -- When the last step was done. The chat's text is held for 90 days more (the view held_sessions).
    closed_at timestamptz,
    CONSTRAINT reports_kinds CHECK (
        (kind = 'report') = (reason IS NOT NULL) AND (kind = 'concern') = (level IS NOT NULL)
        AND (kind = 'report' OR reporter = 'mitra')
    ),
    CONSTRAINT reports_decided CHECK (
        (status = 'open') = (decision IS NULL) AND (decision IS NULL) = (decision_note IS NULL)
        AND (decision IS NULL) = (decided_by IS NULL) AND (decision IS NULL) = (decided_at IS NULL)
        AND (status NOT IN ('decided', 'appealed') OR closed_at IS NOT NULL)
    ),
    CONSTRAINT reports_suspend_until CHECK (suspend_until IS NULL OR decision = 'suspend'),
    CONSTRAINT reports_concerns_accuse_nobody CHECK (
        kind = 'report' OR decision IS NULL OR (decision = 'no_action' AND appealed_at IS NULL)
    ),
    -- A suspension for good takes effect only with a second operator (T.3).
    CONSTRAINT reports_second_operator CHECK (
        (approved_by IS NULL) = (approved_at IS NULL) AND (approved_by IS NULL OR approved_by <> decided_by)
    ),
    CONSTRAINT reports_for_good_is_approved CHECK (
        approved_by IS NOT NULL OR status NOT IN ('decided', 'appealed')
        OR decision <> 'suspend' OR suspend_until IS NOT NULL
    ),
    -- Another operator than the one who decided decides the appeal (T.4).
    CONSTRAINT reports_appeals CHECK (
        (appeal_text IS NULL OR appealed_at IS NOT NULL)
        AND (appeal_decision IS NULL) = (appeal_decided_by IS NULL)
        AND (appeal_decision IS NULL) = (appeal_decided_at IS NULL)
        AND (appeal_decision IS NULL OR (appealed_at IS NOT NULL AND appeal_decided_by <> decided_by))
        AND (status = 'appealed') = (appealed_at IS NOT NULL AND appeal_decision IS NULL)
    )
);
CREATE UNIQUE INDEX reports_once_per_side ON reports (session_id, reporter) WHERE kind = 'report';
CREATE INDEX reports_by_session ON reports (session_id);
CREATE INDEX reports_by_queue ON reports (queue_rank, due_at, id);
CREATE INDEX reports_by_customer ON reports (customer_id, id);
CREATE INDEX reports_by_mitra ON reports (mitra_id, id);

-- The allowed steps. A decision never changes. Only an operator who refuses to approve a suspension takes it back.
CREATE FUNCTION report_steps() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (OLD.status, NEW.status) NOT IN (
        ('open', 'awaiting_approval'), ('open', 'decided'), ('awaiting_approval', 'decided'),
        ('awaiting_approval', 'open'), ('decided', 'appealed'), ('appealed', 'decided')
    ) THEN
        RAISE EXCEPTION 'report % cannot go from % to %', NEW.id, OLD.status, NEW.status
            USING ERRCODE = 'check_violation', CONSTRAINT = 'reports_allowed_steps';
    END IF;
    IF OLD.decision IS NOT NULL AND NEW.status <> 'open'
        AND (OLD.decision, OLD.suspend_until, OLD.decided_by, OLD.decided_at)
            IS DISTINCT FROM (NEW.decision, NEW.suspend_until, NEW.decided_by, NEW.decided_at)
    THEN
        RAISE EXCEPTION 'report % is decided', NEW.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'reports_decided_once';
    END IF;
    IF OLD.appealed_at IS NOT NULL AND NEW.status = 'appealed' THEN
        RAISE EXCEPTION 'report % has its appeal', NEW.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'reports_one_appeal';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER reports_allowed_steps BEFORE UPDATE OF status, decision, suspend_until, decided_by, decided_at ON reports
    FOR EACH ROW EXECUTE FUNCTION report_steps();

-- The sessions whose chat text must be kept: a report or concern waits for an operator, or its last step was done less
-- than 90 days ago. A session can have several rows. Whoever deletes text locks the session's row first, as the step
-- that makes a report does, and then reads this view in a new statement.
CREATE VIEW held_sessions AS
SELECT session_id FROM reports WHERE status <> 'decided' OR closed_at > curhat_now() - interval '90 days';

-- What a person is told about a decision (T.4).
CREATE TABLE notices (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    role text NOT NULL CHECK (role IN ('customer', 'mitra')),
    user_id uuid NOT NULL REFERENCES people (id),
    kind text NOT NULL CHECK (kind IN (
        'report_acted', 'report_no_violation', 'warning', 'suspension', 'suspension_lifted', 'appeal_upheld',
        'appeal_overturned')),
    -- Null: an operator suspended the person, or lifted the suspension, without a report.
    report_id uuid REFERENCES reports (id),
    -- Of the kind `suspension`. Null: for good.
    suspended_until timestamptz,
    created_at timestamptz NOT NULL DEFAULT curhat_now(),
    acknowledged_at timestamptz,
    -- Another operator overturned the decision. A withdrawn warning needs no acknowledgement.
    withdrawn_at timestamptz,
    CONSTRAINT notices_suspended_until CHECK (suspended_until IS NULL OR kind = 'suspension'),
    CONSTRAINT notices_about_a_report CHECK (report_id IS NOT NULL OR kind IN ('suspension', 'suspension_lifted'))
);
CREATE UNIQUE INDEX notices_once ON notices (report_id, role, kind) WHERE report_id IS NOT NULL;
CREATE INDEX notices_by_person ON notices (user_id, role, id);
CREATE INDEX notices_to_acknowledge ON notices (user_id, role)
WHERE kind = 'warning' AND acknowledged_at IS NULL AND withdrawn_at IS NULL;

-- An operator's request to read a chat without a report, case, concern or legal order (P.8).
CREATE TABLE transcript_requests (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    session_id uuid NOT NULL REFERENCES sessions (id),
    requested_by uuid NOT NULL REFERENCES operators (id),
    reason text NOT NULL CHECK (char_length(reason) BETWEEN 1 AND 500),
    requested_at timestamptz NOT NULL DEFAULT curhat_now(),
    approved_by uuid REFERENCES operators (id),
    approved_at timestamptz,
    CONSTRAINT transcript_requests_second_operator CHECK (
        (approved_by IS NULL) = (approved_at IS NULL) AND (approved_by IS NULL OR approved_by <> requested_by)
    )
);
CREATE UNIQUE INDEX transcript_requests_waiting ON transcript_requests (session_id, requested_by)
WHERE approved_by IS NULL;
CREATE INDEX transcript_requests_by_operator ON transcript_requests (requested_by, session_id, approved_at);
CREATE INDEX transcript_requests_by_time ON transcript_requests (requested_at, id) WHERE approved_by IS NULL;
