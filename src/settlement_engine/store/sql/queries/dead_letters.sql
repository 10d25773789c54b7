-- name: add_dead_letter
-- Store a message that could not be accepted: each one once, however often it is delivered.
INSERT INTO dead_letters (
    subject, payload, why, payload_bytes, payload_hash, stream, stream_sequence, stored_at
) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING RETURNING id;

-- name: dead_letters
-- The latest dead letters, with or without their payload.
SELECT d.id, d.subject, CASE WHEN $3::boolean THEN d.payload ELSE '' END AS payload,
    octet_length(d.payload) AS kept_bytes, d.why, d.received_at, d.payload_bytes, d.payload_hash, d.stream,
    d.stream_sequence, d.stored_at
FROM dead_letters AS d WHERE $2::bigint IS NULL OR d.id < $2
ORDER BY d.id DESC LIMIT $1;

-- name: latest_open_dead_letters
-- The latest open dead letters.
SELECT d.id, d.subject, CASE WHEN $3::boolean THEN d.payload ELSE '' END AS payload,
    octet_length(d.payload) AS kept_bytes, d.why, d.received_at, d.payload_bytes, d.payload_hash, d.stream,
    d.stream_sequence, d.stored_at
FROM waiting_dead_letters AS w JOIN dead_letters AS d ON d.id = w.dead_letter_id
WHERE $2::bigint IS NULL OR w.dead_letter_id < $2
ORDER BY w.dead_letter_id DESC LIMIT $1;

-- name: open_dead_letters
-- The open dead letters, oldest first, optionally of one subject, of a period, or only those stored whole.
SELECT d.id, d.subject, CASE WHEN $7::boolean THEN d.payload ELSE '' END AS payload,
    octet_length(d.payload) AS kept_bytes, d.why, d.received_at, d.payload_bytes, d.payload_hash, d.stream,
    d.stream_sequence, d.stored_at
FROM waiting_dead_letters AS w JOIN dead_letters AS d ON d.id = w.dead_letter_id
WHERE w.dead_letter_id > $2 AND ($3::text = '' OR d.subject = $3)
    AND ($4::timestamptz IS NULL OR d.received_at >= $4)
    AND ($5::timestamptz IS NULL OR d.received_at < $5)
    AND (NOT $6::boolean OR coalesce(d.payload_bytes, 0) <= octet_length(d.payload))
ORDER BY w.dead_letter_id LIMIT $1;

-- name: waiting_dead_letters
-- The number of open dead letters, counted up to a limit, and the age of the oldest.
SELECT count(*) AS dead_letters,
    coalesce(extract(epoch FROM clock_timestamp() - min(q.received_at)), 0)::double precision
        AS oldest_seconds
FROM (
    SELECT w.received_at FROM waiting_dead_letters AS w ORDER BY w.dead_letter_id LIMIT $1
) AS q;

-- name: remove_dead_letters
-- Delete dead letters closed at least $1 days ago, oldest first; a trigger refuses any others.
DELETE FROM dead_letters AS d WHERE d.id IN (
    SELECT a.dead_letter_id FROM dead_letter_acts AS a
    WHERE a.outcome <> 'refused' AND a.at < clock_timestamp() - make_interval(days => $1)
    ORDER BY a.at LIMIT $2
) RETURNING d.id;

-- name: dead_letter
-- Return one dead letter.
SELECT id, subject, payload, octet_length(payload) AS kept_bytes, why, received_at, payload_bytes,
    payload_hash, stream, stream_sequence, stored_at
FROM dead_letters WHERE id = $1;

-- name: dead_letter_acts
-- The actions on these dead letters, in order; of each dead letter the latest ones.
SELECT q.dead_letter_id, q.at, q.who, q.outcome, q.words, q.settlement_id FROM (
    SELECT a.*, row_number() OVER (PARTITION BY a.dead_letter_id ORDER BY a.id DESC) AS place
    FROM dead_letter_acts AS a WHERE a.dead_letter_id = ANY ($1::bigint[])
) AS q WHERE q.place <= $2 ORDER BY q.dead_letter_id, q.id;

-- name: note_letter
-- Record an action, unless the dead letter is closed; then no row is returned.
INSERT INTO dead_letter_acts (dead_letter_id, who, outcome, words, settlement_id)
SELECT $1::bigint, $2, $3::text, $4, $5 WHERE NOT EXISTS (
    SELECT 1 FROM dead_letter_acts AS a WHERE a.dead_letter_id = $1 AND a.outcome <> 'refused'
)
ON CONFLICT DO NOTHING RETURNING id;
