"""Safeguards that the model check can remove, one at a time: a check that then finds nothing has missed it.

Promises: while a mutation is applied, the state machine and the decisions are different in this process
and this context only; afterwards everything is as before. It must never be used outside a check.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from unittest.mock import patch

from settlement_engine.domain import lifecycle
from settlement_engine.domain.decisions import before_the_end, resending
from settlement_engine.domain.lifecycle import (
    HOLDING,
    TRANSITIONS,
    Ask,
    Do,
    Event,
    State,
    Transition,
)
from settlement_lab.model.parts import SPEAKS_OF_ANOTHER_AMOUNT, WAITS_FOR_A_COVER

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from settlement_engine.domain.settlement import Attempt
    from settlement_engine.ports import RailCapabilities

S, E = State, Event
_VOID: Final = Transition(S.ROLLED_BACK, Do.RELEASE)


@dataclass(frozen=True, kw_only=True)
class Mutation:
    """One safeguard that is removed.

    ``page`` has transitions that are replaced; ``decides`` has names of ``domain/decisions`` with other
    values; ``faults`` are rules of the store, the bank or the people that the model does not apply.
    ``rails`` names the rails on which it shows.
    """

    name: str
    rails: tuple[str, ...]
    page: Mapping[tuple[State, Event], Transition] = field(default_factory=dict)
    decides: Mapping[str, Any] = field(default_factory=dict)
    faults: frozenset[str] = frozenset()


def _always(*_: object) -> bool:
    return True


def _while_valid(attempt: Attempt, _rules: RailCapabilities, now: datetime) -> bool:
    return now < attempt.valid_until


def _by_class(_attempt: Attempt, rules: RailCapabilities, _now: datetime) -> bool:
    return rules.is_not_found_definite


def _is_given_up(*_: object, **_how: object) -> Event:
    return Event.ABANDONED


_ALL: Final = (
    Mutation(
        name="void on silence",
        rails=("A",),
        page={(S.LOCKED, E.NO_ANSWER): _VOID},
    ),
    Mutation(
        name="void on silence in doubt",
        rails=("A",),
        page={(S.IN_DOUBT, E.NO_ANSWER): _VOID},
    ),
    Mutation(
        name="not found is a no",
        rails=("A",),
        page={(S.IN_DOUBT, E.NOT_FOUND): _VOID},
    ),
    Mutation(
        name="not found is a no after an acknowledgement",
        rails=("C",),
        page={(S.SENT, E.NOT_FOUND): _VOID},
    ),
    Mutation(
        name="a cancel voids what was sent",
        rails=("A",),
        page={(S.LOCKED, E.CANCELLED): _VOID, (S.SENT, E.CANCELLED): _VOID},
    ),
    Mutation(
        name="an overdue payment is void",
        rails=("A",),
        page={(S.SENT, E.OVERDUE): _VOID},
    ),
    Mutation(
        name="a refused recall is a recall",
        rails=("A",),
        page={(S.RECALLING, E.RECALL_REFUSED): _VOID},
    ),
    Mutation(
        name="post when acknowledged",
        rails=("A",),
        page={(S.LOCKED, E.ACKNOWLEDGED): Transition(S.COMPLETED, Do.POST)},
    ),
    Mutation(
        name="ends are left again",
        rails=("A",),
        page={(S.COMPLETED, E.ACKNOWLEDGED): Transition(S.SENT, ask=Ask.ENQUIRE)},
        decides={"ENDS": frozenset()},
    ),
    Mutation(
        name="a late status releases",
        rails=("A",),
        page={(S.ROLLED_BACK, E.CONTRADICTED): Transition(S.ROLLED_BACK, Do.RELEASE)},
    ),
    Mutation(
        name="a late status posts",
        rails=("A",),
        page={(S.ROLLED_BACK, E.CONTRADICTED): Transition(S.ROLLED_BACK, Do.POST)},
    ),
    Mutation(
        name="given up without proof",
        rails=("B",),
        decides={"_undelivered": _is_given_up},
        faults=frozenset({"no proof of sendings"}),
    ),
    Mutation(
        name="sent again when the bank has forgotten it",
        rails=("B short",),
        decides={"_is_recognised": _always},
    ),
    Mutation(
        name="sent again when no longer valid",
        rails=("A",),
        decides={"may_send_again": _by_class},
    ),
    Mutation(
        name="sent again whatever the rail's class",
        rails=("D",),
        decides={"may_send_again": _while_valid},
    ),
    Mutation(
        name="recalled where nothing can be",
        rails=("D one way",),
        decides={"_takes_recalls": _always},
    ),
    Mutation(
        name="new references on resend",
        rails=("A",),
        faults=frozenset({"new references on resend"}),
    ),
    Mutation(
        name="send before permit",
        rails=("A",),
        faults=frozenset({"send before permit"}),
    ),
    Mutation(
        name="bank not idempotent",
        rails=("A",),
        faults=frozenset({"bank not idempotent"}),
    ),
    Mutation(
        name="bank ignores validity",
        rails=("A",),
        faults=frozenset({"bank ignores validity"}),
    ),
    Mutation(
        name="blind update",
        rails=("A",),
        faults=frozenset({"no state guard", "no seq guard", "no epoch guard"}),
    ),
    Mutation(
        name="neither epoch nor sequence is compared",
        rails=("A",),
        faults=frozenset({"no seq guard", "no epoch guard"}),
    ),
    Mutation(
        name="another's writing is taken for one's own",
        rails=("D",),
        faults=frozenset({"recognises what others wrote"}),
    ),
    Mutation(
        name="people attest without evidence",
        rails=("A",),
        faults=frozenset({"people attest without evidence"}),
    ),
)

MUTATIONS: Final = {mutation.name: mutation for mutation in _ALL}


_FAULTS: Final = {
    E.AMOUNT_DIFFERED: frozenset({SPEAKS_OF_ANOTHER_AMOUNT}),
    E.COVER_DUE: frozenset({WAITS_FOR_A_COVER}),
}
"""What a bank must do so that a transition happens at all."""


def rows_with_other_work() -> Iterator[Mutation]:
    """Return each transition after the point of no return with RELEASE and with POST as its work."""
    for state in sorted(HOLDING):
        for event, transition in TRANSITIONS[state].items():
            # Only in this state does the engine send again because the answer was *not found*.
            rails = ("A",) if (state, event) == (S.IN_DOUBT, E.NOT_FOUND) else ("D",)
            faults = _FAULTS.get(event, frozenset())
            for do in (Do.RELEASE, Do.POST):
                if transition.do is not do:
                    yield Mutation(
                        name=f"{state.value} {event.value} does {do.value}",
                        rails=rails,
                        page={(state, event): transition._replace(do=do)},
                        faults=faults,
                    )


@contextmanager
def removed(mutation: Mutation) -> Iterator[None]:
    """Replace the state machine and the decider as the mutation says."""
    page = {state: dict(rows) for state, rows in TRANSITIONS.items()}
    for (state, event), transition in mutation.page.items():
        page[state][event] = transition
    with ExitStack() as stack:
        for module in (lifecycle, before_the_end):
            stack.enter_context(patch.object(module, "TRANSITIONS", page))
        for name, meaning in mutation.decides.items():
            for module in (before_the_end, resending):
                if hasattr(module, name):
                    stack.enter_context(patch.object(module, name, meaning))
        yield
