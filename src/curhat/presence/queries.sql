-- name: read_mitra_states :many
-- What availability depends on, of these mitras. push_reachable_seconds says for how long push still reaches
-- the mitra: what is left of @push_window_seconds since the app was last seen, while a subscription has not
-- failed; else 0. availability_version grows with each change of the other columns, except for the passing of
-- time.
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
-- Locks these mitras in id order and reads their intent. Callers change a mitra in a later statement, never in
-- the one that locks it. After its wait, such a statement would also lock the row version that it read first.
-- If another transaction holds a key share on that version (it inserts a request that refers to the mitra),
-- PostgreSQL queues the statement behind the next waiter, which waits for it: a deadlock.
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
-- The mitras whom push reaches: last seen within @push_window_seconds, with a subscription that has not failed.
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
-- mitras.last_seen_at: any → @ages_seconds ago, never back. Returns the mitras that it wrote. It skips rows
-- that another transaction has locked, so it waits for nobody and takes part in no deadlock.
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
