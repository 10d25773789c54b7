-- The call that applies steps, beside the old one: the send intent may have a trace, and has a delivery. A return
-- takes from the receiver's account what the return of its payout does not give back to it.

-- Results: 0 applied, 1 stale, 2 short of funds, 3 inactive account, 4 window shut, 5 account full.
-- p_lock_step and p_transfer_step are indices into the steps. p_lock_trace is empty if no payment has a trace.
CREATE FUNCTION apply_steps_2(
    p_owner bigint, p_accounts bigint[],
    p_id uuid[], p_seq integer[], p_epoch bigint[], p_from text[], p_event text[], p_to text[],
    p_do text[], p_is_move boolean[], p_attempt smallint[], p_rest_seconds double precision[],
    p_detail text[], p_refusal_code text[], p_refusal_detail text[], p_rail_reference text[], p_confirmation text[],
    p_lock_step integer[], p_lock_attempt smallint[], p_lock_rail text[], p_lock_source bigint[],
    p_lock_agent bigint[], p_lock_clearing bigint[], p_lock_target bigint[], p_lock_uetr uuid[],
    p_lock_end_to_end text[], p_lock_message text[], p_lock_trace text[], p_lock_payload bytea[],
    p_lock_valid_until timestamptz[], p_lock_delivery text[], p_lock_amount bigint[], p_lock_currency text[],
    p_lock_opens timestamptz[], p_lock_closes timestamptz[],
    p_transfer_step integer[], p_transfer_leg smallint[], p_transfer_debit bigint[],
    p_transfer_credit bigint[], p_transfer_amount bigint[], p_transfer_currency text[],
    OUT at timestamptz, OUT results smallint[], OUT available bigint[]
) LANGUAGE plpgsql AS $$
DECLARE
    r record;
    v_account bigint := 0;
    v_left numeric := 0;
    v_limit bigint := 0;
    v_full bigint[];  -- Accounts that have no room for what is still to come.
    v_has_full boolean := false;
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
    v_has_returns boolean := p_event && '{returned,partly_returned,uncovered,partly_uncovered}';
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

    -- Once the bank has paid it must be possible to post: who is full holds nothing more. Between this
    -- bound and that of the type there is room for whatever is held already.
    IF v_has_locks THEN
        v_full := ARRAY(
            SELECT a.id FROM accounts AS a
            WHERE a.id = ANY (p_lock_source || p_lock_agent || p_lock_clearing || p_lock_target)
                AND greatest(a.debits_posted, a.credits_posted) >= 1e36
        );
        v_has_full := v_full <> '{}';
    END IF;

    -- Holds are granted in the order of the batch, as far as the funds of each account go.
    FOR r IN
        SELECT l.i, p_lock_step[l.i] AS step, p_lock_source[l.i] AS source, p_lock_amount[l.i] AS amount,
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
        ELSIF v_has_full AND v_full && ARRAY[
            r.source, p_lock_agent[r.i], p_lock_clearing[r.i], p_lock_target[r.i]
        ] THEN
            results[r.step] := 5;
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
            FROM (
                SELECT m.step, m.account AS debit, sum(m.amount) AS amount FROM (
                    SELECT u.step, u.debit AS account, u.amount
                    FROM unnest(p_transfer_step, p_transfer_debit, p_transfer_amount)
                        AS u (step, debit, amount)
                    UNION ALL
                    SELECT u.step, u.credit, -u.amount
                    FROM unnest(p_transfer_step, p_transfer_credit, p_transfer_amount)
                        AS u (step, credit, amount)
                ) AS m
                WHERE p_do[m.step] = 'reverse' GROUP BY 1, 2 HAVING sum(m.amount) > 0
            ) AS t
            JOIN accounts AS a ON a.id = t.debit AND a.kind = 'vostro'
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
                CASE WHEN r.do_ = 'suspend' AND r.event <> 'partly_uncovered' THEN r.event
                    ELSE md5(r.detail::text) END,
                r.detail, at
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
            -- Beyond the send intent the questions about a payment are counted together.
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
            end_to_end_id, message_id, trace, payload, valid_until, delivery, recorded_at
        )
        SELECT p_id[p_lock_step[l.i]], p_lock_attempt[l.i], p_lock_rail[l.i], p_lock_source[l.i],
            p_lock_agent[l.i], p_lock_clearing[l.i], p_lock_target[l.i], p_lock_uetr[l.i],
            p_lock_end_to_end[l.i], p_lock_message[l.i], p_lock_trace[l.i], p_lock_payload[l.i],
            p_lock_valid_until[l.i], p_lock_delivery[l.i]::delivery, at
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
    IF v_has_returns THEN
        -- A return of more than is left breaks the table's CHECK, one under a known reference its index.
        INSERT INTO returns (
            settlement_id, posting, amount_minor, charges_minor, left_minor, reference, value_date, at
        )
        SELECT s.id, (q.said ->> 'posting')::smallint, (q.said ->> 'amount_minor')::bigint,
            coalesce((q.said ->> 'charges_minor')::bigint, 0),
            s.amount_minor - coalesce(b.total, 0) - (q.said ->> 'amount_minor')::bigint
                - coalesce((q.said ->> 'charges_minor')::bigint, 0),
            coalesce(q.said ->> 'return_reference', ''), (q.said ->> 'value_date')::date, at
        FROM (
            SELECT p_id[g.i] AS id, p_detail[g.i]::jsonb AS said FROM unnest(v_applied) AS g (i)
            WHERE p_event[g.i] IN ('returned', 'partly_returned', 'uncovered', 'partly_uncovered')
        ) AS q
        JOIN settlement_transactions AS s ON s.id = q.id
        LEFT JOIN LATERAL (
            SELECT sum(k.amount_minor + k.charges_minor) AS total FROM returns AS k
            WHERE k.settlement_id = s.id
        ) AS b ON true;
        SELECT count(*) INTO v_missing
        FROM unnest(v_applied) AS g (i)
        JOIN returns AS b ON b.settlement_id = p_id[g.i]
            AND b.posting = (p_detail[g.i]::jsonb ->> 'posting')::smallint
        WHERE p_event[g.i] IN ('returned', 'partly_returned', 'uncovered', 'partly_uncovered')
            AND (b.left_minor = 0) <> (p_to[g.i] = 'returned');
        IF v_missing > 0 THEN
            RAISE EXCEPTION '% returns whose states do not go with what is left', v_missing
            USING ERRCODE = 'SE007';
        END IF;
    END IF;
    IF v_has_transfers THEN
        INSERT INTO transfers (
            group_id, posting, leg, debit_id, credit_id, amount_minor, currency, at
        )
        SELECT p_id[p_transfer_step[t.i]],
            CASE WHEN v_has_returns AND p_event[p_transfer_step[t.i]] IN (
                'returned', 'partly_returned', 'uncovered', 'partly_uncovered'
            ) THEN (p_detail[p_transfer_step[t.i]]::jsonb ->> 'posting')::smallint ELSE 1 END,
            p_transfer_leg[t.i], p_transfer_debit[t.i],
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
            SELECT id, sum(debits) AS debits, sum(credits) AS credits, sum(held) AS held
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
        INSERT INTO answers AS n (
            settlement_id, attempt, state, event, asked, detail, at, last_at, fingerprint
        )
        SELECT q.id, q.attempt, q.state, q.event, q.asked, q.detail, apply_steps_2.at, apply_steps_2.at,
            answer_fingerprint(q.seq, q.attempt, q.state, q.event, q.detail)
        FROM (
            SELECT p_id[g.i] AS id, p_seq[g.i] AS seq, p_attempt[g.i] AS attempt,
                p_to[g.i]::settlement_state AS state, p_event[g.i]::settlement_event AS event,
                coalesce(w.asked, 0) AS asked,
                -- A bank that words each answer differently has its words kept so often, and no more.
                CASE WHEN p_detail[g.i] IS NOT NULL AND NOT EXISTS (
                    SELECT 1 FROM answers AS o WHERE o.settlement_id = p_id[g.i] OFFSET 99
                ) THEN p_detail[g.i]::jsonb END AS detail
            FROM unnest(v_applied) AS g (i)
            LEFT JOIN open_settlements AS w ON w.settlement_id = p_id[g.i]
            WHERE NOT p_is_move[g.i]
        ) AS q
        ON CONFLICT (settlement_id, fingerprint) DO UPDATE SET
            times = n.times + 1, asked = excluded.asked,
            last_at = greatest(n.last_at, excluded.last_at);
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
            p_event[g.i]::settlement_event, p_to[g.i]::settlement_state, apply_steps_2.at,
            p_epoch[g.i], p_attempt[g.i], p_detail[g.i]::jsonb
        FROM head AS h, unnest(v_moved) WITH ORDINALITY AS g (i, nth);
    END IF;
END $$;
