"""The proof of the books in memory (``ports.Auditor``): the checks of ``sql/queries/proof.sql``, by name.

It uses nothing that the other modules have computed: balances are recomputed from the transfers, holds
from the locks, states from the moves.
"""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from settlement_engine.domain.announcement import POSITIONS_PER_EPOCH, follows
from settlement_engine.domain.bank_codes import folded_bank
from settlement_engine.domain.ledger import (
    GUARDED,
    AccountKind,
    Leg,
    reverse,
    settle,
    suspend_cash,
    suspend_return,
    suspend_second_debit,
)
from settlement_engine.domain.lifecycle import HOLDING, RETURNS, Event, State
from settlement_engine.domain.settlement import Attestation
from settlement_engine.ports import Difference, Proof
from settlement_engine.store.accounts import CONTROL_NUMBER
from settlement_lab.memory import audit_integrity
from settlement_lab.memory.guards import is_borne

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from settlement_engine.domain.ledger import Transfer
    from settlement_engine.domain.settlement import Settlement
    from settlement_lab.memory.records import Lock, Records

    Found = Iterator[tuple[object, object, object]]

POSTED: Final = frozenset({State.COMPLETED, State.RETURNED})
NONE: Final = "none"


class MemoryAuditor:
    """See ``ports.Auditor``."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def prove(self) -> Proof:
        """Recompute balances, holds, conservation, histories and the stream."""
        records = self._records
        turnover: Counter[str] = Counter()
        for account in records.accounts.values():
            turnover[account.currency] += account.debits_posted
        return Proof(
            accounts=len(records.accounts),
            transfers=len(records.transfers),
            settlements=len(records.histories),
            open_settlements=len(records.open),
            open_holds=sum(not lock.outcome for lock in records.locks.values()),
            totals=dict(turnover),
            differences=[
                Difference(
                    check=name, subject=str(subject), expected=str(expected), found=str(found)
                )
                for name, check in CHECKS.items()
                for subject, expected, found in check(records)
            ],
        )


def _balances(records: Records) -> Found:
    """Every balance is the sum of its transfers."""
    debits: Counter[int] = Counter()
    credits_: Counter[int] = Counter()
    for transfer in records.transfers.values():
        debits[transfer.debit_id] += transfer.amount_minor
        credits_[transfer.credit_id] += transfer.amount_minor
    for account in records.accounts.values():
        expected = (debits[account.id], credits_[account.id])
        found = (account.debits_posted, account.credits_posted)
        if expected != found:
            yield account.id, expected, found


def _transfers_have_accounts(records: Records) -> Found:
    """Both sides of every transfer exist, in the transfer's currency."""
    for transfer in records.transfers.values():
        sides = [records.accounts.get(key) for key in (transfer.debit_id, transfer.credit_id)]
        found = [side.currency if side else NONE for side in sides]
        if found != [transfer.currency] * 2:
            yield transfer.group_id, transfer.currency, found


def _held(records: Records) -> Found:
    """Each account holds the sum of its open locks."""
    expected: Counter[int] = Counter()
    for lock in records.locks.values():
        expected[lock.account_id] += 0 if lock.outcome else lock.amount_minor
    for account in records.accounts.values():
        if account.held != expected[account.id]:
            yield account.id, expected[account.id], account.held


def _conservation(records: Records) -> Found:
    """Per currency, debits equal credits."""
    debits: Counter[str] = Counter()
    credits_: Counter[str] = Counter()
    for account in records.accounts.values():
        debits[account.currency] += account.debits_posted
        credits_[account.currency] += account.credits_posted
    for currency, total in debits.items():
        if total != credits_[currency]:
            yield currency, total, credits_[currency]


def _no_overdraft(records: Records) -> Found:
    """No guarded account is below its limit."""
    for account in records.accounts.values():
        if account.kind in GUARDED and not account.has_room_for(0):
            yield account.id, -account.credit_limit, account.available


def _hold_of(history: Settlement) -> str:
    """Return what a state requires of the settlement's lock."""
    if history.state in HOLDING:
        return "open"
    if history.state in POSTED:
        return "posted"
    return "released" if history.state is State.ROLLED_BACK else NONE


def _said(lock: Lock | None) -> str:
    return NONE if lock is None else lock.outcome or "open"


def _locks_follow_histories(records: Records) -> Found:
    """Check that a lock is open while the rail may have the payment, then posted or released."""
    for history in records.histories.values():
        lock, amount_minor = records.locks.get(history.id), history.instruction.amount.minor
        found = _said(lock)
        if lock is not None and lock.amount_minor != amount_minor:
            found += f", of {lock.amount_minor} instead of {amount_minor}"
        if found != _hold_of(history):
            yield history.id, _hold_of(history), found


def _locks_have_histories(records: Records) -> Found:
    """No lock belongs to a settlement that does not exist."""
    for key in records.locks.keys() - records.histories.keys():
        yield key, "a settlement", NONE


def _locks_have_accounts(records: Records) -> Found:
    """Every lock is on the account that its attempt names, in the account's currency."""
    for key, lock in records.locks.items():
        account = records.accounts.get(lock.account_id)
        history = records.histories.get(key)
        attempt = history.attempt if history else None
        source_id = attempt.route.source_id if attempt else lock.account_id
        expected = (source_id, lock.currency)
        found = (lock.account_id, account.currency if account else NONE)
        if expected != found:
            yield key, expected, found


def _due_transfers(history: Settlement, records: Records) -> tuple[Transfer, ...]:
    """Return the transfers that the settlement's history requires by now."""
    if history.attempt is None:
        return ()
    amount, route = history.instruction.amount, history.attempt.route
    sides = (amount.minor, amount.currency)
    control = (AccountKind.SUSPENSE, folded_bank(route.rail), amount.currency, CONTROL_NUMBER)
    suspense_id = records.by_number.get(control, 0)
    made: tuple[Transfer, ...] = ()
    if history.state in POSTED:
        made += settle(history.id, route, *sides)
    fees = (
        AccountKind.FEES,
        folded_bank(history.instruction.from_bank),
        amount.currency,
        CONTROL_NUMBER,
    )
    fees_id = records.by_number.get(fees, 0)
    for back in history.returns:
        if (history.id, back.posting, Leg.OBLIGATION_SUSPENDED) in records.transfers:
            currency = amount.currency
            made += suspend_return(history.id, route, suspense_id, back, currency, fees_id)
        else:
            made += reverse(history.id, route, back, amount.currency, fees_id)
    if history.attestation is Attestation.DISPROVED:
        is_at_agent = history.state is State.ROLLED_BACK
        made += suspend_cash(history.id, route, suspense_id, *sides, is_at_agent=is_at_agent)
    if any(each.event is Event.DEBITED_TWICE for each in records.moves_of.get(history.id, ())):
        made += suspend_second_debit(history.id, route, suspense_id, *sides)
    return made


def _sides(transfers: tuple[Transfer, ...]) -> list[tuple[object, ...]]:
    return sorted(
        (t.posting, t.leg, t.debit_id, t.credit_id, t.amount_minor, t.currency) for t in transfers
    )


def _transfers_follow_histories(records: Records) -> Found:
    """Check that completed settlements have two transfers, and others none except to suspense."""
    groups: dict[object, tuple[Transfer, ...]] = {}
    for transfer in records.transfers.values():
        groups[transfer.group_id] = (*groups.get(transfer.group_id, ()), transfer)
    for history in records.histories.values():
        expected, found = (
            _sides(_due_transfers(history, records)),
            _sides(groups.get(history.id, ())),
        )
        if expected != found:
            yield history.id, expected, found


def _charges_are_billed_as_borne(records: Records) -> Found:
    """Check that FROM is billed for charges only where the payment's charge bearer says so."""
    for history in records.histories.values():
        for back in history.returns:
            if not is_borne(history, back):
                yield history.id, "charges that FROM bears", f"{back.rebilled_minor} billed"


def _returns_follow_histories(records: Records) -> Found:
    """Check that returns do not exceed the amount, and that each has a move recording the rest."""
    for history in records.histories.values():
        whole = history.instruction.amount.minor
        moves = [each for each in records.moves_of.get(history.id, []) if each.event in RETURNS]
        left, is_right = whole, len(moves) == len(history.returns)
        for back in history.returns:
            left -= back.part_minor
            is_right = is_right and back.left_minor == left
        due = {State.RETURNED: left == 0, State.COMPLETED: left > 0}
        if not is_right or not due.get(history.state, left == whole):
            yield (
                history.id,
                f"{len(moves)} returns",
                f"{len(history.returns)} returns, {left} left",
            )


def _attempts_follow_histories(records: Records) -> Found:
    """Each settlement that has or had passed the point of no return has its attempt recorded."""
    for history in records.histories.values():
        if _hold_of(history) != NONE and history.attempt is None:
            yield history.id, "an attempt", NONE


def _histories_are_whole(records: Records) -> Found:
    """Check that the moves of each settlement have no gap, and that the last one leads to its state."""
    for history in records.histories.values():
        moves = records.moves_of.get(history.id, [])
        is_whole = [moved.seq for moved in moves] == list(range(1, len(moves) + 1))
        is_whole = is_whole and all(one.to_state is two.from_state for one, two in pairwise(moves))
        last = moves[-1].to_state if moves else NONE
        if not is_whole or (history.seq, history.state) != (len(moves), last):
            yield history.id, (history.seq, history.state), (len(moves), last)


def _open_are_open(records: Records) -> Found:
    """Check that the list of open settlements contains all that have not ended, and no others."""
    expected = {history.id for history in records.histories.values() if history.ended_at is None}
    for key in expected ^ records.open.keys():
        yield key, key in expected, key in records.open


def _stream_is_whole(records: Records) -> Found:
    """Positions have no gap in each system epoch, from its first one to the head."""
    places = [0, *(moved.position for moved in records.moves)]
    is_unused = records.head % POSITIONS_PER_EPOCH == 0 and records.head > places[-1]
    is_gapless = all(follows(two, one) for one, two in pairwise(places))
    if not is_gapless or not (is_unused or records.head == places[-1]):
        yield "stream", len(records.moves), "gaps"


CHECKS: Final[Mapping[str, Callable[[Records], Found]]] = {
    "balances": _balances,
    "transfers_have_accounts": _transfers_have_accounts,
    "held": _held,
    "conservation": _conservation,
    "no_overdraft": _no_overdraft,
    "locks_follow_histories": _locks_follow_histories,
    "locks_have_histories": _locks_have_histories,
    "locks_have_accounts": _locks_have_accounts,
    "postings_follow_histories": _transfers_follow_histories,
    "charges_are_billed_as_borne": _charges_are_billed_as_borne,
    "returns_follow_histories": _returns_follow_histories,
    "attempts_follow_histories": _attempts_follow_histories,
    "histories_are_whole": _histories_are_whole,
    "open_are_open": _open_are_open,
    "stream_is_whole": _stream_is_whole,
    **audit_integrity.CHECKS,
}
"""Each yields subject, expected and found for each difference."""
