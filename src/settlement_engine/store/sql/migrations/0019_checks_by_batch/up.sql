-- compatible-from: 18
-- What refers to rows that are only ever appended is checked once for a batch, not by a foreign key for each row: a key
-- also locks the row that it names, and so writes it again, five times for each entry of a statement. What is referred
-- to is never deleted and its key is never changed, because its table is append-only: so there is nothing to lock.

-- The plan must not depend on how large the tables were when it was made.
CREATE FUNCTION refuse_orphans() RETURNS trigger LANGUAGE plpgsql
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
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
END $$;

CREATE TRIGGER no_orphans AFTER INSERT ON statement_entries
REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION refuse_orphans();
ALTER TABLE statement_entries ENABLE ALWAYS TRIGGER no_orphans;
CREATE TRIGGER no_orphans AFTER INSERT ON entry_details
REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION refuse_orphans();
ALTER TABLE entry_details ENABLE ALWAYS TRIGGER no_orphans;
CREATE TRIGGER no_orphans AFTER INSERT ON statement_evidence
REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION refuse_orphans();
ALTER TABLE statement_evidence ENABLE ALWAYS TRIGGER no_orphans;
CREATE TRIGGER no_orphans AFTER INSERT ON matches
REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION refuse_orphans();
ALTER TABLE matches ENABLE ALWAYS TRIGGER no_orphans;
CREATE TRIGGER no_orphans AFTER INSERT ON match_postings
REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION refuse_orphans();
ALTER TABLE match_postings ENABLE ALWAYS TRIGGER no_orphans;
CREATE TRIGGER no_orphans AFTER INSERT ON match_entries
REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION refuse_orphans();
ALTER TABLE match_entries ENABLE ALWAYS TRIGGER no_orphans;

-- The triggers above refuse the same.
-- squawk-ignore ban-drop-constraint
ALTER TABLE statement_entries DROP CONSTRAINT statement_entries_statement_id_fkey;
-- squawk-ignore ban-drop-constraint
ALTER TABLE entry_details DROP CONSTRAINT entry_details_statement_id_entry_number_fkey;
-- squawk-ignore ban-drop-constraint
ALTER TABLE statement_evidence DROP CONSTRAINT statement_evidence_statement_id_entry_number_fkey;
-- squawk-ignore ban-drop-constraint
ALTER TABLE matches DROP CONSTRAINT matches_run_id_fkey;
-- squawk-ignore ban-drop-constraint
ALTER TABLE match_postings DROP CONSTRAINT match_postings_match_id_fkey;
-- squawk-ignore ban-drop-constraint
ALTER TABLE match_entries DROP CONSTRAINT match_entries_match_id_fkey;
-- squawk-ignore ban-drop-constraint
ALTER TABLE match_entries DROP CONSTRAINT match_entries_statement_id_entry_number_fkey;

-- Matches that people have made are few among those of runs.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX matches_by_people ON matches (account_id, id) WHERE NOT is_automatic;
