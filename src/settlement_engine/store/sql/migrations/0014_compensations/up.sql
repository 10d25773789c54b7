-- compatible-from: 13
-- A compensation is a settlement that pays back what another one has paid. It names that settlement.

ALTER TABLE settlement_transactions ADD COLUMN compensates uuid;
-- Few settlements have one, and it never changes: the index costs the others nothing.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX settlements_by_compensated ON settlement_transactions (compensates)
WHERE compensates IS NOT NULL;

CREATE TRIGGER compensated_stays BEFORE UPDATE OF compensates ON settlement_transactions
FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting();
ALTER TABLE settlement_transactions ENABLE ALWAYS TRIGGER compensated_stays;

-- What is left to compensate of a settlement: its amount less what has come back of it, and less what its
-- compensations pay back, or will pay back if they complete. NULL: nothing of it can be compensated.
CREATE FUNCTION compensable_minor(p_settlement uuid) RETURNS numeric LANGUAGE sql STABLE AS $$
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
            WHERE c.compensates = s.id AND c.state NOT IN ('failed', 'rolled_back', 'returned')
        ), 0)
    FROM settlement_transactions AS s
    WHERE s.id = p_settlement AND s.state = 'completed'
        AND s.attestation IS DISTINCT FROM 'disproved'
$$;

-- Two compensations at once are admitted one after the other: the first one locks what it compensates. One of more
-- than is left then is not stored, and its caller is told so; one that contradicts what it compensates is an error.
CREATE FUNCTION admit_compensation() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    v_compensated settlement_transactions;
BEGIN
    SELECT * INTO v_compensated FROM settlement_transactions WHERE id = new.compensates FOR UPDATE;
    IF v_compensated.id IS NULL
        OR folded_bank(new.from_bank) <> folded_bank(v_compensated.to_bank)
        OR folded_bank(new.to_bank) <> folded_bank(v_compensated.from_bank)
        OR new.currency <> v_compensated.currency
    THEN
        RAISE EXCEPTION 'settlement % does not pay back what % has paid', new.id, new.compensates
        USING ERRCODE = 'check_violation', CONSTRAINT = 'compensation_pays_back';
    END IF;
    IF new.amount_minor > coalesce(compensable_minor(new.compensates), 0)
        OR (SELECT count(*) FROM settlement_transactions WHERE compensates = new.compensates) >= 100
    THEN
        RETURN NULL;
    END IF;
    RETURN new;
END $$;
CREATE TRIGGER compensation_is_admitted BEFORE INSERT ON settlement_transactions
FOR EACH ROW WHEN (new.compensates IS NOT NULL) EXECUTE FUNCTION admit_compensation();
ALTER TABLE settlement_transactions ENABLE ALWAYS TRIGGER compensation_is_admitted;

-- No funds are held for a compensation that two people have not released, neither of them its caller.
CREATE FUNCTION require_released_compensation() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM moves AS m
        JOIN resolutions AS r ON r.settlement_id = m.settlement_id
            AND r.id::text = m.detail ->> 'proposal'
        WHERE m.settlement_id = new.id AND m.event = 'approved'
            AND r.finding = 'release' AND r.decision = 'approved'
            AND person_of(r.proposed_by) <> person_of(r.decided_by)
            AND person_of(new.caller) NOT IN (person_of(r.proposed_by), person_of(r.decided_by))
    ) THEN
        RAISE EXCEPTION 'compensation % was not released by two people', new.id
        USING ERRCODE = 'check_violation', CONSTRAINT = 'compensation_is_released';
    END IF;
    RETURN new;
END $$;
CREATE TRIGGER compensation_is_released BEFORE UPDATE OF state ON settlement_transactions
FOR EACH ROW WHEN (
    new.compensates IS NOT NULL AND new.state = 'locked' AND old.state = 'validating'
) EXECUTE FUNCTION require_released_compensation();
ALTER TABLE settlement_transactions ENABLE ALWAYS TRIGGER compensation_is_released;
