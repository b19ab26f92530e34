-- name: allow_long_statements :one
-- Let each later statement of this transaction run for up to 15 minutes. The role's own limit is a few seconds.
SELECT set_config('statement_timeout', '15min', true) AS statement_timeout

-- name: list_serving :many
-- List the servers and workers that are connected to this database for longer than a second. A process that waits for the
-- database to be opened connects for milliseconds.
SELECT application_name || ' (PostgreSQL process ' || pid || ', from '
    || coalesce(host(client_addr), 'this machine') || ')' AS process
FROM pg_stat_activity
WHERE datname = current_database() AND application_name IN ('curhat server', 'curhat worker')
    AND backend_start < clock_timestamp() - interval '1 second'
ORDER BY pid

-- name: find_recovery_end :one
-- Return the time to which PostgreSQL recovered this database: the target of the recovery, or the last commit that the
-- recovery replayed. Null: PostgreSQL does not know it any more. Later changes of this database are not recovered ones.
-- nullable: recovered_to
SELECT least(
    nullif(current_setting('recovery_target_time'), '')::timestamptz, pg_last_xact_replay_timestamp()
) AS recovered_to

-- name: begin_restore :exec
-- nothing → begun. Changes nothing if the restore has begun already. Without any change in the database, the gateway
-- lists everything that it has.
-- nullable: @newest_change_at
INSERT INTO restores (marker, restored_to) VALUES (@marker, coalesce(@newest_change_at::timestamptz, 'epoch'))
ON CONFLICT (marker) DO NOTHING

-- name: lock_restore :one
-- Lock the row of a restore that has begun, so that two commands take turns.
-- nullable: opened_at
SELECT restored_to, opened_at FROM restores WHERE marker = @marker FOR UPDATE

-- name: open_database :exec
-- begun → opened.
UPDATE restores SET opened_at = curhat_now(), broken_invariants = @broken_invariants
WHERE marker = @marker AND opened_at IS NULL
