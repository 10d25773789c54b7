-- name: next_engine
-- A number for a new owner, before its row exists.
SELECT nextval(pg_get_serial_sequence('engines', 'id'));

-- name: database_time
-- What time it is, by the one clock that decisions about money go by.
SELECT clock_timestamp();

-- name: hold_session
-- The session lock that says that this engine lives.
SELECT hold_engine_lock($1);

-- name: join_engine
-- Make the engine known; its session lock is held already.
INSERT INTO engines (id, host, pid, lease_until) OVERRIDING SYSTEM VALUE
VALUES ($1, $2, $3, clock_timestamp() + make_interval(secs => $4));

-- name: beat
-- Renew the lease, unless others have declared this engine gone; and say how far the log is on disk, and
-- which settings would let commits be lost.
UPDATE engines SET lease_until = clock_timestamp() + make_interval(secs => $2)
WHERE id = $1 AND gone_at IS NULL
RETURNING id, (pg_current_wal_flush_lsn() - '0/0')::bigint AS flushed,
    concat_ws(', ', CASE WHEN current_setting('fsync') <> 'on' THEN 'fsync is off' END,
        CASE WHEN current_setting('full_page_writes') <> 'on' THEN 'full_page_writes is off' END
    ) AS unsafe;

-- name: leave_engine
-- The engine goes of its own will, or knows by now that it was declared gone.
UPDATE engines SET gone_at = coalesce(gone_at, clock_timestamp()), lease_until = clock_timestamp()
WHERE id = $1;

-- name: set_limits
-- The limits of a session, for as long as it lasts. How a commit waits is taken from the server, but never
-- that it does not; as a setting of the session it stays, whatever is set afterwards.
SELECT set_config(q.name, q.value, false) FROM unnest($1::text[], $2::text[]) AS q (name, value)
UNION ALL
SELECT set_config(
    'synchronous_commit', CASE s.setting WHEN 'off' THEN 'on' ELSE s.setting END, false
)
FROM (SELECT current_setting('synchronous_commit') AS setting) AS s
WHERE 'synchronous_commit' <> ALL ($1::text[]);

-- name: safety_settings
-- What must hold before money is entrusted to this server.
SELECT name, setting FROM pg_settings
WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit', 'server_version_num');

-- name: probe_write
-- Write a row that needs new room on the disk.
SELECT probe_write();

-- name: backend
-- Which process of the server works for this session.
SELECT pg_backend_pid();
