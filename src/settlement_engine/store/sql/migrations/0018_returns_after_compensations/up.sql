-- compatible-from: 17
-- A return and a compensation give the same money back: together they are never more than was settled
-- (docs/decisions/0041-a-return-after-a-compensation-is-an-exception.md).

-- What may still be given back of a settlement: its amount less its returns, and less what its compensations have paid
-- back or may have. One whose funds are not held yet is not counted: it is refused if a return comes before its hold.
CREATE FUNCTION left_to_give_back(p_settlement uuid) RETURNS numeric LANGUAGE sql STABLE AS $$
    SELECT s.amount_minor
        - coalesce((
            SELECT sum(r.amount_minor + r.charges_minor) FROM returns AS r
            WHERE r.settlement_id = s.id
        ), 0)
        - coalesce((
            SELECT sum(c.amount_minor - coalesce(b.total, 0))
            FROM settlement_transactions AS c
            LEFT JOIN LATERAL (
                SELECT sum(r.amount_minor + r.charges_minor) AS total FROM returns AS r
                WHERE r.settlement_id = c.id
            ) AS b ON true
            WHERE c.compensates = s.id
                AND c.state IN ('locked', 'in_doubt', 'sent', 'recalling', 'completed')
        ), 0)
    FROM settlement_transactions AS s WHERE s.id = p_settlement
$$;

-- Called before the steps of the same transaction are applied. The rows are locked in the order of that call, and the
-- sums are read after that, so that of a return and a compensation at once the second one sees the first.
-- p_locked are the settlements to lock, p_giving the steps that give back, p_seq what their callers have read, p_of the
-- settlements that they give back of. A step that is stale has NULL: the guards of the other call find it.
CREATE FUNCTION lock_what_is_left(
    p_id uuid[], p_locked uuid[], p_giving uuid[], p_seq integer[], p_of uuid[],
    OUT at timestamptz, OUT left_minor bigint[]
) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM open_settlements WHERE settlement_id = ANY (p_id)
    ORDER BY settlement_id FOR UPDATE;
    PERFORM 1 FROM settlement_transactions WHERE id = ANY (p_locked) ORDER BY id FOR UPDATE;
    at := clock_timestamp();
    SELECT array_agg(
        CASE WHEN s.seq = g.seq THEN coalesce(left_to_give_back(g.of_id), 0)::bigint END ORDER BY g.ord
    ) INTO left_minor
    FROM unnest(p_giving, p_seq, p_of) WITH ORDINALITY AS g (id, seq, of_id, ord)
    LEFT JOIN settlement_transactions AS s ON s.id = g.id;
END $$;

-- The last guards: an engine of the version before does not make that call.
CREATE FUNCTION require_left_to_return() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM settlement_transactions WHERE id = new.settlement_id FOR UPDATE;
    IF new.amount_minor + new.charges_minor > coalesce(left_to_give_back(new.settlement_id), 0) THEN
        RAISE EXCEPTION 'a return of % is more than what is left of %', new.amount_minor + new.charges_minor,
            new.settlement_id
        USING ERRCODE = 'check_violation', CONSTRAINT = 'return_is_left';
    END IF;
    RETURN new;
END $$;
CREATE TRIGGER return_is_left BEFORE INSERT ON returns
FOR EACH ROW EXECUTE FUNCTION require_left_to_return();
ALTER TABLE returns ENABLE ALWAYS TRIGGER return_is_left;

CREATE FUNCTION require_left_to_compensate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM settlement_transactions WHERE id = new.compensates FOR UPDATE;
    IF new.amount_minor > coalesce(left_to_give_back(new.compensates), 0) THEN
        RAISE EXCEPTION 'compensation % pays back more than what is left of %', new.id, new.compensates
        USING ERRCODE = 'check_violation', CONSTRAINT = 'compensation_is_left';
    END IF;
    RETURN new;
END $$;
CREATE TRIGGER compensation_is_left BEFORE UPDATE OF state ON settlement_transactions
FOR EACH ROW WHEN (
    new.compensates IS NOT NULL AND new.state = 'locked' AND old.state = 'validating'
) EXECUTE FUNCTION require_left_to_compensate();
ALTER TABLE settlement_transactions ENABLE ALWAYS TRIGGER compensation_is_left;
