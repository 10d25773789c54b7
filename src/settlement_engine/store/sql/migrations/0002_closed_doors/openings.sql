-- The session lock of an engine, for every number that an engine can have.
--
-- Numbers grow by a million with each era, and a lock of two integers holds 32 bits each: the first version
-- cast the number to an integer, which failed from era 2148 on. Here the high bits go into the class. A
-- number below 2^31 has the same lock as before, so that engines of both versions see each other.
CREATE FUNCTION engine_lock_class(p_engine bigint) RETURNS integer
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT (8086 + ((p_engine >> 31) << 16))::integer
$$;

CREATE FUNCTION engine_lock_number(p_engine bigint) RETURNS integer
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT (p_engine & 2147483647)::integer
$$;

-- Hold the lock until the session ends; false when another session holds it.
CREATE FUNCTION hold_engine_lock(p_engine bigint) RETURNS boolean LANGUAGE sql VOLATILE AS $$
    SELECT pg_try_advisory_lock(engine_lock_class(p_engine), engine_lock_number(p_engine))
$$;

-- Whether nobody holds the lock; it is held until the transaction ends.
CREATE FUNCTION try_engine_lock(p_engine bigint) RETURNS boolean LANGUAGE sql VOLATILE AS $$
    SELECT pg_try_advisory_xact_lock(engine_lock_class(p_engine), engine_lock_number(p_engine))
$$;

-- Take over what is due and owned by nobody, what engines owned that have just been found gone, and, when
-- asked to sweep, whatever belongs to no living engine.
CREATE OR REPLACE FUNCTION claim_settlements(p_owner bigint, p_limit integer, p_sweep boolean)
RETURNS TABLE (settlement_id uuid, was_asked boolean) LANGUAGE plpgsql AS $$
DECLARE
    e record;
    v_now timestamptz := clock_timestamp();
    v_gone bigint[];
BEGIN
    FOR e IN SELECT g.id, g.lease_until FROM engines AS g WHERE g.gone_at IS NULL AND g.id <> p_owner
    LOOP
        IF e.lease_until < v_now OR try_engine_lock(e.id) THEN
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
