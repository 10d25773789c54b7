-- The bank directory: an entry is a row for each of its versions, and none is ever changed. The columns beside
-- the content are what is looked up; the content says them too.

CREATE TABLE bank_versions (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code text NOT NULL CHECK (code = folded_bank(code) AND code ~ '^[A-Z0-9._-]{1,20}$'),
    version integer NOT NULL CHECK (version BETWEEN 1 AND 10000),
    rails text [] NOT NULL CHECK (cardinality(rails) <= 32),
    currencies text [] NOT NULL CHECK (cardinality(currencies) <= 200),
    is_withdrawn boolean NOT NULL,
    content jsonb NOT NULL CHECK (
        jsonb_typeof(content) = 'object' AND content ->> 'code' = code
        AND octet_length(content::text) <= 262144
    ),
    changed_by text NOT NULL CHECK (length(changed_by) BETWEEN 1 AND 256),
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (code, version)
);
-- How many banks there are, without their later versions.
CREATE INDEX banks_by_code ON bank_versions (code) WHERE version = 1;

CREATE FUNCTION refuse_a_gap_of_versions() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF new.version <> 1 + coalesce(
        (SELECT max(v.version) FROM bank_versions AS v WHERE v.code = new.code), 0
    ) THEN
        RAISE EXCEPTION 'bank %: version % does not follow the last one', new.code, new.version
        USING ERRCODE = 'check_violation', CONSTRAINT = 'bank_versions_follow';
    END IF;
    RETURN new;
END $$;
CREATE TRIGGER bank_versions_follow BEFORE INSERT ON bank_versions
FOR EACH ROW EXECUTE FUNCTION refuse_a_gap_of_versions();
ALTER TABLE bank_versions ENABLE ALWAYS TRIGGER bank_versions_follow;
CREATE TRIGGER bank_versions_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON bank_versions
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE bank_versions ENABLE ALWAYS TRIGGER bank_versions_append_only;
