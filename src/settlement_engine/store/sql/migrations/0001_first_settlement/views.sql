-- The specification's other names for what is kept, as views: nothing is stored twice.

CREATE VIEW nostro_accounts AS
SELECT a.id, a.bank, a.account_number, a.currency,
    round((a.debits_posted - a.credits_posted) / power(10::numeric, c.exponent), c.exponent)
        AS balance,
    round((a.debits_posted - a.credits_posted - a.held) / power(10::numeric, c.exponent), c.exponent)
        AS available_balance,
    a.last_reconciled_at AS last_reconciled, a.is_active, a.opened_at AS created_at
FROM accounts AS a JOIN currencies AS c ON c.code = a.currency
WHERE a.kind = 'nostro';

CREATE VIEW vostro_accounts AS
SELECT a.id, a.bank, a.account_number, a.currency,
    round((a.credits_posted - a.debits_posted) / power(10::numeric, c.exponent), c.exponent)
        AS balance,
    round(a.credit_limit / power(10::numeric, c.exponent), c.exponent) AS credit_limit,
    a.is_active, a.opened_at AS created_at
FROM accounts AS a JOIN currencies AS c ON c.code = a.currency
WHERE a.kind = 'vostro';

CREATE VIEW atomic_operations AS
SELECT s.id, 'settlement'::text AS type, s.created_at AS started_at, s.ended_at AS completed_at,
    CASE
        WHEN s.ended_at IS NULL THEN 'in_progress'
        WHEN s.state IN ('completed', 'returned') THEN 'committed'
        ELSE 'rolled_back'
    END AS state,
    s.refusal_code AS rollback_reason
FROM settlement_transactions AS s;

CREATE VIEW operation_checkpoints AS
SELECT md5(format('%s/%s/%s', m.settlement_id, m.seq, r.name))::uuid AS id,
    m.settlement_id AS operation_id, m.seq, r.name, m.at AS "timestamp",
    coalesce(m.detail, '{}'::jsonb) AS data
FROM moves AS m
JOIN page AS p ON p.from_state = m.from_state AND p.event = m.event
CROSS JOIN LATERAL unnest(p.reached) AS r (name);
