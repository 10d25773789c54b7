-- Each check returns rows only where something is wrong: subject, expected, found.

-- name: prove_balances
-- Every balance equals the sum of its transfers.
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
SELECT t.group_id::text || '/' || t.posting || '/' || t.leg AS subject, t.currency AS expected,
    format('%s/%s', d.currency, c.currency) AS found
FROM transfers AS t
LEFT JOIN accounts AS d ON d.id = t.debit_id
LEFT JOIN accounts AS c ON c.id = t.credit_id
WHERE d.currency IS DISTINCT FROM t.currency OR c.currency IS DISTINCT FROM t.currency;

-- name: prove_held
-- An account's held amount equals the sum of its unresolved locks.
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
-- No guarded account is below its credit limit.
SELECT id::text AS subject, (-credit_limit)::text AS expected,
    (CASE kind WHEN 'nostro' THEN debits_posted - credits_posted
        ELSE credits_posted - debits_posted END - held)::text AS found
FROM accounts
WHERE kind IN ('nostro', 'vostro')
    AND (CASE kind WHEN 'nostro' THEN debits_posted - credits_posted
        ELSE credits_posted - debits_posted END) - held + credit_limit < 0;

-- name: prove_locks_follow_histories
-- A lock is held while the rail may have the payment, posted on completion, and released otherwise.
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

-- name: prove_locks_have_histories
-- No lock belongs to a settlement that does not exist.
SELECT f.settlement_id::text AS subject, 'a settlement' AS expected, 'none' AS found
FROM fund_locks AS f LEFT JOIN settlement_transactions AS s ON s.id = f.settlement_id
WHERE s.id IS NULL;

-- name: prove_locks_have_accounts
-- Every lock is on its attempt's account, in the account's currency.
SELECT f.settlement_id::text AS subject, format('%s in %s', t.source_id, f.currency) AS expected,
    format('%s in %s', f.account_id, coalesce(a.currency, 'none')) AS found
FROM fund_locks AS f
LEFT JOIN accounts AS a ON a.id = f.account_id
LEFT JOIN settlement_transactions AS s ON s.id = f.settlement_id
LEFT JOIN attempts AS t ON t.settlement_id = s.id AND t.number = s.attempt
WHERE a.currency IS DISTINCT FROM f.currency OR f.account_id <> t.source_id;

-- name: prove_postings_follow_histories
-- A completed settlement has its two transfers, once, between its attempt's accounts; others have none. Each
-- return has a posting of its own, for its part, one more transfer for charges, and one for those of them that are
-- billed to FROM. What is paid out has one more transfer in each posting. A settlement that the rail has disproved has one more, between the agent and suspense,
-- unless it was to be paid out; one that the bank has debited twice has one from our account there to suspense.
SELECT q.id::text AS subject, q.due::text AS expected,
    q.legs::text || CASE WHEN q.wrong THEN ', one of them wrong' ELSE '' END AS found
FROM (
    SELECT s.id, CASE WHEN s.state IN ('completed', 'returned') THEN 2 + p.is_paid_out::int ELSE 0 END
        + coalesce(b.legs + p.is_paid_out::int * b.postings, 0)
        + (s.attestation IS NOT DISTINCT FROM 'disproved' AND NOT p.is_paid_out)::int
        + (d.settlement_id IS NOT NULL)::int AS due,
        coalesce(t.legs, 0) AS legs, coalesce(t.wrong, false) AS wrong
    FROM settlement_transactions AS s
    LEFT JOIN attempts AS o ON o.settlement_id = s.id AND o.number = s.attempt
    CROSS JOIN LATERAL (SELECT o.delivery IS NOT DISTINCT FROM 'pay_out') AS p (is_paid_out)
    LEFT JOIN (
        SELECT settlement_id, count(*) AS postings,
            sum(2 + (charges_minor > 0)::int + (CASE WHEN charges_minor > 0
                THEN billed_by_move(settlement_id, posting) > 0 ELSE false END)::int) AS legs
        FROM returns GROUP BY 1
    ) AS b ON b.settlement_id = s.id
    LEFT JOIN (
        SELECT settlement_id FROM exceptions WHERE fingerprint = 'debited_twice'
    ) AS d ON d.settlement_id = s.id
    LEFT JOIN (
        SELECT t.group_id, count(*) AS legs, coalesce(bool_or(
            t.amount_minor IS DISTINCT FROM CASE t.leg
                WHEN 4 THEN r.amount_minor
                WHEN 8 THEN r.charges_minor
                WHEN 5 THEN r.amount_minor + r.charges_minor
                WHEN 7 THEN r.amount_minor + r.charges_minor
                WHEN 10 THEN r.amount_minor + r.charges_minor
                WHEN 16 THEN billed_by_move(t.group_id, t.posting)
                ELSE x.amount_minor
            END
            OR t.leg IN (1, 2, 6, 9, 11) AND t.posting <> 1
            OR t.currency <> x.currency
            OR (t.debit_id, t.credit_id) IS DISTINCT FROM CASE t.leg
                WHEN 1 THEN (a.agent_id, a.source_id)
                WHEN 2 THEN (a.clearing_id, a.target_id)
                WHEN 4 THEN (a.source_id, a.agent_id)
                WHEN 5 THEN (a.target_id, a.clearing_id)
                WHEN 6 THEN CASE x.state
                    WHEN 'rolled_back' THEN (a.agent_id, u.id) ELSE (u.id, a.agent_id)
                END
                WHEN 7 THEN (u.id, a.clearing_id)
                WHEN 8 THEN (u.id, a.agent_id)
                WHEN 9 THEN (a.target_id, a.agent_id)
                WHEN 10 THEN (a.agent_id, a.target_id)
                WHEN 11 THEN (u.id, a.source_id)
                WHEN 16 THEN (a.clearing_id, u.id)
            END
        ), false)
        -- A posting has exactly one of the two legs that restore the debt.
        OR count(*) FILTER (WHERE t.leg IN (5, 7))
            <> count(DISTINCT t.posting) FILTER (WHERE t.leg IN (5, 7)) AS wrong
        FROM transfers AS t
        JOIN settlement_transactions AS x ON x.id = t.group_id
        LEFT JOIN attempts AS a ON a.settlement_id = x.id AND a.number = x.attempt
        LEFT JOIN returns AS r ON t.leg IN (4, 5, 7, 8, 10)
            AND r.settlement_id = t.group_id AND r.posting = t.posting
        LEFT JOIN accounts AS u ON u.currency = x.currency AND u.account_number = 'control' AND (
            t.leg IN (6, 7, 11) AND u.kind = 'suspense' AND folded_bank(u.bank) = folded_bank(a.rail)
            OR t.leg IN (8, 16) AND u.kind = 'fees' AND folded_bank(u.bank) = folded_bank(x.from_bank)
        )
        GROUP BY 1
    ) AS t ON t.group_id = s.id
) AS q
WHERE q.legs <> q.due OR q.wrong;

-- name: prove_charges_are_billed_as_borne
-- FROM is billed for the charges of a return only where the payment's charge bearer says so.
SELECT t.group_id::text AS subject, 'charges that FROM bears' AS expected,
    format('%s billed in posting %s', t.amount_minor, t.posting) AS found
FROM transfers AS t
WHERE t.leg = 16 AND NOT is_borne_by_sender(t.group_id, t.posting, t.amount_minor);

-- name: prove_returns_follow_histories
-- The returned amounts with their charges do not exceed the amount, and equal it in the state returned; each
-- return was made by one transition, in its commit, and states what is left.
SELECT q.id::text AS subject, format('%s returns, %s left', q.moves, q.due_left) AS expected,
    format('%s returns, %s left', q.returns, q.amount_minor - q.total)
        || CASE WHEN q.wrong THEN ', one of them wrong' ELSE '' END AS found
FROM (
    SELECT s.id, s.amount_minor, coalesce(m.moves, 0) AS moves, count(r.posting) AS returns,
        coalesce(sum(r.amount_minor + r.charges_minor), 0) AS total,
        CASE s.state WHEN 'returned' THEN '0' WHEN 'completed' THEN 'something' ELSE 'all' END AS due_left,
        coalesce(bool_or(
            r.at IS DISTINCT FROM r.moved_at OR r.left_minor <> s.amount_minor - r.so_far
        ), false) AS wrong,
        s.state
    FROM settlement_transactions AS s
    LEFT JOIN (
        SELECT b.*, v.at AS moved_at,
            sum(b.amount_minor + b.charges_minor)
                OVER (PARTITION BY b.settlement_id ORDER BY b.posting) AS so_far
        FROM (
            SELECT *, row_number() OVER (PARTITION BY settlement_id ORDER BY posting) AS nth FROM returns
        ) AS b
        LEFT JOIN (
            SELECT settlement_id, at,
                row_number() OVER (PARTITION BY settlement_id ORDER BY seq) AS nth
            FROM moves
            WHERE from_state = 'completed'
                AND event IN ('returned', 'partly_returned', 'uncovered', 'partly_uncovered')
        ) AS v ON v.settlement_id = b.settlement_id AND v.nth = b.nth
    ) AS r ON r.settlement_id = s.id
    LEFT JOIN (
        SELECT settlement_id, count(*) AS moves FROM moves
        WHERE from_state = 'completed'
            AND event IN ('returned', 'partly_returned', 'uncovered', 'partly_uncovered')
        GROUP BY 1
    ) AS m ON m.settlement_id = s.id
    GROUP BY s.id, m.moves
) AS q
WHERE q.returns <> q.moves OR q.wrong
    OR CASE q.state
        WHEN 'returned' THEN q.total <> q.amount_minor
        WHEN 'completed' THEN q.total >= q.amount_minor
        ELSE q.total <> 0
    END;

-- name: prove_attempts_follow_histories
-- Every settlement that is or was past the point of no return has its attempt recorded.
SELECT s.id::text AS subject, 'an attempt' AS expected, 'none' AS found
FROM settlement_transactions AS s
LEFT JOIN attempts AS a ON a.settlement_id = s.id AND a.number = s.attempt
WHERE s.state IN ('locked', 'sent', 'in_doubt', 'recalling', 'completed', 'returned', 'rolled_back')
    AND a.settlement_id IS NULL;

-- name: prove_histories_are_whole
-- A settlement's transitions are numbered without a gap, each begins in the state in which the previous one
-- ended, and the settlement's state is that of its last transition.
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
-- The list of open settlements contains exactly those that have not ended.
SELECT coalesce(s.id, w.settlement_id)::text AS subject,
    CASE WHEN s.ended_at IS NULL THEN 'open' ELSE 'ended' END AS expected,
    CASE WHEN w.settlement_id IS NULL THEN 'not on the list' ELSE 'on the list' END AS found
FROM settlement_transactions AS s
FULL JOIN open_settlements AS w ON w.settlement_id = s.id
WHERE (s.ended_at IS NULL) <> (w.settlement_id IS NOT NULL) OR s.id IS NULL;

-- name: prove_stream_is_whole
-- Positions are gapless in each epoch, from its first position up to the head.
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

-- name: prove_locks_are_single
-- No settlement has two holds.
SELECT settlement_id::text AS subject, 'one hold' AS expected, count(*)::text || ' holds' AS found
FROM fund_locks GROUP BY settlement_id HAVING count(*) > 1;

-- name: prove_transfers_have_settlements
-- Every transfer except fundings, and what closes breaks, belongs to a settlement.
SELECT t.group_id::text || '/' || t.posting || '/' || t.leg AS subject, 'a settlement' AS expected, 'none' AS found
FROM transfers AS t LEFT JOIN settlement_transactions AS s ON s.id = t.group_id
WHERE t.leg NOT IN (3, 12, 13, 14, 15) AND s.id IS NULL;

-- name: prove_fundings_go_to_clearing
-- A funding debits a bank's nostro account and credits the clearing account of the same bank.
SELECT t.group_id::text || '/' || t.posting || '/' || t.leg || ' ' || t.reference AS subject, 'nostro to clearing of one bank' AS expected,
    format('%s of %s to %s of %s', d.kind, d.bank, c.kind, c.bank) AS found
FROM transfers AS t
JOIN accounts AS d ON d.id = t.debit_id
JOIN accounts AS c ON c.id = t.credit_id
WHERE t.leg = 3
    AND (d.kind <> 'nostro' OR c.kind <> 'clearing' OR folded_bank(d.bank) <> folded_bank(c.bank));

-- name: prove_fundings_have_calls
-- Every funding of an account, by amount and reference, was requested by a call.
SELECT b.account_id || ' ' || b.reference AS subject,
    format('%s calls of %s', b.times, b.amount_minor) AS expected,
    coalesce(c.times, 0) || ' calls' AS found
FROM (
    SELECT debit_id AS account_id, currency, reference, amount_minor::numeric AS amount_minor,
        count(*) AS times
    FROM transfers WHERE leg = 3 GROUP BY 1, 2, 3, 4
) AS b
LEFT JOIN (
    SELECT c.account_id, c.content ->> 'currency' AS currency, c.content ->> 'reference' AS reference,
        CASE WHEN c.content ->> 'amount' ~ '^[0-9]{1,18}(\.[0-9]{1,4})?$'
            THEN (c.content ->> 'amount')::numeric * 10::numeric ^ e.exponent END AS amount_minor,
        count(*) AS times
    FROM idempotent_calls AS c LEFT JOIN currencies AS e ON e.code = c.content ->> 'currency'
    WHERE c.call = 'fund_account' GROUP BY 1, 2, 3, 4
) AS c ON c.account_id = b.account_id AND c.currency = b.currency AND c.reference = b.reference
    AND c.amount_minor = b.amount_minor
WHERE b.times > coalesce(c.times, 0);

-- name: prove_calls_have_fundings
-- Every funding that a call requested was posted.
SELECT c.account_id || ' ' || coalesce(c.reference, '') AS subject,
    format('%s fundings of %s', c.times, coalesce(c.amount_minor::text, 'no amount')) AS expected,
    coalesce(b.times, 0) || ' fundings' AS found
FROM (
    SELECT c.account_id, c.content ->> 'currency' AS currency, c.content ->> 'reference' AS reference,
        CASE WHEN c.content ->> 'amount' ~ '^[0-9]{1,18}(\.[0-9]{1,4})?$'
            THEN (c.content ->> 'amount')::numeric * 10::numeric ^ e.exponent END AS amount_minor,
        count(*) AS times
    FROM idempotent_calls AS c LEFT JOIN currencies AS e ON e.code = c.content ->> 'currency'
    WHERE c.call = 'fund_account' GROUP BY 1, 2, 3, 4
) AS c
LEFT JOIN (
    SELECT debit_id AS account_id, currency, reference, amount_minor::numeric AS amount_minor,
        count(*) AS times
    FROM transfers WHERE leg = 3 GROUP BY 1, 2, 3, 4
) AS b ON b.account_id = c.account_id AND b.currency = c.currency AND b.reference = c.reference
    AND b.amount_minor = c.amount_minor
WHERE c.times > coalesce(b.times, 0);

-- name: prove_calls_have_accounts
-- The account of a call exists and has the call's kind, bank, currency and number.
SELECT c.key_hash::text AS subject,
    format('%s %s of %s in %s', c.call, coalesce(c.content ->> 'kind', 'nostro'),
        c.content ->> 'bank', c.content ->> 'currency') AS expected,
    coalesce(format('%s of %s in %s, number %s', a.kind, a.bank, a.currency, a.account_number), 'none')
        AS found
FROM idempotent_calls AS c
LEFT JOIN accounts AS a ON a.id = c.account_id
WHERE a.id IS NULL OR c.call NOT IN ('open_account', 'fund_account')
    OR a.kind::text IS DISTINCT FROM coalesce(c.content ->> 'kind', 'nostro')
    OR folded_bank(a.bank) IS DISTINCT FROM folded_bank(c.content ->> 'bank')
    OR a.currency IS DISTINCT FROM c.content ->> 'currency'
    -- The default account number contains the bank's code, in either spelling.
    OR (c.content ->> 'account_number') IS NULL
    OR c.content ->> 'account_number' NOT IN ('', a.account_number)
    AND (
        c.content ->> 'account_number'
            <> format('%s-%s-%s', a.kind, c.content ->> 'bank', a.currency)
        OR a.account_number <> format('%s-%s-%s', a.kind, folded_bank(a.bank), a.currency)
    );

-- name: prove_accounts_have_calls
-- Every account except control accounts, and those of what closes breaks, was opened by a call.
SELECT a.id::text AS subject, 'a call that opened it' AS expected, 'none' AS found
FROM accounts AS a
WHERE a.account_number <> 'control'
    AND a.kind::text || ' ' || a.account_number NOT IN ('fees write-off', 'fx rounding', 'suspense to-return')
    AND NOT EXISTS (
    SELECT 1 FROM idempotent_calls AS c WHERE c.call = 'open_account' AND c.account_id = a.id
);

-- name: prove_moves_have_settlements
-- No transition belongs to a settlement that does not exist.
SELECT m.settlement_id::text AS subject, 'a settlement' AS expected, 'none' AS found
FROM (SELECT DISTINCT settlement_id FROM moves) AS m
LEFT JOIN settlement_transactions AS s ON s.id = m.settlement_id WHERE s.id IS NULL;

-- name: prove_settlements_begin_as_admitted
-- A settlement was created by its first transition; its value date is the requested one, or that day.
SELECT s.id::text AS subject,
    format('%s for %s', m.at, coalesce(s.requested_value_date, (m.at AT TIME ZONE 'UTC')::date)) AS expected,
    format('%s for %s', s.created_at, s.value_date) AS found
FROM settlement_transactions AS s JOIN moves AS m ON m.settlement_id = s.id AND m.seq = 1
WHERE s.created_at <> m.at
    OR s.value_date <> coalesce(s.requested_value_date, (m.at AT TIME ZONE 'UTC')::date);

-- name: prove_attempts_follow_moves
-- Each attempt was recorded by one transition that locked its funds, in the same commit; there are no others.
SELECT coalesce(a.settlement_id, m.settlement_id)::text || '/' || coalesce(a.number, m.attempt) AS subject,
    'one lock and one attempt, in one commit' AS expected,
    format('%s locks at %s, %s attempts at %s', coalesce(m.locks, 0), m.at,
        (a.settlement_id IS NOT NULL)::int, a.recorded_at) AS found
FROM attempts AS a
FULL JOIN (
    SELECT settlement_id, attempt, count(*) AS locks, min(at) AS at
    FROM moves WHERE event = 'cleared' AND to_state = 'locked' GROUP BY 1, 2
) AS m ON m.settlement_id = a.settlement_id AND m.attempt = a.number
WHERE m.locks IS DISTINCT FROM 1 OR a.recorded_at IS DISTINCT FROM m.at;

-- name: prove_attempts_have_settlements
-- No attempt belongs to a settlement that does not exist, or has a number above the current attempt's.
SELECT a.settlement_id::text || '/' || a.number AS subject,
    coalesce('at most attempt ' || s.attempt, 'a settlement') AS expected,
    CASE WHEN s.id IS NULL THEN 'none' ELSE 'attempt ' || a.number END AS found
FROM attempts AS a LEFT JOIN settlement_transactions AS s ON s.id = a.settlement_id
WHERE s.id IS NULL OR a.number > s.attempt;

-- name: prove_payloads_are_as_locked
-- An attempt's bytes have the hash that its lock recorded; old locks recorded none.
SELECT a.settlement_id::text || '/' || a.number AS subject, m.detail ->> 'payload_sha256' AS expected,
    encode(sha256(a.payload), 'hex') AS found
FROM attempts AS a
JOIN moves AS m ON m.settlement_id = a.settlement_id AND m.attempt = a.number
    AND m.event = 'cleared' AND m.to_state = 'locked'
WHERE m.detail ->> 'payload_sha256' <> encode(sha256(a.payload), 'hex');

-- name: prove_routes_are_as_locked
-- An attempt's rail, accounts and validity are those that its lock recorded.
SELECT x.subject, x.expected, x.found FROM (
    SELECT a.settlement_id::text || '/' || a.number AS subject,
        format('%s until %s', m.detail ->> 'route', m.detail ->> 'valid_until') AS expected,
        format('%s until %s', concat_ws(' ', a.rail, a.source_id, a.agent_id, a.clearing_id, a.target_id),
            to_char(a.valid_until AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS')
            || CASE WHEN extract(microseconds FROM a.valid_until)::bigint % 1000000 = 0 THEN ''
                ELSE to_char(a.valid_until AT TIME ZONE 'UTC', '.US') END || '+00:00') AS found
    FROM attempts AS a
    JOIN moves AS m ON m.settlement_id = a.settlement_id AND m.attempt = a.number
        AND m.event = 'cleared' AND m.to_state = 'locked'
    WHERE m.detail ? 'route'
) AS x
WHERE x.expected <> x.found;

-- name: prove_traces_are_as_locked
-- An attempt's trace is the one that its lock recorded: both or neither have one.
SELECT a.settlement_id::text || '/' || a.number AS subject, m.detail ->> 'trace' AS expected, a.trace AS found
FROM attempts AS a
JOIN moves AS m ON m.settlement_id = a.settlement_id AND m.attempt = a.number
    AND m.event = 'cleared' AND m.to_state = 'locked'
WHERE m.detail ->> 'trace' IS DISTINCT FROM a.trace;

-- name: prove_deliveries_are_as_locked
-- An attempt's delivery is the one that its lock recorded (none: it was booked) and that the instruction asks for.
SELECT q.subject, q.locked || ' locked, ' || q.wanted || ' asked for' AS expected, q.found FROM (
    SELECT a.settlement_id::text || '/' || a.number AS subject,
        coalesce(m.detail ->> 'delivery', 'book') AS locked,
        coalesce(d.delivery::text, CASE WHEN d.payment IS NULL THEN 'book' ELSE 'pay_out' END) AS wanted,
        coalesce(a.delivery::text, 'book') AS found
    FROM attempts AS a
    JOIN moves AS m ON m.settlement_id = a.settlement_id AND m.attempt = a.number
        AND m.event = 'cleared' AND m.to_state = 'locked'
    LEFT JOIN payment_details AS d ON d.settlement_id = a.settlement_id
) AS q
WHERE q.found <> q.locked OR q.found <> q.wanted;

-- name: prove_payment_details_have_settlements
-- No payment details belong to a settlement that does not exist.
SELECT d.settlement_id::text AS subject, 'a settlement' AS expected, 'none' AS found
FROM payment_details AS d LEFT JOIN settlement_transactions AS s ON s.id = d.settlement_id
WHERE s.id IS NULL;

-- name: prove_routes_name_their_accounts
-- An attempt's four accounts are those of the instruction's banks and of the rail.
SELECT a.settlement_id::text || '/' || a.number AS subject,
    format('%s from %s to %s in %s', a.rail, s.from_bank, s.to_bank, s.currency) AS expected,
    concat_ws(', ', n.kind || ' of ' || n.bank, g.kind || ' of ' || g.bank, c.kind || ' of ' || c.bank,
        v.kind || ' of ' || v.bank) AS found
FROM attempts AS a
JOIN settlement_transactions AS s ON s.id = a.settlement_id
LEFT JOIN accounts AS n ON n.id = a.source_id
LEFT JOIN accounts AS g ON g.id = a.agent_id
LEFT JOIN accounts AS c ON c.id = a.clearing_id
LEFT JOIN accounts AS v ON v.id = a.target_id
WHERE (n.kind, folded_bank(n.bank), n.currency)
        IS DISTINCT FROM ('nostro'::account_kind, folded_bank(s.from_bank), s.currency::text)
    OR (g.kind, folded_bank(g.bank), g.currency)
        IS DISTINCT FROM ('settlement'::account_kind, folded_bank(a.rail), s.currency::text)
    OR (c.kind, folded_bank(c.bank), c.currency)
        IS DISTINCT FROM ('clearing'::account_kind, folded_bank(s.from_bank), s.currency::text)
    OR (v.kind, folded_bank(v.bank), v.currency)
        IS DISTINCT FROM ('vostro'::account_kind, folded_bank(s.to_bank), s.currency::text);

-- name: audit_settlements
-- The instructions with the hashes stored at admission: a program recomputes them.
SELECT s.id, s.key_hash, s.content_hash, s.caller, s.idempotency_key, s.obligation_id, s.from_bank, s.to_bank,
    s.amount_minor, s.currency, s.requested_value_date, s.priority, s.metadata::text AS metadata,
    d.payment::text AS payment, d.rail AS requested_rail, d.delivery::text AS requested_delivery,
    s.compensates
FROM settlement_transactions AS s LEFT JOIN payment_details AS d ON d.settlement_id = s.id;

-- name: audit_attempts
-- The references of attempts, with the values they are derived from.
SELECT a.settlement_id, a.number, a.uetr, a.end_to_end_id, a.message_id, s.caller, s.idempotency_key
FROM attempts AS a JOIN settlement_transactions AS s ON s.id = a.settlement_id;

-- name: audit_calls
-- The idempotency keys of calls, with the hashes stored at the time.
SELECT key_hash, caller, idempotency_key, call FROM idempotent_calls;

-- name: prove_totals
-- The number of rows that were checked.
SELECT (SELECT count(*) FROM accounts) AS accounts, (SELECT count(*) FROM transfers) AS transfers,
    (SELECT count(*) FROM settlement_transactions) AS settlements,
    (SELECT count(*) FROM open_settlements) AS open_settlements,
    (SELECT count(*) FROM fund_locks WHERE resolved_at IS NULL) AS open_holds;

-- name: prove_turnover
-- Posted debits per currency.
SELECT currency, sum(debits_posted)::text AS total FROM accounts GROUP BY currency ORDER BY currency;

-- name: gauges
-- For monitoring: open settlements by state, and the age of the oldest.
SELECT s.state::text AS state, count(*) AS settlements,
    extract(epoch FROM clock_timestamp() - min(s.created_at))::double precision AS oldest_seconds
FROM open_settlements AS w JOIN settlement_transactions AS s ON s.id = w.settlement_id
GROUP BY s.state;

-- name: without_next_action
-- Open settlements that are parked without a due time and without a person to wait for.
SELECT count(*) AS settlements
FROM open_settlements AS w JOIN settlement_transactions AS s ON s.id = w.settlement_id
WHERE w.owner = 0 AND w.due_at = 'infinity' AND s.state <> 'held';
