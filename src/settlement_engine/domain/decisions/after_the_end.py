"""What an answer means for a settlement that has ended: a repetition, a contradiction, or a return.

A contradiction posts nothing. It opens an exception with both messages and freezes the settlement. If two people
attested the outcome and a final status of the rail disproves it, the cash is booked to suspense, once. What an
entry of a bank's statement means stands in ``booked.py``.

Promises: a repeated status changes nothing. Must never: book to a customer's account because of a contradiction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from settlement_engine.domain.charges import bearer_of, rebilled_minor
from settlement_engine.domain.compensation import paid_back_minor
from settlement_engine.domain.decisions.booked import booked_event, booked_kind
from settlement_engine.domain.decisions.chosen import ChosenEvent
from settlement_engine.domain.decisions.pairs import is_of_one_bank
from settlement_engine.domain.exceptions import CaseKind
from settlement_engine.domain.lifecycle import TRANSITIONS, Do, Event, State
from settlement_engine.domain.preconditions import RefusalCode
from settlement_engine.domain.readable import plain
from settlement_engine.domain.returns import NotBooked, is_told_otherwise, judge_return
from settlement_engine.domain.settlement import Attestation
from settlement_engine.domain.statement_evidence import EntrySays

if TYPE_CHECKING:
    from collections.abc import Mapping

    from settlement_engine.domain.answer import Answer
    from settlement_engine.domain.returns import Return, StatedAmount
    from settlement_engine.domain.settlement import Settlement
    from settlement_engine.domain.statement_evidence import EntryEvidence

_MOVED: Final = frozenset({Event.SETTLED, Event.ATTESTED_SETTLED})
_DID_NOT_MOVE: Final = frozenset(
    {Event.REJECTED, Event.RECALLED, Event.NOT_FOUND, Event.ATTESTED_NOT_SETTLED}
)

_HAS_MOVED: Final = frozenset({State.COMPLETED, State.RETURNED})

CONTRADICTS: Final[Mapping[State, frozenset[Event]]] = {
    State.COMPLETED: _DID_NOT_MOVE,
    State.RETURNED: _DID_NOT_MOVE,
    State.FAILED: _MOVED | {Event.ACKNOWLEDGED},
    State.ROLLED_BACK: _MOVED | {Event.ACKNOWLEDGED},
}

DISPROVES: Final[Mapping[State, frozenset[Event]]] = {
    State.COMPLETED: frozenset({Event.REJECTED, Event.RECALLED}),
    State.ROLLED_BACK: frozenset({Event.SETTLED}),
}
"""Final statuses that disprove an attested outcome. *Not found* is not among them: the two people could have
known it, and a payment that the bank does not know yet may still arrive."""

DISAGREES_ONCE_DISPROVED: Final[Mapping[State, frozenset[Event]]] = {
    State.COMPLETED: frozenset({Event.SETTLED, Event.RETURNED}),
    State.ROLLED_BACK: _DID_NOT_MOVE | {Event.RETURNED},
}
"""What contradicts the rail's own final status by which it disproved what was attested."""


def contradicts(state: State, event: Event) -> bool:
    """Say whether the event contradicts the final state."""
    return event in CONTRADICTS.get(state, frozenset())


def disproves(state: State, event: Event) -> bool:
    """Say whether the event disproves the outcome that two people attested."""
    return event in DISPROVES.get(state, frozenset())


def contradicts_disproof(state: State, event: Event) -> bool:
    """Say whether the event contradicts the status that disproved the outcome; else it is a repetition."""
    return event in DISAGREES_ONCE_DISPROVED.get(state, frozenset())


_RAILS_OWN_NO: Final = frozenset(
    {
        RefusalCode.RAIL_REJECTED,
        RefusalCode.CANCELLED_BY_CALLER,
        RefusalCode.RECALLED_OVERDUE,
    }
)
"""Why a settlement was rolled back after the rail had rejected it, or had given it back."""


UNCOVERED: Final[Mapping[Event, Event]] = {
    Event.RETURNED: Event.UNCOVERED,
    Event.PARTLY_RETURNED: Event.PARTLY_UNCOVERED,
}
"""What a return is when the receiver's account does not cover it."""


def judge(settlement: Settlement, answer: Answer) -> ChosenEvent | None:
    """Judge an answer about a settlement that has ended; None when it changes nothing."""
    state, event = settlement.state, answer.event
    if answer.entry is not None and answer.entry.says is not EntrySays.RETURN:
        return _judge_entry(settlement, answer.entry)
    if is_of_one_bank(settlement, answer):
        return _judge_one_bank(settlement, answer)
    if settlement.attestation is Attestation.DISPROVED:
        # A repeated status, or one that fits the final state, changes nothing.
        is_news = contradicts_disproof(state, event)
        return ChosenEvent(Event.CONTRADICTED, CaseKind.CONTRADICTION) if is_news else None
    if event is Event.RETURNED:
        return _judge_return(settlement, stated_in(answer), answer.entry)
    is_attested = settlement.attestation is Attestation.STANDS and not settlement.returns
    if is_attested and disproves(state, event):
        return ChosenEvent(Event.DISPROVED, CaseKind.DISPROVED)
    kind = _kind(settlement, answer)
    return ChosenEvent(Event.CONTRADICTED, kind) if kind is not None else None


def _judge_entry(settlement: Settlement, entry: EntryEvidence) -> ChosenEvent | None:
    """Judge an entry of a statement. A debit of what two people attested as not settled disproves them."""
    state, event = settlement.state, booked_event(settlement.state, entry.says)
    if event is None:
        return None
    is_debit = state is State.ROLLED_BACK and entry.says is EntrySays.DEBIT
    if is_debit and settlement.attestation is Attestation.DISPROVED:
        return None  # the debit by which they were proved wrong
    if is_debit and settlement.attestation is Attestation.STANDS:
        return ChosenEvent(Event.DISPROVED, CaseKind.DISPROVED)
    return ChosenEvent(event, booked_kind(state, entry.says))


def _judge_one_bank(settlement: Settlement, answer: Answer) -> ChosenEvent | None:
    """Judge what one bank of a cover payment says of its message alone: it opens an exception at most.

    It disproves no attestation, because the people knew of both messages, and only FROM's is money. Where the money
    came back, TO had refused what was covered; and the two banks confirm one payment with a reference each.
    """
    event, is_moved = answer.event, settlement.state in _HAS_MOVED
    if answer.is_of_earlier_cover:
        return ChosenEvent(Event.CONTRADICTED, CaseKind.SECOND_DEBIT)
    if is_moved and event is Event.SETTLED:
        is_other = answer.stated.differs_from(settlement.instruction.amount)
        return ChosenEvent(Event.CONTRADICTED, CaseKind.AMOUNT_DIFFERS) if is_other else None
    if is_moved and (settlement.returns or settlement.state is State.RETURNED):
        return None
    kind = _kind(settlement, answer)
    return ChosenEvent(Event.CONTRADICTED, kind) if kind is not None else None


def is_booked_to_suspense(settlement: Settlement, answer: Answer) -> bool:
    """Say whether the answer disproves what two people attested, or is a second debit."""
    is_told = answer.entry is not None and answer.entry.says is EntrySays.SECOND_DEBIT
    if settlement.attestation is not Attestation.STANDS and not is_told:
        return False
    found = judge(settlement, answer)
    return found is not None and found.event in (Event.DISPROVED, Event.DEBITED_TWICE)


def needs_suspense(settlement: Settlement, answer: Answer, chosen: ChosenEvent | None) -> bool:
    """Say whether a suspense account has to be known before the transition can be written."""
    if chosen is not None:
        transition = TRANSITIONS[settlement.state].get(chosen.event)
        return transition is not None and transition.do is Do.SUSPEND
    return is_booked_to_suspense(settlement, answer)


def uncovered(settlement: Settlement, answer: Answer) -> ChosenEvent | None:
    """Choose the event that books an uncovered return to suspense; None if the answer is about nothing of that kind.

    A second debit that our account at the bank does not cover cannot be posted: it is told as an exception at once.
    """
    found = judge(settlement, answer)
    if found is not None and found.event is Event.DEBITED_TWICE:
        return ChosenEvent(Event.CONTRADICTED, CaseKind.SECOND_DEBIT)
    if found is None or found.event not in UNCOVERED:
        return None
    return found._replace(event=UNCOVERED[found.event], kind=CaseKind.UNCOVERED_RETURN)


UNPOSTED: Final = "our account at the bank does not cover it: nothing is booked"
"""What the exception of a second debit says that the ledger's limit has refused."""


def is_unposted(answer: Answer, chosen: ChosenEvent) -> bool:
    """Say whether a second debit of a statement is only told, because it could not be posted."""
    is_second = answer.entry is not None and answer.entry.says is EntrySays.SECOND_DEBIT
    return is_second and chosen.kind is CaseKind.SECOND_DEBIT


def stated_in(answer: Answer) -> StatedAmount:
    """Return the amounts of an answer, with the sender's reference of a return shortened as we keep it."""
    stated = answer.stated
    reference = plain(stated.reference)
    if reference == stated.reference:
        return stated
    return msgspec.structs.replace(stated, reference=reference)


def _judge_return(
    settlement: Settlement, stated: StatedAmount, entry: EntryEvidence | None
) -> ChosenEvent | None:
    """Judge a return: of all that was left, of a part, a repetition, or one that cannot be true.

    What a compensation has paid back is not there any more: a return of it is one of more than is left.
    """
    if settlement.state not in _HAS_MOVED:
        return None
    whole, returns = settlement.instruction.amount, settlement.returns
    if is_told_otherwise(returns, stated, entry.nth if entry is not None else None):
        return None
    is_over = settlement.state is State.RETURNED and not returns
    paid_back = paid_back_minor(settlement.compensations)
    found = judge_return(whole, returns, stated, paid_back) if not is_over else NotBooked.REPEATED
    if found is NotBooked.REPEATED:
        return None
    if found is NotBooked.DIFFERS:
        return ChosenEvent(Event.CONTRADICTED, CaseKind.AMOUNT_DIFFERS)
    event = Event.PARTLY_RETURNED if found.left_minor else Event.RETURNED
    return ChosenEvent(event, back=_billed(settlement, found, stated))


def _billed(settlement: Settlement, back: Return, stated: StatedAmount) -> Return:
    """Return the return with the part of its charges that is billed to FROM; most have no charges."""
    if not back.charges_minor:
        return back
    instruction = settlement.instruction
    bearer = bearer_of(instruction.payment)
    billed = rebilled_minor(bearer, back.charges_minor, instruction.from_bank, stated.charged_by)
    return msgspec.structs.replace(back, rebilled_minor=billed)


def _kind(settlement: Settlement, answer: Answer) -> CaseKind | None:
    """Return the kind of the contradiction; None when there is none."""
    event = answer.event
    if event is Event.ACKNOWLEDGED and is_refused_by_the_rail(settlement):
        return None  # older than the rejection and delivered late: *acknowledged* is not final
    if event is Event.NOT_FOUND and not settlement.attestation:
        return None  # the response to an enquiry that was sent before the payment had arrived
    if contradicts(settlement.state, event):
        return CaseKind.LATE_DEBIT if event in _MOVED else CaseKind.CONTRADICTION
    if event is Event.SETTLED and is_second_debit(settlement, answer.confirmation):
        return CaseKind.SECOND_DEBIT
    if event is Event.SETTLED and answer.stated.differs_from(settlement.instruction.amount):
        return CaseKind.AMOUNT_DIFFERS
    return None


def is_refused_by_the_rail(settlement: Settlement) -> bool:
    """Say whether the funds were released on a final status of the rail, and not on an attestation."""
    is_its_word = settlement.refusal_code in _RAILS_OWN_NO and not settlement.attestation
    return settlement.state is State.ROLLED_BACK and is_its_word


def is_second_debit(settlement: Settlement, confirmation: str) -> bool:
    """Say whether the rail confirms another payment than the one that completed the settlement."""
    has_moved = settlement.state in _HAS_MOVED
    known = settlement.confirmation
    return has_moved and bool(known) and bool(confirmation) and confirmation != known
