-- compatible-from: 14
-- What is paid out goes from our account at FROM to TO: our account at the settlement agent is debited and credited in
-- our books only, so its statement has no entry of it, and neither leg is an item to match.
CREATE OR REPLACE VIEW bank_postings AS
SELECT a.id AS account_id, t.group_id, t.posting, t.leg, t.currency, t.at,
    CASE WHEN t.debit_id = a.id THEN t.amount_minor ELSE -t.amount_minor END AS amount_minor,
    CASE WHEN t.posting > 1 THEN r.value_date ELSE s.value_date END AS value_date,
    array_remove(ARRAY[
        upper(t.group_id::text), spelled_reference(t.reference), spelled_reference(r.reference),
        spelled_reference(n.trace)
    ], '') AS our_references,
    coalesce(spelled_reference(n.end_to_end_id), '') AS end_to_end,
    array_remove(ARRAY[
        coalesce(upper(n.uetr::text), ''), coalesce(spelled_reference(s.rail_reference), '')
    ], '') AS rail_references,
    coalesce(spelled_reference(n.message_id), '') AS batch
FROM transfers AS t
JOIN accounts AS a ON a.id IN (t.debit_id, t.credit_id) AND a.kind IN ('nostro', 'settlement')
LEFT JOIN settlement_transactions AS s ON s.id = t.group_id
LEFT JOIN attempts AS n ON n.settlement_id = t.group_id AND n.number = s.attempt
LEFT JOIN returns AS r ON r.settlement_id = t.group_id AND r.posting = t.posting AND t.posting > 1
WHERE NOT (a.kind = 'settlement' AND n.delivery IS NOT DISTINCT FROM 'pay_out');
