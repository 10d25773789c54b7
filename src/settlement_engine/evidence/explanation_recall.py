"""What an explanation says of a recall after completion: its steps, and what is waited for.

Promises: every sentence follows from a record; a promise of the bank is never described as money, nor its silence as
a refusal.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from settlement_engine.domain.recalls import RecallState
from settlement_engine.evidence.sentences import as_sentence

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from settlement_engine.evidence.dossier import Dossier, RecallStepRecord

R = RecallState

STEPS: Final[Mapping[RecallState, str]] = MappingProxyType(
    {
        R.REQUESTED: "a recall was requested: the bank is asked to give the money back",
        R.IN_PROCESS: "the bank has the recall, and has not decided",
        R.OVERDUE: "the time limit for the bank's answer to the recall had passed",
        R.PROMISED: "the bank accepted the recall, which is a promise and moves no money",
        R.REFUSED: "the bank refused the recall",
        R.RETURNED: "all of the recalled money had come back",
    }
)

WAITS: Final[Mapping[RecallState, str]] = MappingProxyType(
    {
        R.REQUESTED: "The bank is asked again until it answers the recall, or the rail's time limit has passed.",
        R.IN_PROCESS: "The bank is asked again until it decides on the recall, or the rail's time limit has passed.",
        R.OVERDUE: "Nobody asks the bank about the recall any more; a late answer still counts.",
        R.PROMISED: "The bank has promised the money back; it is booked when the bank's return comes.",
    }
)
"""What is waited for; of a recall that has ended, nothing."""


def recall_lines(dossier: Dossier) -> Iterator[tuple[datetime, str]]:
    """Describe each step of the recall, with its time."""
    for step in dossier.recall:
        words = _words(step)
        yield step.at, as_sentence(STEPS[step.state] + (f" ({words})" if words else ""))


def _words(step: RecallStepRecord) -> str:
    """Quote who asked and why, or the bank's code and text."""
    detail = step.detail
    if who := detail.get("requested_by"):
        return f"by {who}: {detail.get('reason', '')}"
    return ", ".join(f"{name} {detail[name]}" for name in ("code", "text") if detail.get(name))


def recall_waits(dossier: Dossier) -> Iterator[str]:
    """Say what is waited for, if there is a recall and it has not ended."""
    if dossier.recall and (sentence := WAITS.get(dossier.recall[-1].state)):
        yield sentence
