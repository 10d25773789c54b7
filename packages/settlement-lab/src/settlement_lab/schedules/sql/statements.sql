-- name: end_session
-- Give up the session's locks, as the end of its connection would.
SELECT pg_advisory_unlock_all();

-- name: bury_engines
-- Every engine of the schedules before is gone.
UPDATE engines SET gone_at = clock_timestamp() WHERE gone_at IS NULL;

-- name: set_aside
-- What an earlier schedule has left open, for that was a finding, is nobody's.
UPDATE open_settlements SET owner = 0, due_at = 'infinity';

-- name: open_house
-- The accounts of a schedule, with what the first bank has paid in.
SELECT virtual.open_house($1, $2, $3, $4, $5, $6, $7);
