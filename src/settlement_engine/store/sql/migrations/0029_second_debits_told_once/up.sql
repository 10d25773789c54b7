-- compatible-from: 28
--
-- A second debit of a statement is booked to suspense, or, where our account does not cover it, told as an exception: by
-- one report one of the two happens, and not the other one when the report is worked off again after a crash, and the
-- account covers it by then, or does not any more. The insertion is left out, by which the transition is known to be one
-- that has happened. Engines of the version before keep to it, too.
CREATE FUNCTION tell_a_second_debit_once() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT FROM exceptions AS e
        WHERE e.settlement_id = NEW.settlement_id
            AND e.kind = CASE NEW.kind WHEN 'second_debit' THEN 'debited_twice' ELSE 'second_debit' END
            AND e.detail ->> 'statement' = NEW.detail ->> 'statement'
            AND e.detail ->> 'statement_entry' = NEW.detail ->> 'statement_entry'
            AND e.detail ->> 'statement_detail' IS NOT DISTINCT FROM NEW.detail ->> 'statement_detail'
    ) THEN
        RETURN NULL;
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER a_second_debit_is_told_once BEFORE INSERT ON exceptions FOR EACH ROW
    WHEN (NEW.kind IN ('second_debit', 'debited_twice')) EXECUTE FUNCTION tell_a_second_debit_once();
ALTER TABLE exceptions ENABLE ALWAYS TRIGGER a_second_debit_is_told_once;
