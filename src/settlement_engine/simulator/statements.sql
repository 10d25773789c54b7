-- The bank's accounts, their bookings and statements, in the file of its ledger.

-- name: statement_schema
-- An account is one bank's for one holder in one currency; the account that pays orders has an empty number here,
-- because orders need not name it. A booking's day is final when its statement is issued.
CREATE TABLE IF NOT EXISTS bank_accounts (
    id            INTEGER PRIMARY KEY,
    bank          TEXT    NOT NULL,
    number        TEXT    NOT NULL,
    currency      TEXT    NOT NULL,
    opening_minor INTEGER NOT NULL DEFAULT 0,
    UNIQUE (bank, number, currency)
) STRICT;
CREATE TABLE IF NOT EXISTS bookings (
    id            INTEGER PRIMARY KEY,
    account_id    INTEGER NOT NULL REFERENCES bank_accounts (id),
    payment_id    INTEGER REFERENCES payments (id),
    kind          TEXT    NOT NULL,
    amount_minor  INTEGER NOT NULL,
    charges_minor INTEGER NOT NULL DEFAULT 0,
    text          TEXT    NOT NULL,
    day           TEXT    NOT NULL,
    booked_at_ms  INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS bookings_by_day ON bookings (account_id, day);
CREATE TRIGGER IF NOT EXISTS bookings_stay BEFORE DELETE ON bookings
    BEGIN SELECT RAISE(ABORT, 'bookings are never deleted'); END;
CREATE TRIGGER IF NOT EXISTS bookings_are_final BEFORE UPDATE ON bookings
    BEGIN SELECT RAISE(ABORT, 'a booking is final'); END;
CREATE TABLE IF NOT EXISTS issued (
    account_id    INTEGER NOT NULL REFERENCES bank_accounts (id),
    day           TEXT    NOT NULL,
    sequence      INTEGER NOT NULL,
    closing_minor INTEGER NOT NULL,
    content       BLOB    NOT NULL,
    PRIMARY KEY (account_id, day)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER IF NOT EXISTS statements_stay BEFORE DELETE ON issued
    BEGIN SELECT RAISE(ABORT, 'statements are never deleted'); END;
CREATE TRIGGER IF NOT EXISTS statements_are_final BEFORE UPDATE ON issued
    BEGIN SELECT RAISE(ABORT, 'a statement is final'); END;
CREATE TABLE IF NOT EXISTS planted (
    id         INTEGER PRIMARY KEY,
    account_id INTEGER NOT NULL REFERENCES bank_accounts (id),
    day        TEXT    NOT NULL,
    content    TEXT    NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS delivered_statements (
    account_id INTEGER NOT NULL,
    day        TEXT    NOT NULL,
    PRIMARY KEY (account_id, day)
) STRICT, WITHOUT ROWID;

-- name: book_earlier_debits
-- Book the debits and returns that a ledger of version 4 has; the day of a return is not known: it is the last one.
INSERT INTO bank_accounts (bank, number, currency)
SELECT DISTINCT from_bank, '', currency FROM payments JOIN debits ON payment_id = payments.id WHERE true
    ON CONFLICT DO NOTHING;
INSERT INTO bookings (account_id, payment_id, kind, amount_minor, text, day, booked_at_ms)
SELECT a.id, p.id, 'debit', -d.amount_minor, '', date(d.debited_at_ms / 1000, 'unixepoch'),
       d.debited_at_ms
  FROM debits AS d JOIN payments AS p ON p.id = d.payment_id
  JOIN bank_accounts AS a ON a.bank = p.from_bank AND a.number = '' AND a.currency = p.currency
 ORDER BY d.debited_at_ms, p.id;
INSERT INTO bookings (account_id, payment_id, kind, amount_minor, text, day, booked_at_ms)
SELECT a.id, p.id, 'return', p.returned_minor, '', date(d.debited_at_ms / 1000, 'unixepoch'),
       d.debited_at_ms
  FROM debits AS d JOIN payments AS p ON p.id = d.payment_id
  JOIN bank_accounts AS a ON a.bank = p.from_bank AND a.number = '' AND a.currency = p.currency
 WHERE p.returned_minor > 0 ORDER BY d.debited_at_ms, p.id;

-- name: ensure_account
-- Return an account; the first mention opens it.
INSERT INTO bank_accounts (bank, number, currency) VALUES (:bank, :number, :currency)
    ON CONFLICT (bank, number, currency) DO UPDATE SET number = excluded.number
RETURNING id;

-- name: find_accounts
-- Return the accounts of a bank, of one number and of the one that pays orders; a NULL currency does not filter.
SELECT id, bank, number, currency, opening_minor FROM bank_accounts
 WHERE bank = :bank AND number IN ('', :number) AND (:currency IS NULL OR currency = :currency)
 ORDER BY number DESC, currency;

-- name: accounts_with_files
-- Return the accounts from which entries of files are paid.
SELECT DISTINCT a.id, a.bank, a.number, a.currency, a.opening_minor
  FROM bank_accounts AS a JOIN bookings AS b ON b.account_id = a.id JOIN payments AS p ON p.id = b.payment_id
 WHERE p.trace IS NOT NULL AND a.number = '' ORDER BY a.id;

-- name: set_opening
-- Set what an account begins with; only before its first statement.
UPDATE bank_accounts SET opening_minor = :opening_minor
 WHERE id = :id AND NOT EXISTS (SELECT 1 FROM issued WHERE account_id = :id)
RETURNING id;

-- name: booked_by_hand
-- A booking of this text and amount that no order has caused.
SELECT id FROM bookings
 WHERE account_id = :account_id AND kind = :kind AND amount_minor = :amount_minor AND text = :text LIMIT 1;

-- name: book
-- Book an amount today, or on the day after the last statement if today's is issued already.
INSERT INTO bookings (account_id, payment_id, kind, amount_minor, charges_minor, text, day, booked_at_ms)
SELECT :account_id, :payment_id, :kind, :amount_minor, :charges_minor, :text,
       max(date(:now_ms / 1000, 'unixepoch'), coalesce(date(max(day), '+1 day'), '')), :now_ms
  FROM issued WHERE account_id = :account_id
RETURNING id;

-- name: bookings_of
-- Return a day's bookings of an account with their payments, in the order of booking.
SELECT b.id, b.kind, b.amount_minor, b.charges_minor, b.text, b.payment_id, p.uetr, p.end_to_end_id, p.message_id,
       p.instruction_id, p.trace, p.rail, p.value_date
  FROM bookings AS b LEFT JOIN payments AS p ON p.id = b.payment_id
 WHERE b.account_id = :account_id AND b.day = :day ORDER BY b.id LIMIT :limit;

-- name: booked_minor
-- Return the sum of everything booked on an account.
SELECT coalesce(sum(amount_minor), 0) AS minor FROM bookings WHERE account_id = :account_id;

-- name: first_day
-- Return the day of an account's first booking.
SELECT min(day) AS day FROM bookings WHERE account_id = :account_id;

-- name: last_issued
-- Return the last statement of an account.
SELECT day, sequence, closing_minor FROM issued WHERE account_id = :account_id ORDER BY day DESC LIMIT 1;

-- name: issued_on
-- Return the statement of a day.
SELECT content FROM issued WHERE account_id = :account_id AND day = :day;

-- name: issue
-- Record a statement, which no longer changes.
INSERT INTO issued (account_id, day, sequence, closing_minor, content)
VALUES (:account_id, :day, :sequence, :closing_minor, :content);

-- name: plant
-- Record a difference that was put into a statement.
INSERT INTO planted (account_id, day, content) VALUES (:account_id, :day, :content);

-- name: planted_page
-- Return a page of the differences, in their order.
SELECT p.id, p.day, p.content, a.bank, a.number, a.currency
  FROM planted AS p JOIN bank_accounts AS a ON a.id = p.account_id
 WHERE p.id > :after_id ORDER BY p.id LIMIT :limit;

-- name: is_delivered
-- Say whether a statement was written to the folder.
SELECT 1 FROM delivered_statements WHERE account_id = :account_id AND day = :day;

-- name: mark_delivered
-- Record that a statement was written to the folder.
INSERT INTO delivered_statements (account_id, day) VALUES (:account_id, :day) ON CONFLICT DO NOTHING;
