-- compatible-from: 16
-- Regulatory reports: what was reported to an authority for a date, in which version, and of what it was made. Nothing
-- here is ever changed (docs/decisions/0038-a-regulatory-report-is-a-stored-job.md).

CREATE TABLE regulatory_reports (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    template text NOT NULL CHECK (length(template) BETWEEN 1 AND 64),
    template_version integer NOT NULL CHECK (template_version > 0),
    template_content text NOT NULL CHECK (octet_length(template_content) <= 65536),
    day date NOT NULL,
    begins timestamptz NOT NULL,
    ends timestamptz NOT NULL CHECK (ends > begins),
    as_of timestamptz NOT NULL CHECK (as_of >= ends),
    version integer NOT NULL CHECK (version > 0),
    institution_name text NOT NULL,
    institution_bic text NOT NULL,
    institution_lei text NOT NULL,
    reason text NOT NULL CHECK (length(reason) <= 1000 AND (version = 1 OR reason <> '')),
    rows integer NOT NULL CHECK (rows >= 0),
    content bytea NOT NULL,
    sha256 bytea NOT NULL CHECK (sha256 = sha256(content)),
    made_by text NOT NULL CHECK (length(made_by) BETWEEN 1 AND 256),
    made_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (template, day, version),
    UNIQUE (template, day, as_of)
);

-- A version follows the one before, and knows more.
CREATE FUNCTION require_version_follows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF new.version > 1 AND NOT EXISTS (
        SELECT 1 FROM regulatory_reports AS r
        WHERE r.template = new.template AND r.day = new.day AND r.version = new.version - 1 AND r.as_of < new.as_of
    ) THEN
        RAISE EXCEPTION 'version % of % for % does not follow the one before', new.version, new.template, new.day
        USING ERRCODE = 'SE007';
    END IF;
    RETURN new;
END $$;
CREATE TRIGGER regulatory_reports_follow BEFORE INSERT ON regulatory_reports
FOR EACH ROW EXECUTE FUNCTION require_version_follows();
ALTER TABLE regulatory_reports ENABLE ALWAYS TRIGGER regulatory_reports_follow;
CREATE TRIGGER regulatory_reports_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON regulatory_reports
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE regulatory_reports ENABLE ALWAYS TRIGGER regulatory_reports_append_only;
