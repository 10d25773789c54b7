"""Whose word wins when two people and the bank both say how a payment ended.

Promises: a definite word of the bank's wins over what people attest; so does the news that the bank has a
payment of which people say, not having known that, that it did not move.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.domain.proposals import Finding, is_received

if TYPE_CHECKING:
    from settlement_engine.domain.answer import Answer

DEFINITE: Final = frozenset({Event.SETTLED, Event.REJECTED, Event.RECALLED})
"""Answers of a rail that win over what people attest."""


def bank_wins(answer: Answer, finding: Finding, state: State) -> bool:
    """Say whether the bank's answer stands in the way of the people's finding.

    A payment that the bank has may be carried out at any moment.
    """
    if answer.event in DEFINITE:
        return True
    is_denied = finding is Finding.NOT_SETTLED and answer.event is Event.ACKNOWLEDGED
    return is_denied and is_received(state, State.SENT)


def more_definite(before: Answer | None, answer: Answer) -> Answer:
    """Choose between two answers to one question: a definite one is kept, else the later one."""
    return before if before is not None and before.event in DEFINITE else answer
