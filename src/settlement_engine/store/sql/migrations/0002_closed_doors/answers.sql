-- An enquiry without news is counted, and not written down once more: a payment that is asked about for a
-- weekend has a handful of rows. What was answered first, and what was answered differently, stays a row of
-- its own. Rows from before have no fingerprint, and are left as they are.

ALTER TABLE answers ADD COLUMN times integer NOT NULL DEFAULT 1 CHECK (times > 0);
ALTER TABLE answers ADD COLUMN last_at timestamptz;
ALTER TABLE answers ADD COLUMN fingerprint uuid;

-- What makes two answers the same: they came after the same move, and said the same in the same words.
CREATE FUNCTION answer_fingerprint(
    seq integer, attempt smallint, state settlement_state, event settlement_event, detail jsonb
) RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT md5(concat_ws('/', seq, attempt, state, event, detail))::uuid
$$;

-- The table may be large, but nothing writes it while its engines stand still for a migration.
-- squawk-ignore require-concurrent-index-creation
CREATE UNIQUE INDEX answer_is_counted ON answers (settlement_id, fingerprint);

DROP TRIGGER answers_append_only ON answers;
CREATE TRIGGER answers_stay BEFORE DELETE OR TRUNCATE ON answers
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE answers ENABLE ALWAYS TRIGGER answers_stay;
-- Nothing about an answer changes but that it came once more, later.
CREATE TRIGGER answer_is_only_counted BEFORE UPDATE ON answers
FOR EACH ROW WHEN (
    old.fingerprint IS NULL
    OR new.times IS DISTINCT FROM old.times + 1
    OR new.last_at IS NULL OR new.last_at < old.last_at
    OR ROW(new.id, new.settlement_id, new.attempt, new.state, new.event, new.detail, new.at,
        new.fingerprint)::text
    IS DISTINCT FROM ROW(old.id, old.settlement_id, old.attempt, old.state, old.event, old.detail,
        old.at, old.fingerprint)::text
) EXECUTE FUNCTION refuse_change();
ALTER TABLE answers ENABLE ALWAYS TRIGGER answer_is_only_counted;
