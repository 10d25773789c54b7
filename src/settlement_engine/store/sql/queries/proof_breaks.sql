-- Checks of what people have posted to close breaks: rows only where something is wrong.

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
