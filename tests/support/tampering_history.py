"""What is done behind the guards to values that the history has too, and to what is reconciled, issued and reported."""

from __future__ import annotations

from tests.support.tampering import COMPLETED, SENT

RESENT = "(SELECT settlement_id FROM moves WHERE event = 'not_found')"

LAST_COVER_DUE = "(SELECT max(seq) FROM moves WHERE event = 'cover_due') AND event = 'cover_due'"

TAMPERED_HISTORY: dict[str, tuple[str, set[str]]] = {
    "the rail's reference was rewritten": (
        f"UPDATE settlement_transactions SET rail_reference = 'R-2' WHERE id = {COMPLETED}",
        {"rail_references_follow_moves"},
    ),
    "a reference of the rail was made up": (
        f"UPDATE settlement_transactions SET rail_reference = 'R-2' WHERE id = {SENT}",
        {"rail_references_follow_moves"},
    ),
    "the rail's confirmation was rewritten": (
        f"UPDATE settlement_transactions SET confirmation = 'C-2' WHERE id = {COMPLETED}",
        {"rail_references_follow_moves"},
    ),
    "the rail's confirmation was removed": (
        f"UPDATE settlement_transactions SET confirmation = NULL WHERE id = {COMPLETED}",
        {"rail_references_follow_moves"},
    ),
    "the time of the end was rewritten": (
        (
            "UPDATE settlement_transactions SET ended_at = ended_at - interval '1 us'"
            f" WHERE id = {COMPLETED}"
        ),
        {"ends_follow_moves"},
    ),
    "a sending was made up": (
        f"UPDATE attempts SET sends = sends + 1 WHERE settlement_id = {SENT}",
        {"sends_follow_history"},
    ),
    "a sending was made undone": (
        f"UPDATE attempts SET sends = sends - 1 WHERE settlement_id = {RESENT}",
        {"sends_follow_history"},
    ),
    "a proof of non-delivery was made up": (
        f"UPDATE attempts SET undelivered = 1 WHERE settlement_id = {SENT}",
        {"sends_follow_history"},
    ),
    "the bytes of a cover were rewritten": (
        "UPDATE covers SET content = content || 'x'",
        {"covers_follow_history"},
    ),
    "a cover that was sent is missing": (
        "DELETE FROM cover_results; DELETE FROM covers",
        {"covers_follow_history"},
    ),
    "the hash of a cover's send intent was rewritten": (
        f'UPDATE moves SET detail = detail || \'{{"cover_sha256": "ab"}}\' WHERE seq = {LAST_COVER_DUE}',
        {"covers_follow_history"},
    ),
    "the send intent of a cover names another cover": (
        f'UPDATE moves SET detail = detail || \'{{"cover": "2"}}\' WHERE seq = {LAST_COVER_DUE}',
        {"covers_follow_history"},
    ),
    "a cover was refused before it was sent": (
        "UPDATE cover_results SET at = at - interval '1 hour' WHERE result = 'refused'",
        {"covers_follow_history"},
    ),
    "a cover was repaired that nobody had refused": (
        "DELETE FROM cover_results WHERE result = 'refused'",
        {"covers_follow_history"},
    ),
    "a cover was repaired before it was refused": (
        "UPDATE covers SET recorded_at = recorded_at - interval '1 hour' WHERE number = 2",
        {"covers_follow_history"},
    ),
    "proofs that a cover has not left were made up": (
        (
            "INSERT INTO cover_results SELECT settlement_id, attempt, number, n, 'undelivered', '', '', at"
            " FROM cover_results, generate_series(2, 3) AS n WHERE result = 'refused'"
        ),
        {"covers_follow_history"},
    ),
    "the time of a funding's call was rewritten": (
        "UPDATE idempotent_calls SET at = at - interval '2 minutes' WHERE call = 'fund_account'",
        {"calls_are_dated_as_what_they_did"},
    ),
    "the time of an opening's call was rewritten": (
        (
            "UPDATE idempotent_calls SET at = at + interval '2 minutes'"
            " WHERE content ->> 'kind' = 'vostro'"
        ),
        {"calls_are_dated_as_what_they_did"},
    ),
    "a balance of the past was made up": (
        (
            "INSERT INTO balance_moments SELECT date_bin('15 minutes', now(), '2000-01-01Z') - interval '1 day';"
            "INSERT INTO past_balances SELECT 1, max(at), 5, 5 FROM balance_moments"
        ),
        {"past_balances_follow_transfers"},
    ),
    "a balance of the past is missing": (
        "INSERT INTO balance_moments SELECT date_bin('15 minutes', now(), '2000-01-01Z') + interval '15 minutes'",
        {"past_balances_follow_transfers"},
    ),
}


# --- what is reconciled, issued and reported --------------------------------------------------------

MATCHED = "(SELECT min(match_id) FROM match_entries)"
LAST_ISSUED = "(SELECT max(number) FROM issued_statements)"

SET_ASIDE_BY = """
WITH p AS (
    INSERT INTO statement_proposals (account_id, change, reason, proposed_by, content_sha256, expires_at)
    SELECT min(account_id), 'SET_ASIDE', 'a mistake', 'ada', sha256('x'), now() + interval '1 day'
    FROM matched_statements
    RETURNING id, account_id, content_sha256
), i AS (
    INSERT INTO statement_proposal_statements (proposal_id, statement_id)
    SELECT p.id, m.statement_id FROM p JOIN matched_statements AS m ON m.account_id = p.account_id
    RETURNING statement_id
), d AS (
    INSERT INTO statement_decisions (proposal_id, decision, decided_by, role, signed_sha256)
    SELECT p.id, 'approved', '{}', 'lead', p.content_sha256 FROM p RETURNING id
)
INSERT INTO set_aside_statements (statement_id, account_id, decision_id)
SELECT i.statement_id, p.account_id, d.id FROM i, p, d
"""
"""A statement that was set aside, as far as the guards would have let it."""

TAMPERED_RECONCILED: dict[str, tuple[str, set[str]]] = {
    "a statement was set aside by nobody": (
        "INSERT INTO set_aside_statements SELECT statement_id, account_id, 1 FROM matched_statements",
        {"set_aside_follows_decisions"},
    ),
    "a statement counts that two people have set aside": (
        f"{SET_ASIDE_BY.format('ben')}; DELETE FROM set_aside_statements",
        {"set_aside_follows_decisions", "statement_proposals_have_their_hash"},
    ),
    "a statement was set aside by one person": (
        SET_ASIDE_BY.format("ADA"),
        {"statement_decisions_are_of_two", "statement_proposals_have_their_hash"},
    ),
    "the proofs know of what is set aside and still matched": (
        f"{SET_ASIDE_BY.format('ben')}; UPDATE proved_accounts SET last_decision_id = 1000000",
        {
            "set_aside_statements_do_not_count",
            "statement_proposals_have_their_hash",
        },
    ),
    "the sums of a day were rewritten": (
        "UPDATE reconciliation_days SET theirs_minor = theirs_minor + 1 WHERE theirs > 0",
        {"day_sums_follow_items", "proofs_follow_day_sums"},
    ),
    "a day of sums was removed": (
        "DELETE FROM reconciliation_days WHERE matched_ours > 0",
        {"day_sums_follow_items", "proofs_follow_day_sums"},
    ),
    "a day of sums was made up": (
        "INSERT INTO reconciliation_days (account_id, day, ours, ours_minor) VALUES (1, '2020-01-01', 1, 5)",
        {"day_sums_follow_items", "proofs_follow_day_sums"},
    ),
    "an open posting was removed": (
        "DELETE FROM open_postings",
        {"items_follow_postings", "day_sums_follow_items"},
    ),
    "an open posting was made larger": (
        "UPDATE open_postings SET amount_minor = amount_minor - 1",
        {"items_follow_postings", "day_sums_follow_items"},
    ),
    "a matched posting is open, too": (
        (
            "INSERT INTO open_postings (account_id, group_id, posting, leg, amount_minor, currency, booked_on,"
            " value_date, our_references, end_to_end, rail_references, batch, keys)"
            " SELECT account_id, group_id, posting, leg, amount_minor, 'EUR', booked_on, booked_on, '{}', '', '{}', '',"
            f" '{{}}' FROM match_postings WHERE group_id = {COMPLETED}"
        ),
        {"items_follow_postings", "day_sums_follow_items"},
    ),
    "an open entry was removed": (
        "DELETE FROM open_entries",
        {"items_follow_entries", "day_sums_follow_items"},
    ),
    "an open entry was made larger": (
        "UPDATE open_entries SET amount_minor = amount_minor - 1",
        {"items_follow_entries", "day_sums_follow_items"},
    ),
    "an entry that was never matched was counted": (
        "UPDATE matched_statements SET entries_done = entries_done - 1",
        {"items_follow_entries"},
    ),
    "a match was made of unequal sides": (
        f"UPDATE match_entries SET amount_minor = amount_minor - 1 WHERE match_id = {MATCHED}",
        {
            "items_follow_entries",
            "matches_add_up",
            "day_sums_follow_items",
            "statement_days_follow_items",
        },
    ),
    "a match counts from another day on": (
        f"UPDATE matches SET settled_on = settled_on + 1 WHERE id = {MATCHED}",
        {"matches_add_up", "day_sums_follow_items", "timing_items_follow_matches"},
    ),
    "a match was taken back by nobody": (
        f"INSERT INTO unmatches (match_id, who, reason) VALUES ({MATCHED}, 'nobody', 'none')",
        {
            "items_follow_postings",
            "items_follow_entries",
            "day_sums_follow_items",
            "statement_days_follow_items",
        },
    ),
    "an item that was open is not known any more": (
        "DELETE FROM timing_postings",
        {"timing_items_follow_matches"},
    ),
    "an entry that was open is not known any more": (
        "DELETE FROM timing_entries",
        {"timing_items_follow_matches"},
    ),
    "an item was open for more days": (
        "UPDATE timing_entries SET booked_on = booked_on - 1",
        {"timing_items_follow_matches"},
    ),
    "an item that was open is looked for among others": (
        "UPDATE timing_postings SET span = span + 1",
        {"timing_items_follow_matches"},
    ),
    "a proof was rewritten": (
        (
            "ALTER TABLE proofs DROP CONSTRAINT proof_adds_up;"
            "UPDATE proofs SET their_closing_minor = their_closing_minor + 1"
        ),
        {"proofs_follow_day_sums"},
    ),
    "a proof was removed": ("DELETE FROM proofs", {"proofs_follow_day_sums"}),
    "an open item was hidden from a proof": (
        (
            "UPDATE proofs SET unmatched_theirs = 0, unmatched_theirs_minor = 0,"
            " our_closing_minor = our_closing_minor + unmatched_theirs_minor"
        ),
        {"proofs_follow_day_sums"},
    ),
    "the days of a statement were rewritten": (
        "UPDATE statement_days SET minor = minor + 1 WHERE day = (SELECT min(day) FROM statement_days)",
        {"statement_days_follow_items", "proofs_follow_day_sums"},
    ),
    "an entry counts on another day": (
        "UPDATE open_entries SET booked_on = booked_on - 1",
        {"statement_days_follow_items", "day_sums_follow_items"},
    ),
    "an issued statement was renumbered": (
        f"UPDATE issued_statements SET number = number + 1 WHERE number = {LAST_ISSUED}",
        {"issued_statements_follow_one_another", "issued_files_list_their_transfers"},
    ),
    "an issued statement begins with another balance": (
        (
            "UPDATE issued_statements SET opening_minor = opening_minor + 1, closing_minor = closing_minor + 1"
            f" WHERE number = {LAST_ISSUED}"
        ),
        {
            "issued_statements_follow_one_another",
            "issued_statements_follow_transfers",
            "issued_files_list_their_transfers",
        },
    ),
    "every issued statement has another balance": (
        (
            "UPDATE issued_statements SET opening_minor = opening_minor + 1, closing_minor = closing_minor + 1"
        ),
        {"issued_statements_follow_transfers", "issued_files_list_their_transfers"},
    ),
    "an issued statement was removed": (
        (
            "DELETE FROM issued_statement_files WHERE statement_id = (SELECT min(id) FROM issued_statements);"
            "DELETE FROM issued_statements WHERE number = 1"
        ),
        {"issued_statements_follow_one_another"},
    ),
    "the entries of an issued statement were miscounted": (
        "UPDATE issued_statements SET entries = entries + 1 WHERE number = 1",
        {"issued_statements_follow_transfers"},
    ),
    "the bytes of an issued statement name another amount": (
        (
            "ALTER TABLE issued_statement_files DROP CONSTRAINT issued_statement_files_check;"
            "UPDATE issued_statement_files SET content ="
            " convert_to(replace(convert_from(content, 'UTF8'), '<Amt Ccy=\"EUR\">1.00<',"
            " '<Amt Ccy=\"EUR\">1.01<'), 'UTF8') WHERE format = 'camt.053'"
        ),
        {"issued_files_list_their_transfers"},
    ),
    "the bytes of an issued statement cannot be read": (
        "UPDATE issued_statement_files SET content = 'nothing' WHERE format = 'camt.053'",
        {"issued_files_list_their_transfers"},
    ),
    "a report's version was left out": (
        "UPDATE regulatory_reports SET version = 2, reason = 'late' WHERE version = 1",
        {"regulatory_reports_follow_one_another", "regulatory_reports_are_as_made"},
    ),
    "the bytes of a report were rewritten": (
        (
            "ALTER TABLE regulatory_reports DROP CONSTRAINT regulatory_reports_check3;"
            "UPDATE regulatory_reports SET sha256 = sha256('other')"
        ),
        {"regulatory_reports_are_as_made"},
    ),
    "a report is as of another instant": (
        "UPDATE regulatory_reports SET as_of = as_of + interval '1 s'",
        {"regulatory_reports_are_as_made"},
    ),
    "the template of a report was rewritten": (
        "UPDATE regulatory_reports SET template_content = 'nothing'",
        {"regulatory_reports_are_as_made"},
    ),
}
