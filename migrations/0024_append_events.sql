-- Append events to their streams, and advance each stream's head by the number of its new events. The `seq` numbers of
-- a stream have no gaps. The first event of a new stream has the number 1. Each array has one element per event.
-- Returns one row per event, in the order of the arrays. A statement that also writes other rows calls this function,
-- and so saves the round trip of a second statement.
CREATE FUNCTION append_events(roles text[], user_ids uuid[], types text[], data text[])
    RETURNS TABLE (seq bigint, at timestamptz)
    LANGUAGE sql VOLATILE AS $$
WITH given_events AS MATERIALIZED (
    SELECT event.role, event.user_id, event.type, event.data, event.position,
        row_number() OVER (PARTITION BY event.role, event.user_id ORDER BY event.position DESC) - 1 AS followed_by
    FROM unnest(roles, user_ids, types, data) WITH ORDINALITY AS event (role, user_id, type, data, position)
), advance_heads AS (
    INSERT INTO streams (role, user_id, head)
    SELECT given.role, given.user_id, count(*) FROM given_events AS given
    GROUP BY given.role, given.user_id ORDER BY given.role, given.user_id
    ON CONFLICT (role, user_id) DO UPDATE SET head = streams.head + excluded.head
    RETURNING streams.role, streams.user_id, streams.head
), numbered_events AS MATERIALIZED (
    SELECT given.position, role, user_id, given.type, given.data, advanced.head - given.followed_by AS seq,
        curhat_now() AS at
    FROM given_events AS given
    JOIN advance_heads AS advanced USING (role, user_id)
), store_events AS (
    INSERT INTO stream_events (role, user_id, seq, type, data, at)
    SELECT numbered.role, numbered.user_id, numbered.seq, numbered.type, numbered.data, numbered.at
    FROM numbered_events AS numbered
)
SELECT numbered.seq, numbered.at FROM numbered_events AS numbered ORDER BY numbered.position
$$;
