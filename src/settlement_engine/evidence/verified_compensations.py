"""Checks of evidence for compensations: what pays back what, how much, and who released it.

Promises: everything is compared with the records of the same dossier; nothing is looked up. Evidence of a settlement
that compensates nothing, and that nothing compensates, passes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from settlement_engine.domain.bank_codes import is_same_bank
from settlement_engine.domain.compensation import PAYS_BACK, WITHOUT_EFFECT
from settlement_engine.domain.identity import person_of
from settlement_engine.domain.lifecycle import RETURNS, Do, Event, State
from settlement_engine.domain.proposals import Decision, Finding
from settlement_engine.domain.returns import read_return

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from settlement_engine.domain.returns import Return
    from settlement_engine.evidence.bundle import TransitionRow
    from settlement_engine.evidence.dossier import CompensatedRecord, Dossier, MoveRecord

    StateMachine = Mapping[tuple[str, str], TransitionRow]


def compensation_faults(dossier: Dossier, state_machine: StateMachine) -> Iterator[str]:
    """Check both links of a settlement, and the release of a compensation."""
    compensates, compensated = dossier.instruction.compensates, dossier.compensations.compensated
    found = compensated.settlement_id if compensated is not None else None
    if compensates != found:
        yield f"it compensates {compensates}, and the record is of {found}"
    if compensated is not None:
        yield from _payback_faults(dossier, compensated)
        yield from _release_faults(dossier, state_machine)
    yield from _made_faults(dossier)


def _payback_faults(dossier: Dossier, compensated: CompensatedRecord) -> Iterator[str]:
    """Compare a compensation with what it compensates: the other direction, and no more than was settled."""
    instruction = dossier.instruction
    is_reversed = is_same_bank(instruction.from_bank, compensated.to_bank)
    if not is_reversed or not is_same_bank(instruction.to_bank, compensated.from_bank):
        yield (
            f"{instruction.from_bank} pays {instruction.to_bank}, although {compensated.from_bank}"
            f" has paid {compensated.to_bank}"
        )
    if instruction.currency != compensated.currency:
        yield f"it is in {instruction.currency}, and what it compensates in {compensated.currency}"
    if instruction.amount_minor > compensated.amount_minor:
        yield f"{instruction.amount_minor} is more than {compensated.amount_minor}, which was settled"
    if dossier.standing.created_at < compensated.completed_at:
        yield "it was accepted before the settlement that it compensates had completed"


def _release_faults(dossier: Dossier, state_machine: StateMachine) -> Iterator[str]:
    """Before funds were held, two people must have released it, and neither may be its caller."""
    caller = person_of(dossier.instruction.caller)
    released = {
        str(each.id)
        for each in dossier.proposals
        if (each.finding, each.decision) == (Finding.RELEASE, Decision.APPROVED)
        and len({caller, person_of(each.proposed_by), person_of(each.decided_by)})
        == len((caller, each.proposed_by, each.decided_by))
    }
    is_released = False
    for move in dossier.moves:
        if move.event is Event.APPROVED:
            is_released = is_released or move.detail.get("proposal") in released
        if _is_lock(move, state_machine) and not is_released:
            yield f"move {move.seq} held funds for it before two people had released it"


def _is_lock(move: MoveRecord, state_machine: StateMachine) -> bool:
    row = state_machine.get((move.from_state.value, move.event.value))
    return row is not None and row.do == Do.LOCK


def _made_faults(dossier: Dossier) -> Iterator[str]:
    """Compare what compensates a settlement with its amount."""
    made, state = dossier.compensations.made, dossier.standing.state
    if made and state not in (State.COMPLETED, State.RETURNED):
        yield f"it is compensated, and it is {state}"
    total = sum(
        each.amount_minor - each.returned_minor for each in made if each.state not in WITHOUT_EFFECT
    )
    if total > dossier.instruction.amount_minor:
        yield f"its compensations pay back {total}, which is more than was settled"
    paid_back = sum(
        each.amount_minor - each.returned_minor for each in made if each.state in PAYS_BACK
    )
    returned = _returned_minor(dossier)
    if paid_back and paid_back + returned > dossier.instruction.amount_minor:
        yield f"{paid_back} was compensated and {returned} returned: more than was settled"


def _returned_minor(dossier: Dossier) -> int:
    """Return how much of the settlement its moves have brought back, in minor units."""
    whole = dossier.instruction.amount_minor
    returned = [move for move in dossier.moves if move.event in RETURNS]
    return sum(back.part_minor for move in returned if (back := _sound_return(move.detail, whole)))


def _sound_return(detail: Mapping[str, str], whole_minor: int) -> Return | None:
    try:
        return read_return(detail, whole_minor)
    except ValueError:
        return None  # reported by the checks of the postings
