-- A failover or a restore to an earlier time can lose commits. Valkey and the clients can then remember states that
-- PostgreSQL has lost. PostgreSQL begins a new timeline at each failover or restore, so the timeline separates lost
-- states from new states.

-- curhat_timeline() returns the number of PostgreSQL's timeline. The number is 1 at first, and higher after each
-- failover or restore. On a standby, curhat_timeline() raises the error of a server that cannot write, because a
-- standby has no timeline of its own.
CREATE FUNCTION curhat_timeline() RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    IF pg_is_in_recovery() THEN
        RAISE EXCEPTION 'this server is a standby' USING ERRCODE = 'read_only_sql_transaction';
    END IF;
    RETURN ('x' || lpad(left(pg_walfile_name(pg_current_wal_lsn()), 8), 16, '0'))::bit(64)::bigint;
END $$;

-- ordered_version() returns the number that orders a mitra's states. On one timeline, a later state has a higher number
-- than an earlier state. On a later timeline, every state has a higher number than all states of the earlier timelines.
-- On the first 8,000 timelines, the numbers fit into the integers of Lua (2^53).
CREATE FUNCTION ordered_version(version bigint) RETURNS bigint
    LANGUAGE sql VOLATILE
    RETURN version + (curhat_timeline() - 1) * 1099511627776;

-- epoch_on_timeline() returns the epoch of a stream on the current timeline. A client that has seen events of an
-- earlier timeline cannot resume, because the events of the current timeline can have the same numbers as the events
-- that the client has seen.
CREATE FUNCTION epoch_on_timeline(epoch uuid) RETURNS uuid
    LANGUAGE sql VOLATILE
    RETURN CASE curhat_timeline() WHEN 1 THEN epoch ELSE md5(epoch::text || curhat_timeline())::uuid END;
