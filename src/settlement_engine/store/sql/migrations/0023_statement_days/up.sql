-- compatible-from: 22
-- The booking days of each matched statement: its entries count on their own booking dates, so that a proof inside of a
-- statement of several days can be derived. A statement that an engine of the version before has matched counts as a
-- whole on its last day, and has no row here until it is matched anew.
CREATE TABLE statement_days (
    statement_id bigint NOT NULL REFERENCES matched_statements (statement_id) ON DELETE CASCADE,
    day date NOT NULL,
    minor numeric(38) NOT NULL,
    entries integer NOT NULL CHECK (entries > 0),
    -- Entries whose own booking date is outside of the statement's days: they count on its last one.
    misdated integer NOT NULL CHECK (misdated BETWEEN 0 AND entries),
    PRIMARY KEY (statement_id, day)
);

-- What the last proofs of an account are made of: its statements up to a number, and the sums of its days. Days from
-- unproved_from on have changed since (null: none), so that prove compares only those before it. An account
-- that was never proved by an engine of this version has no row.
CREATE TABLE proved_accounts (
    account_id bigint PRIMARY KEY,
    unproved_from date,
    last_statement_id bigint NOT NULL CHECK (last_statement_id >= 0)
) WITH (fillfactor = 70);

-- A posting of ours changes the proofs of its day and the later ones; an entry or a match may change any. A row here is
-- locked after those of the days.
CREATE FUNCTION mark_unproved() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF tg_op = 'INSERT' THEN
        UPDATE proved_accounts AS p SET unproved_from = q.day
        FROM (
            SELECT n.account_id, min(CASE
                WHEN (n.theirs, n.theirs_minor, n.matched_ours, n.matched_ours_minor, n.matched_theirs,
                    n.matched_theirs_minor) = (0, 0, 0, 0, 0, 0) THEN n.day ELSE '-infinity'
            END) AS day
            FROM changed AS n GROUP BY n.account_id
        ) AS q
        WHERE p.account_id = q.account_id AND (p.unproved_from IS NULL OR p.unproved_from > q.day);
    ELSE
        UPDATE proved_accounts AS p SET unproved_from = q.day
        FROM (
            SELECT n.account_id, min(CASE
                WHEN (n.theirs, n.theirs_minor, n.matched_ours, n.matched_ours_minor, n.matched_theirs,
                    n.matched_theirs_minor) = (o.theirs, o.theirs_minor, o.matched_ours, o.matched_ours_minor,
                    o.matched_theirs, o.matched_theirs_minor) THEN n.day ELSE '-infinity'
            END) AS day
            FROM changed AS n JOIN before AS o ON o.account_id = n.account_id AND o.day = n.day
            GROUP BY n.account_id
        ) AS q
        WHERE p.account_id = q.account_id AND (p.unproved_from IS NULL OR p.unproved_from > q.day);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER days_added_are_unproved AFTER INSERT ON reconciliation_days
REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION mark_unproved();
ALTER TABLE reconciliation_days ENABLE ALWAYS TRIGGER days_added_are_unproved;
CREATE TRIGGER days_changed_are_unproved AFTER UPDATE ON reconciliation_days
REFERENCING OLD TABLE AS before NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION mark_unproved();
ALTER TABLE reconciliation_days ENABLE ALWAYS TRIGGER days_changed_are_unproved;
