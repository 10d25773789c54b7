-- The messages between us and banks that are kept nowhere else: repeated transmissions, enquiries, recalls, and
-- the response to every question.
--
-- The bytes of a payment's first transmission are those of its attempt, what a bank sent without being asked is in
-- inbound_messages, and a file of payments is in rail_files: none of them is stored a second time. The view has all.

CREATE TABLE messages (
    settlement_id uuid NOT NULL,
    at timestamptz NOT NULL,
    direction text NOT NULL CHECK (direction IN ('in', 'out')),
    sha256 bytea NOT NULL CHECK (sha256 = sha256(content)),
    attempt smallint NOT NULL CHECK (attempt > 0),
    rail text NOT NULL CHECK (length(rail) BETWEEN 1 AND 64),
    type text NOT NULL CHECK (length(type) <= 35),
    message_id text NOT NULL CHECK (length(message_id) <= 140),
    response_status smallint CHECK (response_status BETWEEN 100 AND 999),
    content bytea NOT NULL CHECK (octet_length(content) <= 1048576),
    stored_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (settlement_id, at, direction, sha256)
);
CREATE TRIGGER messages_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON messages
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE messages ENABLE ALWAYS TRIGGER messages_append_only;

-- A type that is NULL is not recorded where the message is kept: it is read from the bytes. The bytes of a file that
-- is longer than a message can be are left out.
CREATE VIEW settlement_messages AS
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
    SELECT k.settlement_id, k.attempt, f.rail, 'out'::text, 'nacha'::text, f.name, NULL::smallint,
        CASE WHEN octet_length(f.content) <= 1048576 THEN f.content ELSE ''::bytea END,
        octet_length(f.content), f.sha256, f.closed_at
    FROM rail_file_items AS k JOIN rail_files AS f ON f.id = k.file_id
    UNION ALL
    SELECT r.settlement_id, r.attempt, i.rail, 'in'::text, NULL::text, i.sender_reference,
        NULL::smallint, i.content, octet_length(i.content), i.sha256, i.received_at
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
