-- name: read_stream
-- The transitions after a position, in commit order.
SELECT position, settlement_id, seq, from_state::text AS from_state, event::text AS event,
    to_state::text AS to_state, at, detail::text AS detail
FROM moves WHERE position > $1 ORDER BY position LIMIT $2;

-- name: read_stream_of
-- The same for one settlement.
SELECT position, settlement_id, seq, from_state::text AS from_state, event::text AS event,
    to_state::text AS to_state, at, detail::text AS detail
FROM moves WHERE position > $1 AND settlement_id = $3 ORDER BY position LIMIT $2;

-- name: facts
-- The data of settlements that is announced with each of their transitions. It never changes.
SELECT s.id, s.obligation_id, s.from_bank, s.to_bank, s.amount_minor, s.currency, s.value_date, s.priority,
    s.compensates,
    coalesce(d.delivery::text, CASE WHEN d.payment IS NULL THEN 'book' ELSE 'pay_out' END) AS delivery
FROM settlement_transactions AS s LEFT JOIN payment_details AS d ON d.settlement_id = s.id
WHERE s.id = ANY($1::uuid[]);

-- name: stream_head
-- The last position, and the last one that JetStream is known to have stored.
SELECT position, published FROM stream_head;

-- name: mark_published
-- Store the position up to which JetStream has stored the stream.
UPDATE stream_head SET published = $1 WHERE published < $1;

-- name: try_leadership
-- Acquire or keep the relay's leadership; the end of the session releases it. The key is 8087.
SELECT pg_try_advisory_lock(8087, 0);
