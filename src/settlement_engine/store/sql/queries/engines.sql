-- name: next_engine
-- Allocate an engine id before its row exists.
SELECT nextval(pg_get_serial_sequence('engines', 'id'));

-- name: database_time
-- The current time of the database, the only clock for decisions about money.
SELECT clock_timestamp();

-- name: hold_session
-- Acquire the session lock that shows that this engine is alive.
SELECT hold_engine_lock($1);

-- name: join_engine
-- Register the engine; it already holds its session lock.
INSERT INTO engines (id, host, pid, lease_until) OVERRIDING SYSTEM VALUE
VALUES ($1, $2, $3, clock_timestamp() + make_interval(secs => $4));

-- name: beat
-- Renew the lease, unless other engines have declared this engine gone; return the log position on disk and the
-- settings that could lose acknowledged commits.
UPDATE engines SET lease_until = clock_timestamp() + make_interval(secs => $2)
WHERE id = $1 AND gone_at IS NULL
RETURNING id, (pg_current_wal_flush_lsn() - '0/0')::bigint AS flushed,
    concat_ws(', ', CASE WHEN current_setting('fsync') <> 'on' THEN 'fsync is off' END,
        CASE WHEN current_setting('full_page_writes') <> 'on' THEN 'full_page_writes is off' END
    ) AS unsafe;

-- name: leave_engine
-- Mark the engine as gone: it stops, or it has learned that it was declared gone.
UPDATE engines SET gone_at = coalesce(gone_at, clock_timestamp()), lease_until = clock_timestamp()
WHERE id = $1;

-- name: set_limits
-- Set the limits of a session for its lifetime. How a commit waits follows the server's setting, except that it
-- always waits for the local disk; as a setting of the session it is not affected by later changes.
SELECT set_config(q.name, q.value, false) FROM unnest($1::text[], $2::text[]) AS q (name, value)
UNION ALL
SELECT set_config(
    'synchronous_commit', CASE s.setting WHEN 'off' THEN 'on' ELSE s.setting END, false
)
FROM (SELECT current_setting('synchronous_commit') AS setting) AS s
WHERE 'synchronous_commit' <> ALL ($1::text[]);

-- name: safety_settings
-- The settings that must be safe before money is entrusted to this server.
SELECT name, setting FROM pg_settings
WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit', 'server_version_num');

-- name: probe_write
-- Write a row that needs new space on the disk.
SELECT probe_write();

-- name: backend
-- The server process that serves this session.
SELECT pg_backend_pid();
