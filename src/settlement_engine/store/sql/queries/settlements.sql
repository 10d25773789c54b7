-- name: admit
-- Store instructions; returns no verdicts when all of them are new.
SELECT at, verdicts, ids FROM admit_settlements_3(
    $1, $2::text::uuid[], $3::text::uuid[], $4::text::text[], $5::text::text[], $6::text::bytea[], $7::text::text[], $8::text::text[],
    $9::text::text[], $10::text::bigint[], $11::text::text[], $12::text::date[], $13::text::smallint[], $14::text::text[],
    $15::text::integer[], $16::text::text[], $17::text::text[], $18::text::text[],
    $19::text::integer[], $20::text::uuid[]
);

-- name: apply
-- Apply transitions to settlements, guarded, in one transaction.
SELECT at, results, available FROM apply_steps_2(
    $1, $2::text::bigint[], $3::text::uuid[], $4::text::integer[], $5::text::bigint[],
    $6::text::text[], $7::text::text[], $8::text::text[], $9::text::text[], $10::text::boolean[],
    $11::text::smallint[], $12::text::double precision[], $13::text::text[], $14::text::text[],
    $15::text::text[], $16::text::text[], $17::text::text[], $18::text::integer[],
    $19::text::smallint[], $20::text::text[], $21::text::bigint[], $22::text::bigint[],
    $23::text::bigint[], $24::text::bigint[], $25::text::uuid[], $26::text::text[],
    $27::text::text[], $28::text::text[], $29::text::bytea[], $30::text::timestamptz[], $31::text::text[],
    $32::text::bigint[], $33::text::text[], $34::text::timestamptz[], $35::text::timestamptz[],
    $36::text::integer[], $37::text::smallint[], $38::text::bigint[], $39::text::bigint[],
    $40::text::bigint[], $41::text::text[]
);

-- name: apply_and_keep
-- The same, and in the same transaction the responses that led to them are stored.
WITH kept AS (
    INSERT INTO messages (
        settlement_id, at, direction, sha256, attempt, rail, type, message_id, response_status, content
    )
    SELECT m.settlement_id, m.at, m.direction, sha256(m.content), m.attempt, m.rail, m.type,
        m.message_id, nullif(m.response_status, 0), m.content
    FROM unnest(
        $42::text::uuid[], $43::text::timestamptz[], $44::text::text[], $45::text::smallint[],
        $46::text::text[], $47::text::text[], $48::text::text[], $49::text::smallint[],
        $50::text::bytea[]
    ) AS m (
        settlement_id, at, direction, attempt, rail, type, message_id, response_status, content
    )
    ON CONFLICT DO NOTHING
)
SELECT at, results, available FROM apply_steps_2(
    $1, $2::text::bigint[], $3::text::uuid[], $4::text::integer[], $5::text::bigint[],
    $6::text::text[], $7::text::text[], $8::text::text[], $9::text::text[], $10::text::boolean[],
    $11::text::smallint[], $12::text::double precision[], $13::text::text[], $14::text::text[],
    $15::text::text[], $16::text::text[], $17::text::text[], $18::text::integer[],
    $19::text::smallint[], $20::text::text[], $21::text::bigint[], $22::text::bigint[],
    $23::text::bigint[], $24::text::bigint[], $25::text::uuid[], $26::text::text[],
    $27::text::text[], $28::text::text[], $29::text::bytea[], $30::text::timestamptz[], $31::text::text[],
    $32::text::bigint[], $33::text::text[], $34::text::timestamptz[], $35::text::timestamptz[],
    $36::text::integer[], $37::text::smallint[], $38::text::bigint[], $39::text::bigint[],
    $40::text::bigint[], $41::text::text[]
);

-- name: lock_what_is_left
-- Lock the settlements of which returns and compensations give something back, and return how much is left of each.
SELECT at, left_minor FROM lock_what_is_left(
    $1::text::uuid[], $2::text::uuid[], $3::text::uuid[], $4::text::integer[], $5::text::uuid[]
);

-- name: claim
-- Claim settlements that are due, and those of engines that are gone.
SELECT settlement_id, was_asked FROM claim_settlements($1, $2, $3);

-- name: owned
-- The open settlements that an engine owns.
SELECT settlement_id FROM open_settlements WHERE owner = $1;

-- name: reclaim
-- Claim again what the owner no longer has in memory; a new fencing token invalidates its earlier writes.
UPDATE open_settlements SET epoch = epoch + 1
WHERE owner = $1 AND settlement_id = ANY ($2::uuid[]) RETURNING settlement_id;

-- name: lock_open
-- Lock an open settlement: a file that is being closed with it is stored before, or never with it.
SELECT settlement_id FROM open_settlements WHERE settlement_id = $1 FOR UPDATE;

-- name: claim_unfiled
-- Claim a locked payment with a trace that is in no file; asked once its row is locked, so that it is true. One that
-- was parked until due counts as sent once more, as with every claim.
WITH taken AS (
    UPDATE open_settlements AS w SET owner = $1, epoch = w.epoch + 1
    FROM settlement_transactions AS s
    JOIN attempts AS a ON a.settlement_id = s.id AND a.number = s.attempt
    WHERE w.settlement_id = $2 AND s.id = w.settlement_id
        AND s.state = 'locked' AND a.trace IS NOT NULL
        AND NOT EXISTS (
            SELECT FROM rail_file_items AS f
            WHERE f.settlement_id = s.id AND f.attempt = s.attempt
        )
    RETURNING w.settlement_id, s.attempt
), resent AS (
    UPDATE attempts AS a SET sends = a.sends + 1
    FROM taken AS t
    WHERE a.settlement_id = t.settlement_id AND a.number = t.attempt AND a.sends <= a.undelivered
)
SELECT t.settlement_id FROM taken AS t;

-- name: load
-- Whole settlements, with their fencing token, the current attempt, and the values to verify it. One that an engine has
-- is due at no time: its due time is that of its last pause.
SELECT s.id, s.key_hash, s.content_hash, s.caller, s.idempotency_key, s.obligation_id, s.from_bank, s.to_bank, s.amount_minor,
    s.currency, s.requested_value_date, s.value_date, s.priority, s.metadata::text AS metadata,
    s.state::text AS state, s.seq, s.is_frozen, s.attestation, s.refusal_code,
    s.refusal_detail::text AS refusal_detail, s.rail_reference, s.confirmation, s.created_at,
    s.ended_at, coalesce(w.epoch, 0) AS epoch, coalesce(w.asked, 0) AS asked,
    CASE WHEN w.owner = 0 THEN w.due_at END AS due_at,
    a.number, a.rail, a.source_id, a.agent_id, a.clearing_id, a.target_id, a.uetr,
    a.end_to_end_id, a.message_id, a.trace, a.payload, a.recorded_at, a.valid_until, a.sends, a.undelivered,
    a.delivery::text AS delivery,
    d.payment::text AS payment, d.rail AS requested_rail, d.delivery::text AS requested_delivery,
    s.compensates,
    (SELECT coalesce(m.detail, '{}')::text FROM moves AS m
        WHERE m.settlement_id = s.id AND m.attempt = s.attempt
            AND m.event = 'cleared' AND m.to_state = 'locked'
        ORDER BY m.seq LIMIT 1) AS intent,
    CASE WHEN s.state IN ('completed', 'returned') THEN (
        SELECT jsonb_agg(jsonb_build_object(
            'posting', r.posting, 'amount_minor', r.amount_minor, 'charges_minor', r.charges_minor,
            'left_minor', r.left_minor, 'reference', r.reference, 'value_date', r.value_date,
            'rebilled_minor', coalesce((
                SELECT t.amount_minor FROM transfers AS t
                WHERE t.group_id = r.settlement_id AND t.posting = r.posting AND t.leg = 16
            ), 0)
        ) ORDER BY r.posting)::text
        FROM returns AS r WHERE r.settlement_id = s.id
    ) END AS returns,
    CASE WHEN s.state IN ('completed', 'returned') THEN (
        SELECT jsonb_agg(jsonb_build_object(
            'settlement_id', c.id, 'state', c.state, 'amount_minor', c.amount_minor,
            'returned_minor', coalesce((
                SELECT sum(r.amount_minor + r.charges_minor) FROM returns AS r WHERE r.settlement_id = c.id
            ), 0)
        ) ORDER BY c.id)::text
        FROM settlement_transactions AS c WHERE c.compensates = s.id
    ) END AS compensations
FROM settlement_transactions AS s
LEFT JOIN open_settlements AS w ON w.settlement_id = s.id
LEFT JOIN attempts AS a ON a.settlement_id = s.id AND a.number = s.attempt
LEFT JOIN payment_details AS d ON d.settlement_id = s.id
WHERE s.id = ANY ($1::uuid[]);

-- name: find_by_obligation
-- The live or completed settlement of an obligation takes precedence over those that freed it.
SELECT found.id FROM (
    SELECT s.id, 0 AS place FROM settlement_transactions AS s
    WHERE s.obligation_id = $1 AND s.holds_obligation
    UNION ALL
    SELECT s.id, 1 FROM settlement_transactions AS s
    WHERE s.obligation_id = $1 AND NOT s.holds_obligation
) AS found ORDER BY found.place, found.id DESC LIMIT 1;

-- name: find_by_any_id
-- The settlements that have this identifier, and which identifier it is. $2 is the same text as a UUID, if valid.
-- The limit also bounds the read when a rail gives many payments the same reference.
SELECT DISTINCT found.settlement_id, found.named_by FROM (
    SELECT s.id AS settlement_id, 'settlement_id' AS named_by
    FROM settlement_transactions AS s WHERE s.id = $2
    UNION ALL
    SELECT a.settlement_id, 'uetr' FROM attempts AS a WHERE a.uetr = $2
    UNION ALL
    SELECT a.settlement_id, 'end_to_end_id' FROM attempts AS a WHERE a.end_to_end_id = $1
    UNION ALL
    SELECT a.settlement_id, 'message_id' FROM attempts AS a WHERE a.message_id = $1
    UNION ALL
    (SELECT a.settlement_id, 'trace' FROM attempts AS a WHERE a.trace = $1 LIMIT $3)
    UNION ALL
    (
        SELECT d.settlement_id, 'callers_end_to_end_id' FROM payment_details AS d
        WHERE d.payment #>> '{payment,end_to_end_id}' = $1 LIMIT $3
    )
    UNION ALL
    (
        SELECT stated.settlement_id, 'rail_reference' FROM (
            SELECT m.settlement_id FROM moves AS m WHERE m.detail ->> 'rail_reference' = $1
            UNION ALL
            SELECT n.settlement_id FROM answers AS n WHERE n.detail ->> 'rail_reference' = $1
            UNION ALL
            SELECT o.settlement_id FROM inbound_reports AS o
            WHERE o.report #>> '{references,rail_reference}' = $1 AND o.settlement_id IS NOT NULL
        ) AS stated LIMIT $3
    )
) AS found ORDER BY found.named_by, found.settlement_id;

-- name: find_by_keys
-- The settlements with these idempotency keys.
SELECT key_hash, id FROM settlement_transactions WHERE key_hash = ANY ($1::uuid[]);

-- name: list_settlements
-- Newest first. A null filter does not filter, here and in the lists below, which all return the same columns.
-- Each is planned for its parameters: a bank with many payments is found by scanning them in order, one with few
-- by its ranges of table pages (BRIN).
SELECT s.id FROM settlement_transactions AS s
WHERE ($1::text[] IS NULL OR s.state = ANY ($1::text[]::settlement_state[]))
    AND ($2::text IS NULL
        OR folded_bank(s.from_bank) = folded_bank($2) OR folded_bank(s.to_bank) = folded_bank($2))
    AND ($3::text IS NULL OR s.currency = $3)
    AND ($4::text IS NULL OR s.obligation_id = $4)
    AND ($5::uuid IS NULL OR s.id < $5) AND ($6::uuid IS NULL OR s.id >= $6)
    AND ($7::timestamptz IS NULL OR s.created_at >= $7)
    AND ($8::timestamptz IS NULL OR s.created_at < $8)
ORDER BY s.id DESC LIMIT $9;

-- name: list_settlements_of_obligation
-- Live and freed settlements of an obligation have an index each. $10: only compensations; $11: only compensated ones.
SELECT found.id FROM (
    SELECT s.id FROM settlement_transactions AS s
    WHERE s.obligation_id = $4::text AND s.holds_obligation
        AND ($1::text[] IS NULL OR s.state = ANY ($1::text[]::settlement_state[]))
        AND ($2::text IS NULL
            OR folded_bank($2) IN (folded_bank(s.from_bank), folded_bank(s.to_bank)))
        AND ($3::text IS NULL OR s.currency = $3)
        AND ($5::uuid IS NULL OR s.id < $5) AND ($6::uuid IS NULL OR s.id >= $6)
        AND ($7::timestamptz IS NULL OR s.created_at >= $7)
        AND ($8::timestamptz IS NULL OR s.created_at < $8)
        AND (NOT $10::boolean OR s.compensates IS NOT NULL)
        AND (NOT $11::boolean
            OR EXISTS (SELECT FROM settlement_transactions AS c WHERE c.compensates = s.id))
    UNION ALL
    SELECT s.id FROM settlement_transactions AS s
    WHERE s.obligation_id = $4::text AND NOT s.holds_obligation
        AND ($1::text[] IS NULL OR s.state = ANY ($1::text[]::settlement_state[]))
        AND ($2::text IS NULL
            OR folded_bank($2) IN (folded_bank(s.from_bank), folded_bank(s.to_bank)))
        AND ($3::text IS NULL OR s.currency = $3)
        AND ($5::uuid IS NULL OR s.id < $5) AND ($6::uuid IS NULL OR s.id >= $6)
        AND ($7::timestamptz IS NULL OR s.created_at >= $7)
        AND ($8::timestamptz IS NULL OR s.created_at < $8)
        AND (NOT $10::boolean OR s.compensates IS NOT NULL)
        AND (NOT $11::boolean
            OR EXISTS (SELECT FROM settlement_transactions AS c WHERE c.compensates = s.id))
) AS found ORDER BY found.id DESC LIMIT $9;

-- name: list_compensations_of
-- Of one settlement ($10) there are at most a hundred: all are read by their index, and then sorted. $11: only
-- compensated ones.
SELECT s.id FROM (
    SELECT c.* FROM settlement_transactions AS c WHERE c.compensates = $10::uuid OFFSET 0
) AS s
WHERE ($1::text[] IS NULL OR s.state = ANY ($1::text[]::settlement_state[]))
    AND ($2::text IS NULL
        OR folded_bank($2) IN (folded_bank(s.from_bank), folded_bank(s.to_bank)))
    AND ($3::text IS NULL OR s.currency = $3)
    AND ($4::text IS NULL OR s.obligation_id = $4)
    AND ($5::uuid IS NULL OR s.id < $5) AND ($6::uuid IS NULL OR s.id >= $6)
    AND ($7::timestamptz IS NULL OR s.created_at >= $7)
    AND ($8::timestamptz IS NULL OR s.created_at < $8)
    AND (NOT $11::boolean OR EXISTS (SELECT FROM settlement_transactions AS c WHERE c.compensates = s.id))
ORDER BY s.id DESC LIMIT $9;

-- name: list_compensations
-- All compensations, which have an index in the order of the list. $10: only compensated ones.
SELECT s.id FROM settlement_transactions AS s
WHERE s.compensates IS NOT NULL
    AND ($1::text[] IS NULL OR s.state = ANY ($1::text[]::settlement_state[]))
    AND ($2::text IS NULL
        OR folded_bank($2) IN (folded_bank(s.from_bank), folded_bank(s.to_bank)))
    AND ($3::text IS NULL OR s.currency = $3)
    AND ($4::text IS NULL OR s.obligation_id = $4)
    AND ($5::uuid IS NULL OR s.id < $5) AND ($6::uuid IS NULL OR s.id >= $6)
    AND ($7::timestamptz IS NULL OR s.created_at >= $7)
    AND ($8::timestamptz IS NULL OR s.created_at < $8)
    AND (NOT $10::boolean OR EXISTS (SELECT FROM settlement_transactions AS c WHERE c.compensates = s.id))
ORDER BY s.id DESC LIMIT $9;

-- name: list_compensated_settlements
-- The index of compensations has what they compensate, in the order of the list.
SELECT c.id FROM (
    SELECT DISTINCT ON (k.compensates) k.compensates AS id FROM settlement_transactions AS k
    WHERE k.compensates IS NOT NULL
        AND ($5::uuid IS NULL OR k.compensates < $5) AND ($6::uuid IS NULL OR k.compensates >= $6)
    ORDER BY k.compensates DESC
) AS c
CROSS JOIN LATERAL (
    SELECT s.* FROM settlement_transactions AS s WHERE s.id = c.id OFFSET 0
) AS s
WHERE ($1::text[] IS NULL OR s.state = ANY ($1::text[]::settlement_state[]))
    AND ($2::text IS NULL
        OR folded_bank($2) IN (folded_bank(s.from_bank), folded_bank(s.to_bank)))
    AND ($3::text IS NULL OR s.currency = $3)
    AND ($4::text IS NULL OR s.obligation_id = $4)
    AND ($7::timestamptz IS NULL OR s.created_at >= $7)
    AND ($8::timestamptz IS NULL OR s.created_at < $8)
ORDER BY c.id DESC LIMIT $9;

-- name: list_settlements_in_states
-- For states other than completed, in which most settlements end. No index has the state itself: open settlements
-- are all read, newest first, and ended ones are found by the transitions that ended them, each state separately.
-- The subqueries with an offset are evaluated row by row.
SELECT found.id FROM (
    (
        SELECT w.settlement_id AS id FROM open_settlements AS w
        CROSS JOIN LATERAL (
            SELECT s.* FROM settlement_transactions AS s WHERE s.id = w.settlement_id OFFSET 0
        ) AS s
        WHERE NOT $1::text[] <@ '{failed,rolled_back,returned}'
            AND ($5::uuid IS NULL OR w.settlement_id < $5)
            AND ($6::uuid IS NULL OR w.settlement_id >= $6)
            AND ($1::text[] IS NULL OR s.state = ANY ($1::text[]::settlement_state[]))
            AND ($2::text IS NULL
                OR folded_bank($2) IN (folded_bank(s.from_bank), folded_bank(s.to_bank)))
            AND ($3::text IS NULL OR s.currency = $3)
            AND ($4::text IS NULL OR s.obligation_id = $4)
            AND ($7::timestamptz IS NULL OR s.created_at >= $7)
            AND ($8::timestamptz IS NULL OR s.created_at < $8)
        ORDER BY w.settlement_id DESC LIMIT $9
    )
    UNION
    SELECT ended.id FROM unnest($1::text[]::settlement_state[]) AS wanted (state)
    CROSS JOIN LATERAL (
        SELECT m.settlement_id AS id FROM moves AS m
        CROSS JOIN LATERAL (
            SELECT s.* FROM settlement_transactions AS s WHERE s.id = m.settlement_id OFFSET 0
        ) AS s
        WHERE m.to_state IN ('failed', 'rolled_back', 'returned')
            AND m.from_state <> m.to_state
            AND ROW(m.to_state, m.settlement_id)
                >= ROW(wanted.state, coalesce($6::uuid, '00000000-0000-0000-0000-000000000000'::uuid))
            AND ROW(m.to_state, m.settlement_id)
                < ROW(wanted.state, coalesce($5::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid))
            AND s.state = wanted.state
            AND ($2::text IS NULL
                OR folded_bank($2) IN (folded_bank(s.from_bank), folded_bank(s.to_bank)))
            AND ($3::text IS NULL OR s.currency = $3)
            AND ($4::text IS NULL OR s.obligation_id = $4)
            AND ($7::timestamptz IS NULL OR s.created_at >= $7)
            AND ($8::timestamptz IS NULL OR s.created_at < $8)
        ORDER BY m.to_state DESC, m.settlement_id DESC LIMIT $9
    ) AS ended
) AS found ORDER BY found.id DESC LIMIT $9;

-- name: history
-- All transitions of a settlement, oldest first.
SELECT position, settlement_id, seq, from_state::text AS from_state, event::text AS event,
    to_state::text AS to_state, at, detail::text AS detail
FROM moves WHERE settlement_id = $1 ORDER BY seq;
