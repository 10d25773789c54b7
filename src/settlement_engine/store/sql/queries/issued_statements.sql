-- name: lock_issued_statements
-- One issue at a time for an account, in every engine.
SELECT pg_advisory_xact_lock(hashtextextended('statements issued for account ' || $1::bigint, 0));

-- name: list_issued_statements
-- The latest first. A null filter does not filter.
SELECT s.id, s.account_id, a.kind::text AS kind, a.bank, a.currency, a.account_number, s.number, s.day, s.begins, s.ends,
    s.opening_minor, s.closing_minor, s.credits_minor, s.debits_minor, s.entries, s.previous_day, s.issued_by,
    s.issued_at, ARRAY(SELECT f.format FROM issued_statement_files AS f WHERE f.statement_id = s.id ORDER BY f.format)
        AS formats,
    ARRAY(SELECT f.sha256 FROM issued_statement_files AS f WHERE f.statement_id = s.id ORDER BY f.format) AS hashes,
    ARRAY(SELECT length(f.content) FROM issued_statement_files AS f WHERE f.statement_id = s.id ORDER BY f.format)
        AS sizes
FROM issued_statements AS s JOIN accounts AS a ON a.id = s.account_id
WHERE ($1::bigint IS NULL OR s.account_id = $1) AND ($2::date IS NULL OR s.day = $2)
    AND ($3::bigint IS NULL OR s.id < $3)
ORDER BY s.id DESC LIMIT $4;

-- name: first_booking_between
-- The first transfer on an account in a time.
SELECT min(at) AS at FROM transfers WHERE (debit_id = $1 OR credit_id = $1) AND at >= $2 AND at < $3;

-- name: bookings_between
-- The transfers on an account in a time, in the order in which they were booked, with what the settlement says.
SELECT t.group_id, t.posting, t.leg, t.credit_id = $1 AS is_credit, t.amount_minor, t.reference, s.value_date,
    s.from_bank, s.to_bank, s.obligation_id,
    coalesce(p.payment #>> '{payment,end_to_end_id}', a.end_to_end_id) AS end_to_end_id, a.uetr::text AS uetr
FROM transfers AS t
LEFT JOIN settlement_transactions AS s ON s.id = t.group_id
LEFT JOIN attempts AS a ON a.settlement_id = s.id AND a.number = s.attempt
LEFT JOIN payment_details AS p ON p.settlement_id = s.id
WHERE (t.debit_id = $1 OR t.credit_id = $1) AND t.at >= $2 AND t.at < $3
ORDER BY t.at, t.group_id, t.posting, t.leg LIMIT $4;

-- name: add_issued_statement
-- Give a statement the account's next number.
INSERT INTO issued_statements (
    account_id, number, day, begins, ends, opening_minor, closing_minor, credits_minor, debits_minor, entries,
    previous_day, issued_by
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12);

-- name: add_issued_file
-- Store the bytes of a statement in one format.
INSERT INTO issued_statement_files (statement_id, format, sha256, content) VALUES ($1, $2, sha256($3), $3);

-- name: issued_file_part
-- A part of an issued file, from an offset.
SELECT f.sha256, length(f.content) AS bytes, substring(f.content FROM $4 + 1 FOR $5) AS part
FROM issued_statements AS s JOIN issued_statement_files AS f ON f.statement_id = s.id
WHERE s.account_id = $1 AND s.number = $2 AND f.format = $3;
