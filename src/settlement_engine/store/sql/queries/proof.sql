-- Each check returns rows only where something is wrong: subject, expected, found.

-- name: prove_balances
-- Every balance is the sum of its transfers.
SELECT a.id::text AS subject,
    format('debits %s credits %s', coalesce(d.total, 0), coalesce(c.total, 0)) AS expected,
    format('debits %s credits %s', a.debits_posted, a.credits_posted) AS found
FROM accounts AS a
LEFT JOIN (SELECT debit_id AS id, sum(amount_minor) AS total FROM transfers GROUP BY 1) AS d
    ON d.id = a.id
LEFT JOIN (SELECT credit_id AS id, sum(amount_minor) AS total FROM transfers GROUP BY 1) AS c
    ON c.id = a.id
WHERE a.debits_posted <> coalesce(d.total, 0) OR a.credits_posted <> coalesce(c.total, 0);

-- name: prove_transfers_have_accounts
-- Both sides of every transfer exist, in the transfer's currency.
SELECT t.group_id::text || '/' || t.leg AS subject, t.currency AS expected,
    format('%s/%s', d.currency, c.currency) AS found
FROM transfers AS t
LEFT JOIN accounts AS d ON d.id = t.debit_id
LEFT JOIN accounts AS c ON c.id = t.credit_id
WHERE d.currency IS DISTINCT FROM t.currency OR c.currency IS DISTINCT FROM t.currency;

-- name: prove_held
-- What is held on an account is the sum of its unresolved locks.
SELECT a.id::text AS subject, coalesce(l.total, 0)::text AS expected, a.held::text AS found
FROM accounts AS a
LEFT JOIN (
    SELECT account_id, sum(amount_minor) AS total FROM fund_locks
    WHERE resolved_at IS NULL GROUP BY 1
) AS l ON l.account_id = a.id
WHERE a.held <> coalesce(l.total, 0);

-- name: prove_conservation
-- Per currency, debits equal credits.
SELECT currency AS subject, sum(debits_posted)::text AS expected, sum(credits_posted)::text AS found
FROM accounts GROUP BY currency HAVING sum(debits_posted) <> sum(credits_posted);

-- name: prove_no_overdraft
-- No guarded account is below its limit.
SELECT id::text AS subject, (-credit_limit)::text AS expected,
    (CASE kind WHEN 'nostro' THEN debits_posted - credits_posted
        ELSE credits_posted - debits_posted END - held)::text AS found
FROM accounts
WHERE kind IN ('nostro', 'vostro')
    AND (CASE kind WHEN 'nostro' THEN debits_posted - credits_posted
        ELSE credits_posted - debits_posted END) - held + credit_limit < 0;

-- name: prove_locks_follow_lives
-- A lock stands while the rail may have the payment, is posted with completion, else released.
SELECT s.id::text AS subject,
    CASE
        WHEN s.state IN ('locked', 'sent', 'in_doubt', 'recalling') THEN 'open'
        WHEN s.state IN ('completed', 'returned') THEN 'posted'
        WHEN s.state = 'rolled_back' THEN 'released'
        ELSE 'none'
    END AS expected,
    CASE WHEN f.settlement_id IS NULL THEN 'none' ELSE coalesce(f.outcome, 'open') END
        || CASE WHEN f.amount_minor <> s.amount_minor
            THEN format(', of %s instead of %s', f.amount_minor, s.amount_minor) ELSE '' END AS found
FROM settlement_transactions AS s
LEFT JOIN fund_locks AS f ON f.settlement_id = s.id
WHERE CASE
        WHEN s.state IN ('locked', 'sent', 'in_doubt', 'recalling') THEN 'open'
        WHEN s.state IN ('completed', 'returned') THEN 'posted'
        WHEN s.state = 'rolled_back' THEN 'released'
        ELSE 'none'
    END <> CASE WHEN f.settlement_id IS NULL THEN 'none' ELSE coalesce(f.outcome, 'open') END
    OR (f.settlement_id IS NOT NULL AND f.amount_minor <> s.amount_minor);

-- name: prove_locks_have_lives
-- No lock stands for a settlement that does not exist.
SELECT f.settlement_id::text AS subject, 'a settlement' AS expected, 'none' AS found
FROM fund_locks AS f LEFT JOIN settlement_transactions AS s ON s.id = f.settlement_id
WHERE s.id IS NULL;

-- name: prove_locks_have_accounts
-- Every lock is on the account that its attempt names, in the account's currency.
SELECT f.settlement_id::text AS subject, format('%s in %s', t.source_id, f.currency) AS expected,
    format('%s in %s', f.account_id, coalesce(a.currency, 'none')) AS found
FROM fund_locks AS f
LEFT JOIN accounts AS a ON a.id = f.account_id
LEFT JOIN settlement_transactions AS s ON s.id = f.settlement_id
LEFT JOIN attempts AS t ON t.settlement_id = s.id AND t.number = s.attempt
WHERE a.currency IS DISTINCT FROM f.currency OR f.account_id <> t.source_id;

-- name: prove_postings_follow_lives
-- Completed settlements have their two transfers, once, between the accounts that their attempt names;
-- the others have none. What the rail has disproved has one more, between the agent and suspense.
SELECT s.id::text AS subject,
    (CASE s.state WHEN 'completed' THEN 2 WHEN 'returned' THEN 4 ELSE 0 END
        + (s.attestation IS NOT DISTINCT FROM 'disproved')::int)::text AS expected,
    coalesce(t.legs, 0)::text || CASE WHEN t.wrong THEN ', one of them wrong' ELSE '' END AS found
FROM settlement_transactions AS s
LEFT JOIN (
    SELECT t.group_id, count(*) AS legs, coalesce(bool_or(
        t.amount_minor <> x.amount_minor OR t.currency <> x.currency
        OR (t.debit_id, t.credit_id) IS DISTINCT FROM CASE t.leg
            WHEN 1 THEN (a.agent_id, a.source_id)
            WHEN 2 THEN (a.clearing_id, a.target_id)
            WHEN 4 THEN (a.source_id, a.agent_id)
            WHEN 5 THEN (a.target_id, a.clearing_id)
            WHEN 6 THEN CASE x.state
                WHEN 'rolled_back' THEN (a.agent_id, u.id) ELSE (u.id, a.agent_id)
            END
            WHEN 7 THEN (u.id, a.clearing_id)
        END
    ), false) AS wrong
    FROM transfers AS t
    JOIN settlement_transactions AS x ON x.id = t.group_id
    LEFT JOIN attempts AS a ON a.settlement_id = x.id AND a.number = x.attempt
    LEFT JOIN accounts AS u ON t.leg IN (6, 7) AND u.kind = 'suspense'
        AND folded_bank(u.bank) = folded_bank(a.rail)
        AND u.currency = x.currency AND u.account_number = 'control'
    GROUP BY 1
) AS t ON t.group_id = s.id
WHERE coalesce(t.legs, 0) <> CASE s.state WHEN 'completed' THEN 2 WHEN 'returned' THEN 4 ELSE 0 END
    + (s.attestation IS NOT DISTINCT FROM 'disproved')::int
    OR coalesce(t.wrong, false);

-- name: prove_attempts_follow_lives
-- Whatever is or was beyond the line P has its attempt recorded.
SELECT s.id::text AS subject, 'an attempt' AS expected, 'none' AS found
FROM settlement_transactions AS s
LEFT JOIN attempts AS a ON a.settlement_id = s.id AND a.number = s.attempt
WHERE s.state IN ('locked', 'sent', 'in_doubt', 'recalling', 'completed', 'returned', 'rolled_back')
    AND a.settlement_id IS NULL;

-- name: prove_lives_are_whole
-- The moves of a life are numbered without a gap, each begins where the last one ended, and the
-- settlement's state is that of its last move.
SELECT x.id::text AS subject, format('%s after %s moves', x.state, x.seq) AS expected,
    format('%s after %s moves', x.last_state, x.moves)
        || CASE WHEN x.broken THEN ', with a break in between' ELSE '' END AS found
FROM (
    SELECT s.id, s.state, s.seq, count(m.seq) AS moves,
        (array_agg(m.to_state ORDER BY m.seq DESC))[1] AS last_state,
        bool_or(m.from_state IS DISTINCT FROM m.previous OR m.seq <> m.nth) AS broken
    FROM settlement_transactions AS s
    LEFT JOIN (
        SELECT settlement_id, seq, from_state, to_state,
            lag(to_state, 1, 'pending') OVER w AS previous, row_number() OVER w AS nth
        FROM moves WINDOW w AS (PARTITION BY settlement_id ORDER BY seq)
    ) AS m ON m.settlement_id = s.id
    GROUP BY s.id
) AS x
WHERE x.last_state IS DISTINCT FROM x.state OR x.moves <> x.seq OR coalesce(x.broken, true);

-- name: prove_open_are_open
-- What has not ended is on the list of open settlements, and nothing else is.
SELECT coalesce(s.id, w.settlement_id)::text AS subject,
    CASE WHEN s.ended_at IS NULL THEN 'open' ELSE 'ended' END AS expected,
    CASE WHEN w.settlement_id IS NULL THEN 'not on the list' ELSE 'on the list' END AS found
FROM settlement_transactions AS s
FULL JOIN open_settlements AS w ON w.settlement_id = s.id
WHERE (s.ended_at IS NULL) <> (w.settlement_id IS NOT NULL) OR s.id IS NULL;

-- name: prove_stream_is_whole
-- Positions are gapless in each era, from its first place up to the head.
SELECT 'stream' AS subject, 'no gap, and nothing after ' || h.position AS expected,
    format('%s of %s moves follow the one before, last %s', count(*) FILTER (WHERE m.follows),
        count(m.position), coalesce(max(m.position), 0)) AS found
FROM stream_head AS h LEFT JOIN (
    SELECT x.position, x.position = lag(x.position, 1, 0) OVER w + 1
        OR x.position % 10000000000000 = 1 AS follows
    FROM moves AS x WINDOW w AS (ORDER BY x.position)
) AS m ON true
GROUP BY h.position
HAVING count(*) FILTER (WHERE m.follows) <> count(m.position)
    OR h.position <> coalesce(max(m.position), 0)
    AND (h.position % 10000000000000 <> 0 OR coalesce(max(m.position), 0) > h.position);

-- name: prove_totals
-- What was looked at.
SELECT (SELECT count(*) FROM accounts) AS accounts, (SELECT count(*) FROM transfers) AS transfers,
    (SELECT count(*) FROM settlement_transactions) AS settlements,
    (SELECT count(*) FROM open_settlements) AS open_settlements,
    (SELECT count(*) FROM fund_locks WHERE resolved_at IS NULL) AS open_holds;

-- name: prove_turnover
-- Posted debits per currency.
SELECT currency, sum(debits_posted)::text AS total FROM accounts GROUP BY currency ORDER BY currency;

-- name: gauges
-- What monitoring shows: open settlements by state, the oldest of them.
SELECT s.state::text AS state, count(*) AS settlements,
    extract(epoch FROM clock_timestamp() - min(s.created_at))::double precision AS oldest_seconds
FROM open_settlements AS w JOIN settlement_transactions AS s ON s.id = w.settlement_id
GROUP BY s.state;

-- name: without_next_action
-- Open settlements that rest without a time and without a person to wait for.
SELECT count(*) AS settlements
FROM open_settlements AS w JOIN settlement_transactions AS s ON s.id = w.settlement_id
WHERE w.owner = 0 AND w.due_at = 'infinity' AND s.state <> 'held';
