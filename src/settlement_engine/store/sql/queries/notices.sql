-- name: read_notices
-- The notices after a position, each with its fact as JSON, in commit order. A notice without its fact is not found.
SELECT n.position, n.kind, n.at, f.fact
FROM (
    SELECT q.* FROM notices AS q WHERE q.position > $1 ORDER BY q.position LIMIT $2
) AS n
CROSS JOIN LATERAL (
    SELECT json_build_object(
        'run_id', r.run_id, 'currency', r.currency, 'started_for', u.started_for, 'report_date', r.report_date,
        'total_accounts', r.total_accounts, 'balanced_accounts', r.balanced_accounts,
        'discrepancy_accounts', r.discrepancy_accounts, 'total_discrepancy_minor', r.total_discrepancy_minor::text,
        'outcomes', (
            SELECT json_object_agg(a.outcome, a.accounts) FROM (
                SELECT d.account ->> 'outcome' AS outcome, count(*) AS accounts
                FROM jsonb_array_elements(r.details) AS d (account) GROUP BY d.account ->> 'outcome'
            ) AS a
        ),
        'open_breaks', (
            SELECT sum((d.account ->> 'open_breaks')::bigint) FROM jsonb_array_elements(r.details) AS d (account)
        )
    )::text AS fact
    FROM reconciliation_reports AS r JOIN reconciliation_runs AS u ON u.id = r.run_id
    WHERE r.run_id = n.run_id AND r.currency = n.currency
    UNION ALL
    SELECT json_build_object(
        'break_id', e.break_id, 'number', e.number, 'level', e.level, 'owner', e.owner, 'due_at', to_char(
            e.due_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'
        ), 'account_id', b.account_id, 'bank', a.bank, 'currency', b.currency, 'amount_minor', b.amount_minor::text,
        'kind', b.kind, 'severity', b.severity, 'business_date', b.business_date
    )::text
    FROM break_events AS e JOIN breaks AS b ON b.id = e.break_id JOIN accounts AS a ON a.id = b.account_id
    WHERE e.break_id = n.break_id AND e.number = n.number
    UNION ALL
    SELECT json_build_object(
        'settlement_id', r.settlement_id, 'seq', r.seq, 'state', r.state, 'obligation_id', s.obligation_id,
        'from_bank', s.from_bank, 'to_bank', s.to_bank, 'amount_minor', s.amount_minor, 'currency', s.currency,
        'detail', r.detail
    )::text
    FROM recall_steps AS r JOIN settlement_transactions AS s ON s.id = r.settlement_id
    WHERE r.settlement_id = n.settlement_id AND r.seq = n.seq
    UNION ALL
    SELECT json_build_object(
        'proof_id', p.id, 'account_id', p.account_id, 'bank', a.bank, 'currency', p.currency,
        'booking_date', p.booking_date, 'run_id', p.run_id, 'is_zero', p.is_zero,
        'our_closing_minor', p.our_closing_minor::text, 'their_closing_minor', p.their_closing_minor::text,
        'unmatched_ours', p.unmatched_ours, 'unmatched_theirs', p.unmatched_theirs
    )::text
    FROM proofs AS p JOIN accounts AS a ON a.id = p.account_id
    WHERE p.id = n.proof_id
) AS f (fact)
ORDER BY n.position;

-- name: notice_head
-- The last position, the last one that JetStream is known to have stored, and where it stands in the stream.
SELECT position, published, published_sequence FROM notice_head;

-- name: mark_notices_published
-- Store the position up to which JetStream has stored the notices, and its place in the stream.
UPDATE notice_head SET published = $1, published_sequence = $2 WHERE published <= $1;
