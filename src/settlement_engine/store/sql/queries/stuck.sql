-- name: stuck
-- Open settlements that nothing moves, or that have been in their state for too long: the first of them, oldest
-- first, with the number for each reason; at least one of each reason is returned. Settlements younger than the
-- shortest limit are not examined.
SELECT q.settlement_id, q.obligation_id, q.state, q.rail, q.since, q.reason, q.found_at,
    count(*) OVER (PARTITION BY q.reason) AS of_reason
FROM (
    SELECT o.settlement_id, o.obligation_id, o.state::text AS state, coalesce(a.rail, '') AS rail,
        coalesce(f.locked_at, m.at) AS since, o.found_at,
        CASE
            WHEN o.is_forgotten THEN 'no_next_action'
            WHEN o.owner = 0 AND o.due_at < o.found_at - make_interval(secs => $1) THEN 'unattended'
            WHEN o.owner <> 0 AND NOT EXISTS (
                SELECT 1 FROM engines AS g WHERE g.id = o.owner
                    AND coalesce(g.gone_at, g.lease_until) >= o.found_at - make_interval(secs => $1)
            ) THEN 'unattended'
            WHEN o.state IN ('locked', 'in_doubt') AND a.trace IS NOT NULL AND i.settlement_id IS NULL
                AND a.recorded_at < o.found_at - make_interval(secs => $8) THEN 'not_filed'
            WHEN coalesce(f.locked_at, m.at) < o.found_at - make_interval(secs => CASE
                WHEN f.settlement_id IS NOT NULL THEN coalesce(r.seconds, $4)
                WHEN o.state = 'validating' THEN $2
                WHEN o.state = 'held' THEN $3
            END) THEN 'past_limit'
        END AS reason
    FROM (
        SELECT w.settlement_id, w.owner, w.due_at, s.obligation_id, s.state, s.seq, s.attempt,
            w.owner = 0 AND w.due_at = 'infinity' AND s.state <> 'held' AS is_forgotten,
            statement_timestamp() AS found_at
        FROM open_settlements AS w JOIN settlement_transactions AS s ON s.id = w.settlement_id
        WHERE s.created_at < statement_timestamp() - make_interval(secs => $7)
            OR (w.owner = 0 AND w.due_at = 'infinity' AND s.state <> 'held')
    ) AS o
    JOIN moves AS m ON m.settlement_id = o.settlement_id AND m.seq = o.seq
    LEFT JOIN fund_locks AS f ON f.settlement_id = o.settlement_id AND f.resolved_at IS NULL
    LEFT JOIN attempts AS a ON a.settlement_id = o.settlement_id AND a.number = o.attempt
    LEFT JOIN rail_file_items AS i ON i.settlement_id = o.settlement_id AND i.attempt = o.attempt
    LEFT JOIN unnest($5::text[], $6::double precision[]) AS r (rail, seconds) ON r.rail = a.rail
) AS q
WHERE q.reason IS NOT NULL
ORDER BY row_number() OVER (PARTITION BY q.reason ORDER BY q.since, q.settlement_id) > 1,
    q.since, q.settlement_id
LIMIT $9;

-- name: now
-- The current time.
SELECT statement_timestamp() AS found_at;
