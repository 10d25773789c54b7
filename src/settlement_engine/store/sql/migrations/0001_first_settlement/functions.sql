-- The calls of the hot path. Each is one transaction for a whole batch, given as parallel arrays; each
-- takes its row locks in sorted order: open settlements, then accounts, then the head of the stream.
-- They guard and record; which row of the page applies was decided before.
--
-- Columns are read by subscript: unnest of many arrays copies every column of every row through a store of
-- its own, in each statement.

-- Verdicts: 0 accepted, 1 replayed, 2 key taken, 3 obligation taken, 4 try again.
CREATE FUNCTION admit_settlements(
    p_owner bigint, p_id uuid[], p_key_hash uuid[], p_caller text[], p_key text[],
    p_content_hash bytea[], p_obligation text[], p_from text[], p_to text[], p_amount bigint[],
    p_currency text[], p_value_date date[], p_priority smallint[], p_metadata text[],
    OUT at timestamptz, OUT verdicts smallint[], OUT ids uuid[]
) LANGUAGE plpgsql AS $$
DECLARE
    v_new uuid[];
BEGIN
    at := clock_timestamp();
    WITH written AS (
        INSERT INTO settlement_transactions (
            id, key_hash, caller, idempotency_key, content_hash, obligation_id, from_bank, to_bank,
            amount_minor, currency, requested_value_date, value_date, priority, metadata, state, seq,
            created_at
        )
        SELECT p_id[g.i], p_key_hash[g.i], p_caller[g.i], p_key[g.i], p_content_hash[g.i],
            p_obligation[g.i], p_from[g.i], p_to[g.i], p_amount[g.i], p_currency[g.i],
            p_value_date[g.i], coalesce(p_value_date[g.i], (at AT TIME ZONE 'UTC')::date),
            p_priority[g.i], p_metadata[g.i]::jsonb, 'validating', 1, at
        FROM generate_series(1, cardinality(p_id)) AS g (i)
        ORDER BY p_key_hash[g.i], g.i  -- The first of a batch has the key.
        ON CONFLICT DO NOTHING
        RETURNING id
    )
    SELECT coalesce(array_agg(id), '{}') INTO v_new FROM written;

    IF cardinality(v_new) > 0 THEN
        INSERT INTO open_settlements (settlement_id, owner, epoch, due_at)
        SELECT id, p_owner, 1, at FROM unnest(v_new) AS n (id);
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
            ELSE 4
        END)::smallint ORDER BY q.ord),
        array_agg(coalesce(n.id, k.id, o.id) ORDER BY q.ord)
    INTO verdicts, ids
    FROM unnest(p_id, p_key_hash, p_content_hash, p_obligation)
        WITH ORDINALITY AS q (id, key_hash, content_hash, obligation, ord)
    LEFT JOIN unnest(v_new) AS n (id) ON n.id = q.id
    LEFT JOIN settlement_transactions AS k ON k.key_hash = q.key_hash
    LEFT JOIN settlement_transactions AS o ON o.obligation_id = q.obligation AND o.holds_obligation;
END $$;

-- Results: 0 applied, 1 stale, 2 short of funds, 3 inactive account, 4 window shut.
-- p_lock_step and p_transfer_step are indices into the steps.
CREATE FUNCTION apply_steps(
    p_owner bigint, p_accounts bigint[],
    p_id uuid[], p_seq integer[], p_epoch bigint[], p_from text[], p_event text[], p_to text[],
    p_do text[], p_is_move boolean[], p_attempt smallint[], p_rest_seconds double precision[],
    p_detail text[], p_refusal_code text[], p_refusal_detail text[], p_rail_reference text[], p_confirmation text[],
    p_lock_step integer[], p_lock_attempt smallint[], p_lock_rail text[], p_lock_source bigint[],
    p_lock_agent bigint[], p_lock_clearing bigint[], p_lock_target bigint[], p_lock_uetr uuid[],
    p_lock_end_to_end text[], p_lock_message text[], p_lock_payload bytea[],
    p_lock_valid_until timestamptz[], p_lock_amount bigint[], p_lock_currency text[],
    p_lock_opens timestamptz[], p_lock_closes timestamptz[],
    p_transfer_step integer[], p_transfer_leg smallint[], p_transfer_debit bigint[],
    p_transfer_credit bigint[], p_transfer_amount bigint[], p_transfer_currency text[],
    OUT at timestamptz, OUT results smallint[], OUT available bigint[]
) LANGUAGE plpgsql AS $$
DECLARE
    r record;
    v_account bigint := 0;
    v_left bigint := 0;
    v_limit bigint := 0;
    v_applied integer[];  -- The numbers of the steps that pass all guards,
    v_moved integer[];  -- and of those among them that are moves.
    v_resolving integer[];  -- Of those that resolve a hold,
    v_held_on bigint[];  -- the account that each hold was on,
    v_held bigint[];  -- and how much.
    v_missing bigint;
    v_has_locks boolean := cardinality(p_lock_step) > 0;
    v_has_transfers boolean := cardinality(p_transfer_step) > 0;
    v_has_quiet boolean := false = ANY (p_is_move);
    v_is_asking boolean := p_to && '{sent,in_doubt,recalling}' OR 'in_doubt' = ANY (p_from);
    v_has_odd_owners boolean;
BEGIN
    PERFORM 1 FROM open_settlements WHERE settlement_id = ANY (p_id)
    ORDER BY settlement_id FOR UPDATE;
    IF p_do && '{except,reverse,suspend}' THEN
        PERFORM 1 FROM settlement_transactions WHERE id = ANY (p_id) ORDER BY id FOR UPDATE;
    END IF;
    PERFORM 1 FROM accounts WHERE id = ANY (p_accounts) ORDER BY id FOR NO KEY UPDATE;
    at := clock_timestamp();

    -- Is what the caller believes still true? A resting settlement is anybody's; an ended one has no
    -- owner and no epoch.
    SELECT bool_or(w.asked <> 0 OR w.owner <> p_owner), array_agg((CASE
        WHEN s.state IS DISTINCT FROM p_from[g.i]::settlement_state OR s.seq <> p_seq[g.i] THEN 1
        WHEN w.owner IN (p_owner, 0) AND w.epoch = p_epoch[g.i] THEN 0
        WHEN s.ended_at IS NOT NULL AND w.owner IS NULL THEN 0
        ELSE 1
    END)::smallint ORDER BY g.i)
    INTO v_has_odd_owners, results
    FROM generate_series(1, cardinality(p_id)) AS g (i)
    LEFT JOIN settlement_transactions AS s ON s.id = p_id[g.i]
    LEFT JOIN open_settlements AS w ON w.settlement_id = p_id[g.i];

    -- Each sending is proved undelivered once at most: what rests, or was proved as often as it was
    -- sent, has no sending that the word could be about. Giving up takes the proof of every one of them.
    IF p_event && '{abandoned,undelivered}' THEN
        FOR r IN
            SELECT q.ord FROM unnest(p_id, p_event) WITH ORDINALITY AS q (id, event, ord)
            JOIN settlement_transactions AS s ON s.id = q.id
            JOIN attempts AS a ON a.settlement_id = s.id AND a.number = s.attempt
            JOIN open_settlements AS w ON w.settlement_id = s.id
            WHERE (q.event = 'abandoned' AND a.sends <> a.undelivered + 1)
                OR (q.event = 'undelivered' AND (w.owner = 0 OR a.undelivered >= a.sends))
        LOOP
            results[r.ord] := 1;
        END LOOP;
    END IF;

    -- Holds are granted in the order of the batch, as far as the funds of each account go.
    FOR r IN
        SELECT p_lock_step[l.i] AS step, p_lock_source[l.i] AS source, p_lock_amount[l.i] AS amount,
            p_lock_opens[l.i] AS opens, p_lock_closes[l.i] AS closes,
            s.is_active AND t.is_active AS active,
            s.debits_posted - s.credits_posted - s.held AS room, s.credit_limit
        FROM generate_series(1, cardinality(p_lock_step)) AS l (i)
        LEFT JOIN accounts AS s ON s.id = p_lock_source[l.i]
        LEFT JOIN accounts AS t ON t.id = p_lock_target[l.i]
        WHERE v_has_locks
        ORDER BY p_lock_source[l.i], p_lock_step[l.i]
    LOOP
        IF r.source <> v_account THEN
            v_account := r.source;
            v_left := r.room;
            v_limit := r.credit_limit;
        END IF;
        CONTINUE WHEN results[r.step] <> 0;
        IF r.active IS NOT TRUE THEN
            results[r.step] := 3;
        ELSIF at < r.opens OR at >= r.closes THEN
            results[r.step] := 4;
        ELSIF r.amount > v_left + v_limit THEN
            results[r.step] := 2;
            available := coalesce(available, array_fill(0::bigint, ARRAY[cardinality(p_id)]));
            available[r.step] := v_left;
        ELSE
            v_left := v_left - r.amount;
        END IF;
    END LOOP;

    -- A return is taken from the receiver's account as far as that goes. Otherwise it goes to suspense.
    IF 'reverse' = ANY (p_do) THEN
        v_account := 0;
        FOR r IN
            SELECT t.step, t.debit, t.amount, a.credit_limit,
                a.credits_posted - a.debits_posted - a.held AS room
            FROM unnest(p_transfer_step, p_transfer_debit, p_transfer_amount)
                AS t (step, debit, amount)
            JOIN accounts AS a ON a.id = t.debit AND a.kind = 'vostro'
            WHERE p_do[t.step] = 'reverse'
            ORDER BY t.debit, t.step
        LOOP
            IF r.debit <> v_account THEN
                v_account := r.debit;
                v_left := r.room;
            END IF;
            CONTINUE WHEN results[r.step] <> 0;
            IF r.amount > v_left + r.credit_limit THEN
                results[r.step] := 2;
                available := coalesce(available, array_fill(0::bigint, ARRAY[cardinality(p_id)]));
                available[r.step] := v_left;
            ELSE
                v_left := v_left - r.amount;
            END IF;
        END LOOP;
    END IF;

    -- The same contradiction twice is one exception; what goes to suspense goes there once, whatever is said.
    IF p_do && '{except,suspend}' THEN
        FOR r IN
            SELECT q.id, coalesce(q.detail, '{}')::jsonb AS detail, q.do_, q.event, q.ord
            FROM unnest(p_id, p_do, p_event, p_detail, results)
                WITH ORDINALITY AS q (id, do_, event, detail, result, ord)
            WHERE q.do_ IN ('except', 'suspend') AND q.result = 0 ORDER BY q.ord
        LOOP
            INSERT INTO exceptions (settlement_id, kind, fingerprint, detail, opened_at)
            VALUES (
                r.id, coalesce(r.detail ->> 'exception', 'contradiction'),
                CASE r.do_ WHEN 'suspend' THEN r.event ELSE md5(r.detail::text) END, r.detail, at
            )
            ON CONFLICT DO NOTHING;
            IF NOT found THEN
                results[r.ord] := 1;
            END IF;
        END LOOP;
    END IF;

    v_applied := array_positions(results, 0::smallint);
    v_moved := v_applied;
    IF v_has_quiet THEN
        v_moved := ARRAY(
            SELECT g.i FROM unnest(v_applied) AS g (i) WHERE p_is_move[g.i] ORDER BY g.i
        );
    END IF;

    UPDATE settlement_transactions AS s SET
        state = p_to[g.i]::settlement_state,
        seq = s.seq + 1,
        attempt = p_attempt[g.i],
        ended_at = CASE
            WHEN p_to[g.i] IN ('completed', 'failed', 'rolled_back', 'returned')
            THEN coalesce(s.ended_at, at)
        END,
        holds_obligation = p_to[g.i] NOT IN ('failed', 'rolled_back', 'returned'),
        is_frozen = s.is_frozen OR coalesce(p_do[g.i] IN ('except', 'suspend'), false),
        refusal_code = coalesce(p_refusal_code[g.i], s.refusal_code),
        refusal_detail = coalesce(p_refusal_detail[g.i]::jsonb, s.refusal_detail),
        rail_reference = coalesce(p_rail_reference[g.i], s.rail_reference),
        confirmation = coalesce(p_confirmation[g.i], s.confirmation)
    FROM unnest(v_moved) AS g (i)
    WHERE s.id = p_id[g.i];

    IF p_event && '{attested_settled,attested_not_settled,disproved}' THEN
        UPDATE settlement_transactions AS s SET
            attestation = CASE p_event[g.i] WHEN 'disproved' THEN 'disproved' ELSE 'stands' END
        FROM unnest(v_applied) AS g (i)
        WHERE s.id = p_id[g.i]
            AND p_event[g.i] IN ('attested_settled', 'attested_not_settled', 'disproved');
    END IF;
    IF p_to && '{completed,failed,rolled_back,returned}' THEN
        DELETE FROM open_settlements AS w USING unnest(v_applied) AS g (i)
        WHERE w.settlement_id = p_id[g.i]
            AND p_to[g.i] IN ('completed', 'failed', 'rolled_back', 'returned');
    END IF;
    IF v_has_odd_owners OR v_has_quiet OR v_is_asking OR array_remove(p_rest_seconds, NULL) <> '{}' THEN
        UPDATE open_settlements AS w SET
            owner = CASE WHEN p_rest_seconds[g.i] IS NULL THEN p_owner ELSE 0 END,
            -- Beyond the line P the questions about a payment are counted together.
            asked = CASE
                WHEN p_do[g.i] IS DISTINCT FROM 'lock' AND (
                    NOT p_is_move[g.i] OR p_to[g.i] IN ('locked', 'in_doubt', 'sent', 'recalling')
                )
                THEN w.asked + 1
                ELSE 0
            END,
            due_at = CASE
                WHEN p_rest_seconds[g.i] IS NULL THEN w.due_at
                WHEN p_rest_seconds[g.i] = 'infinity' THEN 'infinity'
                ELSE at + make_interval(secs => p_rest_seconds[g.i])
            END
        FROM unnest(v_applied) AS g (i)
        WHERE w.settlement_id = p_id[g.i];
    END IF;

    IF v_has_locks THEN
        INSERT INTO attempts (
            settlement_id, number, rail, source_id, agent_id, clearing_id, target_id, uetr,
            end_to_end_id, message_id, payload, valid_until, recorded_at
        )
        SELECT p_id[p_lock_step[l.i]], p_lock_attempt[l.i], p_lock_rail[l.i], p_lock_source[l.i],
            p_lock_agent[l.i], p_lock_clearing[l.i], p_lock_target[l.i], p_lock_uetr[l.i],
            p_lock_end_to_end[l.i], p_lock_message[l.i], p_lock_payload[l.i],
            p_lock_valid_until[l.i], at
        FROM generate_series(1, cardinality(p_lock_step)) AS l (i)
        WHERE results[p_lock_step[l.i]] = 0;
        INSERT INTO fund_locks (settlement_id, account_id, amount_minor, currency, locked_at)
        SELECT p_id[p_lock_step[l.i]], p_lock_source[l.i], p_lock_amount[l.i], p_lock_currency[l.i], at
        FROM generate_series(1, cardinality(p_lock_step)) AS l (i)
        WHERE results[p_lock_step[l.i]] = 0;
    END IF;
    IF 'not_found' = ANY (p_event) OR 'undelivered' = ANY (p_event) THEN
        UPDATE attempts AS a SET
            sends = a.sends + (p_event[g.i] = 'not_found')::int,
            undelivered = a.undelivered + (p_event[g.i] = 'undelivered')::int
        FROM unnest(v_applied) AS g (i)
        JOIN settlement_transactions AS s ON s.id = p_id[g.i]
        WHERE a.settlement_id = p_id[g.i] AND a.number = s.attempt
            AND p_to[g.i] = 'locked' AND p_event[g.i] IN ('not_found', 'undelivered');
    END IF;

    -- Money: the holds that end, the transfers, and then every account that is touched, once, however
    -- many settlements touch it.
    IF p_do && '{post,release}' THEN
        v_resolving := ARRAY(
            SELECT g.i FROM unnest(v_applied) AS g (i) WHERE p_do[g.i] IN ('post', 'release')
        );
        WITH resolved AS (
            UPDATE fund_locks AS f SET
                resolved_at = at,
                outcome = CASE p_do[g.i] WHEN 'post' THEN 'posted' ELSE 'released' END
            FROM unnest(v_resolving) AS g (i)
            WHERE f.settlement_id = p_id[g.i]
            RETURNING f.account_id, f.amount_minor
        )
        SELECT array_agg(account_id), array_agg(amount_minor) INTO v_held_on, v_held FROM resolved;
        IF coalesce(cardinality(v_held), 0) <> cardinality(v_resolving) THEN
            RAISE EXCEPTION '% holds to resolve, % found', cardinality(v_resolving),
                coalesce(cardinality(v_held), 0) USING ERRCODE = 'SE005';
        END IF;
    END IF;
    IF v_has_transfers THEN
        INSERT INTO transfers (group_id, leg, debit_id, credit_id, amount_minor, currency, at)
        SELECT p_id[p_transfer_step[t.i]], p_transfer_leg[t.i], p_transfer_debit[t.i],
            p_transfer_credit[t.i], p_transfer_amount[t.i], p_transfer_currency[t.i], at
        FROM generate_series(1, cardinality(p_transfer_step)) AS t (i)
        WHERE results[p_transfer_step[t.i]] = 0;
    END IF;
    IF v_has_locks OR v_has_transfers OR v_held IS NOT NULL THEN
        WITH changes AS (
            SELECT p_transfer_debit[t.i] AS id, p_transfer_amount[t.i] AS debits, 0::bigint AS credits,
                0::bigint AS held
            FROM generate_series(1, cardinality(p_transfer_step)) AS t (i)
            WHERE results[p_transfer_step[t.i]] = 0
            UNION ALL SELECT p_transfer_credit[t.i], 0, p_transfer_amount[t.i], 0
            FROM generate_series(1, cardinality(p_transfer_step)) AS t (i)
            WHERE results[p_transfer_step[t.i]] = 0
            UNION ALL SELECT v_held_on[f.i], 0, 0, -v_held[f.i]
            FROM generate_series(1, cardinality(v_held)) AS f (i)
            UNION ALL SELECT p_lock_source[l.i], 0, 0, p_lock_amount[l.i]
            FROM generate_series(1, cardinality(p_lock_step)) AS l (i)
            WHERE results[p_lock_step[l.i]] = 0
        ), totals AS (
            SELECT id, sum(debits)::bigint AS debits, sum(credits)::bigint AS credits,
                sum(held)::bigint AS held
            FROM changes GROUP BY id
        ), applied AS (
            UPDATE accounts AS a SET
                debits_posted = a.debits_posted + c.debits,
                credits_posted = a.credits_posted + c.credits,
                held = a.held + c.held
            FROM totals AS c WHERE a.id = c.id
            RETURNING a.id
        )
        SELECT (SELECT count(*) FROM totals) - (SELECT count(*) FROM applied) INTO v_missing;
        IF v_missing > 0 THEN
            RAISE EXCEPTION '% accounts do not exist', v_missing USING ERRCODE = 'SE006';
        END IF;
    END IF;

    IF v_has_quiet THEN
        INSERT INTO answers (settlement_id, attempt, state, event, asked, detail, at)
        SELECT p_id[g.i], p_attempt[g.i], p_to[g.i]::settlement_state, p_event[g.i]::settlement_event,
            coalesce(w.asked, 0), p_detail[g.i]::jsonb, apply_steps.at
        FROM unnest(v_applied) AS g (i)
        LEFT JOIN open_settlements AS w ON w.settlement_id = p_id[g.i]
        WHERE NOT p_is_move[g.i];
    END IF;

    IF cardinality(v_moved) > 0 THEN
        WITH head AS (
            UPDATE stream_head SET position = position + cardinality(v_moved)
            RETURNING position - cardinality(v_moved) AS last
        )
        INSERT INTO moves (
            position, settlement_id, seq, from_state, event, to_state, at, epoch, attempt, detail
        )
        SELECT h.last + g.nth, p_id[g.i], p_seq[g.i] + 1, p_from[g.i]::settlement_state,
            p_event[g.i]::settlement_event, p_to[g.i]::settlement_state, apply_steps.at,
            p_epoch[g.i], p_attempt[g.i], p_detail[g.i]::jsonb
        FROM head AS h, unnest(v_moved) WITH ORDINALITY AS g (i, nth);
    END IF;
END $$;

-- Take over what is due and owned by nobody, what engines owned that have just been found gone, and, when
-- asked to sweep, whatever belongs to no living engine. Class 8086 names the engines' session locks.
CREATE FUNCTION claim_settlements(p_owner bigint, p_limit integer, p_sweep boolean)
RETURNS TABLE (settlement_id uuid, was_asked boolean) LANGUAGE plpgsql AS $$
DECLARE
    e record;
    v_now timestamptz := clock_timestamp();
    v_gone bigint[];
BEGIN
    FOR e IN SELECT g.id, g.lease_until FROM engines AS g WHERE g.gone_at IS NULL AND g.id <> p_owner
    LOOP
        IF e.lease_until < v_now OR pg_try_advisory_xact_lock(8086, e.id::int) THEN
            UPDATE engines SET gone_at = v_now WHERE id = e.id AND gone_at IS NULL;
        END IF;
    END LOOP;
    -- The last transaction of the dead may still hold rows, which are skipped now and free in a moment.
    v_gone := ARRAY(
        SELECT g.id FROM engines AS g
        WHERE g.gone_at > v_now - interval '3 seconds' AND g.id <> p_owner
    );
    RETURN QUERY
    WITH due AS (
        SELECT w.settlement_id AS id FROM open_settlements AS w
        WHERE w.owner = 0 AND w.due_at <= v_now
        ORDER BY w.due_at LIMIT p_limit FOR UPDATE SKIP LOCKED
    ), taken AS (
        UPDATE open_settlements AS w SET owner = p_owner, epoch = w.epoch + 1
        FROM due WHERE w.settlement_id = due.id AND w.owner = 0
        RETURNING w.settlement_id
    ), resent AS (
        UPDATE attempts AS a SET sends = a.sends + 1
        FROM taken JOIN settlement_transactions AS s ON s.id = taken.settlement_id
        WHERE s.state = 'locked' AND a.settlement_id = s.id AND a.number = s.attempt
    )
    SELECT taken.settlement_id, false FROM taken;
    IF p_sweep OR cardinality(v_gone) > 0 THEN
        RETURN QUERY
        WITH orphans AS (
            SELECT w.settlement_id AS id, w.owner FROM open_settlements AS w
            WHERE w.owner NOT IN (0, p_owner) AND (w.owner = ANY (v_gone) OR (p_sweep AND NOT EXISTS (
                SELECT 1 FROM engines AS g WHERE g.id = w.owner AND g.gone_at IS NULL
            )))
            ORDER BY w.settlement_id LIMIT p_limit FOR UPDATE SKIP LOCKED
        )
        UPDATE open_settlements AS w SET owner = p_owner, epoch = w.epoch + 1
        FROM orphans WHERE w.settlement_id = orphans.id AND w.owner = orphans.owner
        RETURNING w.settlement_id, true;
    END IF;
END $$;
