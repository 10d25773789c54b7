-- Cases for people, and the resolutions that people propose and approve.

-- name: open_doubts
-- Open one case for each payment without a final state for longer than its rail's limit, by kind.
-- $1 are rail names, where an empty name stands for all others; $2 and $3 are their limits in seconds.
INSERT INTO exceptions (settlement_id, kind, fingerprint, detail, opened_at)
SELECT q.id, q.kind, q.number::text,
    jsonb_build_object('rail', q.rail, 'since', to_char(
        q.recorded_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"'
    )),
    q.at
FROM (
    SELECT s.id, a.number, a.rail, a.recorded_at, clock_timestamp() AS at,
        CASE WHEN s.state IN ('sent', 'recalling') THEN 'overdue' ELSE 'in_doubt' END AS kind,
        CASE WHEN s.state IN ('sent', 'recalling') THEN l.overdue ELSE l.in_doubt END AS seconds
    FROM open_settlements AS w
    JOIN settlement_transactions AS s ON s.id = w.settlement_id
    JOIN attempts AS a ON a.settlement_id = s.id AND a.number = s.attempt
    CROSS JOIN LATERAL (
        SELECT n.in_doubt, n.overdue
        FROM unnest($1::text[], $2::double precision[], $3::double precision[])
            AS n (rail, in_doubt, overdue)
        WHERE n.rail IN (a.rail, '') ORDER BY n.rail = '' LIMIT 1
    ) AS l
    WHERE s.state IN ('locked', 'in_doubt', 'sent', 'recalling')
) AS q
WHERE q.recorded_at + make_interval(secs => q.seconds) <= q.at AND NOT EXISTS (
    SELECT 1 FROM exceptions AS e
    WHERE e.settlement_id = q.id AND e.kind = q.kind AND e.fingerprint = q.number::text
)
ORDER BY q.recorded_at LIMIT $4
ON CONFLICT DO NOTHING RETURNING id;

-- name: open_altered
-- Freeze a settlement whose stored data was altered outside the engine, and open one case.
WITH frozen AS (
    UPDATE settlement_transactions SET is_frozen = true WHERE id = $1 RETURNING id
)
INSERT INTO exceptions (settlement_id, kind, fingerprint, detail, opened_at)
SELECT f.id, 'altered_payment', $2, $3::text::jsonb, clock_timestamp() FROM frozen AS f
ON CONFLICT DO NOTHING RETURNING id;

-- name: open_unbookable
-- Open a case for a transition that cannot be written, unless one is open. A closed one does not prevent it.
INSERT INTO exceptions (settlement_id, kind, fingerprint, detail, opened_at)
SELECT $1, 'cannot_be_booked', count(*)::text, $2::text::jsonb, clock_timestamp()
FROM exceptions AS e
WHERE e.settlement_id = $1 AND e.kind = 'cannot_be_booked'
HAVING count(*) FILTER (WHERE e.closed_at IS NULL) = 0
ON CONFLICT DO NOTHING RETURNING id;

-- name: open_held
-- Open one case for each parked settlement, once per parking, with the reason.
INSERT INTO exceptions (settlement_id, kind, fingerprint, detail, opened_at)
SELECT s.id, 'held', s.seq::text, coalesce(m.detail, '{}'::jsonb), clock_timestamp()
FROM open_settlements AS w
JOIN settlement_transactions AS s ON s.id = w.settlement_id
JOIN moves AS m ON m.settlement_id = s.id AND m.seq = s.seq
WHERE s.state = 'held' AND NOT EXISTS (
    SELECT 1 FROM exceptions AS e
    WHERE e.settlement_id = s.id AND e.kind = 'held' AND e.fingerprint = s.seq::text
)
ORDER BY s.id LIMIT $1
ON CONFLICT DO NOTHING RETURNING id;

-- name: close_held
-- Close the cases of settlements that are no longer parked.
UPDATE exceptions AS e SET
    closed_at = clock_timestamp(), closed_by = $1,
    close_reason = 'the settlement is parked no more: ' || d.state
FROM (
    SELECT o.id, s.state FROM exceptions AS o
    JOIN settlement_transactions AS s ON s.id = o.settlement_id
    WHERE o.closed_at IS NULL AND o.kind = 'held'
        AND (s.state <> 'held' OR s.seq::text <> o.fingerprint)
    ORDER BY o.id LIMIT $2 FOR UPDATE OF o SKIP LOCKED
) AS d
WHERE e.id = d.id RETURNING e.id;

-- name: close_ended_doubts
-- Close a settlement's in-doubt and not-bookable cases once it has ended, if it ended after they were opened.
UPDATE exceptions AS e SET
    closed_at = clock_timestamp(), closed_by = $1, close_reason = 'the settlement has ended: ' || d.state
FROM (
    SELECT o.id, s.state FROM exceptions AS o
    JOIN settlement_transactions AS s ON s.id = o.settlement_id
    WHERE o.closed_at IS NULL AND (
        (o.kind IN ('in_doubt', 'overdue', 'cover_failed') AND s.ended_at IS NOT NULL)
        OR (o.kind = 'cannot_be_booked' AND s.ended_at >= o.opened_at)
    )
    ORDER BY o.id LIMIT $2 FOR UPDATE OF o SKIP LOCKED
) AS d
WHERE e.id = d.id RETURNING e.id;

-- name: supersede_ended_proposals
-- Supersede the proposals that were undecided when their settlement ended.
UPDATE resolutions AS r SET decision = 'superseded', decided_by = $1, decided_at = clock_timestamp()
FROM (
    SELECT o.id FROM resolutions AS o
    JOIN settlement_transactions AS s ON s.id = o.settlement_id
    WHERE o.finished_at IS NULL AND o.decision IS NULL AND s.ended_at IS NOT NULL
    ORDER BY o.id LIMIT $2 FOR UPDATE OF o SKIP LOCKED
) AS d
WHERE r.id = d.id RETURNING r.id;

-- name: list_cases
-- Newest first. A null filter does not filter.
SELECT e.id, e.kind, e.settlement_id, e.detail::text AS detail, e.opened_at, e.acknowledged_at,
    e.acknowledged_by, e.closed_at, e.closed_by, e.close_reason, clock_timestamp() AS seen_at
FROM exceptions AS e
WHERE ($1::text[] IS NULL OR e.kind = ANY ($1::text[]))
    AND ($2::uuid IS NULL OR e.settlement_id = $2)
    AND ($3::boolean OR e.closed_at IS NULL)
    AND ($4::bigint IS NULL OR e.id < $4)
ORDER BY e.id DESC LIMIT $5;

-- name: case_by_id
-- Return one case.
SELECT e.id, e.kind, e.settlement_id, e.detail::text AS detail, e.opened_at, e.acknowledged_at,
    e.acknowledged_by, e.closed_at, e.closed_by, e.close_reason, clock_timestamp() AS seen_at
FROM exceptions AS e WHERE e.id = $1;

-- name: lock_case
-- Return one case and lock it.
SELECT e.id, e.kind, e.settlement_id, e.detail::text AS detail, e.opened_at, e.acknowledged_at,
    e.acknowledged_by, e.closed_at, e.closed_by, e.close_reason, clock_timestamp() AS seen_at
FROM exceptions AS e WHERE e.id = $1 FOR UPDATE;

-- name: last_answer
-- The last answer that changed no state, and the current owner; 0 means none.
SELECT a.state::text AS state, a.event::text AS event, a.at, coalesce(w.owner, 0) AS owner
FROM settlement_transactions AS s
LEFT JOIN open_settlements AS w ON w.settlement_id = s.id
LEFT JOIN LATERAL (
    SELECT n.state, n.event, coalesce(n.last_at, n.at) AS at FROM answers AS n
    WHERE n.settlement_id = s.id ORDER BY coalesce(n.last_at, n.at) DESC, n.id DESC LIMIT 1
) AS a ON true
WHERE s.id = $1;

-- name: acknowledge_matter
-- Record that a person is working on the case.
UPDATE exceptions SET acknowledged_at = clock_timestamp(), acknowledged_by = $2
WHERE id = $1 AND acknowledged_at IS NULL AND closed_at IS NULL;

-- name: close_matter
-- Close a case with the name and reason of a person.
UPDATE exceptions SET closed_at = clock_timestamp(), closed_by = $2, close_reason = $3
WHERE id = $1 AND closed_at IS NULL;

-- name: lock_settlement
-- Lock a settlement's row while people decide about it.
SELECT id FROM settlement_transactions WHERE id = $1 FOR NO KEY UPDATE;

-- name: live_proposal
-- The settlement's proposal that is undecided, or approved and not finished.
SELECT r.id, r.settlement_id, r.finding, r.reason, r.evidence_name,
    octet_length(r.evidence) AS evidence_bytes, r.evidence_sha256, r.content_sha256, r.proposed_by,
    r.proposed_at, r.state::text AS state, r.sends, r.expires_at, r.decision, r.decided_by,
    r.decided_at, r.finished_at, r.ending, clock_timestamp() AS seen_at
FROM resolutions AS r
WHERE r.settlement_id = $1 AND r.finished_at IS NULL
    AND (r.decision IS NULL OR r.decision = 'approved');

-- name: proposals_of_settlement
-- The proposals for a settlement, newest first.
SELECT r.id, r.settlement_id, r.finding, r.reason, r.evidence_name,
    octet_length(r.evidence) AS evidence_bytes, r.evidence_sha256, r.content_sha256, r.proposed_by,
    r.proposed_at, r.state::text AS state, r.sends, r.expires_at, r.decision, r.decided_by,
    r.decided_at, r.finished_at, r.ending, clock_timestamp() AS seen_at
FROM resolutions AS r WHERE r.settlement_id = $1 ORDER BY r.id DESC LIMIT $2;

-- name: proposal_by_id
-- Return one proposal.
SELECT r.id, r.settlement_id, r.finding, r.reason, r.evidence_name,
    octet_length(r.evidence) AS evidence_bytes, r.evidence_sha256, r.content_sha256, r.proposed_by,
    r.proposed_at, r.state::text AS state, r.sends, r.expires_at, r.decision, r.decided_by,
    r.decided_at, r.finished_at, r.ending, clock_timestamp() AS seen_at
FROM resolutions AS r WHERE r.id = $1;

-- name: list_proposals
-- Newest first. Unless all are requested, only those that are undecided or not carried out yet.
SELECT r.id, r.settlement_id, r.finding, r.reason, r.evidence_name,
    octet_length(r.evidence) AS evidence_bytes, r.evidence_sha256, r.content_sha256, r.proposed_by,
    r.proposed_at, r.state::text AS state, r.sends, r.expires_at, r.decision, r.decided_by,
    r.decided_at, r.finished_at, r.ending, clock_timestamp() AS seen_at
FROM resolutions AS r
WHERE ($1::uuid IS NULL OR r.settlement_id = $1)
    AND ($2::boolean OR (r.finished_at IS NULL AND (
        r.decision = 'approved' OR (r.decision IS NULL AND r.expires_at > clock_timestamp())
    )))
    AND ($3::bigint IS NULL OR r.id < $3)
ORDER BY r.id DESC LIMIT $4;

-- name: evidence_of_proposal
-- The evidence of a proposal.
SELECT evidence FROM resolutions WHERE id = $1;

-- name: write_proposal
-- Insert a proposal; a constraint refuses it while another one of the settlement is live.
INSERT INTO resolutions (
    settlement_id, finding, reason, evidence_name, evidence, evidence_sha256, content_sha256,
    proposed_by, proposed_at, expires_at, state, sends
)
SELECT $1, $2, $3, $4, $5, sha256($5), $6, $7, n.at,
    n.at + make_interval(secs => $8::double precision), $9::text::settlement_state, $10
FROM (SELECT clock_timestamp() AS at) AS n
RETURNING id;

-- name: decide_proposal
-- Record the decision: approved, declined or superseded, once.
UPDATE resolutions SET decision = $2, decided_by = $3, decided_at = $4
WHERE id = $1 AND decision IS NULL RETURNING id;

-- name: take_up_resolutions
-- Approved proposals that are due to be carried out. The caller has them for $1 seconds, also if it crashes.
UPDATE resolutions AS r SET taken_up_at = clock_timestamp()
FROM (
    SELECT o.id FROM resolutions AS o
    JOIN settlement_transactions AS s ON s.id = o.settlement_id
    WHERE o.finished_at IS NULL AND o.decision = 'approved' AND s.ended_at IS NULL
        AND (o.taken_up_at IS NULL
            OR o.taken_up_at <= clock_timestamp() - make_interval(secs => $1::double precision))
    ORDER BY o.id LIMIT $2 FOR UPDATE OF o SKIP LOCKED
) AS d
WHERE r.id = d.id
RETURNING r.id, r.settlement_id, r.finding, r.reason, r.evidence_name,
    octet_length(r.evidence) AS evidence_bytes, r.evidence_sha256, r.content_sha256, r.proposed_by,
    r.proposed_at, r.state::text AS state, r.sends, r.expires_at, r.decision, r.decided_by,
    r.decided_at, r.finished_at, r.ending, clock_timestamp() AS seen_at;

-- name: finish_resolutions
-- Finish proposals whose settlements have ended, as attested or by the bank's own report, and those whose
-- content is outdated (is_outdated in domain/proposals.py). A decision about a parked settlement was applied if
-- the transition after the parking results from it.
UPDATE resolutions AS r SET
    finished_at = clock_timestamp(),
    ending = CASE
        WHEN d.is_decided THEN 'attested'
        WHEN d.of_parked OR d.attestation IS NULL OR d.ended_at IS NULL THEN 'overtaken'
        ELSE 'attested'
    END
FROM (
    SELECT o.id, s.attestation, s.ended_at, o.state = 'held' AS of_parked,
        o.state = 'held' AND EXISTS (
            SELECT 1 FROM moves AS m
            WHERE m.settlement_id = s.id AND m.seq = o.sends + 1
                AND m.event = CASE o.finding WHEN 'release' THEN 'approved' ELSE 'declined' END
                    ::settlement_event
        ) AS is_decided
    FROM resolutions AS o
    JOIN settlement_transactions AS s ON s.id = o.settlement_id
    LEFT JOIN attempts AS a ON a.settlement_id = s.id AND a.number = s.attempt
    WHERE o.finished_at IS NULL AND o.decision = 'approved' AND (
        s.ended_at IS NOT NULL
        OR (o.state = 'held' AND s.seq <> o.sends)
        OR (o.finding = 'not_settled' AND (
            a.sends <> o.sends OR (o.state = 'in_doubt' AND s.state IN ('sent', 'recalling'))
        ))
    )
    ORDER BY o.id LIMIT $1 FOR UPDATE OF o SKIP LOCKED
) AS d
WHERE r.id = d.id RETURNING r.id;

-- name: open_cases
-- The number of open cases of each kind, and the age of the oldest.
SELECT e.kind, count(*) AS cases,
    extract(epoch FROM clock_timestamp() - min(e.opened_at))::double precision AS oldest_seconds
FROM exceptions AS e WHERE e.closed_at IS NULL GROUP BY e.kind;
