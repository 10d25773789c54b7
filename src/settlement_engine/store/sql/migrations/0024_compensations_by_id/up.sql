-- compatible-from: 23
--
-- Compensations in the order in which settlements are listed. Few settlements have an entry, and no entry ever changes:
-- the index costs the others nothing. To build it reads the settlements once; where there are many, build it beforehand
-- with CREATE INDEX CONCURRENTLY (docs/operating/upgrades.md), and it is found here.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX IF NOT EXISTS compensations_by_id ON settlement_transactions (id) WHERE compensates IS NOT NULL;
