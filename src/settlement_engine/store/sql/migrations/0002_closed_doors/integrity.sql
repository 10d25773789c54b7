-- What identifies a payment is written once. Counters, states and balances change; what was asked for, by
-- whom, between whom, under which names and in which bytes does not.
--
-- A trigger for named columns costs nothing where none of them is set: the hot path sets none of them.

CREATE FUNCTION refuse_rewriting() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a row of % is rewritten where it never changes: refused', tg_table_name
    USING ERRCODE = 'SE004';
END $$;

CREATE TRIGGER attempt_stays BEFORE UPDATE OF
    settlement_id, number, rail, source_id, agent_id, clearing_id, target_id, uetr, end_to_end_id,
    message_id, payload, valid_until, recorded_at
ON attempts FOR EACH ROW WHEN (
    ROW(new.settlement_id, new.number, new.rail, new.source_id, new.agent_id, new.clearing_id,
        new.target_id, new.uetr, new.end_to_end_id, new.message_id, new.payload, new.valid_until,
        new.recorded_at)::text
    IS DISTINCT FROM ROW(old.settlement_id, old.number, old.rail, old.source_id, old.agent_id,
        old.clearing_id, old.target_id, old.uetr, old.end_to_end_id, old.message_id, old.payload, old.valid_until,
        old.recorded_at)::text
) EXECUTE FUNCTION refuse_rewriting();
ALTER TABLE attempts ENABLE ALWAYS TRIGGER attempt_stays;
CREATE TRIGGER attempts_stay BEFORE DELETE OR TRUNCATE ON attempts
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE attempts ENABLE ALWAYS TRIGGER attempts_stay;

CREATE TRIGGER instruction_stays BEFORE UPDATE OF
    id, key_hash, caller, idempotency_key, content_hash, obligation_id, from_bank, to_bank, amount_minor,
    currency, requested_value_date, value_date, priority, metadata, created_at
ON settlement_transactions FOR EACH ROW WHEN (
    ROW(new.id, new.key_hash, new.caller, new.idempotency_key, new.content_hash, new.obligation_id,
        new.from_bank, new.to_bank, new.amount_minor, new.currency, new.requested_value_date,
        new.value_date, new.priority, new.metadata, new.created_at)::text
    IS DISTINCT FROM ROW(old.id, old.key_hash, old.caller, old.idempotency_key, old.content_hash,
        old.obligation_id, old.from_bank, old.to_bank, old.amount_minor, old.currency, old.requested_value_date,
        old.value_date, old.priority, old.metadata, old.created_at)::text
) EXECUTE FUNCTION refuse_rewriting();
ALTER TABLE settlement_transactions ENABLE ALWAYS TRIGGER instruction_stays;

-- What is held, for which settlement and on which account, is decided with the lock.
CREATE TRIGGER hold_stays BEFORE UPDATE OF settlement_id, account_id, amount_minor, currency, locked_at
ON fund_locks FOR EACH ROW WHEN (
    ROW(new.settlement_id, new.account_id, new.amount_minor, new.currency, new.locked_at)::text
    IS DISTINCT FROM ROW(old.settlement_id, old.account_id, old.amount_minor, old.currency, old.locked_at)::text
) EXECUTE FUNCTION refuse_rewriting();
ALTER TABLE fund_locks ENABLE ALWAYS TRIGGER hold_stays;

-- An account that becomes another bank's takes all that was ever booked on it along.
CREATE TRIGGER account_stays BEFORE UPDATE OF id, kind, bank, currency, account_number, opened_at
ON accounts FOR EACH ROW WHEN (
    ROW(new.id, new.kind, new.bank, new.currency, new.account_number, new.opened_at)::text
    IS DISTINCT FROM ROW(old.id, old.kind, old.bank, old.currency, old.account_number, old.opened_at)::text
) EXECUTE FUNCTION refuse_rewriting();
ALTER TABLE accounts ENABLE ALWAYS TRIGGER account_stays;
CREATE TRIGGER accounts_stay BEFORE DELETE OR TRUNCATE ON accounts
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE accounts ENABLE ALWAYS TRIGGER accounts_stay;

CREATE TRIGGER idempotent_calls_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON idempotent_calls
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE idempotent_calls ENABLE ALWAYS TRIGGER idempotent_calls_append_only;
