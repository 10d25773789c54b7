-- name: admit
-- Write instructions down; no verdicts come back when all of them are new.
SELECT at, verdicts, ids FROM admit_settlements(
    $1, $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::bytea[], $7::text[], $8::text[],
    $9::text[], $10::bigint[], $11::text[], $12::date[], $13::smallint[], $14::text[]
);

-- name: apply
-- Apply rows of the page to settlements, guarded, in one transaction.
SELECT at, results, available FROM apply_steps(
    $1, $2::bigint[], $3::uuid[], $4::integer[], $5::bigint[], $6::text[], $7::text[], $8::text[],
    $9::text[], $10::boolean[], $11::double precision[], $12::text[], $13::text[], $14::text[],
    $15::text[], $16::text[], $17::integer[], $18::smallint[], $19::text[], $20::bigint[],
    $21::bigint[], $22::bigint[], $23::bigint[], $24::uuid[], $25::text[], $26::text[],
    $27::bytea[], $28::timestamptz[], $29::bigint[], $30::text[], $31::timestamptz[],
    $32::timestamptz[], $33::integer[], $34::smallint[], $35::bigint[], $36::bigint[],
    $37::bigint[], $38::text[]
);

-- name: claim
-- Take over what is due and what the dead have left.
SELECT settlement_id, was_asked FROM claim_settlements($1, $2, $3);

-- name: load
-- Whole settlements, with their owner's epoch and the attempt that is under way.
SELECT s.id, s.caller, s.idempotency_key, s.obligation_id, s.from_bank, s.to_bank, s.amount_minor,
    s.currency, s.requested_value_date, s.value_date, s.priority, s.metadata::text AS metadata,
    s.state::text AS state, s.seq, s.is_frozen, s.refusal_code,
    s.refusal_detail::text AS refusal_detail, s.rail_reference, s.confirmation, s.created_at,
    s.ended_at, coalesce(w.epoch, 0) AS epoch, coalesce(w.asked, 0) AS asked, w.due_at,
    a.number, a.rail, a.source_id, a.agent_id, a.clearing_id, a.target_id, a.uetr,
    a.end_to_end_id, a.message_id, a.payload, a.valid_until, a.sends, a.undelivered
FROM settlement_transactions AS s
LEFT JOIN open_settlements AS w ON w.settlement_id = s.id
LEFT JOIN attempts AS a ON a.settlement_id = s.id AND a.number = s.attempt
WHERE s.id = ANY ($1::uuid[]);

-- name: find_by_obligation
-- The live or completed settlement of an obligation comes before those that freed it.
SELECT id FROM settlement_transactions
WHERE obligation_id = $1 ORDER BY holds_obligation DESC, id DESC LIMIT 1;

-- name: list_settlements
-- Newest first. Empty filters are null.
SELECT s.id FROM settlement_transactions AS s
WHERE ($1::text[] IS NULL OR s.state = ANY ($1::text[]::settlement_state[]))
    AND ($2::text IS NULL OR s.from_bank = $2 OR s.to_bank = $2)
    AND ($3::text IS NULL OR s.currency = $3)
    AND ($4::text IS NULL OR s.obligation_id = $4)
    AND ($5::uuid IS NULL OR s.id < $5)
ORDER BY s.id DESC LIMIT $6;

-- name: life
-- All moves of a settlement, oldest first.
SELECT position, settlement_id, seq, from_state::text AS from_state, event::text AS event,
    to_state::text AS to_state, at, detail::text AS detail
FROM moves WHERE settlement_id = $1 ORDER BY seq;
