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
    ELSIF tg_table_name = 'waiting_dead_letters' AND EXISTS (
        SELECT 1 FROM dead_letter_acts AS a
        WHERE a.dead_letter_id = old.dead_letter_id AND a.outcome <> 'refused'
    ) THEN
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

-- Which letters wait for a person, as rows of their own: the many that have ended are not looked through.
CREATE TABLE waiting_dead_letters (
    dead_letter_id bigint PRIMARY KEY REFERENCES dead_letters (id) ON DELETE CASCADE,
    received_at timestamptz NOT NULL
);
INSERT INTO waiting_dead_letters (dead_letter_id, received_at)
SELECT d.id, d.received_at FROM dead_letters AS d WHERE NOT EXISTS (
    SELECT 1 FROM dead_letter_acts AS a WHERE a.dead_letter_id = d.id AND a.outcome <> 'refused'
);

CREATE FUNCTION wait_for_a_person() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO waiting_dead_letters (dead_letter_id, received_at) VALUES (new.id, new.received_at);
    RETURN NULL;
END $$;
CREATE TRIGGER dead_letters_wait AFTER INSERT ON dead_letters
FOR EACH ROW EXECUTE FUNCTION wait_for_a_person();
ALTER TABLE dead_letters ENABLE ALWAYS TRIGGER dead_letters_wait;

CREATE FUNCTION wait_no_more() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM waiting_dead_letters WHERE dead_letter_id = new.dead_letter_id;
    RETURN NULL;
END $$;
CREATE TRIGGER dead_letter_acts_end AFTER INSERT ON dead_letter_acts
FOR EACH ROW WHEN (new.outcome <> 'refused') EXECUTE FUNCTION wait_no_more();
ALTER TABLE dead_letter_acts ENABLE ALWAYS TRIGGER dead_letter_acts_end;

CREATE TRIGGER waiting_dead_letters_unchanged BEFORE UPDATE OR TRUNCATE ON waiting_dead_letters
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE waiting_dead_letters ENABLE ALWAYS TRIGGER waiting_dead_letters_unchanged;
CREATE TRIGGER waiting_dead_letters_kept BEFORE DELETE ON waiting_dead_letters
FOR EACH ROW EXECUTE FUNCTION refuse_early_removal();
ALTER TABLE waiting_dead_letters ENABLE ALWAYS TRIGGER waiting_dead_letters_kept;
