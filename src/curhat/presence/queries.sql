-- name: states
-- Reads the state of the mitras $1. Changes nothing.
SELECT id, display_name, online, suspended_at IS NOT NULL AS suspended, active_sessions, max_customers,
    availability_version, push_ready, extract(epoch FROM curhat_now() - last_seen_at)::float8 AS unseen_seconds
FROM mitras
WHERE id = ANY ($1::uuid[])

-- name: set_intent
-- mitras.online: whatever it is → $2. Gives the state after it, and whether it was another before.
WITH before AS MATERIALIZED (
    SELECT id, online FROM mitras WHERE id = $1 FOR NO KEY UPDATE
)
UPDATE mitras SET online = $2
FROM before
WHERE mitras.id = before.id
RETURNING mitras.id, mitras.display_name, mitras.online, mitras.suspended_at IS NOT NULL AS suspended,
    mitras.active_sessions, mitras.max_customers, mitras.availability_version, mitras.push_ready,
    extract(epoch FROM curhat_now() - mitras.last_seen_at)::float8 AS unseen_seconds,
    before.online IS DISTINCT FROM mitras.online AS changed

-- name: push_reachable
-- Reads which mitras push reaches: seen within $1 seconds, with a subscription that has not failed.
SELECT id FROM mitras
WHERE push_ready AND online AND suspended_at IS NULL
    AND last_seen_at > (SELECT curhat_now() - make_interval(secs => $1))

-- name: release_places
-- mitras.active_sessions: n → n - 1 for each time that the mitra is among $1. Below zero violates the table's check.
WITH ended AS (
    SELECT mitra_id, count(*)::integer AS places FROM unnest($1::uuid[]) AS mitra_id GROUP BY mitra_id
), locked AS MATERIALIZED (
    SELECT id FROM mitras WHERE id = ANY ($1) ORDER BY id FOR NO KEY UPDATE
)
UPDATE mitras SET active_sessions = mitras.active_sessions - ended.places
FROM locked JOIN ended ON ended.mitra_id = locked.id
WHERE mitras.id = locked.id

-- name: write_last_seen
-- mitras.last_seen_at: → $2 seconds ago, never back. A row that another transaction holds is left
-- for the next time: this waits for nobody and has no part in any deadlock. Gives the mitras it wrote.
WITH seen AS (
    SELECT mitra_id, curhat_now() - make_interval(secs => age_seconds) AS seen_at
    FROM unnest($1::uuid[], $2::double precision[]) AS frames (mitra_id, age_seconds)
), free AS MATERIALIZED (
    SELECT id FROM mitras WHERE id = ANY ($1::uuid[]) ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE mitras SET last_seen_at = greatest(mitras.last_seen_at, seen.seen_at)
FROM free JOIN seen ON seen.mitra_id = free.id
WHERE mitras.id = free.id
RETURNING mitras.id
