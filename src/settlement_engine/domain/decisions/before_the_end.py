"""What an answer means for a settlement that is open.

Promises: the event is the one that was reported, unless one of our limits or of the rail's limits is reached.
Must never: count an answer without a transition in the state machine as a rejection; it counts as no response.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from settlement_engine.domain.decisions.after_the_end import judge
from settlement_engine.domain.decisions.booked import booked_event
from settlement_engine.domain.decisions.chosen import ChosenEvent
from settlement_engine.domain.decisions.pairs import is_of_one_bank
from settlement_engine.domain.decisions.resending import is_too_late_to_send, may_send_again
from settlement_engine.domain.exceptions import CaseKind
from settlement_engine.domain.lifecycle import ENDS, TRANSITIONS, Ask, Event, State
from settlement_engine.domain.returns import NOT_STATED
from settlement_engine.domain.statement_evidence import EntrySays

if TYPE_CHECKING:
    from datetime import datetime

    from settlement_engine.domain.answer import Answer
    from settlement_engine.domain.decisions.resending import SendingRules
    from settlement_engine.domain.settlement import Attempt, Settlement
    from settlement_engine.domain.statement_evidence import EntryEvidence

RAIL_ANSWERS: Final = frozenset(
    {
        Event.ACKNOWLEDGED,
        Event.SETTLED,
        Event.REJECTED,
        Event.NOT_FOUND,
        Event.UNDELIVERED,
        Event.RECALLED,
        Event.RECALL_REFUSED,
        Event.COVER_DUE,
    }
)
"""What a rail may answer; in a state without a transition for it, it counts as no response."""

ONLY_TO_A_QUESTION: Final = frozenset({Event.UNDELIVERED, Event.NOT_FOUND, Event.COVER_DUE})
"""Valid only for the request in flight: a late one would be taken for the response to a later request."""

NEVER_UNASKED: Final = ONLY_TO_A_QUESTION | {Event.NO_ANSWER}
"""What an inbound report cannot state: it is valid only as the response to the open question."""

_NO_NEWS: Final = frozenset({Event.NO_ANSWER, Event.ACKNOWLEDGED, Event.NOT_FOUND})
"""Answers that do not change the state of a payment, so that the rail's own time limit may apply."""


class Limits(NamedTuple):
    """What can change the event that an answer leads to: the rail's rules, our limit of sends, the time."""

    rules: SendingRules
    sends_max: int
    now: datetime


def decide(
    settlement: Settlement,
    answer: Answer,
    rules: SendingRules | None,
    sends_max: int,
    now: datetime,
) -> ChosenEvent | None:
    """Choose the event for an answer; None when it changes nothing.

    ``rules`` are those of the attempt's rail; None means that there is no attempt, or that the rail was removed.
    ``sends_max`` limits how often an attempt is sent again that was never transmitted.
    """
    if settlement.state in ENDS:
        found = judge(settlement, answer)
        is_legal = found is not None and found.event in TRANSITIONS[settlement.state]
        return found if is_legal else None
    if not _speaks_of(answer, settlement):
        return None
    is_by_itself = answer.report_id or answer.entry is not None
    if answer.is_of_earlier_cover and not settlement.is_frozen:
        # FROM has paid more than was sent, or may: nothing more leaves, and nothing is posted.
        return ChosenEvent(Event.AMOUNT_DIFFERED, CaseKind.SECOND_DEBIT)
    if is_by_itself and is_of_one_bank(settlement, answer):
        event = Event.ACKNOWLEDGED
        return ChosenEvent(event, asks_now=True) if event in TRANSITIONS[settlement.state] else None
    if answer.entry is not None and answer.entry.says is not EntrySays.RETURN:
        return _booked(settlement, answer.entry)
    return _decide_open(settlement, answer, rules, sends_max, now)


def _decide_open(
    settlement: Settlement,
    answer: Answer,
    rules: SendingRules | None,
    sends_max: int,
    now: datetime,
) -> ChosenEvent | None:
    """Choose the event for an answer about a settlement that is open."""
    transitions = TRANSITIONS[settlement.state]
    event = _event(settlement, answer, rules, sends_max, now)
    if event not in transitions:
        if answer.event not in RAIL_ANSWERS or not answer.attempt:
            return None  # a request that came too late, or a repeated answer of screening: there is no doubt
        event = Event.NO_ANSWER
        if event not in transitions:
            return None
    if _begins_recall(settlement.state, event) and not _takes_recalls(rules):
        return None  # there is nobody to ask; the payment stays with its rail
    kind = CaseKind.AMOUNT_DIFFERS if event is Event.AMOUNT_DIFFERED else None
    return ChosenEvent(event, kind)


def _booked(settlement: Settlement, entry: EntryEvidence) -> ChosenEvent | None:
    """Choose the event for an entry of a statement: only a booked debit says anything about what is open."""
    event = booked_event(settlement.state, entry.says)
    if event is Event.AMOUNT_DIFFERED:
        kind = CaseKind.AMOUNT_DIFFERS
        return None if settlement.is_frozen else ChosenEvent(event, kind)
    return ChosenEvent(event) if event is not None else None


def is_return_to_come(answer: Answer, event: Event) -> bool:
    """Say whether an answer about a return has only posted the settlement, so that the return is still to be booked."""
    return answer.event is Event.RETURNED and event is Event.SETTLED


def when_not_put(question: Ask) -> Event:
    """Choose the event for a question that was never transmitted: UNDELIVERED for a send, else NO_ANSWER."""
    return Event.UNDELIVERED if question is Ask.SEND else Event.NO_ANSWER


def when_not_taken(question: Ask) -> Event:
    """Choose the event for a question that the rail does not support: NO_ANSWER, or a refused recall."""
    return Event.RECALL_REFUSED if question is Ask.RECALL else Event.NO_ANSWER


def may_be_cancelled(settlement: Settlement, rules: SendingRules | None) -> bool:
    """Say whether a caller's request to cancel can have an effect: at once, or by a recall."""
    if Event.CANCELLED not in TRANSITIONS[settlement.state]:
        return False
    return not _begins_recall(settlement.state, Event.CANCELLED) or _takes_recalls(rules)


def _begins_recall(state: State, event: Event) -> bool:
    return state is not State.RECALLING and TRANSITIONS[state][event].state is State.RECALLING


def _takes_recalls(rules: SendingRules | None) -> bool:
    """Say whether the rail takes recalls; a rail that was removed may come back, so it counts as one that does."""
    return rules is None or Ask.RECALL in rules.asks


def _speaks_of(answer: Answer, settlement: Settlement) -> bool:
    """Say whether the answer is about this attempt, and the settlement has not moved on since."""
    if answer.seq not in (0, settlement.seq):
        return False
    attempt = settlement.attempt.number if settlement.attempt is not None else None
    return answer.attempt in (0, attempt)


def _event(
    settlement: Settlement,
    answer: Answer,
    rules: SendingRules | None,
    sends_max: int,
    now: datetime,
) -> Event:
    """Choose the event, checking our limits and those of the rail."""
    attempt = settlement.attempt
    if attempt is None:
        return answer.event
    if answer.event is Event.SETTLED:
        return _settled(settlement, answer)
    if answer.event is Event.COVER_DUE and settlement.is_frozen:
        return Event.ACKNOWLEDGED  # TO has the payment; nothing leaves for what is frozen
    if answer.event is Event.RETURNED and not settlement.is_frozen:
        return Event.SETTLED  # money that comes back had moved: the return is decided on afterwards
    if rules is None:
        return (
            answer.event
        )  # a rail that was removed has no rules to check; its status is still valid
    return _within_limits(settlement, attempt, answer, Limits(rules, sends_max, now))


def _within_limits(
    settlement: Settlement, attempt: Attempt, answer: Answer, limits: Limits
) -> Event:
    """Choose the event, checking the limits of the rail."""
    rules, now = limits.rules, limits.now
    if answer.event is Event.UNDELIVERED and answer.refusal is not None:
        return _withdrawn(attempt)
    if answer.event is Event.UNDELIVERED:
        return _undelivered(attempt, limits, is_held_back=answer.is_held_back)
    is_doubted = settlement.state is State.IN_DOUBT and answer.event is Event.NOT_FOUND
    if is_doubted and (settlement.is_frozen or not may_send_again(attempt, rules, now)):
        return Event.NO_ANSWER
    limit_seconds = rules.overdue_after_seconds if Ask.RECALL in rules.asks else None
    is_waiting = settlement.state is State.SENT and answer.event in _NO_NEWS
    if is_waiting and limit_seconds is not None and not settlement.is_frozen:
        is_overdue = now - attempt.recorded_at > timedelta(seconds=limit_seconds)
        return Event.OVERDUE if is_overdue else answer.event
    return answer.event


def _settled(settlement: Settlement, answer: Answer) -> Event:
    """Choose the event for *settled*: with another amount than the one sent nothing is posted.

    That is reported once; on a frozen settlement the same answer changes nothing and releases nothing.
    """
    stated = answer.stated
    if stated is NOT_STATED or not stated.differs_from(settlement.instruction.amount):
        return Event.SETTLED
    return Event.NO_ANSWER if settlement.is_frozen else Event.AMOUNT_DIFFERED


def _undelivered(attempt: Attempt, limits: Limits, *, is_held_back: bool) -> Event:
    """Choose the event for a send that was never transmitted.

    Send again while allowed; give up if no attempt to send was ever transmitted; else the payment is in doubt.
    Sends that this engine itself held back do not count as failed, so they do not lead to giving up.
    """
    is_late = is_too_late_to_send(attempt, limits.rules, limits.now)
    if not is_late and (is_held_back or attempt.sends < limits.sends_max):
        return Event.UNDELIVERED
    if attempt.sends == attempt.undelivered + 1:
        return Event.ABANDONED
    return Event.NO_ANSWER if is_late else Event.UNDELIVERED


def _withdrawn(attempt: Attempt) -> Event:
    """Choose the event for a send that was withdrawn before it left, because its caller cancels the payment.

    That proves nothing about an earlier transmission: if there may have been one, the payment is in doubt.
    """
    return Event.ABANDONED if attempt.sends == attempt.undelivered + 1 else Event.NO_ANSWER
