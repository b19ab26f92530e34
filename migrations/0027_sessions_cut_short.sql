-- migrate: no transaction

-- Operators filter sessions by the reason of their end, and sort them by time. Most sessions end for one of the two
-- other reasons, so a list of those uses sessions_by_time.
CREATE INDEX CONCURRENTLY IF NOT EXISTS sessions_cut_short ON sessions (end_reason, started_at DESC, id DESC)
    WHERE end_reason IN ('mitra_ended', 'mitra_suspended');
