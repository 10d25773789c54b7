-- name: account_by_id
-- Return one account.
SELECT id, kind::text AS kind, bank, currency, account_number, debits_posted, credits_posted, held,
    credit_limit, is_active, last_reconciled_at
FROM accounts WHERE id = $1;

-- name: list_accounts
-- Oldest first. A null filter does not filter.
SELECT id, kind::text AS kind, bank, currency, account_number, debits_posted, credits_posted, held,
    credit_limit, is_active, last_reconciled_at
FROM accounts
WHERE ($1::text IS NULL OR kind = $1::text::account_kind)
    AND ($2::text IS NULL OR folded_bank(bank) = folded_bank($2)) AND ($3::text IS NULL OR currency = $3)
    AND ($4::text IS NULL OR account_number = $4) AND id > $5
ORDER BY id LIMIT $6;

-- name: open_account
-- Returns no row when the bank has an account with that number, under any spelling of its code. The default
-- number contains the bank's code, in the spelling of its time.
INSERT INTO accounts (kind, bank, currency, account_number, credit_limit)
SELECT $1::text::account_kind, $2::text, $3::text, $4::text, $5::bigint
WHERE NOT EXISTS (
    SELECT 1 FROM accounts AS a
    WHERE a.kind = $1::text::account_kind AND folded_bank(a.bank) = folded_bank($2::text)
        AND a.currency = $3::text AND (
            a.account_number = $4::text OR (
                $4::text = $1::text || '-' || folded_bank($2::text) || '-' || $3::text
                AND a.account_number = $1::text || '-' || a.bank || '-' || $3::text
            )
        )
)
ON CONFLICT DO NOTHING RETURNING id;

-- name: open_controls
-- Insert the missing control accounts; existing ones are not changed.
INSERT INTO accounts (kind, bank, currency, account_number)
SELECT q.kind::account_kind, q.bank, q.currency, $4::text
FROM unnest($1::text[], $2::text[], $3::text[]) AS q (kind, bank, currency)
WHERE NOT EXISTS (
    SELECT 1 FROM accounts AS a
    WHERE a.kind = q.kind::account_kind AND folded_bank(a.bank) = folded_bank(q.bank)
        AND a.currency = q.currency AND a.account_number = $4::text
)
ORDER BY q.kind, folded_bank(q.bank), q.currency
ON CONFLICT DO NOTHING;

-- name: find_controls
-- Control accounts by kind, owner and currency, oldest first; of two spellings of one owner the older account.
SELECT DISTINCT ON (a.kind, folded_bank(a.bank), a.currency) a.id, a.kind::text AS kind, a.bank, a.currency, a.account_number, a.debits_posted,
    a.credits_posted, a.held, a.credit_limit, a.is_active
FROM (SELECT DISTINCT * FROM unnest($1::text[], $2::text[], $3::text[])) AS q (kind, bank, currency)
JOIN accounts AS a ON a.kind = q.kind::account_kind AND folded_bank(a.bank) = folded_bank(q.bank)
    AND a.currency = q.currency AND a.account_number = $4
ORDER BY a.kind, folded_bank(a.bank), a.currency, a.id;

-- name: accounts_of
-- All accounts of these kinds and banks, oldest first, each once.
SELECT a.id, a.kind::text AS kind, a.bank, a.currency, a.account_number, a.debits_posted,
    a.credits_posted, a.held, a.credit_limit, a.is_active
FROM (
    SELECT DISTINCT u.kind, folded_bank(u.bank) FROM unnest($1::text[], $2::text[]) AS u (kind, bank)
) AS q (kind, bank)
JOIN accounts AS a ON a.kind = q.kind::account_kind AND folded_bank(a.bank) = q.bank
ORDER BY a.id;

-- name: remember_call
-- Store an idempotency key with its call's content; returns no row when the key exists.
INSERT INTO idempotent_calls (key_hash, caller, idempotency_key, call, content, account_id)
VALUES ($1, $2, $3, $4, $5::text::jsonb, $6) ON CONFLICT (key_hash) DO NOTHING RETURNING account_id;

-- name: recall_call
-- Return the content stored under a key.
SELECT content::text AS content, account_id FROM idempotent_calls WHERE key_hash = $1;

-- name: lock_accounts
-- Lock rows in sorted order; also return whether a balance is at its limit (BALANCE_FULL in domain/ledger.py).
SELECT id, greatest(debits_posted, credits_posted) >= 1e36 AS is_full
FROM accounts WHERE id = ANY ($1::bigint[]) ORDER BY id FOR NO KEY UPDATE;

-- name: post_transfer
-- Insert a transfer that belongs to no settlement, such as a funding.
INSERT INTO transfers (group_id, leg, debit_id, credit_id, amount_minor, currency, reference, at)
VALUES ($1, $2, $3, $4, $5, $6, $7, clock_timestamp());

-- name: post_balances
-- Update the two balances that a transfer changes.
UPDATE accounts SET
    debits_posted = debits_posted + CASE WHEN id = $1 THEN $3::bigint ELSE 0 END,
    credits_posted = credits_posted + CASE WHEN id = $2 THEN $3::bigint ELSE 0 END
WHERE id IN ($1, $2);

-- name: post_differences
-- Insert transfers that belong to no settlement, as parallel arrays; their rows' accounts are locked.
INSERT INTO transfers (group_id, leg, debit_id, credit_id, amount_minor, currency, reference, at)
SELECT q.group_id, q.leg, q.debit_id, q.credit_id, q.amount_minor, q.currency, '', clock_timestamp()
FROM unnest(
    $1::text::uuid[], $2::text::smallint[], $3::text::bigint[], $4::text::bigint[], $5::text::bigint[],
    $6::text::text[]
) AS q (group_id, leg, debit_id, credit_id, amount_minor, currency);

-- name: post_balances_of_many
-- Update the balances that transfers change, as parallel arrays.
UPDATE accounts AS a SET
    debits_posted = a.debits_posted + q.debits, credits_posted = a.credits_posted + q.credits
FROM (
    SELECT s.id, sum(s.debit) AS debits, sum(s.credit) AS credits
    FROM unnest($1::text::bigint[], $2::text::bigint[], $3::text::bigint[]) AS t (debit_id, credit_id, amount_minor)
    CROSS JOIN LATERAL (VALUES (t.debit_id, t.amount_minor, 0), (t.credit_id, 0, t.amount_minor))
        AS s (id, debit, credit)
    GROUP BY s.id
) AS q
WHERE a.id = q.id;

-- name: set_active
-- Activate or deactivate an account.
UPDATE accounts SET is_active = $2 WHERE id = $1 RETURNING id;

-- name: list_transfers
-- Newest first. A null filter does not filter.
SELECT group_id, posting, leg, debit_id, credit_id, amount_minor, currency, reference, at
FROM transfers
WHERE ($1::bigint IS NULL OR debit_id = $1 OR credit_id = $1)
    AND ($2::uuid IS NULL OR group_id = $2)
    AND ($3::uuid IS NULL OR (group_id, posting, leg) < ($3, $4::smallint, $5::smallint))
ORDER BY group_id DESC, posting DESC, leg DESC LIMIT $6;

-- name: windows
-- The settlement windows in force.
SELECT currency, zone, window_start, window_end, days_of_week FROM settlement_windows
WHERE is_active ORDER BY currency, id;

-- name: currencies
-- Every currency ever booked, with its exponent, which never changes.
SELECT code, exponent FROM currencies;

-- name: load_currencies
-- Reference data of ISO 4217; a known currency never changes its exponent.
INSERT INTO currencies (code, exponent) SELECT * FROM unnest($1::text[], $2::smallint[])
ON CONFLICT (code) DO NOTHING;

-- name: load_windows
-- The five windows of the specification, in the time zones of their markets.
INSERT INTO settlement_windows (currency, zone, window_start, window_end)
SELECT * FROM unnest($1::text[], $2::text[], $3::time[], $4::time[]) ON CONFLICT DO NOTHING;

-- name: balances
-- Balances of nostro and vostro accounts, summed per bank and currency, over the oldest $1 accounts.
SELECT q.kind::text AS kind, folded_bank(q.bank) AS bank, q.currency,
    sum(CASE q.kind
        WHEN 'nostro' THEN q.debits_posted::numeric - q.credits_posted
        ELSE q.credits_posted::numeric - q.debits_posted
    END) AS posted
FROM (
    SELECT id, kind, bank, currency, debits_posted, credits_posted FROM accounts
    WHERE kind IN ('nostro', 'vostro') ORDER BY id LIMIT $1
) AS q
GROUP BY q.kind, folded_bank(q.bank), q.currency
ORDER BY min(q.id);

-- name: accounts_left_out
-- The number of nostro and vostro accounts beyond the oldest $1, counted up to another $1.
SELECT count(*) AS accounts FROM (
    SELECT id FROM accounts WHERE kind IN ('nostro', 'vostro') ORDER BY id OFFSET $1 LIMIT $1
) AS q;
