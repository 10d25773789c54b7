-- name: lock_settlement_for_recall
-- The state of a settlement, which cannot change until the transaction ends.
SELECT state::text AS state FROM settlement_transactions WHERE id = $1 FOR UPDATE;

-- name: recall_steps
-- The steps of these settlements' recalls, oldest first.
SELECT settlement_id, seq, event, state, detail::text AS detail, at
FROM recall_steps WHERE settlement_id = ANY ($1::uuid[]) ORDER BY settlement_id, seq;

-- name: add_recall_step
-- Append a step, unless the recall has changed: then its number is taken, and no row is returned.
INSERT INTO recall_steps (settlement_id, seq, event, state, detail)
SELECT $1::uuid, $2::smallint, $3, $4, $5::text::jsonb
WHERE $2::smallint = 1 + coalesce(
    (SELECT max(s.seq) FROM recall_steps AS s WHERE s.settlement_id = $1), 0
)
ON CONFLICT DO NOTHING RETURNING seq;

-- name: open_recall
-- From now on something is waited for; it is due at once.
INSERT INTO open_recalls (settlement_id) VALUES ($1)
ON CONFLICT (settlement_id) DO UPDATE SET due_at = clock_timestamp();

-- name: expect_returns
-- The recalls of these settlements are due, also those that have ended: money comes back.
INSERT INTO open_recalls (settlement_id)
SELECT r.settlement_id FROM recall_steps AS r WHERE r.settlement_id = ANY ($1::uuid[]) AND r.seq = 1
ORDER BY r.settlement_id
ON CONFLICT (settlement_id) DO UPDATE SET due_at = clock_timestamp();

-- name: close_recall
-- Nothing is waited for any more.
DELETE FROM open_recalls WHERE settlement_id = $1;

-- name: open_overdue_recall
-- Open the exception of a recall that is overdue.
INSERT INTO exceptions (settlement_id, kind, fingerprint, detail, opened_at)
SELECT r.settlement_id, 'recall_overdue', $2::smallint::text,
    jsonb_build_object('rail', a.rail, 'since', to_char(
        r.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"'
    )),
    clock_timestamp()
FROM recall_steps AS r
JOIN settlement_transactions AS s ON s.id = r.settlement_id
JOIN attempts AS a ON a.settlement_id = s.id AND a.number = s.attempt
WHERE r.settlement_id = $1 AND r.seq = 1
ON CONFLICT DO NOTHING;

-- name: close_overdue_recall
-- Close the exception of a recall that has moved on.
UPDATE exceptions SET closed_at = clock_timestamp(), closed_by = $2, close_reason = $3
WHERE settlement_id = $1 AND kind = 'recall_overdue' AND closed_at IS NULL;

-- name: open_recall_counts
-- The number of recalls for which something is waited for, by state, counted up to a limit.
SELECT s.state, count(*) AS recalls
FROM (SELECT o.settlement_id FROM open_recalls AS o LIMIT $1) AS q
CROSS JOIN LATERAL (
    SELECT r.state FROM recall_steps AS r WHERE r.settlement_id = q.settlement_id
    ORDER BY r.seq DESC LIMIT 1
) AS s
GROUP BY s.state;

-- name: take_due_recalls
-- Take recalls that are due, oldest first. Each is due again after a pause that doubles up to $3 seconds.
UPDATE open_recalls AS o SET
    asked = o.asked + 1,
    due_at = clock_timestamp() + make_interval(
        secs => least($2::double precision * 2 ^ least(o.asked, 30), $3::double precision)
    )
FROM (
    SELECT d.settlement_id FROM open_recalls AS d WHERE d.due_at <= clock_timestamp()
    ORDER BY d.due_at LIMIT $1 FOR UPDATE SKIP LOCKED
) AS q
WHERE o.settlement_id = q.settlement_id
RETURNING o.settlement_id;
