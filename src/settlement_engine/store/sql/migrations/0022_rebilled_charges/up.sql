-- compatible-from: 21
-- Charges of a return that FROM bears are billed to FROM: from the fees account of its bank to what it has in clearing
-- (docs/decisions/0046-charges-are-billed-where-the-bearer-says-so.md).

-- The check before was narrower, so that no row has to be looked at.
-- squawk-ignore ban-drop-constraint
ALTER TABLE transfers DROP CONSTRAINT transfers_leg_check;
ALTER TABLE transfers ADD CONSTRAINT transfers_leg_check CHECK (leg BETWEEN 1 AND 16 AND posting > 0) NOT VALID;

-- How much of a return's charges its move has billed to FROM; 0 for the moves of older engines.
CREATE FUNCTION billed_by_move(p_settlement uuid, p_posting smallint) RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT coalesce(sum((m.detail ->> 'rebilled_minor')::bigint), 0)::bigint FROM moves AS m
    WHERE m.settlement_id = p_settlement
        AND m.event IN ('returned', 'partly_returned', 'uncovered', 'partly_uncovered')
        AND m.detail ->> 'posting' = p_posting::text
        AND m.detail ->> 'rebilled_minor' ~ '^[0-9]{1,18}$'
$$;

-- Whether so much may be billed: with DEBT all of the charges, with SHAR a part of them, else nothing.
CREATE FUNCTION is_borne_by_sender(p_settlement uuid, p_posting smallint, p_amount bigint) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT EXISTS (
        SELECT FROM returns AS r
        JOIN payment_details AS d ON d.settlement_id = r.settlement_id
        WHERE r.settlement_id = p_settlement AND r.posting = p_posting
            AND CASE d.payment #>> '{payment,charge_bearer}'
                WHEN 'DEBT' THEN p_amount = r.charges_minor
                WHEN 'SHAR' THEN p_amount <= r.charges_minor
                ELSE false
            END
    )
$$;

CREATE FUNCTION require_borne_charges() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT is_borne_by_sender(new.group_id, new.posting, new.amount_minor) THEN
        RAISE EXCEPTION 'charges of % are billed for %, and the charge bearer does not say so', new.amount_minor,
            new.group_id
        USING ERRCODE = 'check_violation', CONSTRAINT = 'charges_are_borne';
    END IF;
    RETURN new;
END $$;
CREATE TRIGGER charges_are_borne BEFORE INSERT ON transfers
FOR EACH ROW WHEN (new.leg = 16) EXECUTE FUNCTION require_borne_charges();
ALTER TABLE transfers ENABLE ALWAYS TRIGGER charges_are_borne;
