-- name: read_mitra_states :many
-- The columns on which the availability of these mitras depends. push_reachable_seconds says how long push can
-- still reach the mitra. If a subscription has not failed, this is the rest of @push_window_seconds since the
-- app was last seen; otherwise it is 0. availability_version grows with every change of the other columns. It
-- does not grow when only time passes.
-- row: MitraState
SELECT id, display_name, online, suspended_at IS NOT NULL AS suspended, can_take_customer, active_sessions,
    max_customers,
    CASE WHEN push_ready
        THEN greatest(0, @push_window_seconds - extract(epoch FROM curhat_now() - last_seen_at)::float8)
        ELSE 0
    END AS push_reachable_seconds,
    availability_version
FROM mitras
WHERE id = ANY (@mitra_ids::uuid[])

-- name: lock_mitras :many
-- Lock these mitras in id order, and read their toggles. A caller changes a mitra only in a later statement. A
-- statement that both locks and changes the mitra can deadlock. After its wait it also locks the row version
-- that it read first. If another transaction holds FOR KEY SHARE on that version (it inserts a request that
-- refers to the mitra), PostgreSQL queues the statement behind the next waiter. That waiter waits for the
-- statement.
-- row: LockedMitra
SELECT id, online FROM mitras WHERE id = ANY (@mitra_ids::uuid[]) ORDER BY id FOR NO KEY UPDATE

-- name: set_intent :one
-- mitras.online: any → @online. The caller holds the row's lock. Returns the state after the change.
-- row: MitraState
UPDATE mitras SET online = @online
WHERE id = @mitra_id
RETURNING id, display_name, online, suspended_at IS NOT NULL AS suspended, can_take_customer, active_sessions,
    max_customers,
    CASE WHEN push_ready
        THEN greatest(0, @push_window_seconds - extract(epoch FROM curhat_now() - last_seen_at)::float8)
        ELSE 0
    END AS push_reachable_seconds,
    availability_version

-- name: read_push_reachable_mitras :many
-- The mitras whom push can reach. They were last seen within @push_window_seconds, and have a subscription that
-- has not failed.
SELECT id FROM mitras
WHERE push_ready AND online AND suspended_at IS NULL
    AND last_seen_at > (SELECT curhat_now() - make_interval(secs => @push_window_seconds))

-- name: take_place :exec
-- mitras.active_sessions: n → n + 1. The caller holds the row's lock.
UPDATE mitras SET active_sessions = active_sessions + 1 WHERE id = @mitra_id

-- name: release_places :exec
-- mitras.active_sessions: n → n - 1 for each time that the mitra is among @mitra_ids. The caller holds the
-- rows' locks. Below zero violates the table's CHECK.
UPDATE mitras SET active_sessions = mitras.active_sessions - ended.places
FROM (
    SELECT mitra_id, count(*)::integer AS places FROM unnest(@mitra_ids::uuid[]) AS mitra_id GROUP BY mitra_id
) AS ended
WHERE mitras.id = ended.mitra_id

-- name: write_last_seen :many
-- mitras.last_seen_at: any → @ages_seconds ago. The column never moves back in time. Returns the mitras whose
-- row changed. The statement skips rows that another transaction has locked, so it never waits and never takes
-- part in a deadlock.
WITH seen AS (
    SELECT mitra_id, curhat_now() - make_interval(secs => age_seconds) AS seen_at
    FROM unnest(@mitra_ids::uuid[], @ages_seconds::double precision[]) AS frames (mitra_id, age_seconds)
), locked_mitras AS MATERIALIZED (
    SELECT id FROM mitras WHERE id = ANY (@mitra_ids::uuid[]) ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE mitras SET last_seen_at = greatest(mitras.last_seen_at, seen.seen_at)
FROM locked_mitras JOIN seen ON seen.mitra_id = locked_mitras.id
WHERE mitras.id = locked_mitras.id
RETURNING mitras.id
