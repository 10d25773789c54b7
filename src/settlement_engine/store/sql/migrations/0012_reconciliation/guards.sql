-- What is appended is never changed.

CREATE TRIGGER reconciliation_runs_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON reconciliation_runs
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE reconciliation_runs ENABLE ALWAYS TRIGGER reconciliation_runs_append_only;
CREATE TRIGGER reconciliation_run_ends_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON reconciliation_run_ends
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE reconciliation_run_ends ENABLE ALWAYS TRIGGER reconciliation_run_ends_append_only;
CREATE TRIGGER reconciliation_reports_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON reconciliation_reports
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE reconciliation_reports ENABLE ALWAYS TRIGGER reconciliation_reports_append_only;
CREATE TRIGGER matches_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON matches
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE matches ENABLE ALWAYS TRIGGER matches_append_only;
CREATE TRIGGER unmatches_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON unmatches
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE unmatches ENABLE ALWAYS TRIGGER unmatches_append_only;
CREATE TRIGGER match_postings_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON match_postings
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE match_postings ENABLE ALWAYS TRIGGER match_postings_append_only;
CREATE TRIGGER match_entries_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON match_entries
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE match_entries ENABLE ALWAYS TRIGGER match_entries_append_only;
CREATE TRIGGER match_suggestions_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON match_suggestions
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE match_suggestions ENABLE ALWAYS TRIGGER match_suggestions_append_only;
CREATE TRIGGER breaks_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON breaks
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE breaks ENABLE ALWAYS TRIGGER breaks_append_only;
CREATE TRIGGER break_items_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON break_items
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE break_items ENABLE ALWAYS TRIGGER break_items_append_only;
CREATE TRIGGER break_events_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON break_events
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE break_events ENABLE ALWAYS TRIGGER break_events_append_only;
CREATE TRIGGER proofs_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON proofs
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE proofs ENABLE ALWAYS TRIGGER proofs_append_only;
