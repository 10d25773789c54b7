"""Compensations: new settlements that pay back what another settlement has paid, approved by two people.

A compensation has its own key and its own obligation, between the same two banks in the other direction. It names
the settlement that it compensates, waits in HELD until two people other than its caller release it, and then takes
the same course as every settlement. Only a settlement that is COMPLETED can be compensated: before that it can be
cancelled, and after RETURNED nothing is left of it.

Promises: pure, no clock and no I/O; what has come back and what is compensated are together no more than what was
settled when a compensation is admitted. Must never: book, or decide which event applies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from settlement_engine.domain.bank_codes import is_same_bank
from settlement_engine.domain.compensation import compensated_minor
from settlement_engine.domain.identity import is_same_person
from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.domain.money import format_amount
from settlement_engine.domain.preconditions import Refusal, RefusalCode
from settlement_engine.domain.returns import left_of
from settlement_engine.domain.settlement import Attestation

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from settlement_engine.domain.settlement import Instruction, Moved, Settlement

COMPENSATIONS_MAX: Final = 100
"""The most compensations of one settlement, those that failed included. The database refuses any further one."""

COMPENSATION: Final = "COMPENSATION"
"""The reason code of a compensation that is parked until two people have released it."""


def compensable_minor(settlement: Settlement, besides: UUID | None = None) -> int:
    """Return what may still be compensated of a settlement, in minor units.

    Negative: returns and compensations together are more than what was settled. ``besides`` leaves out one
    compensation.
    """
    others = [each for each in settlement.compensations if each.settlement_id != besides]
    left = left_of(settlement.instruction.amount.minor, settlement.returns)
    return left - compensated_minor(others)


def why_not_compensable(settlement: Settlement | None) -> str:
    """Return why nothing of a settlement can be compensated; empty if something can."""
    if settlement is None:
        return "there is no settlement with this id"
    if settlement.state is State.RETURNED:
        return "is a settlement that was returned: nothing is left to compensate"
    if settlement.state is not State.COMPLETED:
        state = settlement.state.value
        return f"is a settlement that is {state}: only completed ones can be compensated"
    if settlement.attestation is Attestation.DISPROVED:
        return (
            "is a settlement whose final state the rail has disproved: its money may not have moved"
        )
    return ""


def fault_of_compensation(
    instruction: Instruction, compensated: Settlement | None
) -> tuple[str, str] | None:
    """Return the field of a new compensation that does not fit the settlement that it names, and why."""
    if why := why_not_compensable(compensated):
        return "compensates", why
    assert compensated is not None, "what can be compensated is there"
    if len(compensated.compensations) >= COMPENSATIONS_MAX:
        return "compensates", f"is a settlement that has {COMPENSATIONS_MAX} compensations already"
    return _fault_of_content(instruction, compensated)


def _fault_of_content(instruction: Instruction, compensated: Settlement) -> tuple[str, str] | None:
    before, amount = compensated.instruction, instruction.amount
    left = compensable_minor(compensated)
    if not is_same_bank(instruction.from_bank, before.to_bank):
        return "from_bank", f"must be {before.to_bank}, which the compensated settlement has paid"
    if not is_same_bank(instruction.to_bank, before.from_bank):
        return "to_bank", f"must be {before.from_bank}, which has paid the compensated settlement"
    if amount.currency != before.amount.currency:
        return "currency", f"must be {before.amount.currency}, as in the compensated settlement"
    if amount.minor > left:
        return "amount", more_than_left(left, amount.currency)
    return None


def more_than_left(left_minor: int, currency: str) -> str:
    """Say that an amount is more than what is left to compensate."""
    left = format_amount(max(left_minor, 0), currency)
    return f"is more than what is left to compensate: {left} {currency}"


def refuse_compensation(settlement: Settlement, compensated: Settlement | None) -> Refusal | None:
    """Refuse a released compensation if less is left to compensate than when it was admitted."""
    instruction = settlement.instruction
    detail = {"compensates": str(instruction.compensates)}
    if why := why_not_compensable(compensated):
        return Refusal(code=RefusalCode.NOT_COMPENSABLE, detail={**detail, "why": why})
    assert compensated is not None, "what can be compensated is there"
    left, amount = compensable_minor(compensated, besides=settlement.id), instruction.amount
    if amount.minor <= left:
        return None
    found = {
        "required": str(amount),
        "left": format_amount(max(left, 0), amount.currency),
        "currency": amount.currency,
    }
    return Refusal(code=RefusalCode.NOT_COMPENSABLE, detail={**detail, **found})


def is_released(history: Sequence[Moved]) -> bool:
    """Say whether two people have released a settlement that was parked."""
    return any(moved.event is Event.APPROVED for moved in history)


def is_own_compensation(settlement: Settlement, who: str) -> bool:
    """Say whether a person would release a compensation that this person has submitted."""
    instruction = settlement.instruction
    return instruction.compensates is not None and is_same_person(instruction.caller, who)
