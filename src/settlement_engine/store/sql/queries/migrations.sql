-- name: lock_migrations
-- One runner at a time; the session's end gives it up.
SELECT pg_advisory_lock($1);

-- name: create_migrations
-- What has been applied.
CREATE TABLE IF NOT EXISTS schema_migrations (
    number integer PRIMARY KEY,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- name: is_widened
-- Whether the table has the column below: only its owner may add it.
SELECT EXISTS (
    SELECT 1 FROM pg_attribute
    WHERE attrelid = to_regclass('schema_migrations') AND attname = 'compatible_from'
);

-- name: widen_migrations
-- The last migration that an engine must know to work with this one; of the first versions, itself.
ALTER TABLE schema_migrations ADD COLUMN compatible_from integer
CHECK (compatible_from BETWEEN number - 1 AND number);

-- name: has_migrations
-- Whether anything was ever applied: a dry run must not write even the table.
SELECT to_regclass('schema_migrations') IS NOT NULL;

-- name: migrations
-- What has been applied, in order. A database that no runner of this version has seen lacks the column.
SELECT m.number, m.name, m.checksum,
    coalesce((to_jsonb(m) ->> 'compatible_from')::integer, m.number) AS compatible_from
FROM schema_migrations AS m ORDER BY m.number;

-- name: remember_migration
-- In the transaction of the migration itself.
INSERT INTO schema_migrations (number, name, checksum, compatible_from) VALUES ($1, $2, $3, $4);

-- name: limit_lock_wait
-- For the transaction: how long it waits for a table, and keeps others waiting.
SELECT set_config('lock_timeout', $1, true);
