-- compatible-from: 12
-- Statements that we issue to banks with accounts here. Nothing here is ever changed: a statement has its number, its
-- figures and its bytes for good (docs/decisions/0034-issued-statements-are-stored.md).

CREATE TABLE issued_statements (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id bigint NOT NULL,
    number integer NOT NULL CHECK (number BETWEEN 1 AND 99999),
    day date NOT NULL,
    begins timestamptz NOT NULL,
    ends timestamptz NOT NULL CHECK (ends > begins),
    opening_minor numeric(38) NOT NULL,
    closing_minor numeric(38) NOT NULL,
    credits_minor numeric(38) NOT NULL CHECK (credits_minor >= 0),
    debits_minor numeric(38) NOT NULL CHECK (debits_minor >= 0),
    entries integer NOT NULL CHECK (entries >= 0),
    previous_day date CHECK (previous_day < day),
    issued_by text NOT NULL CHECK (length(issued_by) BETWEEN 1 AND 256),
    issued_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (account_id, number),
    UNIQUE (account_id, day),
    CHECK (opening_minor + credits_minor - debits_minor = closing_minor),
    CHECK ((number = 1) = (previous_day IS NULL))
);

CREATE TABLE issued_statement_files (
    statement_id bigint NOT NULL REFERENCES issued_statements (id),
    format text NOT NULL CHECK (format IN ('camt.053', 'MT950')),
    sha256 bytea NOT NULL CHECK (sha256 = sha256(content)),
    content bytea NOT NULL,
    made_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (statement_id, format)
);

-- A statement follows the one before: by number, by time and by balance.
CREATE FUNCTION require_statement_follows() RETURNS trigger LANGUAGE plpgsql AS $$
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
END $$;
CREATE TRIGGER issued_statements_follow BEFORE INSERT ON issued_statements
FOR EACH ROW EXECUTE FUNCTION require_statement_follows();
ALTER TABLE issued_statements ENABLE ALWAYS TRIGGER issued_statements_follow;
CREATE TRIGGER issued_statements_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON issued_statements
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE issued_statements ENABLE ALWAYS TRIGGER issued_statements_append_only;
CREATE TRIGGER issued_statement_files_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON issued_statement_files
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE issued_statement_files ENABLE ALWAYS TRIGGER issued_statement_files_append_only;
