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

-- name: has_migrations
-- Whether anything was ever applied: a dry run must not write even the table.
SELECT to_regclass('schema_migrations') IS NOT NULL;

-- name: migrations
-- What has been applied, in order.
SELECT number, name, checksum FROM schema_migrations ORDER BY number;

-- name: remember_migration
-- In the transaction of the migration itself.
INSERT INTO schema_migrations (number, name, checksum) VALUES ($1, $2, $3);
