"""Programs about settlements, refusals and exceptions that must and must not type-check (see ``money.py``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from settlement_engine.domain.lifecycle import Ask, Do, Event, State, Transition, transition_for
from settlement_engine.domain.preconditions import Refusal, RefusalCode
from settlement_engine.errors import InvalidInstruction, NotFound, Overloaded
from settlement_engine.ports import Answer, TransitionCommand

if TYPE_CHECKING:
    from uuid import UUID

    from settlement_engine.domain.settlement import Attempt, Instruction, Settlement


def what_is_offered(settlement: Settlement) -> TransitionCommand:
    transition = transition_for(settlement.state, Event.NO_ANSWER)
    return TransitionCommand(
        settlement=settlement, event=Event.NO_ANSWER, transition=transition, due_seconds=1.0
    )


def a_state_is_no_event(state: State, event: Event) -> None:
    transition_for(event, state)  # type: ignore[arg-type]
    transition_for("locked", Event.SETTLED)  # type: ignore[arg-type]


def a_row_leads_to_a_state_and_names_its_parts(transition: Transition) -> None:
    Transition(State.COMPLETED, Do.POST)
    Transition(Event.SETTLED)  # type: ignore[arg-type]
    Transition(State.SENT, Ask.ENQUIRE)  # type: ignore[arg-type]
    transition.state = State.LOCKED  # type: ignore[misc]


def a_refusal_is_data_and_cannot_be_raised(refusal: Refusal) -> None:
    raise refusal  # type: ignore[misc]


def an_exception_is_no_refusal(settlement_id: UUID) -> Answer:
    return Answer(
        settlement_id=settlement_id,
        event=Event.REFUSED,
        refusal=NotFound("there is none"),  # type: ignore[arg-type]
    )


def a_refusal_has_one_of_the_known_codes() -> None:
    Refusal(code=RefusalCode.NO_ROUTE)
    Refusal(code="NO_ROUTE")  # type: ignore[arg-type]


def errors_say_what_their_readers_need() -> None:
    InvalidInstruction([("amount", "must be greater than zero")])
    InvalidInstruction("amount")  # type: ignore[arg-type]
    Overloaded("full")  # type: ignore[call-arg]


def what_was_received_and_what_was_sent_do_not_change(
    payment_request: Instruction, sent: Attempt
) -> None:
    payment_request.obligation_id = "another"  # type: ignore[misc]
    payment_request.metadata["simulate"] = "settle"  # type: ignore[index]
    sent.payload = b""  # type: ignore[misc]
    sent.references.uetr = payment_request.key_hash  # type: ignore[misc]


def a_step_names_its_parts(settlement: Settlement, transition: Transition) -> None:
    TransitionCommand(settlement, Event.SETTLED, transition)  # type: ignore[call-arg]
    TransitionCommand(settlement=settlement, event=Event.SETTLED)  # type: ignore[call-arg]
