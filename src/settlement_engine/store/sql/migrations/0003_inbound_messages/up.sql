-- What rails deliver without being asked: the message as it came, and what it says of each payment.
--
-- A message is stored before its sender is told that we have it. Its reports are worked off later, by the
-- engine that owns the payment; a report is closed once, with what became of it.

CREATE TABLE inbound_messages (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    rail text NOT NULL CHECK (length(rail) BETWEEN 1 AND 64),
    source text NOT NULL CHECK (source IN ('callback', 'inbox', 'pushed')),
    sender_reference text NOT NULL CHECK (length(sender_reference) <= 140),
    sha256 bytea NOT NULL CHECK (sha256 = sha256(content)),
    content bytea NOT NULL CHECK (octet_length(content) BETWEEN 1 AND 1048576),
    received_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    repeats integer NOT NULL DEFAULT 0 CHECK (repeats >= 0),
    repeated_at timestamptz,
    UNIQUE (rail, sha256),
    CHECK ((repeats > 0) = (repeated_at IS NOT NULL))
);

CREATE TABLE inbound_reports (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    message_id bigint NOT NULL REFERENCES inbound_messages (id),
    number integer NOT NULL CHECK (number BETWEEN 1 AND 10000),
    report jsonb NOT NULL,
    settlement_id uuid,
    attempt smallint CHECK (attempt > 0),
    outcome text CHECK (outcome IN ('applied', 'no_news', 'not_heard', 'unknown_payment')),
    closed_at timestamptz,
    UNIQUE (message_id, number),
    CHECK ((settlement_id IS NULL) = (attempt IS NULL)),
    CHECK ((outcome IS NULL) = (closed_at IS NULL)),
    CHECK (outcome IS DISTINCT FROM 'unknown_payment' OR settlement_id IS NULL)
);
CREATE INDEX inbound_reports_open ON inbound_reports (id) WHERE closed_at IS NULL;
CREATE INDEX inbound_reports_by_settlement ON inbound_reports (settlement_id, id)
WHERE settlement_id IS NOT NULL;

-- What came in is not rewritten: of a message only its repeats are counted, a report is closed once. The
-- content need not be compared: the CHECK ties it to the hash, which is.
CREATE TRIGGER inbound_messages_stay BEFORE DELETE OR TRUNCATE ON inbound_messages
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE inbound_messages ENABLE ALWAYS TRIGGER inbound_messages_stay;
CREATE TRIGGER inbound_message_is_kept BEFORE UPDATE ON inbound_messages
FOR EACH ROW WHEN (
    ROW(new.id, new.rail, new.source, new.sender_reference, new.sha256, new.received_at)::text
    IS DISTINCT FROM
    ROW(old.id, old.rail, old.source, old.sender_reference, old.sha256, old.received_at)::text
    OR new.repeats < old.repeats
) EXECUTE FUNCTION refuse_change();
ALTER TABLE inbound_messages ENABLE ALWAYS TRIGGER inbound_message_is_kept;
CREATE TRIGGER inbound_reports_stay BEFORE DELETE OR TRUNCATE ON inbound_reports
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE inbound_reports ENABLE ALWAYS TRIGGER inbound_reports_stay;
CREATE TRIGGER inbound_report_is_closed_once BEFORE UPDATE ON inbound_reports
FOR EACH ROW WHEN (
    old.closed_at IS NOT NULL
    OR ROW(new.id, new.message_id, new.number, new.report, new.settlement_id, new.attempt)::text
    IS DISTINCT FROM
    ROW(old.id, old.message_id, old.number, old.report, old.settlement_id, old.attempt)::text
) EXECUTE FUNCTION refuse_change();
ALTER TABLE inbound_reports ENABLE ALWAYS TRIGGER inbound_report_is_closed_once;

-- By its message id alone few reports name a payment; a Bloom filter for each range of pages finds it.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX attempts_by_message_id ON attempts USING brin (message_id text_bloom_ops)
WITH (pages_per_range = 16, autosummarize = on);
