-- name: fill
-- Accounts of the baseline, each with the same funds.
INSERT INTO baseline.accounts (id, posted)
SELECT n, 1000000000000000 FROM generate_series(1, $1::bigint) AS n;

-- name: accept
-- The first of the three commits.
SELECT baseline.accept(
    $1::text::uuid[], $2::text::text[], $3::text::bigint[], $4::text::bigint[], $5::text::bigint[]
);

-- name: lock
-- The second.
SELECT baseline.lock($1::text::uuid[], $2::text::bigint[], $3::text::bigint[]);

-- name: finish
-- The third.
SELECT baseline.finish(
    $1::text::uuid[], $2::text::bigint[], $3::text::bigint[], $4::text::bigint[], $5::bytea
);

-- name: server_counters
-- Exact at once, unlike the statistics of the server, which lag behind: numbers given to transactions
-- that wrote, bytes of the write-ahead log, and where the stream and the open settlements stand.
SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS transactions,
    pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint AS wal_bytes,
    h.position, h.published,
    (SELECT count(*) FROM open_settlements) AS open_settlements
FROM stream_head AS h;

-- name: server_size
-- How large the whole database is, and those tables that must not grow with history.
SELECT pg_database_size(current_database()) AS database_bytes,
    (
        SELECT sum(pg_total_relation_size(q.name::regclass))::bigint
        FROM unnest(ARRAY['accounts', 'open_settlements', 'stream_head', 'engines']) AS q (name)
    ) AS bounded_bytes;

-- name: history_numbers
-- How a copy is named: by the number of its copy in the place of the identifier's first 32 bits, so that it
-- sorts before those of today. Copies of copies have numbers of their own, ``stride`` apart.
CREATE OR REPLACE FUNCTION pg_temp.copy_of(original uuid, copy integer, stride integer) RETURNS uuid
LANGUAGE sql IMMUTABLE AS $$
SELECT (
    lpad(to_hex(copy * stride + CASE
        WHEN original < '00ffffff-0000-0000-0000-000000000000'
        THEN ('x' || left(original::text, 8))::bit(32)::integer
        ELSE 0
    END), 8, '0') || substr(replace(original::text, '-', ''), 9)
)::uuid
$$;
CREATE OR REPLACE FUNCTION pg_temp.was_there(id uuid, stride integer) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
SELECT id >= '00ffffff-0000-0000-0000-000000000000'
    OR id < (lpad(to_hex(stride), 8, '0') || repeat('0', 24))::uuid
$$;

-- name: history_stride
-- One more than the greatest number of a copy that there is.
SELECT coalesce(max(('x' || left(id::text, 8))::bit(32)::integer), 0) + 1 AS stride
FROM (
    SELECT id FROM settlement_transactions WHERE id < '00ffffff-0000-0000-0000-000000000000'
    ORDER BY id DESC LIMIT 1
) AS last;

-- name: history_lives
-- Copies of every life that there is, under numbers that sort before those of today.
INSERT INTO settlement_transactions (
    id, key_hash, caller, idempotency_key, content_hash, obligation_id, from_bank, to_bank,
    amount_minor, currency, requested_value_date, value_date, priority, metadata, state, seq,
    attempt, holds_obligation, refusal_code, refusal_detail, rail_reference, confirmation,
    created_at, ended_at
)
SELECT pg_temp.copy_of(s.id, k, $3),
    md5(s.key_hash::text || k * $3)::uuid, s.caller, md5(s.obligation_id || k * $3), s.content_hash,
    md5(s.obligation_id || k * $3), s.from_bank, s.to_bank, s.amount_minor, s.currency,
    s.requested_value_date, s.value_date, s.priority, s.metadata, s.state, s.seq, s.attempt,
    s.holds_obligation, s.refusal_code, s.refusal_detail, s.rail_reference, s.confirmation,
    s.created_at, s.ended_at
FROM settlement_transactions AS s CROSS JOIN generate_series($1::integer, $2::integer) AS k
WHERE pg_temp.was_there(s.id, $3);

-- name: history_moves
-- Their moves; the places after $4, which are taken, are given copy by copy.
INSERT INTO moves (
    position, settlement_id, seq, from_state, event, to_state, at, epoch, attempt, detail
)
SELECT m.position + k * $4::bigint,
    pg_temp.copy_of(m.settlement_id, k, $3),
    m.seq, m.from_state, m.event, m.to_state, m.at, m.epoch, m.attempt, m.detail
FROM moves AS m CROSS JOIN generate_series($1::integer, $2::integer) AS k
WHERE m.position <= $4::bigint ORDER BY k, m.position;

-- name: history_attempts
-- Their attempts.
INSERT INTO attempts (
    settlement_id, number, rail, source_id, agent_id, clearing_id, target_id, uetr, end_to_end_id,
    message_id, payload, valid_until, sends, undelivered, recorded_at
)
SELECT pg_temp.copy_of(a.settlement_id, k, $3),
    a.number, a.rail, a.source_id, a.agent_id, a.clearing_id, a.target_id, a.uetr, a.end_to_end_id,
    a.message_id, a.payload, a.valid_until, a.sends, a.undelivered, a.recorded_at
FROM attempts AS a CROSS JOIN generate_series($1::integer, $2::integer) AS k
WHERE pg_temp.was_there(a.settlement_id, $3);

-- name: history_holds
-- Their holds.
INSERT INTO fund_locks (
    settlement_id, account_id, amount_minor, currency, locked_at, resolved_at, outcome
)
SELECT pg_temp.copy_of(f.settlement_id, k, $3),
    f.account_id, f.amount_minor, f.currency, f.locked_at, f.resolved_at, f.outcome
FROM fund_locks AS f CROSS JOIN generate_series($1::integer, $2::integer) AS k
WHERE pg_temp.was_there(f.settlement_id, $3);

-- name: history_transfers
-- Their transfers; those of funding are nobody's life and are not copied.
INSERT INTO transfers (group_id, leg, debit_id, credit_id, amount_minor, currency, reference, at)
SELECT pg_temp.copy_of(t.group_id, k, $3),
    t.leg, t.debit_id, t.credit_id, t.amount_minor, t.currency, t.reference, t.at
FROM transfers AS t CROSS JOIN generate_series($1::integer, $2::integer) AS k
WHERE pg_temp.was_there(t.group_id, $3)
    AND EXISTS (SELECT 1 FROM attempts AS a WHERE a.settlement_id = t.group_id);

-- name: history_accounts
-- What all copies together did to the accounts, so that the books stay provable.
UPDATE accounts AS a SET
    debits_posted = a.debits_posted + c.debits * $1::bigint,
    credits_posted = a.credits_posted + c.credits * $1::bigint
FROM (
    SELECT e.id, sum(e.debits)::bigint AS debits, sum(e.credits)::bigint AS credits
    FROM (
        SELECT t.debit_id AS id, t.amount_minor AS debits, 0::bigint AS credits, t.group_id
        FROM transfers AS t
        UNION ALL SELECT t.credit_id, 0, t.amount_minor, t.group_id FROM transfers AS t
    ) AS e
    WHERE EXISTS (SELECT 1 FROM attempts AS x WHERE x.settlement_id = e.group_id)
    GROUP BY e.id
) AS c
WHERE a.id = c.id;

-- name: history_head
-- The stream's head after all copies.
UPDATE stream_head SET position = position * ($1::bigint + 1), published = published * ($1::bigint + 1);

-- name: history_indices_away
-- Filling a table and then building its indices takes a third of the time of filling both.
CREATE TEMPORARY TABLE history_indices ON COMMIT PRESERVE ROWS AS
SELECT indexname AS name, indexdef AS definition FROM pg_indexes
WHERE schemaname = current_schema() AND tablename IN ('settlement_transactions', 'transfers')
    AND right(indexname, 5) <> '_pkey';
DO $$
DECLARE
    r record;
BEGIN
    FOR r IN SELECT name FROM history_indices LOOP
        EXECUTE format('DROP INDEX %I', r.name);
    END LOOP;
END $$;

-- name: history_indices_back
-- As they were.
DO $$
DECLARE
    r record;
BEGIN
    FOR r IN SELECT definition FROM history_indices LOOP
        EXECUTE r.definition;
    END LOOP;
END $$;
DROP TABLE history_indices;

-- name: history_is_old
-- A history that had grown by itself would have been vacuumed in small portions on the way: one that comes at
-- once is not to be vacuumed as a whole while something else is measured.
ALTER TABLE settlement_transactions SET (autovacuum_vacuum_insert_threshold = -1);
ALTER TABLE moves SET (autovacuum_vacuum_insert_threshold = -1);
ALTER TABLE attempts SET (autovacuum_vacuum_insert_threshold = -1);
ALTER TABLE fund_locks SET (autovacuum_vacuum_insert_threshold = -1);
ALTER TABLE transfers SET (autovacuum_vacuum_insert_threshold = -1);

-- name: history_analyze
-- What autovacuum would have done in the time that such a history takes.
ANALYZE;

-- name: history_checkpoint
-- Nothing of the copying is left to be written out afterwards.
CHECKPOINT;
