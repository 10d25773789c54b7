-- compatible-from: 10
-- What the entries of statements say about our payments, and which statements have still to be searched for it.

ALTER TYPE settlement_event ADD VALUE IF NOT EXISTS 'debited_twice' AFTER 'amount_differed';

-- Each list only grows: what stands there fulfils it.
-- squawk-ignore ban-drop-constraint
ALTER TABLE transfers DROP CONSTRAINT transfers_leg_check;
ALTER TABLE transfers ADD CONSTRAINT transfers_leg_check CHECK (leg BETWEEN 1 AND 11 AND posting > 0) NOT VALID;
-- squawk-ignore ban-drop-constraint
ALTER TABLE exceptions DROP CONSTRAINT exceptions_kind_check;
-- squawk-ignore constraint-missing-not-valid
ALTER TABLE exceptions ADD CONSTRAINT exceptions_kind_check CHECK (kind IN (
    'in_doubt', 'overdue', 'contradiction', 'late_debit', 'second_debit', 'disproved',
    'uncovered_return', 'unknown_payment', 'altered_payment', 'cannot_be_booked',
    'held', 'amount_differs', 'recall_overdue', 'debited_twice', 'statement_differs'
));
-- squawk-ignore ban-drop-constraint
ALTER TABLE inbound_messages DROP CONSTRAINT inbound_messages_source_check;
-- squawk-ignore constraint-missing-not-valid
ALTER TABLE inbound_messages ADD CONSTRAINT inbound_messages_source_check CHECK (
    source IN ('callback', 'inbox', 'pushed', 'statement')
);

-- One row for each entry, or payment inside an entry, that names a payment of ours. What is news to the settlement
-- is an inbound report as well, stored by the same statement.
CREATE TABLE statement_evidence (
    statement_id bigint NOT NULL,
    entry_number integer NOT NULL CHECK (entry_number > 0),
    detail_number integer NOT NULL CHECK (detail_number >= 0),
    settlement_id uuid NOT NULL,
    attempt smallint NOT NULL CHECK (attempt > 0),
    kind text NOT NULL CHECK (kind IN ('debit', 'credit', 'reversal')),
    says text NOT NULL CHECK (says IN (
        'debit', 'other_amount', 'second_debit', 'further_debit', 'return', 'reversal'
    )),
    amount_minor bigint NOT NULL CHECK (amount_minor >= 0),
    nth integer NOT NULL CHECK (nth > 0),
    is_counted boolean NOT NULL,
    is_news boolean NOT NULL,
    PRIMARY KEY (statement_id, entry_number, detail_number),
    FOREIGN KEY (statement_id, entry_number) REFERENCES statement_entries (statement_id, number)
);
CREATE INDEX statement_evidence_by_settlement ON statement_evidence (settlement_id);
-- Two engines that read two statements at once cannot both find the first debit of a payment.
CREATE UNIQUE INDEX bookings_are_counted_once ON statement_evidence (
    settlement_id, kind, nth, (CASE kind WHEN 'credit' THEN amount_minor ELSE 0 END)
) WHERE is_counted;
CREATE TRIGGER statement_evidence_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON statement_evidence
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE statement_evidence ENABLE ALWAYS TRIGGER statement_evidence_append_only;

-- The statements that were not searched to their end, each with the place that the search has reached. A row leaves
-- when its statement is done: this is no history.
CREATE TABLE unsearched_statements (
    statement_id bigint PRIMARY KEY REFERENCES statements (id),
    after_entry integer NOT NULL DEFAULT 0 CHECK (after_entry >= 0),
    after_detail integer NOT NULL DEFAULT 0 CHECK (after_detail >= 0)
);

-- A trigger and no call: the engines of the version before import too while this is applied.
CREATE FUNCTION search_statement() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO unsearched_statements (statement_id) VALUES (new.id);
    RETURN NULL;
END $$;
-- Of a statement that does not balance an entry may be wrong: it is no evidence.
CREATE TRIGGER statement_is_searched AFTER INSERT ON statements
FOR EACH ROW WHEN (new.is_kept AND new.outcome <> 'UNBALANCED') EXECUTE FUNCTION search_statement();
ALTER TABLE statements ENABLE ALWAYS TRIGGER statement_is_searched;
INSERT INTO unsearched_statements (statement_id)
SELECT s.id FROM statements AS s WHERE s.is_kept AND s.outcome <> 'UNBALANCED' ORDER BY s.id;
