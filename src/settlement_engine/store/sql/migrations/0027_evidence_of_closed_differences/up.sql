-- compatible-from: 26
-- A debit that differs from its payment by what the rules of matching close is evidence of this payment: which kind of
-- rule it was, and the version of the rules. Engines of the version before write neither.

ALTER TABLE statement_evidence ADD COLUMN closed_by text NOT NULL DEFAULT '';
ALTER TABLE statement_evidence ADD COLUMN rules_version text NOT NULL DEFAULT '';
-- No row has a rule yet, so that none has to be looked at.
ALTER TABLE statement_evidence ADD CONSTRAINT closed_by_a_rule CHECK (
    CASE closed_by
        WHEN '' THEN rules_version = ''
        ELSE closed_by IN ('charges-by-tariff', 'tolerance') AND rules_version <> ''
            AND says IN ('debit', 'second_debit')
    END
) NOT VALID;
