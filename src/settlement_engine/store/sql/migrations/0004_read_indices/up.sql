-- compatible-from: 3
--
-- Indices for the lists that people read. They must cost the hot path next to nothing, so none of them is a
-- tree that every payment is put into.
--
-- Bank and currency never change, and a bank or a currency that many payments have is soon found by walking
-- the settlements, newest first. For those that few have, a Bloom filter for each range of pages says which
-- ranges to look into: it is made when the range is full, by autovacuum, and costs an insert nothing.
--
-- The state is in no index, because it changes. What is open is found by open_settlements. An end other than
-- completion is found by the move that brought it, which is written once; a settlement that was returned
-- after it had failed has two such moves, and the list looks at the newest. Completion is what most come to.
--
-- To build an index keeps everybody from writing for as long as it takes. On a database with a long history
-- make them beforehand with CREATE INDEX CONCURRENTLY (docs/operating/upgrades.md); here they are found then.

-- squawk-ignore require-concurrent-index-creation
CREATE INDEX IF NOT EXISTS settlements_by_terms ON settlement_transactions USING brin (
    folded_bank(from_bank) text_bloom_ops, folded_bank(to_bank) text_bloom_ops, currency text_bloom_ops
) WITH (pages_per_range = 16, autosummarize = on);
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX IF NOT EXISTS moves_by_end ON moves (to_state, settlement_id)
WHERE to_state IN ('failed', 'rolled_back', 'returned') AND from_state <> to_state;
