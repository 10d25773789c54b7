-- compatible-from: 19
-- Notices: facts that are announced although they are no moves of settlements. Each has a position that is gapless and
-- follows the order of the commits, taken by a trigger in the statement that appends the fact, so that no engine, of this
-- version or the one before, can record a fact without its notice (docs/decisions/0044-notices-have-an-outbox-of-their-own.md).

CREATE TABLE notice_head (
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    position bigint NOT NULL CHECK (position >= 0),
    published bigint NOT NULL DEFAULT 0 CHECK (published >= 0),
    -- The place of the last published notice in the stream of JetStream; 0 while there is none.
    published_sequence bigint NOT NULL DEFAULT 0 CHECK (published_sequence >= 0),
    -- Facts from before have no notices.
    began_at timestamptz NOT NULL
) WITH (fillfactor = 10);

CREATE TABLE notices (
    position bigint PRIMARY KEY CHECK (position > 0),
    kind text NOT NULL CHECK (kind IN ('discrepancy', 'escalation', 'recall', 'proof')),
    -- The key of the fact: a report of a run, an event of a break, a step of a recall, a proof.
    run_id uuid,
    currency currency_code,
    break_id bigint,
    number integer,
    settlement_id uuid,
    seq smallint,
    proof_id bigint,
    at timestamptz NOT NULL,
    UNIQUE (run_id, currency),
    UNIQUE (break_id, number),
    UNIQUE (settlement_id, seq),
    UNIQUE (proof_id),
    CONSTRAINT notices_have_a_fact CHECK (
        num_nonnulls(run_id, currency) = CASE WHEN kind = 'discrepancy' THEN 2 ELSE 0 END
        AND num_nonnulls(break_id, number) = CASE WHEN kind = 'escalation' THEN 2 ELSE 0 END
        AND num_nonnulls(settlement_id, seq) = CASE WHEN kind = 'recall' THEN 2 ELSE 0 END
        AND num_nonnulls(proof_id) = CASE WHEN kind = 'proof' THEN 1 ELSE 0 END
    )
);
CREATE TRIGGER notices_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON notices
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE notices ENABLE ALWAYS TRIGGER notices_append_only;

-- Take the next positions; returns the one before them. The head stays locked until the commit. A system epoch begins at
-- the next multiple of 10^13, as that of the moves does.
CREATE FUNCTION take_notice_positions(p_count bigint) RETURNS bigint LANGUAGE sql VOLATILE AS $$
    UPDATE notice_head AS h SET position = p_count + greatest(
        h.position, 10000000000000 * coalesce((SELECT max(o.era) FROM openings AS o), 0)
    )
    RETURNING h.position - p_count
$$;

CREATE FUNCTION notice_discrepancies() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    v_count bigint := (SELECT count(*) FROM written WHERE discrepancy_accounts > 0);
BEGIN
    IF v_count > 0 THEN
        INSERT INTO notices (position, kind, run_id, currency, at)
        SELECT h.before + row_number() OVER (ORDER BY w.run_id, w.currency), 'discrepancy', w.run_id, w.currency,
            clock_timestamp()
        FROM take_notice_positions(v_count) AS h (before), written AS w WHERE w.discrepancy_accounts > 0;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER discrepancies_are_noticed AFTER INSERT ON reconciliation_reports
REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION notice_discrepancies();
ALTER TABLE reconciliation_reports ENABLE ALWAYS TRIGGER discrepancies_are_noticed;

CREATE FUNCTION notice_escalations() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    v_count bigint := (SELECT count(*) FROM written WHERE event = 'escalated');
BEGIN
    IF v_count > 0 THEN
        INSERT INTO notices (position, kind, break_id, number, at)
        SELECT h.before + row_number() OVER (ORDER BY w.break_id, w.number), 'escalation', w.break_id, w.number,
            clock_timestamp()
        FROM take_notice_positions(v_count) AS h (before), written AS w WHERE w.event = 'escalated';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER escalations_are_noticed AFTER INSERT ON break_events
REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION notice_escalations();
ALTER TABLE break_events ENABLE ALWAYS TRIGGER escalations_are_noticed;

CREATE FUNCTION notice_recall_steps() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    v_count bigint := (SELECT count(*) FROM written);
BEGIN
    IF v_count > 0 THEN
        INSERT INTO notices (position, kind, settlement_id, seq, at)
        SELECT h.before + row_number() OVER (ORDER BY w.settlement_id, w.seq), 'recall', w.settlement_id, w.seq,
            clock_timestamp()
        FROM take_notice_positions(v_count) AS h (before), written AS w;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER recall_steps_are_noticed AFTER INSERT ON recall_steps
REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION notice_recall_steps();
ALTER TABLE recall_steps ENABLE ALWAYS TRIGGER recall_steps_are_noticed;

-- A proof of zero says that what is matched on the day is reconciled; one that is zero no more takes that back.
CREATE FUNCTION notice_proofs() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    v_ids bigint[] := ARRAY(
        SELECT w.id FROM written AS w
        WHERE w.is_zero OR (
            SELECT p.is_zero FROM proofs AS p
            WHERE p.account_id = w.account_id AND p.booking_date = w.booking_date AND p.id < w.id
            ORDER BY p.id DESC LIMIT 1
        )
        ORDER BY w.id
    );
BEGIN
    IF cardinality(v_ids) > 0 THEN
        INSERT INTO notices (position, kind, proof_id, at)
        SELECT h.before + q.place, 'proof', q.id, clock_timestamp()
        FROM take_notice_positions(cardinality(v_ids)) AS h (before),
            unnest(v_ids) WITH ORDINALITY AS q (id, place);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER proofs_are_noticed AFTER INSERT ON proofs
REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION notice_proofs();
ALTER TABLE proofs ENABLE ALWAYS TRIGGER proofs_are_noticed;

-- By now the triggers' locks keep every writer of facts away.
INSERT INTO notice_head (position, began_at) VALUES (0, clock_timestamp());
