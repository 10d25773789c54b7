-- name: bury
-- Keep what could not be taken in.
INSERT INTO dead_letters (subject, payload, why) VALUES ($1, $2, $3);

-- name: dead_letters
-- The latest ones; those alone that wait for a person, if asked to.
SELECT d.id, d.subject, d.payload, d.why, d.received_at FROM dead_letters AS d
WHERE ($2::bigint IS NULL OR d.id < $2) AND (NOT $3::boolean OR NOT EXISTS (
    SELECT 1 FROM dead_letter_acts AS a WHERE a.dead_letter_id = d.id AND a.outcome <> 'refused'
))
ORDER BY d.id DESC LIMIT $1;

-- name: dead_letter
-- One of them.
SELECT id, subject, payload, why, received_at FROM dead_letters WHERE id = $1;

-- name: dead_letter_acts
-- What was done about these, in order; of each the latest so many.
SELECT q.dead_letter_id, q.at, q.who, q.outcome, q.words, q.settlement_id FROM (
    SELECT a.*, row_number() OVER (PARTITION BY a.dead_letter_id ORDER BY a.id DESC) AS place
    FROM dead_letter_acts AS a WHERE a.dead_letter_id = ANY ($1::bigint[])
) AS q WHERE q.place <= $2 ORDER BY q.dead_letter_id, q.id;

-- name: note_letter
-- Write down what was done, unless the letter is at its end; nothing comes back then.
INSERT INTO dead_letter_acts (dead_letter_id, who, outcome, words, settlement_id)
SELECT $1::bigint, $2, $3::text, $4, $5 WHERE NOT EXISTS (
    SELECT 1 FROM dead_letter_acts AS a WHERE a.dead_letter_id = $1 AND a.outcome <> 'refused'
)
ON CONFLICT DO NOTHING RETURNING id;
