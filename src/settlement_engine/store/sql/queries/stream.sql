-- name: read_stream
-- What follows a position, in the order in which it was committed.
SELECT m.position, m.settlement_id, m.seq, m.from_state::text AS from_state, m.event::text AS event,
    m.to_state::text AS to_state, m.at, m.detail::text AS detail, s.obligation_id, s.from_bank,
    s.to_bank, s.amount_minor, s.currency, s.value_date, s.priority
FROM moves AS m JOIN settlement_transactions AS s ON s.id = m.settlement_id
WHERE m.position > $1 ORDER BY m.position LIMIT $2;

-- name: read_stream_of
-- The same of one settlement.
SELECT m.position, m.settlement_id, m.seq, m.from_state::text AS from_state, m.event::text AS event,
    m.to_state::text AS to_state, m.at, m.detail::text AS detail, s.obligation_id, s.from_bank,
    s.to_bank, s.amount_minor, s.currency, s.value_date, s.priority
FROM moves AS m JOIN settlement_transactions AS s ON s.id = m.settlement_id
WHERE m.position > $1 AND m.settlement_id = $3 ORDER BY m.position LIMIT $2;

-- name: stream_head
-- How far the stream goes, and how far JetStream is known to hold it.
SELECT position, published FROM stream_head;

-- name: mark_published
-- Remember how far JetStream holds the stream.
UPDATE stream_head SET published = $1 WHERE published < $1;

-- name: try_leadership
-- Become the one relay, or stay it; the session's end gives it up. Key 8087 is the relay's.
SELECT pg_try_advisory_lock(8087, 0);
