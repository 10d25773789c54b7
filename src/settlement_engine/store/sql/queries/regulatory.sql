-- name: lock_regulatory_reports
-- One maker at a time for a template and a date, in every engine.
SELECT pg_advisory_xact_lock(hashtextextended('regulatory report ' || $1::text || ' of ' || $2::date, 0));

-- name: final_settlements
-- The settlements that became final from $1 on and before $2, and what was returned of them before $3, by currency,
-- banks and purpose.
SELECT s.currency, folded_bank(s.from_bank) AS from_bank, folded_bank(s.to_bank) AS to_bank,
    coalesce(p.payment #>> '{payment,purpose}', '') AS purpose, count(*) AS settlements,
    sum(s.amount_minor) AS settled_minor, sum(back.returned) AS returned_minor
FROM moves AS m
JOIN settlement_transactions AS s ON s.id = m.settlement_id
LEFT JOIN payment_details AS p ON p.settlement_id = s.id
CROSS JOIN LATERAL (
    SELECT coalesce(sum(t.amount_minor), 0) AS returned
    FROM transfers AS t WHERE t.group_id = s.id AND t.leg = 4 AND t.at < $3
) AS back
WHERE m.at >= $1 AND m.at < $2 AND m.to_state = 'completed' AND m.from_state <> 'completed'
GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4 LIMIT $4;

-- name: list_regulatory_reports
-- The latest first. A null filter does not filter.
SELECT r.id, r.template, r.template_version, r.template_content, r.day, r.begins, r.ends, r.as_of, r.version,
    r.institution_name, r.institution_bic, r.institution_lei, r.reason, r.rows, length(r.content) AS bytes, r.sha256,
    r.made_by, r.made_at
FROM regulatory_reports AS r
WHERE ($1::text IS NULL OR r.template = $1) AND ($2::date IS NULL OR r.day = $2)
    AND ($3::timestamptz IS NULL OR r.as_of = $3) AND ($4::bigint IS NULL OR r.id < $4)
    AND ($6::bigint IS NULL OR r.id = $6)
ORDER BY r.id DESC LIMIT $5;

-- name: add_regulatory_report
-- Store a report as the next version.
INSERT INTO regulatory_reports (
    template, template_version, template_content, day, begins, ends, as_of, version, institution_name,
    institution_bic, institution_lei, reason, rows, content, sha256, made_by
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, sha256($14), $15);

-- name: regulatory_report_part
-- A part of a report's bytes, from an offset.
SELECT sha256, length(content) AS bytes, substring(content FROM $2 + 1 FOR $3) AS part
FROM regulatory_reports WHERE id = $1;
