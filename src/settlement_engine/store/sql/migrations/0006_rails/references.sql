-- Whatever reference a bank gives, the payment is found by an index.
--
-- The trace is the number under which a file carries a payment (NACHA: 15 digits). It is no function of caller and
-- key, so it is stored with the send intent. Payments of other rails have none: they are not in its index.
-- Both statements find what was made beforehand on a database with a long history (docs/operating/upgrades.md).
ALTER TABLE attempts ADD COLUMN IF NOT EXISTS trace text;
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX IF NOT EXISTS attempts_by_trace ON attempts USING hash (trace) WHERE trace IS NOT NULL;

CREATE OR REPLACE TRIGGER attempt_stays BEFORE UPDATE OF
    settlement_id, number, rail, source_id, agent_id, clearing_id, target_id, uetr, end_to_end_id,
    message_id, trace, payload, valid_until, delivery, recorded_at
ON attempts FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting();
ALTER TABLE attempts ENABLE ALWAYS TRIGGER attempt_stays;

-- A rail may state its own reference when nothing changes: in an answer that is only counted, or in a report that
-- also gives a reference of ours. As for moves, a Bloom filter for each range of pages costs an insert nothing.
-- These rows are short, so that more than a range's default number of them have a reference.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX IF NOT EXISTS answers_by_rail_reference ON answers USING brin (
    (detail ->> 'rail_reference') text_bloom_ops (n_distinct_per_range = 2000)
) WITH (pages_per_range = 32, autosummarize = on);
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX IF NOT EXISTS inbound_reports_by_rail_reference ON inbound_reports USING brin (
    (report #>> '{references,rail_reference}') text_bloom_ops (n_distinct_per_range = 2000)
) WITH (pages_per_range = 32, autosummarize = on);
