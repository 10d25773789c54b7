-- The desk for what is in doubt: matters for a person, and what two people say about them.
--
-- An exception is opened by the engine and closed by a person, or by the end of the settlement that was
-- in doubt. What two people attest is a proposal by one and an approval by another; the engine asks the
-- bank once more before it acts on it (docs/guides/resolve-a-settlement-in-doubt.md).

-- A payment that the bank has and we do not (kind unknown_payment) has no settlement: its fingerprint is
-- our reference at the rail. What was booked to suspense has no clerk's single word as its end.
CREATE TABLE exceptions (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    settlement_id uuid CHECK (settlement_id IS NOT NULL OR kind = 'unknown_payment'),
    kind text NOT NULL CHECK (kind IN (
        'in_doubt', 'overdue', 'contradiction', 'late_debit', 'second_debit', 'disproved',
        'uncovered_return', 'unknown_payment'
    )),
    fingerprint text NOT NULL,
    detail jsonb NOT NULL,
    opened_at timestamptz NOT NULL,
    acknowledged_at timestamptz,
    acknowledged_by text CHECK (length(acknowledged_by) BETWEEN 1 AND 256),
    closed_at timestamptz,
    closed_by text CHECK (length(closed_by) BETWEEN 1 AND 256),
    close_reason text CHECK (length(close_reason) BETWEEN 1 AND 1000),
    UNIQUE NULLS NOT DISTINCT (settlement_id, kind, fingerprint),
    CHECK ((acknowledged_at IS NULL) = (acknowledged_by IS NULL)),
    CHECK ((closed_at IS NULL) = (closed_by IS NULL)),
    CHECK ((closed_at IS NULL) = (close_reason IS NULL)),
    CONSTRAINT suspense_needs_four_eyes CHECK (
        closed_by IS NULL OR kind NOT IN ('disproved', 'uncovered_return')
        OR (acknowledged_by IS NOT NULL AND lower(acknowledged_by) <> lower(closed_by))
    )
);
CREATE INDEX exceptions_open ON exceptions (id) WHERE closed_at IS NULL;

CREATE TABLE resolutions (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    settlement_id uuid NOT NULL REFERENCES settlement_transactions (id),
    finding text NOT NULL CHECK (finding IN ('settled', 'not_settled')),
    reason text NOT NULL CHECK (length(reason) BETWEEN 1 AND 1000),
    evidence_name text NOT NULL CHECK (length(evidence_name) BETWEEN 1 AND 255),
    evidence bytea NOT NULL CHECK (octet_length(evidence) BETWEEN 1 AND 1048576),
    evidence_sha256 bytea NOT NULL CHECK (evidence_sha256 = sha256(evidence)),
    content_sha256 bytea NOT NULL CHECK (octet_length(content_sha256) = 32),
    proposed_by text NOT NULL CHECK (length(proposed_by) BETWEEN 1 AND 256),
    proposed_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL CHECK (expires_at > proposed_at),
    -- What was known then: evidence that nothing moved says nothing about a later sending.
    state settlement_state NOT NULL CHECK (state IN ('in_doubt', 'sent', 'recalling')),
    sends integer NOT NULL,
    decision text CHECK (decision IN ('approved', 'declined', 'superseded')),
    decided_by text CHECK (length(decided_by) BETWEEN 1 AND 256),
    decided_at timestamptz,
    taken_up_at timestamptz,
    finished_at timestamptz,
    ending text CHECK (ending IN ('attested', 'overtaken')),
    CHECK ((decision IS NULL) = (decided_by IS NULL)),
    CHECK ((decision IS NULL) = (decided_at IS NULL)),
    CHECK ((finished_at IS NULL) = (ending IS NULL)),
    CHECK (taken_up_at IS NULL OR decision IS NOT DISTINCT FROM 'approved'),
    CHECK (finished_at IS NULL OR decision IS NOT DISTINCT FROM 'approved'),
    CONSTRAINT approved_in_time CHECK (decision IS DISTINCT FROM 'approved' OR decided_at < expires_at),
    CONSTRAINT approved_by_another CHECK (
        decision IS DISTINCT FROM 'approved' OR lower(decided_by) <> lower(proposed_by)
    )
);
CREATE UNIQUE INDEX one_resolution_at_a_time ON resolutions (settlement_id)
WHERE finished_at IS NULL AND (decision IS NULL OR decision = 'approved');
CREATE INDEX resolutions_of_settlement ON resolutions (settlement_id, id);

CREATE TRIGGER resolutions_stay BEFORE DELETE OR TRUNCATE ON resolutions
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE resolutions ENABLE ALWAYS TRIGGER resolutions_stay;
-- What was proposed is never edited, what was decided never decided again, what ended never ended again.
CREATE TRIGGER proposal_stays BEFORE UPDATE ON resolutions
FOR EACH ROW WHEN (
    ROW(new.settlement_id, new.finding, new.reason, new.evidence_name, new.evidence_sha256,
        new.content_sha256, new.proposed_by, new.proposed_at, new.expires_at, new.state,
        new.sends)::text
    IS DISTINCT FROM ROW(old.settlement_id, old.finding, old.reason, old.evidence_name,
        old.evidence_sha256, old.content_sha256, old.proposed_by, old.proposed_at, old.expires_at,
        old.state, old.sends)::text
) EXECUTE FUNCTION refuse_change();
ALTER TABLE resolutions ENABLE ALWAYS TRIGGER proposal_stays;
CREATE TRIGGER proposal_is_decided_once BEFORE UPDATE ON resolutions
FOR EACH ROW WHEN (
    old.decision IS NOT NULL AND ROW(new.decision, new.decided_by, new.decided_at)::text
    IS DISTINCT FROM ROW(old.decision, old.decided_by, old.decided_at)::text
) EXECUTE FUNCTION refuse_change();
ALTER TABLE resolutions ENABLE ALWAYS TRIGGER proposal_is_decided_once;
CREATE TRIGGER resolution_ends_once BEFORE UPDATE ON resolutions
FOR EACH ROW WHEN (
    old.finished_at IS NOT NULL
    AND ROW(new.finished_at, new.ending)::text
    IS DISTINCT FROM ROW(old.finished_at, old.ending)::text
) EXECUTE FUNCTION refuse_change();
ALTER TABLE resolutions ENABLE ALWAYS TRIGGER resolution_ends_once;

CREATE TRIGGER exceptions_stay BEFORE DELETE OR TRUNCATE ON exceptions
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE exceptions ENABLE ALWAYS TRIGGER exceptions_stay;
-- What was found is not rewritten, nor who looked first, nor what was closed.
CREATE TRIGGER finding_stays BEFORE UPDATE ON exceptions
FOR EACH ROW WHEN (
    ROW(new.settlement_id, new.kind, new.fingerprint, new.detail, new.opened_at)::text
    IS DISTINCT FROM
    ROW(old.settlement_id, old.kind, old.fingerprint, old.detail, old.opened_at)::text
) EXECUTE FUNCTION refuse_change();
ALTER TABLE exceptions ENABLE ALWAYS TRIGGER finding_stays;
CREATE TRIGGER exception_is_acknowledged_once BEFORE UPDATE ON exceptions
FOR EACH ROW WHEN (
    old.acknowledged_at IS NOT NULL AND ROW(new.acknowledged_at, new.acknowledged_by)::text
    IS DISTINCT FROM ROW(old.acknowledged_at, old.acknowledged_by)::text
) EXECUTE FUNCTION refuse_change();
ALTER TABLE exceptions ENABLE ALWAYS TRIGGER exception_is_acknowledged_once;
CREATE TRIGGER exception_is_closed_once BEFORE UPDATE ON exceptions
FOR EACH ROW WHEN (old.closed_at IS NOT NULL) EXECUTE FUNCTION refuse_change();
ALTER TABLE exceptions ENABLE ALWAYS TRIGGER exception_is_closed_once;
