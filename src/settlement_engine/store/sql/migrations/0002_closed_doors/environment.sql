-- Which environment this database belongs to: `serve` and `dev` refuse one of another environment. The last
-- row counts; what was said before stays.
CREATE TABLE environments (
    id integer PRIMARY KEY CHECK (id > 0),
    name text NOT NULL CHECK (name IN ('production', 'dev')),
    set_by text NOT NULL CHECK (length(set_by) BETWEEN 1 AND 256),
    set_at timestamptz NOT NULL
);

CREATE TRIGGER environments_stay BEFORE UPDATE OR DELETE OR TRUNCATE ON environments
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE environments ENABLE ALWAYS TRIGGER environments_stay;
