-- The call that stores instructions, beside the old one.
-- Verdicts: 0 accepted, 1 replayed, 2 key taken, 3 obligation taken, 4 try again, 5 more than is left to compensate.
-- p_said_of and p_compensation are indices into the instructions: those that say something about the payment, and
-- those that compensate a settlement.
CREATE FUNCTION admit_settlements_3(
    p_owner bigint, p_id uuid[], p_key_hash uuid[], p_caller text[], p_key text[],
    p_content_hash bytea[], p_obligation text[], p_from text[], p_to text[], p_amount bigint[],
    p_currency text[], p_value_date date[], p_priority smallint[], p_metadata text[],
    p_said_of integer[], p_payment text[], p_rail text[], p_delivery text[],
    p_compensation integer[], p_compensates uuid[],
    OUT at timestamptz, OUT verdicts smallint[], OUT ids uuid[]
) LANGUAGE plpgsql AS $$
DECLARE
    v_new uuid[];
    v_compensates uuid[];  -- By instruction; NULL if there is no compensation.
BEGIN
    IF cardinality(p_compensation) > 0 THEN
        -- Locked in sorted order. What has not completed is not locked: a batch of transitions may be at it.
        PERFORM 1 FROM settlement_transactions WHERE id = ANY (p_compensates) AND state = 'completed'
        ORDER BY id FOR UPDATE;
        v_compensates := array_fill(NULL::uuid, ARRAY[cardinality(p_id)]);
        FOR v_i IN 1..cardinality(p_compensation) LOOP
            v_compensates[p_compensation[v_i]] := p_compensates[v_i];
        END LOOP;
    END IF;
    at := clock_timestamp();
    WITH written AS (
        INSERT INTO settlement_transactions (
            id, key_hash, caller, idempotency_key, content_hash, obligation_id, from_bank, to_bank,
            amount_minor, currency, requested_value_date, value_date, priority, metadata, state, seq,
            created_at, compensates
        )
        SELECT p_id[g.i], p_key_hash[g.i], p_caller[g.i], p_key[g.i], p_content_hash[g.i],
            p_obligation[g.i], p_from[g.i], p_to[g.i], p_amount[g.i], p_currency[g.i],
            p_value_date[g.i], coalesce(p_value_date[g.i], (at AT TIME ZONE 'UTC')::date),
            p_priority[g.i], p_metadata[g.i]::jsonb, 'validating', 1, at,
            v_compensates[g.i]
        FROM generate_series(1, cardinality(p_id)) AS g (i)
        ORDER BY p_key_hash[g.i], g.i  -- The first of a batch has the key.
        ON CONFLICT DO NOTHING
        RETURNING id
    )
    SELECT coalesce(array_agg(id), '{}') INTO v_new FROM written;

    IF cardinality(v_new) > 0 THEN
        INSERT INTO open_settlements (settlement_id, owner, epoch, due_at)
        SELECT id, p_owner, 1, at FROM unnest(v_new) AS n (id);
        IF cardinality(p_said_of) > 0 THEN
            INSERT INTO payment_details (settlement_id, payment, rail, delivery)
            SELECT p_id[p_said_of[q.i]], p_payment[q.i]::jsonb, p_rail[q.i], p_delivery[q.i]::delivery
            FROM generate_series(1, cardinality(p_said_of)) AS q (i)
            WHERE p_id[p_said_of[q.i]] = ANY (v_new);
        END IF;
        WITH head AS (
            UPDATE stream_head SET position = position + cardinality(v_new)
            RETURNING position - cardinality(v_new) AS last
        )
        INSERT INTO moves (
            position, settlement_id, seq, from_state, event, to_state, at, epoch, attempt
        )
        SELECT h.last + n.ord, n.id, 1, 'pending', 'admitted', 'validating', at, 1, 0
        FROM head AS h, unnest(v_new) WITH ORDINALITY AS n (id, ord);
    END IF;
    IF cardinality(v_new) = cardinality(p_id) THEN
        RETURN;  -- The usual case: no verdicts means that all are accepted.
    END IF;
    IF cardinality(v_new) = 0 THEN
        -- A replay writes nothing, so that nothing would wait for the standby: and what it finds may not
        -- have got there. It waits by a commit of its own.
        PERFORM pg_logical_emit_message(true, 'settlement-engine', 'replay');
    END IF;
    SELECT
        array_agg((CASE
            WHEN n.id IS NOT NULL THEN 0
            WHEN k.content_hash = q.content_hash THEN 1
            WHEN k.id IS NOT NULL THEN 2
            WHEN o.id IS NOT NULL THEN 3
            WHEN v_compensates[q.ord] IS NOT NULL THEN 5
            ELSE 4
        END)::smallint ORDER BY q.ord),
        array_agg(coalesce(n.id, k.id, o.id, v_compensates[q.ord]) ORDER BY q.ord)
    INTO verdicts, ids
    FROM unnest(p_id, p_key_hash, p_content_hash, p_obligation)
        WITH ORDINALITY AS q (id, key_hash, content_hash, obligation, ord)
    LEFT JOIN unnest(v_new) AS n (id) ON n.id = q.id
    LEFT JOIN settlement_transactions AS k ON k.key_hash = q.key_hash
    LEFT JOIN settlement_transactions AS o ON o.obligation_id = q.obligation AND o.holds_obligation;
END $$;
