-- Work on breaks: events of people and of escalation, matches by hand, proposals and decisions.

-- name: break_head
-- What a break is about, and which of its items are open. The currency is its account's.
SELECT b.id, b.kind, b.account_id, a.bank, a.currency, b.amount_minor, b.business_date,
    ARRAY(
        SELECT i.item FROM break_items AS i
        JOIN open_postings AS p ON p.account_id = i.account_id AND p.group_id = split_part(i.item, '/', 1)::uuid
            AND p.posting = split_part(i.item, '/', 2)::smallint AND p.leg = split_part(i.item, '/', 3)::smallint
        WHERE i.break_id = b.id AND i.side = 'ours' ORDER BY i.item
    ) AS ours,
    ARRAY(
        SELECT i.item FROM break_items AS i
        JOIN open_entries AS e ON e.statement_id = split_part(i.item, '/', 1)::bigint
            AND e.entry_number = split_part(i.item, '/', 2)::integer
        WHERE i.break_id = b.id AND i.side = 'theirs' ORDER BY i.item
    ) AS theirs
FROM breaks AS b JOIN accounts AS a ON a.id = b.account_id WHERE b.id = $1;

-- name: suggestions_of_break
-- What is suggested about these open items of an account, the latest first, and which items of it are open.
SELECT s.matched_by, s.explanation, s.ours, s.theirs,
    ARRAY(
        SELECT n.item FROM unnest(s.ours) AS n (item)
        JOIN open_postings AS p ON p.account_id = $1 AND p.group_id = split_part(n.item, '/', 1)::uuid
            AND p.posting = split_part(n.item, '/', 2)::smallint AND p.leg = split_part(n.item, '/', 3)::smallint
    ) AS open_ours,
    ARRAY(
        SELECT n.item FROM unnest(s.theirs) AS n (item)
        JOIN open_entries AS e ON e.statement_id = split_part(n.item, '/', 1)::bigint
            AND e.entry_number = split_part(n.item, '/', 2)::integer
    ) AS open_theirs
FROM match_suggestions AS s
WHERE s.account_id = $1 AND (s.ours && $2::text::text[] OR s.theirs && $3::text::text[])
ORDER BY s.id DESC LIMIT $4;

-- name: lock_open_break
-- An open break's row is locked before anything is appended to its history.
SELECT break_id FROM open_breaks WHERE break_id = $1 FOR UPDATE;

-- name: add_break_event
-- Append an event to a break's history.
INSERT INTO break_events (break_id, number, event, who, text, owner, due_at, proposal_id, match_id)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9);

-- name: assign_break
-- Whose work an open break is, and when it is due.
UPDATE open_breaks SET owner = $2, due_at = coalesce($3, due_at) WHERE break_id = $1;

-- name: take_off_open_breaks
-- A break is closed.
DELETE FROM open_breaks WHERE break_id = $1;

-- name: put_on_open_breaks
-- A break is open again, with the owner that it had.
INSERT INTO open_breaks (break_id, account_id, owner) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING;

-- name: open_items_named
-- Those of these items of an account that are open: $2 of ours, $3 of theirs.
SELECT 'ours' AS side, q.item, p.id AS posting_id, NULL::bigint AS statement_id, NULL::integer AS entry_number,
    p.amount_minor, p.currency, p.booked_on
FROM unnest($2::text::text[]) AS q (item)
JOIN open_postings AS p ON p.account_id = $1 AND p.group_id = split_part(q.item, '/', 1)::uuid
    AND p.posting = split_part(q.item, '/', 2)::smallint AND p.leg = split_part(q.item, '/', 3)::smallint
UNION ALL
SELECT 'theirs', q.item, NULL, e.statement_id, e.entry_number, e.amount_minor, s.currency, e.booked_on
FROM unnest($3::text::text[]) AS q (item)
JOIN open_entries AS e ON e.account_id = $1 AND e.statement_id = split_part(q.item, '/', 1)::bigint
    AND e.entry_number = split_part(q.item, '/', 2)::integer
JOIN statement_entries AS s ON s.statement_id = e.statement_id AND s.number = e.entry_number
ORDER BY 1, 2;

-- name: add_person_match
-- Record a match that people make, as a run of its own.
WITH run AS (
    INSERT INTO reconciliation_runs (id, started_for, who, rules_version, account_id)
    VALUES (gen_random_uuid(), 'demand', $4, 'person', $1) RETURNING id
)
INSERT INTO matches (
    account_id, run_id, matched_by, rules_version, explanation, is_automatic, settled_on, who
)
SELECT $1, r.id, 'person', 'person', $2, false, $3, $4 FROM run AS r RETURNING id;

-- name: person_match_of
-- The live match that a person has made of exactly these items, if there is one.
SELECT m.id FROM matches AS m
WHERE m.account_id = $1 AND NOT m.is_automatic AND m.who = $4
    AND NOT EXISTS (SELECT 1 FROM unmatches AS u WHERE u.match_id = m.id)
    AND m.id IN (
        SELECT p.match_id FROM unnest($2::text::text[]) AS q (item)
        JOIN match_postings AS p ON p.account_id = $1 AND p.group_id = split_part(q.item, '/', 1)::uuid
            AND p.posting = split_part(q.item, '/', 2)::smallint AND p.leg = split_part(q.item, '/', 3)::smallint
        UNION
        SELECT e.match_id FROM unnest($3::text::text[]) AS q (item)
        JOIN match_entries AS e ON e.statement_id = split_part(q.item, '/', 1)::bigint
            AND e.entry_number = split_part(q.item, '/', 2)::integer
    )
    AND ARRAY(
        SELECT p.group_id || '/' || p.posting || '/' || p.leg FROM match_postings AS p
        WHERE p.match_id = m.id ORDER BY 1
    ) = ARRAY(SELECT q.item FROM unnest($2::text::text[]) AS q (item) ORDER BY 1)
    AND ARRAY(
        SELECT e.statement_id || '/' || e.entry_number FROM match_entries AS e WHERE e.match_id = m.id ORDER BY 1
    ) = ARRAY(SELECT q.item FROM unnest($3::text::text[]) AS q (item) ORDER BY 1);

-- name: taken_back_by_people
-- The matches that people have taken back and that have one of these entries, with their items, without the
-- transfer of a difference (leg 14).
SELECT DISTINCT m.id, ARRAY(
    SELECT p.group_id || '/' || p.posting || '/' || p.leg FROM match_postings AS p
    WHERE p.match_id = m.id AND p.leg <> 14
) AS ours, ARRAY(
    SELECT e.statement_id || '/' || e.entry_number FROM match_entries AS e WHERE e.match_id = m.id
) AS theirs
FROM unnest($2::text::bigint[], $3::text::integer[]) AS q (statement_id, entry_number)
JOIN match_entries AS t ON t.statement_id = q.statement_id AND t.entry_number = q.entry_number
JOIN matches AS m ON m.id = t.match_id AND m.account_id = $1
JOIN unmatches AS u ON u.match_id = m.id AND u.who <> 'engine';

-- name: late_matches
-- The live matches of an account that people have made of postings alone, with a correction, and that an open entry of
-- the bank names now: it came late.
WITH corrected AS (
    SELECT m.id, unnest(b.our_references || b.rail_references || b.end_to_end) AS name
    FROM matches AS m
    JOIN match_postings AS p ON p.match_id = m.id AND p.leg <> 12
    JOIN bank_postings AS b
        ON b.group_id = p.group_id AND b.posting = p.posting AND b.leg = p.leg AND b.account_id = m.account_id
    WHERE m.account_id = $1 AND NOT m.is_automatic
        AND NOT EXISTS (SELECT 1 FROM unmatches AS u WHERE u.match_id = m.id)
        AND NOT EXISTS (SELECT 1 FROM match_entries AS e WHERE e.match_id = m.id)
        AND EXISTS (SELECT 1 FROM match_postings AS c WHERE c.match_id = m.id AND c.leg = 12)
), named AS (
    SELECT spelled_reference(r.value) AS name
    FROM open_entries AS o
    JOIN statement_entries AS e ON e.statement_id = o.statement_id AND e.number = o.entry_number
    CROSS JOIN LATERAL jsonb_each_text(e.refs) AS r
    WHERE o.account_id = $1
)
SELECT DISTINCT c.id FROM corrected AS c JOIN named AS n ON n.name = c.name WHERE c.name <> '' ORDER BY c.id;

-- name: add_corrections_to_break
-- A break that is open again is also about the correction that had closed it.
INSERT INTO break_items (break_id, side, item, account_id)
SELECT $1, 'ours', p.group_id || '/' || p.posting || '/' || p.leg, p.account_id
FROM match_postings AS p WHERE p.match_id = $2 AND p.leg = 12 ORDER BY 3
ON CONFLICT DO NOTHING;

-- name: is_explained
-- Whether two people have explained an opening difference of this amount, and it was not opened again since.
SELECT EXISTS (
    SELECT 1 FROM breaks AS b
    WHERE b.account_id = $1 AND b.fingerprint = $2 AND b.amount_minor = $3::numeric AND (
        SELECT v.event FROM break_events AS v
        WHERE v.break_id = b.id AND v.event <> 'commented' ORDER BY v.number DESC LIMIT 1
    ) = 'approved'
) AS is_explained;

-- name: match_taken_back
-- Who has taken a match back, and why.
SELECT who, reason FROM unmatches WHERE match_id = $1;

-- name: closed_breaks_of_match
-- The closed breaks of which a match has an item, with the owner that each had.
SELECT DISTINCT b.id, coalesce((
    SELECT v.owner FROM break_events AS v
    WHERE v.break_id = b.id AND v.event IN ('assigned', 'escalated') ORDER BY v.number DESC LIMIT 1
), '') AS owner
FROM (
    SELECT p.account_id, 'ours' AS side, p.group_id || '/' || p.posting || '/' || p.leg AS item
    FROM match_postings AS p WHERE p.match_id = $1
    UNION ALL
    SELECT m.account_id, 'theirs', e.statement_id || '/' || e.entry_number
    FROM match_entries AS e JOIN matches AS m ON m.id = e.match_id WHERE e.match_id = $1
) AS q
JOIN break_items AS i ON i.account_id = q.account_id AND i.side = q.side AND i.item = q.item
JOIN breaks AS b ON b.id = i.break_id
WHERE NOT EXISTS (SELECT 1 FROM open_breaks AS o WHERE o.break_id = b.id)
    AND (
        SELECT v.event FROM break_events AS v
        WHERE v.break_id = b.id AND v.event <> 'commented' ORDER BY v.number DESC LIMIT 1
    ) IN ('matched', 'approved')
ORDER BY b.id;

-- name: settled_breaks_of_match
-- The open breaks of which a match has an item, and none of whose items is open.
SELECT DISTINCT o.break_id
FROM (
    SELECT p.account_id, 'ours' AS side, p.group_id || '/' || p.posting || '/' || p.leg AS item
    FROM match_postings AS p WHERE p.match_id = $1
    UNION ALL
    SELECT m.account_id, 'theirs', e.statement_id || '/' || e.entry_number
    FROM match_entries AS e JOIN matches AS m ON m.id = e.match_id WHERE e.match_id = $1
) AS q
JOIN break_items AS i ON i.account_id = q.account_id AND i.side = q.side AND i.item = q.item
JOIN open_breaks AS o ON o.break_id = i.break_id
WHERE NOT EXISTS (
    SELECT 1 FROM break_items AS n
    JOIN open_postings AS p ON p.account_id = n.account_id AND p.group_id = split_part(n.item, '/', 1)::uuid
        AND p.posting = split_part(n.item, '/', 2)::smallint AND p.leg = split_part(n.item, '/', 3)::smallint
    WHERE n.break_id = o.break_id AND n.side = 'ours'
) AND NOT EXISTS (
    SELECT 1 FROM break_items AS n
    JOIN open_entries AS e ON e.statement_id = split_part(n.item, '/', 1)::bigint
        AND e.entry_number = split_part(n.item, '/', 2)::integer
    WHERE n.break_id = o.break_id AND n.side = 'theirs'
)
ORDER BY o.break_id;

-- name: break_clock
-- The database's time.
SELECT clock_timestamp() AS now;

-- name: write_break_proposal
-- Append a proposal.
INSERT INTO break_proposals (
    break_id, resolution, account_id, currency, amount_minor, reason, evidence_name, evidence, evidence_sha256,
    proposed_by, content_sha256, proposed_at, expires_at
)
SELECT $1, $2, $3, $4, $5, $6, $7, $8, sha256($8), $9, $10, q.at, q.at + make_interval(secs => $11::double precision)
FROM (SELECT clock_timestamp() AS at) AS q RETURNING id;

-- name: write_break_proposal_items
-- Append the items of a proposal, as parallel arrays.
INSERT INTO break_proposal_items (proposal_id, side, item, amount_minor)
SELECT $1, q.* FROM unnest($2::text::text[], $3::text::text[], $4::text::bigint[]) AS q (side, item, amount_minor)
ORDER BY q.side, q.item;

-- name: list_break_proposals
-- Proposals, the latest first. A null filter does not filter; $4: those that are decided, or whose break is closed, too.
SELECT p.id, p.break_id, p.resolution, p.account_id, p.currency, p.amount_minor, p.reason, p.evidence_name,
    octet_length(p.evidence) AS evidence_bytes, p.evidence_sha256, p.proposed_by, p.content_sha256, p.proposed_at,
    p.expires_at, clock_timestamp() AS seen_at, d.decision, d.decided_by, d.decided_at, d.role, d.match_id,
    d.transfer_group, i.items
FROM break_proposals AS p
LEFT JOIN break_decisions AS d ON d.proposal_id = p.id
LEFT JOIN LATERAL (
    SELECT coalesce(json_agg(json_build_array(n.side, n.item, n.amount_minor) ORDER BY n.side, n.item), '[]')::text
        AS items
    FROM break_proposal_items AS n WHERE n.proposal_id = p.id
) AS i ON true
WHERE ($1::bigint IS NULL OR p.id = $1)
    AND ($2::bigint IS NULL OR p.break_id = $2)
    AND ($3::bigint IS NULL OR p.id < $3)
    AND ($4::boolean OR d.proposal_id IS NULL AND p.expires_at > clock_timestamp() AND EXISTS (
        SELECT 1 FROM open_breaks AS o WHERE o.break_id = p.break_id
    ))
ORDER BY p.id DESC LIMIT $5;

-- name: evidence_of_break_proposal
-- The bytes of a proposal's evidence.
SELECT evidence FROM break_proposals WHERE id = $1;

-- name: decide_break_proposal
-- Append the decision on a proposal.
INSERT INTO break_decisions (
    proposal_id, decision, decided_by, role, signed_sha256, match_id, transfer_group
)
VALUES ($1, $2, $3, $4, $5, $6, $7);

-- name: breaks_to_escalate
-- Open breaks behind an id, with what their escalation depends on.
SELECT o.break_id, o.level, o.due_at, b.kind, b.amount_minor, b.currency, b.business_date, b.opened_at, b.severity,
    clock_timestamp() AS seen_at
FROM open_breaks AS o JOIN breaks AS b ON b.id = o.break_id
WHERE o.break_id > $1 ORDER BY o.break_id LIMIT $2;

-- name: escalate_breaks
-- Escalate open breaks, as parallel arrays, unless another engine has done so: returns those that were at the old level.
WITH given AS (
    SELECT * FROM unnest(
        $1::text::bigint[], $2::text::smallint[], $3::text::smallint[], $4::text::text[], $5::text::timestamptz[]
    ) AS q (break_id, was, level, owner, due_at)
), moved AS (
    UPDATE open_breaks AS o SET level = g.level, owner = g.owner, due_at = g.due_at
    FROM given AS g WHERE o.break_id = g.break_id AND o.level = g.was
    RETURNING o.break_id, o.level, o.owner, o.due_at
)
INSERT INTO break_events (break_id, number, event, who, text, owner, level, due_at)
SELECT m.break_id, 1 + (SELECT max(e.number) FROM break_events AS e WHERE e.break_id = m.break_id), 'escalated',
    'engine', '', m.owner, m.level, m.due_at
FROM moved AS m ORDER BY m.break_id
RETURNING break_id;
