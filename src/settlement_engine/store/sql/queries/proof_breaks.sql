-- Checks of what people, and the rules of matching, have posted to close breaks and differences: rows only where something is wrong.

-- name: prove_corrections_are_approved
-- Every transfer that closes a break is what one person has proposed and a second one approved: its amount, between the
-- account and the one of the resolution, of the same bank.
SELECT t.group_id::text || '/' || t.posting || '/' || t.leg AS subject,
    'what two people have approved' AS expected,
    coalesce(format(
        'proposal %s: %s of %s %s on account %s', p.id, p.resolution, p.amount_minor, p.currency, p.account_id
    ), 'none') AS found
FROM transfers AS t
LEFT JOIN break_decisions AS d ON d.transfer_group = t.group_id AND d.decision = 'approved'
LEFT JOIN break_proposals AS p ON p.id = d.proposal_id
LEFT JOIN breaks AS b ON b.id = p.break_id
LEFT JOIN accounts AS a ON a.id = p.account_id
LEFT JOIN accounts AS o ON o.id = CASE WHEN p.amount_minor > 0 THEN t.credit_id ELSE t.debit_id END
WHERE t.leg IN (12, 13) AND (
    p.id IS NULL OR t.posting <> 1
    OR t.leg IS DISTINCT FROM CASE b.kind WHEN 'OPENING_DIFFERENCE' THEN 13 ELSE 12 END
    OR t.amount_minor <> abs(p.amount_minor) OR t.currency <> p.currency
    OR p.account_id <> CASE WHEN p.amount_minor > 0 THEN t.debit_id ELSE t.credit_id END
    OR folded_bank(o.bank) IS DISTINCT FROM folded_bank(a.bank)
    OR o.kind::text || ' ' || o.account_number IS DISTINCT FROM CASE p.resolution
        WHEN 'CHARGES' THEN 'fees control'
        WHEN 'EXCHANGE' THEN 'fx control'
        WHEN 'WRITE_OFF' THEN 'fees write-off'
        WHEN 'SUSPENSE' THEN 'suspense control'
        WHEN 'FUNDING' THEN 'clearing control'
        WHEN 'RETURN' THEN 'suspense to-return'
    END
    OR person_of(d.decided_by) = person_of(p.proposed_by) OR d.signed_sha256 <> p.content_sha256
);

-- name: prove_approvals_are_posted
-- Every approval that posts something has posted it.
SELECT p.id::text AS subject, format('a transfer of %s %s', abs(p.amount_minor), p.currency) AS expected, 'none' AS found
FROM break_decisions AS d JOIN break_proposals AS p ON p.id = d.proposal_id
WHERE d.decision = 'approved' AND p.resolution <> 'EXPLANATION' AND NOT EXISTS (
    SELECT 1 FROM transfers AS t WHERE t.group_id = d.transfer_group AND t.leg IN (12, 13)
);

-- name: prove_differences_are_matched
-- Every transfer of a difference (leg 14) is what the first match that it is in says: its amount, between the account
-- and the named one, of the same bank. It is reversed (leg 15) exactly when that match was taken back; what the account
-- does not cover is open until then, or in a match of people.
SELECT t.group_id::text || '/' || t.posting || '/' || t.leg AS subject, 'the difference of a match' AS expected,
    coalesce(format('match %s: %s to %s', m.id, m.difference_minor, m.difference_account), 'none') AS found
FROM transfers AS t
LEFT JOIN transfers AS d ON d.group_id = t.group_id AND d.posting = t.posting AND d.leg = 14
LEFT JOIN transfers AS r ON r.group_id = t.group_id AND r.posting = t.posting AND r.leg = 15
LEFT JOIN match_postings AS p
    ON p.group_id = d.group_id AND p.posting = d.posting AND p.leg = d.leg AND p.turn = 1
LEFT JOIN matches AS m ON m.id = p.match_id AND m.difference_minor <> 0
LEFT JOIN accounts AS a ON a.id = m.account_id
LEFT JOIN accounts AS o ON o.id = CASE WHEN m.difference_minor > 0 THEN d.credit_id ELSE d.debit_id END
WHERE t.leg IN (14, 15) AND (
    m.id IS NULL OR t.posting <> 1
    OR d.amount_minor <> abs(m.difference_minor)
    OR m.account_id <> CASE WHEN m.difference_minor > 0 THEN d.debit_id ELSE d.credit_id END
    OR folded_bank(o.bank) IS DISTINCT FROM folded_bank(a.bank)
    OR o.kind::text || ' ' || o.account_number IS DISTINCT FROM m.difference_account
    OR (
        (r.group_id IS NOT NULL) IS DISTINCT FROM EXISTS (SELECT 1 FROM unmatches AS u WHERE u.match_id = m.id)
        AND (r.group_id IS NOT NULL OR NOT EXISTS (
            SELECT 1 FROM open_postings AS w
            WHERE w.account_id = m.account_id AND w.group_id = d.group_id AND w.posting = d.posting AND w.leg = 14
        ) AND NOT EXISTS (
            SELECT 1 FROM match_postings AS w JOIN matches AS x ON x.id = w.match_id AND NOT x.is_automatic
            WHERE w.account_id = m.account_id AND w.group_id = d.group_id AND w.posting = d.posting AND w.leg = 14
                AND NOT EXISTS (SELECT 1 FROM unmatches AS u WHERE u.match_id = x.id)
        ))
    )
    OR r.group_id IS NOT NULL AND (r.debit_id, r.credit_id, r.amount_minor, r.currency)
        IS DISTINCT FROM (d.credit_id, d.debit_id, d.amount_minor, d.currency)
);

-- name: prove_differences_are_posted
-- Every match with a difference has posted it.
SELECT m.id::text AS subject, format('a transfer of %s', abs(m.difference_minor)) AS expected, 'none' AS found
FROM matches AS m
WHERE m.difference_minor <> 0 AND NOT EXISTS (
    SELECT 1 FROM match_postings AS p WHERE p.match_id = m.id AND p.leg = 14
);

-- name: audit_break_proposals
-- Every proposal about a break with the fingerprint that its approval signs.
SELECT p.id, p.break_id, p.resolution, p.account_id, p.currency, p.amount_minor, p.reason, p.evidence_name,
    octet_length(p.evidence) AS evidence_bytes, p.evidence_sha256, p.proposed_by, p.content_sha256, p.proposed_at,
    p.expires_at, clock_timestamp() AS seen_at, NULL::text AS decision, NULL::text AS decided_by,
    NULL::timestamptz AS decided_at, NULL::text AS role, NULL::bigint AS match_id, NULL::uuid AS transfer_group, (
        SELECT coalesce(json_agg(json_build_array(n.side, n.item, n.amount_minor) ORDER BY n.side, n.item), '[]')::text
        FROM break_proposal_items AS n WHERE n.proposal_id = p.id
    ) AS items
FROM break_proposals AS p ORDER BY p.id;
