-- By what people look a settlement up: our names for the payment at the rail, and the rail's own.
--
-- Hash indices, because nothing is asked but equality: they keep four bytes of each name, so that they cost
-- the hot path less than half of what trees of whole names do, and no name is too long for them.
--
-- The rail's reference is found by the move that brought it: settlement_transactions.rail_reference is set on
-- the way to completion, and an index on it would keep that update from staying in its page. A Bloom filter
-- for each range of pages is enough for it, and costs an insert nothing: whoever asks by it alone is a person.

-- squawk-ignore require-concurrent-index-creation
CREATE INDEX attempts_by_uetr ON attempts USING hash (uetr);
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX attempts_by_end_to_end_id ON attempts USING hash (end_to_end_id);
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX moves_by_rail_reference ON moves USING brin (
    (detail ->> 'rail_reference') text_bloom_ops
) WITH (pages_per_range = 32, autosummarize = on);
