-- name: has_environments
-- Whether the database's version has the table of environments.
SELECT to_regclass('environments') IS NOT NULL;

-- name: environment
-- The environment to which the database belongs; no row while it has no mark.
SELECT name FROM environments ORDER BY id DESC LIMIT 1;

-- name: mark_environment
-- Set the first mark; a later call changes nothing.
INSERT INTO environments (id, name, set_by, set_at) VALUES (1, $1, $2, clock_timestamp())
ON CONFLICT DO NOTHING;

-- name: replace_environment
-- Replace the mark, for a copy of a database; of two concurrent calls one fails.
INSERT INTO environments (id, name, set_by, set_at)
SELECT coalesce(max(id), 0) + 1, $1, $2, clock_timestamp() FROM environments;

-- name: has_schema
-- Whether the engine's schema was ever installed here.
SELECT to_regclass('accounts') IS NOT NULL AND to_regclass('openings') IS NOT NULL;

-- name: is_in_use
-- Whether the database has been used already.
SELECT EXISTS (SELECT 1 FROM accounts) OR EXISTS (SELECT 1 FROM openings);
