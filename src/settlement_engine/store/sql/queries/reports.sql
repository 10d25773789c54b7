-- name: report_place
-- Where the moves of a time are in the stream: after one position, up to another. The sums keep the planner from
-- walking the stream from one of its ends.
SELECT coalesce(min(position + 0) - 1, 0) AS after, coalesce(max(position + 0), 0) AS last
FROM moves WHERE at >= $1 AND at < $2;

-- name: report_page_end
-- The position of the $3-th move after the next one; no row when fewer are left.
SELECT position FROM moves WHERE position > $1 AND position < $2 ORDER BY position OFFSET $3 LIMIT 1;

-- name: reported_settlements
-- What happened after $1 up to $2 in the stream, and from $3 on and before $4: each settlement at the first of its
-- moves in that time, with its state before $5, and what was posted in that time. No filter is one that an index
-- knows: a page is read from the stream.
SELECT s.id, s.obligation_id, s.from_bank, s.to_bank, s.currency, s.amount_minor, known.to_state::text AS state,
    s.value_date, s.created_at, ended.at AS ended_at, a.rail, a.delivery::text AS delivery, a.uetr::text AS uetr,
    coalesce(p.payment #>> '{payment,end_to_end_id}', a.end_to_end_id) AS end_to_end_id,
    p.payment #>> '{payment,purpose}' AS purpose, booked.settled AS settled_minor,
    booked.returned AS returned_minor, booked.charges AS charges_minor
FROM moves AS m
JOIN settlement_transactions AS s ON s.id = m.settlement_id
CROSS JOIN LATERAL (
    SELECT n.to_state, n.attempt FROM moves AS n
    WHERE n.settlement_id = m.settlement_id AND n.at < $5 ORDER BY n.seq DESC LIMIT 1
) AS known
LEFT JOIN LATERAL (
    SELECT n.at FROM moves AS n
    WHERE n.settlement_id = m.settlement_id AND n.at < $5
        AND n.to_state IN ('completed', 'failed', 'rolled_back', 'returned')
        AND n.from_state NOT IN ('completed', 'failed', 'rolled_back', 'returned')
    ORDER BY n.seq LIMIT 1
) AS ended ON true
LEFT JOIN attempts AS a ON a.settlement_id = s.id AND a.number = known.attempt
LEFT JOIN payment_details AS p ON p.settlement_id = s.id
CROSS JOIN LATERAL (
    SELECT coalesce(sum(t.amount_minor) FILTER (WHERE t.leg = 1), 0) AS settled,
        coalesce(sum(t.amount_minor) FILTER (WHERE t.leg = 4), 0) AS returned,
        coalesce(sum(t.amount_minor) FILTER (WHERE t.leg = 8), 0) AS charges
    FROM transfers AS t WHERE t.group_id = s.id AND t.at >= $3 AND t.at < $4
) AS booked
WHERE m.position > $1 AND m.position <= $2 AND m.at >= $3 AND m.at < $4
    AND NOT EXISTS (
        SELECT 1 FROM moves AS e
        WHERE e.settlement_id = m.settlement_id AND e.seq < m.seq AND e.at >= $3
    )
    AND ($6::text IS NULL OR known.to_state = $6::text::settlement_state)
    AND ($7::text IS NULL OR ARRAY[folded_bank(s.from_bank), folded_bank(s.to_bank)] @> ARRAY[$7::text])
    AND ($8::text IS NULL OR s.currency || '' = $8)
ORDER BY m.position;
