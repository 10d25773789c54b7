-- The work that is left. Rows leave these tables when an item is matched.

-- How far the moves were read for their postings: one position for all accounts.
CREATE TABLE reconciliation_cursor (
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    position bigint NOT NULL CHECK (position >= 0)
);
INSERT INTO reconciliation_cursor (position) VALUES (0);

-- An account's own state: until when postings outside of settlements were read, and what is known of its beginning.
CREATE TABLE reconciliation_accounts (
    account_id bigint PRIMARY KEY,
    booked_until timestamptz NOT NULL DEFAULT '-infinity',
    reconciled_on date,
    opening_minor numeric(38),
    begins date
) WITH (fillfactor = 70);

-- Our postings on accounts at banks that no entry is matched with. The amount has the bank's sign: a debit of ours is
-- the bank's credit. The references are in the form in which they are compared.
CREATE TABLE open_postings (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id bigint NOT NULL,
    group_id uuid NOT NULL,
    posting smallint NOT NULL,
    leg smallint NOT NULL,
    amount_minor bigint NOT NULL,
    currency currency_code NOT NULL,
    booked_on date NOT NULL,
    value_date date NOT NULL,
    our_references text[] NOT NULL,
    end_to_end text NOT NULL,
    rail_references text[] NOT NULL,
    batch text NOT NULL,
    keys bigint[] NOT NULL,
    UNIQUE (account_id, group_id, posting, leg)
) WITH (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, vacuum_truncate = false
);
CREATE INDEX open_postings_by_day ON open_postings (account_id, booked_on, id);

-- The hashes of their references: each is a row, so that an entry finds what it may belong to.
CREATE TABLE open_posting_keys (
    account_id bigint NOT NULL,
    key bigint NOT NULL,
    posting_id bigint NOT NULL,
    PRIMARY KEY (account_id, key, posting_id)
) WITH (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 50000, vacuum_truncate = false
);

-- Booked entries of statements in force that no posting is matched with.
CREATE TABLE open_entries (
    account_id bigint NOT NULL,
    statement_id bigint NOT NULL,
    entry_number integer NOT NULL,
    booked_on date NOT NULL,
    amount_minor bigint NOT NULL,
    PRIMARY KEY (statement_id, entry_number)
);
CREATE INDEX open_entries_by_account ON open_entries (account_id, booked_on, statement_id, entry_number);

-- The statements whose entries count, and up to which entry they were matched.
CREATE TABLE matched_statements (
    statement_id bigint PRIMARY KEY,
    account_id bigint NOT NULL,
    entries_done integer NOT NULL CHECK (entries_done >= 0)
);
CREATE INDEX matched_statements_by_account ON matched_statements (account_id);

-- Sums for each account and day, so that a proof reads as many rows as there are days. What is matched counts from the
-- day on which both sides have booked it.
CREATE TABLE reconciliation_days (
    account_id bigint NOT NULL,
    day date NOT NULL,
    ours_minor numeric(38) NOT NULL DEFAULT 0,
    theirs_minor numeric(38) NOT NULL DEFAULT 0,
    matched_ours_minor numeric(38) NOT NULL DEFAULT 0,
    matched_theirs_minor numeric(38) NOT NULL DEFAULT 0,
    ours bigint NOT NULL DEFAULT 0,
    theirs bigint NOT NULL DEFAULT 0,
    matched_ours bigint NOT NULL DEFAULT 0,
    matched_theirs bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (account_id, day)
) WITH (fillfactor = 70);

-- Breaks that are not closed.
CREATE TABLE open_breaks (
    break_id bigint PRIMARY KEY REFERENCES breaks (id),
    account_id bigint NOT NULL,
    owner text NOT NULL DEFAULT '',
    due_at timestamptz
);
CREATE INDEX open_breaks_by_account ON open_breaks (account_id, break_id);

-- Postings that no settlement has made (fundings, later write-offs) are not in the stream of moves. Settlements' legs
-- are in no index of these, so that they cost an insert nothing.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX transfers_outside_by_debit ON transfers (debit_id, at) WHERE leg = 3 OR leg > 10;
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX transfers_outside_by_credit ON transfers (credit_id, at) WHERE leg = 3 OR leg > 10;

-- A posting on an account at a bank with the references that the bank may state. Those of each attempt are its own;
-- a return has the reference of the return beside them.
CREATE VIEW bank_postings AS
SELECT a.id AS account_id, t.group_id, t.posting, t.leg, t.currency, t.at,
    CASE WHEN t.debit_id = a.id THEN t.amount_minor ELSE -t.amount_minor END AS amount_minor,
    CASE WHEN t.posting > 1 THEN r.value_date ELSE s.value_date END AS value_date,
    array_remove(ARRAY[
        upper(t.group_id::text), spelled_reference(t.reference), spelled_reference(r.reference),
        spelled_reference(n.trace)
    ], '') AS our_references,
    coalesce(spelled_reference(n.end_to_end_id), '') AS end_to_end,
    array_remove(ARRAY[
        coalesce(upper(n.uetr::text), ''), coalesce(spelled_reference(s.rail_reference), '')
    ], '') AS rail_references,
    coalesce(spelled_reference(n.message_id), '') AS batch
FROM transfers AS t
JOIN accounts AS a ON a.id IN (t.debit_id, t.credit_id) AND a.kind IN ('nostro', 'settlement')
LEFT JOIN settlement_transactions AS s ON s.id = t.group_id
LEFT JOIN attempts AS n ON n.settlement_id = t.group_id AND n.number = s.attempt
LEFT JOIN returns AS r ON r.settlement_id = t.group_id AND r.posting = t.posting AND t.posting > 1;
