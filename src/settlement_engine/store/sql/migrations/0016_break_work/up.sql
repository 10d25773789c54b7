-- compatible-from: 15
-- Work on breaks: what one person proposes to close a break with and what a second one decides, both appended; the
-- transfers that an approval posts, and the matches that people make.

-- What two people post to close a break. The check before was narrower, so that no row has to be looked at.
-- squawk-ignore ban-drop-constraint
ALTER TABLE transfers DROP CONSTRAINT transfers_leg_check;
ALTER TABLE transfers ADD CONSTRAINT transfers_leg_check CHECK (leg BETWEEN 1 AND 13 AND posting > 0) NOT VALID;

-- Who has made a match: an automatic one is the engine's. What a person matches is a run of its own, without a report.
ALTER TABLE matches ADD COLUMN who text NOT NULL DEFAULT 'engine'
CONSTRAINT matches_who_check CHECK (length(who) BETWEEN 1 AND 256);

ALTER TABLE open_breaks ADD COLUMN level smallint NOT NULL DEFAULT 0
CONSTRAINT open_breaks_level_check CHECK (level >= 0);

CREATE TABLE break_proposals (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    break_id bigint NOT NULL REFERENCES breaks (id),
    resolution text NOT NULL CHECK (resolution IN (
        'CHARGES', 'EXCHANGE', 'WRITE_OFF', 'SUSPENSE', 'FUNDING', 'RETURN', 'EXPLANATION'
    )),
    account_id bigint NOT NULL,
    currency currency_code NOT NULL,
    -- What is posted, with the sign of the bank's statement.
    amount_minor bigint NOT NULL CHECK (amount_minor <> 0),
    reason text NOT NULL CHECK (length(reason) BETWEEN 1 AND 1000),
    evidence_name text NOT NULL CHECK (length(evidence_name) <= 255),
    evidence bytea NOT NULL CHECK (octet_length(evidence) <= 1048576),
    evidence_sha256 bytea NOT NULL CHECK (evidence_sha256 = sha256(evidence)),
    proposed_by text NOT NULL CHECK (length(proposed_by) BETWEEN 1 AND 256),
    content_sha256 bytea NOT NULL CHECK (octet_length(content_sha256) = 32),
    proposed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz NOT NULL,
    CHECK (expires_at > proposed_at)
);
CREATE INDEX break_proposals_by_break ON break_proposals (break_id, id);

-- The open items that a proposal closes, named as those of breaks.
CREATE TABLE break_proposal_items (
    proposal_id bigint NOT NULL REFERENCES break_proposals (id),
    side text NOT NULL CHECK (side IN ('ours', 'theirs')),
    item text NOT NULL,
    amount_minor bigint NOT NULL,
    PRIMARY KEY (proposal_id, side, item)
);

CREATE TABLE break_decisions (
    proposal_id bigint PRIMARY KEY REFERENCES break_proposals (id),
    decision text NOT NULL CHECK (decision IN ('approved', 'declined', 'superseded')),
    decided_by text NOT NULL CHECK (length(decided_by) BETWEEN 1 AND 256),
    -- The role by which it was approved, and what was approved.
    role text NOT NULL CHECK (length(role) <= 64),
    signed_sha256 bytea CHECK (octet_length(signed_sha256) = 32),
    match_id bigint REFERENCES matches (id),
    transfer_group uuid UNIQUE,
    decided_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CHECK ((decision = 'approved') = (signed_sha256 IS NOT NULL)),
    CHECK ((decision = 'approved') = (role <> '')),
    CHECK (decision = 'approved' OR num_nonnulls(match_id, transfer_group) = 0)
);

-- Two people: the second one signs what the first one has proposed, in time, and what is posted is that.
CREATE FUNCTION check_break_decision() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    v_proposal break_proposals;
    v_leg smallint;
BEGIN
    IF new.decision <> 'approved' THEN
        RETURN new;
    END IF;
    SELECT * INTO v_proposal FROM break_proposals WHERE id = new.proposal_id;
    IF person_of(new.decided_by) = person_of(v_proposal.proposed_by)
        OR new.signed_sha256 <> v_proposal.content_sha256
        OR new.decided_at >= v_proposal.expires_at THEN
        RAISE EXCEPTION 'proposal % is not approved by a second person, in time', new.proposal_id
        USING ERRCODE = 'check_violation', CONSTRAINT = 'two_people_close_a_break';
    END IF;
    SELECT CASE kind WHEN 'OPENING_DIFFERENCE' THEN 13 ELSE 12 END INTO v_leg
    FROM breaks WHERE id = v_proposal.break_id;
    IF (new.transfer_group IS NULL) <> (v_proposal.resolution = 'EXPLANATION')
        OR (new.match_id IS NULL) <> (v_leg = 13)
        OR new.transfer_group IS NOT NULL AND NOT EXISTS (
            SELECT 1 FROM transfers AS t
            WHERE t.group_id = new.transfer_group AND t.leg = v_leg AND t.currency = v_proposal.currency
                AND t.amount_minor = abs(v_proposal.amount_minor)
                AND CASE WHEN v_proposal.amount_minor > 0 THEN t.debit_id ELSE t.credit_id END
                    = v_proposal.account_id
        ) THEN
        RAISE EXCEPTION 'proposal % is not what is posted', new.proposal_id
        USING ERRCODE = 'check_violation', CONSTRAINT = 'approval_posts_the_proposal';
    END IF;
    RETURN new;
END $$;
CREATE TRIGGER break_decision_is_of_two BEFORE INSERT ON break_decisions
FOR EACH ROW EXECUTE FUNCTION check_break_decision();
ALTER TABLE break_decisions ENABLE ALWAYS TRIGGER break_decision_is_of_two;

CREATE TRIGGER break_proposals_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON break_proposals
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE break_proposals ENABLE ALWAYS TRIGGER break_proposals_append_only;
CREATE TRIGGER break_proposal_items_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON break_proposal_items
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE break_proposal_items ENABLE ALWAYS TRIGGER break_proposal_items_append_only;
CREATE TRIGGER break_decisions_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON break_decisions
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE break_decisions ENABLE ALWAYS TRIGGER break_decisions_append_only;
