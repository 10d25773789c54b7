-- One dead letter for each message, of bounded size, and kept for a bounded time.
--
-- The tables are small, and what waits for their locks is only what could not be taken in anyway: it is
-- handed out again.
-- squawk-ignore-file constraint-missing-not-valid, require-concurrent-index-creation
-- squawk-ignore-file ban-drop-constraint, adding-foreign-key-constraint

-- Which message it was: a durable consumer that was deleted and made anew hands everything out again. The
-- instant tells a message from another one at the same sequence number of a stream that was made anew.
-- What is kept of the payload may be its beginning only; its size and its hash are those of the whole.
ALTER TABLE dead_letters
    ADD COLUMN stream text,
    ADD COLUMN stream_sequence bigint CHECK (stream_sequence > 0),
    ADD COLUMN stored_at timestamptz,
    ADD COLUMN payload_bytes bigint CHECK (payload_bytes >= octet_length(payload)),
    ADD COLUMN payload_hash bytea CHECK (octet_length(payload_hash) = 32),
    ADD CONSTRAINT dead_letter_names_its_message CHECK (
        num_nulls(stream, stream_sequence, stored_at) IN (0, 3)
    ),
    ADD CONSTRAINT dead_letter_payload_is_described CHECK (
        num_nulls(payload_bytes, payload_hash) IN (0, 2)
    );
CREATE UNIQUE INDEX dead_letter_of_each_message ON dead_letters (stream, stream_sequence, stored_at)
WHERE stream IS NOT NULL;

-- Retention: what ended more than thirty days ago may be removed, with what was done about it; nothing
-- else, and nothing is ever changed. Who removes it, and when, is the engine's (nats.dead_letters_kept_days).
CREATE FUNCTION refuse_early_removal() RETURNS trigger LANGUAGE plpgsql AS $$
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
    END IF;
    RAISE EXCEPTION '% is append-only: % refused', tg_table_name, tg_op USING ERRCODE = 'SE004';
END $$;

DROP TRIGGER dead_letters_append_only ON dead_letters;
CREATE TRIGGER dead_letters_append_only BEFORE UPDATE OR TRUNCATE ON dead_letters
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE dead_letters ENABLE ALWAYS TRIGGER dead_letters_append_only;
CREATE TRIGGER dead_letters_kept BEFORE DELETE ON dead_letters
FOR EACH ROW EXECUTE FUNCTION refuse_early_removal();
ALTER TABLE dead_letters ENABLE ALWAYS TRIGGER dead_letters_kept;

DROP TRIGGER dead_letter_acts_append_only ON dead_letter_acts;
CREATE TRIGGER dead_letter_acts_append_only BEFORE UPDATE OR TRUNCATE ON dead_letter_acts
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE dead_letter_acts ENABLE ALWAYS TRIGGER dead_letter_acts_append_only;
CREATE TRIGGER dead_letter_acts_kept BEFORE DELETE ON dead_letter_acts
FOR EACH ROW EXECUTE FUNCTION refuse_early_removal();
ALTER TABLE dead_letter_acts ENABLE ALWAYS TRIGGER dead_letter_acts_kept;

ALTER TABLE dead_letter_acts
    DROP CONSTRAINT dead_letter_acts_dead_letter_id_fkey,
    ADD CONSTRAINT dead_letter_acts_dead_letter_id_fkey
        FOREIGN KEY (dead_letter_id) REFERENCES dead_letters (id) ON DELETE CASCADE;
CREATE INDEX dead_letter_acts_ended ON dead_letter_acts (at) WHERE outcome <> 'refused';
