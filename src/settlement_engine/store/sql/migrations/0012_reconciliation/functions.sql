-- The form in which references are compared, as domain/matching/values.py spells them; empty: too short to be one.
CREATE FUNCTION spelled_reference(reference text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
SELECT CASE
    WHEN length(regexp_replace(reference, '\s', '', 'g')) >= 4
    THEN upper(regexp_replace(reference, '\s', '', 'g'))
    ELSE ''
END
$$;

-- The keys of a posting: hashes of its references, each once.
CREATE FUNCTION reference_keys(reference text[]) RETURNS bigint[] LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
SELECT coalesce(array_agg(DISTINCT hashtextextended(q.named, 0)), '{}')
FROM unnest(reference) AS q (named) WHERE q.named <> ''
$$;
