"""Which statement wins when two people attest an outcome and the bank reports one.

Promises: a final status of the bank wins over an attestation. So does *acknowledged* over the attestation that the
money did not move: the two people did not know that the bank has the payment. Must never: choose an event.
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
    """Say whether the bank's answer wins over what two people attested.

    A payment that the bank has acknowledged may be executed at any moment.
    """
    if answer.event in DEFINITE:
        return True
    is_denied = finding is Finding.NOT_SETTLED and answer.event is Event.ACKNOWLEDGED
    return is_denied and is_received(state, State.SENT)


def more_definite(before: Answer | None, answer: Answer) -> Answer:
    """Choose between two answers to one question: a final status wins, else the later one."""
    return before if before is not None and before.event in DEFINITE else answer
