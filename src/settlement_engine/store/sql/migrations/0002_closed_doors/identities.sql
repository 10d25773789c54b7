-- One person under another spelling is the same person: four eyes belong to two people.

-- What two spellings of a name have in common: percent-encoding undone where nothing hangs on it, no
-- slashes at the end, small letters of ASCII. The same as person_of in domain/identity.py, whatever the
-- database's language is; a test compares the two.
CREATE FUNCTION person_of(name text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $function$
    SELECT lower(rtrim(coalesce(string_agg(
        CASE
            WHEN piece = '%' THEN '%25'
            WHEN code BETWEEN 33 AND 126 AND chr(code) NOT IN ('%', '/', '?', '#') THEN chr(code)
            ELSE piece
        END, '' ORDER BY place
    ), ''), '/') COLLATE "C")
    FROM (
        SELECT
            pieces[1] AS piece, place,
            CASE
                WHEN pieces[1] LIKE '\%__' THEN get_byte(decode(substr(pieces[1], 2), 'hex'), 0)
            END AS code
        FROM regexp_matches(name, '%[0-9A-Fa-f]{2}|%|[^%]+', 'g')
            WITH ORDINALITY AS found (pieces, place)
    ) AS parts
$function$;

-- An approval that one person gave twice and that was not acted on yet is not acted on any more; the
-- settlement may be proposed again. What has ended so stays as it is: history is not rewritten, and a proof
-- (evidence verify) names it. That is why the constraints hold from now on only.
UPDATE resolutions SET finished_at = clock_timestamp(), ending = 'overtaken'
WHERE
    decision = 'approved' AND finished_at IS NULL
    AND person_of(decided_by) = person_of(proposed_by);

-- squawk-ignore ban-drop-constraint
ALTER TABLE resolutions DROP CONSTRAINT approved_by_another;
ALTER TABLE resolutions ADD CONSTRAINT approved_by_another CHECK (
    decision IS DISTINCT FROM 'approved' OR person_of(decided_by) <> person_of(proposed_by)
) NOT VALID;

-- squawk-ignore ban-drop-constraint
ALTER TABLE exceptions DROP CONSTRAINT suspense_needs_four_eyes;
ALTER TABLE exceptions ADD CONSTRAINT suspense_needs_four_eyes CHECK (
    closed_by IS NULL OR kind NOT IN ('disproved', 'uncovered_return')
    OR (acknowledged_by IS NOT NULL AND person_of(acknowledged_by) <> person_of(closed_by))
) NOT VALID;
