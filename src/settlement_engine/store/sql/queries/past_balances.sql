-- name: complete_until
-- The instant before which nothing is booked any more: every transaction that books took its time after it began, and
-- those before this instant have ended. A transaction without a number has written nothing yet; it gets one, and its
-- time, long before $1 seconds are over.
SELECT least(
    clock_timestamp() - make_interval(secs => $1::double precision),
    (
        SELECT min(xact_start) FROM pg_stat_activity
        WHERE datname = current_database() AND backend_xid IS NOT NULL AND pid <> pg_backend_pid()
    )
) AS at;

-- name: balances_at
-- All debits and credits of accounts before an instant: the newest recorded ones, and the transfers since then.
WITH base AS (
    SELECT coalesce((SELECT max(at) FROM balance_moments WHERE at <= $2), '-infinity') AS at
), later AS (
    SELECT s.account_id, sum(s.debit) AS debits, sum(s.credit) AS credits
    FROM transfers AS t
    CROSS JOIN LATERAL (
        VALUES (t.debit_id, t.amount_minor, 0), (t.credit_id, 0, t.amount_minor)
    ) AS s (account_id, debit, credit)
    WHERE t.at >= (SELECT at FROM base) AND t.at < $2 AND s.account_id = ANY ($1::bigint[])
    GROUP BY s.account_id
)
SELECT a.id, coalesce(p.debits_posted, 0) + coalesce(l.debits, 0) AS debits_posted,
    coalesce(p.credits_posted, 0) + coalesce(l.credits, 0) AS credits_posted
FROM unnest($1::bigint[]) AS a (id)
LEFT JOIN LATERAL (
    SELECT q.debits_posted, q.credits_posted FROM past_balances AS q
    WHERE q.account_id = a.id AND q.at <= (SELECT at FROM base) ORDER BY q.at DESC LIMIT 1
) AS p ON true
LEFT JOIN later AS l ON l.account_id = a.id;

-- name: lock_balance_moments
-- One engine at a time records balances.
SELECT pg_advisory_xact_lock(hashtextextended('balances of the past', 0));

-- name: last_balance_moment
-- The newest recorded quarter; before the first one, the begin of the quarter of the oldest transfer, or $1.
SELECT coalesce(
    (SELECT max(at) FROM balance_moments),
    (SELECT date_bin('15 minutes', t.at, '2000-01-01T00:00:00Z') FROM transfers AS t ORDER BY t.at LIMIT 1),
    date_bin('15 minutes', $1, '2000-01-01T00:00:00Z')
) AS at;

-- name: record_balances
-- Record the quarters after $1 up to $2. Each transfer is read once in its life.
WITH quarters AS (
    INSERT INTO balance_moments (at)
    SELECT q.at FROM generate_series($1::timestamptz + interval '15 minutes', $2, '15 minutes') AS q (at)
    RETURNING at
), booked AS (
    SELECT s.account_id,
        date_bin('15 minutes', t.at, '2000-01-01T00:00:00Z') + interval '15 minutes' AS at,
        sum(s.debit) AS debits, sum(s.credit) AS credits
    FROM transfers AS t
    CROSS JOIN LATERAL (
        VALUES (t.debit_id, t.amount_minor, 0), (t.credit_id, 0, t.amount_minor)
    ) AS s (account_id, debit, credit)
    WHERE t.at >= $1 AND t.at < $2
    GROUP BY 1, 2
), added AS (
    INSERT INTO past_balances (account_id, at, debits_posted, credits_posted)
    SELECT b.account_id, b.at,
        coalesce(p.debits_posted, 0) + sum(b.debits) OVER w, coalesce(p.credits_posted, 0) + sum(b.credits) OVER w
    FROM booked AS b
    LEFT JOIN LATERAL (
        SELECT q.debits_posted, q.credits_posted FROM past_balances AS q
        WHERE q.account_id = b.account_id ORDER BY q.at DESC LIMIT 1
    ) AS p ON true
    WINDOW w AS (PARTITION BY b.account_id ORDER BY b.at)
)
SELECT count(*) AS quarters FROM quarters;
