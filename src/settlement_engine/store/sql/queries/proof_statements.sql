-- Checks of what was issued and reported: rows only where something is wrong.

-- name: prove_issued_statements_follow_one_another
-- The statements issued for an account are numbered without a gap, and each begins where the one before ended: in time
-- and with its balance.
SELECT format('statement %s of account %s', s.number, s.account_id) AS subject,
    CASE WHEN s.before_number IS NULL THEN 'number 1' ELSE format(
        'number %s after %s, from %s with %s', s.before_number + 1, s.before_day, s.before_ends, s.before_minor
    ) END AS expected,
    format('number %s after %s, from %s with %s', s.number, s.previous_day, s.begins, s.opening_minor) AS found
FROM (
    SELECT q.*, lag(q.number) OVER w AS before_number, lag(q.day) OVER w AS before_day,
        lag(q.ends) OVER w AS before_ends, lag(q.closing_minor) OVER w AS before_minor
    FROM issued_statements AS q WINDOW w AS (PARTITION BY q.account_id ORDER BY q.number)
) AS s
WHERE CASE WHEN s.before_number IS NULL THEN s.number <> 1 OR s.previous_day IS NOT NULL
    ELSE (s.number, s.previous_day, s.begins, s.opening_minor)
        IS DISTINCT FROM (s.before_number + 1, s.before_day, s.before_ends, s.before_minor)
    END;

-- name: prove_issued_statements_follow_transfers
-- The figures of an issued statement are those of the account's transfers in its period. Each transfer is read once, and
-- put into its statement by its instant.
WITH periods AS (
    SELECT account_id, array_agg(ends ORDER BY ends) AS ends FROM issued_statements GROUP BY account_id
), sides AS (
    SELECT t.credit_id AS account_id, t.at, t.amount_minor AS credit, 0 AS debit, t.leg FROM transfers AS t
    UNION ALL
    SELECT t.debit_id, t.at, 0, t.amount_minor, t.leg FROM transfers AS t
), placed AS (
    SELECT q.account_id, q.place, q.is_before, sum(q.credit) AS credits, sum(q.debit) AS debits, count(*) AS entries
    FROM (
        SELECT s.account_id, width_bucket(s.at, p.ends) AS place, s.credit, s.debit, s.at < f.begins AS is_before
        FROM sides AS s
        JOIN periods AS p ON p.account_id = s.account_id
        JOIN issued_statements AS f ON f.account_id = s.account_id AND f.ends = p.ends[1]
    ) AS q
    GROUP BY q.account_id, q.place, q.is_before
), numbered AS (
    SELECT i.*, row_number() OVER (PARTITION BY i.account_id ORDER BY i.ends) - 1 AS place
    FROM issued_statements AS i
), due AS (
    SELECT n.account_id, n.number, n.place, n.opening_minor, n.closing_minor, n.credits_minor, n.debits_minor,
        n.entries, coalesce(d.credits, 0) AS credits, coalesce(d.debits, 0) AS debits, coalesce(d.entries, 0) AS listed,
        coalesce(b.credits - b.debits, 0)
            + sum(coalesce(d.credits, 0) - coalesce(d.debits, 0))
                OVER (PARTITION BY n.account_id ORDER BY n.place) AS closing
    FROM numbered AS n
    LEFT JOIN placed AS d ON d.account_id = n.account_id AND d.place = n.place AND NOT d.is_before
    LEFT JOIN placed AS b ON b.account_id = n.account_id AND b.is_before
)
SELECT format('statement %s of account %s', number, account_id) AS subject,
    format('%s entries: %s + %s - %s = %s', listed, closing - credits + debits, credits, debits, closing) AS expected,
    format('%s entries: %s + %s - %s = %s', entries, opening_minor, credits_minor, debits_minor, closing_minor)
        AS found
FROM due
WHERE (entries, opening_minor, credits_minor, debits_minor, closing_minor)
    IS DISTINCT FROM (listed, closing - credits + debits, credits, debits, closing);

-- name: prove_regulatory_reports_follow_one_another
-- The versions of a report for a date are numbered without a gap, and each knows more than the one before.
SELECT format('version %s of %s for %s', r.version, r.template, r.day) AS subject,
    format('version %s, as of more than %s', coalesce(r.before_version, 0) + 1, r.before_as_of) AS expected,
    format('version %s, as of %s', r.version, r.as_of) AS found
FROM (
    SELECT q.*, lag(q.version) OVER w AS before_version, lag(q.as_of) OVER w AS before_as_of
    FROM regulatory_reports AS q WINDOW w AS (PARTITION BY q.template, q.day ORDER BY q.version)
) AS r
WHERE r.version <> coalesce(r.before_version, 0) + 1 OR r.as_of <= r.before_as_of;

-- name: audit_issued_files
-- Every issued statement with its bytes in one format.
SELECT s.id, s.account_id, a.kind::text AS kind, a.bank, a.currency, a.account_number, s.number, s.day, s.begins, s.ends,
    s.opening_minor, s.closing_minor, s.credits_minor, s.debits_minor, s.entries, s.previous_day, s.issued_by,
    s.issued_at, f.format, f.content, ARRAY[f.format] AS formats, ARRAY[f.sha256] AS hashes,
    ARRAY[length(f.content)] AS sizes
FROM issued_statement_files AS f
JOIN issued_statements AS s ON s.id = f.statement_id
JOIN accounts AS a ON a.id = s.account_id
ORDER BY s.id, f.format;

-- name: audit_regulatory_reports
-- Every regulatory report with all that it was made of.
SELECT r.id, r.template, r.template_version, r.template_content, r.day, r.begins, r.ends, r.as_of, r.version,
    r.institution_name, r.institution_bic, r.institution_lei, r.reason, r.rows, length(r.content) AS bytes, r.sha256,
    r.made_by, r.made_at
FROM regulatory_reports AS r ORDER BY r.id;
