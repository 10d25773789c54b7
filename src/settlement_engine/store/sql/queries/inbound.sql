-- name: record_inbound
-- Store messages and match their reports to payments; a repeated message only increments its counter.
-- A report matches a payment when all references in it belong to that payment, on this rail, and the payment is
-- in the scope of the sender (texts BANK/CURRENCY with * for any, as in domain/payment_scope.py; '' is no limit). A
-- cover payment is on the rail of its banks too, and in the scope of TO as well: both have a message of it.
-- A call-back is refused, and nothing of it stored, when a report names payments by our references and none of
-- them is the sender's. The rail's own reference is used when it is the only one: the rail has stated it before, in
-- an answer or in a report that also gave one of ours. A name that is not there is not asked for: the Bloom filters'
-- ranges that are not summarised yet would be read for it.
WITH given AS (
    SELECT
        g.rail, g.source, g.sender_reference, g.content, g.place, g.sender,
        sha256(
            CASE WHEN g.sender = '' THEN g.content ELSE convert_to(g.sender || chr(10), 'UTF8') || g.content END
        ) AS hash,
        string_to_array(nullif(g.scope, ''), ' ') AS scope
    FROM unnest($1::text[], $2::text[], $3::text[], $4::bytea[], $15::text[], $16::text[])
        WITH ORDINALITY AS g (rail, source, sender_reference, content, scope, sender, place)
), reports AS MATERIALIZED (
    SELECT r.place, r.number, r.report,
        CASE WHEN p.own = 1 THEN p.settlement_id END AS settlement_id,
        CASE WHEN p.own = 1 THEN p.attempt END AS attempt,
        g.source = 'callback' AND p.own = 0 AND p.others > 0 AS is_refused
    FROM unnest(
        $5::bigint[], $6::integer[], $7::text[], $8::uuid[], $9::text[], $10::text[], $11::text[],
        $12::text[], $13::text[], $14::uuid[]
    ) AS r (
        place, number, report, uetr, end_to_end_id, message_id, trace, rail_reference,
        transaction_id, settlement_id
    )
    JOIN given AS g ON g.place = r.place
    CROSS JOIN LATERAL (
        SELECT
            (min(q.settlement_id::text) FILTER (WHERE q.is_own))::uuid AS settlement_id,
            max(q.number) FILTER (WHERE q.is_own) AS attempt,
            count(DISTINCT q.settlement_id) FILTER (WHERE q.is_own) AS own,
            count(*) FILTER (WHERE NOT q.is_own AND q.is_by_ours) AS others
        FROM (
            SELECT found.settlement_id, found.number, found.is_by_ours,
                found.rail IN (g.rail, g.rail || '_cover') AND (g.scope IS NULL OR EXISTS (
                    SELECT 1 FROM settlement_transactions AS t
                    WHERE t.id = found.settlement_id AND (g.scope && ARRAY[
                        folded_bank(t.from_bank) || '/' || t.currency,
                        folded_bank(t.from_bank) || '/*', '*/' || t.currency, '*/*'
                    ] OR found.rail LIKE '%\_cover' AND g.scope && ARRAY[
                        folded_bank(t.to_bank) || '/' || t.currency, folded_bank(t.to_bank) || '/*'
                    ])
                )) AS is_own
            FROM (
                SELECT a.settlement_id, a.number, a.rail, true AS is_by_ours
                FROM attempts AS a WHERE a.uetr = r.uetr
                UNION ALL
                SELECT a.settlement_id, a.number, a.rail, true FROM attempts AS a
                WHERE a.end_to_end_id = r.end_to_end_id
                UNION ALL
                SELECT a.settlement_id, a.number, a.rail, true FROM attempts AS a
                WHERE a.message_id = r.message_id AND r.message_id IS NOT NULL
                UNION ALL
                SELECT a.settlement_id, a.number, a.rail, true FROM covers AS c
                JOIN attempts AS a ON a.settlement_id = c.settlement_id AND a.number = c.attempt
                WHERE c.message_id = r.message_id AND r.message_id IS NOT NULL
                UNION ALL
                SELECT a.settlement_id, a.number, a.rail, true FROM attempts AS a
                WHERE a.end_to_end_id = r.transaction_id
                UNION ALL
                SELECT a.settlement_id, a.number, a.rail, true FROM attempts AS a
                WHERE a.settlement_id = r.settlement_id
                UNION ALL
                SELECT a.settlement_id, a.number, a.rail, true FROM attempts AS a
                WHERE a.trace = r.trace
                UNION ALL
                SELECT a.settlement_id, a.number, a.rail, false FROM (
                    SELECT m.settlement_id, m.attempt FROM moves AS m
                    WHERE m.detail ->> 'rail_reference' = r.rail_reference
                    UNION ALL
                    SELECT n.settlement_id, n.attempt FROM answers AS n
                    WHERE n.detail ->> 'rail_reference' = r.rail_reference
                    UNION ALL
                    SELECT o.settlement_id, o.attempt FROM inbound_reports AS o
                    WHERE o.report #>> '{references,rail_reference}' = r.rail_reference
                ) AS stated
                JOIN attempts AS a
                    ON a.settlement_id = stated.settlement_id AND a.number = stated.attempt
                WHERE coalesce(r.end_to_end_id, r.message_id, r.trace, r.uetr::text) IS NULL
                    AND r.rail_reference IS NOT NULL
            ) AS found
        ) AS q
    ) AS p
), refused AS (
    SELECT DISTINCT r.place FROM reports AS r WHERE r.is_refused
), stored AS (
    INSERT INTO inbound_messages AS m (rail, source, sender, sender_reference, sha256, content)
    SELECT g.rail, g.source, g.sender, g.sender_reference, g.hash, g.content FROM given AS g
    WHERE g.place NOT IN (SELECT d.place FROM refused AS d)
    ORDER BY g.place
    ON CONFLICT (rail, sha256)
    DO UPDATE SET repeats = m.repeats + 1, repeated_at = clock_timestamp()
    RETURNING m.id, m.rail, m.sha256, m.repeats = 0 AS is_new
), kept AS (
    INSERT INTO inbound_reports (message_id, number, report, settlement_id, attempt)
    SELECT s.id, r.number, r.report::jsonb, r.settlement_id, r.attempt
    FROM reports AS r
    JOIN given AS g ON g.place = r.place
    JOIN stored AS s ON s.rail = g.rail AND s.sha256 = g.hash AND s.is_new
    ORDER BY r.place, r.number
)
SELECT g.place,
    CASE WHEN s.id IS NULL THEN 'refused' WHEN s.is_new THEN 'stored' ELSE 'repeated' END AS receipt
FROM given AS g LEFT JOIN stored AS s ON s.rail = g.rail AND s.sha256 = g.hash
ORDER BY g.place;

-- name: open_inbound_reports
-- The oldest open reports that this engine may process, except those it is processing.
-- One that says again that a cover was refused is known; one that a cover was paid after all, which was refused and
-- repaired, is marked.
SELECT r.id, m.rail, r.report::text AS report, r.settlement_id, r.attempt, m.received_at,
    r.report ->> 'event' = 'rejected' AND EXISTS (
        SELECT FROM covers AS c
        JOIN cover_results AS f ON f.settlement_id = c.settlement_id AND f.attempt = c.attempt
            AND f.number = c.number AND f.transmission = 0
        WHERE c.message_id = r.report #>> '{references,message_id}'
    ) AS is_known,
    r.report ->> 'event' = 'settled' AND EXISTS (
        SELECT FROM covers AS c
        JOIN covers AS l ON l.settlement_id = c.settlement_id AND l.attempt = c.attempt AND l.number > c.number
        WHERE c.message_id = r.report #>> '{references,message_id}'
    ) AS is_of_earlier_cover
FROM inbound_reports AS r
JOIN inbound_messages AS m ON m.id = r.message_id
LEFT JOIN open_settlements AS w ON w.settlement_id = r.settlement_id
WHERE r.closed_at IS NULL AND (w.owner IS NULL OR w.owner IN (0, $1::bigint))
    AND r.id <> ALL ($3::bigint[])
ORDER BY r.id LIMIT $2;

-- name: close_inbound_reports
-- Close reports; an unmatched one opens a case, once for each payment of the bank.
WITH closed AS (
    UPDATE inbound_reports AS r SET outcome = q.outcome, closed_at = clock_timestamp()
    FROM unnest($1::bigint[], $2::text[]) AS q (id, outcome)
    WHERE r.id = q.id AND r.closed_at IS NULL
    RETURNING r.id, r.message_id, r.outcome, r.report
)
INSERT INTO exceptions (settlement_id, kind, fingerprint, detail, opened_at)
SELECT NULL, 'unknown_payment',
    coalesce(
        c.report #>> '{references,end_to_end_id}', c.report #>> '{references,uetr}',
        c.report #>> '{references,message_id}', c.report #>> '{references,trace}',
        c.report #>> '{references,rail_reference}', c.report #>> '{references,transaction_id}',
        c.report #>> '{references,instruction_id}',
        'report ' || c.id
    ),
    jsonb_strip_nulls(jsonb_build_object(
        'rail', m.rail, 'event', c.report ->> 'event', 'code', c.report ->> 'code',
        'text', c.report ->> 'text', 'inbound_message', m.id::text,
        'uetr', c.report #>> '{references,uetr}',
        'end_to_end_id', c.report #>> '{references,end_to_end_id}',
        'message_id', c.report #>> '{references,message_id}',
        'trace', c.report #>> '{references,trace}',
        'transaction_id', c.report #>> '{references,transaction_id}',
        'instruction_id', c.report #>> '{references,instruction_id}',
        'rail_reference', c.report #>> '{references,rail_reference}'
    )),
    clock_timestamp()
FROM closed AS c JOIN inbound_messages AS m ON m.id = c.message_id
WHERE c.outcome = 'unknown_payment'
ORDER BY c.id
ON CONFLICT DO NOTHING;

-- name: waiting_inbound_reports
-- The number of open reports, counted up to a limit, and the age of the oldest.
SELECT count(*) AS reports,
    coalesce(extract(epoch FROM clock_timestamp() - min(m.received_at)), 0)::double precision
        AS oldest_seconds
FROM (
    SELECT r.message_id FROM inbound_reports AS r WHERE r.closed_at IS NULL ORDER BY r.id LIMIT $1
) AS q JOIN inbound_messages AS m ON m.id = q.message_id;

-- name: inbound_open_counts
-- The number of open reports by rail.
SELECT m.rail, count(*) AS count FROM inbound_reports AS r
JOIN inbound_messages AS m ON m.id = r.message_id
WHERE r.closed_at IS NULL GROUP BY m.rail;
