-- name: end_session
-- Release the session's locks, as the end of its connection would.
SELECT pg_advisory_unlock_all();

-- name: mark_engines_gone
-- Mark every engine of earlier schedules as gone.
UPDATE engines SET gone_at = clock_timestamp() WHERE gone_at IS NULL;

-- name: set_aside
-- Take the settlements that an earlier schedule left open out of every engine's reach; they are reported already.
UPDATE open_settlements SET owner = 0, due_at = 'infinity';

-- name: open_accounts
-- Open the accounts of a schedule, with the funding of the first bank.
SELECT virtual.open_accounts($1, $2, $3, $4, $5, $6, $7);

-- name: set_statements_aside
-- No statement of an earlier schedule is searched any more; one that left some is reported already.
DELETE FROM unsearched_statements;

-- name: unsearched
-- How many statements are not searched to their end.
SELECT count(*) AS statements FROM unsearched_statements;

-- name: kept_statements
-- What is kept of the bank's statements for an account, by its number: how often, and with how many entries, and how
-- many of the entries are said to be about a payment of ours.
SELECT s.bank_statement_id, s.ends, count(*) AS times, sum(s.entries) AS entries,
    (SELECT count(*) FROM statement_entries AS e WHERE e.statement_id = min(s.id)) AS written,
    (SELECT count(*) FROM statement_evidence AS e WHERE e.statement_id = min(s.id)) AS mentions
FROM statements AS s JOIN accounts AS a ON a.id = s.account_id
WHERE s.is_kept AND a.kind = 'nostro' AND a.bank = $1 AND a.account_number = $2
GROUP BY s.bank_statement_id, s.ends ORDER BY s.ends, s.bank_statement_id;

-- name: items
-- The items of an account: how many are open on each side, how many are in live matches, and how many of those are in
-- several.
WITH ours AS (
    SELECT p.group_id, p.posting, p.leg, count(*) AS times FROM match_postings AS p
    JOIN accounts AS a ON a.id = p.account_id AND a.kind = 'nostro' AND a.bank = $1 AND a.account_number = $2
    WHERE NOT EXISTS (SELECT FROM unmatches AS u WHERE u.match_id = p.match_id)
    GROUP BY p.group_id, p.posting, p.leg
), theirs AS (
    SELECT e.statement_id, e.entry_number, count(*) AS times FROM match_entries AS e
    JOIN statements AS s ON s.id = e.statement_id
    JOIN accounts AS a ON a.id = s.account_id AND a.kind = 'nostro' AND a.bank = $1 AND a.account_number = $2
    WHERE NOT EXISTS (SELECT FROM unmatches AS u WHERE u.match_id = e.match_id)
    GROUP BY e.statement_id, e.entry_number
)
SELECT (SELECT count(*) FROM ours) AS ours, (SELECT count(*) FROM theirs) AS theirs,
    (SELECT count(*) FROM ours WHERE times > 1) + (SELECT count(*) FROM theirs WHERE times > 1) AS doubled,
    (SELECT count(*) FROM open_postings AS p WHERE p.account_id = a.id) AS ours_open,
    (SELECT count(*) FROM open_entries AS e WHERE e.account_id = a.id) AS theirs_open
FROM accounts AS a WHERE a.kind = 'nostro' AND a.bank = $1 AND a.account_number = $2;

-- name: last_proof
-- The last proof of the last proved day of an account.
SELECT p.booking_date, p.our_closing_minor, p.their_closing_minor, p.difference_minor, p.opening_difference_minor,
    p.held_back_by, p.unmatched_ours, p.unmatched_theirs
FROM proofs AS p JOIN accounts AS a ON a.id = p.account_id
WHERE a.kind = 'nostro' AND a.bank = $1 AND a.account_number = $2
ORDER BY p.booking_date DESC, p.id DESC LIMIT 1;

-- name: second_debits
-- How often a second debit of each of these settlements is booked, and how often a person is told of one.
SELECT s.id, (SELECT count(*) FROM transfers AS t WHERE t.group_id = s.id AND t.leg = 11) AS booked,
    (SELECT count(*) FROM exceptions AS e WHERE e.settlement_id = s.id AND e.kind = 'second_debit') AS told
FROM unnest($1::uuid[]) AS s (id);
