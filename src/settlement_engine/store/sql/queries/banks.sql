-- name: lock_banks
-- One writer at a time, so that positions are committed in their order; nobody who reads waits.
LOCK TABLE bank_versions IN SHARE ROW EXCLUSIVE MODE;

-- name: bank_version
-- Return a version of a bank's entry; 0 means the present one.
SELECT version, content::text AS content, changed_by, changed_at
FROM bank_versions WHERE code = folded_bank($1) AND $2::integer IN (0, version)
ORDER BY version DESC LIMIT 1;

-- name: bank_stands
-- Return a row if the bank stands in the directory.
SELECT 1 AS stands FROM (
    SELECT is_withdrawn FROM bank_versions WHERE code = folded_bank($1) ORDER BY version DESC LIMIT 1
) AS q WHERE NOT q.is_withdrawn;

-- name: count_banks
-- The number of banks, withdrawn ones included, counted up to a limit.
SELECT count(*) AS banks FROM (SELECT 1 FROM bank_versions WHERE version = 1 LIMIT $1) AS q;

-- name: add_bank_version
-- Append a version.
INSERT INTO bank_versions (code, version, rails, currencies, is_withdrawn, content, changed_by)
VALUES ($1, $2, $3::text[], $4::text[], $5, $6::text::jsonb, $7) RETURNING changed_at;

-- name: list_banks
-- The present versions by code. A null filter does not filter.
SELECT v.version, v.content::text AS content, v.changed_by, v.changed_at
FROM bank_versions AS v
WHERE v.code > $1
    AND NOT EXISTS (
        SELECT 1 FROM bank_versions AS n WHERE n.code = v.code AND n.version = v.version + 1
    )
    AND ($2::text IS NULL OR $2 = ANY (v.currencies))
    AND ($3::text IS NULL OR $3 = ANY (v.rails))
    AND ($4::boolean OR NOT v.is_withdrawn)
ORDER BY v.code LIMIT $5;

-- name: bank_changes
-- The present versions behind a position, in the order in which they were committed, with our accounts, the
-- correspondents through which the bank is paid one after the other, and those through which it is covered, by currency.
SELECT v.id, v.code, v.rails, v.is_withdrawn, (
    SELECT jsonb_object_agg(i ->> 'currency', coalesce(
        nullif(i #>> '{our_account,iban}', ''), i #>> '{our_account,other_id}', ''
    ))::text
    FROM jsonb_array_elements(v.content -> 'instructions') AS i
    WHERE jsonb_typeof(i -> 'our_account') = 'object'
) AS accounts, (
    SELECT jsonb_object_agg(i ->> 'currency', jsonb_build_object(
        'correspondent', i ->> 'correspondent', 'account', i -> 'their_account'
    ))::text
    FROM jsonb_array_elements(v.content -> 'instructions') AS i
    WHERE i ->> 'method' = 'serial' AND jsonb_typeof(i -> 'their_account') = 'object'
) AS routes, (
    SELECT jsonb_object_agg(i ->> 'currency', jsonb_build_object(
        'correspondent', i ->> 'correspondent', 'account', i -> 'their_account'
    ))::text
    FROM jsonb_array_elements(v.content -> 'instructions') AS i
    WHERE i ->> 'method' = 'cover' AND jsonb_typeof(i -> 'their_account') = 'object'
) AS covers
FROM bank_versions AS v
WHERE v.id > $1 AND NOT EXISTS (
    SELECT 1 FROM bank_versions AS n WHERE n.code = v.code AND n.version = v.version + 1
)
ORDER BY v.id LIMIT $2;
