-- name: lock_migrations
-- Allow one migration run at a time; the end of the session releases the lock.
SELECT pg_advisory_lock($1);

-- name: create_migrations
-- The table of applied migrations.
CREATE TABLE IF NOT EXISTS schema_migrations (
    number integer PRIMARY KEY,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- name: is_widened
-- Whether the table has the column added below, which only its owner may add.
SELECT EXISTS (
    SELECT 1 FROM pg_attribute
    WHERE attrelid = to_regclass('schema_migrations') AND attname = 'compatible_from'
);

-- name: widen_migrations
-- The last migration that an engine must know to work with this one; in old rows the migration itself.
ALTER TABLE schema_migrations ADD COLUMN compatible_from integer
CHECK (compatible_from BETWEEN number - 1 AND number);

-- name: has_migrations
-- Whether any migration was ever applied: a dry run must not even create the table.
SELECT to_regclass('schema_migrations') IS NOT NULL;

-- name: migrations
-- The applied migrations, in order. A database migrated by an older version lacks the column.
SELECT m.number, m.name, m.checksum,
    coalesce((to_jsonb(m) ->> 'compatible_from')::integer, m.number) AS compatible_from
FROM schema_migrations AS m ORDER BY m.number;

-- name: remember_migration
-- Record a migration, in the migration's own transaction.
INSERT INTO schema_migrations (number, name, checksum, compatible_from) VALUES ($1, $2, $3, $4);

-- name: limit_lock_wait
-- Limit how long this transaction waits for a table's lock, because others wait behind it.
SELECT set_config('lock_timeout', $1, true);
