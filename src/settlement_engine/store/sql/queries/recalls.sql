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

-- name: close_recall
-- Nothing is waited for any more.
DELETE FROM open_recalls WHERE settlement_id = $1;

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
