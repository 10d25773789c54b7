-- A clock that only the simulation moves. Sessions of a schedule have this schema first in their search
-- path, so that the engine's statements and functions run unchanged on virtual time.

CREATE SCHEMA virtual;

CREATE FUNCTION virtual.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS $$
    SELECT current_setting('virtual.now')::timestamptz
$$;

-- Which statements no run has looked at is decided by these two times; the others are for people.
ALTER TABLE statements ALTER COLUMN imported_at SET DEFAULT virtual.clock_timestamp();
ALTER TABLE reconciliation_runs ALTER COLUMN started_at SET DEFAULT virtual.clock_timestamp();

-- The start of a schedule: two banks with their accounts, and the funding of the first bank.
CREATE FUNCTION virtual.open_accounts(
    p_source text, p_target text, p_rail text, p_currency text, p_funds bigint, p_group uuid,
    p_keys uuid[]
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_nostro bigint;
    v_clearing bigint;
    v_number text := format('schedule %s', p_source); -- of no other schedule: by it a statement finds its account
BEGIN
    -- Columns' defaults read the server's own clock, so each time is stated here.
    INSERT INTO accounts (kind, bank, currency, account_number, opened_at)
    SELECT q.kind::account_kind, q.bank, p_currency, format('schedule %s', q.bank), clock_timestamp()
    FROM (VALUES ('vostro', p_source), ('nostro', p_target), ('vostro', p_target)) AS q (kind, bank);
    INSERT INTO accounts (kind, bank, currency, account_number)
    VALUES ('settlement', p_rail, p_currency, 'control') ON CONFLICT DO NOTHING;
    INSERT INTO accounts (kind, bank, currency, account_number, debits_posted, opened_at)
    VALUES ('nostro', p_source, p_currency, v_number, p_funds, clock_timestamp()) RETURNING id INTO v_nostro;
    INSERT INTO accounts (kind, bank, currency, account_number, credits_posted)
    VALUES ('clearing', p_source, p_currency, 'control', p_funds) RETURNING id INTO v_clearing;
    INSERT INTO transfers (group_id, leg, debit_id, credit_id, amount_minor, currency, reference, at)
    VALUES (p_group, 3, v_nostro, v_clearing, p_funds, p_currency, v_number, clock_timestamp());
    -- Everything in the books has a call that requested it; p_keys are the hashes of these calls' keys.
    INSERT INTO idempotent_calls (key_hash, caller, idempotency_key, call, content, account_id, at)
    SELECT p_keys[q.nth], 'schedule', format('%s/%s', p_group, q.nth), 'open_account', jsonb_build_object(
        'kind', q.kind, 'bank', q.bank, 'currency', q.currency, 'account_number', q.account_number,
        'credit_limit', 0
    ), q.id, clock_timestamp()
    FROM (
        SELECT a.*, row_number() OVER (ORDER BY a.id) AS nth FROM accounts AS a
        WHERE a.account_number = format('schedule %s', a.bank) AND a.bank IN (p_source, p_target)
    ) AS q;
    INSERT INTO idempotent_calls (key_hash, caller, idempotency_key, call, content, account_id, at)
    SELECT p_keys[5], 'schedule', format('%s/5', p_group), 'fund_account', jsonb_build_object(
        'bank', p_source, 'currency', p_currency, 'reference', v_number, 'account_number', v_number,
        'amount', round(p_funds / 10::numeric ^ c.exponent, c.exponent)::text
    ), v_nostro, clock_timestamp()
    FROM currencies AS c WHERE c.code = p_currency;
END $$;
