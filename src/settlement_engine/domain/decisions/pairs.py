"""What both banks of a cover payment have said, as one event (``domain/covers.py``).

Promises: the cover leaves only after TO has taken the payment, so that a refusal by TO ends the pair while no money can
have moved. Must never: end a pair by what one of the two banks says, or take a missing answer of either for a no.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from settlement_engine.domain.covers import CoverProblem, LegSays, is_pair
from settlement_engine.domain.decisions.resending import may_send_again
from settlement_engine.domain.lifecycle import Event
from settlement_engine.domain.statement_evidence import EntrySays

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from settlement_engine.domain.answer import Answer
    from settlement_engine.domain.covers import Cover
    from settlement_engine.domain.decisions.resending import SendingRules
    from settlement_engine.domain.settlement import Settlement


class PairOutcome(NamedTuple):
    """The event of a pair, None for no answer, and what people have to look at."""

    event: Event | None
    problem: CoverProblem | None = None


_NOT_PAID: Final[Mapping[LegSays, Event]] = {
    LegSays.REFUSED: Event.REJECTED,
    LegSays.GIVEN_BACK: Event.RECALLED,
}
_PAYABLE: Final = frozenset({LegSays.TAKEN, LegSays.SETTLED})

_OF_BOTH_BANKS: Final = frozenset(
    {Event.SETTLED, Event.REJECTED, Event.RECALLED, Event.RECALL_REFUSED}
)
"""Statuses that end a cover payment, or its recall, only when both of its banks are asked."""


def is_of_one_bank(settlement: Settlement, answer: Answer) -> bool:
    """Say whether an answer is what one bank of a cover payment says by itself: then both are asked at once.

    It is reported unasked, or it answers an earlier question: TO's answer to a send arrives after the pair went on.
    """
    attempt = settlement.attempt
    if attempt is None or not is_pair(attempt.route.rail):
        return False
    if answer.entry is not None:
        return answer.entry.says is EntrySays.DEBIT
    is_old = answer.seq not in (0, settlement.seq)
    return (bool(answer.report_id) or is_old) and answer.event in _OF_BOTH_BANKS


def cover_outcome(payment: LegSays, cover: LegSays, *, may_send: bool) -> PairOutcome:
    """Decide what both banks say. ``may_send``: the cover may leave now, for the first time or again."""
    if LegSays.SILENT in (payment, cover):
        return PairOutcome(None)
    if payment in _PAYABLE:
        return _with_payment(payment, cover, may_send=may_send)
    if cover is LegSays.UNSENT:
        return PairOutcome(_NOT_PAID.get(payment, Event.NOT_FOUND))
    if payment in _NOT_PAID and cover in _NOT_PAID:
        return PairOutcome(_NOT_PAID[payment])
    return PairOutcome(Event.ACKNOWLEDGED, CoverProblem.PAYMENT_FAILED)


def _with_payment(payment: LegSays, cover: LegSays, *, may_send: bool) -> PairOutcome:
    """Decide where TO has the payment."""
    if cover in _NOT_PAID:
        return PairOutcome(Event.ACKNOWLEDGED, CoverProblem.COVER_FAILED)
    if cover in (LegSays.UNSENT, LegSays.UNKNOWN) and may_send:
        return PairOutcome(Event.COVER_DUE)
    if cover is LegSays.UNSENT:
        return PairOutcome(Event.ACKNOWLEDGED, CoverProblem.COVER_TOO_LATE)
    is_both = payment is cover is LegSays.SETTLED
    return PairOutcome(Event.SETTLED if is_both else Event.ACKNOWLEDGED)


def recalls_cover(payment: Event | None, *, has_left: bool) -> bool:
    """Say whether the cover is to be recalled as well: only once TO has given the payment back."""
    return has_left and payment in _NOT_PAID.values()


def recall_outcome(payment: Event | None, cover: Event | None, *, has_left: bool) -> Event | None:
    """Decide the answers to recalls, first of the payment at TO and then of a cover that has left at FROM.

    What TO gives back while FROM has paid the cover is no success: the money comes back by a return.
    """
    if payment is Event.SETTLED:
        return Event.RECALL_REFUSED  # TO keeps it; the enquiry tells whether the pair is settled
    if not recalls_cover(payment, has_left=has_left):
        return payment
    if cover in _NOT_PAID.values():
        return Event.RECALLED
    return Event.RECALL_REFUSED if cover is Event.SETTLED else cover


def may_send_cover(cover: Cover, rules: SendingRules, now: datetime) -> bool:
    """Say whether a cover may leave: it never has, or FROM does not know it and would recognise it again."""
    if cover.refusal is not None or now >= cover.valid_until:
        return False
    return not cover.has_left or may_send_again(cover, rules, now)
