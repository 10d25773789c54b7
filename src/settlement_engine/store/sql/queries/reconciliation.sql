-- name: try_reconciliation
-- One run at a time in all engines: a lock of the session, which ends with the process.
SELECT pg_try_advisory_lock(hashtextextended('reconciliation run', 0)) AS is_ours, pg_backend_pid() AS holder;

-- name: holds_reconciliation
-- Whether the session of this server process holds the lock of the run.
SELECT EXISTS (
    SELECT FROM pg_locks AS l
    WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted AND l.pid = $1
        AND (l.classid::bigint << 32) | l.objid::bigint = hashtextextended('reconciliation run', 0)
        AND l.database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())
) AS is_held;

-- name: add_reconciliation_run
-- Record a run; nothing is returned for one that began before.
INSERT INTO reconciliation_runs (
    id, started_for, who, rules_version, account_id, bank, currency, business_date
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (id) DO NOTHING RETURNING id;

-- name: reconciliation_run_end
-- The end of a run, if it came to one.
SELECT ended_at FROM reconciliation_run_ends WHERE run_id = $1;

-- name: end_reconciliation_run
-- Record that a run came to its end.
INSERT INTO reconciliation_run_ends (run_id, result_hash, matches) VALUES ($1, $2, $3);

-- name: add_reconciliation_report
-- Record the report of a run for one currency.
INSERT INTO reconciliation_reports (
    run_id, currency, report_date, total_accounts, balanced_accounts, discrepancy_accounts,
    total_discrepancy_minor, details
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8::text::jsonb);

-- name: lock_reconciliation_account
-- One transaction at a time for an account, in every engine.
SELECT pg_advisory_xact_lock(hashtextextended('reconciliation of account ' || $1::bigint, 0));

-- name: reconciliation_cursor
-- How far the moves are read, and how far there are any.
SELECT c.position, (SELECT h.position FROM stream_head AS h) AS head FROM reconciliation_cursor AS c;

-- name: move_reconciliation_cursor
-- The moves from $1 up to $2 are read; nothing is returned where those before them are not, or these were read before.
UPDATE reconciliation_cursor SET position = $2 WHERE position = $1 RETURNING position;

-- name: add_our_days
-- Add postings of ours to the sums of their days, as parallel arrays.
INSERT INTO reconciliation_days AS d (account_id, day, ours_minor, ours)
SELECT q.* FROM unnest($1::bigint[], $2::date[], $3::numeric[], $4::bigint[]) AS q (account_id, day, minor, postings)
ORDER BY q.account_id, q.day
ON CONFLICT (account_id, day) DO UPDATE SET
    ours_minor = d.ours_minor + excluded.ours_minor, ours = d.ours + excluded.ours;

-- name: take_in_postings
-- The postings of the moves behind $1, up to $2, on accounts at banks: as open postings, with their keys. Returns the
-- sums of their days. A move and its postings have the same instant. $3 and $4: zones of single accounts, $5 of the others.
-- MATERIALIZED, so that references are spelled once; the keys are those of reference_keys(), without a call for each
-- (and one may be twice among them).
WITH moved AS (
    SELECT m.settlement_id, m.at
    FROM moves AS m
    JOIN page AS p ON p.from_state = m.from_state AND p.event = m.event::text
    WHERE m.position > $1 AND m.position <= $2 AND p.does IN ('post', 'reverse', 'suspend')
), posted AS MATERIALIZED (
    SELECT b.*, (b.at AT TIME ZONE coalesce(z.zone, $5))::date AS booked_on
    FROM moved AS m
    JOIN bank_postings AS b ON b.group_id = m.settlement_id AND b.at = m.at
    LEFT JOIN unnest($3::bigint[], $4::text[]) AS z (account_id, zone) ON z.account_id = b.account_id
), added AS (
    INSERT INTO open_postings (
        account_id, group_id, posting, leg, amount_minor, currency, booked_on, value_date, our_references,
        end_to_end, rail_references, batch, keys
    )
    SELECT q.account_id, q.group_id, q.posting, q.leg, q.amount_minor, q.currency, q.booked_on,
        coalesce(q.value_date, q.booked_on), q.our_references, q.end_to_end, q.rail_references, q.batch,
        ARRAY(
            SELECT hashtextextended(n.named, 0)
            FROM unnest(q.our_references || q.end_to_end || q.rail_references || q.batch) AS n (named)
            WHERE n.named <> ''
        )
    FROM posted AS q ORDER BY q.at, q.group_id, q.posting, q.leg, q.account_id
    RETURNING id, account_id, keys, booked_on, amount_minor
), keyed AS (
    INSERT INTO open_posting_keys (account_id, key, posting_id)
    SELECT DISTINCT a.account_id, k.key, a.id FROM added AS a CROSS JOIN unnest(a.keys) AS k (key) ORDER BY 1, 2, 3
)
SELECT a.account_id, a.booked_on, sum(a.amount_minor) AS minor, count(*) AS postings FROM added AS a
GROUP BY a.account_id, a.booked_on ORDER BY a.account_id, a.booked_on;

-- name: take_in_outside
-- The postings of an account that no settlement has made and that are later than those read before. Their instants
-- follow the order of their commits, because each was posted under the lock of the account's row. What closes an opening
-- difference (leg 13) counts for the day before the first statement.
WITH state AS (
    INSERT INTO reconciliation_accounts AS s (account_id) VALUES ($1)
    ON CONFLICT (account_id) DO UPDATE SET account_id = s.account_id
    RETURNING s.booked_until
), outside AS (
    SELECT t.group_id, t.posting, t.leg FROM transfers AS t, state AS s
    WHERE t.debit_id = $1 AND t.at > s.booked_until AND (t.leg = 3 OR t.leg > 11)
    UNION ALL
    SELECT t.group_id, t.posting, t.leg FROM transfers AS t, state AS s
    WHERE t.credit_id = $1 AND t.at > s.booked_until AND (t.leg = 3 OR t.leg > 11)
), posted AS (
    SELECT b.*, CASE WHEN b.leg = 13 THEN (
        SELECT x.business_date - 1 FROM break_decisions AS d
        JOIN break_proposals AS p ON p.id = d.proposal_id JOIN breaks AS x ON x.id = p.break_id
        WHERE d.transfer_group = b.group_id
    ) ELSE (b.at AT TIME ZONE $2)::date END AS booked_on
    FROM outside AS o
    JOIN bank_postings AS b
        ON b.group_id = o.group_id AND b.posting = o.posting AND b.leg = o.leg AND b.account_id = $1
), added AS (
    INSERT INTO open_postings (
        account_id, group_id, posting, leg, amount_minor, currency, booked_on, value_date, our_references,
        end_to_end, rail_references, batch, keys
    )
    SELECT q.account_id, q.group_id, q.posting, q.leg, q.amount_minor, q.currency, q.booked_on,
        coalesce(q.value_date, q.booked_on), q.our_references, q.end_to_end, q.rail_references, q.batch,
        reference_keys(q.our_references || q.end_to_end || q.rail_references || q.batch)
    FROM posted AS q ORDER BY q.at, q.group_id, q.posting, q.leg
    RETURNING id, account_id, keys, booked_on, amount_minor
), keyed AS (
    INSERT INTO open_posting_keys (account_id, key, posting_id)
    SELECT a.account_id, k.key, a.id FROM added AS a CROSS JOIN unnest(a.keys) AS k (key) ORDER BY 1, 2, 3
), counted AS (
    INSERT INTO reconciliation_days AS d (account_id, day, ours_minor, ours)
    SELECT a.account_id, a.booked_on, sum(a.amount_minor), count(*) FROM added AS a
    GROUP BY a.account_id, a.booked_on ORDER BY a.booked_on
    ON CONFLICT (account_id, day) DO UPDATE SET
        ours_minor = d.ours_minor + excluded.ours_minor, ours = d.ours + excluded.ours
)
SELECT max(q.at) AS booked_until FROM posted AS q;

-- name: keep_booked_until
-- How far the postings of an account outside of settlements are read.
UPDATE reconciliation_accounts SET booked_until = $2 WHERE account_id = $1;

-- name: accounts_to_reconcile
-- Our accounts at banks. A null filter does not filter.
SELECT a.id, a.bank, a.currency, a.account_number FROM accounts AS a
WHERE a.kind IN ('nostro', 'settlement')
    AND ($1::bigint IS NULL OR a.id = $1)
    AND ($2::text IS NULL OR a.bank = folded_bank($2))
    AND ($3::text IS NULL OR a.currency = $3)
ORDER BY a.id LIMIT $4;

-- name: accounts_with_unseen_statements
-- The accounts with an end-of-day statement ($1) among the latest $2 that was imported $4 seconds ago or earlier and that
-- no run has looked at which came to its end. A run that began after the import has; for a statement that is not matched,
-- one that began $3 seconds after it, because the import may have been committed so much later. So have the decisions
-- of two people about such statements of which the last proofs do not know. The runs are read once: there may be as many
-- of them as accounts.
WITH latest AS (
    SELECT s.id, s.account_id, s.is_kept, s.source, s.entries, s.imported_at
    FROM statements AS s ORDER BY s.id DESC LIMIT $2
), imported AS (
    SELECT l.account_id, greatest(
            max(l.imported_at),
            max(l.imported_at) FILTER (WHERE m.entries_done IS DISTINCT FROM l.entries) + make_interval(secs => $3)
        ) AS looked_at
    FROM latest AS l
    LEFT JOIN matched_statements AS m ON m.statement_id = l.id
    WHERE l.is_kept AND l.source = ANY ($1::text[])
        AND l.imported_at <= clock_timestamp() - make_interval(secs => $4)
        AND NOT EXISTS (SELECT FROM set_aside_statements AS z WHERE z.statement_id = l.id)
    GROUP BY l.account_id
), decided AS (
    SELECT p.account_id, d.decided_at + make_interval(secs => $3) AS looked_at
    FROM statement_decisions AS d
    JOIN statement_proposals AS p ON p.id = d.proposal_id
    LEFT JOIN proved_accounts AS k ON k.account_id = p.account_id
    WHERE d.decision = 'approved' AND d.id > coalesce(k.last_decision_id, 0)
        AND d.decided_at <= clock_timestamp() - make_interval(secs => $4) AND EXISTS (
            SELECT FROM statement_proposal_statements AS i JOIN statements AS s ON s.id = i.statement_id
            WHERE i.proposal_id = p.id AND s.source = ANY ($1::text[])
        )
    ORDER BY d.id DESC LIMIT $2
), changed AS MATERIALIZED (
    SELECT q.account_id, max(q.looked_at) AS looked_at
    FROM (SELECT i.* FROM imported AS i UNION ALL SELECT d.* FROM decided AS d) AS q
    GROUP BY q.account_id
), ended AS MATERIALIZED (
    SELECT r.account_id, folded_bank(r.bank) AS bank, r.currency, max(r.started_at) AS started_at
    FROM reconciliation_runs AS r
    JOIN reconciliation_run_ends AS e ON e.run_id = r.id
    WHERE r.started_at >= (SELECT min(i.looked_at) FROM changed AS i)
    GROUP BY 1, 2, 3
), seen AS (
    SELECT e.account_id, max(e.started_at) AS started_at FROM ended AS e
    WHERE e.account_id IS NOT NULL GROUP BY e.account_id
)
SELECT a.id FROM changed AS i
JOIN accounts AS a ON a.id = i.account_id
LEFT JOIN seen AS s ON s.account_id = i.account_id
WHERE (s.started_at IS NULL OR s.started_at < i.looked_at)
    AND NOT EXISTS (
        SELECT 1 FROM ended AS e
        WHERE e.account_id IS NULL AND e.started_at >= i.looked_at
            AND (e.bank IS NULL OR e.bank = a.bank)
            AND (e.currency IS NULL OR e.currency = a.currency)
    )
ORDER BY a.id;

-- name: statements_to_match
-- The kept end-of-day statements ($2) of an account, each with the number of its last entry that was matched, and with
-- the last decision of two people about it (0: none).
SELECT s.id, s.content_hash, s.source, s.bank_statement_id, s.sequence, s.page, s.is_last_page, s.created, s.begins,
    s.ends, s.opening_minor, s.opening_is_final, s.closing_minor, s.closing_is_final, s.booked_minor,
    s.totals_differ, z.statement_id IS NOT NULL AS is_set_aside, s.entries, m.entries_done, coalesce((
        SELECT max(d.id) FROM statement_proposal_statements AS i
        JOIN statement_decisions AS d ON d.proposal_id = i.proposal_id AND d.decision = 'approved'
        WHERE i.statement_id = s.id
    ), 0) AS last_decision_id
FROM statements AS s
LEFT JOIN set_aside_statements AS z ON z.statement_id = s.id
LEFT JOIN matched_statements AS m ON m.statement_id = s.id
WHERE s.is_kept AND s.account_id = $1 AND s.source = ANY ($2::text[])
ORDER BY s.ends, s.id LIMIT $3;

-- name: statement_progress
-- Up to which entry a statement is matched, if any is.
SELECT entries_done FROM matched_statements WHERE statement_id = $1;

-- name: entries_to_match
-- The booked entries of a statement behind a number, each with the payments inside it if there are several.
SELECT e.statement_id, e.number, e.amount_minor, e.currency, e.booking_date, e.value_date, e.is_reversal, e.text,
    e.refs::text AS refs, CASE WHEN e.details_differ THEN NULL ELSE d.details END AS details
FROM statement_entries AS e
LEFT JOIN LATERAL (
    SELECT json_agg(json_build_object('minor', n.amount_minor, 'references', n.refs) ORDER BY n.number)::text
        AS details
    FROM entry_details AS n WHERE n.statement_id = e.statement_id AND n.entry_number = e.number
    HAVING count(*) BETWEEN 2 AND $4
) AS d ON true
WHERE e.statement_id = $1 AND e.number > $2 AND e.status = 'BOOKED' ORDER BY e.number LIMIT $3;

-- name: open_entries_after
-- The open entries of an account behind a place, in the form of those above.
SELECT e.statement_id, e.number, e.amount_minor, e.currency, e.booking_date, e.value_date, e.is_reversal, e.text,
    e.refs::text AS refs, CASE WHEN e.details_differ THEN NULL ELSE d.details END AS details, o.booked_on,
    s.content_hash
FROM open_entries AS o
JOIN statement_entries AS e ON e.statement_id = o.statement_id AND e.number = o.entry_number
JOIN statements AS s ON s.id = o.statement_id
LEFT JOIN LATERAL (
    SELECT json_agg(json_build_object('minor', n.amount_minor, 'references', n.refs) ORDER BY n.number)::text
        AS details
    FROM entry_details AS n WHERE n.statement_id = e.statement_id AND n.entry_number = e.number
    HAVING count(*) BETWEEN 2 AND $6
) AS d ON true
WHERE o.account_id = $1 AND (o.booked_on, o.statement_id, o.entry_number) > ($2, $3, $4)
ORDER BY o.booked_on, o.statement_id, o.entry_number LIMIT $5;

-- name: postings_by_keys
-- The open postings of an account that have one of these references.
SELECT p.id, p.group_id || '/' || p.posting || '/' || p.leg AS name, p.amount_minor, p.currency, p.booked_on,
    p.value_date, p.our_references, p.end_to_end, p.rail_references, p.batch
FROM open_postings AS p
WHERE p.id IN (
    SELECT k.posting_id
    FROM unnest($2::text::text[]) AS q (named)
    JOIN open_posting_keys AS k ON k.account_id = $1 AND k.key = hashtextextended(q.named, 0)
)
ORDER BY p.id LIMIT $3;

-- name: open_postings_of
-- Open postings of an account.
SELECT p.id, p.group_id || '/' || p.posting || '/' || p.leg AS name, p.amount_minor, p.currency, p.booked_on,
    p.value_date, p.our_references, p.end_to_end, p.rail_references, p.batch
FROM open_postings AS p WHERE p.account_id = $1 ORDER BY p.booked_on, p.id LIMIT $2;

-- name: matched_by_reference
-- The amounts of matched postings of an account that have one of these references: end-to-end ids, traces and references
-- of what was posted outside of settlements, or UETRs and settlements.
SELECT q.named, p.amount_minor
FROM unnest($2::text::text[]) AS q (named)
JOIN attempts AS a ON a.end_to_end_id = q.named
JOIN match_postings AS p ON p.group_id = a.settlement_id AND p.account_id = $1
WHERE NOT EXISTS (SELECT 1 FROM unmatches AS u WHERE u.match_id = p.match_id)
UNION
SELECT q.named, p.amount_minor
FROM unnest($2::text::text[]) AS q (named)
JOIN attempts AS a ON a.trace = q.named AND a.trace IS NOT NULL
JOIN match_postings AS p ON p.group_id = a.settlement_id AND p.account_id = $1
WHERE NOT EXISTS (SELECT 1 FROM unmatches AS u WHERE u.match_id = p.match_id)
UNION
SELECT o.named, p.amount_minor
FROM (
    SELECT t.group_id, spelled_reference(t.reference) AS named FROM transfers AS t WHERE t.debit_id = $1 AND t.leg = 3
    UNION ALL
    SELECT t.group_id, spelled_reference(t.reference) FROM transfers AS t WHERE t.credit_id = $1 AND t.leg = 3
) AS o
JOIN match_postings AS p ON p.group_id = o.group_id AND p.account_id = $1
WHERE o.named = ANY ($2::text::text[])
    AND NOT EXISTS (SELECT 1 FROM unmatches AS u WHERE u.match_id = p.match_id)
UNION
SELECT upper(q.named::text), p.amount_minor
FROM unnest($3::text::uuid[]) AS q (named)
JOIN attempts AS a ON a.uetr = q.named
JOIN match_postings AS p ON p.group_id = a.settlement_id AND p.account_id = $1
WHERE NOT EXISTS (SELECT 1 FROM unmatches AS u WHERE u.match_id = p.match_id)
UNION
SELECT upper(q.named::text), p.amount_minor
FROM unnest($3::text::uuid[]) AS q (named)
JOIN match_postings AS p ON p.group_id = q.named AND p.account_id = $1
WHERE NOT EXISTS (SELECT 1 FROM unmatches AS u WHERE u.match_id = p.match_id);

-- name: add_matches
-- Record matches, as parallel arrays; returns their ids in order.
INSERT INTO matches (
    account_id, run_id, matched_by, rules_version, explanation, difference_minor, difference_account, is_automatic,
    settled_on
)
SELECT $1, $2, q.matched_by, q.rules_version, q.explanation, q.difference_minor, q.difference_account, true,
    q.settled_on
FROM unnest(
    $3::text::text[], $4::text::text[], $5::text::text[], $6::text::bigint[], $7::text::text[], $8::text::date[]
) WITH ORDINALITY AS q (
    matched_by, rules_version, explanation, difference_minor, difference_account, settled_on, place
)
ORDER BY q.place RETURNING id;

-- name: match_open_postings
-- Move open postings into matches; returns how many there were.
WITH given AS (
    SELECT q.posting_id, q.match_id FROM unnest($1::text::bigint[], $2::text::bigint[]) AS q (posting_id, match_id)
), taken AS (
    DELETE FROM open_postings AS p USING given AS g WHERE p.id = g.posting_id
    RETURNING p.id, p.account_id, p.group_id, p.posting, p.leg, p.amount_minor, p.booked_on, p.keys, g.match_id
), unkeyed AS (
    DELETE FROM open_posting_keys AS k
    USING (SELECT t.account_id, t.id, unnest(t.keys) AS key FROM taken AS t ORDER BY 1, 3) AS d
    WHERE k.account_id = d.account_id AND k.key = d.key AND k.posting_id = d.id
), added AS (
    INSERT INTO match_postings (
        group_id, posting, leg, account_id, turn, match_id, amount_minor, booked_on
    )
    SELECT t.group_id, t.posting, t.leg, t.account_id, 1 + (
        SELECT count(*) FROM match_postings AS m
        WHERE m.group_id = t.group_id AND m.posting = t.posting AND m.leg = t.leg
            AND m.account_id = t.account_id
    ), t.match_id, t.amount_minor, t.booked_on
    FROM taken AS t ORDER BY t.group_id, t.posting, t.leg
    RETURNING match_id
)
SELECT count(*) AS items FROM added;

-- name: match_entries_of
-- Record entries in matches, and remove them from the open ones.
WITH given AS (
    SELECT * FROM unnest(
        $1::text::bigint[], $2::text::integer[], $3::text::bigint[], $4::text::bigint[], $5::text::date[]
    ) AS q (statement_id, entry_number, match_id, amount_minor, booked_on)
), closed AS (
    DELETE FROM open_entries AS o USING given AS g
    WHERE o.statement_id = g.statement_id AND o.entry_number = g.entry_number
)
INSERT INTO match_entries (statement_id, entry_number, turn, match_id, amount_minor, booked_on)
SELECT g.statement_id, g.entry_number, 1 + (
    SELECT count(*) FROM match_entries AS m
    WHERE m.statement_id = g.statement_id AND m.entry_number = g.entry_number
), g.match_id, g.amount_minor, g.booked_on
FROM given AS g ORDER BY g.statement_id, g.entry_number;

-- name: add_suggestions
-- Record suggestions, as JSON texts; one that is known is not repeated.
INSERT INTO match_suggestions (account_id, run_id, fingerprint, matched_by, explanation, ours, theirs)
SELECT $1, $2, decode(q.said ->> 'fingerprint', 'hex'), q.said ->> 'matched_by', q.said ->> 'explanation',
    ARRAY(SELECT jsonb_array_elements_text(q.said -> 'ours')),
    ARRAY(SELECT jsonb_array_elements_text(q.said -> 'theirs'))
FROM (SELECT s.said::jsonb AS said FROM unnest($3::text::text[]) AS s (said)) AS q
ON CONFLICT (account_id, fingerprint) DO NOTHING;

-- name: add_open_entries
-- Record entries that are left over.
INSERT INTO open_entries (account_id, statement_id, entry_number, booked_on, amount_minor)
SELECT $1, q.* FROM unnest($2::text::bigint[], $3::text::integer[], $4::text::date[], $5::text::bigint[]) AS q
ON CONFLICT DO NOTHING;

-- name: keep_statement_progress
-- Up to which entry a statement is matched.
INSERT INTO matched_statements AS m (statement_id, account_id, entries_done) VALUES ($1, $2, $3)
ON CONFLICT (statement_id) DO UPDATE SET entries_done = excluded.entries_done;

-- name: add_to_statement_days
-- Add to the days of a statement, as parallel arrays.
INSERT INTO statement_days AS d (statement_id, day, minor, entries, misdated)
SELECT $1, q.* FROM unnest(
    $2::text::date[], $3::text::numeric[], $4::text::integer[], $5::text::integer[]
) AS q (day, minor, entries, misdated)
ON CONFLICT (statement_id, day) DO UPDATE SET
    minor = d.minor + excluded.minor, entries = d.entries + excluded.entries,
    misdated = d.misdated + excluded.misdated;

-- name: statement_days
-- The days of an account's matched statements.
SELECT s.content_hash, d.day, d.minor, d.entries, d.misdated
FROM matched_statements AS m
JOIN statement_days AS d ON d.statement_id = m.statement_id
JOIN statements AS s ON s.id = m.statement_id
WHERE m.account_id = $1 ORDER BY d.statement_id, d.day;

-- name: add_to_days
-- Add to the sums of an account's days, as parallel arrays.
INSERT INTO reconciliation_days AS d (
    account_id, day, ours_minor, theirs_minor, matched_ours_minor, matched_theirs_minor, ours, theirs, matched_ours,
    matched_theirs
)
SELECT $1, q.* FROM unnest(
    $2::text::date[], $3::text::numeric[], $4::text::numeric[], $5::text::numeric[], $6::text::numeric[],
    $7::text::bigint[], $8::text::bigint[], $9::text::bigint[], $10::text::bigint[]
) AS q (day, a, b, c, e, f, g, h, i)
ORDER BY q.day
ON CONFLICT (account_id, day) DO UPDATE SET
    ours_minor = d.ours_minor + excluded.ours_minor,
    theirs_minor = d.theirs_minor + excluded.theirs_minor,
    matched_ours_minor = d.matched_ours_minor + excluded.matched_ours_minor,
    matched_theirs_minor = d.matched_theirs_minor + excluded.matched_theirs_minor,
    ours = d.ours + excluded.ours,
    theirs = d.theirs + excluded.theirs,
    matched_ours = d.matched_ours + excluded.matched_ours,
    matched_theirs = d.matched_theirs + excluded.matched_theirs;

-- name: live_match
-- The account of a match, and whether it was taken back; the row stays as it is until the transaction ends.
SELECT m.account_id, m.settled_on, EXISTS (
    SELECT 1 FROM unmatches AS u WHERE u.match_id = m.id
) AS is_taken_back
FROM matches AS m WHERE m.id = $1;

-- name: live_matches_of_statement
-- The live matches that have an entry of a statement.
SELECT DISTINCT e.match_id FROM match_entries AS e
WHERE e.statement_id = $1 AND NOT EXISTS (SELECT 1 FROM unmatches AS u WHERE u.match_id = e.match_id)
ORDER BY e.match_id;

-- name: take_back_matches
-- Take matches back: their items are open again, and count as open from their own days on.
WITH back AS (
    INSERT INTO unmatches (match_id, run_id, who, reason)
    SELECT q.match_id, $2, $3, $4 FROM unnest($1::bigint[]) AS q (match_id) RETURNING match_id
), postings AS (
    SELECT p.*, m.settled_on FROM match_postings AS p JOIN back AS b ON b.match_id = p.match_id
    JOIN matches AS m ON m.id = p.match_id
), entries AS (
    SELECT e.*, m.settled_on, m.account_id FROM match_entries AS e JOIN back AS b ON b.match_id = e.match_id
    JOIN matches AS m ON m.id = e.match_id
), reopened AS (
    INSERT INTO open_postings (
        account_id, group_id, posting, leg, amount_minor, currency, booked_on, value_date, our_references,
        end_to_end, rail_references, batch, keys
    )
    SELECT q.account_id, q.group_id, q.posting, q.leg, q.amount_minor, q.currency, p.booked_on,
        coalesce(q.value_date, p.booked_on), q.our_references, q.end_to_end, q.rail_references, q.batch,
        reference_keys(q.our_references || q.end_to_end || q.rail_references || q.batch)
    FROM postings AS p
    JOIN bank_postings AS q
        ON q.group_id = p.group_id AND q.posting = p.posting AND q.leg = p.leg AND q.account_id = p.account_id
    ORDER BY q.at, q.group_id, q.posting, q.leg
    RETURNING id, account_id, keys
), keyed AS (
    INSERT INTO open_posting_keys (account_id, key, posting_id)
    SELECT a.account_id, k.key, a.id FROM reopened AS a CROSS JOIN unnest(a.keys) AS k (key) ORDER BY 1, 2, 3
), open_again AS (
    INSERT INTO open_entries (account_id, statement_id, entry_number, booked_on, amount_minor)
    SELECT e.account_id, e.statement_id, e.entry_number, e.booked_on, e.amount_minor FROM entries AS e
)
INSERT INTO reconciliation_days AS d (
    account_id, day, matched_ours_minor, matched_theirs_minor, matched_ours, matched_theirs
)
SELECT q.account_id, q.settled_on, -sum(q.ours_minor), -sum(q.theirs_minor), -sum(q.ours), -sum(q.theirs)
FROM (
    SELECT p.account_id, p.settled_on, p.amount_minor AS ours_minor, 0 AS theirs_minor, 1 AS ours, 0 AS theirs
    FROM postings AS p
    UNION ALL
    SELECT e.account_id, e.settled_on, 0, e.amount_minor, 0, 1 FROM entries AS e
) AS q
GROUP BY q.account_id, q.settled_on ORDER BY q.account_id, q.settled_on
ON CONFLICT (account_id, day) DO UPDATE SET
    matched_ours_minor = d.matched_ours_minor + excluded.matched_ours_minor,
    matched_theirs_minor = d.matched_theirs_minor + excluded.matched_theirs_minor,
    matched_ours = d.matched_ours + excluded.matched_ours,
    matched_theirs = d.matched_theirs + excluded.matched_theirs;

-- name: forget_statement
-- The entries of a statement do not count any more: all of them are open by now, and leave.
WITH gone AS (
    DELETE FROM open_entries AS o WHERE o.statement_id = $1
    RETURNING o.account_id, o.booked_on, o.amount_minor
), forgotten AS (
    DELETE FROM matched_statements AS m WHERE m.statement_id = $1
)
INSERT INTO reconciliation_days AS d (account_id, day, theirs_minor, theirs)
SELECT g.account_id, g.booked_on, -sum(g.amount_minor), -count(*) FROM gone AS g
GROUP BY g.account_id, g.booked_on
ON CONFLICT (account_id, day) DO UPDATE SET
    theirs_minor = d.theirs_minor + excluded.theirs_minor, theirs = d.theirs + excluded.theirs;

-- name: reconciliation_books
-- The sums of an account's days.
SELECT d.day, d.ours_minor, d.theirs_minor, d.matched_ours_minor, d.matched_theirs_minor, d.ours, d.theirs,
    d.matched_ours, d.matched_theirs
FROM reconciliation_days AS d WHERE d.account_id = $1 ORDER BY d.day;

-- name: reconciliation_balance
-- An account's balance, whether all of its postings are read, and what is open before a day.
SELECT a.debits_posted - a.credits_posted AS balance_minor,
    (SELECT h.position FROM stream_head AS h) = (SELECT c.position FROM reconciliation_cursor AS c)
    AND NOT EXISTS (
        SELECT 1 FROM transfers AS t
        WHERE t.debit_id = a.id AND (t.leg = 3 OR t.leg > 11) AND t.at > coalesce(s.booked_until, '-infinity')
    ) AND NOT EXISTS (
        SELECT 1 FROM transfers AS t
        WHERE t.credit_id = a.id AND (t.leg = 3 OR t.leg > 11) AND t.at > coalesce(s.booked_until, '-infinity')
    ) AS is_read,
    coalesce(o.minor, 0) AS open_before_minor, coalesce(o.postings, 0) AS open_before
FROM accounts AS a
LEFT JOIN reconciliation_accounts AS s ON s.account_id = a.id
LEFT JOIN LATERAL (
    SELECT sum(p.amount_minor) AS minor, count(*) AS postings FROM open_postings AS p
    WHERE p.account_id = a.id AND p.booked_on < $2
) AS o ON true
WHERE a.id = $1;

-- name: intraday_reports
-- The latest kept intraday reports (camt.052) of an account that are not set aside, without their entries.
SELECT s.content::text AS content FROM statements AS s
WHERE s.is_kept AND s.account_id = $1 AND s.source = 'camt.052'
    AND NOT EXISTS (SELECT FROM set_aside_statements AS z WHERE z.statement_id = s.id)
ORDER BY s.ends DESC, s.id DESC LIMIT $2;

-- name: last_proofs
-- The last proof of each of these days of an account.
SELECT DISTINCT ON (p.booking_date) p.booking_date, p.our_closing_minor, p.unmatched_theirs_minor,
    p.unmatched_ours_minor, p.opening_difference_minor, p.difference_minor, p.their_closing_minor,
    p.unmatched_theirs, p.unmatched_ours, p.held_back_by
FROM proofs AS p WHERE p.account_id = $1
ORDER BY p.booking_date, p.id DESC;

-- name: add_proofs
-- Record proofs, as parallel arrays.
INSERT INTO proofs (
    account_id, run_id, currency, booking_date, our_closing_minor, unmatched_theirs_minor, unmatched_ours_minor,
    opening_difference_minor, difference_minor, their_closing_minor, unmatched_theirs, unmatched_ours,
    held_back_by, is_zero
)
SELECT $1, $2, $3, q.* FROM unnest(
    $4::text::date[], $5::text::numeric[], $6::text::numeric[], $7::text::numeric[], $8::text::numeric[],
    $9::text::numeric[], $10::text::numeric[], $11::text::integer[], $12::text::integer[], $13::text::text[],
    $14::text::boolean[]
) AS q;

-- name: keep_reconciled_on
-- The last day of an account whose proof is zero. The row is locked for as long as a commit takes, once for each day.
UPDATE accounts SET last_reconciled_at = ($2::date)::timestamp AT TIME ZONE 'UTC'
WHERE id = $1 AND last_reconciled_at IS DISTINCT FROM ($2::date)::timestamp AT TIME ZONE 'UTC';

-- name: keep_proved_account
-- What the proofs of an account are made of is what there is now, with the statements up to $2, and the decisions about
-- them up to $3.
INSERT INTO proved_accounts AS p (account_id, unproved_from, last_statement_id, last_decision_id)
VALUES ($1, NULL, $2, $3)
ON CONFLICT (account_id) DO UPDATE SET
    unproved_from = excluded.unproved_from, last_statement_id = excluded.last_statement_id,
    last_decision_id = excluded.last_decision_id;

-- name: list_proofs
-- The last proof of each account for a day ($1), or the last one of its last day. A day on which nothing was booked has
-- the proof of the day before it, if a later one was proved.
SELECT a.id AS account_id, a.currency, p.*
FROM accounts AS a
CROSS JOIN LATERAL (
    SELECT coalesce($1::date, q.booking_date) AS booking_date, q.our_closing_minor, q.unmatched_theirs_minor, q.unmatched_ours_minor,
        q.opening_difference_minor, q.difference_minor, q.their_closing_minor, q.unmatched_theirs,
        q.unmatched_ours, q.held_back_by
    FROM proofs AS q
    WHERE q.account_id = a.id AND ($1::date IS NULL OR q.booking_date <= $1)
    ORDER BY q.booking_date DESC, q.id DESC LIMIT 1
) AS p
WHERE ($1::date IS NULL OR EXISTS (
    SELECT 1 FROM proofs AS l WHERE l.account_id = a.id AND l.booking_date >= $1
)) AND a.kind IN ('nostro', 'settlement') AND ($2::bigint IS NULL OR a.id = $2) AND a.id > $3
ORDER BY a.id LIMIT $4;

-- name: list_reports
-- Runs that have ended, the latest first, with their reports; behind the run $1.
SELECT r.id, r.started_for, r.who, r.rules_version, r.account_id, r.bank, r.currency, r.business_date, r.started_at,
    e.ended_at, (
        SELECT coalesce(jsonb_agg(jsonb_build_object(
            'currency', q.currency, 'total_accounts', q.total_accounts,
            'balanced_accounts', q.balanced_accounts, 'discrepancy_accounts', q.discrepancy_accounts,
            'total_discrepancy_minor', q.total_discrepancy_minor, 'accounts', q.details
        ) ORDER BY q.currency), '[]')::text
        FROM reconciliation_reports AS q WHERE q.run_id = r.id
    ) AS parts
FROM reconciliation_runs AS r JOIN reconciliation_run_ends AS e ON e.run_id = r.id
WHERE ($1::uuid IS NULL OR (r.started_at, r.id) < (
    SELECT b.started_at, b.id FROM reconciliation_runs AS b WHERE b.id = $1
))
    AND ($2::date IS NULL OR (r.started_at AT TIME ZONE 'UTC')::date = $2)
    AND ($3::uuid IS NULL OR r.id = $3)
ORDER BY r.started_at DESC, r.id DESC LIMIT $4;

-- name: proved_settlements
-- Those among settlements whose postings on accounts at banks are all in live matches, each with a proof of zero on the
-- first proved day on which both sides have booked it. What leaves an account as it was is on no statement.
SELECT s.id FROM unnest($1::uuid[]) AS s (id)
WHERE EXISTS (SELECT FROM transfers AS t WHERE t.group_id = s.id)
    AND NOT EXISTS (
        SELECT FROM (
            SELECT p.account_id, p.posting, p.leg,
                sum(p.amount_minor) OVER (PARTITION BY p.account_id, p.posting) AS moved_minor
            FROM bank_postings AS p WHERE p.group_id = s.id
        ) AS b
        WHERE b.moved_minor <> 0 AND NOT EXISTS (
            SELECT FROM match_postings AS m
            JOIN matches AS k ON k.id = m.match_id
            CROSS JOIN LATERAL (
                SELECT r.is_zero FROM proofs AS r
                WHERE r.account_id = b.account_id AND r.booking_date >= k.settled_on
                ORDER BY r.booking_date, r.id DESC LIMIT 1
            ) AS q
            WHERE m.group_id = s.id AND m.posting = b.posting AND m.leg = b.leg
                AND m.account_id = b.account_id AND q.is_zero
                AND NOT EXISTS (SELECT FROM unmatches AS u WHERE u.match_id = k.id)
        )
    );

-- name: discrepancy_sums
-- What the last proofs of so many accounts have between the bank's balance and ours, without signs, by currency.
SELECT p.currency, sum(abs(p.their_closing_minor - p.our_closing_minor)) AS amount_minor
FROM (SELECT r.account_id FROM proved_accounts AS r ORDER BY r.account_id LIMIT $1) AS q
CROSS JOIN LATERAL (
    SELECT f.currency, f.their_closing_minor, f.our_closing_minor FROM proofs AS f
    WHERE f.account_id = q.account_id ORDER BY f.booking_date DESC, f.id DESC LIMIT 1
) AS p
GROUP BY p.currency;
