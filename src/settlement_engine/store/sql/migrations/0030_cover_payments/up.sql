-- compatible-from: 29
-- Cover payments: the transfer between banks that covers a customer's payment, and what its bank has said of it. Engines
-- of the version before do not send any, and do not know the event: use them when all engines are new.

ALTER TYPE settlement_event ADD VALUE IF NOT EXISTS 'cover_due' AFTER 'debited_twice';

-- The list only grows: what stands there fulfils it.
-- squawk-ignore ban-drop-constraint
ALTER TABLE exceptions DROP CONSTRAINT exceptions_kind_check;
-- squawk-ignore constraint-missing-not-valid
ALTER TABLE exceptions ADD CONSTRAINT exceptions_kind_check CHECK (kind IN (
    'in_doubt', 'overdue', 'contradiction', 'late_debit', 'second_debit', 'disproved',
    'uncovered_return', 'unknown_payment', 'altered_payment', 'cannot_be_booked',
    'held', 'amount_differs', 'recall_overdue', 'debited_twice', 'statement_differs', 'cover_failed'
));

-- The covers of a payment: the first one, and its repairs. The bytes stand here before they leave.
CREATE TABLE covers (
    settlement_id uuid NOT NULL,
    attempt smallint NOT NULL CHECK (attempt > 0),
    number smallint NOT NULL CHECK (number BETWEEN 1 AND 9),
    message_id text NOT NULL CHECK (length(message_id) BETWEEN 1 AND 35),
    content bytea NOT NULL CHECK (octet_length(content) BETWEEN 1 AND 1048576),
    valid_until timestamptz NOT NULL,
    ordered_by text NOT NULL CHECK (length(ordered_by) <= 256),
    reason text NOT NULL CHECK (length(reason) <= 500),
    -- Its bank had it before: the database was restored, and did not know of it.
    is_found boolean NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (settlement_id, attempt, number),
    FOREIGN KEY (settlement_id, attempt) REFERENCES attempts (settlement_id, number),
    CONSTRAINT only_a_first_cover_is_found CHECK (number = 1 OR NOT is_found),
    CONSTRAINT a_repair_is_ordered CHECK ((number = 1) = (ordered_by = '') AND (number = 1) = (reason = ''))
);
CREATE INDEX covers_by_message_id ON covers USING hash (message_id);
CREATE TRIGGER covers_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON covers
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE covers ENABLE ALWAYS TRIGGER covers_append_only;

-- What is proved of a cover: that a transmission was not delivered, or that its bank has refused it (transmission 0).
CREATE TABLE cover_results (
    settlement_id uuid NOT NULL,
    attempt smallint NOT NULL,
    number smallint NOT NULL,
    transmission smallint NOT NULL CHECK (transmission >= 0),
    result text NOT NULL CHECK (result IN ('undelivered', 'refused')),
    code text NOT NULL,
    text text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (settlement_id, attempt, number, transmission),
    FOREIGN KEY (settlement_id, attempt, number) REFERENCES covers (settlement_id, attempt, number),
    CONSTRAINT a_refusal_is_of_the_cover CHECK ((transmission = 0) = (result = 'refused'))
);
CREATE TRIGGER cover_results_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON cover_results
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE cover_results ENABLE ALWAYS TRIGGER cover_results_append_only;

-- Another cover only after its bank's own no to the last one: without it the last one may still be paid.
CREATE FUNCTION require_a_refused_cover() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM cover_results AS r
        WHERE r.settlement_id = NEW.settlement_id AND r.attempt = NEW.attempt
            AND r.number = NEW.number - 1 AND r.result = 'refused'
    ) THEN
        RAISE EXCEPTION 'a cover is repaired only after its bank has refused the one before'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'repair_follows_a_refusal';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER repair_follows_a_refusal BEFORE INSERT ON covers
FOR EACH ROW WHEN (NEW.number > 1) EXECUTE FUNCTION require_a_refused_cover();
ALTER TABLE covers ENABLE ALWAYS TRIGGER repair_follows_a_refusal;

-- A cover's send intent names the last cover and its bytes, and is one more transmission of the attempt: what people
-- attest covers the transmissions before.
CREATE FUNCTION count_cover() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM covers AS c
        WHERE c.settlement_id = NEW.settlement_id AND c.attempt = NEW.attempt
            AND c.number::text = NEW.detail ->> 'cover'
            AND encode(sha256(c.content), 'hex') = NEW.detail ->> 'cover_sha256'
            AND NOT EXISTS (
                SELECT FROM covers AS l
                WHERE l.settlement_id = c.settlement_id AND l.attempt = c.attempt AND l.number > c.number
            )
            AND NOT EXISTS (
                SELECT FROM cover_results AS r
                WHERE r.settlement_id = c.settlement_id AND r.attempt = c.attempt
                    AND r.number = c.number AND r.result = 'refused'
            )
    ) THEN
        RAISE EXCEPTION 'the send intent of a cover names the last one, which its bank has not refused'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'cover_is_counted';
    END IF;
    UPDATE attempts SET sends = sends + 1
    WHERE settlement_id = NEW.settlement_id AND number = NEW.attempt;
    RETURN NULL;
END $$;
-- The cast: a value that was added in this transaction cannot be used in it yet.
CREATE TRIGGER cover_is_counted AFTER INSERT ON moves
FOR EACH ROW WHEN (NEW.event::text = 'cover_due') EXECUTE FUNCTION count_cover();
ALTER TABLE moves ENABLE ALWAYS TRIGGER cover_is_counted;

CREATE OR REPLACE VIEW settlement_messages AS
SELECT m.settlement_id, m.attempt, m.rail, m.direction, m.type, m.message_id, m.response_status,
    m.content, m.bytes, m.sha256, m.at, a.uetr, a.end_to_end_id, a.message_id AS payment_message_id
FROM (
    SELECT settlement_id, number AS attempt, rail, 'out'::text AS direction, NULL::text AS type,
        message_id, NULL::smallint AS response_status, payload AS content,
        octet_length(payload) AS bytes, sha256(payload) AS sha256, recorded_at AS at
    FROM attempts
    UNION ALL
    SELECT settlement_id, attempt, rail, direction, type, message_id, response_status, content,
        octet_length(content), sha256, stored_at
    FROM messages
    UNION ALL
    SELECT o.settlement_id, o.attempt, p.rail, 'out'::text, NULL::text, o.message_id, NULL::smallint, o.content,
        octet_length(o.content), sha256(o.content), o.recorded_at
    FROM covers AS o JOIN attempts AS p ON p.settlement_id = o.settlement_id AND p.number = o.attempt
    UNION ALL
    SELECT k.settlement_id, k.attempt, f.rail, 'out'::text, 'nacha'::text, f.name, NULL::smallint,
        CASE WHEN octet_length(f.content) <= 1048576 THEN f.content ELSE ''::bytea END,
        octet_length(f.content), f.sha256, f.closed_at
    FROM rail_file_items AS k JOIN rail_files AS f ON f.id = k.file_id
    UNION ALL
    SELECT r.settlement_id, r.attempt, i.rail, 'in'::text, NULL::text, i.sender_reference,
        NULL::smallint, i.content, octet_length(i.content), sha256(i.content), i.received_at
    FROM inbound_reports AS r
    JOIN inbound_messages AS i ON i.id = r.message_id
    -- One message may say several things about one payment: it is still one message.
    WHERE r.settlement_id IS NOT NULL AND NOT EXISTS (
        SELECT FROM inbound_reports AS b
        WHERE b.message_id = r.message_id AND b.settlement_id = r.settlement_id
            AND b.number < r.number
    )
) AS m
JOIN attempts AS a ON a.settlement_id = m.settlement_id AND a.number = m.attempt;
