-- name: allocate_traces
-- The last of so many numbers that nobody has, all above a number.
INSERT INTO rail_trace_head AS h (id, last) VALUES (1, $1::integer + $2::integer)
ON CONFLICT (id) DO UPDATE SET last = greatest(h.last, $2::integer) + $1::integer
RETURNING last;

-- name: lock_file_items
-- Which payments may go into a file: locked, with the same owner as when they were put into it, and in no other.
-- The rows stay locked until the commit, so nobody takes a payment over while its file is closed.
SELECT
    q.place,
    EXISTS (
        SELECT FROM rail_file_items AS f
        WHERE f.settlement_id = q.settlement_id AND f.attempt = q.attempt
    ) AS is_filed,
    EXISTS (
        SELECT FROM settlement_transactions AS s
        WHERE s.id = q.settlement_id AND s.state = 'locked' AND s.attempt = q.attempt
    ) AS is_locked
FROM (
    SELECT g.place, w.settlement_id, g.attempt
    FROM unnest($1::uuid[], $2::smallint[], $3::bigint[])
        WITH ORDINALITY AS g (settlement_id, attempt, token, place)
    JOIN open_settlements AS w ON w.settlement_id = g.settlement_id AND w.epoch = g.token
    ORDER BY w.settlement_id FOR SHARE OF w
) AS q;

-- name: filed_attempts
-- Those of the attempts that are in a file.
SELECT f.settlement_id, f.attempt FROM rail_file_items AS f
JOIN unnest($1::uuid[], $2::smallint[]) AS g (settlement_id, attempt)
    ON f.settlement_id = g.settlement_id AND f.attempt = g.attempt;

-- name: add_rail_file
-- Store a file; no row when its modifier is used.
INSERT INTO rail_files (rail, sender, created_on, modifier, name, sha256, content)
VALUES ($1, $2, $3, $4, $5, sha256($6), $6) ON CONFLICT DO NOTHING RETURNING id;

-- name: add_rail_file_items
-- Store the items of a file.
INSERT INTO rail_file_items (settlement_id, attempt, file_id, trace)
SELECT g.settlement_id, g.attempt, $1, g.trace
FROM unnest($2::uuid[], $3::smallint[], $4::text[]) AS g (settlement_id, attempt, trace);

-- name: rail_file_modifiers
-- The modifiers that are used on a day.
SELECT modifier FROM rail_files WHERE rail = $1 AND sender = $2 AND created_on = $3;

-- name: unplaced_rail_files
-- The oldest files that are not recorded as placed.
SELECT f.id, f.rail, f.sender, f.created_on, f.modifier, f.name, f.content
FROM rail_files AS f
WHERE f.rail = $1 AND f.sender = $2
    AND NOT EXISTS (SELECT FROM rail_file_placements AS p WHERE p.file_id = f.id)
ORDER BY f.id LIMIT $3;

-- name: note_rail_file_placed
-- Record that a file was placed.
INSERT INTO rail_file_placements (file_id) VALUES ($1) ON CONFLICT DO NOTHING;

-- name: rail_file_items
-- The items of the file with these bytes.
SELECT i.settlement_id, i.attempt, i.trace
FROM rail_files AS f JOIN rail_file_items AS i ON i.file_id = f.id
WHERE f.rail = $1 AND f.sha256 = $2 ORDER BY i.trace;
