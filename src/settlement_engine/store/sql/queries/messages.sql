-- name: keep_messages
-- Store messages; one that is stored already stays as it is.
INSERT INTO messages (
    settlement_id, at, direction, sha256, attempt, rail, type, message_id, response_status, content
)
SELECT m.settlement_id, m.at, m.direction, sha256(m.content), m.attempt, m.rail, m.type,
    m.message_id, nullif(m.response_status, 0), m.content
FROM unnest(
    $1::text::uuid[], $2::text::timestamptz[], $3::text::text[], $4::text::smallint[],
    $5::text::text[], $6::text::text[], $7::text::text[], $8::text::smallint[], $9::text::bytea[]
) AS m (settlement_id, at, direction, attempt, rail, type, message_id, response_status, content)
ON CONFLICT DO NOTHING;

-- name: list_messages
-- A settlement's messages after a place, oldest first, wherever they are kept.
SELECT m.direction, m.attempt, m.rail, m.type, m.message_id, m.response_status, m.content, m.bytes,
    m.sha256, m.at, m.uetr, m.end_to_end_id, m.payment_message_id
FROM settlement_messages AS m
WHERE m.settlement_id = $1 AND (
    $3::timestamptz IS NULL
    OR ROW(m.at, m.direction, m.sha256) > ROW($3::timestamptz, $4::text, $5::bytea)
)
ORDER BY m.at, m.direction, m.sha256 LIMIT $2;

-- name: dossier_messages
-- The latest messages of a settlement, newest first; so many, and so many bytes of them, with their bytes.
SELECT q.direction, q.attempt, q.rail, q.type, q.message_id, q.response_status, q.sha256, q.at, q.bytes,
    CASE
        WHEN q.nth <= $3::bigint AND q.total <= $4::bigint AND octet_length(q.content) = q.bytes
        THEN q.content
    END AS content
FROM (
    SELECT m.*, row_number() OVER newest AS nth,
        sum(octet_length(m.content)) OVER newest AS total
    FROM settlement_messages AS m WHERE m.settlement_id = $1
    WINDOW newest AS (ORDER BY m.at DESC, m.direction DESC, m.sha256 DESC)
) AS q ORDER BY q.nth LIMIT $2;
