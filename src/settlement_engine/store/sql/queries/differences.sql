-- Differences that the rules of matching close: their transfers (leg 14), and those that take them back (leg 15).

-- name: turns_of_entries
-- How often each of these entries was matched before, in their order.
SELECT (
    SELECT count(*) FROM match_entries AS m WHERE m.statement_id = q.statement_id AND m.entry_number = q.entry_number
) AS turns
FROM unnest($1::text::bigint[], $2::text::integer[]) WITH ORDINALITY AS q (statement_id, entry_number, place)
ORDER BY q.place;

-- name: open_postings_of_groups
-- The open postings of an account that belong to these groups.
SELECT p.id, p.group_id || '/' || p.posting || '/' || p.leg AS name, p.amount_minor, p.currency, p.booked_on,
    p.value_date, p.our_references, p.end_to_end, p.rail_references, p.batch
FROM open_postings AS p
WHERE p.account_id = $1 AND p.group_id = ANY ($2::text::uuid[])
ORDER BY p.id;

-- name: differences_of_matches
-- The transfers that matches have posted for their differences.
SELECT p.match_id, t.group_id, t.posting, t.leg, t.debit_id, t.credit_id, t.amount_minor, t.currency, t.reference, t.at
FROM matches AS m
JOIN match_postings AS p ON p.match_id = m.id AND p.leg = 14
JOIN transfers AS t ON t.group_id = p.group_id AND t.posting = p.posting AND t.leg = p.leg
WHERE m.id = ANY ($1::text::bigint[]) AND m.difference_minor <> 0
ORDER BY p.match_id;

-- name: add_reversal_matches
-- Record the match of each transfer with the one that takes it back, in the run of the match that was taken back.
INSERT INTO matches (account_id, run_id, matched_by, rules_version, explanation, is_automatic, settled_on)
SELECT m.account_id, m.run_id, 'difference-reversed', m.rules_version,
    left('match ' || m.id || ' was taken back: ' || $3, 1000), true, q.settled_on
FROM unnest($1::text::bigint[], $2::text::date[]) WITH ORDINALITY AS q (match_id, settled_on, place)
JOIN matches AS m ON m.id = q.match_id
ORDER BY q.place RETURNING id;
