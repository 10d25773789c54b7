-- name: end_session
-- Release the session's locks, as the end of its connection would.
SELECT pg_advisory_unlock_all();

-- name: mark_engines_gone
-- Mark every engine of earlier schedules as gone.
UPDATE engines SET gone_at = clock_timestamp() WHERE gone_at IS NULL;

-- name: set_aside
-- Take the settlements that an earlier schedule left open out of every engine's reach; they are reported already.
UPDATE open_settlements SET owner = 0, due_at = 'infinity';

-- name: open_accounts
-- Open the accounts of a schedule, with the funding of the first bank.
SELECT virtual.open_accounts($1, $2, $3, $4, $5, $6, $7);
