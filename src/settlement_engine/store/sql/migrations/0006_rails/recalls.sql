-- Recalls after completion: the bank is asked to give the money back. They move nothing, so they are no part of the
-- settlement's history; each change is a row, and a row of open_recalls stays until nothing is waited for.

CREATE TABLE recall_steps (
    settlement_id uuid NOT NULL,
    seq smallint NOT NULL CHECK (seq BETWEEN 1 AND 100),
    event text NOT NULL CHECK (
        event IN ('requested', 'acknowledged', 'recalled', 'recall_refused', 'returned', 'overdue')
    ),
    state text NOT NULL CHECK (
        state IN ('requested', 'in_process', 'overdue', 'promised', 'refused', 'returned')
    ),
    detail jsonb NOT NULL CHECK (octet_length(detail::text) <= 16384),
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (settlement_id, seq),
    CHECK ((seq = 1) = (event = 'requested'))
);
CREATE TRIGGER recall_steps_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON recall_steps
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE recall_steps ENABLE ALWAYS TRIGGER recall_steps_append_only;

CREATE TABLE open_recalls (
    settlement_id uuid PRIMARY KEY,
    asked integer NOT NULL DEFAULT 0 CHECK (asked >= 0),
    due_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX open_recalls_due ON open_recalls (due_at);
