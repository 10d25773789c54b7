-- compatible-from: 25
--
-- Items that were open for some days, and then matched: what was open at the end of a day of the past is what is open
-- now, and those of them that were matched from a later day on. A row for each item of a live match that was booked
-- before the match counts; triggers keep them, so that engines of the version before keep them, too.
--
-- The span is the binary logarithm of how many days the item was open. An item that was open at the end of a day
-- counts as matched at most twice its span later: for each span that is a range of the key, however long the history.
CREATE FUNCTION timing_span(booked_on date, settled_on date) RETURNS smallint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
SELECT width_bucket(
    settled_on - booked_on, '{2,4,8,16,32,64,128,256,512,1024,2048,4096,8192,16384}'::integer[]
)::smallint
$$;

CREATE TABLE timing_postings (
    account_id bigint NOT NULL,
    span smallint NOT NULL,
    settled_on date NOT NULL,
    match_id bigint NOT NULL,
    group_id uuid NOT NULL,
    posting smallint NOT NULL,
    leg smallint NOT NULL,
    booked_on date NOT NULL CHECK (booked_on < settled_on),
    PRIMARY KEY (account_id, span, settled_on, match_id, group_id, posting, leg)
);

CREATE TABLE timing_entries (
    account_id bigint NOT NULL,
    span smallint NOT NULL,
    settled_on date NOT NULL,
    match_id bigint NOT NULL,
    statement_id bigint NOT NULL,
    entry_number integer NOT NULL,
    booked_on date NOT NULL CHECK (booked_on < settled_on),
    PRIMARY KEY (account_id, span, settled_on, match_id, statement_id, entry_number)
);

-- As with the checks by batch, the plan must not depend on how large the tables were when it was made.
CREATE FUNCTION keep_timing_postings() RETURNS trigger LANGUAGE plpgsql
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
    INSERT INTO timing_postings (account_id, span, settled_on, match_id, group_id, posting, leg, booked_on)
    SELECT a.account_id, timing_span(a.booked_on, m.settled_on), m.settled_on, m.id, a.group_id, a.posting, a.leg,
        a.booked_on
    FROM added AS a JOIN matches AS m ON m.id = a.match_id
    WHERE a.booked_on < m.settled_on;
    RETURN NULL;
END $$;
CREATE TRIGGER timing_items_are_kept AFTER INSERT ON match_postings
REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION keep_timing_postings();
ALTER TABLE match_postings ENABLE ALWAYS TRIGGER timing_items_are_kept;

CREATE FUNCTION keep_timing_entries() RETURNS trigger LANGUAGE plpgsql
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
    INSERT INTO timing_entries (account_id, span, settled_on, match_id, statement_id, entry_number, booked_on)
    SELECT m.account_id, timing_span(a.booked_on, m.settled_on), m.settled_on, m.id, a.statement_id, a.entry_number,
        a.booked_on
    FROM added AS a JOIN matches AS m ON m.id = a.match_id
    WHERE a.booked_on < m.settled_on;
    RETURN NULL;
END $$;
CREATE TRIGGER timing_items_are_kept AFTER INSERT ON match_entries
REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION keep_timing_entries();
ALTER TABLE match_entries ENABLE ALWAYS TRIGGER timing_items_are_kept;

CREATE FUNCTION forget_timing_items() RETURNS trigger LANGUAGE plpgsql
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
    DELETE FROM timing_postings AS t USING added AS a, matches AS m, match_postings AS p
    WHERE m.id = a.match_id AND p.match_id = a.match_id
        AND t.account_id = p.account_id AND t.span = timing_span(p.booked_on, m.settled_on)
        AND t.settled_on = m.settled_on AND t.match_id = m.id
        AND t.group_id = p.group_id AND t.posting = p.posting AND t.leg = p.leg;
    DELETE FROM timing_entries AS t USING added AS a, matches AS m, match_entries AS e
    WHERE m.id = a.match_id AND e.match_id = a.match_id
        AND t.account_id = m.account_id AND t.span = timing_span(e.booked_on, m.settled_on)
        AND t.settled_on = m.settled_on AND t.match_id = m.id
        AND t.statement_id = e.statement_id AND t.entry_number = e.entry_number;
    RETURN NULL;
END $$;
CREATE TRIGGER timing_items_are_forgotten AFTER INSERT ON unmatches
REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION forget_timing_items();
ALTER TABLE unmatches ENABLE ALWAYS TRIGGER timing_items_are_forgotten;

-- Those of the matches that there are. Until this transaction ends no run can match anything; settlements go on.
INSERT INTO timing_postings (account_id, span, settled_on, match_id, group_id, posting, leg, booked_on)
SELECT p.account_id, timing_span(p.booked_on, m.settled_on), m.settled_on, m.id, p.group_id, p.posting, p.leg,
    p.booked_on
FROM match_postings AS p JOIN matches AS m ON m.id = p.match_id
WHERE p.booked_on < m.settled_on AND NOT EXISTS (SELECT FROM unmatches AS u WHERE u.match_id = m.id);
INSERT INTO timing_entries (account_id, span, settled_on, match_id, statement_id, entry_number, booked_on)
SELECT m.account_id, timing_span(e.booked_on, m.settled_on), m.settled_on, m.id, e.statement_id, e.entry_number,
    e.booked_on
FROM match_entries AS e JOIN matches AS m ON m.id = e.match_id
WHERE e.booked_on < m.settled_on AND NOT EXISTS (SELECT FROM unmatches AS u WHERE u.match_id = m.id);
