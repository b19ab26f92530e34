-- How mitras answered, per mitra and past hour. The worker writes the rows of an hour 40 minutes after the hour has ended.
-- An hour counts the requests of payments that were confirmed in this hour, because the indexes of payments, pairings and
-- requests find them. `accept_seconds` is the sum over the accepted requests.
CREATE TABLE mitra_hours (
    began_at timestamptz NOT NULL CHECK (began_at = date_trunc('hour', began_at, 'UTC')),
    mitra_id uuid NOT NULL REFERENCES mitras (id),
    asked integer NOT NULL,
    accepted integer NOT NULL,
    rejected integer NOT NULL,
    taken integer NOT NULL,
    unanswered integer NOT NULL,
    accept_seconds double precision NOT NULL,
    PRIMARY KEY (began_at, mitra_id)
);

-- The hours whose rows in mitra_hours are complete. An hour without requests has no row there.
CREATE TABLE mitra_hours_kept (
    began_at timestamptz PRIMARY KEY
);

-- `taken` counts the requests that another mitra accepted first. `unanswered` counts the requests that ran out of time.
CREATE FUNCTION count_mitra_hour(hour_began_at timestamptz)
    RETURNS TABLE (mitra_id uuid, asked bigint, accepted bigint, rejected bigint, taken bigint, unanswered bigint,
        accept_seconds double precision)
    LANGUAGE sql STABLE
    -- PostgreSQL does not know how few payments an hour has. It would read all pairings and requests for a hash join.
    SET enable_hashjoin = off SET enable_mergejoin = off AS $$
SELECT requests.mitra_id, count(*), count(*) FILTER (WHERE requests.status = 'accepted'),
    count(*) FILTER (WHERE requests.status = 'rejected'),
    count(*) FILTER (WHERE requests.close_reason = 'already_taken'),
    count(*) FILTER (WHERE requests.close_reason = 'timed_out'),
    coalesce(sum(extract(epoch FROM requests.answered_at - requests.offered_at))
        FILTER (WHERE requests.status = 'accepted'), 0)::double precision
FROM payments
JOIN pairings ON pairings.payment_id = payments.id
JOIN requests ON requests.pairing_id = pairings.id
WHERE payments.confirmed_at >= hour_began_at AND payments.confirmed_at < hour_began_at + interval '1 hour'
GROUP BY requests.mitra_id
$$;

-- A replay of past demand with other settings (record 0126). `question` and `answer` are JSON. A worker claims the oldest
-- waiting row. The unique index lets one row run at a time, in all workers together.
CREATE TABLE what_ifs (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    asked_by uuid NOT NULL REFERENCES operators (id),
    asked_at timestamptz NOT NULL DEFAULT curhat_now(),
    question text NOT NULL CHECK (char_length(question) <= 4000),
    status text NOT NULL DEFAULT 'waiting' CHECK (status IN ('waiting', 'running', 'done', 'failed', 'cancelled')),
    progress real NOT NULL DEFAULT 0 CHECK (progress BETWEEN 0 AND 1),
    started_at timestamptz,
    alive_at timestamptz,
    finished_at timestamptz,
    answer text CHECK (char_length(answer) <= 100000),
    problem text CHECK (char_length(problem) <= 200),
    CONSTRAINT what_ifs_running CHECK ((status = 'running') <= (started_at IS NOT NULL AND alive_at IS NOT NULL)),
    CONSTRAINT what_ifs_finished CHECK ((status IN ('done', 'failed', 'cancelled')) = (finished_at IS NOT NULL)),
    CONSTRAINT what_ifs_done_has_an_answer CHECK ((status = 'done') = (answer IS NOT NULL)),
    CONSTRAINT what_ifs_failed_has_a_problem CHECK ((status = 'failed') = (problem IS NOT NULL))
);
CREATE UNIQUE INDEX what_ifs_one_running ON what_ifs ((true)) WHERE status = 'running';
CREATE INDEX what_ifs_waiting ON what_ifs (asked_at, id) WHERE status = 'waiting';
CREATE INDEX what_ifs_by_time ON what_ifs (asked_at DESC, id DESC);
