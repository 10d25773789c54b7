-- What is kept beside the history for speed is what the history says: subject, expected, found where it is not.

-- name: prove_rail_references_follow_moves
-- Reference and confirmation of a settlement are those that its rail gave last; each move keeps what was given.
SELECT s.id::text AS subject,
    format('reference %L, confirmation %L', m.rail_reference, m.confirmation) AS expected,
    format('reference %L, confirmation %L', s.rail_reference, s.confirmation) AS found
FROM settlement_transactions AS s
LEFT JOIN (
    SELECT settlement_id,
        (array_agg(detail ->> 'rail_reference' ORDER BY seq DESC)
            FILTER (WHERE detail ? 'rail_reference'))[1] AS rail_reference,
        (array_agg(detail ->> 'confirmation' ORDER BY seq DESC)
            FILTER (WHERE detail ? 'confirmation'))[1] AS confirmation
    FROM moves WHERE detail ?| '{rail_reference,confirmation}' GROUP BY 1
) AS m ON m.settlement_id = s.id
WHERE (s.rail_reference, s.confirmation) IS DISTINCT FROM (m.rail_reference, m.confirmation);

-- name: prove_ends_follow_moves
-- A settlement ended with the move that brought it to its first final state, and no other has ended.
SELECT s.id::text AS subject, coalesce(m.at::text, 'not ended') AS expected,
    coalesce(s.ended_at::text, 'not ended') AS found
FROM settlement_transactions AS s
LEFT JOIN moves AS m ON m.settlement_id = s.id
    AND m.from_state NOT IN ('completed', 'failed', 'rolled_back', 'returned')
    AND m.to_state IN ('completed', 'failed', 'rolled_back', 'returned')
WHERE s.ended_at IS DISTINCT FROM m.at;

-- name: prove_sends_follow_history
-- An attempt is sent with its lock, once more with each move that found it unknown to the bank, and once with each
-- send intent of a cover. A resend
-- after a proof of non-delivery, and what a recovery adds, have no record of their own: there is at most one
-- for each proof and each recovery. Proofs of non-delivery are counted with the answers.
SELECT a.settlement_id::text || '/' || a.number AS subject,
    format('%s to %s sends, %s undelivered', q.sends_min, q.sends_min + q.proofs + o.recoveries, q.proofs)
        AS expected,
    format('%s sends, %s undelivered', a.sends, a.undelivered) AS found
FROM attempts AS a
CROSS JOIN (SELECT count(*) AS recoveries FROM openings WHERE step = 'shut') AS o
LEFT JOIN (
    SELECT settlement_id, attempt, count(*) AS resends FROM moves
    WHERE (event = 'not_found' AND to_state = 'locked') OR event = 'cover_due' GROUP BY 1, 2
) AS m ON m.settlement_id = a.settlement_id AND m.attempt = a.number
LEFT JOIN (
    SELECT settlement_id, attempt, sum(times) AS proofs FROM answers
    WHERE event = 'undelivered' AND state = 'locked' GROUP BY 1, 2
) AS u ON u.settlement_id = a.settlement_id AND u.attempt = a.number
CROSS JOIN LATERAL (
    SELECT 1 + coalesce(m.resends, 0) AS sends_min, coalesce(u.proofs, 0) AS proofs
) AS q
WHERE a.undelivered <> q.proofs
    OR a.sends NOT BETWEEN q.sends_min AND q.sends_min + q.proofs + o.recoveries;

-- name: prove_covers_follow_history
-- The send intent of a cover names a stored one with its bytes. No cover was sent after its bank had refused it,
-- none was repaired before that, and none was proved undelivered more often than it was sent.
SELECT m.settlement_id::text || '/' || m.seq AS subject, m.detail ->> 'cover_sha256' AS expected,
    encode(sha256(c.content), 'hex') AS found
FROM moves AS m
LEFT JOIN covers AS c ON c.settlement_id = m.settlement_id AND c.attempt = m.attempt
    AND c.number::text = m.detail ->> 'cover'
WHERE m.event = 'cover_due'
    AND encode(sha256(c.content), 'hex') IS DISTINCT FROM m.detail ->> 'cover_sha256'
UNION ALL
SELECT m.settlement_id::text || '/' || m.seq, 'sent before ' || r.at::text, 'sent at ' || m.at::text
FROM cover_results AS r
JOIN moves AS m ON m.settlement_id = r.settlement_id AND m.attempt = r.attempt AND m.event = 'cover_due'
    AND m.detail ->> 'cover' = r.number::text
WHERE r.result = 'refused' AND m.at > r.at
UNION ALL
SELECT c.settlement_id::text || '/' || c.attempt || '/' || c.number, 'ordered at ' || c.recorded_at::text,
    coalesce('refused at ' || r.at::text, 'never refused')
FROM covers AS c
LEFT JOIN cover_results AS r ON r.settlement_id = c.settlement_id AND r.attempt = c.attempt
    AND r.number = c.number - 1 AND r.result = 'refused'
WHERE c.number > 1 AND (r.at IS NULL OR r.at > c.recorded_at)
UNION ALL
SELECT r.settlement_id::text || '/' || r.attempt || '/' || r.number, 'at most ' || q.sends || ' undelivered',
    r.proofs || ' undelivered'
FROM (
    SELECT settlement_id, attempt, number, count(*) AS proofs FROM cover_results
    WHERE result = 'undelivered' GROUP BY 1, 2, 3
) AS r
CROSS JOIN LATERAL (
    SELECT count(*) AS sends FROM moves AS m
    WHERE m.settlement_id = r.settlement_id AND m.attempt = r.attempt AND m.event = 'cover_due'
        AND m.detail ->> 'cover' = r.number::text
) AS q
WHERE r.proofs > q.sends;

-- name: prove_calls_are_dated_as_what_they_did
-- A call was written in the transaction that opened its account or posted its funding. No other record has
-- its own instant, so a minute between the two is taken as equal: a transaction lasts seconds. Equal fundings
-- of one account are compared in the order of their times.
SELECT c.key_hash::text AS subject, d.at::text AS expected, c.at::text AS found
FROM (
    SELECT c.key_hash, c.call, c.account_id, c.content ->> 'currency' AS currency,
        c.content ->> 'reference' AS reference, q.amount_minor, c.at,
        row_number() OVER (
            PARTITION BY c.call, c.account_id, c.content ->> 'currency', c.content ->> 'reference',
                q.amount_minor
            ORDER BY c.at
        ) AS nth
    FROM idempotent_calls AS c
    LEFT JOIN currencies AS e ON e.code = c.content ->> 'currency'
    CROSS JOIN LATERAL (
        SELECT CASE WHEN c.content ->> 'amount' ~ '^[0-9]{1,18}(\.[0-9]{1,4})?$'
            THEN (c.content ->> 'amount')::numeric * 10::numeric ^ e.exponent END AS amount_minor
    ) AS q
) AS c
JOIN (
    SELECT 'open_account' AS call, id AS account_id, NULL AS currency, NULL AS reference,
        NULL::numeric AS amount_minor, opened_at AS at, 1 AS nth
    FROM accounts
    UNION ALL
    SELECT 'fund_account', debit_id, currency, reference, amount_minor, at,
        row_number() OVER (PARTITION BY debit_id, currency, reference, amount_minor ORDER BY at)
    FROM transfers WHERE leg = 3
) AS d ON d.call = c.call AND d.account_id = c.account_id AND d.nth = c.nth
    AND (c.call = 'open_account'
        OR (d.currency, d.reference, d.amount_minor) = (c.currency, c.reference, c.amount_minor))
WHERE c.at NOT BETWEEN d.at - interval '1 minute' AND d.at + interval '1 minute';

-- name: prove_past_balances_follow_transfers
-- What is recorded of a quarter of an hour is the sum of all transfers before its end, for every account that was
-- booked on in it, up to the newest recorded quarter.
WITH booked AS (
    SELECT s.account_id,
        date_bin('15 minutes', t.at, '2000-01-01T00:00:00Z') + interval '15 minutes' AS at,
        sum(s.debit) AS debits, sum(s.credit) AS credits
    FROM transfers AS t
    CROSS JOIN LATERAL (
        VALUES (t.debit_id, t.amount_minor, 0), (t.credit_id, 0, t.amount_minor)
    ) AS s (account_id, debit, credit)
    WHERE t.at < (SELECT max(m.at) FROM balance_moments AS m)
    GROUP BY 1, 2
), due AS (
    SELECT account_id, at, sum(debits) OVER w AS debits, sum(credits) OVER w AS credits
    FROM booked WINDOW w AS (PARTITION BY account_id ORDER BY at)
)
SELECT coalesce(d.account_id, p.account_id) || ' before ' || coalesce(d.at, p.at) AS subject,
    CASE WHEN d.at IS NULL THEN 'nothing' ELSE format('debits %s credits %s', d.debits, d.credits) END AS expected,
    CASE WHEN p.at IS NULL THEN 'nothing' ELSE format('debits %s credits %s', p.debits_posted, p.credits_posted) END
        AS found
FROM due AS d
FULL JOIN past_balances AS p ON p.account_id = d.account_id AND p.at = d.at
WHERE (d.debits, d.credits) IS DISTINCT FROM (p.debits_posted::numeric, p.credits_posted::numeric);
