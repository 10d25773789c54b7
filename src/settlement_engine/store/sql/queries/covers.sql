-- Cover payments: the covers of customers' payments, and what their banks have said of them.

-- name: latest_covers
-- The last cover of each attempt, how often it was allowed to leave, and what is proved of it.
SELECT c.settlement_id, c.attempt, c.number, c.message_id, c.content, c.recorded_at, c.valid_until, c.ordered_by,
    c.reason, c.is_found,
    (
        SELECT count(*) FROM moves AS m
        WHERE m.settlement_id = c.settlement_id AND m.event = 'cover_due' AND m.attempt = c.attempt
            AND m.detail ->> 'cover' = c.number::text
    ) AS sends,
    (
        SELECT count(*) FROM cover_results AS r
        WHERE r.settlement_id = c.settlement_id AND r.attempt = c.attempt AND r.number = c.number
            AND r.result = 'undelivered'
    ) AS undelivered,
    f.code AS refusal_code, f.text AS refusal_text
FROM unnest($1::uuid[], $2::smallint[]) AS g (settlement_id, attempt)
CROSS JOIN LATERAL (
    SELECT l.* FROM covers AS l
    WHERE l.settlement_id = g.settlement_id AND l.attempt = g.attempt ORDER BY l.number DESC LIMIT 1
) AS c
LEFT JOIN cover_results AS f ON f.settlement_id = c.settlement_id AND f.attempt = c.attempt
    AND f.number = c.number AND f.transmission = 0;

-- name: record_covers
-- Store covers; one that is stored already stays as it is. A repair is refused unless the one before was.
INSERT INTO covers (
    settlement_id, attempt, number, message_id, content, valid_until, ordered_by, reason, is_found
)
SELECT c.settlement_id, c.attempt, c.number, c.message_id, c.content, c.valid_until, c.ordered_by, c.reason, c.is_found
FROM unnest(
    $1::uuid[], $2::smallint[], $3::smallint[], $4::text[], $5::bytea[], $6::timestamptz[], $7::text[], $8::text[],
    $9::boolean[]
) AS c (settlement_id, attempt, number, message_id, content, valid_until, ordered_by, reason, is_found)
ORDER BY c.settlement_id
ON CONFLICT DO NOTHING;

-- name: note_cover_results
-- Store what is proved of covers; what is stored already stays as it is.
INSERT INTO cover_results (settlement_id, attempt, number, transmission, result, code, text)
SELECT r.settlement_id, r.attempt, r.number, r.transmission, r.result, r.code, r.text
FROM unnest(
    $1::uuid[], $2::smallint[], $3::smallint[], $4::smallint[], $5::text[], $6::text[], $7::text[]
) AS r (settlement_id, attempt, number, transmission, result, code, text)
ORDER BY r.settlement_id
ON CONFLICT DO NOTHING;

-- name: open_cover_failed
-- Open the exception of a cover payment of which one message failed, once for each cover and problem, while it is open.
INSERT INTO exceptions (settlement_id, kind, fingerprint, detail, opened_at)
SELECT p.settlement_id, 'cover_failed', p.fingerprint, p.detail::jsonb, clock_timestamp()
FROM unnest($1::uuid[], $2::text[], $3::text[]) AS p (settlement_id, fingerprint, detail)
JOIN open_settlements AS w ON w.settlement_id = p.settlement_id
ORDER BY p.settlement_id
ON CONFLICT DO NOTHING;

-- name: order_cover
-- Store a repair of a payment that is sent or in doubt and not frozen; its banks are asked at once. No row otherwise, where
-- somebody else has ordered it, or where FROM has reported by itself, or in a statement, that it has paid a cover.
WITH wanted AS (
    SELECT s.id FROM settlement_transactions AS s
    WHERE s.id = $1::uuid AND s.attempt = $2::smallint AND s.state IN ('sent', 'in_doubt') AND NOT s.is_frozen
        AND NOT EXISTS (
            SELECT FROM inbound_reports AS r
            WHERE r.settlement_id = s.id AND r.report ->> 'event' = 'settled' AND (
                jsonb_typeof(r.report -> 'entry') = 'object' OR EXISTS (
                    SELECT FROM covers AS c
                    WHERE c.settlement_id = s.id AND c.message_id = r.report #>> '{references,message_id}'
                )
            )
        )
), stored AS (
    INSERT INTO covers (
        settlement_id, attempt, number, message_id, content, valid_until, ordered_by, reason, is_found
    )
    SELECT w.id, $2::smallint, $3::smallint, $4, $5::bytea, $6::timestamptz, $7, $8, $9::boolean FROM wanted AS w
    ON CONFLICT DO NOTHING RETURNING settlement_id, number
), due AS (
    UPDATE open_settlements AS o SET due_at = clock_timestamp()
    FROM stored AS s WHERE o.settlement_id = s.settlement_id AND o.owner = 0
)
SELECT s.number FROM stored AS s;
