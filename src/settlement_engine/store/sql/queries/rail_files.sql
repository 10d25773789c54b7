-- name: allocate_traces
-- The last of so many numbers that nobody has, all above a number.
INSERT INTO rail_trace_head AS h (id, last) VALUES (1, $1::integer + $2::integer)
ON CONFLICT (id) DO UPDATE SET last = greatest(h.last, $2::integer) + $1::integer
RETURNING last;

-- name: lock_file_items
-- Lock the payments of a file that still have the owner that put them into it. The rows stay locked until the commit,
-- so nobody takes a payment over, or moves it on, while its file is closed.
SELECT g.place
FROM unnest($1::uuid[], $2::bigint[]) WITH ORDINALITY AS g (settlement_id, token, place)
JOIN open_settlements AS w ON w.settlement_id = g.settlement_id AND w.epoch = g.token
ORDER BY w.settlement_id FOR SHARE OF w;

-- name: ready_file_items
-- Those of the attempts that are locked and in no file; asked once their rows are locked, so that it is true.
SELECT s.id AS settlement_id, g.attempt
FROM settlement_transactions AS s
JOIN unnest($1::uuid[], $2::smallint[]) AS g (settlement_id, attempt)
    ON s.id = g.settlement_id AND s.attempt = g.attempt
WHERE s.state = 'locked' AND NOT EXISTS (
    SELECT FROM rail_file_items AS f WHERE f.settlement_id = s.id AND f.attempt = s.attempt
);

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
