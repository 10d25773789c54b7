"""A recall after completion: the bank is asked to give the money back, and nothing moves before it does.

The settlement stays COMPLETED. Promises: an accepted recall is a promise only; the return itself (pacs.004, or the
statement's entry) is the money, and is booked as every return is. Silence is not a no: after the deadline nobody
asks any more, but an answer that comes later still counts. Each settlement is recalled once, because the recall's
identifier follows from the payment's. Must never: release or post anything.
"""

from __future__ import annotations

from enum import StrEnum, auto
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import msgspec

from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.domain.settlement import Attestation

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from uuid import UUID

    from settlement_engine.domain.settlement import Settlement

REASON_CHARACTERS_MAX: Final = 1_000
STEPS_MAX: Final = 100
"""The most answers of a bank that are recorded for one recall."""


class RecallState(StrEnum):
    """What has become of a recall."""

    REQUESTED = auto()  # the bank is asked, and has not answered
    IN_PROCESS = auto()  # the bank has the recall, and has not decided
    OVERDUE = auto()  # the time limit for an answer has passed; a late answer still counts
    PROMISED = auto()  # the bank has accepted it; the money has not come back yet
    REFUSED = auto()  # the bank has refused it
    RETURNED = auto()  # all of the money has come back


R, E = RecallState, Event
_ANSWERS: Final = {E.RECALLED: R.PROMISED, E.RECALL_REFUSED: R.REFUSED, E.RETURNED: R.RETURNED}

RECALL_TRANSITIONS: Final[Mapping[RecallState, Mapping[Event, RecallState]]] = MappingProxyType(
    {
        R.REQUESTED: {**_ANSWERS, E.ACKNOWLEDGED: R.IN_PROCESS, E.OVERDUE: R.OVERDUE},
        R.IN_PROCESS: {**_ANSWERS, E.OVERDUE: R.OVERDUE},
        R.OVERDUE: _ANSWERS,
        R.PROMISED: {E.RECALL_REFUSED: R.REFUSED, E.RETURNED: R.RETURNED},
        R.REFUSED: {E.RECALLED: R.PROMISED, E.RETURNED: R.RETURNED},  # a bank may change its mind
        R.RETURNED: {},
    }
)
"""What follows from an event in each state of a recall; everything else changes nothing."""

ASKING: Final = frozenset({R.REQUESTED, R.IN_PROCESS})
"""The states in which the bank is asked, again and again, until it answers or the time limit has passed."""

ENDED_RECALLS: Final = frozenset({R.REFUSED, R.RETURNED})
"""The states in which nothing is waited for."""

OPEN_RECALLS: Final = tuple(state for state in R if state not in ENDED_RECALLS)
"""The states in which something is waited for."""


class RecallStep(msgspec.Struct, frozen=True, kw_only=True):
    """One recorded change of a recall; ``detail`` has who asked and why, or the bank's code and text."""

    seq: int
    event: Event | None  # None: the request itself
    state: RecallState
    at: datetime
    detail: Mapping[str, str]


class RecallRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A recall with its steps, oldest first; the first one is the request."""

    settlement_id: UUID
    steps: tuple[RecallStep, ...]
    is_replay: bool = False

    @property
    def state(self) -> RecallState:
        """What has become of it."""
        return self.steps[-1].state

    @property
    def seq(self) -> int:
        """The number of its last step."""
        return self.steps[-1].seq

    @property
    def requested_at(self) -> datetime:
        """When it was requested."""
        return self.steps[0].at


def why_overdue_is_closed(state: RecallState) -> str:
    """Return the reason with which the exception of an overdue recall is closed when the recall moves on."""
    return f"the recall is overdue no more: {state.value}"


def transition_of_recall(recall: RecallRequest, event: Event) -> RecallState | None:
    """Return the state that follows; None if the event changes nothing."""
    if len(recall.steps) >= STEPS_MAX:
        return None
    return RECALL_TRANSITIONS[recall.state].get(event)


def is_about_recall_only(settlement: Settlement) -> bool:
    """Say whether an answer to the recall says nothing of the payment itself.

    Where the bank itself said that the money moved, an accepted recall is no contradiction. Where two people attested
    it, *cancelled* may say that it never did: then it is judged as before.
    """
    return (
        settlement.state in (State.COMPLETED, State.RETURNED)
        and settlement.attestation is Attestation.NONE
    )


def why_not_recalled(settlement: Settlement) -> tuple[str, str]:
    """Return why a settlement cannot be recalled, and what to do instead; empty texts if it can."""
    state = settlement.state
    if state is State.COMPLETED and settlement.is_frozen:
        # Nothing that can move money is asked of a bank about a frozen payment, so the recall would wait for ever.
        why = "it is frozen: a report of the bank contradicts it, or a record was altered"
        return why, "Settle its exceptions with the bank: `settlement-engine exceptions list`."
    if state is State.COMPLETED:
        return "", ""
    if state is State.RETURNED:
        return "the money has come back already", "Nothing has to be done."
    if state in (State.FAILED, State.ROLLED_BACK):
        return "no money has moved", "Nothing has to be done."
    return "it has not completed", "Ask for its cancellation: CancelSettlement."
