-- compatible-from: 7
-- The same bytes from two banks of one rail are two messages: no bank can keep another from being heard.
--
-- The unique pair (rail, sha256) stays, because older engines name it in ON CONFLICT. Instead the hash of a message
-- with a known sender begins with the sender's name: sha256 identifies the message, and is no longer the hash of its
-- content alone. What is shown of a message is computed from the content.

ALTER TABLE inbound_messages ADD COLUMN sender text NOT NULL DEFAULT '';
ALTER TABLE inbound_messages ADD CONSTRAINT inbound_messages_sender
CHECK (length(sender) <= 256 AND sender !~ '\n') NOT VALID;
ALTER TABLE inbound_messages ADD CONSTRAINT inbound_messages_identity
CHECK (
    sha256 = sha256(CASE WHEN sender = '' THEN content ELSE convert_to(sender || chr(10), 'UTF8') || content END)
) NOT VALID;
-- The new one replaces it, and every row that the old one allows it allows, too.
-- squawk-ignore ban-drop-constraint
ALTER TABLE inbound_messages DROP CONSTRAINT inbound_messages_check;

-- The sender is compared as well: with the content it is what the hash is tied to.
DROP TRIGGER inbound_message_is_kept ON inbound_messages;
CREATE TRIGGER inbound_message_is_kept BEFORE UPDATE ON inbound_messages
FOR EACH ROW WHEN (
    ROW(
        new.id, new.rail, new.source, new.sender, new.sender_reference, new.sha256, new.received_at
    )::text
    IS DISTINCT FROM
    ROW(
        old.id, old.rail, old.source, old.sender, old.sender_reference, old.sha256, old.received_at
    )::text
    OR new.repeats < old.repeats
) EXECUTE FUNCTION refuse_change();
ALTER TABLE inbound_messages ENABLE ALWAYS TRIGGER inbound_message_is_kept;

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
