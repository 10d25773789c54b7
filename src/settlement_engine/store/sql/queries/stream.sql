-- name: read_stream
-- What follows a position, in the order in which it was committed.
SELECT position, settlement_id, seq, from_state::text AS from_state, event::text AS event,
    to_state::text AS to_state, at, detail::text AS detail
FROM moves WHERE position > $1 ORDER BY position LIMIT $2;

-- name: read_stream_of
-- The same of one settlement.
SELECT position, settlement_id, seq, from_state::text AS from_state, event::text AS event,
    to_state::text AS to_state, at, detail::text AS detail
FROM moves WHERE position > $1 AND settlement_id = $3 ORDER BY position LIMIT $2;

-- name: facts
-- What is announced of settlements with each of their moves. It never changes.
SELECT id, obligation_id, from_bank, to_bank, amount_minor, currency, value_date, priority
FROM settlement_transactions WHERE id = ANY($1::uuid[]);

-- name: stream_head
-- How far the stream goes, and how far JetStream is known to hold it.
SELECT position, published FROM stream_head;

-- name: mark_published
-- Remember how far JetStream holds the stream.
UPDATE stream_head SET published = $1 WHERE published < $1;

-- name: try_leadership
-- Become the one relay, or stay it; the session's end gives it up. Key 8087 is the relay's.
SELECT pg_try_advisory_lock(8087, 0);
