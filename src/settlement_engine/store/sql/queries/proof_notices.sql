-- The notices: facts that are announced and are no moves of settlements.

-- name: prove_notices_are_whole
-- Positions are gapless in each epoch, from its first position up to the head.
SELECT 'notices' AS subject, 'no gap, and nothing after ' || h.position AS expected,
    format('%s of %s notices follow the one before, last %s', count(*) FILTER (WHERE n.follows),
        count(n.position), coalesce(max(n.position), 0)) AS found
FROM notice_head AS h LEFT JOIN (
    SELECT x.position, x.position = lag(x.position, 1, 0) OVER w + 1
        OR x.position % 10000000000000 = 1 AS follows
    FROM notices AS x WINDOW w AS (ORDER BY x.position)
) AS n ON true
GROUP BY h.position
HAVING count(*) FILTER (WHERE n.follows) <> count(n.position) OR h.position <> coalesce(max(n.position), 0);

-- name: prove_facts_have_notices
-- Each fact that is announced has its notice, since there are any.
SELECT f.subject, 'a notice' AS expected, 'none' AS found
FROM notice_head AS h CROSS JOIN LATERAL (
    SELECT 'recall ' || r.settlement_id || '/' || r.seq AS subject FROM recall_steps AS r
    WHERE r.at >= h.began_at AND NOT EXISTS (
        SELECT FROM notices AS n WHERE n.settlement_id = r.settlement_id AND n.seq = r.seq
    )
    UNION ALL
    SELECT 'break ' || e.break_id || '/' || e.number FROM break_events AS e
    WHERE e.event = 'escalated' AND e.at >= h.began_at AND NOT EXISTS (
        SELECT FROM notices AS n WHERE n.break_id = e.break_id AND n.number = e.number
    )
    UNION ALL
    SELECT 'report ' || r.run_id || '/' || r.currency FROM reconciliation_reports AS r
    WHERE r.discrepancy_accounts > 0 AND r.created_at >= h.began_at AND NOT EXISTS (
        SELECT FROM notices AS n WHERE n.run_id = r.run_id AND n.currency = r.currency
    )
    UNION ALL
    SELECT 'proof ' || p.id FROM proofs AS p
    WHERE p.is_zero AND p.at >= h.began_at AND NOT EXISTS (
        SELECT FROM notices AS n WHERE n.proof_id = p.id
    )
) AS f;
