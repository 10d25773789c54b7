-- compatible-from: 30
-- Statements that two people set aside: what one person proposes and what a second one decides, both appended, and
-- the statements that are set aside at present. Engines of the version before count them all the same: decide when all
-- engines are new.
CREATE TABLE statement_proposals (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id bigint NOT NULL,
    change text NOT NULL CHECK (change IN ('SET_ASIDE', 'RESTORE')),
    reason text NOT NULL CHECK (length(reason) BETWEEN 1 AND 1000),
    proposed_by text NOT NULL CHECK (length(proposed_by) BETWEEN 1 AND 256),
    content_sha256 bytea NOT NULL CHECK (octet_length(content_sha256) = 32),
    proposed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz NOT NULL,
    CHECK (expires_at > proposed_at)
);

-- The statements that a proposal is about: kept ones of its account.
CREATE TABLE statement_proposal_statements (
    proposal_id bigint NOT NULL REFERENCES statement_proposals (id),
    statement_id bigint NOT NULL REFERENCES statements (id),
    PRIMARY KEY (proposal_id, statement_id)
);
CREATE INDEX statement_proposals_by_statement ON statement_proposal_statements (statement_id, proposal_id);

-- The ids are in the order of the decisions about an account: each holds the lock of its statements.
CREATE TABLE statement_decisions (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    proposal_id bigint NOT NULL UNIQUE REFERENCES statement_proposals (id),
    decision text NOT NULL CHECK (decision IN ('approved', 'declined')),
    decided_by text NOT NULL CHECK (length(decided_by) BETWEEN 1 AND 256),
    -- The role by which it was approved, and what was approved.
    role text NOT NULL CHECK (length(role) <= 64),
    signed_sha256 bytea CHECK (octet_length(signed_sha256) = 32),
    decided_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CHECK ((decision = 'approved') = (signed_sha256 IS NOT NULL)),
    CHECK ((decision = 'approved') = (role <> ''))
);

-- What the approved proposals leave set aside. Rows come and go with the decisions.
CREATE TABLE set_aside_statements (
    statement_id bigint PRIMARY KEY,
    account_id bigint NOT NULL,
    decision_id bigint NOT NULL
);

-- A row comes with the approval that says so, and goes with the one that takes it back; nobody else changes what counts.
CREATE FUNCTION check_set_aside() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    v_statement bigint := CASE tg_op WHEN 'DELETE' THEN old.statement_id ELSE new.statement_id END;
    v_latest record;
BEGIN
    SELECT p.change, p.account_id, d.id INTO v_latest
    FROM statement_proposal_statements AS i
    JOIN statement_proposals AS p ON p.id = i.proposal_id
    JOIN statement_decisions AS d ON d.proposal_id = p.id AND d.decision = 'approved'
    WHERE i.statement_id = v_statement
    ORDER BY d.id DESC LIMIT 1;
    IF tg_op = 'INSERT' AND v_latest.change = 'SET_ASIDE'
        AND (v_latest.account_id, v_latest.id) = (new.account_id, new.decision_id) THEN
        RETURN new;
    ELSIF tg_op = 'DELETE' AND v_latest.change = 'RESTORE' THEN
        RETURN old;
    END IF;
    RAISE EXCEPTION 'two people decide whether statement % counts', v_statement
    USING ERRCODE = 'check_violation', CONSTRAINT = 'set_aside_follows_decisions';
END $$;
CREATE TRIGGER set_aside_follows_decisions BEFORE INSERT OR UPDATE OR DELETE ON set_aside_statements
FOR EACH ROW EXECUTE FUNCTION check_set_aside();
ALTER TABLE set_aside_statements ENABLE ALWAYS TRIGGER set_aside_follows_decisions;
CREATE TRIGGER set_aside_is_not_truncated BEFORE TRUNCATE ON set_aside_statements
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE set_aside_statements ENABLE ALWAYS TRIGGER set_aside_is_not_truncated;

-- Up to which decision the last proofs of an account know.
ALTER TABLE proved_accounts ADD COLUMN last_decision_id bigint NOT NULL DEFAULT 0
CONSTRAINT proved_accounts_last_decision_id_check CHECK (last_decision_id >= 0);

-- What is signed does not change: no statement joins a proposal that is decided. Only kept ones of the account do.
CREATE FUNCTION check_proposed_statement() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM statement_decisions AS d WHERE d.proposal_id = new.proposal_id)
        OR NOT EXISTS (
            SELECT FROM statements AS s
            JOIN statement_proposals AS p ON p.id = new.proposal_id AND p.account_id = s.account_id
            WHERE s.id = new.statement_id AND s.is_kept
        ) THEN
        RAISE EXCEPTION 'statement % is not one that proposal % may name', new.statement_id, new.proposal_id
        USING ERRCODE = 'check_violation', CONSTRAINT = 'proposals_name_kept_statements';
    END IF;
    RETURN new;
END $$;
CREATE TRIGGER proposals_name_kept_statements BEFORE INSERT ON statement_proposal_statements
FOR EACH ROW EXECUTE FUNCTION check_proposed_statement();
ALTER TABLE statement_proposal_statements ENABLE ALWAYS TRIGGER proposals_name_kept_statements;

-- Two people: the second one signs what the first one has proposed, in time.
CREATE FUNCTION check_statement_decision() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    v_proposal statement_proposals;
BEGIN
    IF new.decision <> 'approved' THEN
        RETURN new;
    END IF;
    SELECT * INTO v_proposal FROM statement_proposals WHERE id = new.proposal_id;
    IF person_of(new.decided_by) = person_of(v_proposal.proposed_by)
        OR new.signed_sha256 <> v_proposal.content_sha256
        OR new.decided_at >= v_proposal.expires_at
        OR NOT EXISTS (SELECT FROM statement_proposal_statements AS i WHERE i.proposal_id = new.proposal_id) THEN
        RAISE EXCEPTION 'proposal % is not approved by a second person, in time', new.proposal_id
        USING ERRCODE = 'check_violation', CONSTRAINT = 'two_people_decide_on_a_statement';
    END IF;
    RETURN new;
END $$;
CREATE TRIGGER statement_decision_is_of_two BEFORE INSERT ON statement_decisions
FOR EACH ROW EXECUTE FUNCTION check_statement_decision();
ALTER TABLE statement_decisions ENABLE ALWAYS TRIGGER statement_decision_is_of_two;

-- An approval is carried out in its own statement, and each of its statements changes by it.
CREATE FUNCTION carry_out_statement_decision() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    v_changed bigint;
BEGIN
    IF (SELECT p.change FROM statement_proposals AS p WHERE p.id = new.proposal_id) = 'SET_ASIDE' THEN
        INSERT INTO set_aside_statements (statement_id, account_id, decision_id)
        SELECT i.statement_id, p.account_id, new.id
        FROM statement_proposal_statements AS i JOIN statement_proposals AS p ON p.id = i.proposal_id
        WHERE i.proposal_id = new.proposal_id ORDER BY i.statement_id
        ON CONFLICT (statement_id) DO NOTHING;
    ELSE
        DELETE FROM set_aside_statements AS z USING statement_proposal_statements AS i
        WHERE i.proposal_id = new.proposal_id AND z.statement_id = i.statement_id;
    END IF;
    GET DIAGNOSTICS v_changed = ROW_COUNT;
    IF v_changed <> (
        SELECT count(*) FROM statement_proposal_statements AS i WHERE i.proposal_id = new.proposal_id
    ) THEN
        RAISE EXCEPTION 'a statement of proposal % is what it would become already', new.proposal_id
        USING ERRCODE = 'check_violation', CONSTRAINT = 'decisions_change_statements';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER decisions_change_statements AFTER INSERT ON statement_decisions
FOR EACH ROW WHEN (new.decision = 'approved') EXECUTE FUNCTION carry_out_statement_decision();
ALTER TABLE statement_decisions ENABLE ALWAYS TRIGGER decisions_change_statements;

CREATE TRIGGER statement_proposals_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON statement_proposals
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE statement_proposals ENABLE ALWAYS TRIGGER statement_proposals_append_only;
CREATE TRIGGER statement_proposal_statements_append_only
BEFORE UPDATE OR DELETE OR TRUNCATE ON statement_proposal_statements
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE statement_proposal_statements ENABLE ALWAYS TRIGGER statement_proposal_statements_append_only;
CREATE TRIGGER statement_decisions_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON statement_decisions
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE statement_decisions ENABLE ALWAYS TRIGGER statement_decisions_append_only;
