-- Compensations and what they compensate: subject, expected, found where the two do not belong together.

-- name: prove_compensations_pay_back
-- A compensation pays back what another settlement has paid: the same two banks in the other direction, in the same
-- currency, admitted after that settlement had completed.
SELECT c.id::text AS subject,
    CASE WHEN s.id IS NULL THEN 'a settlement'
        ELSE format('from %s to %s in %s, after %s', s.to_bank, s.from_bank, s.currency,
            CASE WHEN s.state IN ('completed', 'returned') THEN s.ended_at::text ELSE 'its completion' END)
    END AS expected,
    CASE WHEN s.id IS NULL THEN format('none with id %s', c.compensates)
        ELSE format('from %s to %s in %s at %s', c.from_bank, c.to_bank, c.currency, c.created_at)
    END AS found
FROM settlement_transactions AS c
LEFT JOIN settlement_transactions AS s ON s.id = c.compensates
WHERE c.compensates IS NOT NULL AND (
    s.id IS NULL
    OR folded_bank(c.from_bank) <> folded_bank(s.to_bank)
    OR folded_bank(c.to_bank) <> folded_bank(s.from_bank)
    OR c.currency <> s.currency
    OR s.state NOT IN ('completed', 'returned')
    OR c.created_at < s.ended_at
);

-- name: prove_compensations_are_covered
-- What the compensations of a settlement pay back, less what has come back of them, is no more than its amount; those
-- that are not released yet are counted, too.
SELECT s.id::text AS subject, format('at most %s', s.amount_minor) AS expected,
    format('%s compensated', q.total) AS found
FROM (
    SELECT c.compensates AS id, sum(c.amount_minor - coalesce(b.total, 0)) AS total
    FROM settlement_transactions AS c
    LEFT JOIN (
        SELECT settlement_id, sum(amount_minor + charges_minor) AS total FROM returns GROUP BY 1
    ) AS b ON b.settlement_id = c.id
    WHERE c.compensates IS NOT NULL AND c.state NOT IN ('failed', 'rolled_back', 'returned')
    GROUP BY 1
) AS q
JOIN settlement_transactions AS s ON s.id = q.id
WHERE q.total > s.amount_minor;

-- name: prove_no_more_comes_back
-- What has been returned of a settlement, and what its compensations have paid back or may have, is together no more
-- than what was settled.
SELECT s.id::text AS subject, format('at most %s comes back', s.amount_minor) AS expected,
    format('%s more', -q.left_minor) AS found
FROM (
    SELECT c.compensates AS id, left_to_give_back(c.compensates) AS left_minor
    FROM settlement_transactions AS c WHERE c.compensates IS NOT NULL GROUP BY 1
) AS q
JOIN settlement_transactions AS s ON s.id = q.id
WHERE q.left_minor < 0;

-- name: prove_compensations_are_released
-- Before funds were held for a compensation, two people released it, and neither of them had submitted it.
SELECT c.id::text AS subject, 'a release by two people' AS expected, 'none' AS found
FROM settlement_transactions AS c
JOIN moves AS l ON l.settlement_id = c.id AND l.event = 'cleared' AND l.to_state = 'locked'
WHERE c.compensates IS NOT NULL AND NOT EXISTS (
    SELECT FROM moves AS m
    JOIN resolutions AS r ON r.settlement_id = m.settlement_id AND r.id::text = m.detail ->> 'proposal'
    WHERE m.settlement_id = c.id AND m.event = 'approved' AND m.seq < l.seq
        AND r.finding = 'release' AND r.decision = 'approved'
        AND person_of(r.proposed_by) <> person_of(r.decided_by)
        AND person_of(c.caller) NOT IN (person_of(r.proposed_by), person_of(r.decided_by))
);
