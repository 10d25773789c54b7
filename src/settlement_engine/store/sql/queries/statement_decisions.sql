-- Which statements two people set aside, and let count again.

-- name: chosen_statements
-- These statements, each with whether it is kept and set aside.
SELECT s.id, s.account_id, s.is_kept, z.statement_id IS NOT NULL AS is_set_aside
FROM statements AS s LEFT JOIN set_aside_statements AS z ON z.statement_id = s.id
WHERE s.id = ANY ($1::bigint[]) ORDER BY s.id;

-- name: write_statement_proposal
-- Append a proposal.
INSERT INTO statement_proposals (account_id, change, reason, proposed_by, content_sha256, proposed_at, expires_at)
SELECT $1, $2, $3, $4, $5, q.at, q.at + make_interval(secs => $6::double precision)
FROM (SELECT clock_timestamp() AS at) AS q RETURNING id;

-- name: write_proposal_statements
-- Append the statements of a proposal.
INSERT INTO statement_proposal_statements (proposal_id, statement_id)
SELECT $1, q.statement_id FROM unnest($2::bigint[]) AS q (statement_id) ORDER BY q.statement_id;

-- name: list_statement_proposals
-- Proposals about statements, the latest first. A null filter does not filter; $4: those that are decided or have expired,
-- too.
SELECT p.id, p.account_id, p.change, p.reason, p.proposed_by, p.content_sha256, p.proposed_at, p.expires_at,
    clock_timestamp() AS seen_at, d.decision, d.decided_by, d.decided_at, d.role, (
        SELECT array_agg(i.statement_id ORDER BY i.statement_id)
        FROM statement_proposal_statements AS i WHERE i.proposal_id = p.id
    ) AS statement_ids
FROM statement_proposals AS p
LEFT JOIN statement_decisions AS d ON d.proposal_id = p.id
WHERE ($1::bigint IS NULL OR p.id = $1)
    AND ($2::bigint IS NULL OR EXISTS (
        SELECT FROM statement_proposal_statements AS i WHERE i.proposal_id = p.id AND i.statement_id = $2
    ))
    AND ($3::bigint IS NULL OR p.id < $3)
    AND ($4::boolean OR d.proposal_id IS NULL AND p.expires_at > clock_timestamp())
ORDER BY p.id DESC LIMIT $5;

-- name: waiting_about_statements
-- The proposals that wait for a decision about any of these statements, with their statements.
SELECT p.id, p.account_id, p.change, p.reason, p.proposed_by, p.content_sha256, p.proposed_at, p.expires_at,
    clock_timestamp() AS seen_at, NULL::text AS decision, NULL::text AS decided_by,
    NULL::timestamptz AS decided_at, NULL::text AS role, (
        SELECT array_agg(i.statement_id ORDER BY i.statement_id)
        FROM statement_proposal_statements AS i WHERE i.proposal_id = p.id
    ) AS statement_ids
FROM statement_proposals AS p
WHERE p.expires_at > clock_timestamp()
    AND p.id IN (
        SELECT n.proposal_id FROM statement_proposal_statements AS n WHERE n.statement_id = ANY ($1::bigint[])
    )
    AND NOT EXISTS (SELECT FROM statement_decisions AS d WHERE d.proposal_id = p.id)
ORDER BY p.id;

-- name: decide_statement_proposal
-- Append the decision on a proposal; an approval is carried out with it.
INSERT INTO statement_decisions (proposal_id, decision, decided_by, role, signed_sha256)
VALUES ($1, $2, $3, $4, $5);

-- name: planned_statement_proposal
-- The database's time, and until when a proposal may be approved that is made now.
SELECT q.now, q.now + make_interval(secs => $1::double precision) AS expires_at
FROM (SELECT clock_timestamp() AS now) AS q;
