-- Checks of what reconciliation keeps: rows only where something is wrong. An item is a posting of ours or an entry of
-- the bank, and is open or in one live match.

-- name: prove_items_follow_postings
-- Every posting on an account at a bank that reconciliation has read is an item once, with its amount, and there is no
-- other item of ours.
WITH items AS (
    SELECT q.account_id, q.group_id, q.posting, q.leg, count(*) AS times, sum(q.amount_minor) AS amount_minor
    FROM (
        SELECT o.account_id, o.group_id, o.posting, o.leg, o.amount_minor FROM open_postings AS o
        UNION ALL
        SELECT p.account_id, p.group_id, p.posting, p.leg, p.amount_minor FROM match_postings AS p
        WHERE NOT EXISTS (SELECT 1 FROM unmatches AS u WHERE u.match_id = p.match_id)
    ) AS q
    GROUP BY q.account_id, q.group_id, q.posting, q.leg
), due AS (
    SELECT b.account_id, b.group_id, b.posting, b.leg, b.amount_minor
    FROM bank_postings AS b
    LEFT JOIN reconciliation_accounts AS r ON r.account_id = b.account_id
    WHERE CASE WHEN b.leg = 3 OR b.leg > 11 THEN b.at <= r.booked_until
        ELSE (b.group_id, b.at) IN (
            SELECT m.settlement_id, m.at FROM moves AS m
            WHERE m.position <= (SELECT c.position FROM reconciliation_cursor AS c)
        ) END
)
SELECT format(
        '%s/%s/%s on account %s', coalesce(d.group_id, i.group_id), coalesce(d.posting, i.posting),
        coalesce(d.leg, i.leg), coalesce(d.account_id, i.account_id)
    ) AS subject,
    CASE WHEN d.group_id IS NULL THEN 'nothing' ELSE format('1 item of %s', d.amount_minor) END AS expected,
    CASE WHEN i.group_id IS NULL THEN 'nothing' ELSE format('%s items of %s', i.times, i.amount_minor) END AS found
FROM due AS d
FULL JOIN items AS i ON i.account_id = d.account_id AND i.group_id = d.group_id AND i.posting = d.posting
    AND i.leg = d.leg
WHERE (i.times, i.amount_minor) IS DISTINCT FROM (1, d.amount_minor::numeric);

-- name: prove_items_follow_entries
-- Every booked entry of a statement in force is an item once, as far as the statement is matched, with its amount; and
-- there is no other item of theirs.
WITH items AS (
    SELECT q.statement_id, q.entry_number, count(*) AS times, sum(q.amount_minor) AS amount_minor
    FROM (
        SELECT o.statement_id, o.entry_number, o.amount_minor FROM open_entries AS o
        UNION ALL
        SELECT e.statement_id, e.entry_number, e.amount_minor FROM match_entries AS e
        WHERE NOT EXISTS (SELECT 1 FROM unmatches AS u WHERE u.match_id = e.match_id)
    ) AS q
    GROUP BY q.statement_id, q.entry_number
), due AS (
    SELECT e.statement_id, e.number, e.amount_minor
    FROM matched_statements AS m
    JOIN statement_entries AS e
        ON e.statement_id = m.statement_id AND e.number <= m.entries_done AND e.status = 'BOOKED'
)
SELECT format(
        'entry %s/%s', coalesce(d.statement_id, i.statement_id), coalesce(d.number, i.entry_number)
    ) AS subject,
    CASE WHEN d.statement_id IS NULL THEN 'nothing' ELSE format('1 item of %s', d.amount_minor) END AS expected,
    CASE WHEN i.statement_id IS NULL THEN 'nothing' ELSE format('%s items of %s', i.times, i.amount_minor) END
        AS found
FROM due AS d
FULL JOIN items AS i ON i.statement_id = d.statement_id AND i.entry_number = d.number
WHERE (i.times, i.amount_minor) IS DISTINCT FROM (1, d.amount_minor::numeric);

-- name: prove_matches_add_up
-- The two sides of a live match are equal, with whatever was posted for their difference, and it counts from the day on
-- which all of its items are booked.
SELECT format('match %s', m.id) AS subject, format('a difference of 0, from %s on', q.settled_on) AS expected,
    format('a difference of %s, from %s on', q.minor, m.settled_on) AS found
FROM matches AS m
LEFT JOIN (
    SELECT i.match_id, sum(i.minor) AS minor, max(i.booked_on) AS settled_on
    FROM (
        SELECT p.match_id, -p.amount_minor AS minor, p.booked_on FROM match_postings AS p
        UNION ALL
        SELECT e.match_id, e.amount_minor, e.booked_on FROM match_entries AS e
    ) AS i
    GROUP BY i.match_id
) AS q ON q.match_id = m.id
WHERE NOT EXISTS (SELECT 1 FROM unmatches AS u WHERE u.match_id = m.id)
    AND (q.minor, q.settled_on) IS DISTINCT FROM (0::numeric, m.settled_on);

-- name: prove_day_sums_follow_items
-- The sums of each account and day are those of its items: each counts on its day, and as matched from the day on which
-- both sides have it.
WITH due AS (
    SELECT q.account_id, q.day, sum(q.ours_minor) AS ours_minor, sum(q.theirs_minor) AS theirs_minor,
        sum(q.matched_ours_minor) AS matched_ours_minor, sum(q.matched_theirs_minor) AS matched_theirs_minor,
        sum(q.ours) AS ours, sum(q.theirs) AS theirs, sum(q.matched_ours) AS matched_ours,
        sum(q.matched_theirs) AS matched_theirs
    FROM (
        SELECT o.account_id, o.booked_on AS day, o.amount_minor AS ours_minor, 0 AS theirs_minor,
            0 AS matched_ours_minor, 0 AS matched_theirs_minor, 1 AS ours, 0 AS theirs, 0 AS matched_ours,
            0 AS matched_theirs
        FROM open_postings AS o
        UNION ALL
        SELECT o.account_id, o.booked_on, 0, o.amount_minor, 0, 0, 0, 1, 0, 0 FROM open_entries AS o
        UNION ALL
        SELECT m.account_id, c.day, c.is_own * p.amount_minor, 0, c.is_match * p.amount_minor, 0, c.is_own, 0,
            c.is_match, 0
        FROM match_postings AS p
        JOIN matches AS m ON m.id = p.match_id
        CROSS JOIN LATERAL (VALUES (p.booked_on, 1, 0), (m.settled_on, 0, 1)) AS c (day, is_own, is_match)
        WHERE NOT EXISTS (SELECT 1 FROM unmatches AS u WHERE u.match_id = m.id)
        UNION ALL
        SELECT m.account_id, c.day, 0, c.is_own * e.amount_minor, 0, c.is_match * e.amount_minor, 0, c.is_own, 0,
            c.is_match
        FROM match_entries AS e
        JOIN matches AS m ON m.id = e.match_id
        CROSS JOIN LATERAL (VALUES (e.booked_on, 1, 0), (m.settled_on, 0, 1)) AS c (day, is_own, is_match)
        WHERE NOT EXISTS (SELECT 1 FROM unmatches AS u WHERE u.match_id = m.id)
    ) AS q
    GROUP BY q.account_id, q.day
), compared AS (
    SELECT coalesce(d.account_id, k.account_id) AS account_id, coalesce(d.day, k.day) AS day,
        format(
            'ours %s in %s, matched %s in %s; theirs %s in %s, matched %s in %s', coalesce(d.ours, 0),
            coalesce(d.ours_minor, 0), coalesce(d.matched_ours, 0), coalesce(d.matched_ours_minor, 0),
            coalesce(d.theirs, 0), coalesce(d.theirs_minor, 0), coalesce(d.matched_theirs, 0),
            coalesce(d.matched_theirs_minor, 0)
        ) AS expected,
        format(
            'ours %s in %s, matched %s in %s; theirs %s in %s, matched %s in %s', coalesce(k.ours, 0),
            coalesce(k.ours_minor, 0), coalesce(k.matched_ours, 0), coalesce(k.matched_ours_minor, 0),
            coalesce(k.theirs, 0), coalesce(k.theirs_minor, 0), coalesce(k.matched_theirs, 0),
            coalesce(k.matched_theirs_minor, 0)
        ) AS found
    FROM due AS d
    FULL JOIN reconciliation_days AS k ON k.account_id = d.account_id AND k.day = d.day
)
SELECT format('account %s on %s', account_id, day) AS subject, expected, found FROM compared WHERE expected <> found;

-- name: prove_statement_days_follow_items
-- Inside of a statement of several days the sums of its days are those of its items that count on them; on its last day
-- its balances count. An item counts on the entry's booking date, or on the last day.
WITH items AS (
    SELECT q.statement_id, q.booked_on AS day, sum(q.amount_minor) AS minor, count(*) AS entries,
        bool_and(q.booked_on = e.booking_date AND q.booked_on >= s.begins) AS is_dated
    FROM (
        SELECT o.statement_id, o.entry_number, o.booked_on, o.amount_minor FROM open_entries AS o
        UNION ALL
        SELECT e.statement_id, e.entry_number, e.booked_on, e.amount_minor FROM match_entries AS e
        WHERE NOT EXISTS (SELECT 1 FROM unmatches AS u WHERE u.match_id = e.match_id)
    ) AS q
    JOIN statements AS s ON s.id = q.statement_id
    LEFT JOIN statement_entries AS e ON e.statement_id = q.statement_id AND e.number = q.entry_number
    WHERE q.booked_on <> s.ends
    GROUP BY q.statement_id, q.booked_on
), days AS (
    SELECT d.statement_id, d.day, d.minor, d.entries
    FROM statement_days AS d JOIN statements AS s ON s.id = d.statement_id WHERE d.day <> s.ends
)
SELECT format('statement %s on %s', coalesce(i.statement_id, d.statement_id), coalesce(i.day, d.day)) AS subject,
    format('%s entries of %s, on their dates', coalesce(i.entries, 0), coalesce(i.minor, 0)) AS expected,
    format(
        '%s entries of %s%s', coalesce(d.entries, 0), coalesce(d.minor, 0),
        CASE WHEN i.is_dated THEN '' ELSE ', on other dates' END
    ) AS found
FROM items AS i FULL JOIN days AS d ON d.statement_id = i.statement_id AND d.day = i.day
WHERE (i.minor, i.entries, i.is_dated) IS DISTINCT FROM (d.minor, d.entries::bigint, true);

-- name: prove_timing_items_follow_matches
-- What was open for some days and was then matched is kept with these days, once for each such item of a live match.
WITH due AS (
    SELECT m.id AS match_id, p.group_id || '/' || p.posting || '/' || p.leg AS item, p.account_id, p.booked_on,
        m.settled_on
    FROM match_postings AS p JOIN matches AS m ON m.id = p.match_id
    WHERE p.booked_on < m.settled_on AND NOT EXISTS (SELECT 1 FROM unmatches AS u WHERE u.match_id = m.id)
    UNION ALL
    SELECT m.id, e.statement_id || '/' || e.entry_number, m.account_id, e.booked_on, m.settled_on
    FROM match_entries AS e JOIN matches AS m ON m.id = e.match_id
    WHERE e.booked_on < m.settled_on AND NOT EXISTS (SELECT 1 FROM unmatches AS u WHERE u.match_id = m.id)
), kept AS (
    SELECT t.match_id, t.group_id || '/' || t.posting || '/' || t.leg AS item, t.account_id, t.booked_on, t.settled_on,
        t.span
    FROM timing_postings AS t
    UNION ALL
    SELECT t.match_id, t.statement_id || '/' || t.entry_number, t.account_id, t.booked_on, t.settled_on, t.span
    FROM timing_entries AS t
)
SELECT format('item %s of match %s', coalesce(d.item, k.item), coalesce(d.match_id, k.match_id)) AS subject,
    CASE WHEN d.item IS NULL THEN 'nothing' ELSE format(
        'account %s from %s to %s in span %s', d.account_id, d.booked_on, d.settled_on,
        timing_span(d.booked_on, d.settled_on)
    ) END AS expected,
    CASE WHEN k.item IS NULL THEN 'nothing' ELSE format(
        'account %s from %s to %s in span %s', k.account_id, k.booked_on, k.settled_on, k.span
    ) END AS found
FROM due AS d FULL JOIN kept AS k ON k.match_id = d.match_id AND k.item = d.item
WHERE (d.account_id, d.booked_on, d.settled_on, timing_span(d.booked_on, d.settled_on))
    IS DISTINCT FROM (k.account_id, k.booked_on, k.settled_on, k.span);

-- name: audit_proved_accounts
-- The accounts whose proofs can be recomputed, behind one.
SELECT p.account_id, p.unproved_from, p.last_statement_id, p.last_decision_id
FROM proved_accounts AS p WHERE p.account_id > $1 ORDER BY p.account_id LIMIT $2;

-- name: audit_heads
-- The statements ($2) of an account of which its proofs know ($3), each as the decisions say of which they know ($4).
SELECT s.id, s.content_hash, s.source, s.bank_statement_id, s.sequence, s.page, s.is_last_page, s.created, s.begins,
    s.ends, s.opening_minor, s.opening_is_final, s.closing_minor, s.closing_is_final, s.booked_minor,
    s.totals_differ, coalesce((
        SELECT p.change = 'SET_ASIDE'
        FROM statement_proposal_statements AS i
        JOIN statement_proposals AS p ON p.id = i.proposal_id
        JOIN statement_decisions AS d ON d.proposal_id = p.id AND d.decision = 'approved'
        WHERE i.statement_id = s.id AND d.id <= $4
        ORDER BY d.id DESC LIMIT 1
    ), false) AS is_set_aside
FROM statements AS s
WHERE s.is_kept AND s.account_id = $1 AND s.source = ANY ($2::text[]) AND s.id <= $3
ORDER BY s.ends, s.id;
