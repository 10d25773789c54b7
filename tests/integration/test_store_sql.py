"""The SQL itself: types, guards, constraints and views, on a real server."""

from __future__ import annotations

import gc
import uuid
from decimal import Decimal
from hashlib import sha256
from typing import TYPE_CHECKING

import asyncpg
import pytest
import pytest_asyncio

from settlement_engine.domain.deadletters import DeadLetterAct, DeadLetterOutcome
from settlement_engine.domain.ledger import AccountKind
from settlement_engine.domain.lifecycle import TRANSITIONS, Event, State
from settlement_engine.domain.money import Money, currencies
from settlement_engine.ports import CoverResult
from settlement_engine.store import state_machine
from settlement_engine.store.audit import checks
from settlement_engine.store.database import DatabaseSettings, connect
from settlement_engine.store.queries import queries
from settlement_engine.store.safety import check_safety
from tests.support.histories import Scene, funding, spec
from tests.support.made_covers import new_cover
from tests.support.stores import PostgresStores

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.databases import Databases

pytestmark = pytest.mark.asyncio(loop_scope="module")

ACCOUNT = (
    "id int8, kind text, bank text, currency text, account_number text, debits_posted numeric,"
    " credits_posted numeric, held numeric, credit_limit int8, is_active bool"
)
MOVE = (
    "position int8, settlement_id uuid, seq int4, from_state text, event text, to_state text,"
    " at timestamptz, detail text"
)
FACTS = (
    "id uuid, obligation_id text, from_bank text, to_bank text, amount_minor int8, currency text,"
    " value_date date, priority int2, compensates uuid, delivery text"
)
SETTLEMENT = (
    "id uuid, key_hash uuid, content_hash bytea, caller text, idempotency_key text, obligation_id text, from_bank text, to_bank text,"
    " amount_minor int8, currency text, requested_value_date date, value_date date, priority int2,"
    " metadata text, state text, seq int4, is_frozen bool, attestation text, refusal_code text, refusal_detail text,"
    " rail_reference text, confirmation text, created_at timestamptz, ended_at timestamptz,"
    " epoch int8, asked int4, due_at timestamptz, number int2, rail text, source_id int8,"
    " agent_id int8, clearing_id int8, target_id int8, uetr uuid, end_to_end_id text,"
    " message_id text, trace text, payload bytea, recorded_at timestamptz, valid_until timestamptz, sends int4,"
    " undelivered int4, delivery text, payment text, requested_rail text, requested_delivery text,"
    " compensates uuid, intent text, returns text, compensations text"
)
LISTED = ("text[] text text text uuid uuid timestamptz timestamptz int8", "id uuid")
TRANSFER = (
    "group_id uuid, posting int2, leg int2, debit_id int8, credit_id int8, amount_minor int8, currency text,"
    " reference text, at timestamptz"
)
DIFFERENCE = "subject text, expected text, found text"

LETTER = (
    "id int8, subject text, payload bytea, kept_bytes int4, why text, received_at timestamptz,"
    " payload_bytes int8,"
    " payload_hash bytea, stream text, stream_sequence int8, stored_at timestamptz"
)

CASE = (
    "id int8, kind text, settlement_id uuid, detail text, opened_at timestamptz,"
    " acknowledged_at timestamptz, acknowledged_by text, closed_at timestamptz, closed_by text,"
    " close_reason text, seen_at timestamptz"
)
PROPOSAL = (
    "id int8, settlement_id uuid, finding text, reason text, evidence_name text,"
    " evidence_bytes int4, evidence_sha256 bytea, content_sha256 bytea, proposed_by text,"
    " proposed_at timestamptz, state text, sends int4, expires_at timestamptz, decision text,"
    " decided_by text, decided_at timestamptz, finished_at timestamptz, ending text,"
    " seen_at timestamptz"
)

BANK_VERSION = "version int4, content text, changed_by text, changed_at timestamptz"
RAIL_FILE = (
    "id int8, rail text, sender text, created_on date, modifier text, name text, content bytea"
)
RECALL_STEP = "settlement_id uuid, seq int2, event text, state text, detail text, at timestamptz"
BREAKER_ORDER = "id int8, rail text, bank text, action text, who text, reason text, at timestamptz"
STATEMENT = (
    "id int8, file_sha256 bytea, file_name text, place text, outcome text, reason text,"
    " account_id int8, source text, identifier text, servicer text, currency text,"
    " bank_statement_id text, sequence int8, page int8, created text, begins date, ends date,"
    " opening_minor int8, closing_minor int8, entries int4, imported_by text,"
    " imported_at timestamptz, is_set_aside bool"
)
STATEMENT_PROPOSAL = (
    "id int8, account_id int8, change text, reason text, proposed_by text, content_sha256 bytea,"
    " proposed_at timestamptz, expires_at timestamptz, seen_at timestamptz, decision text, decided_by text,"
    " decided_at timestamptz, role text, statement_ids int8[]"
)
ISSUED = (
    "id int8, account_id int8, kind text, bank text, currency text, account_number text, number int4, day date,"
    " begins timestamptz, ends timestamptz, opening_minor numeric, closing_minor numeric, credits_minor numeric,"
    " debits_minor numeric, entries int4, previous_day date, issued_by text, issued_at timestamptz"
)
BOOKING = (
    "group_id uuid, posting int2, leg int2, is_credit bool, amount_minor int8, reference text, value_date date,"
    " from_bank text, to_bank text, obligation_id text, end_to_end_id text, uetr text"
)
REPORTED = (
    "id uuid, obligation_id text, from_bank text, to_bank text, currency text, amount_minor int8, state text,"
    " value_date date, created_at timestamptz, ended_at timestamptz, rail text, delivery text, uetr text,"
    " end_to_end_id text, purpose text, settled_minor numeric, returned_minor numeric, charges_minor numeric"
)
KEPT_HEAD = (
    "id int8, content_hash bytea, source text, bank_statement_id text, sequence int8, page int8, is_last_page bool,"
    " created text, begins date, ends date, opening_minor int8, opening_is_final bool, closing_minor int8,"
    " closing_is_final bool, booked_minor numeric, totals_differ bool, is_set_aside bool"
)
REGULATORY = (
    "id int8, template text, template_version int4, template_content text, day date, begins timestamptz,"
    " ends timestamptz, as_of timestamptz, version int4, institution_name text, institution_bic text,"
    " institution_lei text, reason text, rows int4, bytes int4, sha256 bytea, made_by text, made_at timestamptz"
)
FINAL = (
    "currency text, from_bank text, to_bank text, purpose text, settlements int8, settled_minor numeric,"
    " returned_minor numeric"
)
SIGNATURES: dict[str, tuple[str, str]] = {
    "absent_payments": (
        "int4 int8 text[]",
        "settlement_id uuid, attempt int2, statement_id int8",
    ),
    "add_absence_reports": (
        "text text bytea[] text[] uuid[] int2[]",
        "",
    ),
    "dossier_entries": (
        "uuid int8",
        "statement_id int8, entry_number int4, detail_number int4, says text, told_minor int8, closed_by text, account_id int8, bank_statement_id text, source text, content_sha256 text, file_sha256 text, booking_date date, amount_minor int8, currency text, status text, is_reversal bool, text text, refs text, detail_text text, detail_refs text",
    ),
    "proved_settlements": (
        "uuid[]",
        "id uuid",
    ),
    "unsearched_statement": (
        "float8",
        "statement_id int8, after_entry int4, after_detail int4, account_id int8, source text, outcome text, file_sha256 text, bank text, currency text",
    ),
    "unread_entry": (
        "float8",
        "statement_id int8, entry_number int4, detail_number int4, account_id int8, source text, outcome text, file_sha256 text, bank text, currency text",
    ),
    "add_unread_entries": ("int8 int4[] int4[] text[]", ""),
    "hold_search_place": ("int8 int4 int4", "is_there int4"),
    "forget_unread_entry": ("int8 int4 int4", ""),
    "unread_entry_count": ("", "entries int8"),
    "unread_statements": (
        "int8[] int8",
        "account_id int8, id int8, begins date, ends date, entries int8, first_entry int4, why text",
    ),
    "unsearched_rows": (
        "int8 int4 int4 int8",
        "number int4, amount_minor int8, currency text, status text, booking_date text, value_date text, is_reversal bool, code text, text text, refs text, details_differ bool, detail_number int4, detail_minor int8, detail_charges_minor int8, detail_text text, detail_refs text, is_only bool",
    ),
    "mentioned_payments": (
        "int4[] uuid[] int4[] text[] int4[] text[] int4[] uuid[] int4[] text[] int8",
        "place int4, settlement_id uuid, attempt int2, amount_minor int8, currency text, has_moved bool",
    ),
    "told_of_payments": (
        "uuid[]",
        "settlement_id uuid, kind text, amount_minor int8, counted int8, set_aside int8, is_told bool",
    ),
    "add_statement_evidence": (
        "int8 int4[] int4[] uuid[] int2[] text[] text[] int8[] int4[] bool[] bool[] text[] text[]",
        "",
    ),
    "add_statement_reports": (
        "text text text bytea text[] uuid[] int2[]",
        "",
    ),
    "note_searched": (
        "int8 int4 int4",
        "",
    ),
    "undecided_accounts": ("text text int8", "account_id int8"),
    "end_search": (
        "int8",
        "",
    ),
    "acknowledge_matter": ("int8 text", ""),
    "close_ended_doubts": ("text int8", "id int8"),
    "close_matter": ("int8 text text", ""),
    "database_time": ("", "clock_timestamp timestamptz"),
    "decide_proposal": ("int8 text text timestamptz", "id int8"),
    "evidence_of_proposal": ("int8", "evidence bytea"),
    "finish_resolutions": ("int8", "id int8"),
    "last_answer": ("uuid", "state text, event text, at timestamptz, owner int8"),
    "list_cases": ("text[] uuid bool int8 int8", CASE),
    "live_proposal": ("uuid", PROPOSAL),
    "lock_case": ("int8", CASE),
    "lock_settlement": ("uuid", "id uuid"),
    "case_by_id": ("int8", CASE),
    "open_altered": ("uuid text text", "id int8"),
    "open_doubts": ("text[] float8[] float8[] int8", "id int8"),
    "open_unbookable": ("uuid text", "id int8"),
    "open_cases": ("", "kind text, cases int8, oldest_seconds float8"),
    "list_proposals": ("uuid bool int8 int8", PROPOSAL),
    "proposal_by_id": ("int8", PROPOSAL),
    "proposals_of_settlement": ("uuid int8", PROPOSAL),
    "supersede_ended_proposals": ("text int8", "id int8"),
    "take_up_resolutions": ("float8 int8", PROPOSAL),
    "write_proposal": ("uuid text text text bytea bytea text float8 text int4", "id int8"),
    # What the Python wrappers pass, and what they read.
    "accounts_left_out": ("int8", "accounts int8"),
    "lock_issued_statements": ("int8", "pg_advisory_xact_lock void"),
    "list_issued_statements": (
        "int8 date int8 int8",
        f"{ISSUED}, formats text[], hashes bytea[], sizes int4[]",
    ),
    "first_booking_between": ("int8 timestamptz timestamptz", "at timestamptz"),
    "bookings_between": (
        "int8 timestamptz timestamptz int8",
        BOOKING,
    ),
    "add_issued_statement": (
        "int8 int4 date timestamptz timestamptz numeric numeric numeric numeric int4 date text",
        "",
    ),
    "add_issued_file": ("int8 text bytea", ""),
    "issued_file_part": ("int8 int4 text int4 int4", "sha256 bytea, bytes int4, part bytea"),
    "report_place": ("timestamptz timestamptz", "after int8, last int8"),
    "report_page_end": ("int8 int8 int8", "position int8"),
    "reported_settlements": (
        "int8 int8 timestamptz timestamptz timestamptz text text text",
        REPORTED,
    ),
    "lock_regulatory_reports": ("text date", "pg_advisory_xact_lock void"),
    "final_settlements": (
        "timestamptz timestamptz timestamptz int8",
        FINAL,
    ),
    "list_regulatory_reports": ("text date timestamptz int8 int8 int8", REGULATORY),
    "add_regulatory_report": (
        "text int4 text date timestamptz timestamptz timestamptz int4 text text text text int4 bytea text",
        "",
    ),
    "regulatory_report_part": ("int8 int4 int4", "sha256 bytea, bytes int4, part bytea"),
    "last_statement_days": ("int8[] text[]", "id int8, ends date"),
    "kept_heads": ("int8 text[] int8", f"{KEPT_HEAD}, misdated int4"),
    "audit_heads": ("int8 text[] int8 int8", KEPT_HEAD),
    "audit_statement_proposals": ("", STATEMENT_PROPOSAL),
    "chosen_statements": ("int8[]", "id int8, account_id int8, is_kept bool, is_set_aside bool"),
    "write_statement_proposal": ("int8 text text text bytea float8", "id int8"),
    "write_proposal_statements": ("int8 int8[]", ""),
    "list_statement_proposals": ("int8 int8 int8 bool int8", STATEMENT_PROPOSAL),
    "waiting_about_statements": ("int8[]", STATEMENT_PROPOSAL),
    "decide_statement_proposal": ("int8 text text text bytea", ""),
    "planned_statement_proposal": ("float8", "now timestamptz, expires_at timestamptz"),
    "audit_proved_accounts": (
        "int8 int8",
        "account_id int8, unproved_from date, last_statement_id int8, last_decision_id int8",
    ),
    "keep_proved_account": ("int8 int8 int8", ""),
    "add_to_statement_days": ("int8 text text text text", ""),
    "intraday_reports": ("int8 int8", "content text"),
    "statement_days": (
        "int8",
        "content_hash bytea, day date, minor numeric, entries int4, misdated int4",
    ),
    "complete_until": ("float8", "at timestamptz"),
    "balances_at": (
        "int8[] timestamptz",
        "id int8, debits_posted numeric, credits_posted numeric",
    ),
    "lock_balance_moments": ("", "pg_advisory_xact_lock void"),
    "last_balance_moment": ("timestamptz", "at timestamptz"),
    "record_balances": ("timestamptz timestamptz", "quarters int8"),
    "balances": ("int8", "kind text, bank text, currency text, posted numeric"),
    "account_by_id": ("int8", f"{ACCOUNT}, last_reconciled_at timestamptz"),
    "accounts_of": ("text[] text[]", ACCOUNT),
    "all_openings": (
        "int8",
        "era int4, step text, why text, timeline int4, detail text, at timestamptz",
    ),
    "confirm_replication": ("", "pg_logical_emit_message pg_lsn"),
    "is_confirmed": ("uuid", "exists bool"),
    "known_payments": (
        "text[] uuid",
        "reference text, settlement_id uuid, number int2, state text",
    ),
    "last_opening": (
        "",
        (
            "era int4, incarnation uuid, step text, why text, system_identifier text,"
            " timeline int4, database_id int8, since timestamptz, at timestamptz"
        ),
    ),
    "last_written": ("", "coalesce timestamptz"),
    "listed_rails": ("uuid", "rail text"),
    "move_at": ("int8", "settlement_id uuid, seq int4, at timestamptz"),
    "note_opening": ("uuid text text", "era int4"),
    "others_alive": ("", "count int8"),
    "report_unknown": ("text[] text[]", "id int8"),
    "server": (
        "",
        (
            "system_identifier text, database_id int8, timeline int4, flushed int8,"
            " started_at timestamptz, unsafe text"
        ),
    ),
    "shut_engines": (
        "uuid text int4 int8 timestamptz text int4 int8",
        "shut_engines bool",
    ),
    "try_opening": ("", "pg_try_advisory_lock bool"),
    "unclaimed": ("", "count int8"),
    "unknown_payments": ("int8", "reference text"),
    "admit": (f"int8{' text' * 19}", "at timestamptz, verdicts int2[], ids uuid[]"),
    "apply": (f"int8{' text' * 40}", "at timestamptz, results int2[], available int8[]"),
    "apply_and_keep": (
        f"int8{' text' * 49}",
        "at timestamptz, results int2[], available int8[]",
    ),
    "lock_banks": ("", ""),
    "bank_version": ("text int4", BANK_VERSION),
    "bank_stands": ("text", "stands int4"),
    "count_banks": ("int8", "banks int8"),
    "add_bank_version": ("text int4 text[] text[] bool text text", "changed_at timestamptz"),
    "list_banks": ("text text text bool int8", BANK_VERSION),
    "bank_changes": (
        "int8 int8",
        "id int8, code text, rails text[], is_withdrawn bool, accounts text, routes text, covers text",
    ),
    "latest_covers": (
        "uuid[] int2[]",
        (
            "settlement_id uuid, attempt int2, number int2, message_id text, content bytea,"
            " recorded_at timestamptz, valid_until timestamptz, ordered_by text, reason text, is_found bool,"
            " sends int8, undelivered int8, refusal_code text, refusal_text text"
        ),
    ),
    "record_covers": (
        "uuid[] int2[] int2[] text[] bytea[] timestamptz[] text[] text[] bool[]",
        "",
    ),
    "note_cover_results": ("uuid[] int2[] int2[] int2[] text[] text[] text[]", ""),
    "open_cover_failed": ("uuid[] text[] text[]", ""),
    "order_cover": ("uuid int2 int2 text bytea timestamptz text text bool", "number int2"),
    "allocate_traces": ("int4 int4", "last int4"),
    "lock_file_items": ("uuid[] int8[]", "place int8"),
    "ready_file_items": ("uuid[] int2[]", "settlement_id uuid, attempt int2"),
    "filed_attempts": ("uuid[] int2[]", "settlement_id uuid, attempt int2"),
    "add_rail_file": ("text text date text text bytea", "id int8"),
    "add_rail_file_items": ("int8 uuid[] int2[] text[]", ""),
    "rail_file_modifiers": ("text text date", "modifier text"),
    "unplaced_rail_files": ("text text int8", RAIL_FILE),
    "note_rail_file_placed": ("int8", ""),
    "rail_file_items": ("text bytea", "settlement_id uuid, attempt int2, trace text"),
    "lock_settlement_for_recall": ("uuid", "state text"),
    "recall_steps": ("uuid[]", RECALL_STEP),
    "add_recall_step": ("uuid int2 text text text", "seq int2"),
    "open_recall": ("uuid", ""),
    "open_overdue_recall": ("uuid int2", ""),
    "close_overdue_recall": ("uuid text text", ""),
    "open_recall_counts": ("int8", "state text, recalls int8"),
    "discrepancy_sums": ("int8", "currency text, amount_minor numeric"),
    "expect_returns": ("uuid[]", ""),
    "close_recall": ("uuid", ""),
    "take_due_recalls": ("int8 float8 float8", "settlement_id uuid"),
    "give_breaker_order": ("text text text text text", BREAKER_ORDER),
    "standing_breaker_orders": ("", BREAKER_ORDER),
    "breaker_orders_after": ("int8 int8", BREAKER_ORDER),
    "latest_breaker_orders": ("text int8", BREAKER_ORDER),
    "keep_statement_file": ("text text bytea text", "received_at timestamptz"),
    "lock_statements": ("int8", "pg_advisory_xact_lock void"),
    "statement_heads": (
        "int8 bytea bytea bytea text[] date date int8",
        (
            "content_hash bytea, source text, bank_statement_id text, sequence int8, page int8,"
            " is_last_page bool, created text, begins date, ends date, opening_minor int8,"
            " opening_is_final bool, closing_minor int8, closing_is_final bool,"
            " booked_minor numeric, totals_differ bool, is_set_aside bool"
        ),
    ),
    "add_statement": (
        (
            "bytea text text text bool int8 text text text text text int8 int8 bool text date date"
            " int8 bool int8 bool numeric bool int4 bytea bytea bytea text text"
        ),
        "id int8",
    ),
    "add_statement_entries": (f"int8{' text' * 13}", ""),
    "add_entry_details": (f"int8{' text' * 6}", ""),
    "list_statements": ("int8 bool int8 int8", STATEMENT),
    "statement_by_id": ("int8", STATEMENT),
    "statement_entries_after": (
        "int8 int4 int8 int8",
        (
            "number int4, amount_minor int8, currency text, status text, booking_date date,"
            " value_date date, is_reversal bool, code text, text text, refs text,"
            " details_differ bool, details text"
        ),
    ),
    "breaks_of_entries": ("int8 text", "id int8, fingerprint bytea"),
    "claimed_postings": ("int8 text text", "item text"),
    "open_breaks_found": ("int8 uuid text", ""),
    "close_breaks": ("int8[] text text uuid", ""),
    "breaks_to_settle": ("int8 int8", "id int8, is_matched bool"),
    "explained_missing": ("int8 date date int8", "id int8"),
    "missing_theirs": (
        "int8 date date int8",
        "id int8, name text, amount_minor int8, currency text, booked_on date",
    ),
    "count_open_breaks": ("int8", "breaks int8"),
    "open_breaks_of_kind": ("int8 text", "id int8, fingerprint bytea"),
    "list_breaks": (
        "int8 int8 text bool text int8 int8",
        "id int8, account_id int8, bank text, kind text, severity int2, amount_minor numeric, currency text, business_date date, reason text, is_open bool, owner text, opened_at timestamptz, ours text[], theirs text[]",
    ),
    "events_of_break": (
        "int8 int8",
        "number int4, event text, at timestamptz, who text, text text, owner text, level int2, due_at timestamptz, proposal_id int8, match_id int8",
    ),
    "match_by_id": (
        "int8 int8",
        "id int8, account_id int8, run_id uuid, matched_by text, rules_version text, explanation text, is_automatic bool, at timestamptz, difference_minor int8, difference_account text, taken_back text, ours text[], theirs text[]",
    ),
    "try_reconciliation": ("", "is_ours bool, holder int4"),
    "holds_reconciliation": ("int4", "is_held bool"),
    "statement_progress": ("int8", "entries_done int4"),
    "reconciliation_run_end": ("uuid", "ended_at timestamptz"),
    "add_reconciliation_run": ("uuid text text text int8 text text date", "id uuid"),
    "end_reconciliation_run": ("uuid bytea int8", ""),
    "add_reconciliation_report": ("uuid text date int4 int4 int4 numeric text", ""),
    "lock_reconciliation_account": ("int8", "pg_advisory_xact_lock void"),
    "reconciliation_cursor": ("", "position int8, head int8"),
    "move_reconciliation_cursor": ("int8 int8", "position int8"),
    "add_our_days": ("int8[] date[] numeric[] int8[]", ""),
    "take_in_postings": (
        "int8 int8 int8[] text[] text",
        "account_id int8, booked_on date, minor numeric, postings int8",
    ),
    "take_in_outside": ("int8 text", "booked_until timestamptz"),
    "keep_booked_until": ("int8 timestamptz", ""),
    "accounts_to_reconcile": (
        "int8 text text int8",
        "id int8, bank text, currency text, account_number text",
    ),
    "accounts_with_unseen_statements": ("text[] int8 float8 float8", "id int8"),
    "statements_to_match": (
        "int8 text[] int8",
        "id int8, content_hash bytea, source text, bank_statement_id text, sequence int8, page int8, is_last_page bool, created text, begins date, ends date, opening_minor int8, opening_is_final bool, closing_minor int8, closing_is_final bool, booked_minor numeric, totals_differ bool, is_set_aside bool, entries int4, entries_done int4, last_decision_id int8",
    ),
    "entries_to_match": (
        "int8 int4 int8 int8",
        "statement_id int8, number int4, amount_minor int8, currency text, booking_date date, value_date date, is_reversal bool, text text, refs text, details text",
    ),
    "open_entries_after": (
        "int8 date int8 int4 int8 int8",
        "statement_id int8, number int4, amount_minor int8, currency text, booking_date date, value_date date, is_reversal bool, text text, refs text, details text, booked_on date, content_hash bytea",
    ),
    "postings_by_keys": (
        "int8 text int8",
        "id int8, name text, amount_minor int8, currency text, booked_on date, value_date date, our_references text[], end_to_end text, rail_references text[], batch text",
    ),
    "open_postings_of": (
        "int8 int8",
        "id int8, name text, amount_minor int8, currency text, booked_on date, value_date date, our_references text[], end_to_end text, rail_references text[], batch text",
    ),
    "matched_by_reference": ("int8 text text", "named text, amount_minor int8"),
    "break_head": (
        "int8",
        "id int8, kind text, account_id int8, bank text, currency text, amount_minor numeric, business_date date, ours text[], theirs text[]",
    ),
    "settled_breaks_of_match": ("int8", "break_id int8"),
    "suggestions_of_break": (
        "int8 text text int8",
        "matched_by text, explanation text, ours text[], theirs text[], open_ours text[], open_theirs text[]",
    ),
    "lock_open_break": (
        "int8",
        "break_id int8",
    ),
    "add_break_event": (
        "int8 int4 text text text text timestamptz int8 int8",
        "",
    ),
    "assign_break": (
        "int8 text timestamptz",
        "",
    ),
    "take_off_open_breaks": (
        "int8",
        "",
    ),
    "put_on_open_breaks": (
        "int8 int8 text",
        "",
    ),
    "open_items_named": (
        "int8 text text",
        "side text, item text, posting_id int8, statement_id int8, entry_number int4, amount_minor int8, currency text, booked_on date",
    ),
    "add_person_match": (
        "int8 text date text",
        "id int8",
    ),
    "person_match_of": (
        "int8 text text text",
        "id int8",
    ),
    "taken_back_by_people": (
        "int8 text text",
        "id int8, ours text[], theirs text[]",
    ),
    "late_matches": (
        "int8",
        "id int8",
    ),
    "add_corrections_to_break": (
        "int8 int8",
        "",
    ),
    "is_explained": (
        "int8 bytea numeric",
        "is_explained bool",
    ),
    "match_taken_back": (
        "int8",
        "who text, reason text",
    ),
    "closed_breaks_of_match": (
        "int8",
        "id int8, owner text",
    ),
    "break_clock": (
        "",
        "now timestamptz",
    ),
    "write_break_proposal": (
        "int8 text int8 text int8 text text bytea text bytea float8",
        "id int8",
    ),
    "write_break_proposal_items": (
        "int8 text text text",
        "",
    ),
    "list_break_proposals": (
        "int8 int8 int8 bool int8",
        "id int8, break_id int8, resolution text, account_id int8, currency text, amount_minor int8, reason text, evidence_name text, evidence_bytes int4, evidence_sha256 bytea, proposed_by text, content_sha256 bytea, proposed_at timestamptz, expires_at timestamptz, seen_at timestamptz, decision text, decided_by text, decided_at timestamptz, role text, match_id int8, transfer_group uuid, items text",
    ),
    "evidence_of_break_proposal": (
        "int8",
        "evidence bytea",
    ),
    "decide_break_proposal": (
        "int8 text text text bytea int8 uuid",
        "",
    ),
    "breaks_to_escalate": (
        "int8 int8",
        "break_id int8, level int2, due_at timestamptz, kind text, amount_minor numeric, currency text, business_date date, opened_at timestamptz, severity int2, seen_at timestamptz",
    ),
    "escalate_breaks": (
        "text text text text text",
        "break_id int8",
    ),
    "audit_regulatory_reports": ("", REGULATORY),
    "audit_issued_files": (
        "",
        (
            "id int8, account_id int8, kind text, bank text, currency text, account_number text, number int4, day date,"
            " begins timestamptz, ends timestamptz, opening_minor numeric, closing_minor numeric, credits_minor numeric,"
            " debits_minor numeric, entries int4, previous_day date, issued_by text, issued_at timestamptz, format text,"
            " content bytea, formats text[], hashes bytea[], sizes int4[]"
        ),
    ),
    "audit_break_proposals": (
        "",
        "id int8, break_id int8, resolution text, account_id int8, currency text, amount_minor int8, reason text, evidence_name text, evidence_bytes int4, evidence_sha256 bytea, proposed_by text, content_sha256 bytea, proposed_at timestamptz, expires_at timestamptz, seen_at timestamptz, decision text, decided_by text, decided_at timestamptz, role text, match_id int8, transfer_group uuid, items text",
    ),
    "accounts_by_numbers": (
        "text[] text[] int8",
        "id int8, bank text, currency text, account_number text, is_at_agent bool, listed text",
    ),
    "accounts_at_banks": (
        "text int8 int8",
        "id int8, bank text, currency text, account_number text, is_at_agent bool, listed text",
    ),
    "add_matches": ("int8 uuid text text text text text text", "id int8"),
    "match_open_postings": ("text text", "items int8"),
    "match_entries_of": ("text text text text text", ""),
    "add_suggestions": ("int8 uuid text", ""),
    "proof_as_of": (
        "int8 date text",
        (
            "currency text, booking_date date, our_closing_minor numeric, unmatched_theirs_minor numeric,"
            " unmatched_ours_minor numeric, opening_difference_minor numeric, difference_minor numeric,"
            " their_closing_minor numeric, unmatched_theirs int4, unmatched_ours int4, held_back_by text, begins date,"
            " is_current bool"
        ),
    ),
    "open_entries_as_of": (
        "int8 date date int8 int4 int8",
        (
            "statement_id int8, entry_number int4, booked_on date, amount_minor int8, currency text, value_date date,"
            " text text, refs text"
        ),
    ),
    "open_postings_as_of": (
        "int8 date date date int8 int8",
        (
            "id int8, group_id uuid, posting int2, leg int2, booked_on date, amount_minor int8, currency text,"
            " value_date date, our_references text[], end_to_end text, rail_references text[], batch text"
        ),
    ),
    "timing_entries_as_of": (
        "int8 date int4 date int8 int8 int4 int8",
        (
            "span int2, settled_on date, match_id int8, statement_id int8, entry_number int4, booked_on date,"
            " amount_minor int8, currency text, value_date date, text text, refs text, matched_by text,"
            " matched_at timestamptz"
        ),
    ),
    "timing_postings_as_of": (
        "int8 date int4 date int8 uuid int2 int2 int8",
        (
            "span int2, settled_on date, match_id int8, group_id uuid, posting int2, leg int2, booked_on date,"
            " amount_minor int8, currency text, value_date date, our_references text[], end_to_end text,"
            " rail_references text[], batch text, matched_by text, matched_at timestamptz"
        ),
    ),
    "add_open_entries": ("int8 text text text text", ""),
    "keep_statement_progress": ("int8 int8 int4", ""),
    "add_to_days": ("int8 text text text text text text text text text", ""),
    "live_match": ("int8", "account_id int8, settled_on date, is_taken_back bool"),
    "live_matches_of_statement": ("int8", "match_id int8"),
    "take_back_matches": ("int8[] uuid text text", ""),
    "forget_statement": ("int8", ""),
    "reconciliation_books": (
        "int8",
        "day date, ours_minor numeric, theirs_minor numeric, matched_ours_minor numeric, matched_theirs_minor numeric, ours int8, theirs int8, matched_ours int8, matched_theirs int8",
    ),
    "reconciliation_balance": (
        "int8 date",
        "balance_minor numeric, is_read bool, open_before_minor numeric, open_before int8",
    ),
    "last_proofs": (
        "int8",
        "booking_date date, our_closing_minor numeric, unmatched_theirs_minor numeric, unmatched_ours_minor numeric, opening_difference_minor numeric, difference_minor numeric, their_closing_minor numeric, unmatched_theirs int4, unmatched_ours int4, held_back_by text",
    ),
    "add_proofs": ("int8 uuid text text text text text text text text text text text text", ""),
    "keep_reconciled_on": ("int8 date", ""),
    "list_proofs": (
        "date int8 int8 int8",
        "account_id int8, currency text, booking_date date, our_closing_minor numeric, unmatched_theirs_minor numeric, unmatched_ours_minor numeric, opening_difference_minor numeric, difference_minor numeric, their_closing_minor numeric, unmatched_theirs int4, unmatched_ours int4, held_back_by text",
    ),
    "list_reports": (
        "uuid date uuid int8",
        "id uuid, started_for text, who text, rules_version text, account_id int8, bank text, currency text, business_date date, started_at timestamptz, ended_at timestamptz, parts text",
    ),
    "statement_file_part": ("bytea int4 int4", "name text, bytes int4, part bytea"),
    "keep_messages": ("text text text text text text text text text", ""),
    "list_messages": (
        "uuid int8 timestamptz text bytea",
        (
            "direction text, attempt int2, rail text, type text, message_id text,"
            " response_status int2, content bytea, bytes int4, sha256 bytea, at timestamptz, uetr uuid,"
            " end_to_end_id text, payment_message_id text"
        ),
    ),
    "dossier_messages": (
        "uuid int8 int8 int8",
        (
            "direction text, attempt int2, rail text, type text, message_id text,"
            " response_status int2, sha256 bytea, at timestamptz, bytes int4, content bytea"
        ),
    ),
    "environment": ("", "name text"),
    "has_environments": ("", "?column? bool"),
    "has_schema": ("", "?column? bool"),
    "is_in_use": ("", "?column? bool"),
    "mark_environment": ("text text", ""),
    "replace_environment": ("text text", ""),
    "backend": ("", "pg_backend_pid int4"),
    "close_held": ("text int8", "id int8"),
    "open_held": ("int8", "id int8"),
    "beat": ("int8 float8", "id int8, flushed int8, unsafe text"),
    "add_dead_letter": ("text bytea text int8 bytea text int8 timestamptz", "id int8"),
    "claim": ("int8 int4 bool", "settlement_id uuid, was_asked bool"),
    "create_migrations": ("", ""),
    "dead_letter": ("int8", LETTER),
    "dead_letter_acts": (
        "int8[] int8",
        "dead_letter_id int8, at timestamptz, who text, outcome text, words text, settlement_id uuid",
    ),
    "dead_letters": ("int8 int8 bool", LETTER),
    "latest_open_dead_letters": ("int8 int8 bool", LETTER),
    "open_dead_letters": ("int8 int8 text timestamptz timestamptz bool bool", LETTER),
    "remove_dead_letters": ("int4 int8", "id int8"),
    "waiting_dead_letters": ("int8", "dead_letters int8, oldest_seconds float8"),
    "dossier_accounts": ("int8[]", ACCOUNT),
    "dossier_answers": (
        "uuid int8",
        (
            "at timestamptz, state text, event text, attempt int2, asked int4, times int4,"
            " last_at timestamptz"
        ),
    ),
    "record_inbound": (
        "text[] text[] text[] bytea[] int8[] int4[] text[] uuid[] text[] text[] text[] text[] text[] uuid[] text[] text[]",
        "place int8, receipt text",
    ),
    "open_inbound_reports": (
        "int8 int8 int8[]",
        (
            "id int8, rail text, report text, settlement_id uuid, attempt int2,"
            " received_at timestamptz, is_known bool, is_of_earlier_cover bool"
        ),
    ),
    "close_inbound_reports": ("int8[] text[]", ""),
    "waiting_inbound_reports": ("int8", "reports int8, oldest_seconds float8"),
    "inbound_open_counts": ("", "rail text, count int8"),
    "dossier_answers_total": ("uuid", "total int8"),
    "dossier_attempts": (
        "uuid",
        (
            "number int2, rail text, source_id int8, agent_id int8, clearing_id int8,"
            " target_id int8, uetr uuid, end_to_end_id text, message_id text, trace text, payload bytea,"
            " valid_until timestamptz, sends int4, undelivered int4, recorded_at timestamptz,"
            " delivery text"
        ),
    ),
    "dossier_hold": (
        "uuid",
        (
            "account_id int8, amount_minor int8, currency text, locked_at timestamptz,"
            " resolved_at timestamptz, outcome text"
        ),
    ),
    "dossier_owner": ("uuid", "owner int8, taken_at timestamptz, proposals int8"),
    "dossier_proposals": (
        "uuid int8",
        (
            "id int8, settlement_id uuid, finding text, reason text, evidence_name text,"
            " evidence bytea, evidence_bytes int4, evidence_sha256 bytea, content_sha256 bytea,"
            " proposed_by text, proposed_at timestamptz, state text, sends int4,"
            " expires_at timestamptz, decision text, decided_by text, decided_at timestamptz,"
            " finished_at timestamptz, ending text, seen_at timestamptz"
        ),
    ),
    "dossier_transfers": ("uuid", TRANSFER),
    "facts": ("uuid[]", FACTS),
    "find_by_keys": ("uuid[]", "key_hash uuid, id uuid"),
    "find_by_any_id": ("text uuid int8", "settlement_id uuid, named_by text"),
    "find_by_obligation": ("text", "id uuid"),
    "find_controls": ("text[] text[] text[] text", ACCOUNT),
    "gauges": ("", "state text, settlements int8, oldest_seconds float8"),
    "has_migrations": ("", "?column? bool"),
    "hold_session": ("int8", "hold_engine_lock bool"),
    "join_engine": ("int8 text int4 float8", ""),
    "leave_engine": ("int8", ""),
    "history": ("uuid", MOVE),
    "list_accounts": (
        "text text text text int8 int8",
        f"{ACCOUNT}, last_reconciled_at timestamptz",
    ),
    "list_settlements": LISTED,
    "list_settlements_in_states": LISTED,
    "list_settlements_of_obligation": (f"{LISTED[0]} bool bool", LISTED[1]),
    "list_compensations": (f"{LISTED[0]} bool", LISTED[1]),
    "list_compensations_of": (f"{LISTED[0]} uuid bool", LISTED[1]),
    "list_compensated_settlements": LISTED,
    "list_transfers": ("int8 uuid uuid int2 int2 int8", TRANSFER),
    "load": ("uuid[]", SETTLEMENT),
    "currencies": ("", "code text, exponent int2"),
    "load_currencies": ("text[] int2[]", ""),
    "load_windows": ("text[] text[] time[] time[]", ""),
    "lock_accounts": ("int8[]", "id int8, is_full bool"),
    "lock_migrations": ("int8", "pg_advisory_lock void"),
    "mark_published": ("int8", ""),
    "limit_lock_wait": ("text", "set_config text"),
    "migrations": ("", "number int4, name text, checksum text, compatible_from int4"),
    "next_engine": ("", "nextval int8"),
    "note_letter": ("int8 text text text uuid", "id int8"),
    "now": ("", "found_at timestamptz"),
    "open_account": ("text text text text int8", "id int8"),
    "open_controls": ("text[] text[] text[] text", ""),
    "lock_what_is_left": ("text text text text text", "at timestamptz, left_minor int8[]"),
    "owned": ("int8", "settlement_id uuid"),
    "post_balances": ("int8 int8 int8", ""),
    "post_transfer": ("uuid int2 int8 int8 int8 text text", ""),
    "audit_attempts": (
        "",
        (
            "settlement_id uuid, number int2, uetr uuid, end_to_end_id text, message_id text,"
            " caller text, idempotency_key text"
        ),
    ),
    "audit_calls": ("", "key_hash uuid, caller text, idempotency_key text, call text"),
    "audit_settlements": (
        "",
        (
            "id uuid, key_hash uuid, content_hash bytea, caller text, idempotency_key text,"
            " obligation_id text, from_bank text, to_bank text, amount_minor int8, currency text,"
            " requested_value_date date, priority int2, metadata text, payment text, requested_rail text,"
            " requested_delivery text, compensates uuid"
        ),
    ),
    "prove_totals": (
        "",
        "accounts int8, transfers int8, settlements int8, open_settlements int8, open_holds int8",
    ),
    "prove_turnover": ("", "currency text, total text"),
    "probe_write": ("", "probe_write timestamptz"),
    "read_notices": ("int8 int8", "position int8, kind text, at timestamptz, fact text"),
    "notice_head": ("", "position int8, published int8, published_sequence int8"),
    "mark_notices_published": ("int8 int8", ""),
    "read_stream": ("int8 int8", MOVE),
    "read_stream_of": ("int8 int8 uuid", MOVE),
    "lock_open": ("uuid", "settlement_id uuid"),
    "claim_unfiled": ("int8 uuid", "settlement_id uuid"),
    "reclaim": ("int8 uuid[]", "settlement_id uuid"),
    "recall_call": ("uuid", "content text, account_id int8"),
    "remember_call": ("uuid text text text text int8", "account_id int8"),
    "remember_migration": ("int4 text text int4", ""),
    "is_widened": ("", "exists bool"),
    "widen_migrations": ("", ""),
    "safety_settings": ("", "name text, setting text"),
    "set_active": ("int8 bool", "id int8"),
    "set_limits": ("text[] text[]", "set_config text"),
    "stream_head": ("", "position int8, published int8"),
    "stuck": (
        "float8 float8 float8 float8 text[] float8[] float8 float8 int8",
        (
            "settlement_id uuid, obligation_id text, state text, rail text, since timestamptz,"
            " reason text, found_at timestamptz, of_reason int8"
        ),
    ),
    "try_leadership": ("", "pg_try_advisory_lock bool"),
    "windows": (
        "",
        "currency text, zone text, window_start time, window_end time, days_of_week int2[]",
    ),
    "without_next_action": ("", "settlements int8"),
    "turns_of_entries": ("text text", "turns int8"),
    "open_postings_of_groups": (
        "int8 text",
        (
            "id int8, name text, amount_minor int8, currency text, booked_on date, value_date date,"
            " our_references text[], end_to_end text, rail_references text[], batch text"
        ),
    ),
    "unreversed_differences": (
        "int8 text int8",
        (
            "match_id int8, group_id uuid, posting int2, leg int2, debit_id int8, credit_id int8, "
            "amount_minor int8, currency text, reference text, at timestamptz"
        ),
    ),
    "add_reversal_matches": ("text text", "id int8"),
    "post_differences": ("text text text text text text", ""),
    "post_balances_of_many": ("text text text", ""),
} | {f"prove_{name.removeprefix('prove_')}": ("", DIFFERENCE) for name in checks()}

APPEND_ONLY = {
    **dict.fromkeys(("moves", "transfers", "answers", "cover_results"), "at"),
    "covers": "recorded_at",
}
KEPT = ("settlement_transactions", "fund_locks")
REFERRED_TO = {"settlement_transactions", "covers"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stores(databases: Databases) -> AsyncIterator[PostgresStores]:
    """One database for all tests: each uses banks of its own."""
    made = PostgresStores(await databases.migrated())
    yield made
    assert await made.differences() == []
    await made.close()
    await databases.drop(made.url)


@pytest_asyncio.fixture(loop_scope="module")
async def scene(stores: PostgresStores) -> Scene:
    return await Scene.open(stores)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def superuser(stores: PostgresStores) -> AsyncIterator[asyncpg.Connection]:
    made = await asyncpg.connect(stores.url)
    yield made
    await made.close()


@pytest_asyncio.fixture(loop_scope="module")
async def connection(superuser: asyncpg.Connection) -> AsyncIterator[asyncpg.Connection]:
    """A superuser's connection: what stops a superuser stops everybody."""
    yield superuser
    await superuser.execute("SET session_replication_role = origin")


# --- types ------------------------------------------------------------------------------------------


async def test_every_statement_has_the_types_that_its_wrapper_expects(connection):
    found = {}
    for name, statement in queries().items():
        prepared = await connection.prepare(statement)
        found[name] = (
            " ".join(each.name for each in prepared.get_parameters()),
            ", ".join(f"{each.name} {each.type.name}" for each in prepared.get_attributes()),
        )
    assert found == SIGNATURES


@pytest.mark.parametrize(
    ("name", "indices"),
    [
        (
            "find_by_any_id",
            {
                "settlement_transactions_pkey",
                "attempts_by_uetr",
                "attempts_by_end_to_end_id",
                "moves_by_rail_reference",
            },
        ),
        (
            "list_settlements_of_obligation",
            {"one_live_settlement_per_obligation", "settlements_freed_by_obligation"},
        ),
        (
            "find_by_obligation",
            {"one_live_settlement_per_obligation", "settlements_freed_by_obligation"},
        ),
    ],
)
async def test_lookups_use_indices(connection, name, indices):
    """Independent of the tables' size: no statement scans a whole table."""
    arguments = {
        "find_by_any_id": ["'x'", f"'{uuid.UUID(int=7)}'::uuid", "64"],
        "list_settlements_of_obligation": [
            *[*["NULL"] * 3, "'x'", *["NULL"] * 4],
            *["100", "false", "false"],
        ],
    }
    statement = queries()[name]
    values = list(enumerate(arguments.get(name, ["'x'"]), start=1))
    for number, value in reversed(values):  # $10 begins as $1 does
        statement = statement.replace(f"${number}", value)
    async with connection.transaction():
        await connection.execute("SET LOCAL enable_seqscan = off")
        rows = await connection.fetch(f"EXPLAIN {statement}")
    plan = "\n".join(row[0] for row in rows)
    assert {index for index in indices if index in plan} == indices
    assert "Seq Scan" not in plan


# --- state machine ----------------------------------------------------------------------------------


async def allowed(connection, constraint, columns):
    """Return which combinations of states and events the server's CHECK permits."""
    check = await connection.fetchval(
        "SELECT pg_get_expr(conbin, conrelid) FROM pg_constraint WHERE conname = $1", constraint
    )
    assert check
    kinds = {"event": "settlement_event"}
    tables = ", ".join(
        f"unnest(enum_range(NULL::{kinds.get(name, 'settlement_state')})) AS {name}"
        for name in columns
    )
    chosen = ", ".join(f"{name}::text" for name in columns)
    rows = await connection.fetch(f"SELECT {chosen} FROM {tables} WHERE ({check})")
    return {tuple(row) for row in rows}


async def test_the_check_on_moves_lets_through_the_page_and_nothing_else(connection):
    found = await allowed(connection, "legal_move", ["from_state", "event", "to_state"])
    assert found == set(state_machine.legal_moves())


async def test_the_check_on_answers_lets_through_the_page_and_nothing_else(connection):
    found = await allowed(connection, "legal_answer", ["state", "event"])
    assert found == set(state_machine.legal_answers())


async def test_the_databases_state_machine_equals_the_domains(connection):
    rows = await connection.fetch(
        "SELECT from_state::text, event::text, to_state::text, does, asks, reached FROM page"
    )
    assert {tuple(row)[:5]: row["reached"] for row in rows} == {
        (state, event, row.state, row.do, row.ask): list(row.reached)
        for state, events in TRANSITIONS.items()
        for event, row in events.items()
    }


async def test_states_and_events_are_those_of_the_page_in_its_order(connection):
    for kind, known in (("settlement_state", State), ("settlement_event", Event)):
        labels = await connection.fetchval(f"SELECT enum_range(NULL::{kind})::text[]")
        assert labels == [each.value for each in known]
    kinds = await connection.fetchval("SELECT enum_range(NULL::account_kind)::text[]")
    assert kinds == [kind.value for kind in AccountKind]


@pytest.mark.parametrize("role", ["origin", "replica"])
async def test_the_exponent_of_a_currency_stays(connection, role):
    await connection.execute(f"SET session_replication_role = {role}")
    for change in (
        "UPDATE currencies SET exponent = 3 WHERE code = 'EUR'",
        "DELETE FROM currencies WHERE code = 'EUR'",
        "TRUNCATE currencies CASCADE",
    ):
        with pytest.raises(asyncpg.PostgresError) as refused:
            await connection.execute(change)
        assert refused.value.sqlstate == "SE004", change


async def test_the_currencies_are_those_of_iso_4217(connection):
    rows = await connection.fetch("SELECT code, exponent FROM currencies")
    assert {row["code"]: row["exponent"] for row in rows} == currencies()


# --- guards -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["origin", "replica"])
async def test_recorded_rows_cannot_be_changed_or_deleted(scene, connection, role):
    """Also for a session in replica mode, because the triggers fire always."""
    settlement = await scene.bring(State.SENT)
    settlement = await scene.move(settlement, Event.COVER_DUE)
    await refuse_cover(scene, settlement)
    await scene.move(settlement, Event.NO_ANSWER, due_seconds=0.0)
    await connection.execute(f"SET session_replication_role = {role}")
    for table in (*APPEND_ONLY, *KEPT):
        assert await connection.fetchval(f"SELECT count(*) FROM {table}") > 0
        changes = [f"DELETE FROM {table}", f"TRUNCATE {table}", f"TRUNCATE {table} CASCADE"]
        if table in APPEND_ONLY:
            column = APPEND_ONLY[table]
            changes.append(f"UPDATE {table} SET {column} = {column}")
        for change in changes:
            with pytest.raises(asyncpg.PostgresError) as refused:
                await connection.execute(change)
            # Rows that others refer to are protected by foreign keys, before any trigger.
            is_referred_to = change == f"TRUNCATE {table}" and table in REFERRED_TO
            expected = "0A000" if is_referred_to else "SE004"
            assert refused.value.sqlstate == expected, change


async def refuse_cover(scene, settlement, number=1):
    refusal = CoverResult(
        settlement_id=settlement.id, attempt=1, number=number, code="AC04", text="closed"
    )
    await scene.stores.covers.note([refusal])


COVER = (
    "INSERT INTO covers"
    " (settlement_id, attempt, number, message_id, content, valid_until, ordered_by, reason, is_found)"
    " VALUES ($1, 1, $2::smallint, 'CG', 'bytes', now(), $3, $3, false)"
)
COVER_DUE = (
    "INSERT INTO moves (position, settlement_id, seq, from_state, event, to_state, at, epoch, attempt, detail)"
    " VALUES (10000, $1, $2, 'sent', 'cover_due', 'sent', now(), 1, 1,"
    " jsonb_build_object('cover', $3::text, 'cover_sha256', encode(sha256($4), 'hex')))"
)


@pytest.mark.parametrize("role", ["origin", "replica"])
async def test_a_cover_follows_a_refusal_and_its_send_intent_names_it(scene, connection, role):
    settlement = await scene.bring(State.SENT)
    await connection.execute(f"SET session_replication_role = {role}")

    async def is_refused_by(constraint, statement, *arguments):
        with pytest.raises(asyncpg.CheckViolationError) as refused:
            await connection.execute(statement, settlement.id, *arguments)
        assert refused.value.constraint_name == constraint

    intent = (settlement.seq + 1, "1", b"bytes")
    await is_refused_by("cover_is_counted", COVER_DUE, *intent)
    await is_refused_by("repair_follows_a_refusal", COVER, 2, "ada")
    await connection.execute(COVER, settlement.id, 1, "")
    await is_refused_by("repair_follows_a_refusal", COVER, 2, "ada")
    await is_refused_by("cover_is_counted", COVER_DUE, settlement.seq + 1, "1", b"other")
    await is_refused_by("cover_is_counted", COVER_DUE, settlement.seq + 1, "2", b"bytes")
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute(COVER_DUE, settlement.id, *intent)
    sends = await connection.fetchval(
        "SELECT sends FROM attempts WHERE settlement_id = $1", settlement.id
    )
    assert sends == settlement.attempt.sends + 1
    await transaction.rollback()
    await refuse_cover(scene, settlement)
    await is_refused_by("cover_is_counted", COVER_DUE, *intent)
    await connection.execute(COVER, settlement.id, 2, "ada")
    await is_refused_by("cover_is_counted", COVER_DUE, *intent)
    await is_refused_by("repair_follows_a_refusal", COVER, 3, "ada")


@pytest.mark.parametrize("role", ["origin", "replica"])
async def test_an_answer_is_only_ever_counted(scene, connection, role):
    settlement = await scene.bring(State.IN_DOUBT)
    await scene.move(settlement, Event.NO_ANSWER, due_seconds=30.0)
    await connection.execute(f"SET session_replication_role = {role}")
    mine = "WHERE settlement_id = $1"
    for change in (
        "times = times",
        "times = times + 2",
        "times = times - 1",
        "times = times + 1, last_at = last_at - interval '1 second'",
        "times = times + 1, last_at = NULL",
        "times = times + 1, at = at - interval '1 second'",
        "times = times + 1, event = 'acknowledged', state = 'sent'",
        "times = times + 1, detail = '{}'",
        "times = times + 1, fingerprint = NULL",
    ):
        with pytest.raises(asyncpg.PostgresError) as refused:
            await connection.execute(f"UPDATE answers SET {change} {mine}", settlement.id)
        assert refused.value.sqlstate == "SE004", change
    await connection.execute(
        f"UPDATE answers SET times = times + 1, last_at = clock_timestamp() {mine}", settlement.id
    )
    # Rows of an older version are not even counted.
    await connection.execute(
        "INSERT INTO answers (settlement_id, attempt, state, event, asked, at)"
        " VALUES ($1, 9, 'sent', 'no_answer', 1, now())",
        settlement.id,
    )
    with pytest.raises(asyncpg.PostgresError, match="append-only"):
        await connection.execute(
            f"UPDATE answers SET times = 2, last_at = now() {mine} AND attempt = 9", settlement.id
        )


@pytest.mark.parametrize("role", ["origin", "replica"])
async def test_dead_letters_and_their_actions_cannot_be_changed(stores, connection, role):
    await stores.dead_letters.keep_dead_letter("clearing.instructions", b"rubbish", "why")
    [dead_letter] = await stores.dead_letters.dead_letters(1)
    act = DeadLetterAct(who="mara", outcome=DeadLetterOutcome.DROPPED, words="a test")
    await stores.dead_letters.note_dead_letter(dead_letter.id, act)
    late = await connection.fetch(
        queries()["note_letter"], dead_letter.id, "olaf", "refused", "too late", None
    )
    assert late == []
    await connection.execute(f"SET session_replication_role = {role}")
    for change in (
        "DELETE FROM dead_letters",
        "UPDATE dead_letters SET why = 'another'",
        "TRUNCATE dead_letters CASCADE",
        "DELETE FROM dead_letter_acts",
        "UPDATE dead_letter_acts SET who = 'another'",
        "TRUNCATE dead_letter_acts",
    ):
        with pytest.raises(asyncpg.PostgresError) as refused:
            await connection.execute(change)
        assert refused.value.sqlstate == "SE004", change
    second = "INSERT INTO dead_letter_acts (dead_letter_id, who, outcome, words) VALUES ($1, 'x', 'dropped', 'y')"
    with pytest.raises(asyncpg.UniqueViolationError):
        await connection.execute(second, dead_letter.id)


END = """
INSERT INTO dead_letter_acts (dead_letter_id, who, outcome, words, at)
VALUES ($1, 'mara', $2, 'a test', clock_timestamp() - make_interval(days => $3))
"""


@pytest.mark.parametrize("role", ["origin", "replica"])
async def test_only_dead_letters_closed_long_ago_may_be_deleted(stores, connection, role):
    kept = []
    for outcome, days in (("refused", 400), ("dropped", 29), ("dropped", 400)):
        await stores.dead_letters.keep_dead_letter("clearing.instructions", b"rubbish", "why")
        [dead_letter] = await stores.dead_letters.dead_letters(1)
        await connection.execute(END, dead_letter.id, outcome, days)
        kept.append(dead_letter.id)
    gone = kept.pop()
    for dead_letter_id in kept:
        await connection.execute(f"SET session_replication_role = {role}")
        with pytest.raises(asyncpg.PostgresError, match="append-only"):
            await connection.execute("DELETE FROM dead_letters WHERE id = $1", dead_letter_id)
    with pytest.raises(asyncpg.PostgresError, match="append-only"):
        await connection.execute("DELETE FROM dead_letter_acts WHERE dead_letter_id = $1", gone)
    waiting = "DELETE FROM waiting_dead_letters WHERE dead_letter_id = $1"
    with pytest.raises(asyncpg.PostgresError, match="append-only"):
        await connection.execute(waiting, kept[0])
    await connection.execute("SET session_replication_role = origin")
    assert await stores.dead_letters.remove_dead_letters(366, 10) == 1
    assert await stores.dead_letters.dead_letter(gone) is None
    acts = "SELECT count(*) FROM dead_letter_acts WHERE dead_letter_id = $1"
    assert await connection.fetchval(acts, gone) == 0
    assert await stores.dead_letters.remove_dead_letters(30, 10) == 0


async def test_dead_letters_of_version_1_count_as_whole(stores, connection):
    insert = "INSERT INTO dead_letters (subject, payload, why) VALUES ('s', 'abc', 'w')"
    for _ in range(2):
        await connection.execute(insert)  # it names no message: there may be several
    [dead_letter] = await stores.dead_letters.dead_letters(1)
    assert (dead_letter.is_whole, dead_letter.payload_bytes, dead_letter.origin) == (True, 3, None)
    assert dead_letter.payload_hash == sha256(b"abc").digest()
    assert dead_letter in await stores.dead_letters.open_dead_letters(1_000, is_whole_only=True)


@pytest.mark.parametrize("role", ["origin", "replica"])
@pytest.mark.parametrize(
    "state", [State.COMPLETED, State.FAILED, State.ROLLED_BACK, State.RETURNED]
)
async def test_a_settlement_ends_once(scene, connection, role, state):
    settlement = await scene.bring(state)
    await connection.execute(f"SET session_replication_role = {role}")
    for other in State:
        if other is state or (state, other) == (State.COMPLETED, State.RETURNED):
            continue
        with pytest.raises(asyncpg.PostgresError) as refused:
            await connection.execute(
                "UPDATE settlement_transactions SET state = $2::text::settlement_state WHERE id = $1",
                settlement.id,
                other.value,
            )
        assert refused.value.sqlstate == "SE002", other


@pytest.mark.parametrize("role", ["origin", "replica"])
@pytest.mark.parametrize("state", [State.COMPLETED, State.ROLLED_BACK])
async def test_a_hold_is_resolved_once(scene, connection, role, state):
    settlement = await scene.bring(state)
    await connection.execute(f"SET session_replication_role = {role}")
    for change in (
        "outcome = 'released'",
        "resolved_at = NULL, outcome = NULL",
    ):
        with pytest.raises(asyncpg.PostgresError) as refused:
            await connection.execute(
                f"UPDATE fund_locks SET {change} WHERE settlement_id = $1", settlement.id
            )
        assert refused.value.sqlstate == "SE003", change


COVERS = (
    "INSERT INTO covers"
    " (settlement_id, attempt, number, message_id, content, valid_until, is_found, ordered_by, reason)"
    " VALUES ($1, 1,"
)
COVER_RESULTS = (
    "INSERT INTO cover_results (settlement_id, attempt, number, transmission, result, code, text)"
    " VALUES ($1, 1, 1,"
)
REFUSED_BY_A_CONSTRAINT = {
    "a balance below the limit": "UPDATE accounts SET held = 10 ^ 10 WHERE kind = 'nostro'",
    "a vostro below its limit": "UPDATE accounts SET debits_posted = 1 WHERE kind = 'vostro'",
    "less than nothing held": "UPDATE accounts SET held = -1 WHERE kind = 'clearing'",
    "a side beyond its bound": "UPDATE accounts SET debits_posted = 1e38 WHERE kind = 'clearing'",
    "a part of a minor unit": "UPDATE accounts SET debits_posted = 0.5 WHERE kind = 'clearing'",
    "no number at all": "UPDATE accounts SET debits_posted = 'NaN' WHERE kind = 'clearing'",
    "an unknown currency": "INSERT INTO accounts (kind, bank, currency, account_number)"
    " VALUES ('fees', 'X', 'ZZZ', '1')",
    "two accounts of one number": "INSERT INTO accounts (kind, bank, currency, account_number)"
    " SELECT kind, bank, currency, account_number FROM accounts",
    "a transfer of nothing": "INSERT INTO transfers SELECT gen_random_uuid(), 1, 1, 2, 0, 'EUR',"
    " '', now()",
    "a transfer to itself": "INSERT INTO transfers SELECT gen_random_uuid(), 1, 1, 1, 5, 'EUR',"
    " '', now()",
    "an ended settlement without an end": "UPDATE settlement_transactions SET state = 'failed'"
    " WHERE id = $1",
    "an open settlement with an end": "UPDATE settlement_transactions SET ended_at = now() WHERE id = $1",
    "a freed obligation that is held": "UPDATE settlement_transactions SET state = 'failed',"
    " ended_at = now() WHERE id = $1",
    "a live obligation that is not": "UPDATE settlement_transactions SET holds_obligation = false"
    " WHERE id = $1",
    "more proofs than sendings": "UPDATE attempts SET undelivered = sends + 1 WHERE settlement_id = $1",
    "a resolution without an outcome": "UPDATE fund_locks SET resolved_at = now() WHERE settlement_id = $1",
    "a second head of the stream": "INSERT INTO stream_head (is_only, position) VALUES (false, 1)",
    "a move that is not in the state machine": "INSERT INTO moves SELECT 1000, settlement_id, 99, 'locked',"
    " 'cancelled', 'failed', now(), 1, 1 FROM moves LIMIT 1",
    "the same move twice": "INSERT INTO moves SELECT position + 1000, settlement_id, seq,"
    " from_state, event, to_state, at, epoch, attempt FROM moves LIMIT 1",
    "an answer that is not in the state machine": "INSERT INTO answers (settlement_id, attempt, state, event,"
    " asked, at) SELECT settlement_id, 1, 'queued', 'no_answer', 1, now() FROM moves LIMIT 1",
    "a first cover that somebody has ordered": f"{COVERS} 1, 'CG', 'bytes', now(), false, 'ada', '')",
    "a cover without bytes": f"{COVERS} 1, 'CG', '', now(), false, '', '')",
    "a cover of no attempt": f"{COVERS.replace('$1, 1', '$1, 7')} 1, 'CG', 'bytes', now(), false, '', '')",
    "a refusal of one transmission": f"{COVER_RESULTS} 1, 'refused', '', '')",
    "a proof of no transmission": f"{COVER_RESULTS} 0, 'undelivered', '', '')",
    "a result of no cover": f"{COVER_RESULTS.replace('1, 1,', '1, 9,')} 1, 'undelivered', '', '')",
    "an answer that came less than once": "INSERT INTO answers (settlement_id, attempt, state, event,"
    " asked, at, times) SELECT settlement_id, 1, 'sent', 'no_answer', 1, now(), 0 FROM moves LIMIT 1",
}


async def test_constraints_refuse_invalid_rows(scene, connection):
    settlement = await scene.bring(State.LOCKED)
    await scene.stores.covers.record([new_cover(settlement)])
    for what, change in REFUSED_BY_A_CONSTRAINT.items():
        arguments = [settlement.id] if "$1" in change else []
        with pytest.raises(asyncpg.IntegrityConstraintViolationError) as refused:  # noqa: PT012 - says which
            await connection.execute(change, *arguments)
            pytest.fail(f"{what} was let through")
        assert not isinstance(refused.value, asyncpg.NotNullViolationError), what


async def test_the_server_of_the_tests_is_safe_for_money(stores):
    assert await check_safety(DatabaseSettings(url=stores.url)) == []


# --- views ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("currency", "minor", "expected"),
    [
        ("KWD", 1005, "1.005"),
        ("JPY", 100, "100"),
        ("EUR", 1250, "12.50"),
        ("CLF", 12345, "1.2345"),
        ("KWD", 10**18 - 1, "999999999999999.999"),
    ],
)
async def test_account_views_show_amounts_with_the_currencys_decimals(
    scene, connection, currency, minor, expected
):
    bank = f"N{scene.source_bank}"
    accounts = scene.stores.accounts
    await accounts.open_account(spec(AccountKind.NOSTRO, bank, currency=currency))
    await accounts.open_account(
        spec(AccountKind.VOSTRO, bank, currency=currency, credit_limit=minor, account_number="V-1")
    )
    await accounts.fund(funding(minor, bank=bank, currency=currency))
    nostro = await connection.fetchrow("SELECT * FROM nostro_accounts WHERE bank = $1", bank)
    assert (str(nostro["balance"]), str(nostro["available_balance"])) == (expected, expected)
    assert (nostro["currency"], nostro["is_active"]) == (currency, True)
    assert nostro["last_reconciled"] is None
    vostro = await connection.fetchrow("SELECT * FROM vostro_accounts WHERE bank = $1", bank)
    assert str(vostro["credit_limit"]) == expected
    assert vostro["account_number"] == "V-1"
    assert vostro["balance"] == 0


async def test_account_views_follow_holds_and_postings(scene, connection):
    await scene.bring(State.LOCKED, minor=150)
    await scene.bring(State.COMPLETED, minor=250)
    nostro = await connection.fetchrow(
        "SELECT * FROM nostro_accounts WHERE bank = $1", scene.source_bank
    )
    assert nostro["balance"] == Decimal("9999997.50")
    assert nostro["available_balance"] == Decimal("9999996.00")
    vostro = await connection.fetchrow(
        "SELECT * FROM vostro_accounts WHERE bank = $1", scene.target_bank
    )
    assert vostro["balance"] == Decimal("2.50")


VIEWS = {
    "nostro_accounts": "id bank account_number currency balance available_balance last_reconciled"
    " is_active created_at",
    "vostro_accounts": "id bank account_number currency balance credit_limit is_active created_at",
    "atomic_operations": "id type started_at completed_at state rollback_reason",
    "operation_checkpoints": "id operation_id name timestamp data",
}


@pytest.mark.parametrize("view", VIEWS)
async def test_views_have_the_specifications_columns(connection, view):
    statement = await connection.prepare(f"SELECT * FROM {view}")
    found = {each.name for each in statement.get_attributes()}
    assert set(VIEWS[view].split()) <= found


@pytest.mark.parametrize(
    ("state", "shown", "checkpoints"),
    [
        (State.VALIDATING, "in_progress", []),
        (State.LOCKED, "in_progress", ["validation_complete", "funds_locked"]),
        (State.IN_DOUBT, "in_progress", ["validation_complete", "funds_locked"]),
        (
            State.SENT,
            "in_progress",
            ["validation_complete", "funds_locked", "transfer_initiated"],
        ),
        (
            State.COMPLETED,
            "committed",
            [
                *("validation_complete", "funds_locked"),
                *("transfer_initiated", "transfer_confirmed", "settlement_finalized"),
            ],
        ),
        (State.ROLLED_BACK, "rolled_back", ["validation_complete", "funds_locked"]),
        (State.FAILED, "rolled_back", []),
    ],
)
async def test_a_settlement_is_shown_as_an_atomic_operation(
    scene, connection, state, shown, checkpoints
):
    settlement = await scene.bring(state)
    found = await connection.fetchrow(
        "SELECT * FROM atomic_operations WHERE id = $1", settlement.id
    )
    assert (found["type"], found["state"]) == ("settlement", shown)
    assert (found["started_at"], found["completed_at"]) == (
        settlement.created_at,
        settlement.ended_at,
    )
    assert found["rollback_reason"] == (settlement.refusal_code or None)
    rows = await connection.fetch(
        "SELECT * FROM operation_checkpoints WHERE operation_id = $1 ORDER BY seq", settlement.id
    )
    assert sorted(row["name"] for row in rows) == sorted(checkpoints)
    assert len({row["id"] for row in rows}) == len(rows)
    times = {moved.seq: moved.at for moved in await scene.stores.settlements.history(settlement.id)}
    assert all(row["timestamp"] == times[row["seq"]] for row in rows)


async def test_money_survives_the_way_there_and_back_to_the_last_unit(scene):
    for minor in (1, 999, 10**18 - 1):
        settlement = await scene.new(amount=Money(minor, "KWD"))
        assert settlement.instruction.amount == Money(minor, "KWD")


async def test_a_session_that_cannot_have_its_limits_is_closed(stores):
    """Left open, the interpreter would report it as a warning, which is an error in tests."""
    with pytest.raises(asyncpg.UndefinedObjectError):
        await connect(DatabaseSettings(url=stores.url), {"no_such_setting": "1"})
    gc.collect()


async def test_a_vacuum_does_not_truncate_tables_and_blocks_nobody(superuser):
    rows = (
        "INSERT INTO open_settlements (settlement_id, owner, epoch, due_at)"
        " SELECT gen_random_uuid(), 0, 1, 'infinity' FROM generate_series(1, 5000)"
        " RETURNING settlement_id"
    )
    made = [row["settlement_id"] for row in await superuser.fetch(rows)]
    size = await superuser.fetchval("SELECT pg_relation_size('open_settlements')")
    await superuser.execute("DELETE FROM open_settlements WHERE settlement_id = ANY ($1)", made)
    await superuser.execute("VACUUM open_settlements")
    assert await superuser.fetchval("SELECT pg_relation_size('open_settlements')") == size
