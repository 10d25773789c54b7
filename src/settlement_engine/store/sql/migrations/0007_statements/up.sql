-- compatible-from: 6
-- Account statements of banks: the files as they came, each statement with the outcome of its import, its entries
-- and their details. Nothing here is ever changed: a corrected statement is another row.

CREATE TABLE statement_files (
    sha256 bytea PRIMARY KEY CHECK (sha256 = sha256(content)),
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 255),
    csv_mapping text NOT NULL CHECK (octet_length(csv_mapping) <= 65536),
    content bytea NOT NULL CHECK (octet_length(content) <= 67108864),
    received_by text NOT NULL CHECK (length(received_by) BETWEEN 1 AND 256),
    received_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- One row for each statement that was found in a file, and for each place of a file that could not be read. A
-- statement that is kept has an account and counts for its chain; the others only say what was wrong.
CREATE TABLE statements (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    file_sha256 bytea NOT NULL REFERENCES statement_files (sha256),
    place text NOT NULL,
    outcome text NOT NULL CHECK (outcome IN (
        'UNREADABLE', 'WRONG_CONTAINER', 'UNKNOWN_ACCOUNT', 'WRONG_CURRENCY', 'REISSUED', 'UNBALANCED',
        'INCOMPLETE', 'OVERLAP', 'OUT_OF_ORDER', 'GAP', 'IMPORTED'
    )),
    reason text NOT NULL CHECK (length(reason) <= 2000),
    is_kept boolean NOT NULL CHECK (is_kept = (outcome IN (
        'REISSUED', 'UNBALANCED', 'INCOMPLETE', 'OVERLAP', 'OUT_OF_ORDER', 'GAP', 'IMPORTED'
    ))),
    account_id bigint,
    source text,
    identifier text NOT NULL,
    servicer text NOT NULL,
    currency text NOT NULL,
    bank_statement_id text NOT NULL,
    sequence bigint,
    page bigint,
    is_last_page boolean,
    created text NOT NULL,
    begins date,
    ends date,
    opening_minor bigint,
    opening_is_final boolean NOT NULL,
    closing_minor bigint,
    closing_is_final boolean NOT NULL,
    booked_minor numeric(38) NOT NULL,
    totals_differ boolean NOT NULL,
    entries integer NOT NULL CHECK (entries >= 0),
    content_hash bytea CHECK (octet_length(content_hash) = 32),
    identity_hash bytea CHECK (octet_length(identity_hash) = 32),
    period_hash bytea CHECK (octet_length(period_hash) = 32),
    content jsonb,
    imported_by text NOT NULL CHECK (length(imported_by) BETWEEN 1 AND 256),
    imported_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CHECK (NOT is_kept OR num_nulls(
        account_id, source, begins, ends, content_hash, identity_hash, period_hash, content
    ) = 0)
);
-- The same content is kept once for an account: a second import finds it.
CREATE UNIQUE INDEX statements_kept_once ON statements (account_id, content_hash) WHERE is_kept;
-- What could not be kept is told once for its place in the file, however often the file is imported.
CREATE UNIQUE INDEX statement_faults_once ON statements (file_sha256, place, outcome) WHERE NOT is_kept;
CREATE INDEX statements_by_day ON statements (account_id, ends) WHERE is_kept;
CREATE INDEX statements_by_identity ON statements (account_id, identity_hash) WHERE is_kept;
CREATE INDEX statements_by_period ON statements (account_id, period_hash) WHERE is_kept;
CREATE INDEX statements_by_content ON statements (content_hash) WHERE is_kept;

CREATE TABLE statement_entries (
    statement_id bigint NOT NULL REFERENCES statements (id),
    number integer NOT NULL CHECK (number > 0),
    amount_minor bigint NOT NULL,
    currency currency_code NOT NULL,
    status text NOT NULL CHECK (status IN ('BOOKED', 'PENDING', 'FUTURE', 'INFORMATION')),
    booking_date date,
    value_date date,
    is_reversal boolean NOT NULL,
    code text NOT NULL,
    text text NOT NULL,
    refs jsonb NOT NULL,
    details_differ boolean NOT NULL,
    -- Equal entries of a statement have the same identity, and are counted.
    identity_hash bytea NOT NULL CHECK (octet_length(identity_hash) = 32),
    occurrence integer NOT NULL CHECK (occurrence > 0),
    PRIMARY KEY (statement_id, number)
);

CREATE TABLE entry_details (
    statement_id bigint NOT NULL,
    entry_number integer NOT NULL,
    number integer NOT NULL CHECK (number > 0),
    amount_minor bigint,
    charges_minor bigint NOT NULL,
    text text NOT NULL,
    refs jsonb NOT NULL,
    PRIMARY KEY (statement_id, entry_number, number),
    FOREIGN KEY (statement_id, entry_number) REFERENCES statement_entries (statement_id, number)
);

CREATE TRIGGER statement_files_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON statement_files
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE statement_files ENABLE ALWAYS TRIGGER statement_files_append_only;
CREATE TRIGGER statements_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON statements
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE statements ENABLE ALWAYS TRIGGER statements_append_only;
CREATE TRIGGER statement_entries_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON statement_entries
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE statement_entries ENABLE ALWAYS TRIGGER statement_entries_append_only;
CREATE TRIGGER entry_details_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON entry_details
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE entry_details ENABLE ALWAYS TRIGGER entry_details_append_only;

-- A statement is found by its account's number, in any spelling, or by the number that the bank directory states.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX accounts_by_number ON accounts (upper(replace(account_number, ' ', '')))
WHERE kind IN ('nostro', 'settlement');
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX banks_by_our_account ON bank_versions
USING gin (jsonb_path_query_array(content, '$.instructions[*].our_account.*'));
