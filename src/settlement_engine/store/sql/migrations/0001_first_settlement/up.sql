-- The first settlement: accounts, transfers, lives, the stream of moves, engines and their claims.
--
-- Tables that every settlement writes carry no foreign keys: a key check costs more than the insert it
-- guards. Only the functions below write them, and `prove` recomputes every reference
-- (docs/decisions/0004-no-foreign-keys-on-the-hot-path.md).

CREATE TYPE settlement_state AS ENUM (
    'pending', 'validating', 'held', 'queued', 'locked', 'sent', 'in_doubt', 'recalling',
    'completed', 'failed', 'rolled_back', 'returned'
);

CREATE TYPE settlement_event AS ENUM (
    'admitted', 'cleared', 'postponed', 'parked', 'refused', 'cancelled', 'approved', 'declined',
    'released', 'lapsed', 'acknowledged', 'settled', 'rejected', 'undelivered', 'abandoned',
    'not_found', 'no_answer', 'attested_settled', 'attested_not_settled', 'overdue', 'recalled',
    'recall_refused', 'returned', 'uncovered', 'contradicted', 'disproved'
);

CREATE TYPE account_kind AS ENUM (
    'nostro', 'vostro', 'settlement', 'clearing', 'suspense', 'fees', 'fx'
);

-- A CHECK of a table is read from the catalogue and planned anew by every statement that writes the table,
-- whatever it changes: on the hot path that costs more than the row. What a domain or a function demands
-- is kept by the session. Nothing of these will be tightened later without a new domain, so that squawk's
-- fear of online migrations does not apply.
-- squawk-ignore ban-create-domain-with-constraint
CREATE DOMAIN identifier AS text CHECK (length(VALUE) BETWEEN 1 AND 64);
-- squawk-ignore ban-create-domain-with-constraint
CREATE DOMAIN bank_code AS text CHECK (length(VALUE) BETWEEN 1 AND 20);
-- squawk-ignore ban-create-domain-with-constraint
CREATE DOMAIN currency_code AS text CHECK (length(VALUE) = 3);
-- squawk-ignore ban-create-domain-with-constraint
CREATE DOMAIN ledger_side AS bigint CHECK (VALUE BETWEEN 0 AND 4611686018427387904);
-- squawk-ignore ban-create-domain-with-constraint
CREATE DOMAIN credit_line AS bigint CHECK (VALUE BETWEEN 0 AND 1000000000000000000);
-- squawk-ignore ban-create-domain-with-constraint
CREATE DOMAIN payment_amount AS bigint CHECK (VALUE BETWEEN 1 AND 999999999999999999);
-- squawk-ignore ban-create-domain-with-constraint
CREATE DOMAIN payment_priority AS smallint CHECK (VALUE BETWEEN 0 AND 2);
-- squawk-ignore ban-create-domain-with-constraint
CREATE DOMAIN attested AS text CHECK (VALUE IN ('stands', 'disproved'));

CREATE TABLE currencies (
    code text PRIMARY KEY CHECK (code ~ '^[A-Z]{3}$'),
    exponent smallint NOT NULL CHECK (exponent BETWEEN 0 AND 4)
);

-- Accounts -----------------------------------------------------------------------------------------

CREATE TABLE accounts (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind account_kind NOT NULL,
    bank bank_code NOT NULL,
    currency text NOT NULL REFERENCES currencies (code),
    account_number identifier NOT NULL,
    debits_posted ledger_side NOT NULL DEFAULT 0,
    credits_posted ledger_side NOT NULL DEFAULT 0,
    held ledger_side NOT NULL DEFAULT 0,
    credit_limit credit_line NOT NULL DEFAULT 0,
    is_active boolean NOT NULL DEFAULT true,
    opened_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_reconciled_at timestamptz,
    UNIQUE (kind, bank, currency, account_number),
    CONSTRAINT no_overdraft CHECK (
        CASE kind
            WHEN 'nostro' THEN debits_posted - credits_posted - held + credit_limit >= 0
            WHEN 'vostro' THEN credits_posted - debits_posted - held + credit_limit >= 0
            ELSE true
        END
    )
) WITH (
    fillfactor = 40, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000,
    vacuum_truncate = false
);

CREATE TABLE transfers (
    group_id uuid NOT NULL,
    leg smallint NOT NULL CHECK (leg BETWEEN 1 AND 7),
    debit_id bigint NOT NULL,
    credit_id bigint NOT NULL,
    amount_minor bigint NOT NULL CHECK (amount_minor > 0),
    currency text NOT NULL,
    reference text NOT NULL DEFAULT '',
    at timestamptz NOT NULL,
    PRIMARY KEY (group_id, leg),
    CHECK (debit_id <> credit_id)
);
CREATE INDEX transfers_by_debit ON transfers (debit_id, group_id);
CREATE INDEX transfers_by_credit ON transfers (credit_id, group_id);

CREATE TABLE idempotent_calls (
    key_hash uuid PRIMARY KEY,
    caller text NOT NULL,
    idempotency_key text NOT NULL,
    call text NOT NULL,
    content jsonb NOT NULL,
    account_id bigint NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Lives --------------------------------------------------------------------------------------------

CREATE TABLE settlement_transactions (
    id uuid PRIMARY KEY,
    key_hash uuid NOT NULL,
    caller text NOT NULL,
    idempotency_key text NOT NULL,
    content_hash bytea NOT NULL,
    obligation_id identifier NOT NULL,
    from_bank text NOT NULL,
    to_bank text NOT NULL,
    amount_minor payment_amount NOT NULL,
    currency currency_code NOT NULL,
    requested_value_date date,
    value_date date NOT NULL,
    priority payment_priority NOT NULL,
    metadata jsonb,
    state settlement_state NOT NULL,
    seq integer NOT NULL CHECK (seq > 0),
    attempt smallint NOT NULL DEFAULT 0 CHECK (attempt >= 0),
    holds_obligation boolean NOT NULL DEFAULT true,
    is_frozen boolean NOT NULL DEFAULT false,
    attestation attested,
    refusal_code text,
    refusal_detail jsonb,
    rail_reference text,
    confirmation text,
    created_at timestamptz NOT NULL,
    ended_at timestamptz,
    CHECK (from_bank <> to_bank),
    CHECK ((ended_at IS NOT NULL) = (state IN ('completed', 'failed', 'rolled_back', 'returned'))),
    CHECK (holds_obligation = (state NOT IN ('failed', 'rolled_back', 'returned')))
) WITH (fillfactor = 60);
-- Columns that change on the way to completion are in no index, so that these updates stay in the page.
CREATE UNIQUE INDEX one_settlement_per_key ON settlement_transactions (key_hash);
CREATE UNIQUE INDEX one_live_settlement_per_obligation ON settlement_transactions (obligation_id)
WHERE holds_obligation;
CREATE INDEX settlements_freed_by_obligation ON settlement_transactions (obligation_id)
WHERE NOT holds_obligation;

-- What is open, and whose it is. Owner 0 is nobody: the settlement rests until due_at.
-- Pages that a vacuum finds empty are kept: to give them back it would lock everybody out.
CREATE TABLE open_settlements (
    settlement_id uuid PRIMARY KEY,
    owner bigint NOT NULL CHECK (owner >= 0),
    epoch bigint NOT NULL CHECK (epoch > 0),
    asked integer NOT NULL DEFAULT 0,
    due_at timestamptz NOT NULL
) WITH (
    fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
    vacuum_truncate = false
);
CREATE INDEX open_settlements_due ON open_settlements (due_at) WHERE owner = 0;

-- The truth of every life, and at once the outbox: position is gapless and grows in commit order.
CREATE TABLE moves (
    position bigint PRIMARY KEY,
    settlement_id uuid NOT NULL,
    seq integer NOT NULL,
    from_state settlement_state NOT NULL,
    event settlement_event NOT NULL,
    to_state settlement_state NOT NULL,
    at timestamptz NOT NULL,
    epoch bigint NOT NULL,
    attempt smallint NOT NULL,
    detail jsonb,
    UNIQUE (settlement_id, seq)
);

CREATE TABLE stream_head (
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    position bigint NOT NULL CHECK (position >= 0),
    published bigint NOT NULL DEFAULT 0 CHECK (published >= 0)
) WITH (
    fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500,
    vacuum_truncate = false
);
INSERT INTO stream_head (position) VALUES (0);

-- What is asked of a rail: committed with the lock, before the first byte leaves.
CREATE TABLE attempts (
    settlement_id uuid NOT NULL,
    number smallint NOT NULL CHECK (number > 0),
    rail text NOT NULL,
    source_id bigint NOT NULL,
    agent_id bigint NOT NULL,
    clearing_id bigint NOT NULL,
    target_id bigint NOT NULL,
    uetr uuid NOT NULL,
    end_to_end_id text NOT NULL,
    message_id text NOT NULL,
    payload bytea NOT NULL,
    valid_until timestamptz NOT NULL,
    sends integer NOT NULL DEFAULT 1 CHECK (sends > 0),
    undelivered integer NOT NULL DEFAULT 0 CHECK (undelivered BETWEEN 0 AND sends),
    recorded_at timestamptz NOT NULL,
    PRIMARY KEY (settlement_id, number)
);

-- Answers that changed no state: silence, "still in process", "nothing left the house".
CREATE TABLE answers (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    settlement_id uuid NOT NULL,
    attempt smallint NOT NULL,
    state settlement_state NOT NULL,
    event settlement_event NOT NULL,
    asked integer NOT NULL,
    detail jsonb,
    at timestamptz NOT NULL
);
CREATE INDEX answers_by_settlement ON answers (settlement_id, id);

CREATE TABLE fund_locks (
    settlement_id uuid PRIMARY KEY,
    account_id bigint NOT NULL,
    amount_minor bigint NOT NULL CHECK (amount_minor > 0),
    currency text NOT NULL,
    locked_at timestamptz NOT NULL,
    resolved_at timestamptz,
    outcome text CHECK (outcome IN ('posted', 'released')),
    CHECK ((resolved_at IS NULL) = (outcome IS NULL))
) WITH (fillfactor = 75);

-- Engines, windows, dead letters ---------------------------------------------------------------------

CREATE TABLE engines (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    host text NOT NULL,
    pid integer NOT NULL,
    joined_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    lease_until timestamptz NOT NULL,
    gone_at timestamptz
);
CREATE INDEX engines_alive ON engines (id) WHERE gone_at IS NULL;
CREATE INDEX engines_gone ON engines (gone_at) WHERE gone_at IS NOT NULL;

CREATE TABLE settlement_windows (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    currency text NOT NULL REFERENCES currencies (code),
    zone text NOT NULL,
    window_start time NOT NULL,
    window_end time NOT NULL,
    days_of_week smallint[] NOT NULL DEFAULT ARRAY[1, 2, 3, 4, 5]::smallint[],
    is_active boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (currency, zone, window_start),
    CHECK (days_of_week <@ ARRAY[1, 2, 3, 4, 5, 6, 7]::smallint[] AND cardinality(days_of_week) > 0)
);

CREATE TABLE dead_letters (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    subject text NOT NULL,
    payload bytea NOT NULL,
    why text NOT NULL,
    received_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- What people did about them. A letter ends once: taken in after all, or dropped with a reason.
CREATE TABLE dead_letter_acts (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    dead_letter_id bigint NOT NULL REFERENCES dead_letters (id),
    who text NOT NULL CHECK (length(who) BETWEEN 1 AND 256),
    outcome text NOT NULL CHECK (outcome IN ('accepted', 'replayed', 'refused', 'dropped')),
    words text NOT NULL CHECK (length(words) <= 1000),
    settlement_id uuid,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CHECK (outcome <> 'dropped' OR words <> ''),
    CHECK ((settlement_id IS NOT NULL) = (outcome IN ('accepted', 'replayed')))
);
CREATE UNIQUE INDEX dead_letter_ends_once ON dead_letter_acts (dead_letter_id)
WHERE outcome <> 'refused';
CREATE INDEX dead_letter_acts_by_letter ON dead_letter_acts (dead_letter_id, id);

-- Guards -------------------------------------------------------------------------------------------

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % refused', tg_table_name, tg_op USING ERRCODE = 'SE004';
END $$;

CREATE TRIGGER moves_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON moves
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE moves ENABLE ALWAYS TRIGGER moves_append_only;
CREATE TRIGGER transfers_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON transfers
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE transfers ENABLE ALWAYS TRIGGER transfers_append_only;
CREATE TRIGGER answers_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON answers
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE answers ENABLE ALWAYS TRIGGER answers_append_only;

CREATE TRIGGER dead_letters_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON dead_letters
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE dead_letters ENABLE ALWAYS TRIGGER dead_letters_append_only;
CREATE TRIGGER dead_letter_acts_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON dead_letter_acts
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE dead_letter_acts ENABLE ALWAYS TRIGGER dead_letter_acts_append_only;

CREATE FUNCTION refuse_second_end() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'settlement % has ended: % to % refused', old.id, old.state, new.state
    USING ERRCODE = 'SE002';
END $$;

CREATE TRIGGER settlement_ends_once BEFORE UPDATE ON settlement_transactions
FOR EACH ROW WHEN (
    old.ended_at IS NOT NULL AND new.state <> old.state
    AND NOT (old.state = 'completed' AND new.state = 'returned')
) EXECUTE FUNCTION refuse_second_end();
ALTER TABLE settlement_transactions ENABLE ALWAYS TRIGGER settlement_ends_once;
CREATE TRIGGER settlements_stay BEFORE DELETE OR TRUNCATE ON settlement_transactions
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE settlement_transactions ENABLE ALWAYS TRIGGER settlements_stay;

CREATE FUNCTION refuse_second_resolution() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the hold of settlement % is resolved already', old.settlement_id
    USING ERRCODE = 'SE003';
END $$;

CREATE TRIGGER fund_lock_resolved_once BEFORE UPDATE ON fund_locks
FOR EACH ROW WHEN (old.resolved_at IS NOT NULL) EXECUTE FUNCTION refuse_second_resolution();
ALTER TABLE fund_locks ENABLE ALWAYS TRIGGER fund_lock_resolved_once;
CREATE TRIGGER fund_locks_stay BEFORE DELETE OR TRUNCATE ON fund_locks
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE fund_locks ENABLE ALWAYS TRIGGER fund_locks_stay;
