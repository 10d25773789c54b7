-- name: keep_statement_file
-- Store the bytes of a file, once.
INSERT INTO statement_files (sha256, name, csv_mapping, content, received_by)
VALUES (sha256($3::bytea), $1, $2, $3, $4)
ON CONFLICT DO NOTHING RETURNING received_at;

-- name: accounts_by_numbers
-- Our accounts at banks that have one of these numbers, or whose bank's entry states one of them as our account;
-- each with that entry. The first numbers are in capitals without spaces, the second in any spelling.
SELECT a.id, a.bank, a.currency, a.account_number, a.kind = 'settlement' AS is_at_agent,
    v.content::text AS listed
FROM accounts AS a
LEFT JOIN LATERAL (
    SELECT b.content FROM bank_versions AS b WHERE b.code = folded_bank(a.bank)
    ORDER BY b.version DESC LIMIT 1
) AS v ON true
WHERE a.id IN (
    SELECT n.id FROM accounts AS n
    WHERE n.kind IN ('nostro', 'settlement')
        AND upper(replace(n.account_number, ' ', '')) = ANY ($1::text[])
    UNION
    SELECT o.id FROM accounts AS o
    WHERE o.kind IN ('nostro', 'settlement') AND o.bank IN (
        SELECT b.code FROM bank_versions AS b
        WHERE jsonb_path_query_array(b.content, '$.instructions[*].our_account.*') ?| $2::text[]
    )
)
ORDER BY a.id LIMIT $3;

-- name: accounts_at_banks
-- Our active accounts at banks ($1: at this one, in its folded code), behind an id, each with its bank's entry.
SELECT a.id, a.bank, a.currency, a.account_number, a.kind = 'settlement' AS is_at_agent,
    v.content::text AS listed
FROM accounts AS a
LEFT JOIN LATERAL (
    SELECT b.content FROM bank_versions AS b WHERE b.code = folded_bank(a.bank)
    ORDER BY b.version DESC LIMIT 1
) AS v ON true
WHERE a.kind IN ('nostro', 'settlement') AND a.is_active AND a.id > $2
    AND ($1::text IS NULL OR a.kind = 'settlement' OR folded_bank(a.bank) = $1)
ORDER BY a.id LIMIT $3;

-- name: last_statement_days
-- The last day of the kept end-of-day statements ($2) of each of these accounts that has one, without those set aside.
SELECT a.id, s.ends
FROM unnest($1::bigint[]) AS a (id)
CROSS JOIN LATERAL (
    SELECT k.ends FROM statements AS k
    WHERE k.is_kept AND k.account_id = a.id AND k.source = ANY ($2::text[])
        AND NOT EXISTS (SELECT FROM set_aside_statements AS z WHERE z.statement_id = k.id)
    ORDER BY k.ends DESC LIMIT 1
) AS s;

-- name: kept_heads
-- The kept end-of-day statements ($2) of an account, each with the number of matched entries that have a booking date
-- outside of its days.
SELECT s.id, s.content_hash, s.source, s.bank_statement_id, s.sequence, s.page, s.is_last_page, s.created, s.begins,
    s.ends, s.opening_minor, s.opening_is_final, s.closing_minor, s.closing_is_final, s.booked_minor,
    s.totals_differ, z.statement_id IS NOT NULL AS is_set_aside, coalesce(d.misdated, 0) AS misdated
FROM statements AS s
LEFT JOIN set_aside_statements AS z ON z.statement_id = s.id
LEFT JOIN statement_days AS d ON d.statement_id = s.id AND d.day = s.ends
WHERE s.is_kept AND s.account_id = $1 AND s.source = ANY ($2::text[])
ORDER BY s.ends, s.id LIMIT $3;

-- name: unread_statements
-- The statements of accounts of which entries could not be searched for our payments, $2 at most: how many entries, the
-- first one (0: the rest of the statement), and why.
SELECT s.account_id, s.id, s.begins, s.ends, count(*) AS entries, min(u.entry_number) AS first_entry,
    (array_agg(u.why ORDER BY u.entry_number, u.detail_number))[1] AS why
FROM unread_entries AS u
JOIN statements AS s ON s.id = u.statement_id
WHERE s.account_id = ANY ($1::bigint[])
    AND NOT EXISTS (SELECT FROM set_aside_statements AS z WHERE z.statement_id = s.id)
GROUP BY s.id ORDER BY s.account_id, s.id LIMIT $2;

-- name: lock_statements
-- One import at a time for an account, in every engine.
SELECT pg_advisory_xact_lock(hashtextextended('statements of account ' || $1::bigint, 0));

-- name: statement_heads
-- The kept statements that an import is judged by: the same content, identity or period; the end-of-day statements
-- ($5) that end within the given days ($6, $7); and the nearest ones on both sides that are not set aside.
SELECT s.content_hash, s.source, s.bank_statement_id, s.sequence, s.page, s.is_last_page, s.created, s.begins,
    s.ends, s.opening_minor, s.opening_is_final, s.closing_minor, s.closing_is_final, s.booked_minor,
    s.totals_differ, z.statement_id IS NOT NULL AS is_set_aside
FROM statements AS s
LEFT JOIN set_aside_statements AS z ON z.statement_id = s.id
WHERE s.is_kept AND s.account_id = $1 AND s.id IN (
    SELECT c.id FROM statements AS c WHERE c.is_kept AND c.account_id = $1 AND c.content_hash = $2
    UNION
    SELECT i.id FROM statements AS i WHERE i.is_kept AND i.account_id = $1 AND i.identity_hash = $3
    UNION
    SELECT p.id FROM statements AS p WHERE p.is_kept AND p.account_id = $1 AND p.period_hash = $4
    UNION
    SELECT d.id FROM statements AS d
    WHERE d.is_kept AND d.account_id = $1 AND d.source = ANY ($5::text[]) AND (
        d.ends BETWEEN $6 AND $7
        OR d.ends = (
            SELECT max(e.ends) FROM statements AS e
            WHERE e.is_kept AND e.account_id = $1 AND e.source = ANY ($5::text[]) AND e.ends < $6
                AND NOT EXISTS (SELECT FROM set_aside_statements AS b WHERE b.statement_id = e.id)
        )
        OR d.ends = (
            SELECT min(l.ends) FROM statements AS l
            WHERE l.is_kept AND l.account_id = $1 AND l.source = ANY ($5::text[]) AND l.ends > $7
                AND NOT EXISTS (SELECT FROM set_aside_statements AS b WHERE b.statement_id = l.id)
        )
    )
)
LIMIT $8;

-- name: add_statement
-- Append a statement with its outcome; nothing is returned where the same is there.
INSERT INTO statements (
    file_sha256, place, outcome, reason, is_kept, account_id, source, identifier, servicer, currency,
    bank_statement_id, sequence, page, is_last_page, created, begins, ends, opening_minor, opening_is_final,
    closing_minor, closing_is_final, booked_minor, totals_differ, entries, content_hash, identity_hash,
    period_hash, content, imported_by
)
VALUES (
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23,
    $24, $25, $26, $27, $28::text::jsonb, $29
)
ON CONFLICT DO NOTHING RETURNING id;

-- name: add_statement_entries
-- Append entries, as parallel arrays.
INSERT INTO statement_entries (
    statement_id, number, amount_minor, currency, status, booking_date, value_date, is_reversal, code, text, refs,
    details_differ, identity_hash, occurrence
)
SELECT $1, q.* FROM unnest(
    $2::text::integer[], $3::text::bigint[], $4::text::text[], $5::text::text[], $6::text::date[],
    $7::text::date[], $8::text::boolean[], $9::text::text[], $10::text::text[], $11::text::jsonb[],
    $12::text::boolean[], $13::text::bytea[], $14::text::integer[]
) AS q;

-- name: add_entry_details
-- Append details of entries, as parallel arrays.
INSERT INTO entry_details (statement_id, entry_number, number, amount_minor, charges_minor, text, refs)
SELECT $1, q.* FROM unnest(
    $2::text::integer[], $3::text::integer[], $4::text::bigint[], $5::text::bigint[], $6::text::text[],
    $7::text::jsonb[]
) AS q;

-- name: list_statements
-- Statements with the outcomes of their imports, the latest first. A null filter does not filter. Problems ($2)
-- are those that are not simply imported, without what was kept by a later import and what is set aside.
SELECT s.id, s.file_sha256, f.name AS file_name, s.place, s.outcome, s.reason, s.account_id, s.source,
    s.identifier, s.servicer, s.currency, s.bank_statement_id, s.sequence, s.page, s.created, s.begins, s.ends,
    s.opening_minor, s.closing_minor, s.entries, s.imported_by, s.imported_at,
    z.statement_id IS NOT NULL AS is_set_aside
FROM statements AS s
JOIN statement_files AS f ON f.sha256 = s.file_sha256
LEFT JOIN set_aside_statements AS z ON z.statement_id = s.id
WHERE ($1::bigint IS NULL OR s.id < $1)
    AND (NOT $2::boolean OR (s.outcome <> 'IMPORTED' AND z.statement_id IS NULL AND (s.is_kept OR NOT EXISTS (
        SELECT 1 FROM statements AS k WHERE k.is_kept AND k.content_hash = s.content_hash
    ))))
    AND ($3::bigint IS NULL OR s.account_id = $3)
ORDER BY s.id DESC LIMIT $4;

-- name: statement_by_id
-- One statement.
SELECT s.id, s.file_sha256, f.name AS file_name, s.place, s.outcome, s.reason, s.account_id, s.source,
    s.identifier, s.servicer, s.currency, s.bank_statement_id, s.sequence, s.page, s.created, s.begins, s.ends,
    s.opening_minor, s.closing_minor, s.entries, s.imported_by, s.imported_at,
    z.statement_id IS NOT NULL AS is_set_aside
FROM statements AS s
JOIN statement_files AS f ON f.sha256 = s.file_sha256
LEFT JOIN set_aside_statements AS z ON z.statement_id = s.id
WHERE s.id = $1;

-- name: statement_entries_after
-- Entries of a statement behind a number, in their order, each with its first details.
SELECT e.number, e.amount_minor, e.currency, e.status, e.booking_date, e.value_date, e.is_reversal, e.code,
    e.text, e.refs::text AS refs, e.details_differ, coalesce(d.details, '[]') AS details
FROM statement_entries AS e
LEFT JOIN LATERAL (
    SELECT json_agg(json_build_object(
        'minor', q.amount_minor, 'charges_minor', q.charges_minor, 'text', q.text, 'references', q.refs
    ) ORDER BY q.number)::text AS details
    FROM (
        SELECT * FROM entry_details AS n
        WHERE n.statement_id = e.statement_id AND n.entry_number = e.number
        ORDER BY n.number LIMIT $4
    ) AS q
) AS d ON true
WHERE e.statement_id = $1 AND e.number > $2 ORDER BY e.number LIMIT $3;

-- name: statement_file_part
-- A part of a file's bytes, from an offset, with the length of the whole.
SELECT name, octet_length(content) AS bytes, substring(content FROM $2::integer + 1 FOR $3::integer) AS part
FROM statement_files WHERE sha256 = $1;
