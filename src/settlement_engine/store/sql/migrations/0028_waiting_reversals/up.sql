-- compatible-from: 27
-- The transfers of closed differences (leg 14) that are open: their matches were taken back, and the account does not
-- cover their reversal yet. Nearly always there is none. Each run asks for them, account by account, and breaks show them.
-- The table has open postings only, so that building the index takes a moment.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX open_postings_of_differences ON open_postings (account_id) WHERE leg = 14;
