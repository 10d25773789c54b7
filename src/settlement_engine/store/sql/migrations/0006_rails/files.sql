-- Files of payments. Closing a file is one commit: its bytes and its items. Only then may it leave, and whatever
-- happens afterwards, the same bytes leave again and never others.

-- The last number that was given to a payment in a file (NACHA: the last seven digits of its trace). When they are used
-- up, none is given again: a return could not be told from that of an earlier payment.
CREATE TABLE rail_trace_head (
    id smallint PRIMARY KEY CHECK (id = 1),
    last integer NOT NULL CHECK (last BETWEEN 1 AND 9999999)
);
CREATE FUNCTION refuse_a_used_trace() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a trace number is never given twice'
    USING ERRCODE = 'check_violation', CONSTRAINT = 'rail_trace_head_grows';
END $$;
CREATE TRIGGER rail_trace_head_grows BEFORE UPDATE ON rail_trace_head
FOR EACH ROW WHEN (new.last <= old.last) EXECUTE FUNCTION refuse_a_used_trace();
ALTER TABLE rail_trace_head ENABLE ALWAYS TRIGGER rail_trace_head_grows;
CREATE TRIGGER rail_trace_head_stays BEFORE DELETE OR TRUNCATE ON rail_trace_head
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE rail_trace_head ENABLE ALWAYS TRIGGER rail_trace_head_stays;

CREATE TABLE rail_files (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    rail text NOT NULL CHECK (length(rail) BETWEEN 1 AND 64),
    sender text NOT NULL CHECK (length(sender) BETWEEN 1 AND 64),
    created_on date NOT NULL,
    modifier text NOT NULL CHECK (modifier ~ '^[A-Z0-9]$'),
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    sha256 bytea NOT NULL CHECK (sha256 = sha256(content)),
    content bytea NOT NULL CHECK (octet_length(content) BETWEEN 1 AND 33554432),
    closed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- An operator knows a file by its parties, its day and its modifier.
    UNIQUE (rail, sender, created_on, modifier),
    UNIQUE (rail, name)
);
CREATE INDEX rail_files_by_content ON rail_files USING hash (sha256);

CREATE TABLE rail_file_items (
    settlement_id uuid NOT NULL,
    attempt smallint NOT NULL,
    file_id bigint NOT NULL REFERENCES rail_files,
    trace text NOT NULL CHECK (length(trace) BETWEEN 1 AND 35),
    -- A payment is in at most one file.
    PRIMARY KEY (settlement_id, attempt),
    FOREIGN KEY (settlement_id, attempt) REFERENCES attempts (settlement_id, number),
    UNIQUE (file_id, trace)
);

-- A file without a row here is placed again: with the same name and bytes.
CREATE TABLE rail_file_placements (
    file_id bigint PRIMARY KEY REFERENCES rail_files,
    placed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TRIGGER rail_files_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON rail_files
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE rail_files ENABLE ALWAYS TRIGGER rail_files_append_only;
CREATE TRIGGER rail_file_items_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON rail_file_items
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE rail_file_items ENABLE ALWAYS TRIGGER rail_file_items_append_only;
CREATE TRIGGER rail_file_placements_append_only
BEFORE UPDATE OR DELETE OR TRUNCATE ON rail_file_placements
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE rail_file_placements ENABLE ALWAYS TRIGGER rail_file_placements_append_only;

-- What is in a file may leave: it is never abandoned, whatever an engine believes.
CREATE FUNCTION refuse_abandoning_filed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM rail_file_items AS f WHERE f.settlement_id = new.settlement_id) THEN
        RAISE EXCEPTION 'settlement % is in a file, so it is not abandoned', new.settlement_id
        USING ERRCODE = 'check_violation', CONSTRAINT = 'filed_is_not_abandoned';
    END IF;
    RETURN new;
END $$;
CREATE TRIGGER filed_is_not_abandoned BEFORE INSERT ON moves
FOR EACH ROW WHEN (new.event = 'abandoned') EXECUTE FUNCTION refuse_abandoning_filed();
ALTER TABLE moves ENABLE ALWAYS TRIGGER filed_is_not_abandoned;
