-- One bank, one code, however it is spelled: SBZAZAJJ, sbzazajj and SBZAZAJJXXX are the same bank.
-- The same rule as folded_bank in domain/bank_codes.py; a test holds them together.

CREATE FUNCTION folded_bank(code text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN length(code) = 11
            AND upper(code COLLATE "C") ~ '^[A-Z0-9]{4}[A-Z]{2}[A-Z0-9]{2}XXX$'
        THEN left(upper(code COLLATE "C"), 8)
        ELSE upper(code COLLATE "C")
    END
$$;

-- Accounts that were opened before keep the spelling that they were opened under, and are found by every
-- other one. Where one account was opened twice, under two spellings, no unique index can be made: the
-- older one of the two is used from now on, and no third one is opened.
DO $$
DECLARE
    v_twice text;
BEGIN
    SELECT string_agg(d.ids, '; ') INTO v_twice FROM (
        SELECT string_agg(id::text, ' and ' ORDER BY id) AS ids
        FROM accounts GROUP BY kind, folded_bank(bank), currency, account_number
        HAVING count(*) > 1
    ) AS d;
    IF v_twice IS NULL THEN
        -- squawk-ignore require-concurrent-index-creation
        CREATE UNIQUE INDEX one_account_per_bank ON accounts (
            kind, folded_bank(bank), currency, account_number
        );
    ELSE
        -- squawk-ignore require-concurrent-index-creation
        CREATE INDEX one_account_per_bank ON accounts (
            kind, folded_bank(bank), currency, account_number
        );
        RAISE WARNING 'accounts of one bank under two spellings: %', v_twice;
    END IF;
END $$;

-- A CHECK would bind the settlements of before too, and one that is open and was admitted between two
-- spellings of a bank could never be ended: whoever updated its row would be refused. This binds new ones.
CREATE FUNCTION refuse_same_bank() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'settlement %: % and % are the same bank', new.id, new.from_bank, new.to_bank
    USING ERRCODE = 'check_violation', CONSTRAINT = 'settlement_is_between_two_banks';
END $$;

CREATE TRIGGER settlement_is_between_two_banks BEFORE INSERT ON settlement_transactions
FOR EACH ROW WHEN (folded_bank(new.from_bank) = folded_bank(new.to_bank))
EXECUTE FUNCTION refuse_same_bank();
ALTER TABLE settlement_transactions ENABLE ALWAYS TRIGGER settlement_is_between_two_banks;
