-- name: breaks_of_entries
-- The open breaks of an account that have one of these entries.
SELECT DISTINCT b.id, b.fingerprint
FROM unnest($2::text::text[]) AS q (item)
JOIN break_items AS i ON i.account_id = $1 AND i.side = 'theirs' AND i.item = q.item
JOIN open_breaks AS o ON o.break_id = i.break_id
JOIN breaks AS b ON b.id = i.break_id;

-- name: claimed_postings
-- Those of these postings that an open break connects with an entry that is not among $3.
WITH here AS MATERIALIZED (
    SELECT q.item FROM unnest($3::text::text[]) AS q (item)
)
SELECT DISTINCT i.item
FROM unnest($2::text::text[]) AS p (item)
JOIN break_items AS i ON i.account_id = $1 AND i.side = 'ours' AND i.item = p.item
JOIN open_breaks AS o ON o.break_id = i.break_id
JOIN break_items AS t ON t.break_id = i.break_id AND t.side = 'theirs'
WHERE NOT EXISTS (SELECT 1 FROM here AS h WHERE h.item = t.item);

-- name: open_breaks_found
-- Open breaks, as JSON texts, or re-open those that were closed.
WITH given AS (
    SELECT q.said, q.place, decode(q.said ->> 'fingerprint', 'hex') AS fingerprint
    FROM (
        SELECT s.said::jsonb AS said, s.place FROM unnest($3::text::text[]) WITH ORDINALITY AS s (said, place)
    ) AS q
), known AS (
    SELECT b.id, b.fingerprint FROM breaks AS b JOIN given AS g ON g.fingerprint = b.fingerprint
    WHERE b.account_id = $1
), added AS (
    INSERT INTO breaks (
        account_id, kind, severity, amount_minor, currency, business_date, reason, run_id, fingerprint
    )
    SELECT $1, g.said ->> 'kind', (g.said ->> 'severity')::smallint, (g.said ->> 'amount_minor')::numeric,
        g.said ->> 'currency', (g.said ->> 'business_date')::date, g.said ->> 'reason', $2, g.fingerprint
    FROM given AS g WHERE NOT EXISTS (SELECT 1 FROM known AS k WHERE k.fingerprint = g.fingerprint)
    ORDER BY g.place
    RETURNING id, fingerprint
), itemised AS (
    INSERT INTO break_items (break_id, side, item, account_id)
    SELECT a.id, i.side, i.item, $1
    FROM added AS a
    JOIN given AS g ON g.fingerprint = a.fingerprint
    CROSS JOIN LATERAL (
        SELECT 'ours' AS side, jsonb_array_elements_text(g.said -> 'ours') AS item
        UNION ALL
        SELECT 'theirs', jsonb_array_elements_text(g.said -> 'theirs')
    ) AS i
), live AS (
    INSERT INTO open_breaks (break_id, account_id)
    SELECT q.id, $1 FROM (SELECT id FROM added UNION ALL SELECT id FROM known) AS q (id)
    ON CONFLICT DO NOTHING RETURNING break_id
)
INSERT INTO break_events (break_id, number, event, who, text, run_id)
SELECT l.break_id, 1 + (SELECT count(*) FROM break_events AS e WHERE e.break_id = l.break_id),
    CASE WHEN k.id IS NULL THEN 'opened' ELSE 'reopened' END, 'engine', '', $2
FROM live AS l LEFT JOIN known AS k ON k.id = l.break_id
ORDER BY l.break_id;

-- name: close_breaks
-- Close open breaks, with the reason.
WITH gone AS (
    DELETE FROM open_breaks AS o WHERE o.break_id = ANY ($1::bigint[]) RETURNING o.break_id
)
INSERT INTO break_events (break_id, number, event, who, text, run_id)
SELECT g.break_id, 1 + (SELECT count(*) FROM break_events AS e WHERE e.break_id = g.break_id), $2, 'engine', $3, $4
FROM gone AS g ORDER BY g.break_id;

-- name: breaks_to_settle
-- The open breaks of an account with an item that is not open any more; whether all of their items are in live matches.
-- A correction (leg 12) that is open again keeps its break open.
SELECT b.id, NOT bool_or(q.is_forgotten) AS is_matched
FROM open_breaks AS o
JOIN breaks AS b ON b.id = o.break_id
JOIN LATERAL (
    SELECT NOT coalesce(CASE i.side
        WHEN 'ours' THEN EXISTS (
            SELECT 1 FROM open_postings AS p WHERE p.account_id = $1
                AND p.group_id = split_part(i.item, '/', 1)::uuid
                AND p.posting = split_part(i.item, '/', 2)::smallint
                AND p.leg = split_part(i.item, '/', 3)::smallint
        )
        ELSE EXISTS (
            SELECT 1 FROM open_entries AS e
            WHERE e.statement_id = split_part(i.item, '/', 1)::bigint
                AND e.entry_number = split_part(i.item, '/', 2)::integer
        )
    END, false) AS is_gone,
    i.side = 'theirs' AND NOT EXISTS (
        SELECT 1 FROM matched_statements AS m WHERE m.statement_id = split_part(i.item, '/', 1)::bigint
    ) AS is_forgotten,
    i.side = 'ours' AND split_part(i.item, '/', 3) = '12' AS is_correction
    FROM break_items AS i WHERE i.break_id = b.id
) AS q ON true
WHERE o.account_id = $1
GROUP BY b.id HAVING bool_or(q.is_gone) AND NOT bool_or(q.is_correction AND NOT q.is_gone)
ORDER BY b.id LIMIT $2;

-- name: explained_missing
-- Open breaks of the kind MISSING_THEIRS that are none: before the first statement, after the last one, or another
-- open break connects their posting with an entry. A difference that waits to be reversed (leg 14) is one on any day.
SELECT b.id FROM open_breaks AS o
JOIN breaks AS b ON b.id = o.break_id AND b.kind = 'MISSING_THEIRS'
JOIN break_items AS i ON i.break_id = b.id
WHERE o.account_id = $1 AND (
    split_part(i.item, '/', 3) <> '14'
    AND ($2::date IS NULL OR b.business_date < $2 OR b.business_date > $3)
    OR EXISTS (
        SELECT 1 FROM break_items AS j
        JOIN open_breaks AS k ON k.break_id = j.break_id
        WHERE j.account_id = $1 AND j.side = 'ours' AND j.item = i.item AND j.break_id <> b.id
    )
)
ORDER BY b.id LIMIT $4;

-- name: missing_theirs
-- The open postings between two days that are in no open break; and on any day the differences that wait to be reversed
-- (leg 14).
SELECT p.id, p.group_id || '/' || p.posting || '/' || p.leg AS name, p.amount_minor, p.currency, p.booked_on
FROM (
    SELECT * FROM open_postings WHERE account_id = $1 AND booked_on BETWEEN $2 AND $3
    UNION ALL
    SELECT * FROM open_postings WHERE account_id = $1 AND leg = 14 AND booked_on NOT BETWEEN $2 AND $3
) AS p
WHERE NOT EXISTS (
    SELECT 1 FROM break_items AS i JOIN open_breaks AS o ON o.break_id = i.break_id
    WHERE i.account_id = $1 AND i.side = 'ours' AND i.item = p.group_id || '/' || p.posting || '/' || p.leg
)
ORDER BY p.booked_on, p.id LIMIT $4;

-- name: count_open_breaks
-- How many breaks of an account are open.
SELECT count(*) AS breaks FROM open_breaks WHERE account_id = $1;

-- name: open_breaks_of_kind
-- The open breaks of an account of one kind.
SELECT b.id, b.fingerprint FROM open_breaks AS o JOIN breaks AS b ON b.id = o.break_id
WHERE o.account_id = $1 AND b.kind = $2 ORDER BY b.id;

-- name: list_breaks
-- Breaks, the latest first. A null filter does not filter.
SELECT b.id, b.account_id, a.bank, b.kind, b.severity, b.amount_minor, b.currency, b.business_date, b.reason,
    o.break_id IS NOT NULL AS is_open, coalesce(o.owner, '') AS owner, b.opened_at,
    ARRAY(SELECT i.item FROM break_items AS i WHERE i.break_id = b.id AND i.side = 'ours' ORDER BY i.item) AS ours,
    ARRAY(SELECT i.item FROM break_items AS i WHERE i.break_id = b.id AND i.side = 'theirs' ORDER BY i.item)
        AS theirs
FROM breaks AS b
JOIN accounts AS a ON a.id = b.account_id
LEFT JOIN open_breaks AS o ON o.break_id = b.id
WHERE ($1::bigint IS NULL OR b.id < $1)
    AND ($2::bigint IS NULL OR b.account_id = $2)
    AND ($3::text IS NULL OR b.kind = $3)
    AND ($4::boolean IS NULL OR (o.break_id IS NOT NULL) = $4)
    AND ($5::text IS NULL OR o.owner = $5)
    AND ($6::bigint IS NULL OR b.id = $6)
ORDER BY b.id DESC LIMIT $7;

-- name: events_of_break
-- The history of a break.
SELECT number, event, at, who, text, owner, level, due_at, proposal_id, match_id FROM break_events
WHERE break_id = $1 ORDER BY number LIMIT $2;

-- name: match_by_id
-- A match with the names of its items.
SELECT m.id, m.account_id, m.run_id, m.matched_by, m.rules_version, m.explanation, m.is_automatic, m.at,
    m.difference_minor, m.difference_account, coalesce(u.reason, '') AS taken_back,
    ARRAY(
        SELECT p.group_id || '/' || p.posting || '/' || p.leg FROM match_postings AS p WHERE p.match_id = m.id
        ORDER BY 1 LIMIT $2
    ) AS ours,
    ARRAY(
        SELECT e.statement_id || '/' || e.entry_number FROM match_entries AS e WHERE e.match_id = m.id
        ORDER BY e.statement_id, e.entry_number LIMIT $2
    ) AS theirs
FROM matches AS m LEFT JOIN unmatches AS u ON u.match_id = m.id
WHERE m.id = $1;
