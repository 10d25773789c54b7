"""Checks of evidence for a recall after completion: its steps follow its transitions, without a gap.

Must never: take a step of a recall for a move of the settlement.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

from settlement_engine.domain.lifecycle import State
from settlement_engine.domain.recalls import RECALL_TRANSITIONS, RecallState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from settlement_engine.evidence.dossier import Dossier, RecallStepRecord

RECALLED: Final = frozenset({State.COMPLETED, State.RETURNED})
"""The states of settlements that may have a recall."""


def recall_faults(dossier: Dossier, _state_machine: object) -> Iterator[str]:
    """Return the faults of the recall, if there is one."""
    steps = dossier.recall
    if not steps:
        return
    state = dossier.standing.state
    if state not in RECALLED:
        yield f"there is a recall, and the settlement is {state}"
    if [step.seq for step in steps] != list(range(1, len(steps) + 1)):
        yield "the steps of the recall are not numbered without a gap"
    first = steps[0]
    if first.event is not None or first.state is not RecallState.REQUESTED:
        yield "the recall does not begin with its request"
    if not first.detail.get("requested_by") or not first.detail.get("reason"):
        yield "the recall does not say who requested it and why"
    for before, step in pairwise(steps):
        yield from _fault_of(before, step)
    if steps[-1].state is RecallState.RETURNED and state is not State.RETURNED:
        yield "the recall says that the money came back, and the settlement does not"


def _fault_of(before: RecallStepRecord, step: RecallStepRecord) -> Iterator[str]:
    if step.at < before.at:
        yield f"step {step.seq} of the recall was made before step {before.seq}"
    if step.event is None or RECALL_TRANSITIONS[before.state].get(step.event) is not step.state:
        yield f"step {step.seq} of the recall is no transition: {step.event} in {before.state}"
