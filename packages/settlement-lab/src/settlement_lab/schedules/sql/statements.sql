-- name: end_session
-- Release the session's locks, as the end of its connection would.
SELECT pg_advisory_unlock_all();

-- name: bury_engines
-- Declare every engine of earlier schedules gone.
UPDATE engines SET gone_at = clock_timestamp() WHERE gone_at IS NULL;

-- name: set_aside
-- What an earlier schedule has left open belongs to no engine; that it was left open is reported already.
UPDATE open_settlements SET owner = 0, due_at = 'infinity';

-- name: open_house
-- Open the accounts of a schedule, with the funding of the first bank.
SELECT virtual.open_house($1, $2, $3, $4, $5, $6, $7);
