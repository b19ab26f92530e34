-- A failover or a restore to an earlier time may lose commits. Afterwards, what Valkey and the clients remember can be
-- newer than what PostgreSQL holds. PostgreSQL begins a new timeline each time, so the timeline tells the two apart.

-- Returns the number of PostgreSQL's timeline: 1 at first, and higher after each failover or restore. A standby has no
-- timeline of its own. It answers with the error of a server that cannot write.
CREATE FUNCTION curhat_timeline() RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    IF pg_is_in_recovery() THEN
        RAISE EXCEPTION 'this server is a standby' USING ERRCODE = 'read_only_sql_transaction';
    END IF;
    RETURN ('x' || lpad(left(pg_walfile_name(pg_current_wal_lsn()), 8), 16, '0'))::bit(64)::bigint;
END $$;

-- Returns the number that orders a mitra's states: higher for a later state, and higher for every state of a later
-- timeline. It fits into the integers of Lua (2^53) for 8,000 timelines.
CREATE FUNCTION ordered_version(version bigint) RETURNS bigint
    LANGUAGE sql VOLATILE
    RETURN version + (curhat_timeline() - 1) * 1099511627776;

-- Returns the epoch of a stream on the current timeline. A client that has seen events of an earlier timeline cannot
-- resume, because the numbers of these events may belong to other events now.
CREATE FUNCTION epoch_on_timeline(epoch uuid) RETURNS uuid
    LANGUAGE sql VOLATILE
    RETURN CASE curhat_timeline() WHEN 1 THEN epoch ELSE md5(epoch::text || curhat_timeline())::uuid END;
