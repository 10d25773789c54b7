-- Everything about one settlement, read in one snapshot.

-- name: dossier_owner
-- The owner (0 means none), the current time, and the number of resolutions proposed.
SELECT coalesce(w.owner, 0) AS owner, clock_timestamp() AS taken_at,
    (SELECT count(*) FROM resolutions AS r WHERE r.settlement_id = s.id) AS proposals
FROM settlement_transactions AS s
LEFT JOIN open_settlements AS w ON w.settlement_id = s.id
WHERE s.id = $1;

-- name: dossier_answers
-- The latest answers that changed no state, newest first; equal consecutive ones are one row.
SELECT at, state::text AS state, event::text AS event, attempt, asked, times,
    coalesce(last_at, at) AS last_at
FROM answers WHERE settlement_id = $1 ORDER BY coalesce(last_at, at) DESC, id DESC LIMIT $2;

-- name: dossier_answers_total
-- The total number of answers that changed no state.
SELECT coalesce(sum(times), 0) AS total FROM answers WHERE settlement_id = $1;

-- name: dossier_attempts
-- Every attempt at a rail, with its exact bytes.
SELECT number, rail, source_id, agent_id, clearing_id, target_id, uetr, end_to_end_id, message_id,
    trace, payload, valid_until, sends, undelivered, recorded_at, delivery::text AS delivery
FROM attempts WHERE settlement_id = $1 ORDER BY number;

-- name: dossier_hold
-- The hold, active or resolved.
SELECT account_id, amount_minor, currency, locked_at, resolved_at, coalesce(outcome, '') AS outcome
FROM fund_locks WHERE settlement_id = $1;

-- name: dossier_transfers
-- The settlement's transfers.
SELECT group_id, posting, leg, debit_id, credit_id, amount_minor, currency, reference, at
FROM transfers WHERE group_id = $1 ORDER BY posting, leg;

-- name: dossier_accounts
-- The accounts of its transfers, attempts and hold.
SELECT id, kind::text AS kind, bank, currency, account_number, debits_posted, credits_posted, held,
    credit_limit, is_active
FROM accounts WHERE id = ANY ($1::bigint[]) ORDER BY id;

-- name: dossier_proposals
-- The resolutions proposed, with the bytes of their evidence: the approved one first, then the latest.
SELECT r.id, r.settlement_id, r.finding, r.reason, r.evidence_name, r.evidence,
    octet_length(r.evidence) AS evidence_bytes, r.evidence_sha256, r.content_sha256, r.proposed_by,
    r.proposed_at, r.state::text AS state, r.sends, r.expires_at, r.decision, r.decided_by,
    r.decided_at, r.finished_at, r.ending, clock_timestamp() AS seen_at
FROM resolutions AS r WHERE r.settlement_id = $1
ORDER BY coalesce(r.decision = 'approved', false) DESC, r.id DESC LIMIT $2;

-- name: dossier_entries
-- The latest entries of statements that name a payment of the settlement, each with what it says.
SELECT v.statement_id, v.entry_number, v.detail_number, v.says, v.amount_minor AS told_minor, v.closed_by,
    s.account_id, s.bank_statement_id, s.source, encode(s.content_hash, 'hex') AS content_sha256,
    encode(s.file_sha256, 'hex') AS file_sha256, e.booking_date, e.amount_minor, e.currency, e.status,
    e.is_reversal, e.text, e.refs::text AS refs, coalesce(d.text, '') AS detail_text,
    coalesce(d.refs, '{}')::text AS detail_refs
FROM statement_evidence AS v
JOIN statements AS s ON s.id = v.statement_id
JOIN statement_entries AS e ON e.statement_id = v.statement_id AND e.number = v.entry_number
LEFT JOIN entry_details AS d
    ON d.statement_id = v.statement_id AND d.entry_number = v.entry_number AND d.number = v.detail_number
WHERE v.settlement_id = $1
ORDER BY v.statement_id DESC, v.entry_number DESC, v.detail_number DESC LIMIT $2;
