-- What the entries of statements say about our payments.

-- name: unsearched_statement
-- The oldest statement with rows that were not searched, and which no other engine is searching; none of which nothing
-- could be read in the last $1 seconds, and none that is set aside.
SELECT q.statement_id, q.after_entry, q.after_detail, s.account_id, s.source, s.outcome,
    encode(s.file_sha256, 'hex') AS file_sha256, a.bank, a.currency
FROM unsearched_statements AS q
JOIN statements AS s ON s.id = q.statement_id
JOIN accounts AS a ON a.id = s.account_id
WHERE NOT EXISTS (
    SELECT 1 FROM unread_entries AS u
    WHERE u.statement_id = q.statement_id AND u.entry_number = 0
        AND u.tried_at > clock_timestamp() - make_interval(secs => $1)
) AND NOT EXISTS (SELECT FROM set_aside_statements AS z WHERE z.statement_id = q.statement_id)
ORDER BY q.statement_id LIMIT 1 FOR UPDATE OF q SKIP LOCKED;

-- name: unread_entry
-- The entry that could not be read and was tried the longest time ago, at least $1 seconds, and which no other engine is
-- trying.
SELECT u.statement_id, u.entry_number, u.detail_number, s.account_id, s.source, s.outcome,
    encode(s.file_sha256, 'hex') AS file_sha256, a.bank, a.currency
FROM unread_entries AS u
JOIN statements AS s ON s.id = u.statement_id
JOIN accounts AS a ON a.id = s.account_id
WHERE u.entry_number > 0 AND u.tried_at <= clock_timestamp() - make_interval(secs => $1)
    AND NOT EXISTS (SELECT FROM set_aside_statements AS z WHERE z.statement_id = u.statement_id)
ORDER BY u.tried_at, u.statement_id, u.entry_number, u.detail_number LIMIT 1 FOR UPDATE OF u SKIP LOCKED;

-- name: hold_search_place
-- The statement that is searched, if the search has not gone on since.
SELECT 1 AS is_there FROM unsearched_statements AS q
WHERE q.statement_id = $1 AND q.after_entry = $2 AND q.after_detail = $3 FOR UPDATE;

-- name: add_unread_entries
-- Set entries aside that cannot be read, or note that they still cannot.
INSERT INTO unread_entries AS u (statement_id, entry_number, detail_number, why)
SELECT $1, q.* FROM unnest($2::integer[], $3::integer[], $4::text[]) AS q
ON CONFLICT (statement_id, entry_number, detail_number)
DO UPDATE SET why = excluded.why, tried_at = clock_timestamp();

-- name: forget_unread_entry
-- Note that an entry was read after all.
DELETE FROM unread_entries WHERE statement_id = $1 AND entry_number = $2 AND detail_number = $3;

-- name: unread_entry_count
-- How many entries are set aside; a statement of which nothing can be read counts as one, and one that is set aside
-- itself as none.
SELECT count(*) AS entries FROM unread_entries AS u
WHERE NOT EXISTS (SELECT FROM set_aside_statements AS z WHERE z.statement_id = u.statement_id);

-- name: unsearched_rows
-- Entries behind a place, each with one of its details, or without any. The details of an entry are numbered from 1.
-- Dates come as texts: one that this program cannot read keeps it from no other row.
-- The entries are taken in their order first: no more are read than a step has rows, however long the statement is.
SELECT e.number, e.amount_minor, e.currency, e.status, e.booking_date::text AS booking_date,
    e.value_date::text AS value_date, e.is_reversal, e.code, e.text, e.refs::text AS refs, e.details_differ, d.number AS detail_number, d.amount_minor AS detail_minor,
    d.charges_minor AS detail_charges_minor, d.text AS detail_text, d.refs::text AS detail_refs,
    d.number = 1 AND o.number IS NULL AS is_only
FROM (
    SELECT * FROM statement_entries AS t
    WHERE t.statement_id = $1 AND t.number >= $2 ORDER BY t.number LIMIT $4::bigint + 1
) AS e
LEFT JOIN LATERAL (
    SELECT * FROM entry_details AS n
    WHERE n.statement_id = e.statement_id AND n.entry_number = e.number
        AND n.number > CASE WHEN e.number = $2 THEN $3::integer ELSE 0 END
    ORDER BY n.number LIMIT $4
) AS d ON true
LEFT JOIN entry_details AS o
    ON o.statement_id = e.statement_id AND o.entry_number = e.number AND o.number = 2 AND d.number = 1
WHERE e.number > $2 OR d.number IS NOT NULL
ORDER BY e.number, d.number LIMIT $4;

-- name: mentioned_payments
-- The payments that were sent from an account ($11), by their names. Each kind of name has the places of its mentions
-- and the names, so that an index is asked for what is there only: a range of pages that is not summarised yet is read
-- for every name that is asked for, and for a null as well. The names of messages are asked for all at once for the same
-- reason. A mention whose names belong to several payments names none.
WITH by_message AS MATERIALIZED (
    SELECT a.message_id, min(a.settlement_id::text) AS first, max(a.settlement_id::text) AS last,
        max(a.number) AS number
    FROM attempts AS a WHERE a.message_id = ANY ($6::text[]) AND a.source_id = $11 GROUP BY a.message_id
)
SELECT p.place, p.settlement_id, p.attempt, s.amount_minor, s.currency,
    s.state IN ('completed', 'returned') AS has_moved
FROM (
    SELECT f.place, min(f.first)::uuid AS settlement_id, max(f.number) AS attempt
    FROM (
        SELECT n.place, a.settlement_id::text AS first, a.settlement_id::text AS last, a.number
        FROM unnest($1::integer[], $2::uuid[]) AS n (place, uetr)
        JOIN attempts AS a ON a.uetr = n.uetr AND a.source_id = $11
        UNION ALL
        SELECT n.place, a.settlement_id::text, a.settlement_id::text, a.number
        FROM unnest($3::integer[], $4::text[]) AS n (place, end_to_end_id)
        JOIN attempts AS a ON a.end_to_end_id = n.end_to_end_id AND a.source_id = $11
        UNION ALL
        SELECT n.place, m.first, m.last, m.number
        FROM unnest($5::integer[], $6::text[]) AS n (place, message_id)
        JOIN by_message AS m ON m.message_id = n.message_id
        UNION ALL
        SELECT n.place, a.settlement_id::text, a.settlement_id::text, a.number
        FROM unnest($7::integer[], $8::uuid[]) AS n (place, settlement_id)
        JOIN attempts AS a ON a.settlement_id = n.settlement_id AND a.source_id = $11
        UNION ALL
        SELECT n.place, a.settlement_id::text, a.settlement_id::text, a.number
        FROM unnest($9::integer[], $10::text[]) AS n (place, trace)
        JOIN attempts AS a ON a.trace = n.trace AND a.source_id = $11
    ) AS f
    GROUP BY f.place HAVING min(f.first) = max(f.last)
) AS p
JOIN settlement_transactions AS s ON s.id = p.settlement_id
ORDER BY p.place;

-- name: told_of_payments
-- What earlier entries said of payments, by kind and amount; those of statements that are set aside apart.
SELECT e.settlement_id, e.kind, e.amount_minor,
    count(*) FILTER (WHERE e.is_counted AND z.statement_id IS NULL) AS counted,
    count(*) FILTER (WHERE e.is_counted AND z.statement_id IS NOT NULL) AS set_aside,
    bool_or(z.statement_id IS NULL) AS is_told
FROM statement_evidence AS e LEFT JOIN set_aside_statements AS z ON z.statement_id = e.statement_id
WHERE e.settlement_id = ANY ($1::uuid[]) GROUP BY 1, 2, 3;

-- name: add_statement_evidence
-- Append what entries say, as parallel arrays.
INSERT INTO statement_evidence (
    statement_id, entry_number, detail_number, settlement_id, attempt, kind, says, amount_minor, nth, is_counted,
    is_news, closed_by, rules_version
)
SELECT $1, q.* FROM unnest(
    $2::integer[], $3::integer[], $4::uuid[], $5::smallint[], $6::text[], $7::text[], $8::bigint[], $9::integer[],
    $10::boolean[], $11::boolean[], $12::text[], $13::text[]
) AS q;

-- name: add_statement_reports
-- Store a message with its reports, whose settlements are known; it is worked off like any other.
WITH stored AS (
    INSERT INTO inbound_messages (rail, source, sender_reference, sha256, content)
    VALUES ($1, $2, $3, sha256($4::bytea), $4::bytea)
    RETURNING id
)
INSERT INTO inbound_reports (message_id, number, report, settlement_id, attempt)
SELECT s.id, r.number, r.report::jsonb, r.settlement_id, r.attempt
FROM stored AS s
CROSS JOIN unnest($5::text[], $6::uuid[], $7::smallint[])
    WITH ORDINALITY AS r (report, settlement_id, attempt, number)
ORDER BY r.number;

-- name: note_searched
-- Note the place that the search has reached.
UPDATE unsearched_statements SET after_entry = $2, after_detail = $3 WHERE statement_id = $1;

-- name: end_search
-- Note that a statement was searched to its end.
DELETE FROM unsearched_statements WHERE statement_id = $1;

-- name: absent_payments
-- Completed payments that no entry is matched with and none names, although the statements of the account are closed,
-- have no gap, and reach $1 days beyond the day of our booking; with the last of these statements. $2 at most; $3 are
-- the sources of end-of-day statements. What is set aside does not count: a payment that only such a statement has
-- is one that the statements lack.
-- Of the postings only the old ones are read, by their index: OFFSET 0 keeps the others out of every plan.
WITH closed AS MATERIALIZED (
    SELECT r.account_id, w.statement_id, f.begins, p.booking_date - $1::integer AS last_day
    FROM reconciliation_accounts AS r
    CROSS JOIN LATERAL (
        SELECT x.booking_date, x.held_back_by FROM proofs AS x WHERE x.account_id = r.account_id
        ORDER BY x.booking_date DESC, x.id DESC LIMIT 1
    ) AS p
    CROSS JOIN LATERAL (
        SELECT max(t.id) AS statement_id FROM statements AS t
        WHERE t.is_kept AND t.account_id = r.account_id AND t.ends = p.booking_date
            AND t.source = ANY ($3::text[])
            AND NOT EXISTS (SELECT FROM set_aside_statements AS z WHERE z.statement_id = t.id)
    ) AS w
    CROSS JOIN LATERAL (
        SELECT b.begins FROM statements AS b
        WHERE b.is_kept AND b.account_id = r.account_id AND b.source = ANY ($3::text[])
            AND NOT EXISTS (SELECT FROM set_aside_statements AS z WHERE z.statement_id = b.id)
        ORDER BY b.ends LIMIT 1
    ) AS f
    WHERE p.held_back_by = '' AND w.statement_id IS NOT NULL
)
SELECT s.id AS settlement_id, a.number AS attempt, o.statement_id
FROM (
    SELECT q.id, q.group_id, c.account_id, c.statement_id
    FROM closed AS c
    JOIN open_postings AS q
        ON q.account_id = c.account_id AND q.booked_on BETWEEN c.begins AND c.last_day AND q.leg = 1
    OFFSET 0
) AS o
JOIN settlement_transactions AS s ON s.id = o.group_id AND s.state = 'completed'
JOIN attempts AS a ON a.settlement_id = s.id AND a.number = s.attempt AND a.source_id = o.account_id
WHERE NOT EXISTS (
        SELECT FROM statement_evidence AS v WHERE v.settlement_id = s.id AND v.kind = 'debit'
            AND NOT EXISTS (SELECT FROM set_aside_statements AS z WHERE z.statement_id = v.statement_id)
    )
    AND NOT EXISTS (
        SELECT FROM inbound_reports AS i
        WHERE i.settlement_id = s.id AND i.report #>> '{entry,says}' = 'absent'
    )
ORDER BY o.id LIMIT $2;

-- name: add_absence_reports
-- Store messages of absences, each with its report; one that was told before is not stored again.
WITH given AS (
    SELECT g.content, g.report, g.settlement_id, g.attempt, sha256(g.content) AS hash
    FROM unnest($3::bytea[], $4::text[], $5::uuid[], $6::smallint[])
        AS g (content, report, settlement_id, attempt)
), stored AS (
    INSERT INTO inbound_messages (rail, source, sender_reference, sha256, content)
    SELECT $1, $2, '', g.hash, g.content FROM given AS g ORDER BY g.settlement_id
    ON CONFLICT (rail, sha256) DO NOTHING
    RETURNING id, sha256
)
INSERT INTO inbound_reports (message_id, number, report, settlement_id, attempt)
SELECT s.id, 1, g.report::jsonb, g.settlement_id, g.attempt
FROM stored AS s JOIN given AS g ON g.hash = s.sha256
ORDER BY s.id;

-- name: undecided_accounts
-- Those accounts ($1) with a statement that is not searched to its end, or with an open report of a statement ($2) among
-- the oldest $3 about a payment that was sent from them.
SELECT s.account_id
FROM unsearched_statements AS q
JOIN statements AS s ON s.id = q.statement_id
WHERE s.account_id = ANY ($1::text::bigint[])
    AND NOT EXISTS (SELECT FROM set_aside_statements AS z WHERE z.statement_id = q.statement_id)
UNION
SELECT a.source_id
FROM (
    SELECT r.message_id, r.settlement_id, r.attempt FROM inbound_reports AS r
    WHERE r.closed_at IS NULL ORDER BY r.id LIMIT $3
) AS r
JOIN inbound_messages AS m ON m.id = r.message_id AND m.rail = $2
JOIN attempts AS a ON a.settlement_id = r.settlement_id AND a.number = r.attempt
WHERE a.source_id = ANY ($1::text::bigint[]);
