"""Mutants of the transition table: a transition to another state."""

from __future__ import annotations

from typing import Final

from settlement_engine.domain.lifecycle import Ask, Do, Event, State, Transition
from settlement_lab.mutants.patching import Cut, Mutant, Turn

_RELEASED: Final = Transition(State.ROLLED_BACK, Do.RELEASE)

TRANSITIONS_MUTANTS: Final[dict[str, Mutant]] = {
    "silence_is_a_no": Mutant(
        "no answer to a send releases the hold",
        (Turn(State.LOCKED, Event.NO_ANSWER, _RELEASED),),
        seed=1,
    ),
    "doubt_ends_by_itself": Mutant(
        "no answer to an enquiry releases the hold",
        (Turn(State.IN_DOUBT, Event.NO_ANSWER, _RELEASED),),
        seed=5,
    ),
    "not_found_is_a_no": Mutant(
        "*not found* counts as a rejection",
        (Turn(State.IN_DOUBT, Event.NOT_FOUND, _RELEASED),),
        seed=51,
    ),
    "cancel_is_a_no": Mutant(
        "a caller's cancellation releases the hold of a sent payment",
        (
            Turn(State.LOCKED, Event.CANCELLED, _RELEASED),
            Turn(State.IN_DOUBT, Event.CANCELLED, _RELEASED),
            Turn(State.SENT, Event.CANCELLED, _RELEASED),
        ),
        seed=0,
    ),
    "recall_silence_is_a_no": Mutant(
        "an unanswered recall counts as granted",
        (Turn(State.RECALLING, Event.NO_ANSWER, _RELEASED),),
        seed=30,
    ),
    "refused_recall_is_a_no": Mutant(
        "a refused recall releases the hold",
        (Turn(State.RECALLING, Event.RECALL_REFUSED, _RELEASED),),
        seed=39,
    ),
    "acknowledged_is_settled": Mutant(
        "an acknowledged payment counts as paid",
        (Turn(State.LOCKED, Event.ACKNOWLEDGED, Transition(State.COMPLETED, Do.POST)),),
        seed=1,
    ),
    "doubt_sends_again": Mutant(
        "a payment without an answer is sent again instead of enquired about",
        (Turn(State.LOCKED, Event.NO_ANSWER, Transition(State.LOCKED, ask=Ask.SEND)),),
        seed=28,
    ),
    "late_answer_posts_again": Mutant(
        "the same settled report twice posts twice",
        (
            Turn(State.COMPLETED, Event.SETTLED, Transition(State.COMPLETED, Do.POST)),
            Cut(
                "settlement_engine.domain.decisions.before_the_end:decide",
                "    if settlement.state in ENDS:\n",
                "    if answer.event is Event.SETTLED and settlement.state is State.COMPLETED:\n"
                "        return ChosenEvent(answer.event)\n"
                "    if settlement.state in ENDS:\n",
            ),
        ),
        seed=1,
    ),
    "ends_do_not_absorb": Mutant(
        "a late report moves an ended settlement",
        (
            Cut(
                "settlement_engine.domain.decisions.before_the_end:decide",
                "if settlement.state in ENDS:",
                "if False:",
            ),
            Turn(State.COMPLETED, Event.REJECTED, Transition(State.ROLLED_BACK)),
            Turn(State.ROLLED_BACK, Event.SETTLED, Transition(State.COMPLETED)),
        ),
        seed=4,
    ),
}
