-- name: has_environments
-- Whether the database is of a version that knows environments.
SELECT to_regclass('environments') IS NOT NULL;

-- name: environment
-- Which environment the database belongs to; none as long as nobody has said so.
SELECT name FROM environments ORDER BY id DESC LIMIT 1;

-- name: mark_environment
-- Say it for the first time; whoever comes later changes nothing.
INSERT INTO environments (id, name, set_by, set_at) VALUES (1, $1, $2, clock_timestamp())
ON CONFLICT DO NOTHING;

-- name: replace_environment
-- Say another one, for a copy; of two who do so at once one is refused.
INSERT INTO environments (id, name, set_by, set_at)
SELECT coalesce(max(id), 0) + 1, $1, $2, clock_timestamp() FROM environments;

-- name: has_schema
-- Whether the engine was ever here.
SELECT to_regclass('accounts') IS NOT NULL AND to_regclass('openings') IS NOT NULL;

-- name: is_in_use
-- Whether somebody has used the database already.
SELECT EXISTS (SELECT 1 FROM accounts) OR EXISTS (SELECT 1 FROM openings);
