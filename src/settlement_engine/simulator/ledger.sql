-- The ledger of the simulated bank, in SQLite. Statements have names, as in the engine's store.

-- name: schema
-- The tables of the ledger. A payment has at most one debit, in a separate table; nothing is ever deleted. A UETR is
-- one payment's, or that of the two legs of a cover payment, of which a repaired message is another row.
CREATE TABLE IF NOT EXISTS payments (
    id             INTEGER PRIMARY KEY,
    rail           TEXT    NOT NULL,
    uetr           TEXT,
    message_name   TEXT    NOT NULL,
    message_id     TEXT    NOT NULL,
    instruction_id TEXT    NOT NULL,
    end_to_end_id  TEXT    NOT NULL,
    trace          TEXT UNIQUE,
    from_bank      TEXT    NOT NULL,
    to_bank        TEXT    NOT NULL,
    amount_minor   INTEGER NOT NULL,
    currency       TEXT    NOT NULL,
    value_date     TEXT    NOT NULL,
    content_hash   TEXT    NOT NULL,
    original       TEXT    NOT NULL,
    scenario       TEXT    NOT NULL,
    plan           TEXT    NOT NULL,
    state          TEXT    NOT NULL,
    status         TEXT    NOT NULL,
    code           TEXT    NOT NULL,
    times_received INTEGER NOT NULL,
    returned_minor INTEGER NOT NULL DEFAULT 0,
    received_at_ms INTEGER NOT NULL,
    credited_account TEXT NOT NULL DEFAULT '',
    leg            TEXT    NOT NULL DEFAULT '' CHECK (leg IN ('', 'payment', 'cover'))
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS payments_uetr
    ON payments (uetr, leg, CASE WHEN leg = '' THEN '' ELSE message_id END);
CREATE INDEX IF NOT EXISTS payments_message ON payments (message_id);
CREATE INDEX IF NOT EXISTS payments_end_to_end ON payments (end_to_end_id);
CREATE TRIGGER IF NOT EXISTS payments_stay BEFORE DELETE ON payments
    BEGIN SELECT RAISE(ABORT, 'payments are never deleted'); END;
CREATE TABLE IF NOT EXISTS debits (
    payment_id   INTEGER PRIMARY KEY REFERENCES payments (id),
    amount_minor INTEGER NOT NULL,
    debited_at_ms INTEGER NOT NULL
) STRICT;
CREATE TRIGGER IF NOT EXISTS debits_stay BEFORE DELETE ON debits
    BEGIN SELECT RAISE(ABORT, 'debits are never deleted'); END;
CREATE TRIGGER IF NOT EXISTS debits_are_final BEFORE UPDATE ON debits
    BEGIN SELECT RAISE(ABORT, 'a debit is final'); END;
CREATE TABLE IF NOT EXISTS steps (
    id         INTEGER PRIMARY KEY,
    payment_id INTEGER NOT NULL REFERENCES payments (id),
    kind       TEXT    NOT NULL,
    content    TEXT    NOT NULL,
    due_at_ms  INTEGER NOT NULL,
    is_done    INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX IF NOT EXISTS steps_due ON steps (due_at_ms) WHERE is_done = 0;
CREATE TABLE IF NOT EXISTS callbacks (
    id          INTEGER PRIMARY KEY,
    payment_id  INTEGER NOT NULL REFERENCES payments (id),
    content     BLOB    NOT NULL,
    due_at_ms   INTEGER NOT NULL,
    copies_left INTEGER NOT NULL,
    attempts    INTEGER NOT NULL DEFAULT 0,
    ending      TEXT
) STRICT;
CREATE INDEX IF NOT EXISTS callbacks_due ON callbacks (due_at_ms) WHERE ending IS NULL;
CREATE TABLE IF NOT EXISTS arrivals (
    reference  TEXT PRIMARY KEY,
    times      INTEGER NOT NULL,
    fails_until_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS barred (
    reference TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS settings (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS files (
    sha256 TEXT PRIMARY KEY,
    identity TEXT NOT NULL UNIQUE,
    name   TEXT NOT NULL
) STRICT, WITHOUT ROWID;
PRAGMA user_version = 6;

-- name: upgrade_from_4
-- Add what version 5 knows of a payment: the account that its amount is credited to.
ALTER TABLE payments ADD COLUMN credited_account TEXT NOT NULL DEFAULT '';

-- name: upgrade_from_5
-- Put the payments aside: in their table a UETR is of one row only, and SQLite drops no such constraint. Triggers and
-- indexes go with the table; the other tables refer to it by its name.
CREATE TEMPORARY TABLE payments_of_5 AS SELECT * FROM payments;
DROP TABLE payments;

-- name: fill_from_5
-- Enter the payments again under their ids. None of them is a leg: version 5 knew no cover payments.
INSERT INTO payments (id, rail, uetr, message_name, message_id, instruction_id, end_to_end_id, trace, from_bank,
                      to_bank, amount_minor, currency, value_date, content_hash, original, scenario, plan, state,
                      status, code, times_received, returned_minor, received_at_ms, credited_account)
SELECT id, rail, uetr, message_name, message_id, instruction_id, end_to_end_id, trace, from_bank,
       to_bank, amount_minor, currency, value_date, content_hash, original, scenario, plan, state,
       status, code, times_received, returned_minor, received_at_ms, credited_account
  FROM payments_of_5;
DROP TABLE payments_of_5;

-- name: arrive
-- Count an arrival of a payment; the first arrival sets the time until which it gets server errors.
INSERT INTO arrivals (reference, times, fails_until_ms) VALUES (:reference, 1, :fails_until_ms)
    ON CONFLICT (reference) DO UPDATE SET times = times + 1
RETURNING times, fails_until_ms;

-- name: fails_until
-- Return the time until which a payment gets server errors.
SELECT fails_until_ms FROM arrivals WHERE reference = :reference;

-- name: bar
-- Mark a payment that has not arrived as one to reject.
INSERT INTO barred (reference) VALUES (:reference) ON CONFLICT DO NOTHING;

-- name: is_barred
-- Say whether a payment is to be rejected.
SELECT 1 FROM barred WHERE reference = :reference;

-- name: enter
-- Record a payment at its first receipt.
INSERT INTO payments (rail, uetr, message_name, message_id, instruction_id, end_to_end_id, trace, from_bank,
                      to_bank, amount_minor, currency, value_date, content_hash, original, scenario, plan, state,
                      status, code, credited_account, leg,
                      times_received, received_at_ms)
VALUES (:rail, :uetr, :message_name, :message_id, :instruction_id, :end_to_end_id, :trace, :from_bank,
        :to_bank, :amount_minor, :currency, :value_date, :content_hash, :original, :scenario, :plan, :state,
        :status, :code, :credited_account, :leg, 1, :received_at_ms)
RETURNING id;

-- name: received_again
-- Count another receipt of a payment.
UPDATE payments SET times_received = times_received + 1 WHERE id = :id;

-- name: find
-- Find payments by the references of a message; an absent reference is NULL. The two legs of a cover payment share
-- their UETR: the message tells them apart, by its id or else by its kind (the first 8 characters of its name).
SELECT payments.*, debits.amount_minor AS debited_minor
  FROM payments LEFT JOIN debits ON debits.payment_id = payments.id
 WHERE (uetr = :uetr
        OR (:uetr IS NULL AND end_to_end_id = :end_to_end_id
            AND (:message_id IS NULL OR message_id = :message_id))
        OR (:uetr IS NULL AND :end_to_end_id IS NULL AND message_id = :message_id)
        OR trace = :trace)
   AND leg = coalesce(:leg, leg)
   AND (leg = '' OR CASE WHEN :message_id IS NULL THEN :kind IS NULL OR substr(message_name, 1, 8) = :kind
                         ELSE message_id = :message_id END)
 ORDER BY id LIMIT :limit;

-- name: payment
-- Return one payment.
SELECT payments.*, debits.amount_minor AS debited_minor
  FROM payments LEFT JOIN debits ON debits.payment_id = payments.id WHERE id = :id;

-- name: payment_legs
-- Return the payment legs of a UETR: the customer's payment, and its repetitions under other message ids.
SELECT payments.*, debits.amount_minor AS debited_minor
  FROM payments LEFT JOIN debits ON debits.payment_id = payments.id
 WHERE uetr = :uetr AND leg = 'payment' ORDER BY id LIMIT :limit;

-- name: is_covered
-- Say whether a cover of this UETR was debited, and neither returned nor used by a payment leg that has settled.
SELECT coalesce(sum(iif(leg = 'cover', 1, -1)) > 0, false) AS is_covered
  FROM payments WHERE uetr = :uetr AND leg <> '' AND state = 'settled';

-- name: any_other
-- Return a payment that is not this one.
SELECT payments.*, debits.amount_minor AS debited_minor
  FROM payments LEFT JOIN debits ON debits.payment_id = payments.id WHERE id <> :id ORDER BY id LIMIT 1;

-- name: move
-- Change the state of a payment.
UPDATE payments SET state = :state, status = :status, code = :code WHERE id = :id;

-- name: debit
-- Debit a payment, once: a second debit violates the primary key.
INSERT INTO debits (payment_id, amount_minor, debited_at_ms) VALUES (:id, :amount_minor, :now_ms);

-- name: give_back
-- Record an amount that was returned to the sender.
UPDATE payments SET returned_minor = returned_minor + :amount_minor, state = :state WHERE id = :id;

-- name: plan_step
-- Record a step to be carried out later.
INSERT INTO steps (payment_id, kind, content, due_at_ms) VALUES (:payment_id, :kind, :content, :due_at_ms);

-- name: due_steps
-- Return the steps that are due, in order.
SELECT id, payment_id, kind, content, due_at_ms FROM steps
 WHERE is_done = 0 AND due_at_ms <= :now_ms ORDER BY due_at_ms, id LIMIT :limit;

-- name: finish_step
-- Record that a step was carried out.
UPDATE steps SET is_done = 1 WHERE id = :id;

-- name: has_step
-- Say whether a step of this kind was ever planned for a payment.
SELECT 1 FROM steps WHERE payment_id = :payment_id AND kind = :kind LIMIT 1;

-- name: cancel_steps
-- Cancel the planned steps of a payment.
UPDATE steps SET is_done = 1 WHERE payment_id = :payment_id AND is_done = 0;

-- name: plan_callback
-- Record a message to be delivered.
INSERT INTO callbacks (payment_id, content, due_at_ms, copies_left)
VALUES (:payment_id, :content, :due_at_ms, :copies);

-- name: due_callbacks
-- Return the messages that are due, in order.
SELECT callbacks.id, payment_id, rail, content, copies_left, attempts, trace IS NOT NULL AS is_file
  FROM callbacks JOIN payments ON payments.id = callbacks.payment_id
 WHERE ending IS NULL AND due_at_ms <= :now_ms ORDER BY due_at_ms, callbacks.id LIMIT :limit;

-- name: callback_delivered
-- Record a delivery; with the last copy the message is complete.
UPDATE callbacks
   SET copies_left = copies_left - 1, attempts = 0,
       ending = CASE WHEN copies_left <= 1 THEN 'delivered' END
 WHERE id = :id AND ending IS NULL;

-- name: callback_failed
-- Plan another attempt for a message, or give up after the last one.
UPDATE callbacks
   SET attempts = attempts + 1, due_at_ms = :due_at_ms,
       ending = CASE WHEN attempts + 1 >= :attempts_max THEN 'given up' END
 WHERE id = :id AND ending IS NULL;

-- name: drop_callbacks
-- Drop waiting messages, of one payment or of all.
UPDATE callbacks SET ending = 'dropped'
 WHERE ending IS NULL AND (:end_to_end_id = '' OR payment_id IN
       (SELECT id FROM payments WHERE end_to_end_id = :end_to_end_id));

-- name: waiting_callbacks
-- List waiting messages.
SELECT callbacks.id, end_to_end_id, due_at_ms, copies_left, attempts
  FROM callbacks JOIN payments ON payments.id = callbacks.payment_id
 WHERE ending IS NULL ORDER BY due_at_ms, callbacks.id LIMIT 1000;

-- name: next_due
-- Return when the next step or message is due.
SELECT min(due_at_ms) AS due_at_ms FROM (
    SELECT min(due_at_ms) AS due_at_ms FROM steps WHERE is_done = 0
    UNION ALL SELECT min(due_at_ms) FROM callbacks WHERE ending IS NULL);

-- name: page
-- Return a page of the ledger, in the order of receipt.
SELECT payments.*, debits.amount_minor AS debited_minor
  FROM payments LEFT JOIN debits ON debits.payment_id = payments.id
 WHERE id > :after_id ORDER BY id LIMIT :limit;

-- name: setting
-- Return a setting.
SELECT value FROM settings WHERE name = :name;

-- name: set
-- Store a setting.
INSERT INTO settings (name, value) VALUES (:name, :value)
    ON CONFLICT (name) DO UPDATE SET value = excluded.value;

-- name: known_file
-- Return a file that was received, by its content or its identity (sender, day and modifier).
SELECT sha256, identity, name FROM files WHERE sha256 = :sha256 OR identity = :identity;

-- name: enter_file
-- Record a file at its first receipt.
INSERT INTO files (sha256, identity, name) VALUES (:sha256, :identity, :name);
