"""The guards of the tables' constraints, in memory: a batch that violates one changes nothing.

They raise InvariantViolated, as the store on PostgreSQL does. A caller reaches these guards only by a bug
in the engine.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from settlement_engine.domain.bank_codes import is_same_bank
from settlement_engine.domain.charges import EACH_BEARS_ITS_OWN, SENDER_BEARS, bearer_of
from settlement_engine.domain.compensation import paid_back_minor
from settlement_engine.domain.covers import COVER, COVER_SHA256
from settlement_engine.domain.exceptions import CaseKind
from settlement_engine.domain.identity import person_of
from settlement_engine.domain.ledger import BALANCE_MAX, GUARDED
from settlement_engine.domain.lifecycle import RETURNS, TRANSITIONS, Do, Event, State, is_recorded
from settlement_engine.domain.money import AMOUNT_DIGITS_MAX, are_booked
from settlement_engine.domain.proposals import Decision, Finding
from settlement_engine.domain.returns import left_of
from settlement_engine.errors import InvariantViolated

if TYPE_CHECKING:
    from collections.abc import Container, Mapping
    from uuid import UUID

    from settlement_engine.domain.ledger import Account
    from settlement_engine.domain.returns import Return
    from settlement_engine.domain.settlement import Instruction, Settlement
    from settlement_engine.ports import TransitionCommand
    from settlement_lab.memory.records import Records

OBLIGATION_LENGTH_MAX: Final = 64
BANK_LENGTH_MAX: Final = 20
ACCOUNT_NUMBER_LENGTH_MAX: Final = 64
CREDIT_LIMIT_MAX: Final = 10**18
TWO_PEOPLE: Final = 2


def _require(truth: object, why: str) -> None:
    if not truth:
        what = "the store refused a write that violates a rule of the books"
        raise InvariantViolated(what, why=why)


def require_sound(request: Instruction) -> None:
    """Refuse an instruction that the API should have refused."""
    _require(1 <= len(request.obligation_id) <= OBLIGATION_LENGTH_MAX, "the obligation's length")
    _require(
        not is_same_bank(request.from_bank, request.to_bank), "a settlement is between two banks"
    )
    _require(1 <= request.amount.minor < 10**AMOUNT_DIGITS_MAX, "the amount's size")


def require_paying_back(request: Instruction, compensated: Settlement | None) -> None:
    """Refuse a compensation that does not pay back what the settlement that it names has paid."""
    before = compensated.instruction if compensated is not None else None
    _require(
        before is not None
        and is_same_bank(request.from_bank, before.to_bank)
        and is_same_bank(request.to_bank, before.from_bank)
        and request.amount.currency == before.amount.currency,
        "a compensation pays back what another settlement has paid",
    )


def left_to_give_back(records: Records, settlement_id: UUID) -> int:
    """Return what may still be given back of a settlement, in minor units; nothing if there is none."""
    if settlement_id not in records.histories:
        return 0
    found = records.copy(settlement_id)
    left = left_of(found.instruction.amount.minor, found.returns)
    return left - paid_back_minor(found.compensations)


def require_released(step: TransitionCommand, records: Records) -> None:
    """Refuse to hold funds for a compensation that two people have not released."""
    settlement = step.settlement
    if settlement.instruction.compensates is None or step.transition.do is not Do.LOCK:
        return
    is_released = has_release(settlement, records, before_seq=settlement.seq + 1)
    _require(is_released, "a compensation is released by two people")


def has_release(settlement: Settlement, records: Records, *, before_seq: int) -> bool:
    """Say whether two people, neither of them its caller, had released a settlement before this move."""
    caller = person_of(settlement.instruction.caller)
    carried_out = {
        moved.detail.get("proposal")
        for moved in records.moves_of[settlement.id]
        if moved.event is Event.APPROVED and moved.seq < before_seq
    }
    proposals = [
        each.proposal for key, each in records.resolutions.items() if str(key) in carried_out
    ]
    return any(
        len({person_of(each.proposed_by), person_of(each.decided_by)} - {caller}) == TWO_PEOPLE
        for each in proposals
        if each.settlement_id == settlement.id
        and (each.finding, each.decision) == (Finding.RELEASE, Decision.APPROVED)
    )


def require_legal(step: TransitionCommand) -> None:
    """Refuse what is not a transition of the state machine, be it a move or an answer that changes nothing.

    The work of the transition is not compared: PostgreSQL's CHECK does not know it either.
    """
    state, transition = step.settlement.state, step.transition
    known = TRANSITIONS[state].get(step.event)
    is_legal = known is not None and known.state is transition.state
    is_legal = (
        is_legal
        and known is not None
        and is_recorded(state, known) == is_recorded(state, transition)
    )
    _require(is_legal, f"there is no transition from {state} by {step.event} to {transition.state}")


def require_return(step: TransitionCommand) -> None:
    """Refuse a return of more than is left, and one whose new state contradicts what is left."""
    if step.event not in RETURNS:
        return
    _require(step.back is not None, "a return without its amount")
    back, history = step.back, step.settlement
    assert back is not None
    left = left_of(history.instruction.amount.minor, (*history.returns, back))
    _require(back.amount_minor > 0 and back.charges_minor >= 0, "the amount of a return")
    _require(left >= 0, "a return of more than is left")
    _require(is_borne(history, back), "charges that FROM does not bear")
    _require((not left) is (step.transition.state is State.RETURNED), "the state after a return")
    known = {(each.posting, each.reference) for each in history.returns}
    is_new = all(back.posting != number and back.reference != name for number, name in known)
    _require(is_new, "a return is booked twice")


def is_borne(settlement: Settlement, back: Return) -> bool:
    """Say whether the charge bearer of the payment says that FROM bears what it is billed of a return's charges."""
    most = {SENDER_BEARS: back.charges_minor, EACH_BEARS_ITS_OWN: back.charges_minor}
    bearer = bearer_of(settlement.instruction.payment)
    is_whole = bearer != SENDER_BEARS or back.rebilled_minor in (0, back.charges_minor)
    return is_whole and 0 <= back.rebilled_minor <= most.get(bearer, 0)


def require_unfiled(step: TransitionCommand, filed: Container[UUID]) -> None:
    """Refuse to abandon a payment that is in a file: its bytes may leave."""
    is_abandoned = step.event is Event.ABANDONED
    _require(not is_abandoned or step.settlement.id not in filed, "what is filed is not abandoned")


def require_opening(account: Account) -> None:
    """Refuse an account with invalid fields."""
    _require(are_booked([account.currency]), f"unknown currency {account.currency}")
    _require(1 <= len(account.bank) <= BANK_LENGTH_MAX, "the bank's length")
    number = account.account_number
    _require(1 <= len(number) <= ACCOUNT_NUMBER_LENGTH_MAX, "the account number's length")
    _require(0 <= account.credit_limit <= CREDIT_LIMIT_MAX, "the credit limit's size")


def require_balance(account: Account) -> None:
    """Refuse balances that no account may have."""
    sides = (account.debits_posted, account.credits_posted)
    _require(all(0 <= side <= BALANCE_MAX for side in sides), "a side of the account is too large")
    _require(account.held >= 0, "less than nothing is held")
    is_covered = account.kind not in GUARDED or account.has_room_for(0)
    _require(is_covered, f"account {account.id} falls below its limit")


def require_hold(*, is_standing: bool) -> None:
    """Refuse to end a hold that is not open."""
    _require(is_standing, "there is no hold to resolve")


def require_account(account: Account | None, account_id: int) -> Account:
    """Refuse to move money on an account that does not exist."""
    _require(account is not None, f"there is no account {account_id}")
    assert account is not None
    return account


TOLD_OTHERWISE: Final = {
    CaseKind.SECOND_DEBIT: CaseKind.DEBITED_TWICE,
    CaseKind.DEBITED_TWICE: CaseKind.SECOND_DEBIT,
}


def entry_of(detail: Mapping[str, str]) -> tuple[str | None, ...]:
    """Return the place of the entry that a case is about."""
    places = ("statement_entry", "statement", "statement_detail")
    return tuple(detail.get(each) for each in places)


def require_cover(step: TransitionCommand, records: Records) -> None:
    """Refuse the send intent of a cover that is not the last one, or that its bank has refused."""
    if step.event is not Event.COVER_DUE:
        return
    attempt, detail = step.settlement.attempt, step.detail
    assert attempt is not None, "what is covered was sent"
    key = (step.settlement.id, attempt.number)
    covers = records.covers.stored.get(key, [])
    named = covers[-1] if covers and str(covers[-1].number) == detail.get(COVER) else None
    is_stored = named is not None and (
        hashlib.sha256(named.content).hexdigest() == detail.get(COVER_SHA256)
    )
    if named is None or not is_stored or named.refusal is not None:
        what = "the send intent of a cover names the last one, which its bank has not refused"
        raise InvariantViolated(what)
