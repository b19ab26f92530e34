-- migrate: no transaction

-- Operators filter sessions by the reason of their end, and sort them by time. Most sessions end for a reason that this
-- index leaves out, so a list of these sessions uses the index sessions_by_time.
CREATE INDEX CONCURRENTLY IF NOT EXISTS sessions_cut_short ON sessions (end_reason, started_at DESC, id DESC)
    WHERE end_reason IN ('mitra_ended', 'mitra_suspended');
