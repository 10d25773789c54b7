-- The baseline: the least that any durable settlement engine has to write for one settlement, in a
-- schema of its own. It makes three commits: admission, the hold before anything is sent, and the final state
-- with its two transfers and its announcement. It has no idempotency keys, no history, no routes and no
-- refusals: it is a limit to measure against, and nothing of the engine uses it.
DROP SCHEMA IF EXISTS baseline CASCADE;
CREATE SCHEMA baseline;

CREATE TABLE baseline.accounts (
    id bigint PRIMARY KEY,
    posted bigint NOT NULL,
    held bigint NOT NULL DEFAULT 0 CHECK (held >= 0),
    CHECK (posted - held >= 0)
) WITH (fillfactor = 40, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);

CREATE TABLE baseline.settlements (
    id uuid PRIMARY KEY,
    obligation_id text NOT NULL UNIQUE,
    source_id bigint NOT NULL,
    target_id bigint NOT NULL,
    amount_minor bigint NOT NULL CHECK (amount_minor > 0),
    currency text NOT NULL,
    state smallint NOT NULL,
    confirmation text,
    created_at timestamptz NOT NULL,
    ended_at timestamptz
) WITH (fillfactor = 60);

CREATE TABLE baseline.in_flight (
    settlement_id uuid PRIMARY KEY,
    end_to_end_id text NOT NULL,
    valid_until timestamptz NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

CREATE TABLE baseline.transfers (
    settlement_id uuid NOT NULL,
    leg smallint NOT NULL,
    debit_id bigint NOT NULL,
    credit_id bigint NOT NULL,
    amount_minor bigint NOT NULL,
    at timestamptz NOT NULL,
    PRIMARY KEY (settlement_id, leg)
);

CREATE TABLE baseline.outbox (
    position bigint GENERATED ALWAYS AS IDENTITY (CACHE 100) PRIMARY KEY,
    settlement_id uuid NOT NULL,
    payload bytea NOT NULL
);

CREATE FUNCTION baseline.accept(
    p_id uuid[], p_obligation text[], p_source bigint[], p_target bigint[], p_amount bigint[]
) RETURNS void LANGUAGE sql AS $$
    INSERT INTO baseline.settlements (
        id, obligation_id, source_id, target_id, amount_minor, currency, state, created_at
    )
    SELECT q.id, q.obligation, q.source, q.target, q.amount, 'EUR', 1, clock_timestamp()
    FROM unnest(p_id, p_obligation, p_source, p_target, p_amount)
        AS q (id, obligation, source, target, amount)
    ON CONFLICT DO NOTHING;
$$;

CREATE FUNCTION baseline.lock(p_id uuid[], p_source bigint[], p_amount bigint[])
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM baseline.accounts WHERE id = ANY (p_source) ORDER BY id FOR NO KEY UPDATE;
    UPDATE baseline.settlements SET state = 2 WHERE id = ANY (p_id) AND state = 1;
    INSERT INTO baseline.in_flight (settlement_id, end_to_end_id, valid_until)
    SELECT q.id, q.id::text, clock_timestamp() + interval '1 day' FROM unnest(p_id) AS q (id);
    UPDATE baseline.accounts AS a SET held = a.held + c.amount
    FROM (
        SELECT q.source, sum(q.amount)::bigint AS amount
        FROM unnest(p_source, p_amount) AS q (source, amount) GROUP BY q.source
    ) AS c
    WHERE a.id = c.source;
END $$;

CREATE FUNCTION baseline.finish(
    p_id uuid[], p_source bigint[], p_target bigint[], p_amount bigint[], p_payload bytea
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM baseline.accounts WHERE id = ANY (p_source || p_target)
    ORDER BY id FOR NO KEY UPDATE;
    UPDATE baseline.settlements SET state = 3, ended_at = clock_timestamp(),
        confirmation = 'CONFIRMATION-' || id::text
    WHERE id = ANY (p_id) AND state = 2;
    DELETE FROM baseline.in_flight WHERE settlement_id = ANY (p_id);
    INSERT INTO baseline.transfers (settlement_id, leg, debit_id, credit_id, amount_minor, at)
    SELECT q.id, l.leg, q.target, q.source, q.amount, clock_timestamp()
    FROM unnest(p_id, p_source, p_target, p_amount) AS q (id, source, target, amount)
    CROSS JOIN (VALUES (1), (2)) AS l (leg);
    INSERT INTO baseline.outbox (settlement_id, payload)
    SELECT q.id, p_payload FROM unnest(p_id) AS q (id);
    UPDATE baseline.accounts AS a SET posted = a.posted + c.posted, held = a.held - c.held
    FROM (
        SELECT e.account, sum(e.posted)::bigint AS posted, sum(e.held)::bigint AS held
        FROM (
            SELECT q.source AS account, -q.amount AS posted, q.amount AS held
            FROM unnest(p_source, p_amount) AS q (source, amount)
            UNION ALL
            SELECT q.target, q.amount, 0 FROM unnest(p_target, p_amount) AS q (target, amount)
        ) AS e
        GROUP BY e.account
    ) AS c
    WHERE a.id = c.account;
END $$;
