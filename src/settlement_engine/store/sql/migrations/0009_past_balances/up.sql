-- compatible-from: 8
-- Balances of past instants. For every quarter of an hour that has passed, each account that was booked on has a row
-- with all its debits and credits before the quarter's end. A balance of any instant is the newest such row and the
-- transfers after it, however long the history (docs/decisions/0032-balances-of-the-past-are-recorded.md).

-- The quarters that are recorded. Between the newest and the next one nothing is missing: a row here says that the
-- rows of the accounts are complete.
CREATE TABLE balance_moments (
    at timestamptz PRIMARY KEY,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TABLE past_balances (
    account_id bigint NOT NULL,
    at timestamptz NOT NULL,
    debits_posted account_side NOT NULL,
    credits_posted account_side NOT NULL,
    PRIMARY KEY (account_id, at)
);
CREATE TRIGGER balance_moments_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON balance_moments
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE balance_moments ENABLE ALWAYS TRIGGER balance_moments_append_only;
CREATE TRIGGER past_balances_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON past_balances
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE past_balances ENABLE ALWAYS TRIGGER past_balances_append_only;

-- Transfers and moves of a time, found by ranges of pages: no tree that every payment is put into. On a database with
-- a long history make them beforehand with CREATE INDEX CONCURRENTLY (docs/operating/upgrades.md).
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX IF NOT EXISTS transfers_by_time ON transfers USING brin (at)
WITH (pages_per_range = 16, autosummarize = on);
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX IF NOT EXISTS moves_by_time ON moves USING brin (at)
WITH (pages_per_range = 16, autosummarize = on);
