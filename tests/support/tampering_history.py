"""What is done behind the guards to values that the history has too, and every check that must notice it."""

from __future__ import annotations

from tests.support.tampering import COMPLETED, SENT

RESENT = "(SELECT settlement_id FROM moves WHERE event = 'not_found')"

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
