-- name: give_breaker_order
-- Record an order.
INSERT INTO breaker_orders (rail, bank, action, who, reason) VALUES ($1, $2, $3, $4, $5)
RETURNING id, rail, bank, action, who, reason, at;

-- name: standing_breaker_orders
-- The orders by which sending is stopped.
SELECT q.id, q.rail, q.bank, q.action, q.who, q.reason, q.at
FROM (
    SELECT DISTINCT ON (o.rail, o.bank) o.* FROM breaker_orders AS o
    WHERE o.action IN ('open', 'close') ORDER BY o.rail, o.bank, o.id DESC
) AS q WHERE q.action = 'open' ORDER BY q.id;

-- name: breaker_orders_after
-- Orders after a number, oldest first.
SELECT id, rail, bank, action, who, reason, at FROM breaker_orders WHERE id > $1 ORDER BY id LIMIT $2;

-- name: latest_breaker_orders
-- The latest orders about a rail, or about all of them, newest first.
SELECT id, rail, bank, action, who, reason, at FROM breaker_orders
WHERE $1::text = '' OR rail = $1::text ORDER BY id DESC LIMIT $2;
