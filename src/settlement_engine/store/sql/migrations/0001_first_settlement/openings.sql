-- Openings: whether this database is the one that was written to last. Whenever it may not be (another
-- server after a failover, an older state after a restore) the engines are shut, an era begins, the banks
-- are asked, and only then is anything sent again (docs/decisions/0014-an-era-begins-at-each-opening.md).
--
-- An era is 10^13 places of the stream: what was announced in forgotten time is never written over.

-- A journal. The newest row says how things stand: open only at step 'opened'.
CREATE TABLE openings (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    era integer NOT NULL CHECK (era BETWEEN 0 AND 900000),
    incarnation uuid NOT NULL,
    step text NOT NULL CHECK (step IN ('shut', 'listed', 'confirmed', 'opened')),
    why text NOT NULL,
    system_identifier text NOT NULL,
    timeline integer NOT NULL,
    database_id bigint NOT NULL,
    detail jsonb NOT NULL,
    at timestamptz NOT NULL
);
CREATE UNIQUE INDEX era_is_shut_once ON openings (era) WHERE step = 'shut';

CREATE TRIGGER openings_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON openings
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE openings ENABLE ALWAYS TRIGGER openings_append_only;

-- Shut, unless somebody else has since p_believed was looked up; the caller looks again in any case.
-- Everything happens in the transaction that begins the era: no place of the stream, number of an engine
-- or proof of a sending from before counts any more.
CREATE FUNCTION shut_engines(
    p_believed uuid, p_why text, p_era integer, p_known_to bigint, p_since timestamptz,
    p_system_identifier text, p_timeline integer, p_database_id bigint
) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    v_now timestamptz;
    v_last openings;
    v_era integer;
    v_head bigint;
    v_since timestamptz;
    v_nobody bigint;
    v_open bigint;
BEGIN
    -- In the order of the hot path: open settlements, then the head of the stream.
    LOCK TABLE open_settlements IN EXCLUSIVE MODE;
    SELECT position INTO v_head FROM stream_head FOR UPDATE;
    SELECT * INTO v_last FROM openings ORDER BY id DESC LIMIT 1;
    IF v_last.incarnation IS DISTINCT FROM p_believed THEN
        RETURN false;
    END IF;
    v_now := clock_timestamp();
    IF p_why = 'first' THEN
        INSERT INTO openings (
            era, incarnation, step, why, system_identifier, timeline, database_id, detail, at
        ) VALUES (
            0, gen_random_uuid(), 'opened', p_why, p_system_identifier, p_timeline, p_database_id,
            '{}', v_now
        );
        RETURN true;
    END IF;

    v_era := greatest(coalesce(v_last.era, 0) + 1, p_era);
    v_since := least(p_since, coalesce(
        (SELECT m.at FROM moves AS m WHERE m.position <= coalesce(p_known_to, v_head)
            ORDER BY m.position DESC LIMIT 1),
        (SELECT min(s.applied_at) FROM schema_migrations AS s)
    ));
    UPDATE stream_head SET position = v_era * 10000000000000;
    -- Engines take new numbers, from a block that nobody had before.
    v_nobody := greatest(v_era * 1000000::bigint, nextval(pg_get_serial_sequence('engines', 'id')));
    PERFORM setval(pg_get_serial_sequence('engines', 'id'), v_nobody);
    INSERT INTO engines (id, host, pid, lease_until, gone_at) OVERRIDING SYSTEM VALUE
    VALUES (v_nobody, 'an opening', 0, v_now, v_now);
    UPDATE engines SET gone_at = v_now WHERE gone_at IS NULL;
    -- What is beyond the line P is nobody's, so that it is claimed as what a dead engine has left and
    -- asked about. One sending more than is known may have been made: no proof covers them all.
    UPDATE open_settlements AS w SET owner = v_nobody
    FROM settlement_transactions AS s
    WHERE s.id = w.settlement_id AND s.state IN ('locked', 'sent', 'in_doubt', 'recalling');
    GET DIAGNOSTICS v_open = ROW_COUNT;
    UPDATE attempts AS a SET sends = a.sends + 1
    FROM settlement_transactions AS s, open_settlements AS w
    WHERE w.owner = v_nobody AND s.id = w.settlement_id
        AND a.settlement_id = s.id AND a.number = s.attempt;
    INSERT INTO openings (
        era, incarnation, step, why, system_identifier, timeline, database_id, detail, at
    ) VALUES (
        v_era, gen_random_uuid(), 'shut', p_why, p_system_identifier, p_timeline, p_database_id,
        jsonb_build_object(
            'since', v_since, 'last_position', v_head, 'in_flight', v_open, 'was', to_jsonb(v_last)
        ), v_now
    );
    RETURN true;
END $$;
