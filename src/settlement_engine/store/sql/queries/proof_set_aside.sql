-- Checks of the statements that are set aside: rows only where something is wrong.

-- name: prove_statement_decisions_are_of_two
-- Every approval of a change of statements is by a second person, of what the first one has proposed, in time.
SELECT format('proposal %s about statements', p.id) AS subject, 'two people' AS expected,
    format('%s, approved by %s at %s', p.proposed_by, d.decided_by, d.decided_at) AS found
FROM statement_decisions AS d JOIN statement_proposals AS p ON p.id = d.proposal_id
WHERE d.decision = 'approved' AND (
    person_of(d.decided_by) = person_of(p.proposed_by) OR d.signed_sha256 <> p.content_sha256
    OR d.decided_at >= p.expires_at
);

-- name: prove_set_aside_follows_decisions
-- A statement is set aside exactly when the latest approved proposal about it says so.
WITH latest AS (
    SELECT DISTINCT ON (i.statement_id) i.statement_id, p.account_id, d.id AS decision_id, p.change
    FROM statement_proposal_statements AS i
    JOIN statement_proposals AS p ON p.id = i.proposal_id
    JOIN statement_decisions AS d ON d.proposal_id = p.id AND d.decision = 'approved'
    ORDER BY i.statement_id, d.id DESC
), due AS (
    SELECT l.statement_id, l.account_id, l.decision_id FROM latest AS l WHERE l.change = 'SET_ASIDE'
)
SELECT format('statement %s', coalesce(d.statement_id, z.statement_id)) AS subject,
    CASE WHEN d.statement_id IS NULL THEN 'it counts' ELSE format(
        'set aside on account %s by decision %s', d.account_id, d.decision_id
    ) END AS expected,
    CASE WHEN z.statement_id IS NULL THEN 'it counts' ELSE format(
        'set aside on account %s by decision %s', z.account_id, z.decision_id
    ) END AS found
FROM due AS d FULL JOIN set_aside_statements AS z ON z.statement_id = d.statement_id
WHERE (d.account_id, d.decision_id) IS DISTINCT FROM (z.account_id, z.decision_id);

-- name: prove_set_aside_statements_do_not_count
-- No statement is matched of which the last proofs of its account know that it is set aside.
SELECT format('statement %s of account %s', z.statement_id, z.account_id) AS subject, 'not matched' AS expected,
    format('matched up to entry %s', m.entries_done) AS found
FROM set_aside_statements AS z
JOIN matched_statements AS m ON m.statement_id = z.statement_id
JOIN proved_accounts AS p ON p.account_id = z.account_id AND p.last_decision_id >= z.decision_id;

-- name: audit_statement_proposals
-- Every proposal about statements with the fingerprint that its approval signs.
SELECT p.id, p.account_id, p.change, p.reason, p.proposed_by, p.content_sha256, p.proposed_at, p.expires_at,
    clock_timestamp() AS seen_at, NULL::text AS decision, NULL::text AS decided_by,
    NULL::timestamptz AS decided_at, NULL::text AS role, (
        SELECT array_agg(i.statement_id ORDER BY i.statement_id)
        FROM statement_proposal_statements AS i WHERE i.proposal_id = p.id
    ) AS statement_ids
FROM statement_proposals AS p ORDER BY p.id;
