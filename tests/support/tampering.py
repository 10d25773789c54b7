"""Changes made behind the guards, and the checks that must detect each."""

from __future__ import annotations

COMPLETED = "(SELECT id FROM settlement_transactions WHERE state = 'completed')"
SENT = "(SELECT id FROM settlement_transactions WHERE state = 'sent')"
NOSTRO = "(SELECT min(id) FROM accounts WHERE kind = 'nostro')"

TAMPERED: dict[str, tuple[str, set[str]]] = {
    "a payment became a compensation in the same direction": (
        f"UPDATE settlement_transactions SET compensates = {COMPLETED} WHERE id = {SENT}",
        {
            "compensations_are_released",
            "compensations_pay_back",
            "instructions_are_as_received",
        },
    ),
    "a payment became a compensation of nothing": (
        f"UPDATE settlement_transactions SET compensates = gen_random_uuid() WHERE id = {SENT}",
        {
            "compensations_are_released",
            "compensations_pay_back",
            "instructions_are_as_received",
        },
    ),
    "a payment became a compensation of more than was settled": (
        (
            f"UPDATE settlement_transactions SET compensates = {COMPLETED}, from_bank = to_bank,"
            f" to_bank = from_bank, amount_minor = amount_minor + 1 WHERE id = {SENT}"
        ),
        {
            "compensations_are_covered",
            "compensations_are_released",
            "instructions_are_as_received",
            "locks_follow_histories",
            "no_more_comes_back",
            "routes_name_their_accounts",
        },
    ),
    "charges were billed that nobody bears": (
        (
            f"INSERT INTO transfers SELECT s.id, 16, a.id, {NOSTRO}, 1, 'EUR', '', now()"
            f" FROM settlement_transactions AS s, accounts AS a WHERE s.id = {COMPLETED}"
            " AND a.kind = 'clearing'"
        ),
        {"balances", "charges_are_billed_as_borne", "postings_follow_histories"},
    ),
    "a balance was raised": (
        f"UPDATE accounts SET debits_posted = debits_posted + 1 WHERE id = {NOSTRO}",
        {"balances", "conservation"},
    ),
    "two balances were raised together": (
        "UPDATE accounts SET debits_posted = debits_posted + 1, credits_posted = credits_posted + 1",
        {"balances"},
    ),
    "a transfer was removed": (
        "DELETE FROM transfers WHERE leg = 1",
        {"balances", "postings_follow_histories"},
    ),
    "a transfer was made larger": (
        "UPDATE transfers SET amount_minor = amount_minor + 1 WHERE leg = 2",
        {"balances", "postings_follow_histories"},
    ),
    "a settlement's money went to another account, and the balances with it": (
        (
            f"UPDATE transfers SET credit_id = {NOSTRO} WHERE leg = 2;"
            f"UPDATE accounts SET credits_posted = credits_posted + 100 WHERE id = {NOSTRO};"
            "UPDATE accounts SET credits_posted = 0 WHERE kind = 'vostro'"
        ),
        {"postings_follow_histories"},
    ),
    "a completed settlement was posted with a third transfer": (
        (
            f"INSERT INTO transfers SELECT s.id, 3, {NOSTRO}, a.id, 1, 'EUR', '', now()"
            f" FROM settlement_transactions AS s, accounts AS a WHERE s.id = {COMPLETED}"
            " AND a.kind = 'clearing'"
        ),
        {"balances", "fundings_have_calls", "postings_follow_histories"},
    ),
    "a return was made up": (
        (
            "INSERT INTO returns SELECT s.id, 1, 1, 0, s.amount_minor - 1, 'R', NULL, now()"
            f" FROM settlement_transactions AS s WHERE s.id = {COMPLETED}"
        ),
        {"postings_follow_histories", "returns_follow_histories"},
    ),
    "an open settlement was posted": (
        f"UPDATE transfers SET group_id = {SENT} WHERE group_id = {COMPLETED}",
        {"postings_follow_histories"},
    ),
    "a transfer lost its account": (
        "UPDATE transfers SET debit_id = 999 WHERE leg = 3",
        {"balances", "calls_have_fundings", "fundings_have_calls", "transfers_have_accounts"},
    ),
    "a transfer changed its currency": (
        "UPDATE transfers SET currency = 'USD' WHERE leg = 3",
        {"calls_have_fundings", "fundings_have_calls", "transfers_have_accounts"},
    ),
    "a hold was forgotten on the account": (
        f"UPDATE accounts SET held = 0 WHERE id = {NOSTRO}",
        {"held"},
    ),
    "a hold was made smaller": (
        f"UPDATE fund_locks SET amount_minor = amount_minor - 1 WHERE settlement_id = {SENT}",
        {"held", "locks_follow_histories"},
    ),
    "a hold was released while the rail may have the payment": (
        (
            f"UPDATE fund_locks SET outcome = 'released', resolved_at = now()"
            f" WHERE settlement_id = {SENT};"
            f"UPDATE accounts SET held = 0 WHERE id = {NOSTRO}"
        ),
        {"locks_follow_histories"},
    ),
    "a hold was removed": (
        f"DELETE FROM fund_locks WHERE settlement_id = {SENT}",
        {"held", "locks_follow_histories"},
    ),
    "a hold stands for nobody": (
        (
            "INSERT INTO fund_locks SELECT gen_random_uuid(), account_id, amount_minor, currency,"
            f" locked_at, now(), 'released' FROM fund_locks WHERE settlement_id = {SENT}"
        ),
        {"locks_have_histories"},
    ),
    "a hold is on an account that does not exist": (
        f"UPDATE fund_locks SET account_id = 999 WHERE settlement_id = {COMPLETED}",
        {"locks_have_accounts"},
    ),
    "a hold is on the account of another bank": (
        (
            "UPDATE fund_locks SET account_id = (SELECT id FROM accounts WHERE kind = 'vostro')"
            f" WHERE settlement_id = {COMPLETED}"
        ),
        {"locks_have_accounts"},
    ),
    "a hold is in another currency": (
        f"UPDATE fund_locks SET currency = 'USD' WHERE settlement_id = {SENT}",
        {"locks_have_accounts"},
    ),
    "an account is below its limit": (
        f"UPDATE accounts SET credits_posted = 10 ^ 10 WHERE id = {NOSTRO}",
        {"balances", "conservation", "no_overdraft"},
    ),
    "a vostro account is below its limit": (
        "UPDATE accounts SET debits_posted = 10 ^ 10 WHERE kind = 'vostro'",
        {"balances", "conservation", "no_overdraft"},
    ),
    "an attempt was removed": (
        f"DELETE FROM attempts WHERE settlement_id = {SENT}",
        {"attempts_follow_histories", "attempts_follow_moves"},
    ),
    "an attempt names another account": (
        f"UPDATE attempts SET source_id = target_id WHERE settlement_id = {COMPLETED}",
        {
            "locks_have_accounts",
            "postings_follow_histories",
            "routes_are_as_locked",
            "routes_name_their_accounts",
        },
    ),
    "an attempt is delivered in another way": (
        f"UPDATE attempts SET delivery = 'pay_out' WHERE settlement_id = {COMPLETED}",
        {"deliveries_are_as_locked", "postings_follow_histories"},
    ),
    "payment details were added afterwards": (
        (
            "INSERT INTO payment_details (settlement_id, payment)"
            f""" VALUES ({SENT}, '{{"version": 1, "payment": {{"purpose": "TRAD"}}}}')"""
        ),
        {"deliveries_are_as_locked", "instructions_are_as_received"},
    ),
    "payment details that nobody can read were added": (
        f"INSERT INTO payment_details (settlement_id, payment) VALUES ({SENT}, '[]')",
        {"deliveries_are_as_locked", "instructions_are_as_received"},
    ),
    "a rail was named afterwards": (
        f"INSERT INTO payment_details (settlement_id, rail) VALUES ({SENT}, 'other')",
        {"instructions_are_as_received"},
    ),
    "payment details stand for nobody": (
        "INSERT INTO payment_details (settlement_id, rail) VALUES (gen_random_uuid(), 'other')",
        {"payment_details_have_settlements"},
    ),
    "a move was removed from the middle": (
        f"DELETE FROM moves WHERE settlement_id = {SENT} AND seq = 2",
        {"attempts_follow_moves", "histories_are_whole", "stream_is_whole"},
    ),
    "the last move was removed": (
        "DELETE FROM moves WHERE position = (SELECT max(position) FROM moves)",
        {"histories_are_whole", "stream_is_whole"},
    ),
    "a move was rewritten": (
        (
            f"UPDATE moves SET event = 'refused', to_state = 'failed'"
            f" WHERE settlement_id = {SENT} AND from_state = 'validating'"
        ),
        {"attempts_follow_moves", "ends_follow_moves", "histories_are_whole"},
    ),
    "moves were numbered anew": (
        f"UPDATE moves SET seq = seq + 1 WHERE settlement_id = {SENT} AND seq = 3",
        {"histories_are_whole"},
    ),
    "a state was changed without a move": (
        f"UPDATE settlement_transactions SET state = 'in_doubt' WHERE id = {SENT}",
        {"histories_are_whole"},
    ),
    "a settlement was removed": (
        f"DELETE FROM settlement_transactions WHERE id = {SENT}",
        {
            "attempts_have_settlements",
            "locks_have_histories",
            "moves_have_settlements",
            "open_are_open",
        },
    ),
    "an open settlement was forgotten": (
        "DELETE FROM open_settlements",
        {"open_are_open"},
    ),
    "an ended settlement was opened again": (
        f"INSERT INTO open_settlements VALUES ({COMPLETED}, 0, 1, 0, now())",
        {"open_are_open"},
    ),
    "the head of the stream was set back": (
        "UPDATE stream_head SET position = position - 1",
        {"stream_is_whole"},
    ),
    "a position was left out": (
        (
            "UPDATE moves SET position = position + 1"
            " WHERE position = (SELECT max(position) FROM moves)"
        ),
        {"stream_is_whole"},
    ),
}

AGENT = "(SELECT min(id) FROM accounts WHERE kind = 'settlement')"
CLEARING = "(SELECT min(id) FROM accounts WHERE kind = 'clearing')"
VOSTRO = "(SELECT min(id) FROM accounts WHERE kind = 'vostro')"


def booked(leg: int, debit: str, credit: str, group: str = "gen_random_uuid()") -> str:
    """Post a transfer of 5 minor units behind the guards, including the balances."""
    return (
        f"INSERT INTO transfers SELECT {group}, {leg}, {debit}, {credit}, 5, 'EUR', 'ghost', now();"
        f"UPDATE accounts SET debits_posted = debits_posted + 5 WHERE id = {debit};"
        f"UPDATE accounts SET credits_posted = credits_posted + 5 WHERE id = {credit};"
    )


A_PROPOSAL = (
    "WITH r AS (INSERT INTO reconciliation_runs (id, started_for, who, rules_version)"
    " VALUES (gen_random_uuid(), 'demand', 'ada', '1') RETURNING id), b AS ("
    "INSERT INTO breaks (account_id, kind, severity, amount_minor, currency, business_date, reason,"
    f" run_id, fingerprint) SELECT {NOSTRO}, 'MISSING_OURS', 1, 5, 'EUR', current_date, '', r.id,"
    " sha256('x') FROM r RETURNING id)"
    " INSERT INTO break_proposals (break_id, resolution, account_id, currency, amount_minor, reason,"
    " evidence_name, evidence, evidence_sha256, proposed_by, content_sha256, expires_at)"
    f" SELECT b.id, 'SUSPENSE', {NOSTRO}, 'EUR', 5, 'because', '', '', sha256(''), 'ada',"
    " sha256('y'), now() + interval '1 day' FROM b"
)
GHOST = "'00000000-0000-4000-8000-00000000dead'::uuid"
FUNDING = "idempotent_calls WHERE call = 'fund_account'"
AS_RECEIVED = {"instructions_are_as_received"}
ROUTES = {"routes_are_as_locked", "routes_name_their_accounts"}

TAMPERED |= {
    "a pair of transfers was made up": (
        booked(1, AGENT, NOSTRO, GHOST) + booked(2, CLEARING, VOSTRO, GHOST),
        {"transfers_have_settlements"},
    ),
    "a cash leg was made up": (booked(1, AGENT, NOSTRO), {"transfers_have_settlements"}),
    "a transfer lost the account that it credits": (
        "UPDATE transfers SET credit_id = 999 WHERE leg = 3",
        {"balances", "transfers_have_accounts"},
    ),
    "a funding was made up": (booked(3, NOSTRO, CLEARING), {"fundings_have_calls"}),
    "a correction was made up": (
        booked(12, NOSTRO, CLEARING),
        {"corrections_are_approved"},
    ),
    "what closes an opening difference was made up": (
        booked(13, CLEARING, NOSTRO),
        {"corrections_are_approved"},
    ),
    "a difference was made up": (booked(14, CLEARING, NOSTRO), {"differences_are_matched"}),
    "the reversal of a difference was made up": (
        booked(15, NOSTRO, CLEARING),
        {"differences_are_matched"},
    ),
    "a match says a difference that nothing was posted for": (
        (
            "WITH r AS (INSERT INTO reconciliation_runs (id, started_for, who, rules_version)"
            " VALUES (gen_random_uuid(), 'demand', 'ada', '1') RETURNING id)"
            " INSERT INTO matches (account_id, run_id, matched_by, rules_version, explanation,"
            " difference_minor, difference_account, is_automatic, settled_on)"
            f" SELECT {NOSTRO}, r.id, 'tolerance', '1', '', 1, 'fx rounding', true, current_date FROM r"
        ),
        {"differences_are_posted", "matches_add_up"},
    ),
    "a proposal about a break was made up": (A_PROPOSAL, {"break_proposals_have_their_hash"}),
    "an approval was made up": (
        (
            f"{A_PROPOSAL};"
            "INSERT INTO break_decisions SELECT id, 'approved', 'ben', 'lead', content_sha256, NULL,"
            " gen_random_uuid() FROM break_proposals"
        ),
        {"approvals_are_posted", "break_proposals_have_their_hash"},
    ),
    "a notice was lost": (
        "UPDATE notice_head SET position = position + 1",
        {"notices_are_whole"},
    ),
    "a recall was written down without a notice": (
        (
            "INSERT INTO recall_steps (settlement_id, seq, event, state, detail)"
            f" VALUES ({SENT}, 1, 'requested', 'requested', '{{}}')"
        ),
        {"facts_have_notices"},
    ),
    "a funding went to another bank": (
        (
            f"UPDATE transfers SET credit_id = {VOSTRO} WHERE leg = 3;"
            f"UPDATE accounts SET credits_posted = credits_posted + 10 ^ 9 WHERE id = {VOSTRO};"
            f"UPDATE accounts SET credits_posted = credits_posted - 10 ^ 9 WHERE id = {CLEARING}"
        ),
        {"fundings_go_to_clearing"},
    ),
    "the call of a funding was removed": (f"DELETE FROM {FUNDING}", {"fundings_have_calls"}),
    "the call of an opening was removed": (
        "DELETE FROM idempotent_calls WHERE content ->> 'kind' = 'nostro'",
        {"accounts_have_calls"},
    ),
    "a call was made up": (
        (
            "INSERT INTO idempotent_calls SELECT gen_random_uuid(), caller, idempotency_key, call,"
            f" content, account_id, at FROM {FUNDING}"
        ),
        {"calls_have_fundings", "calls_have_their_hash"},
    ),
    "the key of a call was rewritten": (
        "UPDATE idempotent_calls SET idempotency_key = 'another' WHERE call = 'fund_account'",
        {"calls_have_their_hash"},
    ),
    "the caller of a call was rewritten": (
        "UPDATE idempotent_calls SET caller = 'another' WHERE call = 'fund_account'",
        {"calls_have_their_hash"},
    ),
    "the hash of a call was rewritten": (
        "UPDATE idempotent_calls SET key_hash = gen_random_uuid() WHERE call = 'fund_account'",
        {"calls_have_their_hash"},
    ),
    "the amount of a call was rewritten": (
        (
            """UPDATE idempotent_calls SET content = content || '{"amount": "1.00"}'"""
            " WHERE call = 'fund_account'"
        ),
        {"calls_have_fundings", "fundings_have_calls"},
    ),
    "the amount of a call is none": (
        (
            """UPDATE idempotent_calls SET content = content || '{"amount": "1e9"}'"""
            " WHERE call = 'fund_account'"
        ),
        {"calls_have_fundings", "fundings_have_calls"},
    ),
    "the bank of a call was rewritten": (
        (
            """UPDATE idempotent_calls SET content = content || '{"bank": "OTHER"}'"""
            " WHERE call = 'fund_account'"
        ),
        {"calls_have_accounts"},
    ),
    "the number of an opened account was rewritten": (
        f"UPDATE accounts SET account_number = 'another' WHERE id = {NOSTRO}",
        {"calls_have_accounts"},
    ),
    "an account became another bank's": (
        f"UPDATE accounts SET bank = 'OTHER' WHERE id = {VOSTRO}",
        {"calls_have_accounts", "routes_name_their_accounts"},
    ),
    "the paying bank was rewritten": (
        f"UPDATE settlement_transactions SET from_bank = 'OTHER' WHERE id = {COMPLETED}",
        AS_RECEIVED | {"routes_name_their_accounts"},
    ),
    "the receiving bank was rewritten": (
        f"UPDATE settlement_transactions SET to_bank = 'OTHER' WHERE id = {SENT}",
        AS_RECEIVED | {"routes_name_their_accounts"},
    ),
    "the amount was rewritten": (
        f"UPDATE settlement_transactions SET amount_minor = amount_minor + 1 WHERE id = {SENT}",
        AS_RECEIVED | {"locks_follow_histories"},
    ),
    "the currency was rewritten": (
        f"UPDATE settlement_transactions SET currency = 'USD' WHERE id = {SENT}",
        AS_RECEIVED | {"routes_name_their_accounts"},
    ),
    "the obligation was rewritten": (
        f"UPDATE settlement_transactions SET obligation_id = 'another' WHERE id = {SENT}",
        AS_RECEIVED,
    ),
    "the priority was rewritten": (
        f"UPDATE settlement_transactions SET priority = 2 WHERE id = {SENT}",
        AS_RECEIVED,
    ),
    "the metadata were rewritten": (
        f"""UPDATE settlement_transactions SET metadata = '{{"a": "b"}}' WHERE id = {SENT}""",
        AS_RECEIVED,
    ),
    "the date that was asked for was rewritten": (
        f"UPDATE settlement_transactions SET requested_value_date = '2020-01-01' WHERE id = {SENT}",
        AS_RECEIVED | {"settlements_begin_as_admitted"},
    ),
    "the value date was rewritten": (
        f"UPDATE settlement_transactions SET value_date = '2020-01-01' WHERE id = {SENT}",
        {"settlements_begin_as_admitted"},
    ),
    "the time of its beginning was rewritten": (
        f"UPDATE settlement_transactions SET created_at = '2020-01-01' WHERE id = {SENT}",
        {"settlements_begin_as_admitted"},
    ),
    "the fingerprint was rewritten": (
        f"UPDATE settlement_transactions SET content_hash = '\\x00' WHERE id = {SENT}",
        AS_RECEIVED,
    ),
    "the key was rewritten": (
        f"UPDATE settlement_transactions SET idempotency_key = 'another' WHERE id = {SENT}",
        {"keys_have_their_hash", "references_follow_from_keys"},
    ),
    "the caller was rewritten": (
        f"UPDATE settlement_transactions SET caller = 'another' WHERE id = {SENT}",
        {"keys_have_their_hash", "references_follow_from_keys"},
    ),
    "the hash of the key was rewritten": (
        f"UPDATE settlement_transactions SET key_hash = gen_random_uuid() WHERE id = {SENT}",
        {"keys_have_their_hash"},
    ),
    "the bytes were rewritten": (
        f"UPDATE attempts SET payload = payload || '\\x00' WHERE settlement_id = {SENT}",
        {"payloads_are_as_locked"},
    ),
    "the hash of the bytes was rewritten": (
        (
            """UPDATE moves SET detail = detail || '{"payload_sha256": "00"}'"""
            f" WHERE settlement_id = {SENT} AND to_state = 'locked'"
        ),
        {"payloads_are_as_locked"},
    ),
    "the account that is credited was rewritten": (
        f"UPDATE attempts SET target_id = clearing_id WHERE settlement_id = {SENT}",
        ROUTES,
    ),
    "the agent's account was rewritten": (
        f"UPDATE attempts SET agent_id = source_id WHERE settlement_id = {SENT}",
        ROUTES,
    ),
    "the clearing account was rewritten": (
        f"UPDATE attempts SET clearing_id = 999 WHERE settlement_id = {SENT}",
        ROUTES,
    ),
    "the rail was rewritten": (
        f"UPDATE attempts SET rail = 'another' WHERE settlement_id = {SENT}",
        ROUTES,
    ),
    "the validity was rewritten": (
        f"UPDATE attempts SET valid_until = valid_until + interval '1 us' WHERE settlement_id = {SENT}",
        {"routes_are_as_locked"},
    ),
    "the UETR was rewritten": (
        f"UPDATE attempts SET uetr = gen_random_uuid() WHERE settlement_id = {SENT}",
        {"references_follow_from_keys"},
    ),
    "the end-to-end reference was rewritten": (
        f"UPDATE attempts SET end_to_end_id = 'E2' WHERE settlement_id = {SENT}",
        {"references_follow_from_keys"},
    ),
    "the message's name was rewritten": (
        f"UPDATE attempts SET message_id = 'M2' WHERE settlement_id = {SENT}",
        {"references_follow_from_keys"},
    ),
    "a trace was made up": (
        f"UPDATE attempts SET trace = '091000010000001' WHERE settlement_id = {SENT}",
        {"traces_are_as_locked"},
    ),
    "the trace of a send intent was made up": (
        (
            """UPDATE moves SET detail = detail || '{"trace": "091000010000001"}'"""
            f" WHERE settlement_id = {SENT} AND to_state = 'locked'"
        ),
        {"traces_are_as_locked"},
    ),
    "the time of an attempt was rewritten": (
        f"UPDATE attempts SET recorded_at = now() WHERE settlement_id = {SENT}",
        {"attempts_follow_moves"},
    ),
    "a second attempt was made up": (
        (
            "INSERT INTO attempts SELECT settlement_id, 2, rail, source_id, agent_id, clearing_id,"
            " target_id, uetr, end_to_end_id, message_id, payload, valid_until, 1, 0, recorded_at"
            f" FROM attempts WHERE settlement_id = {SENT}"
        ),
        {"attempts_follow_moves", "attempts_have_settlements", "references_follow_from_keys"},
    ),
    "a second attempt took the place of the first": (
        (
            f"UPDATE attempts SET number = 2 WHERE settlement_id = {SENT};"
            f"UPDATE settlement_transactions SET attempt = 2 WHERE id = {SENT}"
        ),
        {"attempts_follow_moves", "references_follow_from_keys"},
    ),
    "a second lock was made up": (
        (
            "ALTER TABLE fund_locks DROP CONSTRAINT fund_locks_pkey;"
            "INSERT INTO fund_locks SELECT settlement_id, account_id, amount_minor, currency,"
            f" locked_at, resolved_at, outcome FROM fund_locks WHERE settlement_id = {SENT};"
            f"UPDATE accounts SET held = held + 100 WHERE id = {NOSTRO}"
        ),
        {"locks_are_single"},
    ),
    "the move of a second lock was made up": (
        (
            "INSERT INTO moves SELECT position + 1, settlement_id, seq + 1, 'validating', 'cleared',"
            " 'locked', at, epoch, attempt, detail FROM moves ORDER BY position DESC LIMIT 1;"
            "UPDATE stream_head SET position = position + 1"
        ),
        {"attempts_follow_moves", "histories_are_whole"},
    ),
}
