"""Settlements, answers and rules for tests of the decisions, with one property given at a time."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from settlement_engine.domain.answer import Answer
from settlement_engine.domain.decisions.resending import RailClass, SendingRules
from settlement_engine.domain.identifiers import references
from settlement_engine.domain.lifecycle import ENDS, HOLDING, Event, State
from settlement_engine.domain.settlement import Attempt, Moved, Route, Settlement
from tests.support.histories import payment_request

if TYPE_CHECKING:
    from collections.abc import Mapping

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
ID = UUID(int=1)
VALID_SECONDS = 600
WITH_ATTEMPT = HOLDING | {State.COMPLETED, State.ROLLED_BACK, State.RETURNED}


def rules(**given: Any) -> SendingRules:
    """Return the rules of a rail that allows everything, except what is given."""
    fields: dict[str, Any] = {
        "rail_class": RailClass.A,
        "is_not_found_definite": True,
        "deduplicates_seconds": 3_600.0,
    }
    return SendingRules(**(fields | given))


def attempt(**given: Any) -> Attempt:
    """Return an attempt that was recorded now."""
    fields: dict[str, Any] = {
        "number": 1,
        "route": Route(rail="rail", source_id=1, agent_id=2, clearing_id=3, target_id=4),
        "references": references("caller", "key", 1),
        "payload": b"",
        "recorded_at": NOW,
        "valid_until": NOW + timedelta(seconds=VALID_SECONDS),
    }
    return Attempt(**(fields | given))


def settlement(state: State, **given: Any) -> Settlement:
    """Return a settlement in a state, with an attempt if the state has one."""
    fields: dict[str, Any] = {
        "id": ID,
        "instruction": payment_request(),
        "state": state,
        "seq": 3,
        "fencing_token": 1,
        "created_at": NOW,
        "value_date": date(2026, 1, 5),
        "ended_at": NOW if state in ENDS else None,
        "attempt": attempt() if state in WITH_ATTEMPT else None,
    }
    return Settlement(**(fields | given))


def answer(event: Event, **given: Any) -> Answer:
    """Return an answer about the first attempt."""
    return Answer(settlement_id=ID, event=event, **({"attempt": 1} | given))


def moved(from_state: State, event: Event, to_state: State, **detail: str) -> Moved:
    """Return a transition as it is read back."""
    said: Mapping[str, str] = detail
    return Moved(
        position=1,
        settlement_id=ID,
        seq=1,
        from_state=from_state,
        event=event,
        to_state=to_state,
        at=NOW,
        detail=said,
    )
