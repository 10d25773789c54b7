-- compatible-from: 3
--
-- Indices for the lists that people read: by bank, by currency and by the state that a settlement ended in.
--
-- They are of columns that never change, so that a settlement's updates stay in its page as before. The state
-- itself is in no index: what is open is found by open_settlements, and what has ended by the move that ended
-- it, which is written once. A settlement that was returned has two such moves; the list looks at the newest.
--
-- To build an index keeps everybody from writing for as long as it takes. On a database with a long history
-- make them beforehand with CREATE INDEX CONCURRENTLY (docs/operating/upgrades.md); here they are found then.

-- squawk-ignore require-concurrent-index-creation
CREATE INDEX IF NOT EXISTS settlements_by_sender
ON settlement_transactions (folded_bank(from_bank), id);
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX IF NOT EXISTS settlements_by_receiver
ON settlement_transactions (folded_bank(to_bank), id);
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX IF NOT EXISTS settlements_by_currency ON settlement_transactions (currency, id);
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX IF NOT EXISTS moves_by_end ON moves (to_state, settlement_id)
WHERE to_state IN ('completed', 'failed', 'rolled_back', 'returned') AND from_state <> to_state;
