-- compatible-from: 11
-- Reconciliation: runs, matches, breaks, proofs and reports. All of it is appended. The tables of work.sql hold what
-- is still open: they follow from the appended ones, and rows leave them.
-- Nothing here refers to accounts by a foreign key: its check would lock the row that settlements post to.

CREATE TABLE reconciliation_runs (
    id uuid PRIMARY KEY,
    started_for text NOT NULL CHECK (started_for IN ('schedule', 'arrival', 'demand')),
    who text NOT NULL CHECK (length(who) BETWEEN 1 AND 256),
    rules_version text NOT NULL CHECK (length(rules_version) BETWEEN 1 AND 100),
    -- Which accounts and which day were asked for; null: all, and the last day of each.
    account_id bigint,
    bank text,
    currency text,
    business_date date,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX reconciliation_runs_by_start ON reconciliation_runs (started_at);

-- A run without a row here was cut off: the next one went on where it had stopped.
CREATE TABLE reconciliation_run_ends (
    run_id uuid PRIMARY KEY REFERENCES reconciliation_runs (id),
    result_hash bytea NOT NULL CHECK (octet_length(result_hash) = 32),
    matches bigint NOT NULL CHECK (matches >= 0),
    ended_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- The specification's report, for each run and each currency: amounts of two currencies are never added.
CREATE TABLE reconciliation_reports (
    run_id uuid NOT NULL REFERENCES reconciliation_runs (id),
    currency currency_code NOT NULL,
    report_date date,
    total_accounts integer NOT NULL,
    balanced_accounts integer NOT NULL,
    discrepancy_accounts integer NOT NULL,
    -- The sum of the amounts of all differences, without their signs, in minor units.
    total_discrepancy_minor numeric(38) NOT NULL,
    details jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (run_id, currency)
);

-- Matches -------------------------------------------------------------------------------------------

CREATE TABLE matches (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id bigint NOT NULL,
    run_id uuid NOT NULL REFERENCES reconciliation_runs (id),
    matched_by text NOT NULL,
    rules_version text NOT NULL,
    explanation text NOT NULL CHECK (length(explanation) <= 1000),
    difference_minor bigint NOT NULL DEFAULT 0,
    difference_account text NOT NULL DEFAULT '',
    is_automatic boolean NOT NULL,
    -- The day on which all members are booked: before it they are open.
    settled_on date NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CHECK ((difference_minor = 0) = (difference_account = ''))
);
CREATE INDEX matches_by_run ON matches (run_id);

CREATE TABLE unmatches (
    match_id bigint PRIMARY KEY REFERENCES matches (id),
    run_id uuid REFERENCES reconciliation_runs (id),
    who text NOT NULL CHECK (length(who) BETWEEN 1 AND 256),
    reason text NOT NULL CHECK (length(reason) BETWEEN 1 AND 1000),
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Our postings in a match. A transfer between two accounts at banks is an item of both. ``turn`` counts how often the
-- item was matched: the key and the trigger below keep it in one live match.
CREATE TABLE match_postings (
    group_id uuid NOT NULL,
    posting smallint NOT NULL,
    leg smallint NOT NULL,
    account_id bigint NOT NULL,
    turn integer NOT NULL CHECK (turn > 0),
    match_id bigint NOT NULL REFERENCES matches (id),
    amount_minor bigint NOT NULL,
    booked_on date NOT NULL,
    PRIMARY KEY (group_id, posting, leg, account_id, turn)
);
CREATE INDEX match_postings_by_match ON match_postings (match_id);

-- The bank's entries in a match.
CREATE TABLE match_entries (
    statement_id bigint NOT NULL,
    entry_number integer NOT NULL,
    turn integer NOT NULL CHECK (turn > 0),
    match_id bigint NOT NULL REFERENCES matches (id),
    amount_minor bigint NOT NULL,
    booked_on date NOT NULL,
    PRIMARY KEY (statement_id, entry_number, turn),
    FOREIGN KEY (statement_id, entry_number) REFERENCES statement_entries (statement_id, number)
);
CREATE INDEX match_entries_by_match ON match_entries (match_id);

-- What may belong together, for a person to decide: no item of it is matched by it.
CREATE TABLE match_suggestions (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id bigint NOT NULL,
    run_id uuid NOT NULL REFERENCES reconciliation_runs (id),
    fingerprint bytea NOT NULL CHECK (octet_length(fingerprint) = 32),
    matched_by text NOT NULL,
    explanation text NOT NULL CHECK (length(explanation) <= 1000),
    ours text[] NOT NULL,
    theirs text[] NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (account_id, fingerprint)
);

CREATE FUNCTION refuse_second_live_match() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    v_item text;
BEGIN
    IF tg_table_name = 'match_postings' THEN
        SELECT n.group_id || '/' || n.posting || '/' || n.leg INTO v_item
        FROM added AS n
        JOIN match_postings AS m USING (group_id, posting, leg, account_id)
        WHERE n.turn > 1 AND m.turn < n.turn
            AND NOT EXISTS (SELECT 1 FROM unmatches AS u WHERE u.match_id = m.match_id)
        LIMIT 1;
    ELSE
        SELECT n.statement_id || '/' || n.entry_number INTO v_item
        FROM added AS n
        JOIN match_entries AS m USING (statement_id, entry_number)
        WHERE n.turn > 1 AND m.turn < n.turn
            AND NOT EXISTS (SELECT 1 FROM unmatches AS u WHERE u.match_id = m.match_id)
        LIMIT 1;
    END IF;
    IF v_item IS NOT NULL THEN
        RAISE EXCEPTION 'item % is in another match', v_item
        USING ERRCODE = 'unique_violation', CONSTRAINT = 'one_live_match';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER one_live_match AFTER INSERT ON match_postings
REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION refuse_second_live_match();
ALTER TABLE match_postings ENABLE ALWAYS TRIGGER one_live_match;
CREATE TRIGGER one_live_match AFTER INSERT ON match_entries
REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION refuse_second_live_match();
ALTER TABLE match_entries ENABLE ALWAYS TRIGGER one_live_match;

-- Breaks --------------------------------------------------------------------------------------------

CREATE TABLE breaks (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id bigint NOT NULL,
    kind text NOT NULL CHECK (kind IN (
        'MISSING_OURS', 'MISSING_THEIRS', 'AMOUNT', 'DATE', 'CURRENCY', 'DUPLICATE', 'UNKNOWN_DEBIT', 'REVERSAL',
        'AMBIGUOUS', 'OPENING_DIFFERENCE'
    )),
    severity smallint NOT NULL CHECK (severity BETWEEN 1 AND 4),
    amount_minor numeric(38) NOT NULL,
    currency currency_code NOT NULL,
    business_date date NOT NULL,
    reason text NOT NULL CHECK (length(reason) <= 1000),
    run_id uuid NOT NULL REFERENCES reconciliation_runs (id),
    -- The kind and the items: the same difference is one break, however often it is found.
    fingerprint bytea NOT NULL CHECK (octet_length(fingerprint) = 32),
    opened_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (account_id, fingerprint)
);

-- The items as texts: of ours GROUP/POSTING/LEG, of theirs STATEMENT/NUMBER.
CREATE TABLE break_items (
    break_id bigint NOT NULL REFERENCES breaks (id),
    side text NOT NULL CHECK (side IN ('ours', 'theirs')),
    item text NOT NULL,
    account_id bigint NOT NULL,
    PRIMARY KEY (break_id, side, item)
);
CREATE INDEX break_items_by_item ON break_items (account_id, side, item);

-- The history of each break, numbered from 1 without a gap (domain/breaks/history.py).
CREATE TABLE break_events (
    break_id bigint NOT NULL REFERENCES breaks (id),
    number integer NOT NULL CHECK (number > 0),
    event text NOT NULL CHECK (event IN (
        'opened', 'assigned', 'commented', 'escalated', 'proposed', 'declined', 'approved', 'matched', 'closed',
        'reopened'
    )),
    who text NOT NULL CHECK (length(who) BETWEEN 1 AND 256),
    text text NOT NULL CHECK (length(text) <= 2000),
    owner text NOT NULL DEFAULT '' CHECK (length(owner) <= 256),
    level smallint NOT NULL DEFAULT 0 CHECK (level >= 0),
    due_at timestamptz,
    proposal_id bigint,
    match_id bigint REFERENCES matches (id),
    run_id uuid REFERENCES reconciliation_runs (id),
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (break_id, number)
);

-- Proofs --------------------------------------------------------------------------------------------

-- One for each account and booking day, and another one whenever what is proved has changed: the last one counts.
-- our_closing + unmatched_theirs - unmatched_ours + opening_difference + difference = their_closing.
CREATE TABLE proofs (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id bigint NOT NULL,
    booking_date date NOT NULL,
    run_id uuid NOT NULL REFERENCES reconciliation_runs (id),
    currency currency_code NOT NULL,
    our_closing_minor numeric(38) NOT NULL,
    unmatched_theirs_minor numeric(38) NOT NULL,
    unmatched_ours_minor numeric(38) NOT NULL,
    opening_difference_minor numeric(38) NOT NULL,
    difference_minor numeric(38) NOT NULL,
    their_closing_minor numeric(38) NOT NULL,
    unmatched_theirs integer NOT NULL CHECK (unmatched_theirs >= 0),
    unmatched_ours integer NOT NULL CHECK (unmatched_ours >= 0),
    -- The reason why there is no proof yet: something is missing in the chain of statements. Empty: nothing is.
    held_back_by text NOT NULL CHECK (length(held_back_by) <= 1000),
    is_zero boolean NOT NULL CHECK (is_zero = (difference_minor = 0 AND held_back_by = '')),
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT proof_adds_up CHECK (
        our_closing_minor + unmatched_theirs_minor - unmatched_ours_minor + opening_difference_minor
        + difference_minor = their_closing_minor
    )
);
CREATE INDEX proofs_by_day ON proofs (account_id, booking_date, id);
CREATE INDEX proofs_by_run ON proofs (run_id);
