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

-- name: unreversed_differences
-- The transfers of differences whose matches were taken back ($2; null: all of them), and that are not reversed: they
-- are open again. Those that give to the account when they are reversed come first.
SELECT p.match_id, t.group_id, t.posting, t.leg, t.debit_id, t.credit_id, t.amount_minor, t.currency, t.reference, t.at
FROM open_postings AS o
JOIN match_postings AS p
    ON p.group_id = o.group_id AND p.posting = o.posting AND p.leg = o.leg AND p.account_id = o.account_id AND p.turn = 1
JOIN unmatches AS u ON u.match_id = p.match_id
JOIN transfers AS t ON t.group_id = o.group_id AND t.posting = o.posting AND t.leg = o.leg
WHERE o.account_id = $1 AND o.leg = 14 AND ($2::text IS NULL OR p.match_id = ANY ($2::text::bigint[]))
    AND NOT EXISTS (
        SELECT FROM transfers AS r WHERE r.group_id = o.group_id AND r.posting = o.posting AND r.leg = 15
    )
ORDER BY t.credit_id = $1 DESC, p.match_id LIMIT $3;

-- name: add_reversal_matches
-- Record the match of each transfer with the one that takes it back, in the run of the match that was taken back.
INSERT INTO matches (account_id, run_id, matched_by, rules_version, explanation, is_automatic, settled_on)
SELECT m.account_id, m.run_id, 'difference-reversed', m.rules_version,
    left('match ' || m.id || ' was taken back: ' || u.reason, 1000), true, q.settled_on
FROM unnest($1::text::bigint[], $2::text::date[]) WITH ORDINALITY AS q (match_id, settled_on, place)
JOIN matches AS m ON m.id = q.match_id
JOIN unmatches AS u ON u.match_id = m.id
ORDER BY q.place RETURNING id;
