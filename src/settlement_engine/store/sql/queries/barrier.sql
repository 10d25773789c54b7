-- name: server
-- The identity of the server and database, its log position on disk, and the settings that could lose
-- acknowledged commits; it reads no table of ours.
SELECT c.system_identifier::text AS system_identifier, d.oid::bigint AS database_id,
    ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::integer AS timeline,
    (pg_current_wal_flush_lsn() - '0/0')::bigint AS flushed, pg_postmaster_start_time() AS started_at,
    concat_ws(', ', CASE WHEN current_setting('fsync') <> 'on' THEN 'fsync is off' END,
        CASE WHEN current_setting('full_page_writes') <> 'on' THEN 'full_page_writes is off' END
    ) AS unsafe
FROM pg_control_system() AS c, pg_database AS d WHERE d.datname = current_database();

-- name: last_opening
-- The latest step, the reason for the barrier, and whether there was ever anything to lose.
SELECT o.era, o.incarnation, o.step, s.why, o.system_identifier, o.timeline, o.database_id,
    (s.detail ->> 'since')::timestamptz AS since, o.at
FROM openings AS o
JOIN openings AS s ON s.era = o.era AND s.step = CASE WHEN o.era = 0 THEN 'opened' ELSE 'shut' END
ORDER BY o.id DESC LIMIT 1;

-- name: all_openings
-- The journal of failover barriers, newest first.
SELECT era, step, why, timeline, detail::text AS detail, at FROM openings ORDER BY id DESC LIMIT $1;

-- name: shut_engines
-- Begin a new epoch with sending paused, unless another engine already has.
SELECT shut_engines($1, $2, $3, $4, $5, $6, $7, $8);

-- name: note_opening
-- Append the next step of the current recovery; only while it is the latest.
INSERT INTO openings (
    era, incarnation, step, why, system_identifier, timeline, database_id, detail, at
)
SELECT o.era, o.incarnation, $2, o.why, o.system_identifier, o.timeline, o.database_id, $3::text::jsonb,
    clock_timestamp()
FROM (SELECT * FROM openings ORDER BY id DESC LIMIT 1) AS o
WHERE o.incarnation = $1 AND o.step <> 'opened'
RETURNING era;

-- name: is_confirmed
-- Whether a person has confirmed this recovery without a bank's list.
SELECT EXISTS (SELECT 1 FROM openings WHERE incarnation = $1 AND step = 'confirmed');

-- name: listed_rails
-- The rails whose banks' lists were compared in this recovery.
SELECT DISTINCT detail ->> 'rail' AS rail FROM openings WHERE incarnation = $1 AND step = 'listed';

-- name: try_opening
-- Acquire or keep the leadership of the recovery; the end of the session releases it. The key is 8089.
SELECT pg_try_advisory_lock(8089, 0);

-- name: others_alive
-- Count engines of the earlier epoch whose leases have not expired: they may not have noticed the new epoch yet.
SELECT count(*) FROM engines AS g
WHERE g.lease_until > clock_timestamp()
    AND g.id < (SELECT max(n.id) FROM engines AS n WHERE n.pid = 0);

-- name: unclaimed
-- Count settlements owned by engines of the earlier epoch that no engine has claimed since.
SELECT count(*) FROM open_settlements AS w
WHERE w.owner <> 0 AND NOT EXISTS (
    SELECT 1 FROM engines AS g WHERE g.id = w.owner AND g.gone_at IS NULL
);

-- name: last_written
-- The time of the last write, as far as this database knows; else of its creation.
SELECT coalesce(
    (SELECT m.at FROM moves AS m ORDER BY m.position DESC LIMIT 1),
    (SELECT min(s.applied_at) FROM schema_migrations AS s)
);

-- name: move_at
-- The transition at a stream position.
SELECT settlement_id, seq, at FROM moves WHERE position = $1;

-- name: known_payments
-- Which of these references we know, from an attempt of ours or from an earlier case. Settlement ids grow with
-- time, so that a recent lower bound limits the rows that are read.
SELECT a.end_to_end_id AS reference, a.settlement_id, a.number, s.state::text AS state
FROM attempts AS a JOIN settlement_transactions AS s ON s.id = a.settlement_id
WHERE a.settlement_id >= $2 AND a.end_to_end_id = ANY ($1::text[])
UNION ALL
SELECT e.fingerprint, NULL, NULL, NULL
FROM exceptions AS e
WHERE e.settlement_id IS NULL AND e.kind = 'unknown_payment' AND e.fingerprint = ANY ($1::text[]);

-- name: report_unknown
-- Open one case for each payment that the bank has and we do not; repeating the call opens no second one.
INSERT INTO exceptions (settlement_id, kind, fingerprint, detail, opened_at)
SELECT NULL, 'unknown_payment', q.reference, q.detail::jsonb, clock_timestamp()
FROM unnest($1::text[], $2::text[]) AS q (reference, detail)
ON CONFLICT DO NOTHING RETURNING id;

-- name: unknown_payments
-- The references of payments that the bank has and we do not, unless a person has closed the case.
SELECT e.fingerprint AS reference FROM exceptions AS e
WHERE e.settlement_id IS NULL AND e.kind = 'unknown_payment' AND e.closed_at IS NULL
ORDER BY e.id DESC LIMIT $1;

-- name: confirm_replication
-- A commit that waits for the synchronous standby, and so for every commit before it.
SELECT pg_logical_emit_message(true, 'settlement-engine', 'confirm');
