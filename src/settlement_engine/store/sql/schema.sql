-- What all migrations amount to, for reading. Generated from a migrated database:
-- SETTLEMENT_WRITE_SCHEMA=1 make test ARGS=tests/migration/test_schema.py

CREATE TYPE account_kind AS ENUM ('nostro', 'vostro', 'settlement', 'clearing', 'suspense', 'fees', 'fx');

CREATE TYPE delivery AS ENUM ('book', 'pay_out');

CREATE TYPE settlement_event AS ENUM ('admitted', 'cleared', 'postponed', 'parked', 'refused', 'cancelled', 'approved', 'declined', 'released', 'lapsed', 'acknowledged', 'settled', 'rejected', 'undelivered', 'abandoned', 'not_found', 'no_answer', 'attested_settled', 'attested_not_settled', 'overdue', 'recalled', 'recall_refused', 'returned', 'uncovered', 'contradicted', 'disproved', 'partly_returned', 'partly_uncovered', 'amount_differed', 'debited_twice', 'cover_due');

CREATE TYPE settlement_state AS ENUM ('pending', 'validating', 'held', 'queued', 'locked', 'sent', 'in_doubt', 'recalling', 'completed', 'failed', 'rolled_back', 'returned');

CREATE DOMAIN account_side AS numeric CONSTRAINT account_side_check CHECK (VALUE >= 0::numeric AND VALUE <= '99999999999999999999999999999999999999'::numeric AND VALUE = trunc(VALUE));

CREATE DOMAIN attested AS text CONSTRAINT attested_check CHECK (VALUE = ANY (ARRAY['stands'::text, 'disproved'::text]));

CREATE DOMAIN bank_code AS text CONSTRAINT bank_code_check CHECK (length(VALUE) >= 1 AND length(VALUE) <= 20);

CREATE DOMAIN credit_line AS bigint CONSTRAINT credit_line_check CHECK (VALUE >= 0 AND VALUE <= '1000000000000000000'::bigint);

CREATE DOMAIN currency_code AS text CONSTRAINT currency_code_check CHECK (length(VALUE) = 3);

CREATE DOMAIN identifier AS text CONSTRAINT identifier_check CHECK (length(VALUE) >= 1 AND length(VALUE) <= 64);

CREATE DOMAIN payment_amount AS bigint CONSTRAINT payment_amount_check CHECK (VALUE >= 1 AND VALUE <= '999999999999999999'::bigint);

CREATE DOMAIN payment_priority AS smallint CONSTRAINT payment_priority_check CHECK (VALUE >= 0 AND VALUE <= 2);

CREATE TABLE accounts (
    id bigint GENERATED ALWAYS AS IDENTITY NOT NULL,
    kind account_kind NOT NULL,
    bank bank_code NOT NULL,
    currency text NOT NULL,
    account_number identifier NOT NULL,
    debits_posted account_side NOT NULL DEFAULT 0,
    credits_posted account_side NOT NULL DEFAULT 0,
    held account_side NOT NULL DEFAULT 0,
    credit_limit credit_line NOT NULL DEFAULT 0,
    is_active boolean NOT NULL DEFAULT true,
    opened_at timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
    last_reconciled_at timestamp with time zone
) WITH (fillfactor=40, autovacuum_vacuum_scale_factor=0, autovacuum_vacuum_threshold=2000, vacuum_truncate=false);

CREATE TABLE answers (
    id bigint GENERATED ALWAYS AS IDENTITY NOT NULL,
    settlement_id uuid NOT NULL,
    attempt smallint NOT NULL,
    state settlement_state NOT NULL,
    event settlement_event NOT NULL,
    asked integer NOT NULL,
    detail jsonb,
    at timestamp with time zone NOT NULL,
    times integer NOT NULL DEFAULT 1,
    last_at timestamp with time zone,
    fingerprint uuid
);

CREATE TABLE attempts (
    settlement_id uuid NOT NULL,
    number smallint NOT NULL,
    rail text NOT NULL,
    source_id bigint NOT NULL,
    agent_id bigint NOT NULL,
    clearing_id bigint NOT NULL,
    target_id bigint NOT NULL,
    uetr uuid NOT NULL,
    end_to_end_id text NOT NULL,
    message_id text NOT NULL,
    payload bytea NOT NULL,
    valid_until timestamp with time zone NOT NULL,
    sends integer NOT NULL DEFAULT 1,
    undelivered integer NOT NULL DEFAULT 0,
    recorded_at timestamp with time zone NOT NULL,
    delivery delivery,
    trace text
);

CREATE TABLE balance_moments (
    at timestamp with time zone NOT NULL,
    recorded_at timestamp with time zone NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE bank_versions (
    id bigint GENERATED ALWAYS AS IDENTITY NOT NULL,
    code text NOT NULL,
    version integer NOT NULL,
    rails text[] NOT NULL,
    currencies text[] NOT NULL,
    is_withdrawn boolean NOT NULL,
    content jsonb NOT NULL,
    changed_by text NOT NULL,
    changed_at timestamp with time zone NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE break_decisions (
    proposal_id bigint NOT NULL,
    decision text NOT NULL,
    decided_by text NOT NULL,
    role text NOT NULL,
    signed_sha256 bytea,
    match_id bigint,
    transfer_group uuid,
    decided_at timestamp with time zone NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE break_events (
    break_id bigint NOT NULL,
    number integer NOT NULL,
    event text NOT NULL,
    who text NOT NULL,
    text text NOT NULL,
    owner text NOT NULL DEFAULT ''::text,
    level smallint NOT NULL DEFAULT 0,
    due_at timestamp with time zone,
    proposal_id bigint,
    match_id bigint,
    run_id uuid,
    at timestamp with time zone NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE break_items (
    break_id bigint NOT NULL,
    side text NOT NULL,
    item text NOT NULL,
    account_id bigint NOT NULL
);

CREATE TABLE break_proposal_items (
    proposal_id bigint NOT NULL,
    side text NOT NULL,
    item text NOT NULL,
    amount_minor bigint NOT NULL
);

CREATE TABLE break_proposals (
    id bigint GENERATED ALWAYS AS IDENTITY NOT NULL,
    break_id bigint NOT NULL,
    resolution text NOT NULL,
    account_id bigint NOT NULL,
    currency currency_code NOT NULL,
    amount_minor bigint NOT NULL,
    reason text NOT NULL,
    evidence_name text NOT NULL,
    evidence bytea NOT NULL,
    evidence_sha256 bytea NOT NULL,
    proposed_by text NOT NULL,
    content_sha256 bytea NOT NULL,
    proposed_at timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamp with time zone NOT NULL
);

CREATE TABLE breaker_orders (
    id bigint GENERATED ALWAYS AS IDENTITY NOT NULL,
    rail text NOT NULL,
    bank text NOT NULL,
    action text NOT NULL,
    who text NOT NULL,
    reason text NOT NULL,
    at timestamp with time zone NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE breaks (
    id bigint GENERATED ALWAYS AS IDENTITY NOT NULL,
    account_id bigint NOT NULL,
    kind text NOT NULL,
    severity smallint NOT NULL,
    amount_minor numeric(38,0) NOT NULL,
    currency currency_code NOT NULL,
    business_date date NOT NULL,
    reason text NOT NULL,
    run_id uuid NOT NULL,
    fingerprint bytea NOT NULL,
    opened_at timestamp with time zone NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE cover_results (
    settlement_id uuid NOT NULL,
    attempt smallint NOT NULL,
    number smallint NOT NULL,
    transmission smallint NOT NULL,
    result text NOT NULL,
    code text NOT NULL,
    text text NOT NULL,
    at timestamp with time zone NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE covers (
    settlement_id uuid NOT NULL,
    attempt smallint NOT NULL,
    number smallint NOT NULL,
    message_id text NOT NULL,
    content bytea NOT NULL,
    valid_until timestamp with time zone NOT NULL,
    ordered_by text NOT NULL,
    reason text NOT NULL,
    is_found boolean NOT NULL,
    recorded_at timestamp with time zone NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE currencies (
    code text NOT NULL,
    exponent smallint NOT NULL
);

CREATE TABLE dead_letter_acts (
    id bigint GENERATED ALWAYS AS IDENTITY NOT NULL,
    dead_letter_id bigint NOT NULL,
    who text NOT NULL,
    outcome text NOT NULL,
    words text NOT NULL,
    settlement_id uuid,
    at timestamp with time zone NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE dead_letters (
    id bigint GENERATED ALWAYS AS IDENTITY NOT NULL,
    subject text NOT NULL,
    payload bytea NOT NULL,
    why text NOT NULL,
    received_at timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
    stream text,
    stream_sequence bigint,
    stored_at timestamp with time zone,
    payload_bytes bigint,
    payload_hash bytea
);

CREATE TABLE engines (
    id bigint GENERATED ALWAYS AS IDENTITY NOT NULL,
    host text NOT NULL,
    pid integer NOT NULL,
    joined_at timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
    lease_until timestamp with time zone NOT NULL,
    gone_at timestamp with time zone
);

CREATE TABLE entry_details (
    statement_id bigint NOT NULL,
    entry_number integer NOT NULL,
    number integer NOT NULL,
    amount_minor bigint,
    charges_minor bigint NOT NULL,
    text text NOT NULL,
    refs jsonb NOT NULL
);

CREATE TABLE environments (
    id integer NOT NULL,
    name text NOT NULL,
    set_by text NOT NULL,
    set_at timestamp with time zone NOT NULL
);

CREATE TABLE exceptions (
    id bigint GENERATED ALWAYS AS IDENTITY NOT NULL,
    settlement_id uuid,
    kind text NOT NULL,
    fingerprint text NOT NULL,
    detail jsonb NOT NULL,
    opened_at timestamp with time zone NOT NULL,
    acknowledged_at timestamp with time zone,
    acknowledged_by text,
    closed_at timestamp with time zone,
    closed_by text,
    close_reason text
);

CREATE TABLE fund_locks (
    settlement_id uuid NOT NULL,
    account_id bigint NOT NULL,
    amount_minor bigint NOT NULL,
    currency text NOT NULL,
    locked_at timestamp with time zone NOT NULL,
    resolved_at timestamp with time zone,
    outcome text
) WITH (fillfactor=75);

CREATE TABLE idempotent_calls (
    key_hash uuid NOT NULL,
    caller text NOT NULL,
    idempotency_key text NOT NULL,
    call text NOT NULL,
    content jsonb NOT NULL,
    account_id bigint NOT NULL,
    at timestamp with time zone NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE inbound_messages (
    id bigint GENERATED ALWAYS AS IDENTITY NOT NULL,
    rail text NOT NULL,
    source text NOT NULL,
    sender_reference text NOT NULL,
    sha256 bytea NOT NULL,
    content bytea NOT NULL,
    received_at timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
    repeats integer NOT NULL DEFAULT 0,
    repeated_at timestamp with time zone,
    sender text NOT NULL DEFAULT ''::text
);

CREATE TABLE inbound_reports (
    id bigint GENERATED ALWAYS AS IDENTITY NOT NULL,
    message_id bigint NOT NULL,
    number integer NOT NULL,
    report jsonb NOT NULL,
    settlement_id uuid,
    attempt smallint,
    outcome text,
    closed_at timestamp with time zone
);

CREATE TABLE issued_statement_files (
    statement_id bigint NOT NULL,
    format text NOT NULL,
    sha256 bytea NOT NULL,
    content bytea NOT NULL,
    made_at timestamp with time zone NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE issued_statements (
    id bigint GENERATED ALWAYS AS IDENTITY NOT NULL,
    account_id bigint NOT NULL,
    number integer NOT NULL,
    day date NOT NULL,
    begins timestamp with time zone NOT NULL,
    ends timestamp with time zone NOT NULL,
    opening_minor numeric(38,0) NOT NULL,
    closing_minor numeric(38,0) NOT NULL,
    credits_minor numeric(38,0) NOT NULL,
    debits_minor numeric(38,0) NOT NULL,
    entries integer NOT NULL,
    previous_day date,
    issued_by text NOT NULL,
    issued_at timestamp with time zone NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE match_entries (
    statement_id bigint NOT NULL,
    entry_number integer NOT NULL,
    turn integer NOT NULL,
    match_id bigint NOT NULL,
    amount_minor bigint NOT NULL,
    booked_on date NOT NULL
);

CREATE TABLE match_postings (
    group_id uuid NOT NULL,
    posting smallint NOT NULL,
    leg smallint NOT NULL,
    account_id bigint NOT NULL,
    turn integer NOT NULL,
    match_id bigint NOT NULL,
    amount_minor bigint NOT NULL,
    booked_on date NOT NULL
);

CREATE TABLE match_suggestions (
    id bigint GENERATED ALWAYS AS IDENTITY NOT NULL,
    account_id bigint NOT NULL,
    run_id uuid NOT NULL,
    fingerprint bytea NOT NULL,
    matched_by text NOT NULL,
    explanation text NOT NULL,
    ours text[] NOT NULL,
    theirs text[] NOT NULL,
    at timestamp with time zone NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE matched_statements (
    statement_id bigint NOT NULL,
    account_id bigint NOT NULL,
    entries_done integer NOT NULL
);

CREATE TABLE matches (
    id bigint GENERATED ALWAYS AS IDENTITY NOT NULL,
    account_id bigint NOT NULL,
    run_id uuid NOT NULL,
    matched_by text NOT NULL,
    rules_version text NOT NULL,
    explanation text NOT NULL,
    difference_minor bigint NOT NULL DEFAULT 0,
    difference_account text NOT NULL DEFAULT ''::text,
    is_automatic boolean NOT NULL,
    settled_on date NOT NULL,
    at timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
    who text NOT NULL DEFAULT 'engine'::text
);

CREATE TABLE messages (
    settlement_id uuid NOT NULL,
    at timestamp with time zone NOT NULL,
    direction text NOT NULL,
    sha256 bytea NOT NULL,
    attempt smallint NOT NULL,
    rail text NOT NULL,
    type text NOT NULL,
    message_id text NOT NULL,
    response_status smallint,
    content bytea NOT NULL,
    stored_at timestamp with time zone NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE moves (
    "position" bigint NOT NULL,
    settlement_id uuid NOT NULL,
    seq integer NOT NULL,
    from_state settlement_state NOT NULL,
    event settlement_event NOT NULL,
    to_state settlement_state NOT NULL,
    at timestamp with time zone NOT NULL,
    epoch bigint NOT NULL,
    attempt smallint NOT NULL,
    detail jsonb
);

CREATE TABLE notice_head (
    is_only boolean NOT NULL DEFAULT true,
    "position" bigint NOT NULL,
    published bigint NOT NULL DEFAULT 0,
    published_sequence bigint NOT NULL DEFAULT 0,
    began_at timestamp with time zone NOT NULL
) WITH (fillfactor=10);

CREATE TABLE notices (
    "position" bigint NOT NULL,
    kind text NOT NULL,
    run_id uuid,
    currency currency_code,
    break_id bigint,
    number integer,
    settlement_id uuid,
    seq smallint,
    proof_id bigint,
    at timestamp with time zone NOT NULL
);

CREATE TABLE open_breaks (
    break_id bigint NOT NULL,
    account_id bigint NOT NULL,
    owner text NOT NULL DEFAULT ''::text,
    due_at timestamp with time zone,
    level smallint NOT NULL DEFAULT 0
);

CREATE TABLE open_entries (
    account_id bigint NOT NULL,
    statement_id bigint NOT NULL,
    entry_number integer NOT NULL,
    booked_on date NOT NULL,
    amount_minor bigint NOT NULL
);

CREATE TABLE open_posting_keys (
    account_id bigint NOT NULL,
    key bigint NOT NULL,
    posting_id bigint NOT NULL
) WITH (autovacuum_vacuum_scale_factor=0, autovacuum_vacuum_threshold=50000, vacuum_truncate=false);

CREATE TABLE open_postings (
    id bigint GENERATED ALWAYS AS IDENTITY NOT NULL,
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
    keys bigint[] NOT NULL
) WITH (autovacuum_vacuum_scale_factor=0, autovacuum_vacuum_threshold=20000, vacuum_truncate=false);

CREATE TABLE open_recalls (
    settlement_id uuid NOT NULL,
    asked integer NOT NULL DEFAULT 0,
    due_at timestamp with time zone NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE open_settlements (
    settlement_id uuid NOT NULL,
    owner bigint NOT NULL,
    epoch bigint NOT NULL,
    asked integer NOT NULL DEFAULT 0,
    due_at timestamp with time zone NOT NULL
) WITH (fillfactor=70, autovacuum_vacuum_scale_factor=0, autovacuum_vacuum_threshold=5000, vacuum_truncate=false);

CREATE TABLE openings (
    id bigint GENERATED ALWAYS AS IDENTITY NOT NULL,
    era integer NOT NULL,
    incarnation uuid NOT NULL,
    step text NOT NULL,
    why text NOT NULL,
    system_identifier text NOT NULL,
    timeline integer NOT NULL,
    database_id bigint NOT NULL,
    detail jsonb NOT NULL,
    at timestamp with time zone NOT NULL
);

CREATE TABLE page (
    from_state settlement_state NOT NULL,
    event text NOT NULL,
    to_state settlement_state NOT NULL,
    does text,
    asks text,
    reached text[] NOT NULL
);

CREATE TABLE past_balances (
    account_id bigint NOT NULL,
    at timestamp with time zone NOT NULL,
    debits_posted account_side NOT NULL,
    credits_posted account_side NOT NULL
);

CREATE TABLE payment_details (
    settlement_id uuid NOT NULL,
    payment jsonb,
    rail text,
    delivery delivery
);

CREATE TABLE proofs (
    id bigint GENERATED ALWAYS AS IDENTITY NOT NULL,
    account_id bigint NOT NULL,
    booking_date date NOT NULL,
    run_id uuid NOT NULL,
    currency currency_code NOT NULL,
    our_closing_minor numeric(38,0) NOT NULL,
    unmatched_theirs_minor numeric(38,0) NOT NULL,
    unmatched_ours_minor numeric(38,0) NOT NULL,
    opening_difference_minor numeric(38,0) NOT NULL,
    difference_minor numeric(38,0) NOT NULL,
    their_closing_minor numeric(38,0) NOT NULL,
    unmatched_theirs integer NOT NULL,
    unmatched_ours integer NOT NULL,
    held_back_by text NOT NULL,
    is_zero boolean NOT NULL,
    at timestamp with time zone NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE proved_accounts (
    account_id bigint NOT NULL,
    unproved_from date,
    last_statement_id bigint NOT NULL,
    last_decision_id bigint NOT NULL DEFAULT 0
) WITH (fillfactor=70);

CREATE TABLE rail_file_items (
    settlement_id uuid NOT NULL,
    attempt smallint NOT NULL,
    file_id bigint NOT NULL,
    trace text NOT NULL
);

CREATE TABLE rail_file_placements (
    file_id bigint NOT NULL,
    placed_at timestamp with time zone NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE rail_files (
    id bigint GENERATED ALWAYS AS IDENTITY NOT NULL,
    rail text NOT NULL,
    sender text NOT NULL,
    created_on date NOT NULL,
    modifier text NOT NULL,
    name text NOT NULL,
    sha256 bytea NOT NULL,
    content bytea NOT NULL,
    closed_at timestamp with time zone NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE rail_trace_head (
    id smallint NOT NULL,
    last integer NOT NULL
);

CREATE TABLE recall_steps (
    settlement_id uuid NOT NULL,
    seq smallint NOT NULL,
    event text NOT NULL,
    state text NOT NULL,
    detail jsonb NOT NULL,
    at timestamp with time zone NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE reconciliation_accounts (
    account_id bigint NOT NULL,
    booked_until timestamp with time zone NOT NULL DEFAULT '-infinity'::timestamp with time zone,
    reconciled_on date,
    opening_minor numeric(38,0),
    begins date
) WITH (fillfactor=70);

CREATE TABLE reconciliation_cursor (
    is_only boolean NOT NULL DEFAULT true,
    "position" bigint NOT NULL
);

CREATE TABLE reconciliation_days (
    account_id bigint NOT NULL,
    day date NOT NULL,
    ours_minor numeric(38,0) NOT NULL DEFAULT 0,
    theirs_minor numeric(38,0) NOT NULL DEFAULT 0,
    matched_ours_minor numeric(38,0) NOT NULL DEFAULT 0,
    matched_theirs_minor numeric(38,0) NOT NULL DEFAULT 0,
    ours bigint NOT NULL DEFAULT 0,
    theirs bigint NOT NULL DEFAULT 0,
    matched_ours bigint NOT NULL DEFAULT 0,
    matched_theirs bigint NOT NULL DEFAULT 0
) WITH (fillfactor=70);

CREATE TABLE reconciliation_reports (
    run_id uuid NOT NULL,
    currency currency_code NOT NULL,
    report_date date,
    total_accounts integer NOT NULL,
    balanced_accounts integer NOT NULL,
    discrepancy_accounts integer NOT NULL,
    total_discrepancy_minor numeric(38,0) NOT NULL,
    details jsonb NOT NULL,
    created_at timestamp with time zone NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE reconciliation_run_ends (
    run_id uuid NOT NULL,
    result_hash bytea NOT NULL,
    matches bigint NOT NULL,
    ended_at timestamp with time zone NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE reconciliation_runs (
    id uuid NOT NULL,
    started_for text NOT NULL,
    who text NOT NULL,
    rules_version text NOT NULL,
    account_id bigint,
    bank text,
    currency text,
    business_date date,
    started_at timestamp with time zone NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE regulatory_reports (
    id bigint GENERATED ALWAYS AS IDENTITY NOT NULL,
    template text NOT NULL,
    template_version integer NOT NULL,
    template_content text NOT NULL,
    day date NOT NULL,
    begins timestamp with time zone NOT NULL,
    ends timestamp with time zone NOT NULL,
    as_of timestamp with time zone NOT NULL,
    version integer NOT NULL,
    institution_name text NOT NULL,
    institution_bic text NOT NULL,
    institution_lei text NOT NULL,
    reason text NOT NULL,
    rows integer NOT NULL,
    content bytea NOT NULL,
    sha256 bytea NOT NULL,
    made_by text NOT NULL,
    made_at timestamp with time zone NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE resolutions (
    id bigint GENERATED ALWAYS AS IDENTITY NOT NULL,
    settlement_id uuid NOT NULL,
    finding text NOT NULL,
    reason text NOT NULL,
    evidence_name text NOT NULL,
    evidence bytea NOT NULL,
    evidence_sha256 bytea NOT NULL,
    content_sha256 bytea NOT NULL,
    proposed_by text NOT NULL,
    proposed_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    state settlement_state NOT NULL,
    sends integer NOT NULL,
    decision text,
    decided_by text,
    decided_at timestamp with time zone,
    taken_up_at timestamp with time zone,
    finished_at timestamp with time zone,
    ending text
);

CREATE TABLE returns (
    settlement_id uuid NOT NULL,
    posting smallint NOT NULL,
    amount_minor bigint NOT NULL,
    charges_minor bigint NOT NULL,
    left_minor bigint NOT NULL,
    reference text NOT NULL,
    value_date date,
    at timestamp with time zone NOT NULL
);

CREATE TABLE schema_migrations (
    number integer NOT NULL,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
    compatible_from integer
);

CREATE TABLE set_aside_statements (
    statement_id bigint NOT NULL,
    account_id bigint NOT NULL,
    decision_id bigint NOT NULL
);

CREATE TABLE settlement_transactions (
    id uuid NOT NULL,
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
    seq integer NOT NULL,
    attempt smallint NOT NULL DEFAULT 0,
    holds_obligation boolean NOT NULL DEFAULT true,
    is_frozen boolean NOT NULL DEFAULT false,
    attestation attested,
    refusal_code text,
    refusal_detail jsonb,
    rail_reference text,
    confirmation text,
    created_at timestamp with time zone NOT NULL,
    ended_at timestamp with time zone,
    compensates uuid
) WITH (fillfactor=60);

CREATE TABLE settlement_windows (
    id bigint GENERATED ALWAYS AS IDENTITY NOT NULL,
    currency text NOT NULL,
    zone text NOT NULL,
    window_start time without time zone NOT NULL,
    window_end time without time zone NOT NULL,
    days_of_week smallint[] NOT NULL DEFAULT ARRAY[(1)::smallint, (2)::smallint, (3)::smallint, (4)::smallint, (5)::smallint],
    is_active boolean NOT NULL DEFAULT true,
    created_at timestamp with time zone NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE statement_days (
    statement_id bigint NOT NULL,
    day date NOT NULL,
    minor numeric(38,0) NOT NULL,
    entries integer NOT NULL,
    misdated integer NOT NULL
);

CREATE TABLE statement_decisions (
    id bigint GENERATED ALWAYS AS IDENTITY NOT NULL,
    proposal_id bigint NOT NULL,
    decision text NOT NULL,
    decided_by text NOT NULL,
    role text NOT NULL,
    signed_sha256 bytea,
    decided_at timestamp with time zone NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE statement_entries (
    statement_id bigint NOT NULL,
    number integer NOT NULL,
    amount_minor bigint NOT NULL,
    currency currency_code NOT NULL,
    status text NOT NULL,
    booking_date date,
    value_date date,
    is_reversal boolean NOT NULL,
    code text NOT NULL,
    text text NOT NULL,
    refs jsonb NOT NULL,
    details_differ boolean NOT NULL,
    identity_hash bytea NOT NULL,
    occurrence integer NOT NULL
);

CREATE TABLE statement_evidence (
    statement_id bigint NOT NULL,
    entry_number integer NOT NULL,
    detail_number integer NOT NULL,
    settlement_id uuid NOT NULL,
    attempt smallint NOT NULL,
    kind text NOT NULL,
    says text NOT NULL,
    amount_minor bigint NOT NULL,
    nth integer NOT NULL,
    is_counted boolean NOT NULL,
    is_news boolean NOT NULL,
    closed_by text NOT NULL DEFAULT ''::text,
    rules_version text NOT NULL DEFAULT ''::text
);

CREATE TABLE statement_files (
    sha256 bytea NOT NULL,
    name text NOT NULL,
    csv_mapping text NOT NULL,
    content bytea NOT NULL,
    received_by text NOT NULL,
    received_at timestamp with time zone NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE statement_proposal_statements (
    proposal_id bigint NOT NULL,
    statement_id bigint NOT NULL
);

CREATE TABLE statement_proposals (
    id bigint GENERATED ALWAYS AS IDENTITY NOT NULL,
    account_id bigint NOT NULL,
    change text NOT NULL,
    reason text NOT NULL,
    proposed_by text NOT NULL,
    content_sha256 bytea NOT NULL,
    proposed_at timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamp with time zone NOT NULL
);

CREATE TABLE statements (
    id bigint GENERATED ALWAYS AS IDENTITY NOT NULL,
    file_sha256 bytea NOT NULL,
    place text NOT NULL,
    outcome text NOT NULL,
    reason text NOT NULL,
    is_kept boolean NOT NULL,
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
    booked_minor numeric(38,0) NOT NULL,
    totals_differ boolean NOT NULL,
    entries integer NOT NULL,
    content_hash bytea,
    identity_hash bytea,
    period_hash bytea,
    content jsonb,
    imported_by text NOT NULL,
    imported_at timestamp with time zone NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE stream_head (
    is_only boolean NOT NULL DEFAULT true,
    "position" bigint NOT NULL,
    published bigint NOT NULL DEFAULT 0
) WITH (fillfactor=10, autovacuum_vacuum_scale_factor=0, autovacuum_vacuum_threshold=500, vacuum_truncate=false);

CREATE TABLE timing_entries (
    account_id bigint NOT NULL,
    span smallint NOT NULL,
    settled_on date NOT NULL,
    match_id bigint NOT NULL,
    statement_id bigint NOT NULL,
    entry_number integer NOT NULL,
    booked_on date NOT NULL
);

CREATE TABLE timing_postings (
    account_id bigint NOT NULL,
    span smallint NOT NULL,
    settled_on date NOT NULL,
    match_id bigint NOT NULL,
    group_id uuid NOT NULL,
    posting smallint NOT NULL,
    leg smallint NOT NULL,
    booked_on date NOT NULL
);

CREATE TABLE transfers (
    group_id uuid NOT NULL,
    leg smallint NOT NULL,
    debit_id bigint NOT NULL,
    credit_id bigint NOT NULL,
    amount_minor bigint NOT NULL,
    currency text NOT NULL,
    reference text NOT NULL DEFAULT ''::text,
    at timestamp with time zone NOT NULL,
    posting smallint NOT NULL DEFAULT 1
);

CREATE TABLE unmatches (
    match_id bigint NOT NULL,
    run_id uuid,
    who text NOT NULL,
    reason text NOT NULL,
    at timestamp with time zone NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE unread_entries (
    statement_id bigint NOT NULL,
    entry_number integer NOT NULL,
    detail_number integer NOT NULL,
    why text NOT NULL,
    since timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
    tried_at timestamp with time zone NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE unsearched_statements (
    statement_id bigint NOT NULL,
    after_entry integer NOT NULL DEFAULT 0,
    after_detail integer NOT NULL DEFAULT 0
);

CREATE TABLE waiting_dead_letters (
    dead_letter_id bigint NOT NULL,
    received_at timestamp with time zone NOT NULL
);

CREATE TABLE write_probe (
    at timestamp with time zone NOT NULL
);

CREATE OR REPLACE FUNCTION public.admit_compensation()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
DECLARE
    v_compensated settlement_transactions;
BEGIN
    SELECT * INTO v_compensated FROM settlement_transactions WHERE id = new.compensates FOR UPDATE;
    IF v_compensated.id IS NULL
        OR folded_bank(new.from_bank) <> folded_bank(v_compensated.to_bank)
        OR folded_bank(new.to_bank) <> folded_bank(v_compensated.from_bank)
        OR new.currency <> v_compensated.currency
    THEN
        RAISE EXCEPTION 'settlement % does not pay back what % has paid', new.id, new.compensates
        USING ERRCODE = 'check_violation', CONSTRAINT = 'compensation_pays_back';
    END IF;
    IF new.amount_minor > coalesce(compensable_minor(new.compensates), 0)
        OR (SELECT count(*) FROM settlement_transactions WHERE compensates = new.compensates) >= 100
    THEN
        RETURN NULL;
    END IF;
    RETURN new;
END $function$;

CREATE OR REPLACE FUNCTION public.admit_settlements(p_owner bigint, p_id uuid[], p_key_hash uuid[], p_caller text[], p_key text[], p_content_hash bytea[], p_obligation text[], p_from text[], p_to text[], p_amount bigint[], p_currency text[], p_value_date date[], p_priority smallint[], p_metadata text[], OUT at timestamp with time zone, OUT verdicts smallint[], OUT ids uuid[])
 RETURNS record
 LANGUAGE plpgsql
AS $function$
DECLARE
    v_new uuid[];
BEGIN
    at := clock_timestamp();
    WITH written AS (
        INSERT INTO settlement_transactions (
            id, key_hash, caller, idempotency_key, content_hash, obligation_id, from_bank, to_bank,
            amount_minor, currency, requested_value_date, value_date, priority, metadata, state, seq,
            created_at
        )
        SELECT p_id[g.i], p_key_hash[g.i], p_caller[g.i], p_key[g.i], p_content_hash[g.i],
            p_obligation[g.i], p_from[g.i], p_to[g.i], p_amount[g.i], p_currency[g.i],
            p_value_date[g.i], coalesce(p_value_date[g.i], (at AT TIME ZONE 'UTC')::date),
            p_priority[g.i], p_metadata[g.i]::jsonb, 'validating', 1, at
        FROM generate_series(1, cardinality(p_id)) AS g (i)
        ORDER BY p_key_hash[g.i], g.i  -- The first of a batch has the key.
        ON CONFLICT DO NOTHING
        RETURNING id
    )
    SELECT coalesce(array_agg(id), '{}') INTO v_new FROM written;

    IF cardinality(v_new) > 0 THEN
        INSERT INTO open_settlements (settlement_id, owner, epoch, due_at)
        SELECT id, p_owner, 1, at FROM unnest(v_new) AS n (id);
        WITH head AS (
            UPDATE stream_head SET position = position + cardinality(v_new)
            RETURNING position - cardinality(v_new) AS last
        )
        INSERT INTO moves (
            position, settlement_id, seq, from_state, event, to_state, at, epoch, attempt
        )
        SELECT h.last + n.ord, n.id, 1, 'pending', 'admitted', 'validating', at, 1, 0
        FROM head AS h, unnest(v_new) WITH ORDINALITY AS n (id, ord);
    END IF;
    IF cardinality(v_new) = cardinality(p_id) THEN
        RETURN;  -- The usual case: no verdicts means that all are accepted.
    END IF;
    IF cardinality(v_new) = 0 THEN
        -- A replay writes nothing, so that nothing would wait for the standby: and what it finds may not
        -- have got there. It waits by a commit of its own.
        PERFORM pg_logical_emit_message(true, 'settlement-engine', 'replay');
    END IF;
    SELECT
        array_agg((CASE
            WHEN n.id IS NOT NULL THEN 0
            WHEN k.content_hash = q.content_hash THEN 1
            WHEN k.id IS NOT NULL THEN 2
            WHEN o.id IS NOT NULL THEN 3
            ELSE 4
        END)::smallint ORDER BY q.ord),
        array_agg(coalesce(n.id, k.id, o.id) ORDER BY q.ord)
    INTO verdicts, ids
    FROM unnest(p_id, p_key_hash, p_content_hash, p_obligation)
        WITH ORDINALITY AS q (id, key_hash, content_hash, obligation, ord)
    LEFT JOIN unnest(v_new) AS n (id) ON n.id = q.id
    LEFT JOIN settlement_transactions AS k ON k.key_hash = q.key_hash
    LEFT JOIN settlement_transactions AS o ON o.obligation_id = q.obligation AND o.holds_obligation;
END $function$;

CREATE OR REPLACE FUNCTION public.admit_settlements_2(p_owner bigint, p_id uuid[], p_key_hash uuid[], p_caller text[], p_key text[], p_content_hash bytea[], p_obligation text[], p_from text[], p_to text[], p_amount bigint[], p_currency text[], p_value_date date[], p_priority smallint[], p_metadata text[], p_said_of integer[], p_payment text[], p_rail text[], p_delivery text[], OUT at timestamp with time zone, OUT verdicts smallint[], OUT ids uuid[])
 RETURNS record
 LANGUAGE plpgsql
AS $function$
DECLARE
    v_new uuid[];
BEGIN
    at := clock_timestamp();
    WITH written AS (
        INSERT INTO settlement_transactions (
            id, key_hash, caller, idempotency_key, content_hash, obligation_id, from_bank, to_bank,
            amount_minor, currency, requested_value_date, value_date, priority, metadata, state, seq,
            created_at
        )
        SELECT p_id[g.i], p_key_hash[g.i], p_caller[g.i], p_key[g.i], p_content_hash[g.i],
            p_obligation[g.i], p_from[g.i], p_to[g.i], p_amount[g.i], p_currency[g.i],
            p_value_date[g.i], coalesce(p_value_date[g.i], (at AT TIME ZONE 'UTC')::date),
            p_priority[g.i], p_metadata[g.i]::jsonb, 'validating', 1, at
        FROM generate_series(1, cardinality(p_id)) AS g (i)
        ORDER BY p_key_hash[g.i], g.i  -- The first of a batch has the key.
        ON CONFLICT DO NOTHING
        RETURNING id
    )
    SELECT coalesce(array_agg(id), '{}') INTO v_new FROM written;

    IF cardinality(v_new) > 0 THEN
        INSERT INTO open_settlements (settlement_id, owner, epoch, due_at)
        SELECT id, p_owner, 1, at FROM unnest(v_new) AS n (id);
        IF cardinality(p_said_of) > 0 THEN
            INSERT INTO payment_details (settlement_id, payment, rail, delivery)
            SELECT p_id[p_said_of[q.i]], p_payment[q.i]::jsonb, p_rail[q.i], p_delivery[q.i]::delivery
            FROM generate_series(1, cardinality(p_said_of)) AS q (i)
            WHERE p_id[p_said_of[q.i]] = ANY (v_new);
        END IF;
        WITH head AS (
            UPDATE stream_head SET position = position + cardinality(v_new)
            RETURNING position - cardinality(v_new) AS last
        )
        INSERT INTO moves (
            position, settlement_id, seq, from_state, event, to_state, at, epoch, attempt
        )
        SELECT h.last + n.ord, n.id, 1, 'pending', 'admitted', 'validating', at, 1, 0
        FROM head AS h, unnest(v_new) WITH ORDINALITY AS n (id, ord);
    END IF;
    IF cardinality(v_new) = cardinality(p_id) THEN
        RETURN;  -- The usual case: no verdicts means that all are accepted.
    END IF;
    IF cardinality(v_new) = 0 THEN
        -- A replay writes nothing, so that nothing would wait for the standby: and what it finds may not
        -- have got there. It waits by a commit of its own.
        PERFORM pg_logical_emit_message(true, 'settlement-engine', 'replay');
    END IF;
    SELECT
        array_agg((CASE
            WHEN n.id IS NOT NULL THEN 0
            WHEN k.content_hash = q.content_hash THEN 1
            WHEN k.id IS NOT NULL THEN 2
            WHEN o.id IS NOT NULL THEN 3
            ELSE 4
        END)::smallint ORDER BY q.ord),
        array_agg(coalesce(n.id, k.id, o.id) ORDER BY q.ord)
    INTO verdicts, ids
    FROM unnest(p_id, p_key_hash, p_content_hash, p_obligation)
        WITH ORDINALITY AS q (id, key_hash, content_hash, obligation, ord)
    LEFT JOIN unnest(v_new) AS n (id) ON n.id = q.id
    LEFT JOIN settlement_transactions AS k ON k.key_hash = q.key_hash
    LEFT JOIN settlement_transactions AS o ON o.obligation_id = q.obligation AND o.holds_obligation;
END $function$;

CREATE OR REPLACE FUNCTION public.admit_settlements_3(p_owner bigint, p_id uuid[], p_key_hash uuid[], p_caller text[], p_key text[], p_content_hash bytea[], p_obligation text[], p_from text[], p_to text[], p_amount bigint[], p_currency text[], p_value_date date[], p_priority smallint[], p_metadata text[], p_said_of integer[], p_payment text[], p_rail text[], p_delivery text[], p_compensation integer[], p_compensates uuid[], OUT at timestamp with time zone, OUT verdicts smallint[], OUT ids uuid[])
 RETURNS record
 LANGUAGE plpgsql
AS $function$
DECLARE
    v_new uuid[];
    v_compensates uuid[];  -- By instruction; NULL if there is no compensation.
BEGIN
    IF cardinality(p_compensation) > 0 THEN
        -- Locked in sorted order. What has not completed is not locked: a batch of transitions may be at it.
        PERFORM 1 FROM settlement_transactions WHERE id = ANY (p_compensates) AND state = 'completed'
        ORDER BY id FOR UPDATE;
        v_compensates := array_fill(NULL::uuid, ARRAY[cardinality(p_id)]);
        FOR v_i IN 1..cardinality(p_compensation) LOOP
            v_compensates[p_compensation[v_i]] := p_compensates[v_i];
        END LOOP;
    END IF;
    at := clock_timestamp();
    WITH written AS (
        INSERT INTO settlement_transactions (
            id, key_hash, caller, idempotency_key, content_hash, obligation_id, from_bank, to_bank,
            amount_minor, currency, requested_value_date, value_date, priority, metadata, state, seq,
            created_at, compensates
        )
        SELECT p_id[g.i], p_key_hash[g.i], p_caller[g.i], p_key[g.i], p_content_hash[g.i],
            p_obligation[g.i], p_from[g.i], p_to[g.i], p_amount[g.i], p_currency[g.i],
            p_value_date[g.i], coalesce(p_value_date[g.i], (at AT TIME ZONE 'UTC')::date),
            p_priority[g.i], p_metadata[g.i]::jsonb, 'validating', 1, at,
            v_compensates[g.i]
        FROM generate_series(1, cardinality(p_id)) AS g (i)
        ORDER BY p_key_hash[g.i], g.i  -- The first of a batch has the key.
        ON CONFLICT DO NOTHING
        RETURNING id
    )
    SELECT coalesce(array_agg(id), '{}') INTO v_new FROM written;

    IF cardinality(v_new) > 0 THEN
        INSERT INTO open_settlements (settlement_id, owner, epoch, due_at)
        SELECT id, p_owner, 1, at FROM unnest(v_new) AS n (id);
        IF cardinality(p_said_of) > 0 THEN
            INSERT INTO payment_details (settlement_id, payment, rail, delivery)
            SELECT p_id[p_said_of[q.i]], p_payment[q.i]::jsonb, p_rail[q.i], p_delivery[q.i]::delivery
            FROM generate_series(1, cardinality(p_said_of)) AS q (i)
            WHERE p_id[p_said_of[q.i]] = ANY (v_new);
        END IF;
        WITH head AS (
            UPDATE stream_head SET position = position + cardinality(v_new)
            RETURNING position - cardinality(v_new) AS last
        )
        INSERT INTO moves (
            position, settlement_id, seq, from_state, event, to_state, at, epoch, attempt
        )
        SELECT h.last + n.ord, n.id, 1, 'pending', 'admitted', 'validating', at, 1, 0
        FROM head AS h, unnest(v_new) WITH ORDINALITY AS n (id, ord);
    END IF;
    IF cardinality(v_new) = cardinality(p_id) THEN
        RETURN;  -- The usual case: no verdicts means that all are accepted.
    END IF;
    IF cardinality(v_new) = 0 THEN
        -- A replay writes nothing, so that nothing would wait for the standby: and what it finds may not
        -- have got there. It waits by a commit of its own.
        PERFORM pg_logical_emit_message(true, 'settlement-engine', 'replay');
    END IF;
    SELECT
        array_agg((CASE
            WHEN n.id IS NOT NULL THEN 0
            WHEN k.content_hash = q.content_hash THEN 1
            WHEN k.id IS NOT NULL THEN 2
            WHEN o.id IS NOT NULL THEN 3
            WHEN v_compensates[q.ord] IS NOT NULL THEN 5
            ELSE 4
        END)::smallint ORDER BY q.ord),
        array_agg(coalesce(n.id, k.id, o.id, v_compensates[q.ord]) ORDER BY q.ord)
    INTO verdicts, ids
    FROM unnest(p_id, p_key_hash, p_content_hash, p_obligation)
        WITH ORDINALITY AS q (id, key_hash, content_hash, obligation, ord)
    LEFT JOIN unnest(v_new) AS n (id) ON n.id = q.id
    LEFT JOIN settlement_transactions AS k ON k.key_hash = q.key_hash
    LEFT JOIN settlement_transactions AS o ON o.obligation_id = q.obligation AND o.holds_obligation;
END $function$;

CREATE OR REPLACE FUNCTION public.answer_fingerprint(seq integer, attempt smallint, state settlement_state, event settlement_event, detail jsonb)
 RETURNS uuid
 LANGUAGE sql
 STABLE PARALLEL SAFE
AS $function$
    SELECT md5(concat_ws('/', seq, attempt, state, event, detail))::uuid
$function$;

CREATE OR REPLACE FUNCTION public.apply_steps(p_owner bigint, p_accounts bigint[], p_id uuid[], p_seq integer[], p_epoch bigint[], p_from text[], p_event text[], p_to text[], p_do text[], p_is_move boolean[], p_attempt smallint[], p_rest_seconds double precision[], p_detail text[], p_refusal_code text[], p_refusal_detail text[], p_rail_reference text[], p_confirmation text[], p_lock_step integer[], p_lock_attempt smallint[], p_lock_rail text[], p_lock_source bigint[], p_lock_agent bigint[], p_lock_clearing bigint[], p_lock_target bigint[], p_lock_uetr uuid[], p_lock_end_to_end text[], p_lock_message text[], p_lock_payload bytea[], p_lock_valid_until timestamp with time zone[], p_lock_amount bigint[], p_lock_currency text[], p_lock_opens timestamp with time zone[], p_lock_closes timestamp with time zone[], p_transfer_step integer[], p_transfer_leg smallint[], p_transfer_debit bigint[], p_transfer_credit bigint[], p_transfer_amount bigint[], p_transfer_currency text[], OUT at timestamp with time zone, OUT results smallint[], OUT available bigint[])
 RETURNS record
 LANGUAGE plpgsql
AS $function$
DECLARE
    r record;
    v_account bigint := 0;
    v_left numeric := 0;
    v_limit bigint := 0;
    v_full bigint[];  -- Accounts that have no room for what is still to come.
    v_has_full boolean := false;
    v_applied integer[];  -- The numbers of the steps that pass all guards,
    v_moved integer[];  -- and of those among them that are moves.
    v_resolving integer[];  -- Of those that resolve a hold,
    v_held_on bigint[];  -- the account that each hold was on,
    v_held bigint[];  -- and how much.
    v_missing bigint;
    v_has_locks boolean := cardinality(p_lock_step) > 0;
    v_has_transfers boolean := cardinality(p_transfer_step) > 0;
    v_has_quiet boolean := false = ANY (p_is_move);
    v_is_asking boolean := p_to && '{sent,in_doubt,recalling}' OR 'in_doubt' = ANY (p_from);
    v_has_odd_owners boolean;
    v_has_returns boolean := p_event && '{returned,partly_returned,uncovered,partly_uncovered}';
BEGIN
    PERFORM 1 FROM open_settlements WHERE settlement_id = ANY (p_id)
    ORDER BY settlement_id FOR UPDATE;
    IF p_do && '{except,reverse,suspend}' THEN
        PERFORM 1 FROM settlement_transactions WHERE id = ANY (p_id) ORDER BY id FOR UPDATE;
    END IF;
    PERFORM 1 FROM accounts WHERE id = ANY (p_accounts) ORDER BY id FOR NO KEY UPDATE;
    at := clock_timestamp();

    -- Is what the caller believes still true? A resting settlement is anybody's; an ended one has no
    -- owner and no epoch.
    SELECT bool_or(w.asked <> 0 OR w.owner <> p_owner), array_agg((CASE
        WHEN s.state IS DISTINCT FROM p_from[g.i]::settlement_state OR s.seq <> p_seq[g.i] THEN 1
        WHEN w.owner IN (p_owner, 0) AND w.epoch = p_epoch[g.i] THEN 0
        WHEN s.ended_at IS NOT NULL AND w.owner IS NULL THEN 0
        ELSE 1
    END)::smallint ORDER BY g.i)
    INTO v_has_odd_owners, results
    FROM generate_series(1, cardinality(p_id)) AS g (i)
    LEFT JOIN settlement_transactions AS s ON s.id = p_id[g.i]
    LEFT JOIN open_settlements AS w ON w.settlement_id = p_id[g.i];

    -- Each sending is proved undelivered once at most: what rests, or was proved as often as it was
    -- sent, has no sending that the word could be about. Giving up takes the proof of every one of them.
    IF p_event && '{abandoned,undelivered}' THEN
        FOR r IN
            SELECT q.ord FROM unnest(p_id, p_event) WITH ORDINALITY AS q (id, event, ord)
            JOIN settlement_transactions AS s ON s.id = q.id
            JOIN attempts AS a ON a.settlement_id = s.id AND a.number = s.attempt
            JOIN open_settlements AS w ON w.settlement_id = s.id
            WHERE (q.event = 'abandoned' AND a.sends <> a.undelivered + 1)
                OR (q.event = 'undelivered' AND (w.owner = 0 OR a.undelivered >= a.sends))
        LOOP
            results[r.ord] := 1;
        END LOOP;
    END IF;

    -- Once the bank has paid it must be possible to post: who is full holds nothing more. Between this
    -- bound and that of the type there is room for whatever is held already.
    IF v_has_locks THEN
        v_full := ARRAY(
            SELECT a.id FROM accounts AS a
            WHERE a.id = ANY (p_lock_source || p_lock_agent || p_lock_clearing || p_lock_target)
                AND greatest(a.debits_posted, a.credits_posted) >= 1e36
        );
        v_has_full := v_full <> '{}';
    END IF;

    -- Holds are granted in the order of the batch, as far as the funds of each account go.
    FOR r IN
        SELECT l.i, p_lock_step[l.i] AS step, p_lock_source[l.i] AS source, p_lock_amount[l.i] AS amount,
            p_lock_opens[l.i] AS opens, p_lock_closes[l.i] AS closes,
            s.is_active AND t.is_active AS active,
            s.debits_posted - s.credits_posted - s.held AS room, s.credit_limit
        FROM generate_series(1, cardinality(p_lock_step)) AS l (i)
        LEFT JOIN accounts AS s ON s.id = p_lock_source[l.i]
        LEFT JOIN accounts AS t ON t.id = p_lock_target[l.i]
        WHERE v_has_locks
        ORDER BY p_lock_source[l.i], p_lock_step[l.i]
    LOOP
        IF r.source <> v_account THEN
            v_account := r.source;
            v_left := r.room;
            v_limit := r.credit_limit;
        END IF;
        CONTINUE WHEN results[r.step] <> 0;
        IF r.active IS NOT TRUE THEN
            results[r.step] := 3;
        ELSIF v_has_full AND v_full && ARRAY[
            r.source, p_lock_agent[r.i], p_lock_clearing[r.i], p_lock_target[r.i]
        ] THEN
            results[r.step] := 5;
        ELSIF at < r.opens OR at >= r.closes THEN
            results[r.step] := 4;
        ELSIF r.amount > v_left + v_limit THEN
            results[r.step] := 2;
            available := coalesce(available, array_fill(0::bigint, ARRAY[cardinality(p_id)]));
            available[r.step] := v_left;
        ELSE
            v_left := v_left - r.amount;
        END IF;
    END LOOP;

    -- A return is taken from the receiver's account as far as that goes. Otherwise it goes to suspense.
    IF 'reverse' = ANY (p_do) THEN
        v_account := 0;
        FOR r IN
            SELECT t.step, t.debit, t.amount, a.credit_limit,
                a.credits_posted - a.debits_posted - a.held AS room
            FROM unnest(p_transfer_step, p_transfer_debit, p_transfer_amount)
                AS t (step, debit, amount)
            JOIN accounts AS a ON a.id = t.debit AND a.kind = 'vostro'
            WHERE p_do[t.step] = 'reverse'
            ORDER BY t.debit, t.step
        LOOP
            IF r.debit <> v_account THEN
                v_account := r.debit;
                v_left := r.room;
            END IF;
            CONTINUE WHEN results[r.step] <> 0;
            IF r.amount > v_left + r.credit_limit THEN
                results[r.step] := 2;
                available := coalesce(available, array_fill(0::bigint, ARRAY[cardinality(p_id)]));
                available[r.step] := v_left;
            ELSE
                v_left := v_left - r.amount;
            END IF;
        END LOOP;
    END IF;

    -- The same contradiction twice is one exception; what goes to suspense goes there once, whatever is said.
    IF p_do && '{except,suspend}' THEN
        FOR r IN
            SELECT q.id, coalesce(q.detail, '{}')::jsonb AS detail, q.do_, q.event, q.ord
            FROM unnest(p_id, p_do, p_event, p_detail, results)
                WITH ORDINALITY AS q (id, do_, event, detail, result, ord)
            WHERE q.do_ IN ('except', 'suspend') AND q.result = 0 ORDER BY q.ord
        LOOP
            INSERT INTO exceptions (settlement_id, kind, fingerprint, detail, opened_at)
            VALUES (
                r.id, coalesce(r.detail ->> 'exception', 'contradiction'),
                CASE WHEN r.do_ = 'suspend' AND r.event <> 'partly_uncovered' THEN r.event
                    ELSE md5(r.detail::text) END,
                r.detail, at
            )
            ON CONFLICT DO NOTHING;
            IF NOT found THEN
                results[r.ord] := 1;
            END IF;
        END LOOP;
    END IF;

    v_applied := array_positions(results, 0::smallint);
    v_moved := v_applied;
    IF v_has_quiet THEN
        v_moved := ARRAY(
            SELECT g.i FROM unnest(v_applied) AS g (i) WHERE p_is_move[g.i] ORDER BY g.i
        );
    END IF;

    UPDATE settlement_transactions AS s SET
        state = p_to[g.i]::settlement_state,
        seq = s.seq + 1,
        attempt = p_attempt[g.i],
        ended_at = CASE
            WHEN p_to[g.i] IN ('completed', 'failed', 'rolled_back', 'returned')
            THEN coalesce(s.ended_at, at)
        END,
        holds_obligation = p_to[g.i] NOT IN ('failed', 'rolled_back', 'returned'),
        is_frozen = s.is_frozen OR coalesce(p_do[g.i] IN ('except', 'suspend'), false),
        refusal_code = coalesce(p_refusal_code[g.i], s.refusal_code),
        refusal_detail = coalesce(p_refusal_detail[g.i]::jsonb, s.refusal_detail),
        rail_reference = coalesce(p_rail_reference[g.i], s.rail_reference),
        confirmation = coalesce(p_confirmation[g.i], s.confirmation)
    FROM unnest(v_moved) AS g (i)
    WHERE s.id = p_id[g.i];

    IF p_event && '{attested_settled,attested_not_settled,disproved}' THEN
        UPDATE settlement_transactions AS s SET
            attestation = CASE p_event[g.i] WHEN 'disproved' THEN 'disproved' ELSE 'stands' END
        FROM unnest(v_applied) AS g (i)
        WHERE s.id = p_id[g.i]
            AND p_event[g.i] IN ('attested_settled', 'attested_not_settled', 'disproved');
    END IF;
    IF p_to && '{completed,failed,rolled_back,returned}' THEN
        DELETE FROM open_settlements AS w USING unnest(v_applied) AS g (i)
        WHERE w.settlement_id = p_id[g.i]
            AND p_to[g.i] IN ('completed', 'failed', 'rolled_back', 'returned');
    END IF;
    IF v_has_odd_owners OR v_has_quiet OR v_is_asking OR array_remove(p_rest_seconds, NULL) <> '{}' THEN
        UPDATE open_settlements AS w SET
            owner = CASE WHEN p_rest_seconds[g.i] IS NULL THEN p_owner ELSE 0 END,
            -- Beyond the send intent the questions about a payment are counted together.
            asked = CASE
                WHEN p_do[g.i] IS DISTINCT FROM 'lock' AND (
                    NOT p_is_move[g.i] OR p_to[g.i] IN ('locked', 'in_doubt', 'sent', 'recalling')
                )
                THEN w.asked + 1
                ELSE 0
            END,
            due_at = CASE
                WHEN p_rest_seconds[g.i] IS NULL THEN w.due_at
                WHEN p_rest_seconds[g.i] = 'infinity' THEN 'infinity'
                ELSE at + make_interval(secs => p_rest_seconds[g.i])
            END
        FROM unnest(v_applied) AS g (i)
        WHERE w.settlement_id = p_id[g.i];
    END IF;

    IF v_has_locks THEN
        INSERT INTO attempts (
            settlement_id, number, rail, source_id, agent_id, clearing_id, target_id, uetr,
            end_to_end_id, message_id, payload, valid_until, recorded_at
        )
        SELECT p_id[p_lock_step[l.i]], p_lock_attempt[l.i], p_lock_rail[l.i], p_lock_source[l.i],
            p_lock_agent[l.i], p_lock_clearing[l.i], p_lock_target[l.i], p_lock_uetr[l.i],
            p_lock_end_to_end[l.i], p_lock_message[l.i], p_lock_payload[l.i],
            p_lock_valid_until[l.i], at
        FROM generate_series(1, cardinality(p_lock_step)) AS l (i)
        WHERE results[p_lock_step[l.i]] = 0;
        INSERT INTO fund_locks (settlement_id, account_id, amount_minor, currency, locked_at)
        SELECT p_id[p_lock_step[l.i]], p_lock_source[l.i], p_lock_amount[l.i], p_lock_currency[l.i], at
        FROM generate_series(1, cardinality(p_lock_step)) AS l (i)
        WHERE results[p_lock_step[l.i]] = 0;
    END IF;
    IF 'not_found' = ANY (p_event) OR 'undelivered' = ANY (p_event) THEN
        UPDATE attempts AS a SET
            sends = a.sends + (p_event[g.i] = 'not_found')::int,
            undelivered = a.undelivered + (p_event[g.i] = 'undelivered')::int
        FROM unnest(v_applied) AS g (i)
        JOIN settlement_transactions AS s ON s.id = p_id[g.i]
        WHERE a.settlement_id = p_id[g.i] AND a.number = s.attempt
            AND p_to[g.i] = 'locked' AND p_event[g.i] IN ('not_found', 'undelivered');
    END IF;

    -- Money: the holds that end, the transfers, and then every account that is touched, once, however
    -- many settlements touch it.
    IF p_do && '{post,release}' THEN
        v_resolving := ARRAY(
            SELECT g.i FROM unnest(v_applied) AS g (i) WHERE p_do[g.i] IN ('post', 'release')
        );
        WITH resolved AS (
            UPDATE fund_locks AS f SET
                resolved_at = at,
                outcome = CASE p_do[g.i] WHEN 'post' THEN 'posted' ELSE 'released' END
            FROM unnest(v_resolving) AS g (i)
            WHERE f.settlement_id = p_id[g.i]
            RETURNING f.account_id, f.amount_minor
        )
        SELECT array_agg(account_id), array_agg(amount_minor) INTO v_held_on, v_held FROM resolved;
        IF coalesce(cardinality(v_held), 0) <> cardinality(v_resolving) THEN
            RAISE EXCEPTION '% holds to resolve, % found', cardinality(v_resolving),
                coalesce(cardinality(v_held), 0) USING ERRCODE = 'SE005';
        END IF;
    END IF;
    IF v_has_returns THEN
        -- A return of more than is left breaks the table's CHECK, one under a known reference its index.
        INSERT INTO returns (
            settlement_id, posting, amount_minor, charges_minor, left_minor, reference, value_date, at
        )
        SELECT s.id, (q.said ->> 'posting')::smallint, (q.said ->> 'amount_minor')::bigint,
            coalesce((q.said ->> 'charges_minor')::bigint, 0),
            s.amount_minor - coalesce(b.total, 0) - (q.said ->> 'amount_minor')::bigint
                - coalesce((q.said ->> 'charges_minor')::bigint, 0),
            coalesce(q.said ->> 'return_reference', ''), (q.said ->> 'value_date')::date, at
        FROM (
            SELECT p_id[g.i] AS id, p_detail[g.i]::jsonb AS said FROM unnest(v_applied) AS g (i)
            WHERE p_event[g.i] IN ('returned', 'partly_returned', 'uncovered', 'partly_uncovered')
        ) AS q
        JOIN settlement_transactions AS s ON s.id = q.id
        LEFT JOIN LATERAL (
            SELECT sum(k.amount_minor + k.charges_minor) AS total FROM returns AS k
            WHERE k.settlement_id = s.id
        ) AS b ON true;
        SELECT count(*) INTO v_missing
        FROM unnest(v_applied) AS g (i)
        JOIN returns AS b ON b.settlement_id = p_id[g.i]
            AND b.posting = (p_detail[g.i]::jsonb ->> 'posting')::smallint
        WHERE p_event[g.i] IN ('returned', 'partly_returned', 'uncovered', 'partly_uncovered')
            AND (b.left_minor = 0) <> (p_to[g.i] = 'returned');
        IF v_missing > 0 THEN
            RAISE EXCEPTION '% returns whose states do not go with what is left', v_missing
            USING ERRCODE = 'SE007';
        END IF;
    END IF;
    IF v_has_transfers THEN
        INSERT INTO transfers (
            group_id, posting, leg, debit_id, credit_id, amount_minor, currency, at
        )
        SELECT p_id[p_transfer_step[t.i]],
            CASE WHEN v_has_returns AND p_event[p_transfer_step[t.i]] IN (
                'returned', 'partly_returned', 'uncovered', 'partly_uncovered'
            ) THEN (p_detail[p_transfer_step[t.i]]::jsonb ->> 'posting')::smallint ELSE 1 END,
            p_transfer_leg[t.i], p_transfer_debit[t.i],
            p_transfer_credit[t.i], p_transfer_amount[t.i], p_transfer_currency[t.i], at
        FROM generate_series(1, cardinality(p_transfer_step)) AS t (i)
        WHERE results[p_transfer_step[t.i]] = 0;
    END IF;
    IF v_has_locks OR v_has_transfers OR v_held IS NOT NULL THEN
        WITH changes AS (
            SELECT p_transfer_debit[t.i] AS id, p_transfer_amount[t.i] AS debits, 0::bigint AS credits,
                0::bigint AS held
            FROM generate_series(1, cardinality(p_transfer_step)) AS t (i)
            WHERE results[p_transfer_step[t.i]] = 0
            UNION ALL SELECT p_transfer_credit[t.i], 0, p_transfer_amount[t.i], 0
            FROM generate_series(1, cardinality(p_transfer_step)) AS t (i)
            WHERE results[p_transfer_step[t.i]] = 0
            UNION ALL SELECT v_held_on[f.i], 0, 0, -v_held[f.i]
            FROM generate_series(1, cardinality(v_held)) AS f (i)
            UNION ALL SELECT p_lock_source[l.i], 0, 0, p_lock_amount[l.i]
            FROM generate_series(1, cardinality(p_lock_step)) AS l (i)
            WHERE results[p_lock_step[l.i]] = 0
        ), totals AS (
            SELECT id, sum(debits) AS debits, sum(credits) AS credits, sum(held) AS held
            FROM changes GROUP BY id
        ), applied AS (
            UPDATE accounts AS a SET
                debits_posted = a.debits_posted + c.debits,
                credits_posted = a.credits_posted + c.credits,
                held = a.held + c.held
            FROM totals AS c WHERE a.id = c.id
            RETURNING a.id
        )
        SELECT (SELECT count(*) FROM totals) - (SELECT count(*) FROM applied) INTO v_missing;
        IF v_missing > 0 THEN
            RAISE EXCEPTION '% accounts do not exist', v_missing USING ERRCODE = 'SE006';
        END IF;
    END IF;

    IF v_has_quiet THEN
        INSERT INTO answers AS n (
            settlement_id, attempt, state, event, asked, detail, at, last_at, fingerprint
        )
        SELECT q.id, q.attempt, q.state, q.event, q.asked, q.detail, apply_steps.at, apply_steps.at,
            answer_fingerprint(q.seq, q.attempt, q.state, q.event, q.detail)
        FROM (
            SELECT p_id[g.i] AS id, p_seq[g.i] AS seq, p_attempt[g.i] AS attempt,
                p_to[g.i]::settlement_state AS state, p_event[g.i]::settlement_event AS event,
                coalesce(w.asked, 0) AS asked,
                -- A bank that words each answer differently has its words kept so often, and no more.
                CASE WHEN p_detail[g.i] IS NOT NULL AND NOT EXISTS (
                    SELECT 1 FROM answers AS o WHERE o.settlement_id = p_id[g.i] OFFSET 99
                ) THEN p_detail[g.i]::jsonb END AS detail
            FROM unnest(v_applied) AS g (i)
            LEFT JOIN open_settlements AS w ON w.settlement_id = p_id[g.i]
            WHERE NOT p_is_move[g.i]
        ) AS q
        ON CONFLICT (settlement_id, fingerprint) DO UPDATE SET
            times = n.times + 1, asked = excluded.asked,
            last_at = greatest(n.last_at, excluded.last_at);
    END IF;

    IF cardinality(v_moved) > 0 THEN
        WITH head AS (
            UPDATE stream_head SET position = position + cardinality(v_moved)
            RETURNING position - cardinality(v_moved) AS last
        )
        INSERT INTO moves (
            position, settlement_id, seq, from_state, event, to_state, at, epoch, attempt, detail
        )
        SELECT h.last + g.nth, p_id[g.i], p_seq[g.i] + 1, p_from[g.i]::settlement_state,
            p_event[g.i]::settlement_event, p_to[g.i]::settlement_state, apply_steps.at,
            p_epoch[g.i], p_attempt[g.i], p_detail[g.i]::jsonb
        FROM head AS h, unnest(v_moved) WITH ORDINALITY AS g (i, nth);
    END IF;
END $function$;

CREATE OR REPLACE FUNCTION public.apply_steps_2(p_owner bigint, p_accounts bigint[], p_id uuid[], p_seq integer[], p_epoch bigint[], p_from text[], p_event text[], p_to text[], p_do text[], p_is_move boolean[], p_attempt smallint[], p_rest_seconds double precision[], p_detail text[], p_refusal_code text[], p_refusal_detail text[], p_rail_reference text[], p_confirmation text[], p_lock_step integer[], p_lock_attempt smallint[], p_lock_rail text[], p_lock_source bigint[], p_lock_agent bigint[], p_lock_clearing bigint[], p_lock_target bigint[], p_lock_uetr uuid[], p_lock_end_to_end text[], p_lock_message text[], p_lock_trace text[], p_lock_payload bytea[], p_lock_valid_until timestamp with time zone[], p_lock_delivery text[], p_lock_amount bigint[], p_lock_currency text[], p_lock_opens timestamp with time zone[], p_lock_closes timestamp with time zone[], p_transfer_step integer[], p_transfer_leg smallint[], p_transfer_debit bigint[], p_transfer_credit bigint[], p_transfer_amount bigint[], p_transfer_currency text[], OUT at timestamp with time zone, OUT results smallint[], OUT available bigint[])
 RETURNS record
 LANGUAGE plpgsql
AS $function$
DECLARE
    r record;
    v_account bigint := 0;
    v_left numeric := 0;
    v_limit bigint := 0;
    v_full bigint[];  -- Accounts that have no room for what is still to come.
    v_has_full boolean := false;
    v_applied integer[];  -- The numbers of the steps that pass all guards,
    v_moved integer[];  -- and of those among them that are moves.
    v_resolving integer[];  -- Of those that resolve a hold,
    v_held_on bigint[];  -- the account that each hold was on,
    v_held bigint[];  -- and how much.
    v_missing bigint;
    v_has_locks boolean := cardinality(p_lock_step) > 0;
    v_has_transfers boolean := cardinality(p_transfer_step) > 0;
    v_has_quiet boolean := false = ANY (p_is_move);
    v_is_asking boolean := p_to && '{sent,in_doubt,recalling}' OR 'in_doubt' = ANY (p_from);
    v_has_odd_owners boolean;
    v_has_returns boolean := p_event && '{returned,partly_returned,uncovered,partly_uncovered}';
BEGIN
    PERFORM 1 FROM open_settlements WHERE settlement_id = ANY (p_id)
    ORDER BY settlement_id FOR UPDATE;
    IF p_do && '{except,reverse,suspend}' THEN
        PERFORM 1 FROM settlement_transactions WHERE id = ANY (p_id) ORDER BY id FOR UPDATE;
    END IF;
    PERFORM 1 FROM accounts WHERE id = ANY (p_accounts) ORDER BY id FOR NO KEY UPDATE;
    at := clock_timestamp();

    -- Is what the caller believes still true? A resting settlement is anybody's; an ended one has no
    -- owner and no epoch.
    SELECT bool_or(w.asked <> 0 OR w.owner <> p_owner), array_agg((CASE
        WHEN s.state IS DISTINCT FROM p_from[g.i]::settlement_state OR s.seq <> p_seq[g.i] THEN 1
        WHEN w.owner IN (p_owner, 0) AND w.epoch = p_epoch[g.i] THEN 0
        WHEN s.ended_at IS NOT NULL AND w.owner IS NULL THEN 0
        ELSE 1
    END)::smallint ORDER BY g.i)
    INTO v_has_odd_owners, results
    FROM generate_series(1, cardinality(p_id)) AS g (i)
    LEFT JOIN settlement_transactions AS s ON s.id = p_id[g.i]
    LEFT JOIN open_settlements AS w ON w.settlement_id = p_id[g.i];

    -- Each sending is proved undelivered once at most: what rests, or was proved as often as it was
    -- sent, has no sending that the word could be about. Giving up takes the proof of every one of them.
    IF p_event && '{abandoned,undelivered}' THEN
        FOR r IN
            SELECT q.ord FROM unnest(p_id, p_event) WITH ORDINALITY AS q (id, event, ord)
            JOIN settlement_transactions AS s ON s.id = q.id
            JOIN attempts AS a ON a.settlement_id = s.id AND a.number = s.attempt
            JOIN open_settlements AS w ON w.settlement_id = s.id
            WHERE (q.event = 'abandoned' AND a.sends <> a.undelivered + 1)
                OR (q.event = 'undelivered' AND (w.owner = 0 OR a.undelivered >= a.sends))
        LOOP
            results[r.ord] := 1;
        END LOOP;
    END IF;

    -- Once the bank has paid it must be possible to post: who is full holds nothing more. Between this
    -- bound and that of the type there is room for whatever is held already.
    IF v_has_locks THEN
        v_full := ARRAY(
            SELECT a.id FROM accounts AS a
            WHERE a.id = ANY (p_lock_source || p_lock_agent || p_lock_clearing || p_lock_target)
                AND greatest(a.debits_posted, a.credits_posted) >= 1e36
        );
        v_has_full := v_full <> '{}';
    END IF;

    -- Holds are granted in the order of the batch, as far as the funds of each account go.
    FOR r IN
        SELECT l.i, p_lock_step[l.i] AS step, p_lock_source[l.i] AS source, p_lock_amount[l.i] AS amount,
            p_lock_opens[l.i] AS opens, p_lock_closes[l.i] AS closes,
            s.is_active AND t.is_active AS active,
            s.debits_posted - s.credits_posted - s.held AS room, s.credit_limit
        FROM generate_series(1, cardinality(p_lock_step)) AS l (i)
        LEFT JOIN accounts AS s ON s.id = p_lock_source[l.i]
        LEFT JOIN accounts AS t ON t.id = p_lock_target[l.i]
        WHERE v_has_locks
        ORDER BY p_lock_source[l.i], p_lock_step[l.i]
    LOOP
        IF r.source <> v_account THEN
            v_account := r.source;
            v_left := r.room;
            v_limit := r.credit_limit;
        END IF;
        CONTINUE WHEN results[r.step] <> 0;
        IF r.active IS NOT TRUE THEN
            results[r.step] := 3;
        ELSIF v_has_full AND v_full && ARRAY[
            r.source, p_lock_agent[r.i], p_lock_clearing[r.i], p_lock_target[r.i]
        ] THEN
            results[r.step] := 5;
        ELSIF at < r.opens OR at >= r.closes THEN
            results[r.step] := 4;
        ELSIF r.amount > v_left + v_limit THEN
            results[r.step] := 2;
            available := coalesce(available, array_fill(0::bigint, ARRAY[cardinality(p_id)]));
            available[r.step] := v_left;
        ELSE
            v_left := v_left - r.amount;
        END IF;
    END LOOP;

    -- A return is taken from the receiver's account as far as that goes. Otherwise it goes to suspense.
    IF 'reverse' = ANY (p_do) THEN
        v_account := 0;
        FOR r IN
            SELECT t.step, t.debit, t.amount, a.credit_limit,
                a.credits_posted - a.debits_posted - a.held AS room
            FROM (
                SELECT m.step, m.account AS debit, sum(m.amount) AS amount FROM (
                    SELECT u.step, u.debit AS account, u.amount
                    FROM unnest(p_transfer_step, p_transfer_debit, p_transfer_amount)
                        AS u (step, debit, amount)
                    UNION ALL
                    SELECT u.step, u.credit, -u.amount
                    FROM unnest(p_transfer_step, p_transfer_credit, p_transfer_amount)
                        AS u (step, credit, amount)
                ) AS m
                WHERE p_do[m.step] = 'reverse' GROUP BY 1, 2 HAVING sum(m.amount) > 0
            ) AS t
            JOIN accounts AS a ON a.id = t.debit AND a.kind = 'vostro'
            ORDER BY t.debit, t.step
        LOOP
            IF r.debit <> v_account THEN
                v_account := r.debit;
                v_left := r.room;
            END IF;
            CONTINUE WHEN results[r.step] <> 0;
            IF r.amount > v_left + r.credit_limit THEN
                results[r.step] := 2;
                available := coalesce(available, array_fill(0::bigint, ARRAY[cardinality(p_id)]));
                available[r.step] := v_left;
            ELSE
                v_left := v_left - r.amount;
            END IF;
        END LOOP;
    END IF;

    -- The same contradiction twice is one exception; what goes to suspense goes there once, whatever is said.
    IF p_do && '{except,suspend}' THEN
        FOR r IN
            SELECT q.id, coalesce(q.detail, '{}')::jsonb AS detail, q.do_, q.event, q.ord
            FROM unnest(p_id, p_do, p_event, p_detail, results)
                WITH ORDINALITY AS q (id, do_, event, detail, result, ord)
            WHERE q.do_ IN ('except', 'suspend') AND q.result = 0 ORDER BY q.ord
        LOOP
            INSERT INTO exceptions (settlement_id, kind, fingerprint, detail, opened_at)
            VALUES (
                r.id, coalesce(r.detail ->> 'exception', 'contradiction'),
                CASE WHEN r.do_ = 'suspend' AND r.event <> 'partly_uncovered' THEN r.event
                    ELSE md5(r.detail::text) END,
                r.detail, at
            )
            ON CONFLICT DO NOTHING;
            IF NOT found THEN
                results[r.ord] := 1;
            END IF;
        END LOOP;
    END IF;

    v_applied := array_positions(results, 0::smallint);
    v_moved := v_applied;
    IF v_has_quiet THEN
        v_moved := ARRAY(
            SELECT g.i FROM unnest(v_applied) AS g (i) WHERE p_is_move[g.i] ORDER BY g.i
        );
    END IF;

    UPDATE settlement_transactions AS s SET
        state = p_to[g.i]::settlement_state,
        seq = s.seq + 1,
        attempt = p_attempt[g.i],
        ended_at = CASE
            WHEN p_to[g.i] IN ('completed', 'failed', 'rolled_back', 'returned')
            THEN coalesce(s.ended_at, at)
        END,
        holds_obligation = p_to[g.i] NOT IN ('failed', 'rolled_back', 'returned'),
        is_frozen = s.is_frozen OR coalesce(p_do[g.i] IN ('except', 'suspend'), false),
        refusal_code = coalesce(p_refusal_code[g.i], s.refusal_code),
        refusal_detail = coalesce(p_refusal_detail[g.i]::jsonb, s.refusal_detail),
        rail_reference = coalesce(p_rail_reference[g.i], s.rail_reference),
        confirmation = coalesce(p_confirmation[g.i], s.confirmation)
    FROM unnest(v_moved) AS g (i)
    WHERE s.id = p_id[g.i];

    IF p_event && '{attested_settled,attested_not_settled,disproved}' THEN
        UPDATE settlement_transactions AS s SET
            attestation = CASE p_event[g.i] WHEN 'disproved' THEN 'disproved' ELSE 'stands' END
        FROM unnest(v_applied) AS g (i)
        WHERE s.id = p_id[g.i]
            AND p_event[g.i] IN ('attested_settled', 'attested_not_settled', 'disproved');
    END IF;
    IF p_to && '{completed,failed,rolled_back,returned}' THEN
        DELETE FROM open_settlements AS w USING unnest(v_applied) AS g (i)
        WHERE w.settlement_id = p_id[g.i]
            AND p_to[g.i] IN ('completed', 'failed', 'rolled_back', 'returned');
    END IF;
    IF v_has_odd_owners OR v_has_quiet OR v_is_asking OR array_remove(p_rest_seconds, NULL) <> '{}' THEN
        UPDATE open_settlements AS w SET
            owner = CASE WHEN p_rest_seconds[g.i] IS NULL THEN p_owner ELSE 0 END,
            -- Beyond the send intent the questions about a payment are counted together.
            asked = CASE
                WHEN p_do[g.i] IS DISTINCT FROM 'lock' AND (
                    NOT p_is_move[g.i] OR p_to[g.i] IN ('locked', 'in_doubt', 'sent', 'recalling')
                )
                THEN w.asked + 1
                ELSE 0
            END,
            due_at = CASE
                WHEN p_rest_seconds[g.i] IS NULL THEN w.due_at
                WHEN p_rest_seconds[g.i] = 'infinity' THEN 'infinity'
                ELSE at + make_interval(secs => p_rest_seconds[g.i])
            END
        FROM unnest(v_applied) AS g (i)
        WHERE w.settlement_id = p_id[g.i];
    END IF;

    IF v_has_locks THEN
        INSERT INTO attempts (
            settlement_id, number, rail, source_id, agent_id, clearing_id, target_id, uetr,
            end_to_end_id, message_id, trace, payload, valid_until, delivery, recorded_at
        )
        SELECT p_id[p_lock_step[l.i]], p_lock_attempt[l.i], p_lock_rail[l.i], p_lock_source[l.i],
            p_lock_agent[l.i], p_lock_clearing[l.i], p_lock_target[l.i], p_lock_uetr[l.i],
            p_lock_end_to_end[l.i], p_lock_message[l.i], p_lock_trace[l.i], p_lock_payload[l.i],
            p_lock_valid_until[l.i], p_lock_delivery[l.i]::delivery, at
        FROM generate_series(1, cardinality(p_lock_step)) AS l (i)
        WHERE results[p_lock_step[l.i]] = 0;
        INSERT INTO fund_locks (settlement_id, account_id, amount_minor, currency, locked_at)
        SELECT p_id[p_lock_step[l.i]], p_lock_source[l.i], p_lock_amount[l.i], p_lock_currency[l.i], at
        FROM generate_series(1, cardinality(p_lock_step)) AS l (i)
        WHERE results[p_lock_step[l.i]] = 0;
    END IF;
    IF 'not_found' = ANY (p_event) OR 'undelivered' = ANY (p_event) THEN
        UPDATE attempts AS a SET
            sends = a.sends + (p_event[g.i] = 'not_found')::int,
            undelivered = a.undelivered + (p_event[g.i] = 'undelivered')::int
        FROM unnest(v_applied) AS g (i)
        JOIN settlement_transactions AS s ON s.id = p_id[g.i]
        WHERE a.settlement_id = p_id[g.i] AND a.number = s.attempt
            AND p_to[g.i] = 'locked' AND p_event[g.i] IN ('not_found', 'undelivered');
    END IF;

    -- Money: the holds that end, the transfers, and then every account that is touched, once, however
    -- many settlements touch it.
    IF p_do && '{post,release}' THEN
        v_resolving := ARRAY(
            SELECT g.i FROM unnest(v_applied) AS g (i) WHERE p_do[g.i] IN ('post', 'release')
        );
        WITH resolved AS (
            UPDATE fund_locks AS f SET
                resolved_at = at,
                outcome = CASE p_do[g.i] WHEN 'post' THEN 'posted' ELSE 'released' END
            FROM unnest(v_resolving) AS g (i)
            WHERE f.settlement_id = p_id[g.i]
            RETURNING f.account_id, f.amount_minor
        )
        SELECT array_agg(account_id), array_agg(amount_minor) INTO v_held_on, v_held FROM resolved;
        IF coalesce(cardinality(v_held), 0) <> cardinality(v_resolving) THEN
            RAISE EXCEPTION '% holds to resolve, % found', cardinality(v_resolving),
                coalesce(cardinality(v_held), 0) USING ERRCODE = 'SE005';
        END IF;
    END IF;
    IF v_has_returns THEN
        -- A return of more than is left breaks the table's CHECK, one under a known reference its index.
        INSERT INTO returns (
            settlement_id, posting, amount_minor, charges_minor, left_minor, reference, value_date, at
        )
        SELECT s.id, (q.said ->> 'posting')::smallint, (q.said ->> 'amount_minor')::bigint,
            coalesce((q.said ->> 'charges_minor')::bigint, 0),
            s.amount_minor - coalesce(b.total, 0) - (q.said ->> 'amount_minor')::bigint
                - coalesce((q.said ->> 'charges_minor')::bigint, 0),
            coalesce(q.said ->> 'return_reference', ''), (q.said ->> 'value_date')::date, at
        FROM (
            SELECT p_id[g.i] AS id, p_detail[g.i]::jsonb AS said FROM unnest(v_applied) AS g (i)
            WHERE p_event[g.i] IN ('returned', 'partly_returned', 'uncovered', 'partly_uncovered')
        ) AS q
        JOIN settlement_transactions AS s ON s.id = q.id
        LEFT JOIN LATERAL (
            SELECT sum(k.amount_minor + k.charges_minor) AS total FROM returns AS k
            WHERE k.settlement_id = s.id
        ) AS b ON true;
        SELECT count(*) INTO v_missing
        FROM unnest(v_applied) AS g (i)
        JOIN returns AS b ON b.settlement_id = p_id[g.i]
            AND b.posting = (p_detail[g.i]::jsonb ->> 'posting')::smallint
        WHERE p_event[g.i] IN ('returned', 'partly_returned', 'uncovered', 'partly_uncovered')
            AND (b.left_minor = 0) <> (p_to[g.i] = 'returned');
        IF v_missing > 0 THEN
            RAISE EXCEPTION '% returns whose states do not go with what is left', v_missing
            USING ERRCODE = 'SE007';
        END IF;
    END IF;
    IF v_has_transfers THEN
        INSERT INTO transfers (
            group_id, posting, leg, debit_id, credit_id, amount_minor, currency, at
        )
        SELECT p_id[p_transfer_step[t.i]],
            CASE WHEN v_has_returns AND p_event[p_transfer_step[t.i]] IN (
                'returned', 'partly_returned', 'uncovered', 'partly_uncovered'
            ) THEN (p_detail[p_transfer_step[t.i]]::jsonb ->> 'posting')::smallint ELSE 1 END,
            p_transfer_leg[t.i], p_transfer_debit[t.i],
            p_transfer_credit[t.i], p_transfer_amount[t.i], p_transfer_currency[t.i], at
        FROM generate_series(1, cardinality(p_transfer_step)) AS t (i)
        WHERE results[p_transfer_step[t.i]] = 0;
    END IF;
    IF v_has_locks OR v_has_transfers OR v_held IS NOT NULL THEN
        WITH changes AS (
            SELECT p_transfer_debit[t.i] AS id, p_transfer_amount[t.i] AS debits, 0::bigint AS credits,
                0::bigint AS held
            FROM generate_series(1, cardinality(p_transfer_step)) AS t (i)
            WHERE results[p_transfer_step[t.i]] = 0
            UNION ALL SELECT p_transfer_credit[t.i], 0, p_transfer_amount[t.i], 0
            FROM generate_series(1, cardinality(p_transfer_step)) AS t (i)
            WHERE results[p_transfer_step[t.i]] = 0
            UNION ALL SELECT v_held_on[f.i], 0, 0, -v_held[f.i]
            FROM generate_series(1, cardinality(v_held)) AS f (i)
            UNION ALL SELECT p_lock_source[l.i], 0, 0, p_lock_amount[l.i]
            FROM generate_series(1, cardinality(p_lock_step)) AS l (i)
            WHERE results[p_lock_step[l.i]] = 0
        ), totals AS (
            SELECT id, sum(debits) AS debits, sum(credits) AS credits, sum(held) AS held
            FROM changes GROUP BY id
        ), applied AS (
            UPDATE accounts AS a SET
                debits_posted = a.debits_posted + c.debits,
                credits_posted = a.credits_posted + c.credits,
                held = a.held + c.held
            FROM totals AS c WHERE a.id = c.id
            RETURNING a.id
        )
        SELECT (SELECT count(*) FROM totals) - (SELECT count(*) FROM applied) INTO v_missing;
        IF v_missing > 0 THEN
            RAISE EXCEPTION '% accounts do not exist', v_missing USING ERRCODE = 'SE006';
        END IF;
    END IF;

    IF v_has_quiet THEN
        INSERT INTO answers AS n (
            settlement_id, attempt, state, event, asked, detail, at, last_at, fingerprint
        )
        SELECT q.id, q.attempt, q.state, q.event, q.asked, q.detail, apply_steps_2.at, apply_steps_2.at,
            answer_fingerprint(q.seq, q.attempt, q.state, q.event, q.detail)
        FROM (
            SELECT p_id[g.i] AS id, p_seq[g.i] AS seq, p_attempt[g.i] AS attempt,
                p_to[g.i]::settlement_state AS state, p_event[g.i]::settlement_event AS event,
                coalesce(w.asked, 0) AS asked,
                -- A bank that words each answer differently has its words kept so often, and no more.
                CASE WHEN p_detail[g.i] IS NOT NULL AND NOT EXISTS (
                    SELECT 1 FROM answers AS o WHERE o.settlement_id = p_id[g.i] OFFSET 99
                ) THEN p_detail[g.i]::jsonb END AS detail
            FROM unnest(v_applied) AS g (i)
            LEFT JOIN open_settlements AS w ON w.settlement_id = p_id[g.i]
            WHERE NOT p_is_move[g.i]
        ) AS q
        ON CONFLICT (settlement_id, fingerprint) DO UPDATE SET
            times = n.times + 1, asked = excluded.asked,
            last_at = greatest(n.last_at, excluded.last_at);
    END IF;

    IF cardinality(v_moved) > 0 THEN
        WITH head AS (
            UPDATE stream_head SET position = position + cardinality(v_moved)
            RETURNING position - cardinality(v_moved) AS last
        )
        INSERT INTO moves (
            position, settlement_id, seq, from_state, event, to_state, at, epoch, attempt, detail
        )
        SELECT h.last + g.nth, p_id[g.i], p_seq[g.i] + 1, p_from[g.i]::settlement_state,
            p_event[g.i]::settlement_event, p_to[g.i]::settlement_state, apply_steps_2.at,
            p_epoch[g.i], p_attempt[g.i], p_detail[g.i]::jsonb
        FROM head AS h, unnest(v_moved) WITH ORDINALITY AS g (i, nth);
    END IF;
END $function$;

CREATE OR REPLACE FUNCTION public.billed_by_move(p_settlement uuid, p_posting smallint)
 RETURNS bigint
 LANGUAGE sql
 STABLE
AS $function$
    SELECT coalesce(sum((m.detail ->> 'rebilled_minor')::bigint), 0)::bigint FROM moves AS m
    WHERE m.settlement_id = p_settlement
        AND m.event IN ('returned', 'partly_returned', 'uncovered', 'partly_uncovered')
        AND m.detail ->> 'posting' = p_posting::text
        AND m.detail ->> 'rebilled_minor' ~ '^[0-9]{1,18}$'
$function$;

CREATE OR REPLACE FUNCTION public.carry_out_statement_decision()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
DECLARE
    v_changed bigint;
BEGIN
    IF (SELECT p.change FROM statement_proposals AS p WHERE p.id = new.proposal_id) = 'SET_ASIDE' THEN
        INSERT INTO set_aside_statements (statement_id, account_id, decision_id)
        SELECT i.statement_id, p.account_id, new.id
        FROM statement_proposal_statements AS i JOIN statement_proposals AS p ON p.id = i.proposal_id
        WHERE i.proposal_id = new.proposal_id ORDER BY i.statement_id
        ON CONFLICT (statement_id) DO NOTHING;
    ELSE
        DELETE FROM set_aside_statements AS z USING statement_proposal_statements AS i
        WHERE i.proposal_id = new.proposal_id AND z.statement_id = i.statement_id;
    END IF;
    GET DIAGNOSTICS v_changed = ROW_COUNT;
    IF v_changed <> (
        SELECT count(*) FROM statement_proposal_statements AS i WHERE i.proposal_id = new.proposal_id
    ) THEN
        RAISE EXCEPTION 'a statement of proposal % is what it would become already', new.proposal_id
        USING ERRCODE = 'check_violation', CONSTRAINT = 'decisions_change_statements';
    END IF;
    RETURN NULL;
END $function$;

CREATE OR REPLACE FUNCTION public.check_break_decision()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
DECLARE
    v_proposal break_proposals;
    v_leg smallint;
BEGIN
    IF new.decision <> 'approved' THEN
        RETURN new;
    END IF;
    SELECT * INTO v_proposal FROM break_proposals WHERE id = new.proposal_id;
    IF person_of(new.decided_by) = person_of(v_proposal.proposed_by)
        OR new.signed_sha256 <> v_proposal.content_sha256
        OR new.decided_at >= v_proposal.expires_at THEN
        RAISE EXCEPTION 'proposal % is not approved by a second person, in time', new.proposal_id
        USING ERRCODE = 'check_violation', CONSTRAINT = 'two_people_close_a_break';
    END IF;
    SELECT CASE kind WHEN 'OPENING_DIFFERENCE' THEN 13 ELSE 12 END INTO v_leg
    FROM breaks WHERE id = v_proposal.break_id;
    IF (new.transfer_group IS NULL) <> (v_proposal.resolution = 'EXPLANATION')
        OR (new.match_id IS NULL) <> (v_leg = 13)
        OR new.transfer_group IS NOT NULL AND NOT EXISTS (
            SELECT 1 FROM transfers AS t
            WHERE t.group_id = new.transfer_group AND t.leg = v_leg AND t.currency = v_proposal.currency
                AND t.amount_minor = abs(v_proposal.amount_minor)
                AND CASE WHEN v_proposal.amount_minor > 0 THEN t.debit_id ELSE t.credit_id END
                    = v_proposal.account_id
        ) THEN
        RAISE EXCEPTION 'proposal % is not what is posted', new.proposal_id
        USING ERRCODE = 'check_violation', CONSTRAINT = 'approval_posts_the_proposal';
    END IF;
    RETURN new;
END $function$;

CREATE OR REPLACE FUNCTION public.check_proposed_statement()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    IF EXISTS (SELECT FROM statement_decisions AS d WHERE d.proposal_id = new.proposal_id)
        OR NOT EXISTS (
            SELECT FROM statements AS s
            JOIN statement_proposals AS p ON p.id = new.proposal_id AND p.account_id = s.account_id
            WHERE s.id = new.statement_id AND s.is_kept
        ) THEN
        RAISE EXCEPTION 'statement % is not one that proposal % may name', new.statement_id, new.proposal_id
        USING ERRCODE = 'check_violation', CONSTRAINT = 'proposals_name_kept_statements';
    END IF;
    RETURN new;
END $function$;

CREATE OR REPLACE FUNCTION public.check_set_aside()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
DECLARE
    v_statement bigint := CASE tg_op WHEN 'DELETE' THEN old.statement_id ELSE new.statement_id END;
    v_latest record;
BEGIN
    SELECT p.change, p.account_id, d.id INTO v_latest
    FROM statement_proposal_statements AS i
    JOIN statement_proposals AS p ON p.id = i.proposal_id
    JOIN statement_decisions AS d ON d.proposal_id = p.id AND d.decision = 'approved'
    WHERE i.statement_id = v_statement
    ORDER BY d.id DESC LIMIT 1;
    IF tg_op = 'INSERT' AND v_latest.change = 'SET_ASIDE'
        AND (v_latest.account_id, v_latest.id) = (new.account_id, new.decision_id) THEN
        RETURN new;
    ELSIF tg_op = 'DELETE' AND v_latest.change = 'RESTORE' THEN
        RETURN old;
    END IF;
    RAISE EXCEPTION 'two people decide whether statement % counts', v_statement
    USING ERRCODE = 'check_violation', CONSTRAINT = 'set_aside_follows_decisions';
END $function$;

CREATE OR REPLACE FUNCTION public.check_statement_decision()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
DECLARE
    v_proposal statement_proposals;
BEGIN
    IF new.decision <> 'approved' THEN
        RETURN new;
    END IF;
    SELECT * INTO v_proposal FROM statement_proposals WHERE id = new.proposal_id;
    IF person_of(new.decided_by) = person_of(v_proposal.proposed_by)
        OR new.signed_sha256 <> v_proposal.content_sha256
        OR new.decided_at >= v_proposal.expires_at
        OR NOT EXISTS (SELECT FROM statement_proposal_statements AS i WHERE i.proposal_id = new.proposal_id) THEN
        RAISE EXCEPTION 'proposal % is not approved by a second person, in time', new.proposal_id
        USING ERRCODE = 'check_violation', CONSTRAINT = 'two_people_decide_on_a_statement';
    END IF;
    RETURN new;
END $function$;

CREATE OR REPLACE FUNCTION public.claim_settlements(p_owner bigint, p_limit integer, p_sweep boolean)
 RETURNS TABLE(settlement_id uuid, was_asked boolean)
 LANGUAGE plpgsql
AS $function$
DECLARE
    e record;
    v_now timestamptz := clock_timestamp();
    v_gone bigint[];
BEGIN
    FOR e IN SELECT g.id, g.lease_until FROM engines AS g WHERE g.gone_at IS NULL AND g.id <> p_owner
    LOOP
        IF e.lease_until < v_now OR try_engine_lock(e.id) THEN
            UPDATE engines SET gone_at = v_now WHERE id = e.id AND gone_at IS NULL;
        END IF;
    END LOOP;
    -- The last transaction of the dead may still hold rows, which are skipped now and free in a moment.
    v_gone := ARRAY(
        SELECT g.id FROM engines AS g
        WHERE g.gone_at > v_now - interval '3 seconds' AND g.id <> p_owner
    );
    RETURN QUERY
    WITH due AS (
        SELECT w.settlement_id AS id FROM open_settlements AS w
        WHERE w.owner = 0 AND w.due_at <= v_now
        ORDER BY w.due_at LIMIT p_limit FOR UPDATE SKIP LOCKED
    ), taken AS (
        UPDATE open_settlements AS w SET owner = p_owner, epoch = w.epoch + 1
        FROM due WHERE w.settlement_id = due.id AND w.owner = 0
        RETURNING w.settlement_id
    ), resent AS (
        UPDATE attempts AS a SET sends = a.sends + 1
        FROM taken JOIN settlement_transactions AS s ON s.id = taken.settlement_id
        WHERE s.state = 'locked' AND a.settlement_id = s.id AND a.number = s.attempt
    )
    SELECT taken.settlement_id, false FROM taken;
    IF p_sweep OR cardinality(v_gone) > 0 THEN
        RETURN QUERY
        WITH orphans AS (
            SELECT w.settlement_id AS id, w.owner FROM open_settlements AS w
            WHERE w.owner NOT IN (0, p_owner) AND (w.owner = ANY (v_gone) OR (p_sweep AND NOT EXISTS (
                SELECT 1 FROM engines AS g WHERE g.id = w.owner AND g.gone_at IS NULL
            )))
            ORDER BY w.settlement_id LIMIT p_limit FOR UPDATE SKIP LOCKED
        )
        UPDATE open_settlements AS w SET owner = p_owner, epoch = w.epoch + 1
        FROM orphans WHERE w.settlement_id = orphans.id AND w.owner = orphans.owner
        RETURNING w.settlement_id, true;
    END IF;
END $function$;

CREATE OR REPLACE FUNCTION public.compensable_minor(p_settlement uuid)
 RETURNS numeric
 LANGUAGE sql
 STABLE
AS $function$
    SELECT s.amount_minor
        - coalesce((
            SELECT sum(r.amount_minor + r.charges_minor) FROM returns AS r
            WHERE r.settlement_id = s.id
        ), 0)
        - coalesce((
            SELECT sum(c.amount_minor - coalesce(b.total, 0))
            FROM settlement_transactions AS c
            LEFT JOIN LATERAL (
                SELECT sum(r.amount_minor + r.charges_minor) AS total FROM returns AS r
                WHERE r.settlement_id = c.id
            ) AS b ON true
            WHERE c.compensates = s.id AND c.state NOT IN ('failed', 'rolled_back', 'returned')
        ), 0)
    FROM settlement_transactions AS s
    WHERE s.id = p_settlement AND s.state = 'completed'
        AND s.attestation IS DISTINCT FROM 'disproved'
$function$;

CREATE OR REPLACE FUNCTION public.count_cover()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    IF NOT EXISTS (
        SELECT FROM covers AS c
        WHERE c.settlement_id = NEW.settlement_id AND c.attempt = NEW.attempt
            AND c.number::text = NEW.detail ->> 'cover'
            AND encode(sha256(c.content), 'hex') = NEW.detail ->> 'cover_sha256'
            AND NOT EXISTS (
                SELECT FROM covers AS l
                WHERE l.settlement_id = c.settlement_id AND l.attempt = c.attempt AND l.number > c.number
            )
            AND NOT EXISTS (
                SELECT FROM cover_results AS r
                WHERE r.settlement_id = c.settlement_id AND r.attempt = c.attempt
                    AND r.number = c.number AND r.result = 'refused'
            )
    ) THEN
        RAISE EXCEPTION 'the send intent of a cover names the last one, which its bank has not refused'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'cover_is_counted';
    END IF;
    UPDATE attempts SET sends = sends + 1
    WHERE settlement_id = NEW.settlement_id AND number = NEW.attempt;
    RETURN NULL;
END $function$;

CREATE OR REPLACE FUNCTION public.engine_lock_class(p_engine bigint)
 RETURNS integer
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE STRICT
AS $function$
    SELECT (8086 + ((p_engine >> 31) << 16))::integer
$function$;

CREATE OR REPLACE FUNCTION public.engine_lock_number(p_engine bigint)
 RETURNS integer
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE STRICT
AS $function$
    SELECT (p_engine & 2147483647)::integer
$function$;

CREATE OR REPLACE FUNCTION public.folded_bank(code text)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS $function$
    SELECT CASE
        WHEN length(code) = 11
            AND upper(code COLLATE "C") ~ '^[A-Z0-9]{4}[A-Z]{2}[A-Z0-9]{2}XXX$'
        THEN left(upper(code COLLATE "C"), 8)
        ELSE upper(code COLLATE "C")
    END
$function$;

CREATE OR REPLACE FUNCTION public.forget_timing_items()
 RETURNS trigger
 LANGUAGE plpgsql
 SET enable_seqscan TO 'off'
 SET enable_hashjoin TO 'off'
 SET enable_mergejoin TO 'off'
AS $function$
BEGIN
    DELETE FROM timing_postings AS t USING added AS a, matches AS m, match_postings AS p
    WHERE m.id = a.match_id AND p.match_id = a.match_id
        AND t.account_id = p.account_id AND t.span = timing_span(p.booked_on, m.settled_on)
        AND t.settled_on = m.settled_on AND t.match_id = m.id
        AND t.group_id = p.group_id AND t.posting = p.posting AND t.leg = p.leg;
    DELETE FROM timing_entries AS t USING added AS a, matches AS m, match_entries AS e
    WHERE m.id = a.match_id AND e.match_id = a.match_id
        AND t.account_id = m.account_id AND t.span = timing_span(e.booked_on, m.settled_on)
        AND t.settled_on = m.settled_on AND t.match_id = m.id
        AND t.statement_id = e.statement_id AND t.entry_number = e.entry_number;
    RETURN NULL;
END $function$;

CREATE OR REPLACE FUNCTION public.hold_engine_lock(p_engine bigint)
 RETURNS boolean
 LANGUAGE sql
AS $function$
    SELECT pg_try_advisory_lock(engine_lock_class(p_engine), engine_lock_number(p_engine))
$function$;

CREATE OR REPLACE FUNCTION public.is_borne_by_sender(p_settlement uuid, p_posting smallint, p_amount bigint)
 RETURNS boolean
 LANGUAGE sql
 STABLE
AS $function$
    SELECT EXISTS (
        SELECT FROM returns AS r
        JOIN payment_details AS d ON d.settlement_id = r.settlement_id
        WHERE r.settlement_id = p_settlement AND r.posting = p_posting
            AND CASE d.payment #>> '{payment,charge_bearer}'
                WHEN 'DEBT' THEN p_amount = r.charges_minor
                WHEN 'SHAR' THEN p_amount <= r.charges_minor
                ELSE false
            END
    )
$function$;

CREATE OR REPLACE FUNCTION public.is_legal_move(from_state settlement_state, event settlement_event, to_state settlement_state)
 RETURNS boolean
 LANGUAGE plpgsql
 IMMUTABLE PARALLEL SAFE
AS $function$
BEGIN
    RETURN
    CASE from_state
        WHEN 'pending' THEN (event, to_state) IN (('admitted', 'validating'))
        WHEN 'validating' THEN (event, to_state) IN (('cleared', 'locked'), ('postponed', 'queued'), ('parked', 'held'), ('refused', 'failed'), ('cancelled', 'failed'))
        WHEN 'held' THEN (event, to_state) IN (('approved', 'validating'), ('declined', 'failed'), ('cancelled', 'failed'))
        WHEN 'queued' THEN (event, to_state) IN (('released', 'validating'), ('lapsed', 'failed'), ('cancelled', 'failed'))
        WHEN 'locked' THEN (event, to_state) IN (('acknowledged', 'sent'), ('settled', 'completed'), ('rejected', 'rolled_back'), ('abandoned', 'rolled_back'), ('no_answer', 'in_doubt'), ('amount_differed', 'sent'), ('cover_due', 'sent'))
        WHEN 'in_doubt' THEN (event, to_state) IN (('acknowledged', 'sent'), ('settled', 'completed'), ('rejected', 'rolled_back'), ('not_found', 'locked'), ('amount_differed', 'sent'), ('cover_due', 'sent'), ('attested_settled', 'completed'), ('attested_not_settled', 'rolled_back'))
        WHEN 'sent' THEN (event, to_state) IN (('settled', 'completed'), ('rejected', 'rolled_back'), ('amount_differed', 'sent'), ('cover_due', 'sent'), ('overdue', 'recalling'), ('cancelled', 'recalling'), ('attested_settled', 'completed'), ('attested_not_settled', 'rolled_back'))
        WHEN 'recalling' THEN (event, to_state) IN (('recalled', 'rolled_back'), ('rejected', 'rolled_back'), ('settled', 'completed'), ('recall_refused', 'sent'), ('amount_differed', 'sent'), ('attested_settled', 'completed'), ('attested_not_settled', 'rolled_back'))
        WHEN 'completed' THEN (event, to_state) IN (('returned', 'returned'), ('partly_returned', 'completed'), ('uncovered', 'returned'), ('partly_uncovered', 'completed'), ('contradicted', 'completed'), ('disproved', 'completed'), ('debited_twice', 'completed'))
        WHEN 'failed' THEN (event, to_state) IN (('contradicted', 'failed'))
        WHEN 'rolled_back' THEN (event, to_state) IN (('contradicted', 'rolled_back'), ('disproved', 'rolled_back'))
        WHEN 'returned' THEN (event, to_state) IN (('contradicted', 'returned'), ('debited_twice', 'returned'))
        ELSE false
    END;
END $function$;

CREATE OR REPLACE FUNCTION public.keep_timing_entries()
 RETURNS trigger
 LANGUAGE plpgsql
 SET enable_seqscan TO 'off'
 SET enable_hashjoin TO 'off'
 SET enable_mergejoin TO 'off'
AS $function$
BEGIN
    INSERT INTO timing_entries (account_id, span, settled_on, match_id, statement_id, entry_number, booked_on)
    SELECT m.account_id, timing_span(a.booked_on, m.settled_on), m.settled_on, m.id, a.statement_id, a.entry_number,
        a.booked_on
    FROM added AS a JOIN matches AS m ON m.id = a.match_id
    WHERE a.booked_on < m.settled_on;
    RETURN NULL;
END $function$;

CREATE OR REPLACE FUNCTION public.keep_timing_postings()
 RETURNS trigger
 LANGUAGE plpgsql
 SET enable_seqscan TO 'off'
 SET enable_hashjoin TO 'off'
 SET enable_mergejoin TO 'off'
AS $function$
BEGIN
    INSERT INTO timing_postings (account_id, span, settled_on, match_id, group_id, posting, leg, booked_on)
    SELECT a.account_id, timing_span(a.booked_on, m.settled_on), m.settled_on, m.id, a.group_id, a.posting, a.leg,
        a.booked_on
    FROM added AS a JOIN matches AS m ON m.id = a.match_id
    WHERE a.booked_on < m.settled_on;
    RETURN NULL;
END $function$;

CREATE OR REPLACE FUNCTION public.left_to_give_back(p_settlement uuid)
 RETURNS numeric
 LANGUAGE sql
 STABLE
AS $function$
    SELECT s.amount_minor
        - coalesce((
            SELECT sum(r.amount_minor + r.charges_minor) FROM returns AS r
            WHERE r.settlement_id = s.id
        ), 0)
        - coalesce((
            SELECT sum(c.amount_minor - coalesce(b.total, 0))
            FROM settlement_transactions AS c
            LEFT JOIN LATERAL (
                SELECT sum(r.amount_minor + r.charges_minor) AS total FROM returns AS r
                WHERE r.settlement_id = c.id
            ) AS b ON true
            WHERE c.compensates = s.id
                AND c.state IN ('locked', 'in_doubt', 'sent', 'recalling', 'completed')
        ), 0)
    FROM settlement_transactions AS s WHERE s.id = p_settlement
$function$;

CREATE OR REPLACE FUNCTION public.lock_what_is_left(p_id uuid[], p_locked uuid[], p_giving uuid[], p_seq integer[], p_of uuid[], OUT at timestamp with time zone, OUT left_minor bigint[])
 RETURNS record
 LANGUAGE plpgsql
AS $function$
BEGIN
    PERFORM 1 FROM open_settlements WHERE settlement_id = ANY (p_id)
    ORDER BY settlement_id FOR UPDATE;
    PERFORM 1 FROM settlement_transactions WHERE id = ANY (p_locked) ORDER BY id FOR UPDATE;
    at := clock_timestamp();
    SELECT array_agg(
        CASE WHEN s.seq = g.seq THEN coalesce(left_to_give_back(g.of_id), 0)::bigint END ORDER BY g.ord
    ) INTO left_minor
    FROM unnest(p_giving, p_seq, p_of) WITH ORDINALITY AS g (id, seq, of_id, ord)
    LEFT JOIN settlement_transactions AS s ON s.id = g.id;
END $function$;

CREATE OR REPLACE FUNCTION public.mark_unproved()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    IF tg_op = 'INSERT' THEN
        UPDATE proved_accounts AS p SET unproved_from = q.day
        FROM (
            SELECT n.account_id, min(CASE
                WHEN (n.theirs, n.theirs_minor, n.matched_ours, n.matched_ours_minor, n.matched_theirs,
                    n.matched_theirs_minor) = (0, 0, 0, 0, 0, 0) THEN n.day ELSE '-infinity'
            END) AS day
            FROM changed AS n GROUP BY n.account_id
        ) AS q
        WHERE p.account_id = q.account_id AND (p.unproved_from IS NULL OR p.unproved_from > q.day);
    ELSE
        UPDATE proved_accounts AS p SET unproved_from = q.day
        FROM (
            SELECT n.account_id, min(CASE
                WHEN (n.theirs, n.theirs_minor, n.matched_ours, n.matched_ours_minor, n.matched_theirs,
                    n.matched_theirs_minor) = (o.theirs, o.theirs_minor, o.matched_ours, o.matched_ours_minor,
                    o.matched_theirs, o.matched_theirs_minor) THEN n.day ELSE '-infinity'
            END) AS day
            FROM changed AS n JOIN before AS o ON o.account_id = n.account_id AND o.day = n.day
            GROUP BY n.account_id
        ) AS q
        WHERE p.account_id = q.account_id AND (p.unproved_from IS NULL OR p.unproved_from > q.day);
    END IF;
    RETURN NULL;
END $function$;

CREATE OR REPLACE FUNCTION public.notice_discrepancies()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
DECLARE
    v_count bigint := (SELECT count(*) FROM written WHERE discrepancy_accounts > 0);
BEGIN
    IF v_count > 0 THEN
        INSERT INTO notices (position, kind, run_id, currency, at)
        SELECT h.before + row_number() OVER (ORDER BY w.run_id, w.currency), 'discrepancy', w.run_id, w.currency,
            clock_timestamp()
        FROM take_notice_positions(v_count) AS h (before), written AS w WHERE w.discrepancy_accounts > 0;
    END IF;
    RETURN NULL;
END $function$;

CREATE OR REPLACE FUNCTION public.notice_escalations()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
DECLARE
    v_count bigint := (SELECT count(*) FROM written WHERE event = 'escalated');
BEGIN
    IF v_count > 0 THEN
        INSERT INTO notices (position, kind, break_id, number, at)
        SELECT h.before + row_number() OVER (ORDER BY w.break_id, w.number), 'escalation', w.break_id, w.number,
            clock_timestamp()
        FROM take_notice_positions(v_count) AS h (before), written AS w WHERE w.event = 'escalated';
    END IF;
    RETURN NULL;
END $function$;

CREATE OR REPLACE FUNCTION public.notice_proofs()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
DECLARE
    v_ids bigint[] := ARRAY(
        SELECT w.id FROM written AS w
        WHERE w.is_zero OR (
            SELECT p.is_zero FROM proofs AS p
            WHERE p.account_id = w.account_id AND p.booking_date = w.booking_date AND p.id < w.id
            ORDER BY p.id DESC LIMIT 1
        )
        ORDER BY w.id
    );
BEGIN
    IF cardinality(v_ids) > 0 THEN
        INSERT INTO notices (position, kind, proof_id, at)
        SELECT h.before + q.place, 'proof', q.id, clock_timestamp()
        FROM take_notice_positions(cardinality(v_ids)) AS h (before),
            unnest(v_ids) WITH ORDINALITY AS q (id, place);
    END IF;
    RETURN NULL;
END $function$;

CREATE OR REPLACE FUNCTION public.notice_recall_steps()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
DECLARE
    v_count bigint := (SELECT count(*) FROM written);
BEGIN
    IF v_count > 0 THEN
        INSERT INTO notices (position, kind, settlement_id, seq, at)
        SELECT h.before + row_number() OVER (ORDER BY w.settlement_id, w.seq), 'recall', w.settlement_id, w.seq,
            clock_timestamp()
        FROM take_notice_positions(v_count) AS h (before), written AS w;
    END IF;
    RETURN NULL;
END $function$;

CREATE OR REPLACE FUNCTION public.person_of(name text)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE STRICT
AS $function$
    SELECT lower(rtrim(coalesce(string_agg(
        CASE
            WHEN piece = '%' THEN '%25'
            WHEN code BETWEEN 33 AND 126 AND chr(code) NOT IN ('%', '/', '?', '#') THEN chr(code)
            ELSE piece
        END, '' ORDER BY place
    ), ''), '/') COLLATE "C")
    FROM (
        SELECT
            pieces[1] AS piece, place,
            CASE
                WHEN pieces[1] LIKE '\%__' THEN get_byte(decode(substr(pieces[1], 2), 'hex'), 0)
            END AS code
        FROM regexp_matches(name, '%[0-9A-Fa-f]{2}|%|[^%]+', 'g')
            WITH ORDINALITY AS found (pieces, place)
    ) AS parts
$function$;

CREATE OR REPLACE FUNCTION public.probe_write()
 RETURNS timestamp with time zone
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO '$user', 'public'
AS $function$
DECLARE
    now_at timestamptz := clock_timestamp();
BEGIN
    TRUNCATE write_probe;
    INSERT INTO write_probe (at) VALUES (now_at);
    RETURN now_at;
END;
$function$;

CREATE OR REPLACE FUNCTION public.reference_keys(reference text[])
 RETURNS bigint[]
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS $function$
SELECT coalesce(array_agg(DISTINCT hashtextextended(q.named, 0)), '{}')
FROM unnest(reference) AS q (named) WHERE q.named <> ''
$function$;

CREATE OR REPLACE FUNCTION public.refuse_a_gap_of_versions()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    IF new.version <> 1 + coalesce(
        (SELECT max(v.version) FROM bank_versions AS v WHERE v.code = new.code), 0
    ) THEN
        RAISE EXCEPTION 'bank %: version % does not follow the last one', new.code, new.version
        USING ERRCODE = 'check_violation', CONSTRAINT = 'bank_versions_follow';
    END IF;
    RETURN new;
END $function$;

CREATE OR REPLACE FUNCTION public.refuse_a_used_trace()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    RAISE EXCEPTION 'a trace number is never given twice'
    USING ERRCODE = 'check_violation', CONSTRAINT = 'rail_trace_head_grows';
END $function$;

CREATE OR REPLACE FUNCTION public.refuse_abandoning_filed()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    IF EXISTS (SELECT FROM rail_file_items AS f WHERE f.settlement_id = new.settlement_id) THEN
        RAISE EXCEPTION 'settlement % is in a file, so it is not abandoned', new.settlement_id
        USING ERRCODE = 'check_violation', CONSTRAINT = 'filed_is_not_abandoned';
    END IF;
    RETURN new;
END $function$;

CREATE OR REPLACE FUNCTION public.refuse_change()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    RAISE EXCEPTION '% is append-only: % refused', tg_table_name, tg_op USING ERRCODE = 'SE004';
END $function$;

CREATE OR REPLACE FUNCTION public.refuse_early_removal()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    IF tg_table_name = 'dead_letters' THEN
        IF EXISTS (
            SELECT 1 FROM dead_letter_acts AS a
            WHERE a.dead_letter_id = old.id AND a.outcome <> 'refused'
                AND a.at < clock_timestamp() - interval '30 days'
        ) THEN
            RETURN old;
        END IF;
    ELSIF NOT EXISTS (SELECT 1 FROM dead_letters AS d WHERE d.id = old.dead_letter_id) THEN
        RETURN old;
    ELSIF tg_table_name = 'waiting_dead_letters' AND EXISTS (
        SELECT 1 FROM dead_letter_acts AS a
        WHERE a.dead_letter_id = old.dead_letter_id AND a.outcome <> 'refused'
    ) THEN
        RETURN old;
    END IF;
    RAISE EXCEPTION '% is append-only: % refused', tg_table_name, tg_op USING ERRCODE = 'SE004';
END $function$;

CREATE OR REPLACE FUNCTION public.refuse_orphans()
 RETURNS trigger
 LANGUAGE plpgsql
 SET enable_seqscan TO 'off'
 SET enable_hashjoin TO 'off'
 SET enable_mergejoin TO 'off'
AS $function$
DECLARE
    v_orphan text;
BEGIN
    CASE tg_table_name
    WHEN 'statement_entries' THEN
        SELECT 'statement ' || n.statement_id INTO v_orphan
        FROM (SELECT DISTINCT a.statement_id FROM added AS a) AS n
        WHERE NOT EXISTS (SELECT 1 FROM statements AS s WHERE s.id = n.statement_id) LIMIT 1;
    WHEN 'entry_details', 'statement_evidence', 'match_entries' THEN
        SELECT 'entry ' || n.statement_id || '/' || n.entry_number INTO v_orphan FROM added AS n
        WHERE NOT EXISTS (
            SELECT 1 FROM statement_entries AS e
            WHERE e.statement_id = n.statement_id AND e.number = n.entry_number
        ) LIMIT 1;
    WHEN 'matches' THEN
        SELECT 'run ' || n.run_id INTO v_orphan
        FROM (SELECT DISTINCT a.run_id FROM added AS a) AS n
        WHERE NOT EXISTS (SELECT 1 FROM reconciliation_runs AS r WHERE r.id = n.run_id) LIMIT 1;
    ELSE
        NULL;
    END CASE;
    IF v_orphan IS NULL AND tg_table_name IN ('match_postings', 'match_entries') THEN
        SELECT 'match ' || n.match_id INTO v_orphan FROM added AS n
        WHERE NOT EXISTS (SELECT 1 FROM matches AS m WHERE m.id = n.match_id) LIMIT 1;
    END IF;
    IF v_orphan IS NOT NULL THEN
        RAISE EXCEPTION '% refers to %, which is not there', tg_table_name, v_orphan
        USING ERRCODE = 'foreign_key_violation', CONSTRAINT = 'no_orphans';
    END IF;
    RETURN NULL;
END $function$;

CREATE OR REPLACE FUNCTION public.refuse_rewriting()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    RAISE EXCEPTION 'what is never rewritten would be in %: refused', tg_table_name
    USING ERRCODE = 'SE004';
END $function$;

CREATE OR REPLACE FUNCTION public.refuse_same_bank()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    RAISE EXCEPTION 'settlement %: % and % are the same bank', new.id, new.from_bank, new.to_bank
    USING ERRCODE = 'check_violation', CONSTRAINT = 'settlement_is_between_two_banks';
END $function$;

CREATE OR REPLACE FUNCTION public.refuse_second_end()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    RAISE EXCEPTION 'settlement % has ended: % to % refused', old.id, old.state, new.state
    USING ERRCODE = 'SE002';
END $function$;

CREATE OR REPLACE FUNCTION public.refuse_second_live_match()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
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
END $function$;

CREATE OR REPLACE FUNCTION public.refuse_second_resolution()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    RAISE EXCEPTION 'the hold of settlement % is resolved already', old.settlement_id
    USING ERRCODE = 'SE003';
END $function$;

CREATE OR REPLACE FUNCTION public.require_a_refused_cover()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    IF NOT EXISTS (
        SELECT FROM cover_results AS r
        WHERE r.settlement_id = NEW.settlement_id AND r.attempt = NEW.attempt
            AND r.number = NEW.number - 1 AND r.result = 'refused'
    ) THEN
        RAISE EXCEPTION 'a cover is repaired only after its bank has refused the one before'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'repair_follows_a_refusal';
    END IF;
    RETURN NEW;
END $function$;

CREATE OR REPLACE FUNCTION public.require_borne_charges()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    IF NOT is_borne_by_sender(new.group_id, new.posting, new.amount_minor) THEN
        RAISE EXCEPTION 'charges of % are billed for %, and the charge bearer does not say so', new.amount_minor,
            new.group_id
        USING ERRCODE = 'check_violation', CONSTRAINT = 'charges_are_borne';
    END IF;
    RETURN new;
END $function$;

CREATE OR REPLACE FUNCTION public.require_left_to_compensate()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    PERFORM 1 FROM settlement_transactions WHERE id = new.compensates FOR UPDATE;
    IF new.amount_minor > coalesce(left_to_give_back(new.compensates), 0) THEN
        RAISE EXCEPTION 'compensation % pays back more than what is left of %', new.id, new.compensates
        USING ERRCODE = 'check_violation', CONSTRAINT = 'compensation_is_left';
    END IF;
    RETURN new;
END $function$;

CREATE OR REPLACE FUNCTION public.require_left_to_return()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    PERFORM 1 FROM settlement_transactions WHERE id = new.settlement_id FOR UPDATE;
    IF new.amount_minor + new.charges_minor > coalesce(left_to_give_back(new.settlement_id), 0) THEN
        RAISE EXCEPTION 'a return of % is more than what is left of %', new.amount_minor + new.charges_minor,
            new.settlement_id
        USING ERRCODE = 'check_violation', CONSTRAINT = 'return_is_left';
    END IF;
    RETURN new;
END $function$;

CREATE OR REPLACE FUNCTION public.require_released_compensation()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    IF NOT EXISTS (
        SELECT FROM moves AS m
        JOIN resolutions AS r ON r.settlement_id = m.settlement_id
            AND r.id::text = m.detail ->> 'proposal'
        WHERE m.settlement_id = new.id AND m.event = 'approved'
            AND r.finding = 'release' AND r.decision = 'approved'
            AND person_of(r.proposed_by) <> person_of(r.decided_by)
            AND person_of(new.caller) NOT IN (person_of(r.proposed_by), person_of(r.decided_by))
    ) THEN
        RAISE EXCEPTION 'compensation % was not released by two people', new.id
        USING ERRCODE = 'check_violation', CONSTRAINT = 'compensation_is_released';
    END IF;
    RETURN new;
END $function$;

CREATE OR REPLACE FUNCTION public.require_statement_follows()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    IF new.number > 1 AND NOT EXISTS (
        SELECT 1 FROM issued_statements AS s
        WHERE s.account_id = new.account_id AND s.number = new.number - 1 AND s.day = new.previous_day
            AND s.ends = new.begins AND s.closing_minor = new.opening_minor
    ) THEN
        RAISE EXCEPTION 'statement % of account % does not follow the one before', new.number, new.account_id
        USING ERRCODE = 'SE006';
    END IF;
    RETURN new;
END $function$;

CREATE OR REPLACE FUNCTION public.require_version_follows()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    IF new.version > 1 AND NOT EXISTS (
        SELECT 1 FROM regulatory_reports AS r
        WHERE r.template = new.template AND r.day = new.day AND r.version = new.version - 1 AND r.as_of < new.as_of
    ) THEN
        RAISE EXCEPTION 'version % of % for % does not follow the one before', new.version, new.template, new.day
        USING ERRCODE = 'SE007';
    END IF;
    RETURN new;
END $function$;

CREATE OR REPLACE FUNCTION public.search_statement()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    INSERT INTO unsearched_statements (statement_id) VALUES (new.id);
    RETURN NULL;
END $function$;

CREATE OR REPLACE FUNCTION public.shut_engines(p_believed uuid, p_why text, p_era integer, p_known_to bigint, p_since timestamp with time zone, p_system_identifier text, p_timeline integer, p_database_id bigint)
 RETURNS boolean
 LANGUAGE plpgsql
AS $function$
DECLARE
    v_now timestamptz;
    v_last openings;
    v_era integer;
    v_head bigint;
    v_since timestamptz;
    v_nobody bigint;
    v_open bigint;
BEGIN
    -- In the order of the hot path: open settlements, then the head of the stream.
    LOCK TABLE open_settlements IN EXCLUSIVE MODE;
    SELECT position INTO v_head FROM stream_head FOR UPDATE;
    SELECT * INTO v_last FROM openings ORDER BY id DESC LIMIT 1;
    IF v_last.incarnation IS DISTINCT FROM p_believed THEN
        RETURN false;
    END IF;
    v_now := clock_timestamp();
    IF p_why = 'first' THEN
        INSERT INTO openings (
            era, incarnation, step, why, system_identifier, timeline, database_id, detail, at
        ) VALUES (
            0, gen_random_uuid(), 'opened', p_why, p_system_identifier, p_timeline, p_database_id,
            '{}', v_now
        );
        RETURN true;
    END IF;

    v_era := greatest(coalesce(v_last.era, 0) + 1, p_era);
    v_since := least(p_since, coalesce(
        (SELECT m.at FROM moves AS m WHERE m.position <= coalesce(p_known_to, v_head)
            ORDER BY m.position DESC LIMIT 1),
        (SELECT min(s.applied_at) FROM schema_migrations AS s)
    ));
    UPDATE stream_head SET position = v_era * 10000000000000;
    -- Engines take new numbers, from a block that nobody had before.
    v_nobody := greatest(v_era * 1000000::bigint, nextval(pg_get_serial_sequence('engines', 'id')));
    PERFORM setval(pg_get_serial_sequence('engines', 'id'), v_nobody);
    INSERT INTO engines (id, host, pid, lease_until, gone_at) OVERRIDING SYSTEM VALUE
    VALUES (v_nobody, 'an opening', 0, v_now, v_now);
    UPDATE engines SET gone_at = v_now WHERE gone_at IS NULL;
    -- What is beyond the line P is nobody's, so that it is claimed as what a dead engine has left and
    -- asked about. One sending more than is known may have been made: no proof covers them all.
    UPDATE open_settlements AS w SET owner = v_nobody
    FROM settlement_transactions AS s
    WHERE s.id = w.settlement_id AND s.state IN ('locked', 'sent', 'in_doubt', 'recalling');
    GET DIAGNOSTICS v_open = ROW_COUNT;
    UPDATE attempts AS a SET sends = a.sends + 1
    FROM settlement_transactions AS s, open_settlements AS w
    WHERE w.owner = v_nobody AND s.id = w.settlement_id
        AND a.settlement_id = s.id AND a.number = s.attempt;
    INSERT INTO openings (
        era, incarnation, step, why, system_identifier, timeline, database_id, detail, at
    ) VALUES (
        v_era, gen_random_uuid(), 'shut', p_why, p_system_identifier, p_timeline, p_database_id,
        jsonb_build_object(
            'since', v_since, 'last_position', v_head, 'in_flight', v_open, 'was', to_jsonb(v_last)
        ), v_now
    );
    RETURN true;
END $function$;

CREATE OR REPLACE FUNCTION public.spelled_reference(reference text)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS $function$
SELECT CASE
    WHEN length(regexp_replace(reference, '\s', '', 'g')) >= 4
    THEN upper(regexp_replace(reference, '\s', '', 'g'))
    ELSE ''
END
$function$;

CREATE OR REPLACE FUNCTION public.take_notice_positions(p_count bigint)
 RETURNS bigint
 LANGUAGE sql
AS $function$
    UPDATE notice_head AS h SET position = p_count + greatest(
        h.position, 10000000000000 * coalesce((SELECT max(o.era) FROM openings AS o), 0)
    )
    RETURNING h.position - p_count
$function$;

CREATE OR REPLACE FUNCTION public.tell_a_second_debit_once()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
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
END $function$;

CREATE OR REPLACE FUNCTION public.timing_span(booked_on date, settled_on date)
 RETURNS smallint
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS $function$
SELECT width_bucket(
    settled_on - booked_on, '{2,4,8,16,32,64,128,256,512,1024,2048,4096,8192,16384}'::integer[]
)::smallint
$function$;

CREATE OR REPLACE FUNCTION public.try_engine_lock(p_engine bigint)
 RETURNS boolean
 LANGUAGE sql
AS $function$
    SELECT pg_try_advisory_xact_lock(engine_lock_class(p_engine), engine_lock_number(p_engine))
$function$;

CREATE OR REPLACE FUNCTION public.wait_for_a_person()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    INSERT INTO waiting_dead_letters (dead_letter_id, received_at) VALUES (new.id, new.received_at);
    RETURN NULL;
END $function$;

CREATE OR REPLACE FUNCTION public.wait_no_more()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    DELETE FROM waiting_dead_letters WHERE dead_letter_id = new.dead_letter_id;
    RETURN NULL;
END $function$;

ALTER TABLE accounts ADD CONSTRAINT accounts_pkey PRIMARY KEY (id);

ALTER TABLE answers ADD CONSTRAINT answers_pkey PRIMARY KEY (id);

ALTER TABLE attempts ADD CONSTRAINT attempts_pkey PRIMARY KEY (settlement_id, number);

ALTER TABLE balance_moments ADD CONSTRAINT balance_moments_pkey PRIMARY KEY (at);

ALTER TABLE bank_versions ADD CONSTRAINT bank_versions_pkey PRIMARY KEY (id);

ALTER TABLE break_decisions ADD CONSTRAINT break_decisions_pkey PRIMARY KEY (proposal_id);

ALTER TABLE break_events ADD CONSTRAINT break_events_pkey PRIMARY KEY (break_id, number);

ALTER TABLE break_items ADD CONSTRAINT break_items_pkey PRIMARY KEY (break_id, side, item);

ALTER TABLE break_proposal_items ADD CONSTRAINT break_proposal_items_pkey PRIMARY KEY (proposal_id, side, item);

ALTER TABLE break_proposals ADD CONSTRAINT break_proposals_pkey PRIMARY KEY (id);

ALTER TABLE breaker_orders ADD CONSTRAINT breaker_orders_pkey PRIMARY KEY (id);

ALTER TABLE breaks ADD CONSTRAINT breaks_pkey PRIMARY KEY (id);

ALTER TABLE cover_results ADD CONSTRAINT cover_results_pkey PRIMARY KEY (settlement_id, attempt, number, transmission);

ALTER TABLE covers ADD CONSTRAINT covers_pkey PRIMARY KEY (settlement_id, attempt, number);

ALTER TABLE currencies ADD CONSTRAINT currencies_pkey PRIMARY KEY (code);

ALTER TABLE dead_letter_acts ADD CONSTRAINT dead_letter_acts_pkey PRIMARY KEY (id);

ALTER TABLE dead_letters ADD CONSTRAINT dead_letters_pkey PRIMARY KEY (id);

ALTER TABLE engines ADD CONSTRAINT engines_pkey PRIMARY KEY (id);

ALTER TABLE entry_details ADD CONSTRAINT entry_details_pkey PRIMARY KEY (statement_id, entry_number, number);

ALTER TABLE environments ADD CONSTRAINT environments_pkey PRIMARY KEY (id);

ALTER TABLE exceptions ADD CONSTRAINT exceptions_pkey PRIMARY KEY (id);

ALTER TABLE fund_locks ADD CONSTRAINT fund_locks_pkey PRIMARY KEY (settlement_id);

ALTER TABLE idempotent_calls ADD CONSTRAINT idempotent_calls_pkey PRIMARY KEY (key_hash);

ALTER TABLE inbound_messages ADD CONSTRAINT inbound_messages_pkey PRIMARY KEY (id);

ALTER TABLE inbound_reports ADD CONSTRAINT inbound_reports_pkey PRIMARY KEY (id);

ALTER TABLE issued_statement_files ADD CONSTRAINT issued_statement_files_pkey PRIMARY KEY (statement_id, format);

ALTER TABLE issued_statements ADD CONSTRAINT issued_statements_pkey PRIMARY KEY (id);

ALTER TABLE match_entries ADD CONSTRAINT match_entries_pkey PRIMARY KEY (statement_id, entry_number, turn);

ALTER TABLE match_postings ADD CONSTRAINT match_postings_pkey PRIMARY KEY (group_id, posting, leg, account_id, turn);

ALTER TABLE match_suggestions ADD CONSTRAINT match_suggestions_pkey PRIMARY KEY (id);

ALTER TABLE matched_statements ADD CONSTRAINT matched_statements_pkey PRIMARY KEY (statement_id);

ALTER TABLE matches ADD CONSTRAINT matches_pkey PRIMARY KEY (id);

ALTER TABLE messages ADD CONSTRAINT messages_pkey PRIMARY KEY (settlement_id, at, direction, sha256);

ALTER TABLE moves ADD CONSTRAINT moves_pkey PRIMARY KEY ("position");

ALTER TABLE notice_head ADD CONSTRAINT notice_head_pkey PRIMARY KEY (is_only);

ALTER TABLE notices ADD CONSTRAINT notices_pkey PRIMARY KEY ("position");

ALTER TABLE open_breaks ADD CONSTRAINT open_breaks_pkey PRIMARY KEY (break_id);

ALTER TABLE open_entries ADD CONSTRAINT open_entries_pkey PRIMARY KEY (statement_id, entry_number);

ALTER TABLE open_posting_keys ADD CONSTRAINT open_posting_keys_pkey PRIMARY KEY (account_id, key, posting_id);

ALTER TABLE open_postings ADD CONSTRAINT open_postings_pkey PRIMARY KEY (id);

ALTER TABLE open_recalls ADD CONSTRAINT open_recalls_pkey PRIMARY KEY (settlement_id);

ALTER TABLE open_settlements ADD CONSTRAINT open_settlements_pkey PRIMARY KEY (settlement_id);

ALTER TABLE openings ADD CONSTRAINT openings_pkey PRIMARY KEY (id);

ALTER TABLE page ADD CONSTRAINT page_pkey PRIMARY KEY (from_state, event);

ALTER TABLE past_balances ADD CONSTRAINT past_balances_pkey PRIMARY KEY (account_id, at);

ALTER TABLE payment_details ADD CONSTRAINT payment_details_pkey PRIMARY KEY (settlement_id);

ALTER TABLE proofs ADD CONSTRAINT proofs_pkey PRIMARY KEY (id);

ALTER TABLE proved_accounts ADD CONSTRAINT proved_accounts_pkey PRIMARY KEY (account_id);

ALTER TABLE rail_file_items ADD CONSTRAINT rail_file_items_pkey PRIMARY KEY (settlement_id, attempt);

ALTER TABLE rail_file_placements ADD CONSTRAINT rail_file_placements_pkey PRIMARY KEY (file_id);

ALTER TABLE rail_files ADD CONSTRAINT rail_files_pkey PRIMARY KEY (id);

ALTER TABLE rail_trace_head ADD CONSTRAINT rail_trace_head_pkey PRIMARY KEY (id);

ALTER TABLE recall_steps ADD CONSTRAINT recall_steps_pkey PRIMARY KEY (settlement_id, seq);

ALTER TABLE reconciliation_accounts ADD CONSTRAINT reconciliation_accounts_pkey PRIMARY KEY (account_id);

ALTER TABLE reconciliation_cursor ADD CONSTRAINT reconciliation_cursor_pkey PRIMARY KEY (is_only);

ALTER TABLE reconciliation_days ADD CONSTRAINT reconciliation_days_pkey PRIMARY KEY (account_id, day);

ALTER TABLE reconciliation_reports ADD CONSTRAINT reconciliation_reports_pkey PRIMARY KEY (run_id, currency);

ALTER TABLE reconciliation_run_ends ADD CONSTRAINT reconciliation_run_ends_pkey PRIMARY KEY (run_id);

ALTER TABLE reconciliation_runs ADD CONSTRAINT reconciliation_runs_pkey PRIMARY KEY (id);

ALTER TABLE regulatory_reports ADD CONSTRAINT regulatory_reports_pkey PRIMARY KEY (id);

ALTER TABLE resolutions ADD CONSTRAINT resolutions_pkey PRIMARY KEY (id);

ALTER TABLE returns ADD CONSTRAINT returns_pkey PRIMARY KEY (settlement_id, posting);

ALTER TABLE schema_migrations ADD CONSTRAINT schema_migrations_pkey PRIMARY KEY (number);

ALTER TABLE set_aside_statements ADD CONSTRAINT set_aside_statements_pkey PRIMARY KEY (statement_id);

ALTER TABLE settlement_transactions ADD CONSTRAINT settlement_transactions_pkey PRIMARY KEY (id);

ALTER TABLE settlement_windows ADD CONSTRAINT settlement_windows_pkey PRIMARY KEY (id);

ALTER TABLE statement_days ADD CONSTRAINT statement_days_pkey PRIMARY KEY (statement_id, day);

ALTER TABLE statement_decisions ADD CONSTRAINT statement_decisions_pkey PRIMARY KEY (id);

ALTER TABLE statement_entries ADD CONSTRAINT statement_entries_pkey PRIMARY KEY (statement_id, number);

ALTER TABLE statement_evidence ADD CONSTRAINT statement_evidence_pkey PRIMARY KEY (statement_id, entry_number, detail_number);

ALTER TABLE statement_files ADD CONSTRAINT statement_files_pkey PRIMARY KEY (sha256);

ALTER TABLE statement_proposal_statements ADD CONSTRAINT statement_proposal_statements_pkey PRIMARY KEY (proposal_id, statement_id);

ALTER TABLE statement_proposals ADD CONSTRAINT statement_proposals_pkey PRIMARY KEY (id);

ALTER TABLE statements ADD CONSTRAINT statements_pkey PRIMARY KEY (id);

ALTER TABLE stream_head ADD CONSTRAINT stream_head_pkey PRIMARY KEY (is_only);

ALTER TABLE timing_entries ADD CONSTRAINT timing_entries_pkey PRIMARY KEY (account_id, span, settled_on, match_id, statement_id, entry_number);

ALTER TABLE timing_postings ADD CONSTRAINT timing_postings_pkey PRIMARY KEY (account_id, span, settled_on, match_id, group_id, posting, leg);

ALTER TABLE transfers ADD CONSTRAINT transfers_pkey PRIMARY KEY (group_id, posting, leg);

ALTER TABLE unmatches ADD CONSTRAINT unmatches_pkey PRIMARY KEY (match_id);

ALTER TABLE unread_entries ADD CONSTRAINT unread_entries_pkey PRIMARY KEY (statement_id, entry_number, detail_number);

ALTER TABLE unsearched_statements ADD CONSTRAINT unsearched_statements_pkey PRIMARY KEY (statement_id);

ALTER TABLE waiting_dead_letters ADD CONSTRAINT waiting_dead_letters_pkey PRIMARY KEY (dead_letter_id);

ALTER TABLE accounts ADD CONSTRAINT accounts_kind_bank_currency_account_number_key UNIQUE (kind, bank, currency, account_number);

ALTER TABLE bank_versions ADD CONSTRAINT bank_versions_code_version_key UNIQUE (code, version);

ALTER TABLE break_decisions ADD CONSTRAINT break_decisions_transfer_group_key UNIQUE (transfer_group);

ALTER TABLE breaks ADD CONSTRAINT breaks_account_id_fingerprint_key UNIQUE (account_id, fingerprint);

ALTER TABLE exceptions ADD CONSTRAINT exceptions_settlement_id_kind_fingerprint_key UNIQUE NULLS NOT DISTINCT (settlement_id, kind, fingerprint);

ALTER TABLE inbound_messages ADD CONSTRAINT inbound_messages_rail_sha256_key UNIQUE (rail, sha256);

ALTER TABLE inbound_reports ADD CONSTRAINT inbound_reports_message_id_number_key UNIQUE (message_id, number);

ALTER TABLE issued_statements ADD CONSTRAINT issued_statements_account_id_day_key UNIQUE (account_id, day);

ALTER TABLE issued_statements ADD CONSTRAINT issued_statements_account_id_number_key UNIQUE (account_id, number);

ALTER TABLE match_suggestions ADD CONSTRAINT match_suggestions_account_id_fingerprint_key UNIQUE (account_id, fingerprint);

ALTER TABLE moves ADD CONSTRAINT moves_settlement_id_seq_key UNIQUE (settlement_id, seq);

ALTER TABLE notices ADD CONSTRAINT notices_break_id_number_key UNIQUE (break_id, number);

ALTER TABLE notices ADD CONSTRAINT notices_proof_id_key UNIQUE (proof_id);

ALTER TABLE notices ADD CONSTRAINT notices_run_id_currency_key UNIQUE (run_id, currency);

ALTER TABLE notices ADD CONSTRAINT notices_settlement_id_seq_key UNIQUE (settlement_id, seq);

ALTER TABLE open_postings ADD CONSTRAINT open_postings_account_id_group_id_posting_leg_key UNIQUE (account_id, group_id, posting, leg);

ALTER TABLE rail_file_items ADD CONSTRAINT rail_file_items_file_id_trace_key UNIQUE (file_id, trace);

ALTER TABLE rail_files ADD CONSTRAINT rail_files_rail_name_key UNIQUE (rail, name);

ALTER TABLE rail_files ADD CONSTRAINT rail_files_rail_sender_created_on_modifier_key UNIQUE (rail, sender, created_on, modifier);

ALTER TABLE regulatory_reports ADD CONSTRAINT regulatory_reports_template_day_as_of_key UNIQUE (template, day, as_of);

ALTER TABLE regulatory_reports ADD CONSTRAINT regulatory_reports_template_day_version_key UNIQUE (template, day, version);

ALTER TABLE settlement_windows ADD CONSTRAINT settlement_windows_currency_zone_window_start_key UNIQUE (currency, zone, window_start);

ALTER TABLE statement_decisions ADD CONSTRAINT statement_decisions_proposal_id_key UNIQUE (proposal_id);

ALTER TABLE accounts ADD CONSTRAINT no_overdraft CHECK (
CASE kind
    WHEN 'nostro'::account_kind THEN (debits_posted::numeric - credits_posted::numeric - held::numeric + credit_limit::numeric) >= 0::numeric
    WHEN 'vostro'::account_kind THEN (credits_posted::numeric - debits_posted::numeric - held::numeric + credit_limit::numeric) >= 0::numeric
    ELSE true
END);

ALTER TABLE answers ADD CONSTRAINT answers_times_check CHECK (times > 0);

ALTER TABLE answers ADD CONSTRAINT legal_answer CHECK (state = 'validating'::settlement_state AND event = 'no_answer'::settlement_event OR state = 'locked'::settlement_state AND event = 'undelivered'::settlement_event OR state = 'in_doubt'::settlement_state AND event = 'no_answer'::settlement_event OR state = 'sent'::settlement_state AND event = 'acknowledged'::settlement_event OR state = 'sent'::settlement_state AND event = 'not_found'::settlement_event OR state = 'sent'::settlement_state AND event = 'no_answer'::settlement_event OR state = 'recalling'::settlement_state AND event = 'acknowledged'::settlement_event OR state = 'recalling'::settlement_state AND event = 'no_answer'::settlement_event);

ALTER TABLE attempts ADD CONSTRAINT attempts_check CHECK (undelivered >= 0 AND undelivered <= sends);

ALTER TABLE attempts ADD CONSTRAINT attempts_number_check CHECK (number > 0);

ALTER TABLE attempts ADD CONSTRAINT attempts_sends_check CHECK (sends > 0);

ALTER TABLE bank_versions ADD CONSTRAINT bank_versions_changed_by_check CHECK (length(changed_by) >= 1 AND length(changed_by) <= 256);

ALTER TABLE bank_versions ADD CONSTRAINT bank_versions_check CHECK (jsonb_typeof(content) = 'object'::text AND (content ->> 'code'::text) = code AND octet_length(content::text) <= 262144);

ALTER TABLE bank_versions ADD CONSTRAINT bank_versions_code_check CHECK (code = folded_bank(code) AND code ~ '^[A-Z0-9._-]{1,20}$'::text);

ALTER TABLE bank_versions ADD CONSTRAINT bank_versions_currencies_check CHECK (cardinality(currencies) <= 200);

ALTER TABLE bank_versions ADD CONSTRAINT bank_versions_rails_check CHECK (cardinality(rails) <= 32);

ALTER TABLE bank_versions ADD CONSTRAINT bank_versions_version_check CHECK (version >= 1 AND version <= 10000);

ALTER TABLE break_decisions ADD CONSTRAINT break_decisions_check CHECK ((decision = 'approved'::text) = (signed_sha256 IS NOT NULL));

ALTER TABLE break_decisions ADD CONSTRAINT break_decisions_check1 CHECK ((decision = 'approved'::text) = (role <> ''::text));

ALTER TABLE break_decisions ADD CONSTRAINT break_decisions_check2 CHECK (decision = 'approved'::text OR num_nonnulls(match_id, transfer_group) = 0);

ALTER TABLE break_decisions ADD CONSTRAINT break_decisions_decided_by_check CHECK (length(decided_by) >= 1 AND length(decided_by) <= 256);

ALTER TABLE break_decisions ADD CONSTRAINT break_decisions_decision_check CHECK (decision = ANY (ARRAY['approved'::text, 'declined'::text, 'superseded'::text]));

ALTER TABLE break_decisions ADD CONSTRAINT break_decisions_role_check CHECK (length(role) <= 64);

ALTER TABLE break_decisions ADD CONSTRAINT break_decisions_signed_sha256_check CHECK (octet_length(signed_sha256) = 32);

ALTER TABLE break_events ADD CONSTRAINT break_events_event_check CHECK (event = ANY (ARRAY['opened'::text, 'assigned'::text, 'commented'::text, 'escalated'::text, 'proposed'::text, 'declined'::text, 'approved'::text, 'matched'::text, 'closed'::text, 'reopened'::text]));

ALTER TABLE break_events ADD CONSTRAINT break_events_level_check CHECK (level >= 0);

ALTER TABLE break_events ADD CONSTRAINT break_events_number_check CHECK (number > 0);

ALTER TABLE break_events ADD CONSTRAINT break_events_owner_check CHECK (length(owner) <= 256);

ALTER TABLE break_events ADD CONSTRAINT break_events_text_check CHECK (length(text) <= 2000);

ALTER TABLE break_events ADD CONSTRAINT break_events_who_check CHECK (length(who) >= 1 AND length(who) <= 256);

ALTER TABLE break_items ADD CONSTRAINT break_items_side_check CHECK (side = ANY (ARRAY['ours'::text, 'theirs'::text]));

ALTER TABLE break_proposal_items ADD CONSTRAINT break_proposal_items_side_check CHECK (side = ANY (ARRAY['ours'::text, 'theirs'::text]));

ALTER TABLE break_proposals ADD CONSTRAINT break_proposals_amount_minor_check CHECK (amount_minor <> 0);

ALTER TABLE break_proposals ADD CONSTRAINT break_proposals_check CHECK (evidence_sha256 = sha256(evidence));

ALTER TABLE break_proposals ADD CONSTRAINT break_proposals_check1 CHECK (expires_at > proposed_at);

ALTER TABLE break_proposals ADD CONSTRAINT break_proposals_content_sha256_check CHECK (octet_length(content_sha256) = 32);

ALTER TABLE break_proposals ADD CONSTRAINT break_proposals_evidence_check CHECK (octet_length(evidence) <= 1048576);

ALTER TABLE break_proposals ADD CONSTRAINT break_proposals_evidence_name_check CHECK (length(evidence_name) <= 255);

ALTER TABLE break_proposals ADD CONSTRAINT break_proposals_proposed_by_check CHECK (length(proposed_by) >= 1 AND length(proposed_by) <= 256);

ALTER TABLE break_proposals ADD CONSTRAINT break_proposals_reason_check CHECK (length(reason) >= 1 AND length(reason) <= 1000);

ALTER TABLE break_proposals ADD CONSTRAINT break_proposals_resolution_check CHECK (resolution = ANY (ARRAY['CHARGES'::text, 'EXCHANGE'::text, 'WRITE_OFF'::text, 'SUSPENSE'::text, 'FUNDING'::text, 'RETURN'::text, 'EXPLANATION'::text]));

ALTER TABLE breaker_orders ADD CONSTRAINT breaker_orders_action_check CHECK (action = ANY (ARRAY['open'::text, 'close'::text, 'probe'::text]));

ALTER TABLE breaker_orders ADD CONSTRAINT breaker_orders_bank_check CHECK (length(bank) <= 20);

ALTER TABLE breaker_orders ADD CONSTRAINT breaker_orders_rail_check CHECK (length(rail) >= 1 AND length(rail) <= 64);

ALTER TABLE breaker_orders ADD CONSTRAINT breaker_orders_reason_check CHECK (length(reason) >= 1 AND length(reason) <= 1000);

ALTER TABLE breaker_orders ADD CONSTRAINT breaker_orders_who_check CHECK (length(who) >= 1 AND length(who) <= 256);

ALTER TABLE breaks ADD CONSTRAINT breaks_fingerprint_check CHECK (octet_length(fingerprint) = 32);

ALTER TABLE breaks ADD CONSTRAINT breaks_kind_check CHECK (kind = ANY (ARRAY['MISSING_OURS'::text, 'MISSING_THEIRS'::text, 'AMOUNT'::text, 'DATE'::text, 'CURRENCY'::text, 'DUPLICATE'::text, 'UNKNOWN_DEBIT'::text, 'REVERSAL'::text, 'AMBIGUOUS'::text, 'OPENING_DIFFERENCE'::text]));

ALTER TABLE breaks ADD CONSTRAINT breaks_reason_check CHECK (length(reason) <= 1000);

ALTER TABLE breaks ADD CONSTRAINT breaks_severity_check CHECK (severity >= 1 AND severity <= 4);

ALTER TABLE cover_results ADD CONSTRAINT a_refusal_is_of_the_cover CHECK ((transmission = 0) = (result = 'refused'::text));

ALTER TABLE cover_results ADD CONSTRAINT cover_results_result_check CHECK (result = ANY (ARRAY['undelivered'::text, 'refused'::text]));

ALTER TABLE cover_results ADD CONSTRAINT cover_results_transmission_check CHECK (transmission >= 0);

ALTER TABLE covers ADD CONSTRAINT a_repair_is_ordered CHECK ((number = 1) = (ordered_by = ''::text) AND (number = 1) = (reason = ''::text));

ALTER TABLE covers ADD CONSTRAINT covers_attempt_check CHECK (attempt > 0);

ALTER TABLE covers ADD CONSTRAINT covers_content_check CHECK (octet_length(content) >= 1 AND octet_length(content) <= 1048576);

ALTER TABLE covers ADD CONSTRAINT covers_message_id_check CHECK (length(message_id) >= 1 AND length(message_id) <= 35);

ALTER TABLE covers ADD CONSTRAINT covers_number_check CHECK (number >= 1 AND number <= 9);

ALTER TABLE covers ADD CONSTRAINT covers_ordered_by_check CHECK (length(ordered_by) <= 256);

ALTER TABLE covers ADD CONSTRAINT covers_reason_check CHECK (length(reason) <= 500);

ALTER TABLE covers ADD CONSTRAINT only_a_first_cover_is_found CHECK (number = 1 OR NOT is_found);

ALTER TABLE currencies ADD CONSTRAINT currencies_code_check CHECK (code ~ '^[A-Z]{3}$'::text);

ALTER TABLE currencies ADD CONSTRAINT currencies_exponent_check CHECK (exponent >= 0 AND exponent <= 4);

ALTER TABLE dead_letter_acts ADD CONSTRAINT dead_letter_acts_check CHECK (outcome <> 'dropped'::text OR words <> ''::text);

ALTER TABLE dead_letter_acts ADD CONSTRAINT dead_letter_acts_check1 CHECK ((settlement_id IS NOT NULL) = (outcome = ANY (ARRAY['accepted'::text, 'replayed'::text])));

ALTER TABLE dead_letter_acts ADD CONSTRAINT dead_letter_acts_outcome_check CHECK (outcome = ANY (ARRAY['accepted'::text, 'replayed'::text, 'refused'::text, 'dropped'::text]));

ALTER TABLE dead_letter_acts ADD CONSTRAINT dead_letter_acts_who_check CHECK (length(who) >= 1 AND length(who) <= 256);

ALTER TABLE dead_letter_acts ADD CONSTRAINT dead_letter_acts_words_check CHECK (length(words) <= 1000);

ALTER TABLE dead_letters ADD CONSTRAINT dead_letter_names_its_message CHECK (num_nulls(stream, stream_sequence, stored_at) = ANY (ARRAY[0, 3]));

ALTER TABLE dead_letters ADD CONSTRAINT dead_letter_payload_is_described CHECK (num_nulls(payload_bytes, payload_hash) = ANY (ARRAY[0, 2]));

ALTER TABLE dead_letters ADD CONSTRAINT dead_letters_check CHECK (payload_bytes >= octet_length(payload));

ALTER TABLE dead_letters ADD CONSTRAINT dead_letters_payload_hash_check CHECK (octet_length(payload_hash) = 32);

ALTER TABLE dead_letters ADD CONSTRAINT dead_letters_stream_sequence_check CHECK (stream_sequence > 0);

ALTER TABLE entry_details ADD CONSTRAINT entry_details_number_check CHECK (number > 0);

ALTER TABLE environments ADD CONSTRAINT environments_id_check CHECK (id > 0);

ALTER TABLE environments ADD CONSTRAINT environments_name_check CHECK (name = ANY (ARRAY['production'::text, 'dev'::text]));

ALTER TABLE environments ADD CONSTRAINT environments_set_by_check CHECK (length(set_by) >= 1 AND length(set_by) <= 256);

ALTER TABLE exceptions ADD CONSTRAINT exceptions_acknowledged_by_check CHECK (length(acknowledged_by) >= 1 AND length(acknowledged_by) <= 256);

ALTER TABLE exceptions ADD CONSTRAINT exceptions_check CHECK (settlement_id IS NOT NULL OR kind = 'unknown_payment'::text);

ALTER TABLE exceptions ADD CONSTRAINT exceptions_check1 CHECK ((acknowledged_at IS NULL) = (acknowledged_by IS NULL));

ALTER TABLE exceptions ADD CONSTRAINT exceptions_check2 CHECK ((closed_at IS NULL) = (closed_by IS NULL));

ALTER TABLE exceptions ADD CONSTRAINT exceptions_check3 CHECK ((closed_at IS NULL) = (close_reason IS NULL));

ALTER TABLE exceptions ADD CONSTRAINT exceptions_close_reason_check CHECK (length(close_reason) >= 1 AND length(close_reason) <= 1000);

ALTER TABLE exceptions ADD CONSTRAINT exceptions_closed_by_check CHECK (length(closed_by) >= 1 AND length(closed_by) <= 256);

ALTER TABLE exceptions ADD CONSTRAINT exceptions_kind_check CHECK (kind = ANY (ARRAY['in_doubt'::text, 'overdue'::text, 'contradiction'::text, 'late_debit'::text, 'second_debit'::text, 'disproved'::text, 'uncovered_return'::text, 'unknown_payment'::text, 'altered_payment'::text, 'cannot_be_booked'::text, 'held'::text, 'amount_differs'::text, 'recall_overdue'::text, 'debited_twice'::text, 'statement_differs'::text, 'cover_failed'::text]));

ALTER TABLE exceptions ADD CONSTRAINT suspense_needs_four_eyes CHECK (closed_by IS NULL OR (kind <> ALL (ARRAY['disproved'::text, 'uncovered_return'::text])) OR acknowledged_by IS NOT NULL AND person_of(acknowledged_by) <> person_of(closed_by)) NOT VALID;

ALTER TABLE fund_locks ADD CONSTRAINT fund_locks_amount_minor_check CHECK (amount_minor > 0);

ALTER TABLE fund_locks ADD CONSTRAINT fund_locks_check CHECK ((resolved_at IS NULL) = (outcome IS NULL));

ALTER TABLE fund_locks ADD CONSTRAINT fund_locks_outcome_check CHECK (outcome = ANY (ARRAY['posted'::text, 'released'::text]));

ALTER TABLE inbound_messages ADD CONSTRAINT inbound_messages_check1 CHECK ((repeats > 0) = (repeated_at IS NOT NULL));

ALTER TABLE inbound_messages ADD CONSTRAINT inbound_messages_content_check CHECK (octet_length(content) >= 1 AND octet_length(content) <= 1048576);

ALTER TABLE inbound_messages ADD CONSTRAINT inbound_messages_identity CHECK (sha256 = sha256(
CASE
    WHEN sender = ''::text THEN content
    ELSE convert_to(sender || chr(10), 'UTF8'::name) || content
END)) NOT VALID;

ALTER TABLE inbound_messages ADD CONSTRAINT inbound_messages_rail_check CHECK (length(rail) >= 1 AND length(rail) <= 64);

ALTER TABLE inbound_messages ADD CONSTRAINT inbound_messages_repeats_check CHECK (repeats >= 0);

ALTER TABLE inbound_messages ADD CONSTRAINT inbound_messages_sender CHECK (length(sender) <= 256 AND sender !~ '\n'::text) NOT VALID;

ALTER TABLE inbound_messages ADD CONSTRAINT inbound_messages_sender_reference_check CHECK (length(sender_reference) <= 140);

ALTER TABLE inbound_messages ADD CONSTRAINT inbound_messages_source_check CHECK (source = ANY (ARRAY['callback'::text, 'inbox'::text, 'pushed'::text, 'statement'::text]));

ALTER TABLE inbound_reports ADD CONSTRAINT inbound_reports_attempt_check CHECK (attempt > 0);

ALTER TABLE inbound_reports ADD CONSTRAINT inbound_reports_check CHECK ((settlement_id IS NULL) = (attempt IS NULL));

ALTER TABLE inbound_reports ADD CONSTRAINT inbound_reports_check1 CHECK ((outcome IS NULL) = (closed_at IS NULL));

ALTER TABLE inbound_reports ADD CONSTRAINT inbound_reports_check2 CHECK (outcome IS DISTINCT FROM 'unknown_payment'::text OR settlement_id IS NULL);

ALTER TABLE inbound_reports ADD CONSTRAINT inbound_reports_number_check CHECK (number >= 1 AND number <= 10000);

ALTER TABLE inbound_reports ADD CONSTRAINT inbound_reports_outcome_check CHECK (outcome = ANY (ARRAY['applied'::text, 'no_news'::text, 'not_heard'::text, 'unknown_payment'::text]));

ALTER TABLE issued_statement_files ADD CONSTRAINT issued_statement_files_check CHECK (sha256 = sha256(content));

ALTER TABLE issued_statement_files ADD CONSTRAINT issued_statement_files_format_check CHECK (format = ANY (ARRAY['camt.053'::text, 'MT950'::text]));

ALTER TABLE issued_statements ADD CONSTRAINT issued_statements_check CHECK (ends > begins);

ALTER TABLE issued_statements ADD CONSTRAINT issued_statements_check1 CHECK (previous_day < day);

ALTER TABLE issued_statements ADD CONSTRAINT issued_statements_check2 CHECK ((opening_minor + credits_minor - debits_minor) = closing_minor);

ALTER TABLE issued_statements ADD CONSTRAINT issued_statements_check3 CHECK ((number = 1) = (previous_day IS NULL));

ALTER TABLE issued_statements ADD CONSTRAINT issued_statements_credits_minor_check CHECK (credits_minor >= 0::numeric);

ALTER TABLE issued_statements ADD CONSTRAINT issued_statements_debits_minor_check CHECK (debits_minor >= 0::numeric);

ALTER TABLE issued_statements ADD CONSTRAINT issued_statements_entries_check CHECK (entries >= 0);

ALTER TABLE issued_statements ADD CONSTRAINT issued_statements_issued_by_check CHECK (length(issued_by) >= 1 AND length(issued_by) <= 256);

ALTER TABLE issued_statements ADD CONSTRAINT issued_statements_number_check CHECK (number >= 1 AND number <= 99999);

ALTER TABLE match_entries ADD CONSTRAINT match_entries_turn_check CHECK (turn > 0);

ALTER TABLE match_postings ADD CONSTRAINT match_postings_turn_check CHECK (turn > 0);

ALTER TABLE match_suggestions ADD CONSTRAINT match_suggestions_explanation_check CHECK (length(explanation) <= 1000);

ALTER TABLE match_suggestions ADD CONSTRAINT match_suggestions_fingerprint_check CHECK (octet_length(fingerprint) = 32);

ALTER TABLE matched_statements ADD CONSTRAINT matched_statements_entries_done_check CHECK (entries_done >= 0);

ALTER TABLE matches ADD CONSTRAINT matches_check CHECK ((difference_minor = 0) = (difference_account = ''::text));

ALTER TABLE matches ADD CONSTRAINT matches_explanation_check CHECK (length(explanation) <= 1000);

ALTER TABLE matches ADD CONSTRAINT matches_who_check CHECK (length(who) >= 1 AND length(who) <= 256);

ALTER TABLE messages ADD CONSTRAINT messages_attempt_check CHECK (attempt > 0);

ALTER TABLE messages ADD CONSTRAINT messages_check CHECK (sha256 = sha256(content));

ALTER TABLE messages ADD CONSTRAINT messages_content_check CHECK (octet_length(content) <= 1048576);

ALTER TABLE messages ADD CONSTRAINT messages_direction_check CHECK (direction = ANY (ARRAY['in'::text, 'out'::text]));

ALTER TABLE messages ADD CONSTRAINT messages_message_id_check CHECK (length(message_id) <= 140);

ALTER TABLE messages ADD CONSTRAINT messages_rail_check CHECK (length(rail) >= 1 AND length(rail) <= 64);

ALTER TABLE messages ADD CONSTRAINT messages_response_status_check CHECK (response_status >= 100 AND response_status <= 999);

ALTER TABLE messages ADD CONSTRAINT messages_type_check CHECK (length(type) <= 35);

ALTER TABLE moves ADD CONSTRAINT legal_move CHECK (is_legal_move(from_state, event, to_state));

ALTER TABLE notice_head ADD CONSTRAINT notice_head_is_only_check CHECK (is_only);

ALTER TABLE notice_head ADD CONSTRAINT notice_head_position_check CHECK ("position" >= 0);

ALTER TABLE notice_head ADD CONSTRAINT notice_head_published_check CHECK (published >= 0);

ALTER TABLE notice_head ADD CONSTRAINT notice_head_published_sequence_check CHECK (published_sequence >= 0);

ALTER TABLE notices ADD CONSTRAINT notices_have_a_fact CHECK (num_nonnulls(run_id, currency) =
CASE
    WHEN kind = 'discrepancy'::text THEN 2
    ELSE 0
END AND num_nonnulls(break_id, number) =
CASE
    WHEN kind = 'escalation'::text THEN 2
    ELSE 0
END AND num_nonnulls(settlement_id, seq) =
CASE
    WHEN kind = 'recall'::text THEN 2
    ELSE 0
END AND num_nonnulls(proof_id) =
CASE
    WHEN kind = 'proof'::text THEN 1
    ELSE 0
END);

ALTER TABLE notices ADD CONSTRAINT notices_kind_check CHECK (kind = ANY (ARRAY['discrepancy'::text, 'escalation'::text, 'recall'::text, 'proof'::text]));

ALTER TABLE notices ADD CONSTRAINT notices_position_check CHECK ("position" > 0);

ALTER TABLE open_breaks ADD CONSTRAINT open_breaks_level_check CHECK (level >= 0);

ALTER TABLE open_recalls ADD CONSTRAINT open_recalls_asked_check CHECK (asked >= 0);

ALTER TABLE open_settlements ADD CONSTRAINT open_settlements_epoch_check CHECK (epoch > 0);

ALTER TABLE open_settlements ADD CONSTRAINT open_settlements_owner_check CHECK (owner >= 0);

ALTER TABLE openings ADD CONSTRAINT openings_era_check CHECK (era >= 0 AND era <= 900000);

ALTER TABLE openings ADD CONSTRAINT openings_step_check CHECK (step = ANY (ARRAY['shut'::text, 'listed'::text, 'confirmed'::text, 'opened'::text]));

ALTER TABLE payment_details ADD CONSTRAINT payment_details_check CHECK (num_nonnulls(payment, rail, delivery) > 0);

ALTER TABLE payment_details ADD CONSTRAINT payment_details_rail_check CHECK (rail <> ''::text);

ALTER TABLE proofs ADD CONSTRAINT proof_adds_up CHECK ((our_closing_minor + unmatched_theirs_minor - unmatched_ours_minor + opening_difference_minor + difference_minor) = their_closing_minor);

ALTER TABLE proofs ADD CONSTRAINT proofs_check CHECK (is_zero = (difference_minor = 0::numeric AND held_back_by = ''::text));

ALTER TABLE proofs ADD CONSTRAINT proofs_held_back_by_check CHECK (length(held_back_by) <= 1000);

ALTER TABLE proofs ADD CONSTRAINT proofs_unmatched_ours_check CHECK (unmatched_ours >= 0);

ALTER TABLE proofs ADD CONSTRAINT proofs_unmatched_theirs_check CHECK (unmatched_theirs >= 0);

ALTER TABLE proved_accounts ADD CONSTRAINT proved_accounts_last_decision_id_check CHECK (last_decision_id >= 0);

ALTER TABLE proved_accounts ADD CONSTRAINT proved_accounts_last_statement_id_check CHECK (last_statement_id >= 0);

ALTER TABLE rail_file_items ADD CONSTRAINT rail_file_items_trace_check CHECK (length(trace) >= 1 AND length(trace) <= 35);

ALTER TABLE rail_files ADD CONSTRAINT rail_files_check CHECK (sha256 = sha256(content));

ALTER TABLE rail_files ADD CONSTRAINT rail_files_content_check CHECK (octet_length(content) >= 1 AND octet_length(content) <= 33554432);

ALTER TABLE rail_files ADD CONSTRAINT rail_files_modifier_check CHECK (modifier ~ '^[A-Z0-9]$'::text);

ALTER TABLE rail_files ADD CONSTRAINT rail_files_name_check CHECK (length(name) >= 1 AND length(name) <= 100);

ALTER TABLE rail_files ADD CONSTRAINT rail_files_rail_check CHECK (length(rail) >= 1 AND length(rail) <= 64);

ALTER TABLE rail_files ADD CONSTRAINT rail_files_sender_check CHECK (length(sender) >= 1 AND length(sender) <= 64);

ALTER TABLE rail_trace_head ADD CONSTRAINT rail_trace_head_id_check CHECK (id = 1);

ALTER TABLE rail_trace_head ADD CONSTRAINT rail_trace_head_last_check CHECK (last >= 1 AND last <= 9999999);

ALTER TABLE recall_steps ADD CONSTRAINT recall_steps_check CHECK ((seq = 1) = (event = 'requested'::text));

ALTER TABLE recall_steps ADD CONSTRAINT recall_steps_detail_check CHECK (octet_length(detail::text) <= 16384);

ALTER TABLE recall_steps ADD CONSTRAINT recall_steps_event_check CHECK (event = ANY (ARRAY['requested'::text, 'acknowledged'::text, 'recalled'::text, 'recall_refused'::text, 'returned'::text, 'overdue'::text]));

ALTER TABLE recall_steps ADD CONSTRAINT recall_steps_seq_check CHECK (seq >= 1 AND seq <= 100);

ALTER TABLE recall_steps ADD CONSTRAINT recall_steps_state_check CHECK (state = ANY (ARRAY['requested'::text, 'in_process'::text, 'overdue'::text, 'promised'::text, 'refused'::text, 'returned'::text]));

ALTER TABLE reconciliation_cursor ADD CONSTRAINT reconciliation_cursor_is_only_check CHECK (is_only);

ALTER TABLE reconciliation_cursor ADD CONSTRAINT reconciliation_cursor_position_check CHECK ("position" >= 0);

ALTER TABLE reconciliation_run_ends ADD CONSTRAINT reconciliation_run_ends_matches_check CHECK (matches >= 0);

ALTER TABLE reconciliation_run_ends ADD CONSTRAINT reconciliation_run_ends_result_hash_check CHECK (octet_length(result_hash) = 32);

ALTER TABLE reconciliation_runs ADD CONSTRAINT reconciliation_runs_rules_version_check CHECK (length(rules_version) >= 1 AND length(rules_version) <= 100);

ALTER TABLE reconciliation_runs ADD CONSTRAINT reconciliation_runs_started_for_check CHECK (started_for = ANY (ARRAY['schedule'::text, 'arrival'::text, 'demand'::text]));

ALTER TABLE reconciliation_runs ADD CONSTRAINT reconciliation_runs_who_check CHECK (length(who) >= 1 AND length(who) <= 256);

ALTER TABLE regulatory_reports ADD CONSTRAINT regulatory_reports_check CHECK (ends > begins);

ALTER TABLE regulatory_reports ADD CONSTRAINT regulatory_reports_check1 CHECK (as_of >= ends);

ALTER TABLE regulatory_reports ADD CONSTRAINT regulatory_reports_check2 CHECK (length(reason) <= 1000 AND (version = 1 OR reason <> ''::text));

ALTER TABLE regulatory_reports ADD CONSTRAINT regulatory_reports_check3 CHECK (sha256 = sha256(content));

ALTER TABLE regulatory_reports ADD CONSTRAINT regulatory_reports_made_by_check CHECK (length(made_by) >= 1 AND length(made_by) <= 256);

ALTER TABLE regulatory_reports ADD CONSTRAINT regulatory_reports_rows_check CHECK (rows >= 0);

ALTER TABLE regulatory_reports ADD CONSTRAINT regulatory_reports_template_check CHECK (length(template) >= 1 AND length(template) <= 64);

ALTER TABLE regulatory_reports ADD CONSTRAINT regulatory_reports_template_content_check CHECK (octet_length(template_content) <= 65536);

ALTER TABLE regulatory_reports ADD CONSTRAINT regulatory_reports_template_version_check CHECK (template_version > 0);

ALTER TABLE regulatory_reports ADD CONSTRAINT regulatory_reports_version_check CHECK (version > 0);

ALTER TABLE resolutions ADD CONSTRAINT approved_by_another CHECK (decision IS DISTINCT FROM 'approved'::text OR person_of(decided_by) <> person_of(proposed_by)) NOT VALID;

ALTER TABLE resolutions ADD CONSTRAINT approved_in_time CHECK (decision IS DISTINCT FROM 'approved'::text OR decided_at < expires_at);

ALTER TABLE resolutions ADD CONSTRAINT resolutions_check CHECK (evidence_sha256 = sha256(evidence));

ALTER TABLE resolutions ADD CONSTRAINT resolutions_check1 CHECK (expires_at > proposed_at);

ALTER TABLE resolutions ADD CONSTRAINT resolutions_check2 CHECK ((decision IS NULL) = (decided_by IS NULL));

ALTER TABLE resolutions ADD CONSTRAINT resolutions_check3 CHECK ((decision IS NULL) = (decided_at IS NULL));

ALTER TABLE resolutions ADD CONSTRAINT resolutions_check4 CHECK ((finished_at IS NULL) = (ending IS NULL));

ALTER TABLE resolutions ADD CONSTRAINT resolutions_check5 CHECK (taken_up_at IS NULL OR NOT decision IS DISTINCT FROM 'approved'::text);

ALTER TABLE resolutions ADD CONSTRAINT resolutions_check6 CHECK (finished_at IS NULL OR NOT decision IS DISTINCT FROM 'approved'::text);

ALTER TABLE resolutions ADD CONSTRAINT resolutions_content_sha256_check CHECK (octet_length(content_sha256) = 32);

ALTER TABLE resolutions ADD CONSTRAINT resolutions_decided_by_check CHECK (length(decided_by) >= 1 AND length(decided_by) <= 256);

ALTER TABLE resolutions ADD CONSTRAINT resolutions_decision_check CHECK (decision = ANY (ARRAY['approved'::text, 'declined'::text, 'superseded'::text]));

ALTER TABLE resolutions ADD CONSTRAINT resolutions_ending_check CHECK (ending = ANY (ARRAY['attested'::text, 'overtaken'::text]));

ALTER TABLE resolutions ADD CONSTRAINT resolutions_evidence_check CHECK (octet_length(evidence) >= 1 AND octet_length(evidence) <= 1048576);

ALTER TABLE resolutions ADD CONSTRAINT resolutions_evidence_name_check CHECK (length(evidence_name) >= 1 AND length(evidence_name) <= 255);

ALTER TABLE resolutions ADD CONSTRAINT resolutions_finding_check CHECK (finding = ANY (ARRAY['settled'::text, 'not_settled'::text, 'release'::text, 'decline'::text]));

ALTER TABLE resolutions ADD CONSTRAINT resolutions_proposed_by_check CHECK (length(proposed_by) >= 1 AND length(proposed_by) <= 256);

ALTER TABLE resolutions ADD CONSTRAINT resolutions_reason_check CHECK (length(reason) >= 1 AND length(reason) <= 1000);

ALTER TABLE resolutions ADD CONSTRAINT resolutions_state_check CHECK ((state = ANY (ARRAY['in_doubt'::settlement_state, 'sent'::settlement_state, 'recalling'::settlement_state, 'held'::settlement_state])) AND (state = 'held'::settlement_state) = (finding = ANY (ARRAY['release'::text, 'decline'::text])));

ALTER TABLE returns ADD CONSTRAINT returns_amount_minor_check CHECK (amount_minor > 0);

ALTER TABLE returns ADD CONSTRAINT returns_charges_minor_check CHECK (charges_minor >= 0);

ALTER TABLE returns ADD CONSTRAINT returns_left_minor_check CHECK (left_minor >= 0);

ALTER TABLE returns ADD CONSTRAINT returns_posting_check CHECK (posting > 0);

ALTER TABLE schema_migrations ADD CONSTRAINT schema_migrations_check CHECK (compatible_from >= (number - 1) AND compatible_from <= number);

ALTER TABLE settlement_transactions ADD CONSTRAINT settlement_transactions_attempt_check CHECK (attempt >= 0);

ALTER TABLE settlement_transactions ADD CONSTRAINT settlement_transactions_check CHECK (from_bank <> to_bank);

ALTER TABLE settlement_transactions ADD CONSTRAINT settlement_transactions_check1 CHECK ((ended_at IS NOT NULL) = (state = ANY (ARRAY['completed'::settlement_state, 'failed'::settlement_state, 'rolled_back'::settlement_state, 'returned'::settlement_state])));

ALTER TABLE settlement_transactions ADD CONSTRAINT settlement_transactions_check2 CHECK (holds_obligation = (state <> ALL (ARRAY['failed'::settlement_state, 'rolled_back'::settlement_state, 'returned'::settlement_state])));

ALTER TABLE settlement_transactions ADD CONSTRAINT settlement_transactions_seq_check CHECK (seq > 0);

ALTER TABLE settlement_windows ADD CONSTRAINT settlement_windows_days_of_week_check CHECK (days_of_week <@ ARRAY[1::smallint, 2::smallint, 3::smallint, 4::smallint, 5::smallint, 6::smallint, 7::smallint] AND cardinality(days_of_week) > 0);

ALTER TABLE statement_days ADD CONSTRAINT statement_days_check CHECK (misdated >= 0 AND misdated <= entries);

ALTER TABLE statement_days ADD CONSTRAINT statement_days_entries_check CHECK (entries > 0);

ALTER TABLE statement_decisions ADD CONSTRAINT statement_decisions_check CHECK ((decision = 'approved'::text) = (signed_sha256 IS NOT NULL));

ALTER TABLE statement_decisions ADD CONSTRAINT statement_decisions_check1 CHECK ((decision = 'approved'::text) = (role <> ''::text));

ALTER TABLE statement_decisions ADD CONSTRAINT statement_decisions_decided_by_check CHECK (length(decided_by) >= 1 AND length(decided_by) <= 256);

ALTER TABLE statement_decisions ADD CONSTRAINT statement_decisions_decision_check CHECK (decision = ANY (ARRAY['approved'::text, 'declined'::text]));

ALTER TABLE statement_decisions ADD CONSTRAINT statement_decisions_role_check CHECK (length(role) <= 64);

ALTER TABLE statement_decisions ADD CONSTRAINT statement_decisions_signed_sha256_check CHECK (octet_length(signed_sha256) = 32);

ALTER TABLE statement_entries ADD CONSTRAINT statement_entries_identity_hash_check CHECK (octet_length(identity_hash) = 32);

ALTER TABLE statement_entries ADD CONSTRAINT statement_entries_number_check CHECK (number > 0);

ALTER TABLE statement_entries ADD CONSTRAINT statement_entries_occurrence_check CHECK (occurrence > 0);

ALTER TABLE statement_entries ADD CONSTRAINT statement_entries_status_check CHECK (status = ANY (ARRAY['BOOKED'::text, 'PENDING'::text, 'FUTURE'::text, 'INFORMATION'::text]));

ALTER TABLE statement_evidence ADD CONSTRAINT closed_by_a_rule CHECK (
CASE closed_by
    WHEN ''::text THEN rules_version = ''::text
    ELSE (closed_by = ANY (ARRAY['charges-by-tariff'::text, 'tolerance'::text])) AND rules_version <> ''::text AND (says = ANY (ARRAY['debit'::text, 'second_debit'::text]))
END) NOT VALID;

ALTER TABLE statement_evidence ADD CONSTRAINT statement_evidence_amount_minor_check CHECK (amount_minor >= 0);

ALTER TABLE statement_evidence ADD CONSTRAINT statement_evidence_attempt_check CHECK (attempt > 0);

ALTER TABLE statement_evidence ADD CONSTRAINT statement_evidence_detail_number_check CHECK (detail_number >= 0);

ALTER TABLE statement_evidence ADD CONSTRAINT statement_evidence_entry_number_check CHECK (entry_number > 0);

ALTER TABLE statement_evidence ADD CONSTRAINT statement_evidence_kind_check CHECK (kind = ANY (ARRAY['debit'::text, 'credit'::text, 'reversal'::text]));

ALTER TABLE statement_evidence ADD CONSTRAINT statement_evidence_nth_check CHECK (nth > 0);

ALTER TABLE statement_evidence ADD CONSTRAINT statement_evidence_says_check CHECK (says = ANY (ARRAY['debit'::text, 'other_amount'::text, 'second_debit'::text, 'further_debit'::text, 'return'::text, 'reversal'::text]));

ALTER TABLE statement_files ADD CONSTRAINT statement_files_check CHECK (sha256 = sha256(content));

ALTER TABLE statement_files ADD CONSTRAINT statement_files_content_check CHECK (octet_length(content) <= 67108864);

ALTER TABLE statement_files ADD CONSTRAINT statement_files_csv_mapping_check CHECK (octet_length(csv_mapping) <= 65536);

ALTER TABLE statement_files ADD CONSTRAINT statement_files_name_check CHECK (length(name) >= 1 AND length(name) <= 255);

ALTER TABLE statement_files ADD CONSTRAINT statement_files_received_by_check CHECK (length(received_by) >= 1 AND length(received_by) <= 256);

ALTER TABLE statement_proposals ADD CONSTRAINT statement_proposals_change_check CHECK (change = ANY (ARRAY['SET_ASIDE'::text, 'RESTORE'::text]));

ALTER TABLE statement_proposals ADD CONSTRAINT statement_proposals_check CHECK (expires_at > proposed_at);

ALTER TABLE statement_proposals ADD CONSTRAINT statement_proposals_content_sha256_check CHECK (octet_length(content_sha256) = 32);

ALTER TABLE statement_proposals ADD CONSTRAINT statement_proposals_proposed_by_check CHECK (length(proposed_by) >= 1 AND length(proposed_by) <= 256);

ALTER TABLE statement_proposals ADD CONSTRAINT statement_proposals_reason_check CHECK (length(reason) >= 1 AND length(reason) <= 1000);

ALTER TABLE statements ADD CONSTRAINT statements_check CHECK (is_kept = (outcome = ANY (ARRAY['REISSUED'::text, 'UNBALANCED'::text, 'INCOMPLETE'::text, 'OVERLAP'::text, 'OUT_OF_ORDER'::text, 'GAP'::text, 'IMPORTED'::text])));

ALTER TABLE statements ADD CONSTRAINT statements_check1 CHECK (NOT is_kept OR num_nulls(account_id, source, begins, ends, content_hash, identity_hash, period_hash, content) = 0);

ALTER TABLE statements ADD CONSTRAINT statements_content_hash_check CHECK (octet_length(content_hash) = 32);

ALTER TABLE statements ADD CONSTRAINT statements_entries_check CHECK (entries >= 0);

ALTER TABLE statements ADD CONSTRAINT statements_identity_hash_check CHECK (octet_length(identity_hash) = 32);

ALTER TABLE statements ADD CONSTRAINT statements_imported_by_check CHECK (length(imported_by) >= 1 AND length(imported_by) <= 256);

ALTER TABLE statements ADD CONSTRAINT statements_outcome_check CHECK (outcome = ANY (ARRAY['UNREADABLE'::text, 'WRONG_CONTAINER'::text, 'UNKNOWN_ACCOUNT'::text, 'WRONG_CURRENCY'::text, 'REISSUED'::text, 'UNBALANCED'::text, 'INCOMPLETE'::text, 'OVERLAP'::text, 'OUT_OF_ORDER'::text, 'GAP'::text, 'IMPORTED'::text]));

ALTER TABLE statements ADD CONSTRAINT statements_period_hash_check CHECK (octet_length(period_hash) = 32);

ALTER TABLE statements ADD CONSTRAINT statements_reason_check CHECK (length(reason) <= 2000);

ALTER TABLE stream_head ADD CONSTRAINT stream_head_is_only_check CHECK (is_only);

ALTER TABLE stream_head ADD CONSTRAINT stream_head_position_check CHECK ("position" >= 0);

ALTER TABLE stream_head ADD CONSTRAINT stream_head_published_check CHECK (published >= 0);

ALTER TABLE timing_entries ADD CONSTRAINT timing_entries_check CHECK (booked_on < settled_on);

ALTER TABLE timing_postings ADD CONSTRAINT timing_postings_check CHECK (booked_on < settled_on);

ALTER TABLE transfers ADD CONSTRAINT transfers_amount_minor_check CHECK (amount_minor > 0);

ALTER TABLE transfers ADD CONSTRAINT transfers_check CHECK (debit_id <> credit_id);

ALTER TABLE transfers ADD CONSTRAINT transfers_leg_check CHECK (leg >= 1 AND leg <= 16 AND posting > 0) NOT VALID;

ALTER TABLE unmatches ADD CONSTRAINT unmatches_reason_check CHECK (length(reason) >= 1 AND length(reason) <= 1000);

ALTER TABLE unmatches ADD CONSTRAINT unmatches_who_check CHECK (length(who) >= 1 AND length(who) <= 256);

ALTER TABLE unread_entries ADD CONSTRAINT unread_entries_detail_number_check CHECK (detail_number >= 0);

ALTER TABLE unread_entries ADD CONSTRAINT unread_entries_entry_number_check CHECK (entry_number >= 0);

ALTER TABLE unread_entries ADD CONSTRAINT unread_entries_why_check CHECK (length(why) >= 1 AND length(why) <= 1000);

ALTER TABLE unsearched_statements ADD CONSTRAINT unsearched_statements_after_detail_check CHECK (after_detail >= 0);

ALTER TABLE unsearched_statements ADD CONSTRAINT unsearched_statements_after_entry_check CHECK (after_entry >= 0);

ALTER TABLE accounts ADD CONSTRAINT accounts_currency_fkey FOREIGN KEY (currency) REFERENCES currencies(code);

ALTER TABLE break_decisions ADD CONSTRAINT break_decisions_match_id_fkey FOREIGN KEY (match_id) REFERENCES matches(id);

ALTER TABLE break_decisions ADD CONSTRAINT break_decisions_proposal_id_fkey FOREIGN KEY (proposal_id) REFERENCES break_proposals(id);

ALTER TABLE break_events ADD CONSTRAINT break_events_break_id_fkey FOREIGN KEY (break_id) REFERENCES breaks(id);

ALTER TABLE break_events ADD CONSTRAINT break_events_match_id_fkey FOREIGN KEY (match_id) REFERENCES matches(id);

ALTER TABLE break_events ADD CONSTRAINT break_events_run_id_fkey FOREIGN KEY (run_id) REFERENCES reconciliation_runs(id);

ALTER TABLE break_items ADD CONSTRAINT break_items_break_id_fkey FOREIGN KEY (break_id) REFERENCES breaks(id);

ALTER TABLE break_proposal_items ADD CONSTRAINT break_proposal_items_proposal_id_fkey FOREIGN KEY (proposal_id) REFERENCES break_proposals(id);

ALTER TABLE break_proposals ADD CONSTRAINT break_proposals_break_id_fkey FOREIGN KEY (break_id) REFERENCES breaks(id);

ALTER TABLE breaks ADD CONSTRAINT breaks_run_id_fkey FOREIGN KEY (run_id) REFERENCES reconciliation_runs(id);

ALTER TABLE cover_results ADD CONSTRAINT cover_results_settlement_id_attempt_number_fkey FOREIGN KEY (settlement_id, attempt, number) REFERENCES covers(settlement_id, attempt, number);

ALTER TABLE covers ADD CONSTRAINT covers_settlement_id_attempt_fkey FOREIGN KEY (settlement_id, attempt) REFERENCES attempts(settlement_id, number);

ALTER TABLE dead_letter_acts ADD CONSTRAINT dead_letter_acts_dead_letter_id_fkey FOREIGN KEY (dead_letter_id) REFERENCES dead_letters(id) ON DELETE CASCADE;

ALTER TABLE inbound_reports ADD CONSTRAINT inbound_reports_message_id_fkey FOREIGN KEY (message_id) REFERENCES inbound_messages(id);

ALTER TABLE issued_statement_files ADD CONSTRAINT issued_statement_files_statement_id_fkey FOREIGN KEY (statement_id) REFERENCES issued_statements(id);

ALTER TABLE match_suggestions ADD CONSTRAINT match_suggestions_run_id_fkey FOREIGN KEY (run_id) REFERENCES reconciliation_runs(id);

ALTER TABLE open_breaks ADD CONSTRAINT open_breaks_break_id_fkey FOREIGN KEY (break_id) REFERENCES breaks(id);

ALTER TABLE proofs ADD CONSTRAINT proofs_run_id_fkey FOREIGN KEY (run_id) REFERENCES reconciliation_runs(id);

ALTER TABLE rail_file_items ADD CONSTRAINT rail_file_items_file_id_fkey FOREIGN KEY (file_id) REFERENCES rail_files(id);

ALTER TABLE rail_file_items ADD CONSTRAINT rail_file_items_settlement_id_attempt_fkey FOREIGN KEY (settlement_id, attempt) REFERENCES attempts(settlement_id, number);

ALTER TABLE rail_file_placements ADD CONSTRAINT rail_file_placements_file_id_fkey FOREIGN KEY (file_id) REFERENCES rail_files(id);

ALTER TABLE reconciliation_reports ADD CONSTRAINT reconciliation_reports_run_id_fkey FOREIGN KEY (run_id) REFERENCES reconciliation_runs(id);

ALTER TABLE reconciliation_run_ends ADD CONSTRAINT reconciliation_run_ends_run_id_fkey FOREIGN KEY (run_id) REFERENCES reconciliation_runs(id);

ALTER TABLE resolutions ADD CONSTRAINT resolutions_settlement_id_fkey FOREIGN KEY (settlement_id) REFERENCES settlement_transactions(id);

ALTER TABLE settlement_windows ADD CONSTRAINT settlement_windows_currency_fkey FOREIGN KEY (currency) REFERENCES currencies(code);

ALTER TABLE statement_days ADD CONSTRAINT statement_days_statement_id_fkey FOREIGN KEY (statement_id) REFERENCES matched_statements(statement_id) ON DELETE CASCADE;

ALTER TABLE statement_decisions ADD CONSTRAINT statement_decisions_proposal_id_fkey FOREIGN KEY (proposal_id) REFERENCES statement_proposals(id);

ALTER TABLE statement_proposal_statements ADD CONSTRAINT statement_proposal_statements_proposal_id_fkey FOREIGN KEY (proposal_id) REFERENCES statement_proposals(id);

ALTER TABLE statement_proposal_statements ADD CONSTRAINT statement_proposal_statements_statement_id_fkey FOREIGN KEY (statement_id) REFERENCES statements(id);

ALTER TABLE statements ADD CONSTRAINT statements_file_sha256_fkey FOREIGN KEY (file_sha256) REFERENCES statement_files(sha256);

ALTER TABLE unmatches ADD CONSTRAINT unmatches_match_id_fkey FOREIGN KEY (match_id) REFERENCES matches(id);

ALTER TABLE unmatches ADD CONSTRAINT unmatches_run_id_fkey FOREIGN KEY (run_id) REFERENCES reconciliation_runs(id);

ALTER TABLE unread_entries ADD CONSTRAINT unread_entries_statement_id_fkey FOREIGN KEY (statement_id) REFERENCES statements(id);

ALTER TABLE unsearched_statements ADD CONSTRAINT unsearched_statements_statement_id_fkey FOREIGN KEY (statement_id) REFERENCES statements(id);

ALTER TABLE waiting_dead_letters ADD CONSTRAINT waiting_dead_letters_dead_letter_id_fkey FOREIGN KEY (dead_letter_id) REFERENCES dead_letters(id) ON DELETE CASCADE;

CREATE INDEX accounts_by_number ON public.accounts USING btree (upper(replace((account_number)::text, ' '::text, ''::text))) WHERE (kind = ANY (ARRAY['nostro'::account_kind, 'settlement'::account_kind]));

CREATE UNIQUE INDEX answer_is_counted ON public.answers USING btree (settlement_id, fingerprint);

CREATE INDEX answers_by_rail_reference ON public.answers USING brin (((detail ->> 'rail_reference'::text)) text_bloom_ops (n_distinct_per_range='2000')) WITH (pages_per_range='32', autosummarize='on');

CREATE INDEX answers_by_settlement ON public.answers USING btree (settlement_id, id);

CREATE INDEX attempts_by_end_to_end_id ON public.attempts USING hash (end_to_end_id);

CREATE INDEX attempts_by_message_id ON public.attempts USING brin (message_id text_bloom_ops) WITH (pages_per_range='16', autosummarize='on');

CREATE INDEX attempts_by_trace ON public.attempts USING hash (trace) WHERE (trace IS NOT NULL);

CREATE INDEX attempts_by_uetr ON public.attempts USING hash (uetr);

CREATE INDEX banks_by_code ON public.bank_versions USING btree (code) WHERE (version = 1);

CREATE INDEX banks_by_our_account ON public.bank_versions USING gin (jsonb_path_query_array(content, '$."instructions"[*]."our_account".*'::jsonpath));

CREATE UNIQUE INDEX bookings_are_counted_once ON public.statement_evidence USING btree (settlement_id, kind, nth, (
CASE kind
    WHEN 'credit'::text THEN amount_minor
    ELSE (0)::bigint
END)) WHERE is_counted;

CREATE INDEX break_items_by_item ON public.break_items USING btree (account_id, side, item);

CREATE INDEX break_proposals_by_break ON public.break_proposals USING btree (break_id, id);

CREATE INDEX breaker_orders_by_lane ON public.breaker_orders USING btree (rail, bank, id);

CREATE INDEX compensations_by_id ON public.settlement_transactions USING btree (id) WHERE (compensates IS NOT NULL);

CREATE INDEX covers_by_message_id ON public.covers USING hash (message_id);

CREATE INDEX dead_letter_acts_by_letter ON public.dead_letter_acts USING btree (dead_letter_id, id);

CREATE INDEX dead_letter_acts_ended ON public.dead_letter_acts USING btree (at) WHERE (outcome <> 'refused'::text);

CREATE UNIQUE INDEX dead_letter_ends_once ON public.dead_letter_acts USING btree (dead_letter_id) WHERE (outcome <> 'refused'::text);

CREATE UNIQUE INDEX dead_letter_of_each_message ON public.dead_letters USING btree (stream, stream_sequence, stored_at) WHERE (stream IS NOT NULL);

CREATE INDEX engines_alive ON public.engines USING btree (id) WHERE (gone_at IS NULL);

CREATE INDEX engines_gone ON public.engines USING btree (gone_at) WHERE (gone_at IS NOT NULL);

CREATE UNIQUE INDEX era_is_shut_once ON public.openings USING btree (era) WHERE (step = 'shut'::text);

CREATE INDEX exceptions_open ON public.exceptions USING btree (id) WHERE (closed_at IS NULL);

CREATE INDEX inbound_reports_by_rail_reference ON public.inbound_reports USING brin (((report #>> '{references,rail_reference}'::text[])) text_bloom_ops (n_distinct_per_range='2000')) WITH (pages_per_range='32', autosummarize='on');

CREATE INDEX inbound_reports_by_settlement ON public.inbound_reports USING btree (settlement_id, id) WHERE (settlement_id IS NOT NULL);

CREATE INDEX inbound_reports_open ON public.inbound_reports USING btree (id) WHERE (closed_at IS NULL);

CREATE INDEX match_entries_by_match ON public.match_entries USING btree (match_id);

CREATE INDEX match_postings_by_match ON public.match_postings USING btree (match_id);

CREATE INDEX matched_statements_by_account ON public.matched_statements USING btree (account_id);

CREATE INDEX matches_by_people ON public.matches USING btree (account_id, id) WHERE (NOT is_automatic);

CREATE INDEX matches_by_run ON public.matches USING btree (run_id);

CREATE INDEX moves_by_end ON public.moves USING btree (to_state, settlement_id) WHERE ((to_state = ANY (ARRAY['failed'::settlement_state, 'rolled_back'::settlement_state, 'returned'::settlement_state])) AND (from_state <> to_state));

CREATE INDEX moves_by_rail_reference ON public.moves USING brin (((detail ->> 'rail_reference'::text)) text_bloom_ops) WITH (pages_per_range='32', autosummarize='on');

CREATE INDEX moves_by_time ON public.moves USING brin (at) WITH (pages_per_range='16', autosummarize='on');

CREATE UNIQUE INDEX one_account_per_bank ON public.accounts USING btree (kind, folded_bank((bank)::text), currency, account_number);

CREATE UNIQUE INDEX one_live_settlement_per_obligation ON public.settlement_transactions USING btree (obligation_id) WHERE holds_obligation;

CREATE UNIQUE INDEX one_resolution_at_a_time ON public.resolutions USING btree (settlement_id) WHERE ((finished_at IS NULL) AND ((decision IS NULL) OR (decision = 'approved'::text)));

CREATE UNIQUE INDEX one_return_per_reference ON public.returns USING btree (settlement_id, reference);

CREATE UNIQUE INDEX one_settlement_per_key ON public.settlement_transactions USING btree (key_hash);

CREATE INDEX open_breaks_by_account ON public.open_breaks USING btree (account_id, break_id);

CREATE INDEX open_entries_by_account ON public.open_entries USING btree (account_id, booked_on, statement_id, entry_number);

CREATE INDEX open_postings_by_day ON public.open_postings USING btree (account_id, booked_on, id);

CREATE INDEX open_postings_of_differences ON public.open_postings USING btree (account_id) WHERE (leg = 14);

CREATE INDEX open_recalls_due ON public.open_recalls USING btree (due_at);

CREATE INDEX open_settlements_due ON public.open_settlements USING btree (due_at) WHERE (owner = 0);

CREATE INDEX payment_details_by_end_to_end_id ON public.payment_details USING hash (((payment #>> '{payment,end_to_end_id}'::text[]))) WHERE ((payment #>> '{payment,end_to_end_id}'::text[]) IS NOT NULL);

CREATE INDEX proofs_by_day ON public.proofs USING btree (account_id, booking_date, id);

CREATE INDEX proofs_by_run ON public.proofs USING btree (run_id);

CREATE INDEX rail_files_by_content ON public.rail_files USING hash (sha256);

CREATE INDEX reconciliation_runs_by_start ON public.reconciliation_runs USING btree (started_at);

CREATE INDEX resolutions_of_settlement ON public.resolutions USING btree (settlement_id, id);

CREATE INDEX settlements_by_compensated ON public.settlement_transactions USING btree (compensates) WHERE (compensates IS NOT NULL);

CREATE INDEX settlements_by_terms ON public.settlement_transactions USING brin (folded_bank(from_bank) text_bloom_ops, folded_bank(to_bank) text_bloom_ops, currency text_bloom_ops) WITH (pages_per_range='16', autosummarize='on');

CREATE INDEX settlements_freed_by_obligation ON public.settlement_transactions USING btree (obligation_id) WHERE (NOT holds_obligation);

CREATE INDEX statement_evidence_by_settlement ON public.statement_evidence USING btree (settlement_id);

CREATE UNIQUE INDEX statement_faults_once ON public.statements USING btree (file_sha256, place, outcome) WHERE (NOT is_kept);

CREATE INDEX statement_proposals_by_statement ON public.statement_proposal_statements USING btree (statement_id, proposal_id);

CREATE INDEX statements_by_content ON public.statements USING btree (content_hash) WHERE is_kept;

CREATE INDEX statements_by_day ON public.statements USING btree (account_id, ends) WHERE is_kept;

CREATE INDEX statements_by_identity ON public.statements USING btree (account_id, identity_hash) WHERE is_kept;

CREATE INDEX statements_by_period ON public.statements USING btree (account_id, period_hash) WHERE is_kept;

CREATE UNIQUE INDEX statements_kept_once ON public.statements USING btree (account_id, content_hash) WHERE is_kept;

CREATE INDEX transfers_by_credit ON public.transfers USING btree (credit_id, group_id);

CREATE INDEX transfers_by_debit ON public.transfers USING btree (debit_id, group_id);

CREATE INDEX transfers_by_time ON public.transfers USING brin (at) WITH (pages_per_range='16', autosummarize='on');

CREATE INDEX transfers_outside_by_credit ON public.transfers USING btree (credit_id, at) WHERE ((leg = 3) OR (leg > 10));

CREATE INDEX transfers_outside_by_debit ON public.transfers USING btree (debit_id, at) WHERE ((leg = 3) OR (leg > 10));

CREATE INDEX unread_entries_by_trial ON public.unread_entries USING btree (tried_at);

CREATE TRIGGER account_stays BEFORE UPDATE OF id, kind, bank, currency, account_number, opened_at ON public.accounts FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting();
ALTER TABLE accounts ENABLE ALWAYS TRIGGER account_stays;

CREATE TRIGGER accounts_stay BEFORE DELETE OR TRUNCATE ON public.accounts FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE accounts ENABLE ALWAYS TRIGGER accounts_stay;

CREATE TRIGGER answer_is_only_counted BEFORE UPDATE ON public.answers FOR EACH ROW WHEN (((old.fingerprint IS NULL) OR (new.times IS DISTINCT FROM (old.times + 1)) OR (new.last_at IS NULL) OR (new.last_at < old.last_at) OR ((ROW(new.id, new.settlement_id, new.attempt, new.state, new.event, new.detail, new.at, new.fingerprint))::text IS DISTINCT FROM (ROW(old.id, old.settlement_id, old.attempt, old.state, old.event, old.detail, old.at, old.fingerprint))::text))) EXECUTE FUNCTION refuse_change();
ALTER TABLE answers ENABLE ALWAYS TRIGGER answer_is_only_counted;

CREATE TRIGGER answers_stay BEFORE DELETE OR TRUNCATE ON public.answers FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE answers ENABLE ALWAYS TRIGGER answers_stay;

CREATE TRIGGER attempt_stays BEFORE UPDATE OF settlement_id, number, rail, source_id, agent_id, clearing_id, target_id, uetr, end_to_end_id, message_id, trace, payload, valid_until, delivery, recorded_at ON public.attempts FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting();
ALTER TABLE attempts ENABLE ALWAYS TRIGGER attempt_stays;

CREATE TRIGGER attempts_stay BEFORE DELETE OR TRUNCATE ON public.attempts FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE attempts ENABLE ALWAYS TRIGGER attempts_stay;

CREATE TRIGGER balance_moments_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.balance_moments FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE balance_moments ENABLE ALWAYS TRIGGER balance_moments_append_only;

CREATE TRIGGER bank_versions_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.bank_versions FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE bank_versions ENABLE ALWAYS TRIGGER bank_versions_append_only;

CREATE TRIGGER bank_versions_follow BEFORE INSERT ON public.bank_versions FOR EACH ROW EXECUTE FUNCTION refuse_a_gap_of_versions();
ALTER TABLE bank_versions ENABLE ALWAYS TRIGGER bank_versions_follow;

CREATE TRIGGER break_decision_is_of_two BEFORE INSERT ON public.break_decisions FOR EACH ROW EXECUTE FUNCTION check_break_decision();
ALTER TABLE break_decisions ENABLE ALWAYS TRIGGER break_decision_is_of_two;

CREATE TRIGGER break_decisions_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.break_decisions FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE break_decisions ENABLE ALWAYS TRIGGER break_decisions_append_only;

CREATE TRIGGER break_events_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.break_events FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE break_events ENABLE ALWAYS TRIGGER break_events_append_only;

CREATE TRIGGER escalations_are_noticed AFTER INSERT ON public.break_events REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION notice_escalations();
ALTER TABLE break_events ENABLE ALWAYS TRIGGER escalations_are_noticed;

CREATE TRIGGER break_items_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.break_items FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE break_items ENABLE ALWAYS TRIGGER break_items_append_only;

CREATE TRIGGER break_proposal_items_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.break_proposal_items FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE break_proposal_items ENABLE ALWAYS TRIGGER break_proposal_items_append_only;

CREATE TRIGGER break_proposals_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.break_proposals FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE break_proposals ENABLE ALWAYS TRIGGER break_proposals_append_only;

CREATE TRIGGER breaker_orders_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.breaker_orders FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE breaker_orders ENABLE ALWAYS TRIGGER breaker_orders_append_only;

CREATE TRIGGER breaks_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.breaks FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE breaks ENABLE ALWAYS TRIGGER breaks_append_only;

CREATE TRIGGER cover_results_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.cover_results FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE cover_results ENABLE ALWAYS TRIGGER cover_results_append_only;

CREATE TRIGGER covers_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.covers FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE covers ENABLE ALWAYS TRIGGER covers_append_only;

CREATE TRIGGER repair_follows_a_refusal BEFORE INSERT ON public.covers FOR EACH ROW WHEN ((new.number > 1)) EXECUTE FUNCTION require_a_refused_cover();
ALTER TABLE covers ENABLE ALWAYS TRIGGER repair_follows_a_refusal;

CREATE TRIGGER currencies_stay BEFORE DELETE OR UPDATE OR TRUNCATE ON public.currencies FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE currencies ENABLE ALWAYS TRIGGER currencies_stay;

CREATE TRIGGER dead_letter_acts_append_only BEFORE UPDATE OR TRUNCATE ON public.dead_letter_acts FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE dead_letter_acts ENABLE ALWAYS TRIGGER dead_letter_acts_append_only;

CREATE TRIGGER dead_letter_acts_end AFTER INSERT ON public.dead_letter_acts FOR EACH ROW WHEN ((new.outcome <> 'refused'::text)) EXECUTE FUNCTION wait_no_more();
ALTER TABLE dead_letter_acts ENABLE ALWAYS TRIGGER dead_letter_acts_end;

CREATE TRIGGER dead_letter_acts_kept BEFORE DELETE ON public.dead_letter_acts FOR EACH ROW EXECUTE FUNCTION refuse_early_removal();
ALTER TABLE dead_letter_acts ENABLE ALWAYS TRIGGER dead_letter_acts_kept;

CREATE TRIGGER dead_letters_append_only BEFORE UPDATE OR TRUNCATE ON public.dead_letters FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE dead_letters ENABLE ALWAYS TRIGGER dead_letters_append_only;

CREATE TRIGGER dead_letters_kept BEFORE DELETE ON public.dead_letters FOR EACH ROW EXECUTE FUNCTION refuse_early_removal();
ALTER TABLE dead_letters ENABLE ALWAYS TRIGGER dead_letters_kept;

CREATE TRIGGER dead_letters_wait AFTER INSERT ON public.dead_letters FOR EACH ROW EXECUTE FUNCTION wait_for_a_person();
ALTER TABLE dead_letters ENABLE ALWAYS TRIGGER dead_letters_wait;

CREATE TRIGGER entry_details_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.entry_details FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE entry_details ENABLE ALWAYS TRIGGER entry_details_append_only;

CREATE TRIGGER no_orphans AFTER INSERT ON public.entry_details REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION refuse_orphans();
ALTER TABLE entry_details ENABLE ALWAYS TRIGGER no_orphans;

CREATE TRIGGER environments_stay BEFORE DELETE OR UPDATE OR TRUNCATE ON public.environments FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE environments ENABLE ALWAYS TRIGGER environments_stay;

CREATE TRIGGER a_second_debit_is_told_once BEFORE INSERT ON public.exceptions FOR EACH ROW WHEN ((new.kind = ANY (ARRAY['second_debit'::text, 'debited_twice'::text]))) EXECUTE FUNCTION tell_a_second_debit_once();
ALTER TABLE exceptions ENABLE ALWAYS TRIGGER a_second_debit_is_told_once;

CREATE TRIGGER exception_is_acknowledged_once BEFORE UPDATE ON public.exceptions FOR EACH ROW WHEN (((old.acknowledged_at IS NOT NULL) AND ((ROW(new.acknowledged_at, new.acknowledged_by))::text IS DISTINCT FROM (ROW(old.acknowledged_at, old.acknowledged_by))::text))) EXECUTE FUNCTION refuse_change();
ALTER TABLE exceptions ENABLE ALWAYS TRIGGER exception_is_acknowledged_once;

CREATE TRIGGER exception_is_closed_once BEFORE UPDATE ON public.exceptions FOR EACH ROW WHEN ((old.closed_at IS NOT NULL)) EXECUTE FUNCTION refuse_change();
ALTER TABLE exceptions ENABLE ALWAYS TRIGGER exception_is_closed_once;

CREATE TRIGGER exceptions_stay BEFORE DELETE OR TRUNCATE ON public.exceptions FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE exceptions ENABLE ALWAYS TRIGGER exceptions_stay;

CREATE TRIGGER finding_stays BEFORE UPDATE ON public.exceptions FOR EACH ROW WHEN (((ROW(new.settlement_id, new.kind, new.fingerprint, new.detail, new.opened_at))::text IS DISTINCT FROM (ROW(old.settlement_id, old.kind, old.fingerprint, old.detail, old.opened_at))::text)) EXECUTE FUNCTION refuse_change();
ALTER TABLE exceptions ENABLE ALWAYS TRIGGER finding_stays;

CREATE TRIGGER fund_lock_resolved_once BEFORE UPDATE ON public.fund_locks FOR EACH ROW WHEN ((old.resolved_at IS NOT NULL)) EXECUTE FUNCTION refuse_second_resolution();
ALTER TABLE fund_locks ENABLE ALWAYS TRIGGER fund_lock_resolved_once;

CREATE TRIGGER fund_locks_stay BEFORE DELETE OR TRUNCATE ON public.fund_locks FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE fund_locks ENABLE ALWAYS TRIGGER fund_locks_stay;

CREATE TRIGGER hold_stays BEFORE UPDATE OF settlement_id, account_id, amount_minor, currency, locked_at ON public.fund_locks FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting();
ALTER TABLE fund_locks ENABLE ALWAYS TRIGGER hold_stays;

CREATE TRIGGER idempotent_calls_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.idempotent_calls FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE idempotent_calls ENABLE ALWAYS TRIGGER idempotent_calls_append_only;

CREATE TRIGGER inbound_message_is_kept BEFORE UPDATE ON public.inbound_messages FOR EACH ROW WHEN ((((ROW(new.id, new.rail, new.source, new.sender, new.sender_reference, new.sha256, new.received_at))::text IS DISTINCT FROM (ROW(old.id, old.rail, old.source, old.sender, old.sender_reference, old.sha256, old.received_at))::text) OR (new.repeats < old.repeats))) EXECUTE FUNCTION refuse_change();
ALTER TABLE inbound_messages ENABLE ALWAYS TRIGGER inbound_message_is_kept;

CREATE TRIGGER inbound_messages_stay BEFORE DELETE OR TRUNCATE ON public.inbound_messages FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE inbound_messages ENABLE ALWAYS TRIGGER inbound_messages_stay;

CREATE TRIGGER inbound_report_is_closed_once BEFORE UPDATE ON public.inbound_reports FOR EACH ROW WHEN (((old.closed_at IS NOT NULL) OR ((ROW(new.id, new.message_id, new.number, new.report, new.settlement_id, new.attempt))::text IS DISTINCT FROM (ROW(old.id, old.message_id, old.number, old.report, old.settlement_id, old.attempt))::text))) EXECUTE FUNCTION refuse_change();
ALTER TABLE inbound_reports ENABLE ALWAYS TRIGGER inbound_report_is_closed_once;

CREATE TRIGGER inbound_reports_stay BEFORE DELETE OR TRUNCATE ON public.inbound_reports FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE inbound_reports ENABLE ALWAYS TRIGGER inbound_reports_stay;

CREATE TRIGGER issued_statement_files_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.issued_statement_files FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE issued_statement_files ENABLE ALWAYS TRIGGER issued_statement_files_append_only;

CREATE TRIGGER issued_statements_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.issued_statements FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE issued_statements ENABLE ALWAYS TRIGGER issued_statements_append_only;

CREATE TRIGGER issued_statements_follow BEFORE INSERT ON public.issued_statements FOR EACH ROW EXECUTE FUNCTION require_statement_follows();
ALTER TABLE issued_statements ENABLE ALWAYS TRIGGER issued_statements_follow;

CREATE TRIGGER match_entries_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.match_entries FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE match_entries ENABLE ALWAYS TRIGGER match_entries_append_only;

CREATE TRIGGER no_orphans AFTER INSERT ON public.match_entries REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION refuse_orphans();
ALTER TABLE match_entries ENABLE ALWAYS TRIGGER no_orphans;

CREATE TRIGGER one_live_match AFTER INSERT ON public.match_entries REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION refuse_second_live_match();
ALTER TABLE match_entries ENABLE ALWAYS TRIGGER one_live_match;

CREATE TRIGGER timing_items_are_kept AFTER INSERT ON public.match_entries REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION keep_timing_entries();
ALTER TABLE match_entries ENABLE ALWAYS TRIGGER timing_items_are_kept;

CREATE TRIGGER match_postings_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.match_postings FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE match_postings ENABLE ALWAYS TRIGGER match_postings_append_only;

CREATE TRIGGER no_orphans AFTER INSERT ON public.match_postings REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION refuse_orphans();
ALTER TABLE match_postings ENABLE ALWAYS TRIGGER no_orphans;

CREATE TRIGGER one_live_match AFTER INSERT ON public.match_postings REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION refuse_second_live_match();
ALTER TABLE match_postings ENABLE ALWAYS TRIGGER one_live_match;

CREATE TRIGGER timing_items_are_kept AFTER INSERT ON public.match_postings REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION keep_timing_postings();
ALTER TABLE match_postings ENABLE ALWAYS TRIGGER timing_items_are_kept;

CREATE TRIGGER match_suggestions_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.match_suggestions FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE match_suggestions ENABLE ALWAYS TRIGGER match_suggestions_append_only;

CREATE TRIGGER matches_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.matches FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE matches ENABLE ALWAYS TRIGGER matches_append_only;

CREATE TRIGGER no_orphans AFTER INSERT ON public.matches REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION refuse_orphans();
ALTER TABLE matches ENABLE ALWAYS TRIGGER no_orphans;

CREATE TRIGGER messages_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.messages FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE messages ENABLE ALWAYS TRIGGER messages_append_only;

CREATE TRIGGER cover_is_counted AFTER INSERT ON public.moves FOR EACH ROW WHEN (((new.event)::text = 'cover_due'::text)) EXECUTE FUNCTION count_cover();
ALTER TABLE moves ENABLE ALWAYS TRIGGER cover_is_counted;

CREATE TRIGGER filed_is_not_abandoned BEFORE INSERT ON public.moves FOR EACH ROW WHEN ((new.event = 'abandoned'::settlement_event)) EXECUTE FUNCTION refuse_abandoning_filed();
ALTER TABLE moves ENABLE ALWAYS TRIGGER filed_is_not_abandoned;

CREATE TRIGGER moves_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.moves FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE moves ENABLE ALWAYS TRIGGER moves_append_only;

CREATE TRIGGER notices_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.notices FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE notices ENABLE ALWAYS TRIGGER notices_append_only;

CREATE TRIGGER openings_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.openings FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE openings ENABLE ALWAYS TRIGGER openings_append_only;

CREATE TRIGGER past_balances_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.past_balances FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE past_balances ENABLE ALWAYS TRIGGER past_balances_append_only;

CREATE TRIGGER payment_details_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.payment_details FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE payment_details ENABLE ALWAYS TRIGGER payment_details_append_only;

CREATE TRIGGER proofs_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.proofs FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE proofs ENABLE ALWAYS TRIGGER proofs_append_only;

CREATE TRIGGER proofs_are_noticed AFTER INSERT ON public.proofs REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION notice_proofs();
ALTER TABLE proofs ENABLE ALWAYS TRIGGER proofs_are_noticed;

CREATE TRIGGER rail_file_items_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.rail_file_items FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE rail_file_items ENABLE ALWAYS TRIGGER rail_file_items_append_only;

CREATE TRIGGER rail_file_placements_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.rail_file_placements FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE rail_file_placements ENABLE ALWAYS TRIGGER rail_file_placements_append_only;

CREATE TRIGGER rail_files_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.rail_files FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE rail_files ENABLE ALWAYS TRIGGER rail_files_append_only;

CREATE TRIGGER rail_trace_head_grows BEFORE UPDATE ON public.rail_trace_head FOR EACH ROW WHEN ((new.last <= old.last)) EXECUTE FUNCTION refuse_a_used_trace();
ALTER TABLE rail_trace_head ENABLE ALWAYS TRIGGER rail_trace_head_grows;

CREATE TRIGGER rail_trace_head_stays BEFORE DELETE OR TRUNCATE ON public.rail_trace_head FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE rail_trace_head ENABLE ALWAYS TRIGGER rail_trace_head_stays;

CREATE TRIGGER recall_steps_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.recall_steps FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE recall_steps ENABLE ALWAYS TRIGGER recall_steps_append_only;

CREATE TRIGGER recall_steps_are_noticed AFTER INSERT ON public.recall_steps REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION notice_recall_steps();
ALTER TABLE recall_steps ENABLE ALWAYS TRIGGER recall_steps_are_noticed;

CREATE TRIGGER days_added_are_unproved AFTER INSERT ON public.reconciliation_days REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION mark_unproved();
ALTER TABLE reconciliation_days ENABLE ALWAYS TRIGGER days_added_are_unproved;

CREATE TRIGGER days_changed_are_unproved AFTER UPDATE ON public.reconciliation_days REFERENCING OLD TABLE AS before NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION mark_unproved();
ALTER TABLE reconciliation_days ENABLE ALWAYS TRIGGER days_changed_are_unproved;

CREATE TRIGGER discrepancies_are_noticed AFTER INSERT ON public.reconciliation_reports REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION notice_discrepancies();
ALTER TABLE reconciliation_reports ENABLE ALWAYS TRIGGER discrepancies_are_noticed;

CREATE TRIGGER reconciliation_reports_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.reconciliation_reports FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE reconciliation_reports ENABLE ALWAYS TRIGGER reconciliation_reports_append_only;

CREATE TRIGGER reconciliation_run_ends_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.reconciliation_run_ends FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE reconciliation_run_ends ENABLE ALWAYS TRIGGER reconciliation_run_ends_append_only;

CREATE TRIGGER reconciliation_runs_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.reconciliation_runs FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE reconciliation_runs ENABLE ALWAYS TRIGGER reconciliation_runs_append_only;

CREATE TRIGGER regulatory_reports_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.regulatory_reports FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE regulatory_reports ENABLE ALWAYS TRIGGER regulatory_reports_append_only;

CREATE TRIGGER regulatory_reports_follow BEFORE INSERT ON public.regulatory_reports FOR EACH ROW EXECUTE FUNCTION require_version_follows();
ALTER TABLE regulatory_reports ENABLE ALWAYS TRIGGER regulatory_reports_follow;

CREATE TRIGGER proposal_is_decided_once BEFORE UPDATE ON public.resolutions FOR EACH ROW WHEN (((old.decision IS NOT NULL) AND ((ROW(new.decision, new.decided_by, new.decided_at))::text IS DISTINCT FROM (ROW(old.decision, old.decided_by, old.decided_at))::text))) EXECUTE FUNCTION refuse_change();
ALTER TABLE resolutions ENABLE ALWAYS TRIGGER proposal_is_decided_once;

CREATE TRIGGER proposal_stays BEFORE UPDATE ON public.resolutions FOR EACH ROW WHEN (((ROW(new.settlement_id, new.finding, new.reason, new.evidence_name, new.evidence_sha256, new.content_sha256, new.proposed_by, new.proposed_at, new.expires_at, new.state, new.sends))::text IS DISTINCT FROM (ROW(old.settlement_id, old.finding, old.reason, old.evidence_name, old.evidence_sha256, old.content_sha256, old.proposed_by, old.proposed_at, old.expires_at, old.state, old.sends))::text)) EXECUTE FUNCTION refuse_change();
ALTER TABLE resolutions ENABLE ALWAYS TRIGGER proposal_stays;

CREATE TRIGGER resolution_ends_once BEFORE UPDATE ON public.resolutions FOR EACH ROW WHEN (((old.finished_at IS NOT NULL) AND ((ROW(new.finished_at, new.ending))::text IS DISTINCT FROM (ROW(old.finished_at, old.ending))::text))) EXECUTE FUNCTION refuse_change();
ALTER TABLE resolutions ENABLE ALWAYS TRIGGER resolution_ends_once;

CREATE TRIGGER resolutions_stay BEFORE DELETE OR TRUNCATE ON public.resolutions FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE resolutions ENABLE ALWAYS TRIGGER resolutions_stay;

CREATE TRIGGER return_is_left BEFORE INSERT ON public.returns FOR EACH ROW EXECUTE FUNCTION require_left_to_return();
ALTER TABLE returns ENABLE ALWAYS TRIGGER return_is_left;

CREATE TRIGGER returns_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.returns FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE returns ENABLE ALWAYS TRIGGER returns_append_only;

CREATE TRIGGER set_aside_follows_decisions BEFORE INSERT OR DELETE OR UPDATE ON public.set_aside_statements FOR EACH ROW EXECUTE FUNCTION check_set_aside();
ALTER TABLE set_aside_statements ENABLE ALWAYS TRIGGER set_aside_follows_decisions;

CREATE TRIGGER set_aside_is_not_truncated BEFORE TRUNCATE ON public.set_aside_statements FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE set_aside_statements ENABLE ALWAYS TRIGGER set_aside_is_not_truncated;

CREATE TRIGGER compensated_stays BEFORE UPDATE OF compensates ON public.settlement_transactions FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting();
ALTER TABLE settlement_transactions ENABLE ALWAYS TRIGGER compensated_stays;

CREATE TRIGGER compensation_is_admitted BEFORE INSERT ON public.settlement_transactions FOR EACH ROW WHEN ((new.compensates IS NOT NULL)) EXECUTE FUNCTION admit_compensation();
ALTER TABLE settlement_transactions ENABLE ALWAYS TRIGGER compensation_is_admitted;

CREATE TRIGGER compensation_is_left BEFORE UPDATE OF state ON public.settlement_transactions FOR EACH ROW WHEN (((new.compensates IS NOT NULL) AND (new.state = 'locked'::settlement_state) AND (old.state = 'validating'::settlement_state))) EXECUTE FUNCTION require_left_to_compensate();
ALTER TABLE settlement_transactions ENABLE ALWAYS TRIGGER compensation_is_left;

CREATE TRIGGER compensation_is_released BEFORE UPDATE OF state ON public.settlement_transactions FOR EACH ROW WHEN (((new.compensates IS NOT NULL) AND (new.state = 'locked'::settlement_state) AND (old.state = 'validating'::settlement_state))) EXECUTE FUNCTION require_released_compensation();
ALTER TABLE settlement_transactions ENABLE ALWAYS TRIGGER compensation_is_released;

CREATE TRIGGER instruction_stays BEFORE UPDATE OF id, key_hash, caller, idempotency_key, content_hash, obligation_id, from_bank, to_bank, amount_minor, currency, requested_value_date, value_date, priority, metadata, created_at ON public.settlement_transactions FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting();
ALTER TABLE settlement_transactions ENABLE ALWAYS TRIGGER instruction_stays;

CREATE TRIGGER settlement_ends_once BEFORE UPDATE ON public.settlement_transactions FOR EACH ROW WHEN (((old.ended_at IS NOT NULL) AND (new.state <> old.state) AND (NOT ((old.state = 'completed'::settlement_state) AND (new.state = 'returned'::settlement_state))))) EXECUTE FUNCTION refuse_second_end();
ALTER TABLE settlement_transactions ENABLE ALWAYS TRIGGER settlement_ends_once;

CREATE TRIGGER settlement_is_between_two_banks BEFORE INSERT ON public.settlement_transactions FOR EACH ROW WHEN ((folded_bank(new.from_bank) = folded_bank(new.to_bank))) EXECUTE FUNCTION refuse_same_bank();
ALTER TABLE settlement_transactions ENABLE ALWAYS TRIGGER settlement_is_between_two_banks;

CREATE TRIGGER settlements_stay BEFORE DELETE OR TRUNCATE ON public.settlement_transactions FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE settlement_transactions ENABLE ALWAYS TRIGGER settlements_stay;

CREATE TRIGGER decisions_change_statements AFTER INSERT ON public.statement_decisions FOR EACH ROW WHEN ((new.decision = 'approved'::text)) EXECUTE FUNCTION carry_out_statement_decision();
ALTER TABLE statement_decisions ENABLE ALWAYS TRIGGER decisions_change_statements;

CREATE TRIGGER statement_decision_is_of_two BEFORE INSERT ON public.statement_decisions FOR EACH ROW EXECUTE FUNCTION check_statement_decision();
ALTER TABLE statement_decisions ENABLE ALWAYS TRIGGER statement_decision_is_of_two;

CREATE TRIGGER statement_decisions_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.statement_decisions FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE statement_decisions ENABLE ALWAYS TRIGGER statement_decisions_append_only;

CREATE TRIGGER no_orphans AFTER INSERT ON public.statement_entries REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION refuse_orphans();
ALTER TABLE statement_entries ENABLE ALWAYS TRIGGER no_orphans;

CREATE TRIGGER statement_entries_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.statement_entries FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE statement_entries ENABLE ALWAYS TRIGGER statement_entries_append_only;

CREATE TRIGGER no_orphans AFTER INSERT ON public.statement_evidence REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION refuse_orphans();
ALTER TABLE statement_evidence ENABLE ALWAYS TRIGGER no_orphans;

CREATE TRIGGER statement_evidence_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.statement_evidence FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE statement_evidence ENABLE ALWAYS TRIGGER statement_evidence_append_only;

CREATE TRIGGER statement_files_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.statement_files FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE statement_files ENABLE ALWAYS TRIGGER statement_files_append_only;

CREATE TRIGGER proposals_name_kept_statements BEFORE INSERT ON public.statement_proposal_statements FOR EACH ROW EXECUTE FUNCTION check_proposed_statement();
ALTER TABLE statement_proposal_statements ENABLE ALWAYS TRIGGER proposals_name_kept_statements;

CREATE TRIGGER statement_proposal_statements_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.statement_proposal_statements FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE statement_proposal_statements ENABLE ALWAYS TRIGGER statement_proposal_statements_append_only;

CREATE TRIGGER statement_proposals_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.statement_proposals FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE statement_proposals ENABLE ALWAYS TRIGGER statement_proposals_append_only;

CREATE TRIGGER statement_is_searched AFTER INSERT ON public.statements FOR EACH ROW WHEN ((new.is_kept AND (new.outcome <> 'UNBALANCED'::text))) EXECUTE FUNCTION search_statement();
ALTER TABLE statements ENABLE ALWAYS TRIGGER statement_is_searched;

CREATE TRIGGER statements_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.statements FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE statements ENABLE ALWAYS TRIGGER statements_append_only;

CREATE TRIGGER charges_are_borne BEFORE INSERT ON public.transfers FOR EACH ROW WHEN ((new.leg = 16)) EXECUTE FUNCTION require_borne_charges();
ALTER TABLE transfers ENABLE ALWAYS TRIGGER charges_are_borne;

CREATE TRIGGER transfers_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.transfers FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE transfers ENABLE ALWAYS TRIGGER transfers_append_only;

CREATE TRIGGER timing_items_are_forgotten AFTER INSERT ON public.unmatches REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION forget_timing_items();
ALTER TABLE unmatches ENABLE ALWAYS TRIGGER timing_items_are_forgotten;

CREATE TRIGGER unmatches_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.unmatches FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE unmatches ENABLE ALWAYS TRIGGER unmatches_append_only;

CREATE TRIGGER waiting_dead_letters_kept BEFORE DELETE ON public.waiting_dead_letters FOR EACH ROW EXECUTE FUNCTION refuse_early_removal();
ALTER TABLE waiting_dead_letters ENABLE ALWAYS TRIGGER waiting_dead_letters_kept;

CREATE TRIGGER waiting_dead_letters_unchanged BEFORE UPDATE OR TRUNCATE ON public.waiting_dead_letters FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE waiting_dead_letters ENABLE ALWAYS TRIGGER waiting_dead_letters_unchanged;

CREATE VIEW atomic_operations AS
 SELECT id,
    'settlement'::text AS type,
    created_at AS started_at,
    ended_at AS completed_at,
        CASE
            WHEN ended_at IS NULL THEN 'in_progress'::text
            WHEN state = ANY (ARRAY['completed'::settlement_state, 'returned'::settlement_state]) THEN 'committed'::text
            ELSE 'rolled_back'::text
        END AS state,
    refusal_code AS rollback_reason
   FROM settlement_transactions s;

CREATE VIEW bank_postings AS
 SELECT a.id AS account_id,
    t.group_id,
    t.posting,
    t.leg,
    t.currency,
    t.at,
        CASE
            WHEN t.debit_id = a.id THEN t.amount_minor
            ELSE - t.amount_minor
        END AS amount_minor,
        CASE
            WHEN t.posting > 1 THEN r.value_date
            ELSE s.value_date
        END AS value_date,
    array_remove(ARRAY[upper(t.group_id::text), spelled_reference(t.reference), spelled_reference(r.reference), spelled_reference(n.trace)], ''::text) AS our_references,
    COALESCE(spelled_reference(n.end_to_end_id), ''::text) AS end_to_end,
    array_remove(ARRAY[COALESCE(upper(n.uetr::text), ''::text), COALESCE(spelled_reference(s.rail_reference), ''::text)], ''::text) AS rail_references,
    COALESCE(spelled_reference(n.message_id), ''::text) AS batch
   FROM transfers t
     JOIN accounts a ON (a.id = t.debit_id OR a.id = t.credit_id) AND (a.kind = ANY (ARRAY['nostro'::account_kind, 'settlement'::account_kind]))
     LEFT JOIN settlement_transactions s ON s.id = t.group_id
     LEFT JOIN attempts n ON n.settlement_id = t.group_id AND n.number = s.attempt
     LEFT JOIN returns r ON r.settlement_id = t.group_id AND r.posting = t.posting AND t.posting > 1
  WHERE NOT (a.kind = 'settlement'::account_kind AND NOT n.delivery IS DISTINCT FROM 'pay_out'::delivery);

CREATE VIEW nostro_accounts AS
 SELECT a.id,
    a.bank,
    a.account_number,
    a.currency,
    round((a.debits_posted::numeric - a.credits_posted::numeric) / power(10::numeric, c.exponent::numeric), c.exponent::integer) AS balance,
    round((a.debits_posted::numeric - a.credits_posted::numeric - a.held::numeric) / power(10::numeric, c.exponent::numeric), c.exponent::integer) AS available_balance,
    a.last_reconciled_at AS last_reconciled,
    a.is_active,
    a.opened_at AS created_at
   FROM accounts a
     JOIN currencies c ON c.code = a.currency
  WHERE a.kind = 'nostro'::account_kind;

CREATE VIEW operation_checkpoints AS
 SELECT md5(format('%s/%s/%s'::text, m.settlement_id, m.seq, r.name))::uuid AS id,
    m.settlement_id AS operation_id,
    m.seq,
    r.name,
    m.at AS "timestamp",
    COALESCE(m.detail, '{}'::jsonb) AS data
   FROM moves m
     JOIN page p ON p.from_state = m.from_state AND p.event = m.event::text
     CROSS JOIN LATERAL unnest(p.reached) r(name);

CREATE VIEW settlement_messages AS
 SELECT m.settlement_id,
    m.attempt,
    m.rail,
    m.direction,
    m.type,
    m.message_id,
    m.response_status,
    m.content,
    m.bytes,
    m.sha256,
    m.at,
    a.uetr,
    a.end_to_end_id,
    a.message_id AS payment_message_id
   FROM ( SELECT attempts.settlement_id,
            attempts.number AS attempt,
            attempts.rail,
            'out'::text AS direction,
            NULL::text AS type,
            attempts.message_id,
            NULL::smallint AS response_status,
            attempts.payload AS content,
            octet_length(attempts.payload) AS bytes,
            sha256(attempts.payload) AS sha256,
            attempts.recorded_at AS at
           FROM attempts
        UNION ALL
         SELECT messages.settlement_id,
            messages.attempt,
            messages.rail,
            messages.direction,
            messages.type,
            messages.message_id,
            messages.response_status,
            messages.content,
            octet_length(messages.content) AS octet_length,
            messages.sha256,
            messages.stored_at
           FROM messages
        UNION ALL
         SELECT o.settlement_id,
            o.attempt,
            p.rail,
            'out'::text AS text,
            NULL::text AS text,
            o.message_id,
            NULL::smallint AS int2,
            o.content,
            octet_length(o.content) AS octet_length,
            sha256(o.content) AS sha256,
            o.recorded_at
           FROM covers o
             JOIN attempts p ON p.settlement_id = o.settlement_id AND p.number = o.attempt
        UNION ALL
         SELECT k.settlement_id,
            k.attempt,
            f.rail,
            'out'::text AS text,
            'nacha'::text AS text,
            f.name,
            NULL::smallint AS int2,
                CASE
                    WHEN octet_length(f.content) <= 1048576 THEN f.content
                    ELSE '\x'::bytea
                END AS "case",
            octet_length(f.content) AS octet_length,
            f.sha256,
            f.closed_at
           FROM rail_file_items k
             JOIN rail_files f ON f.id = k.file_id
        UNION ALL
         SELECT r.settlement_id,
            r.attempt,
            i.rail,
            'in'::text AS text,
            NULL::text AS text,
            i.sender_reference,
            NULL::smallint AS int2,
            i.content,
            octet_length(i.content) AS octet_length,
            sha256(i.content) AS sha256,
            i.received_at
           FROM inbound_reports r
             JOIN inbound_messages i ON i.id = r.message_id
          WHERE r.settlement_id IS NOT NULL AND NOT (EXISTS ( SELECT
                   FROM inbound_reports b
                  WHERE b.message_id = r.message_id AND b.settlement_id = r.settlement_id AND b.number < r.number))) m
     JOIN attempts a ON a.settlement_id = m.settlement_id AND a.number = m.attempt;

CREATE VIEW vostro_accounts AS
 SELECT a.id,
    a.bank,
    a.account_number,
    a.currency,
    round((a.credits_posted::numeric - a.debits_posted::numeric) / power(10::numeric, c.exponent::numeric), c.exponent::integer) AS balance,
    round(a.credit_limit::numeric / power(10::numeric, c.exponent::numeric), c.exponent::integer) AS credit_limit,
    a.is_active,
    a.opened_at AS created_at
   FROM accounts a
     JOIN currencies c ON c.code = a.currency
  WHERE a.kind = 'vostro'::account_kind;

INSERT INTO page VALUES ('pending', 'admitted', 'validating', NULL, 'screen', '{}');

INSERT INTO page VALUES ('validating', 'cancelled', 'failed', NULL, NULL, '{}');

INSERT INTO page VALUES ('validating', 'cleared', 'locked', 'lock', 'send', '{validation_complete,funds_locked}');

INSERT INTO page VALUES ('validating', 'no_answer', 'validating', NULL, 'screen', '{}');

INSERT INTO page VALUES ('validating', 'parked', 'held', NULL, NULL, '{}');

INSERT INTO page VALUES ('validating', 'postponed', 'queued', NULL, NULL, '{}');

INSERT INTO page VALUES ('validating', 'refused', 'failed', NULL, NULL, '{}');

INSERT INTO page VALUES ('held', 'approved', 'validating', NULL, 'screen', '{}');

INSERT INTO page VALUES ('held', 'cancelled', 'failed', NULL, NULL, '{}');

INSERT INTO page VALUES ('held', 'declined', 'failed', NULL, NULL, '{}');

INSERT INTO page VALUES ('queued', 'cancelled', 'failed', NULL, NULL, '{}');

INSERT INTO page VALUES ('queued', 'lapsed', 'failed', NULL, NULL, '{}');

INSERT INTO page VALUES ('queued', 'released', 'validating', NULL, 'screen', '{}');

INSERT INTO page VALUES ('locked', 'abandoned', 'rolled_back', 'release', NULL, '{}');

INSERT INTO page VALUES ('locked', 'acknowledged', 'sent', NULL, 'enquire', '{transfer_initiated}');

INSERT INTO page VALUES ('locked', 'amount_differed', 'sent', 'except', 'enquire', '{transfer_initiated}');

INSERT INTO page VALUES ('locked', 'cover_due', 'sent', 'cover', 'enquire', '{transfer_initiated}');

INSERT INTO page VALUES ('locked', 'no_answer', 'in_doubt', NULL, 'enquire', '{}');

INSERT INTO page VALUES ('locked', 'rejected', 'rolled_back', 'release', NULL, '{}');

INSERT INTO page VALUES ('locked', 'settled', 'completed', 'post', NULL, '{transfer_initiated,transfer_confirmed,settlement_finalized}');

INSERT INTO page VALUES ('locked', 'undelivered', 'locked', NULL, 'send', '{}');

INSERT INTO page VALUES ('sent', 'acknowledged', 'sent', NULL, 'enquire', '{}');

INSERT INTO page VALUES ('sent', 'amount_differed', 'sent', 'except', 'enquire', '{}');

INSERT INTO page VALUES ('sent', 'attested_not_settled', 'rolled_back', 'release', NULL, '{}');

INSERT INTO page VALUES ('sent', 'attested_settled', 'completed', 'post', NULL, '{transfer_confirmed,settlement_finalized}');

INSERT INTO page VALUES ('sent', 'cancelled', 'recalling', NULL, 'recall', '{}');

INSERT INTO page VALUES ('sent', 'cover_due', 'sent', 'cover', 'enquire', '{}');

INSERT INTO page VALUES ('sent', 'no_answer', 'sent', NULL, 'enquire', '{}');

INSERT INTO page VALUES ('sent', 'not_found', 'sent', NULL, 'enquire', '{}');

INSERT INTO page VALUES ('sent', 'overdue', 'recalling', NULL, 'recall', '{}');

INSERT INTO page VALUES ('sent', 'rejected', 'rolled_back', 'release', NULL, '{}');

INSERT INTO page VALUES ('sent', 'settled', 'completed', 'post', NULL, '{transfer_confirmed,settlement_finalized}');

INSERT INTO page VALUES ('in_doubt', 'acknowledged', 'sent', NULL, 'enquire', '{transfer_initiated}');

INSERT INTO page VALUES ('in_doubt', 'amount_differed', 'sent', 'except', 'enquire', '{transfer_initiated}');

INSERT INTO page VALUES ('in_doubt', 'attested_not_settled', 'rolled_back', 'release', NULL, '{}');

INSERT INTO page VALUES ('in_doubt', 'attested_settled', 'completed', 'post', NULL, '{transfer_initiated,transfer_confirmed,settlement_finalized}');

INSERT INTO page VALUES ('in_doubt', 'cover_due', 'sent', 'cover', 'enquire', '{transfer_initiated}');

INSERT INTO page VALUES ('in_doubt', 'no_answer', 'in_doubt', NULL, 'enquire', '{}');

INSERT INTO page VALUES ('in_doubt', 'not_found', 'locked', NULL, 'send', '{}');

INSERT INTO page VALUES ('in_doubt', 'rejected', 'rolled_back', 'release', NULL, '{}');

INSERT INTO page VALUES ('in_doubt', 'settled', 'completed', 'post', NULL, '{transfer_initiated,transfer_confirmed,settlement_finalized}');

INSERT INTO page VALUES ('recalling', 'acknowledged', 'recalling', NULL, 'recall', '{}');

INSERT INTO page VALUES ('recalling', 'amount_differed', 'sent', 'except', 'enquire', '{}');

INSERT INTO page VALUES ('recalling', 'attested_not_settled', 'rolled_back', 'release', NULL, '{}');

INSERT INTO page VALUES ('recalling', 'attested_settled', 'completed', 'post', NULL, '{transfer_confirmed,settlement_finalized}');

INSERT INTO page VALUES ('recalling', 'no_answer', 'recalling', NULL, 'recall', '{}');

INSERT INTO page VALUES ('recalling', 'recall_refused', 'sent', NULL, 'enquire', '{}');

INSERT INTO page VALUES ('recalling', 'recalled', 'rolled_back', 'release', NULL, '{}');

INSERT INTO page VALUES ('recalling', 'rejected', 'rolled_back', 'release', NULL, '{}');

INSERT INTO page VALUES ('recalling', 'settled', 'completed', 'post', NULL, '{transfer_confirmed,settlement_finalized}');

INSERT INTO page VALUES ('completed', 'contradicted', 'completed', 'except', NULL, '{}');

INSERT INTO page VALUES ('completed', 'debited_twice', 'completed', 'suspend', NULL, '{}');

INSERT INTO page VALUES ('completed', 'disproved', 'completed', 'suspend', NULL, '{}');

INSERT INTO page VALUES ('completed', 'partly_returned', 'completed', 'reverse', NULL, '{}');

INSERT INTO page VALUES ('completed', 'partly_uncovered', 'completed', 'suspend', NULL, '{}');

INSERT INTO page VALUES ('completed', 'returned', 'returned', 'reverse', NULL, '{}');

INSERT INTO page VALUES ('completed', 'uncovered', 'returned', 'suspend', NULL, '{}');

INSERT INTO page VALUES ('failed', 'contradicted', 'failed', 'except', NULL, '{}');

INSERT INTO page VALUES ('rolled_back', 'contradicted', 'rolled_back', 'except', NULL, '{}');

INSERT INTO page VALUES ('rolled_back', 'disproved', 'rolled_back', 'suspend', NULL, '{}');

INSERT INTO page VALUES ('returned', 'contradicted', 'returned', 'except', NULL, '{}');

INSERT INTO page VALUES ('returned', 'debited_twice', 'returned', 'suspend', NULL, '{}');

INSERT INTO stream_head (position) VALUES (0);
