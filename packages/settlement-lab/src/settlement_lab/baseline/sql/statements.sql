-- name: fill
-- Accounts of the baseline, each with the same funds.
INSERT INTO baseline.accounts (id, posted)
SELECT n, 1000000000000000 FROM generate_series(1, $1::bigint) AS n;

-- name: accept
-- The first of the three commits of a settlement: its admission.
SELECT baseline.accept(
    $1::text::uuid[], $2::text::text[], $3::text::bigint[], $4::text::bigint[], $5::text::bigint[]
);

-- name: lock
-- The second commit: the funds are held.
SELECT baseline.lock($1::text::uuid[], $2::text::bigint[], $3::text::bigint[]);

-- name: finish
-- The third commit: the final state, the transfers and the announcement.
SELECT baseline.finish(
    $1::text::uuid[], $2::text::bigint[], $3::text::bigint[], $4::text::bigint[], $5::bytea
);

-- name: server_counters
-- These counters are exact at once; the statistics views of the server lag behind. They are the number of
-- transactions that wrote, the bytes of the write-ahead log, the stream's positions and the open settlements.
SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS transactions,
    pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint AS wal_bytes,
    h.position, h.published,
    (SELECT count(*) FROM open_settlements) AS open_settlements
FROM stream_head AS h;

-- name: server_size
-- The size of the whole database, and of the tables that must not grow with the history.
SELECT pg_database_size(current_database()) AS database_bytes,
    (
        SELECT sum(pg_total_relation_size(q.name::regclass))::bigint
        FROM unnest(ARRAY['accounts', 'open_settlements', 'stream_head', 'engines']) AS q (name)
    ) AS bounded_bytes;

-- name: debits_at_bank
-- What settlements have moved from an account at a bank, in their order: the entries of the bank's statement.
SELECT t.amount_minor, s.value_date, a.end_to_end_id, a.uetr::text AS uetr
FROM transfers AS t
JOIN attempts AS a ON a.settlement_id = t.group_id AND a.number = 1
JOIN settlement_transactions AS s ON s.id = t.group_id
WHERE t.credit_id = $1 AND t.leg = 1
ORDER BY t.group_id
LIMIT $2;

-- name: history_numbers
-- The identifier of a copy has the copy's number as its first 32 bits, so that it sorts before the identifiers
-- of the originals. Copies of copies have numbers that are multiples of ``stride`` apart.
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
-- The greatest number of an existing copy, plus one.
SELECT coalesce(max(('x' || left(id::text, 8))::bit(32)::integer), 0) + 1 AS stride
FROM (
    SELECT id FROM settlement_transactions WHERE id < '00ffffff-0000-0000-0000-000000000000'
    ORDER BY id DESC LIMIT 1
) AS last;

-- name: history_settlements
-- Copies of every existing settlement, with identifiers that sort before those of the originals.
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
-- The moves of the copies; positions up to $4 are in use, and those after it are assigned copy by copy.
INSERT INTO moves (
    position, settlement_id, seq, from_state, event, to_state, at, epoch, attempt, detail
)
SELECT m.position + k * $4::bigint,
    pg_temp.copy_of(m.settlement_id, k, $3),
    m.seq, m.from_state, m.event, m.to_state, m.at, m.epoch, m.attempt, m.detail
FROM moves AS m CROSS JOIN generate_series($1::integer, $2::integer) AS k
WHERE m.position <= $4::bigint ORDER BY k, m.position;

-- name: history_attempts
-- The attempts of the copies.
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
-- The holds of the copies.
INSERT INTO fund_locks (
    settlement_id, account_id, amount_minor, currency, locked_at, resolved_at, outcome
)
SELECT pg_temp.copy_of(f.settlement_id, k, $3),
    f.account_id, f.amount_minor, f.currency, f.locked_at, f.resolved_at, f.outcome
FROM fund_locks AS f CROSS JOIN generate_series($1::integer, $2::integer) AS k
WHERE pg_temp.was_there(f.settlement_id, $3);

-- name: history_transfers
-- The transfers of the copies; those of fundings belong to no settlement and are not copied.
INSERT INTO transfers (group_id, leg, debit_id, credit_id, amount_minor, currency, reference, at)
SELECT pg_temp.copy_of(t.group_id, k, $3),
    t.leg, t.debit_id, t.credit_id, t.amount_minor, t.currency, t.reference, t.at
FROM transfers AS t CROSS JOIN generate_series($1::integer, $2::integer) AS k
WHERE pg_temp.was_there(t.group_id, $3)
    AND EXISTS (SELECT 1 FROM attempts AS a WHERE a.settlement_id = t.group_id);

-- name: history_accounts
-- The sum of all copies on each account, so that ``prove`` still finds no difference.
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
-- The stream's last position after all copies.
UPDATE stream_head SET position = position * ($1::bigint + 1), published = published * ($1::bigint + 1);

-- name: history_indices_away
-- The indices are dropped first: filling the table and then building them takes a third of the time.
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
-- The dropped indices are built again.
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
-- A history that grows slowly is vacuumed in small portions. A copied one must not be vacuumed as a whole
-- while something else is measured, so that autovacuum is switched off for inserts.
ALTER TABLE settlement_transactions SET (autovacuum_vacuum_insert_threshold = -1);
ALTER TABLE moves SET (autovacuum_vacuum_insert_threshold = -1);
ALTER TABLE attempts SET (autovacuum_vacuum_insert_threshold = -1);
ALTER TABLE fund_locks SET (autovacuum_vacuum_insert_threshold = -1);
ALTER TABLE transfers SET (autovacuum_vacuum_insert_threshold = -1);

-- name: history_analyze
-- The statistics that autovacuum would have collected while such a history grew.
ANALYZE;

-- name: history_checkpoint
-- A checkpoint now, so that no writes of the copying are left to be done during the measurement.
CHECKPOINT;
