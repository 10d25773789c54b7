-- What was open on an account at the end of a day of the past: what is open now, and what was matched since
-- (domain/open_items.py). Each list continues behind a place, and reads no more than a few times what it returns.

-- name: proof_as_of
-- The last proof of an account for a day ($2), as in list_proofs, the first day that is proved now, and whether nothing has
-- changed since. $3: why a day is held back that no statement in force covers.
SELECT a.currency, p.*, (
        SELECT q.booking_date FROM proofs AS q
        WHERE q.account_id = a.id AND q.held_back_by <> $3 AND NOT EXISTS (
            SELECT FROM proofs AS l
            WHERE l.account_id = q.account_id AND l.booking_date = q.booking_date AND l.id > q.id
        )
        ORDER BY q.booking_date LIMIT 1
    ) AS begins,
    p.held_back_by <> $3 AND EXISTS (
        SELECT FROM proved_accounts AS k
        WHERE k.account_id = a.id AND (k.unproved_from IS NULL OR k.unproved_from > $2::date)
    ) AS is_current
FROM accounts AS a
CROSS JOIN LATERAL (
    SELECT $2::date AS booking_date, q.our_closing_minor, q.unmatched_theirs_minor, q.unmatched_ours_minor,
        q.opening_difference_minor, q.difference_minor, q.their_closing_minor, q.unmatched_theirs,
        q.unmatched_ours, q.held_back_by
    FROM proofs AS q
    WHERE q.account_id = a.id AND q.booking_date <= $2
    ORDER BY q.booking_date DESC, q.id DESC LIMIT 1
) AS p
WHERE a.id = $1 AND EXISTS (SELECT FROM proofs AS l WHERE l.account_id = a.id AND l.booking_date >= $2);

-- name: open_entries_as_of
-- Entries that are open now, by the day on which they count. $3 to $5: the place behind which the list continues.
SELECT o.statement_id, o.entry_number, o.booked_on, o.amount_minor, e.currency,
    coalesce(e.value_date, e.booking_date) AS value_date, e.text, e.refs::text AS refs
FROM (
    SELECT k.* FROM open_entries AS k
    WHERE k.account_id = $1 AND k.booked_on <= $2 AND (k.booked_on, k.statement_id, k.entry_number) > ($3, $4, $5)
    ORDER BY k.booked_on, k.statement_id, k.entry_number LIMIT $6
) AS o
JOIN statement_entries AS e ON e.statement_id = o.statement_id AND e.number = o.entry_number
ORDER BY o.booked_on, o.statement_id, o.entry_number;

-- name: open_postings_as_of
-- Our postings that are open now, from the first day of the statements ($3) on, by their days. $4, $5: the place.
SELECT o.id, o.group_id, o.posting, o.leg, o.booked_on, o.amount_minor, o.currency, o.value_date, o.our_references,
    o.end_to_end, o.rail_references, o.batch
FROM open_postings AS o
WHERE o.account_id = $1 AND o.booked_on <= $2 AND o.booked_on >= coalesce($3::date, '-infinity')
    AND (o.booked_on, o.id) > ($4, $5)
ORDER BY o.booked_on, o.id LIMIT $6;

-- name: timing_entries_as_of
-- Entries that were open at the end of the day $2 and were matched since: for each span, the longest first, those whose
-- match counts from a later day on, up to twice the span later. $3 to $7: the place, which is in the span $3.
SELECT t.span, t.settled_on, t.match_id, t.statement_id, t.entry_number, t.booked_on, x.amount_minor, e.currency,
    coalesce(e.value_date, e.booking_date) AS value_date, e.text, e.refs::text AS refs, m.matched_by, m.at AS matched_at
FROM (
    SELECT k.* FROM generate_series($3::integer, 0, -1) AS q (span)
    CROSS JOIN LATERAL (
        SELECT i.* FROM timing_entries AS i
        WHERE i.account_id = $1 AND i.span = q.span AND i.booked_on <= $2::date
            AND i.settled_on <= CASE WHEN q.span < 14 THEN $2::date + (2 << q.span) - 1 ELSE 'infinity' END
            AND (i.settled_on, i.match_id, i.statement_id, i.entry_number) > (
                CASE WHEN q.span = $3 THEN $4::date ELSE $2::date END,
                CASE WHEN q.span = $3 THEN $5::bigint ELSE 9223372036854775807 END, $6::bigint, $7::integer
            )
        ORDER BY i.settled_on, i.match_id, i.statement_id, i.entry_number LIMIT $8
    ) AS k
    ORDER BY k.span DESC, k.settled_on, k.match_id, k.statement_id, k.entry_number LIMIT $8
) AS t
JOIN matches AS m ON m.id = t.match_id
JOIN match_entries AS x
    ON x.statement_id = t.statement_id AND x.entry_number = t.entry_number AND x.match_id = t.match_id
JOIN statement_entries AS e ON e.statement_id = t.statement_id AND e.number = t.entry_number
ORDER BY t.span DESC, t.settled_on, t.match_id, t.statement_id, t.entry_number;

-- name: timing_postings_as_of
-- The same for our postings.
SELECT t.span, t.settled_on, t.match_id, t.group_id, t.posting, t.leg, t.booked_on, x.amount_minor, b.currency,
    coalesce(b.value_date, t.booked_on) AS value_date, b.our_references, b.end_to_end, b.rail_references, b.batch,
    m.matched_by, m.at AS matched_at
FROM (
    SELECT k.* FROM generate_series($3::integer, 0, -1) AS q (span)
    CROSS JOIN LATERAL (
        SELECT i.* FROM timing_postings AS i
        WHERE i.account_id = $1 AND i.span = q.span AND i.booked_on <= $2::date
            AND i.settled_on <= CASE WHEN q.span < 14 THEN $2::date + (2 << q.span) - 1 ELSE 'infinity' END
            AND (i.settled_on, i.match_id, i.group_id, i.posting, i.leg) > (
                CASE WHEN q.span = $3 THEN $4::date ELSE $2::date END,
                CASE WHEN q.span = $3 THEN $5::bigint ELSE 9223372036854775807 END, $6::uuid, $7::smallint,
                $8::smallint
            )
        ORDER BY i.settled_on, i.match_id, i.group_id, i.posting, i.leg LIMIT $9
    ) AS k
    ORDER BY k.span DESC, k.settled_on, k.match_id, k.group_id, k.posting, k.leg LIMIT $9
) AS t
JOIN matches AS m ON m.id = t.match_id
JOIN match_postings AS x
    ON x.group_id = t.group_id AND x.posting = t.posting AND x.leg = t.leg AND x.account_id = t.account_id
    AND x.match_id = t.match_id
JOIN bank_postings AS b
    ON b.group_id = t.group_id AND b.posting = t.posting AND b.leg = t.leg AND b.account_id = t.account_id
ORDER BY t.span DESC, t.settled_on, t.match_id, t.group_id, t.posting, t.leg;
