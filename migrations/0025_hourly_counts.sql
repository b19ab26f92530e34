-- This table holds the counts of each past hour for the dashboard's charts. The worker writes a row 10 minutes after
-- the hour has ended, and no row changes afterwards. So a chart counts only the rows of the newest hours in the tables
-- of payments, sessions and failed pairings.
CREATE TABLE hourly_counts (
    began_at timestamptz PRIMARY KEY CHECK (began_at = date_trunc('hour', began_at, 'UTC')),
    opened bigint NOT NULL,
    confirmed bigint NOT NULL,
    matched bigint NOT NULL,
    finished bigint NOT NULL,
    failed bigint NOT NULL
);

-- Count the events of the hour that began at `hour_began_at`. `opened` and `confirmed` count payments for sessions.
-- `matched` counts the sessions that started, and `finished` counts the sessions that ended. `failed` counts the failed
-- pairings.
CREATE FUNCTION count_hour(hour_began_at timestamptz)
    RETURNS TABLE (opened bigint, confirmed bigint, matched bigint, finished bigint, failed bigint)
    LANGUAGE sql STABLE AS $$
SELECT
    (SELECT count(*) FROM payments WHERE purpose = 'session'
        AND created_at >= hour_began_at AND created_at < hour_began_at + interval '1 hour'),
    (SELECT count(*) FROM payments WHERE purpose = 'session'
        AND confirmed_at >= hour_began_at AND confirmed_at < hour_began_at + interval '1 hour'),
    (SELECT count(*) FROM sessions
        WHERE started_at >= hour_began_at AND started_at < hour_began_at + interval '1 hour'),
    (SELECT count(*) FROM sessions
        WHERE ended_at >= hour_began_at AND ended_at < hour_began_at + interval '1 hour'),
    (SELECT count(*) FROM failed_pairing_events
        WHERE occurred_at >= hour_began_at AND occurred_at < hour_began_at + interval '1 hour')
$$;
