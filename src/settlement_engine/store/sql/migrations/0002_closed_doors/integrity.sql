-- What identifies a payment is written once. Counters, states and balances change; what was asked for, by
-- whom, between whom, under which names and in which bytes does not.
--
-- A statement that names such a column is refused, whatever it sets. This costs the hot path nothing: it
-- names none of them, and no row is looked at.

CREATE FUNCTION refuse_rewriting() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'what is never rewritten would be in %: refused', tg_table_name
    USING ERRCODE = 'SE004';
END $$;

CREATE TRIGGER attempt_stays BEFORE UPDATE OF
    settlement_id, number, rail, source_id, agent_id, clearing_id, target_id, uetr, end_to_end_id,
    message_id, payload, valid_until, recorded_at
ON attempts FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting();
ALTER TABLE attempts ENABLE ALWAYS TRIGGER attempt_stays;
CREATE TRIGGER attempts_stay BEFORE DELETE OR TRUNCATE ON attempts
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE attempts ENABLE ALWAYS TRIGGER attempts_stay;

CREATE TRIGGER instruction_stays BEFORE UPDATE OF
    id, key_hash, caller, idempotency_key, content_hash, obligation_id, from_bank, to_bank,
    amount_minor, currency, requested_value_date, value_date, priority, metadata, created_at
ON settlement_transactions FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting();
ALTER TABLE settlement_transactions ENABLE ALWAYS TRIGGER instruction_stays;

-- What is held, for which settlement and on which account, is decided with the lock.
CREATE TRIGGER hold_stays BEFORE UPDATE OF settlement_id, account_id, amount_minor, currency, locked_at
ON fund_locks FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting();
ALTER TABLE fund_locks ENABLE ALWAYS TRIGGER hold_stays;

-- An account that becomes another bank's takes all that was ever booked on it along.
CREATE TRIGGER account_stays BEFORE UPDATE OF id, kind, bank, currency, account_number, opened_at
ON accounts FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting();
ALTER TABLE accounts ENABLE ALWAYS TRIGGER account_stays;
CREATE TRIGGER accounts_stay BEFORE DELETE OR TRUNCATE ON accounts
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE accounts ENABLE ALWAYS TRIGGER accounts_stay;

CREATE TRIGGER idempotent_calls_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON idempotent_calls
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE idempotent_calls ENABLE ALWAYS TRIGGER idempotent_calls_append_only;
