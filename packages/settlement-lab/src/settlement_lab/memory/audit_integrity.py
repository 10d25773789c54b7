"""The proof in memory of what must never be rewritten: the checks of ``sql/queries/proof.sql``, by name."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from settlement_engine.domain.bank_codes import folded_bank
from settlement_engine.domain.breaks.resolutions import DESTINATIONS, Destination
from settlement_engine.domain.closed_differences import DIFFERENCE_ACCOUNTS
from settlement_engine.domain.identifiers import key_hash, references
from settlement_engine.domain.intent import (
    DELIVERY,
    PAYLOAD_SHA256,
    ROUTE,
    TRACE,
    VALID_UNTIL,
    intent_detail,
)
from settlement_engine.domain.ledger import AccountKind, Leg
from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.domain.money import Money
from settlement_engine.domain.payment import Delivery
from settlement_engine.store.accounts import CONTROL_NUMBER
from settlement_lab.memory import (
    audit_compensations,
    audit_history,
    audit_notices,
    audit_reconciliation,
    audit_set_aside,
    audit_statements,
)
from settlement_lab.memory.audit_breaks import (
    BREAK_CHECKS,
    CORRECTIONS,
    DIFFERENCES,
    break_proposals_have_their_hash,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from settlement_engine.domain.ledger import Account
    from settlement_engine.domain.settlement import Moved, Settlement
    from settlement_lab.memory.records import AccountCall, Records

    Found = Iterator[tuple[object, object, object]]

OWN_ACCOUNTS: Final = frozenset({*DESTINATIONS.values(), *DIFFERENCE_ACCOUNTS.values()})
"""The accounts that closing a break or a difference opens."""

NONE: Final = "none"
A_SETTLEMENT: Final = "a settlement"
OPENING, FUNDING = "open_account", "fund_account"


def _locks_are_single(_records: Records) -> Found:
    """No settlement has a second hold: in memory they are stored by settlement."""
    yield from ()


def _transfers_have_settlements(records: Records) -> Found:
    """Every transfer except fundings, and what closes breaks, belongs to a settlement."""
    outside = {Leg.FUNDING, *CORRECTIONS, *DIFFERENCES}
    for transfer in records.transfers.values():
        if transfer.leg not in outside and transfer.group_id not in records.histories:
            yield transfer.group_id, A_SETTLEMENT, NONE


def _side(account: Account | None) -> tuple[object, str, str]:
    if account is None:
        return NONE, "", ""
    return account.kind, folded_bank(account.bank), account.currency


def _fundings_go_to_clearing(records: Records) -> Found:
    """Every funding is from a bank's nostro account to its own clearing account."""
    for transfer in records.transfers.values():
        debited = records.accounts.get(transfer.debit_id)
        credited = records.accounts.get(transfer.credit_id)
        if transfer.leg is not Leg.FUNDING or debited is None or credited is None:
            continue
        expected = (AccountKind.NOSTRO, AccountKind.CLEARING, folded_bank(debited.bank))
        found = (debited.kind, credited.kind, folded_bank(credited.bank))
        if expected != found:
            yield f"{transfer.group_id} {transfer.reference}", expected, found


def _booked(records: Records) -> Counter[tuple[object, ...]]:
    return Counter(
        (each.debit_id, str(Money(each.amount_minor, each.currency)), each.currency, each.reference)
        for each in records.transfers.values()
        if each.leg is Leg.FUNDING
    )


def _called(records: Records) -> Counter[tuple[object, ...]]:
    return Counter(
        (each.account_id, *(each.content[name] for name in ("amount", "currency", "reference")))
        for each in records.calls.values()
        if each.call == FUNDING
    )


def _fundings_have_calls(records: Records) -> Found:
    """Each funding of an account with an amount and a reference was requested by a call."""
    for subject, times in (_booked(records) - _called(records)).items():
        yield subject, f"{times} more calls", NONE


def _calls_have_fundings(records: Records) -> Found:
    """Each call that requested a funding was posted."""
    for subject, times in (_called(records) - _booked(records)).items():
        yield subject, f"{times} more fundings", NONE


def _calls_have_accounts(records: Records) -> Found:
    """Check that the account of each call exists and is as the call describes it."""
    for key, call in records.calls.items():
        expected = (
            call.content.get("kind", AccountKind.NOSTRO),
            folded_bank(str(call.content["bank"])),
            call.content["currency"],
        )
        account = records.accounts.get(call.account_id)
        found = _side(account)
        is_named = account is not None and _is_number_of(call, account)
        if expected != found or not is_named or call.call not in (OPENING, FUNDING):
            yield key, (call.call, *expected), (*found, account and account.account_number)


def _is_number_of(call: AccountCall, account: Account) -> bool:
    """Return whether the call means this account; a default account number contains the bank's code."""
    number, bank = call.content["account_number"], call.content["bank"]
    if number in ("", account.account_number):
        return True
    kind, currency = account.kind, account.currency
    is_default = number == f"{kind}-{bank}-{currency}"
    return is_default and account.account_number == f"{kind}-{folded_bank(account.bank)}-{currency}"


def _accounts_have_calls(records: Records) -> Found:
    """Every account except the control accounts, and those of what closes breaks, was opened by a call."""
    opened = {call.account_id for call in records.calls.values() if call.call == OPENING}
    for account in records.accounts.values():
        is_own = account.account_number == CONTROL_NUMBER or (
            Destination(account.kind, account.account_number) in OWN_ACCOUNTS
        )
        if not is_own and account.id not in opened:
            yield account.id, "a call that opened it", NONE


def _moves_have_settlements(records: Records) -> Found:
    """No move belongs to a settlement that does not exist."""
    for key in {moved.settlement_id for moved in records.moves} - records.histories.keys():
        yield key, A_SETTLEMENT, NONE


def _settlements_begin_as_admitted(records: Records) -> Found:
    """Compare the creation of each settlement with its first move, and its value date with that day."""
    for history in records.histories.values():
        for first in records.moves_of.get(history.id, [])[:1]:
            expected = (first.at, history.instruction.value_date or first.at.date())
            if expected != (history.created_at, history.value_date):
                yield history.id, expected, (history.created_at, history.value_date)


def _locks_of(history: Settlement, records: Records) -> list[Moved]:
    """Return the moves that locked funds."""
    return [
        moved
        for moved in records.moves_of.get(history.id, [])
        if moved.event is Event.CLEARED and moved.to_state is State.LOCKED
    ]


def _attempts_follow_moves(records: Records) -> Found:
    """Each attempt was recorded by one move that locked its funds, in the same commit."""
    for history in records.histories.values():
        expected = [moved.at for moved in _locks_of(history, records)]
        found = [history.attempt.recorded_at] if history.attempt else []
        if expected != found:
            yield history.id, expected, found


def _attempts_have_settlements(_records: Records) -> Found:
    """Each attempt belongs to a settlement: in memory it is stored with it."""
    yield from ()


def _as_locked(records: Records, names: tuple[str, ...]) -> Found:
    for history in records.histories.values():
        if history.attempt is None:
            continue
        made = intent_detail(history.attempt)
        for moved in _locks_of(history, records):
            told = {name: moved.detail[name] for name in names if name in moved.detail}
            found = {name: made[name] for name in told}
            if told != found:
                yield history.id, told, found


def _payloads_are_as_locked(records: Records) -> Found:
    """Compare the bytes of each attempt with the hash that its lock recorded, if it recorded one."""
    yield from _as_locked(records, (PAYLOAD_SHA256,))


def _routes_are_as_locked(records: Records) -> Found:
    """Rail, accounts and validity of an attempt are those that its lock recorded."""
    yield from _as_locked(records, (ROUTE, VALID_UNTIL))


def _traces_are_as_locked(records: Records) -> Found:
    """Compare the trace of each attempt with the one that its lock recorded: both or neither have one."""
    for history in records.histories.values():
        if history.attempt is None:
            continue
        found = intent_detail(history.attempt).get(TRACE)
        for moved in _locks_of(history, records):
            told = moved.detail.get(TRACE)
            if told != found:
                yield history.id, told, found


def _deliveries_are_as_locked(records: Records) -> Found:
    """Compare each attempt's delivery with what its lock recorded, and with what the instruction asks for."""
    for history in records.histories.values():
        for moved in _locks_of(history, records) if history.attempt is not None else ():
            assert history.attempt is not None
            told, found = moved.detail.get(DELIVERY, Delivery.BOOK), history.attempt.route.delivery
            if not told == found == history.instruction.delivery:
                yield history.id, f"{told} locked, {history.instruction.delivery} asked for", found


def _payment_details_have_settlements(_records: Records) -> Found:
    """In memory they are stored with the settlement."""
    yield from ()


def _routes_name_their_accounts(records: Records) -> Found:
    """Compare the four accounts of each attempt with the instruction's banks and the rail."""
    for history in records.histories.values():
        if history.attempt is None:
            continue
        request, route = history.instruction, history.attempt.route
        payer, payee = folded_bank(request.from_bank), folded_bank(request.to_bank)
        expected = [
            (AccountKind.NOSTRO, payer, request.amount.currency),
            (AccountKind.SETTLEMENT, folded_bank(route.rail), request.amount.currency),
            (AccountKind.CLEARING, payer, request.amount.currency),
            (AccountKind.VOSTRO, payee, request.amount.currency),
        ]
        named = (route.source_id, route.agent_id, route.clearing_id, route.target_id)
        found = [_side(records.accounts.get(account_id)) for account_id in named]
        if expected != found:
            yield history.id, expected, found


def _instructions_are_as_received(records: Records) -> Found:
    """Each instruction has the fingerprint that was stored at admission."""
    for history in records.histories.values():
        expected, found = records.hashes[history.id].content_hash, history.instruction.content_hash
        if expected != found:
            yield history.id, expected.hex(), found.hex()


def _keys_have_their_hash(records: Records) -> Found:
    """Caller and key have the hash under which they are unique."""
    for history in records.histories.values():
        expected, found = records.hashes[history.id].key_hash, history.instruction.key_hash
        if expected != found:
            yield history.id, expected, found


def _references_follow_from_keys(records: Records) -> Found:
    """Check that the references of each payment are derived from caller, key and attempt."""
    for history in records.histories.values():
        if history.attempt is None:
            continue
        request = history.instruction
        expected = references(request.caller, request.idempotency_key, history.attempt.number)
        if expected != history.attempt.references:
            yield history.id, expected, history.attempt.references


def _calls_have_their_hash(records: Records) -> Found:
    """Caller, key and call have the hash under which they are unique."""
    for key, call in records.calls.items():
        found = key_hash(call.caller, call.key, call.call)
        if key != found:
            yield call.key, key, found


CHECKS: Final[Mapping[str, Callable[[Records], Found]]] = {
    "locks_are_single": _locks_are_single,
    "transfers_have_settlements": _transfers_have_settlements,
    "fundings_go_to_clearing": _fundings_go_to_clearing,
    "fundings_have_calls": _fundings_have_calls,
    "calls_have_fundings": _calls_have_fundings,
    "calls_have_accounts": _calls_have_accounts,
    "accounts_have_calls": _accounts_have_calls,
    "moves_have_settlements": _moves_have_settlements,
    "settlements_begin_as_admitted": _settlements_begin_as_admitted,
    "attempts_follow_moves": _attempts_follow_moves,
    "attempts_have_settlements": _attempts_have_settlements,
    "payloads_are_as_locked": _payloads_are_as_locked,
    "routes_are_as_locked": _routes_are_as_locked,
    "traces_are_as_locked": _traces_are_as_locked,
    "deliveries_are_as_locked": _deliveries_are_as_locked,
    "payment_details_have_settlements": _payment_details_have_settlements,
    "routes_name_their_accounts": _routes_name_their_accounts,
    **BREAK_CHECKS,
    **audit_compensations.CHECKS,
    **audit_history.CHECKS,
    **audit_notices.CHECKS,
    **audit_reconciliation.CHECKS,
    **audit_set_aside.CHECKS,
    **audit_statements.CHECKS,
    "instructions_are_as_received": _instructions_are_as_received,
    "keys_have_their_hash": _keys_have_their_hash,
    "references_follow_from_keys": _references_follow_from_keys,
    "calls_have_their_hash": _calls_have_their_hash,
    "break_proposals_have_their_hash": break_proposals_have_their_hash,
    "statement_proposals_have_their_hash": audit_set_aside.statement_proposals_have_their_hash,
    "issued_files_list_their_transfers": audit_statements.issued_files_list_their_transfers,
    "regulatory_reports_are_as_made": audit_statements.regulatory_reports_are_as_made,
    "proofs_follow_day_sums": audit_reconciliation.proofs_follow_day_sums,
}
"""Each yields subject, expected and found for each difference."""
