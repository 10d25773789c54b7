-- A clock that only the simulation moves. Sessions of a schedule have this schema first in their search
-- path, so that the statements and functions of the house run unchanged on its time.

CREATE SCHEMA virtual;

CREATE FUNCTION virtual.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS $$
    SELECT current_setting('virtual.now')::timestamptz
$$;

-- Two banks with their accounts, and money that the first of them has paid in: a schedule's beginning.
CREATE FUNCTION virtual.open_house(
    p_source text, p_target text, p_rail text, p_currency text, p_funds bigint, p_group uuid
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_nostro bigint;
    v_clearing bigint;
BEGIN
    INSERT INTO accounts (kind, bank, currency, account_number)
    VALUES ('vostro', p_source, p_currency, 'house'), ('nostro', p_target, p_currency, 'house'),
        ('vostro', p_target, p_currency, 'house');
    INSERT INTO accounts (kind, bank, currency, account_number)
    VALUES ('settlement', p_rail, p_currency, 'control') ON CONFLICT DO NOTHING;
    INSERT INTO accounts (kind, bank, currency, account_number, debits_posted)
    VALUES ('nostro', p_source, p_currency, 'house', p_funds) RETURNING id INTO v_nostro;
    INSERT INTO accounts (kind, bank, currency, account_number, credits_posted)
    VALUES ('clearing', p_source, p_currency, 'control', p_funds) RETURNING id INTO v_clearing;
    INSERT INTO transfers (group_id, leg, debit_id, credit_id, amount_minor, currency, at)
    VALUES (p_group, 3, v_nostro, v_clearing, p_funds, p_currency, clock_timestamp());
END $$;
