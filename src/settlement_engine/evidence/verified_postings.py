"""Checks of evidence for the postings: the transfers of each move are made again from its details, and compared.

Promises: a transfer that is superfluous, missing, of another amount, between other accounts or in another posting
is reported; so is a return of more than was left.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from settlement_engine.domain.charges import bearer_of, is_as_borne
from settlement_engine.domain.ledger import (
    AccountKind,
    Leg,
    reverse,
    settle,
    suspend_cash,
    suspend_return,
    suspend_second_debit,
)
from settlement_engine.domain.lifecycle import RETURNS, Do, Event, State
from settlement_engine.domain.payment import Delivery
from settlement_engine.domain.returns import read_return
from settlement_engine.domain.settlement import Route

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from settlement_engine.domain.ledger import Transfer
    from settlement_engine.domain.returns import Return
    from settlement_engine.evidence.bundle import TransitionRow
    from settlement_engine.evidence.dossier import AttemptRecord, Dossier, MoveRecord

    StateMachine = Mapping[tuple[str, str], TransitionRow]


def transfer_faults(dossier: Dossier, state_machine: StateMachine) -> Iterator[str]:
    """Compare the transfers with those that the moves require."""
    accounts = {account.id: account for account in dossier.accounts}
    expected = _due(dossier, state_machine)
    found = {
        (
            *(each.posting, each.leg, each.debit_id, each.credit_id),
            *(each.amount_minor, each.currency, each.at),
        )
        for each in dossier.transfers
    }
    if found != expected or len(found) != len(dossier.transfers):
        yield f"{len(dossier.transfers)} transfers, not the {len(expected)} that the moves make"
    for each in dossier.transfers:
        sides = [accounts.get(key) for key in (each.debit_id, each.credit_id)]
        if each.debit_id == each.credit_id or each.amount_minor <= 0:
            yield f"transfer {each.leg} moves nothing"
        if any(side is None or side.currency != each.currency for side in sides):
            yield f"transfer {each.leg} is not between two known accounts of its currency"
    hold = dossier.hold
    is_posted = hold is not None and hold.outcome == "posted"
    if not is_posted and any(each.leg in (Leg.CASH, Leg.OBLIGATION) for each in dossier.transfers):
        yield "money moved that was not held"


def _due(dossier: Dossier, state_machine: StateMachine) -> set[tuple[object, ...]]:
    """Make the transfers that the moves require."""
    return {
        (*_sides(each), move.at)
        for move in done_at(dossier, state_machine, Do.POST, Do.REVERSE, Do.SUSPEND)
        for each in _made(dossier, move, state_machine)
    }


def _made(dossier: Dossier, move: MoveRecord, state_machine: StateMachine) -> tuple[Transfer, ...]:
    """Make the transfers of one move; an invalid one is left out, and so reported as a difference."""
    instruction, route = dossier.instruction, _sound_route(dossier)
    if instruction.amount_minor <= 0 or route is None:
        return ()
    settlement_id, amount = (
        dossier.standing.settlement_id,
        (instruction.amount_minor, instruction.currency),
    )
    does = state_machine[move.from_state.value, move.event.value].do
    if does == Do.POST:
        return settle(settlement_id, route, *amount)
    if move.event in RETURNS:
        return _made_back(dossier, move, route, is_covered=does == Do.REVERSE)
    suspense = _single(dossier, AccountKind.SUSPENSE)
    if not suspense:
        return ()
    if move.event is Event.DEBITED_TWICE:
        return suspend_second_debit(settlement_id, route, suspense, *amount)
    is_at_agent = move.from_state is State.ROLLED_BACK
    return suspend_cash(settlement_id, route, suspense, *amount, is_at_agent=is_at_agent)


def _made_back(
    dossier: Dossier, move: MoveRecord, route: Route, *, is_covered: bool
) -> tuple[Transfer, ...]:
    """Make the transfers of a return."""
    back, fees_id = _back(dossier, move), _single(dossier, AccountKind.FEES)
    if back is None or (back.charges_minor and not fees_id):
        return ()
    settlement_id, currency = dossier.standing.settlement_id, dossier.instruction.currency
    if is_covered or route.delivery is Delivery.PAY_OUT:  # whose return takes nothing from TO
        return reverse(settlement_id, route, back, currency, fees_id)
    suspense = _single(dossier, AccountKind.SUSPENSE)
    if not suspense:
        return ()
    return suspend_return(settlement_id, route, suspense, back, currency, fees_id)


def _single(dossier: Dossier, kind: AccountKind) -> int:
    """Return the id of the only account of a kind; 0 if there is none, or more than one."""
    found = [each.id for each in dossier.accounts if each.kind is kind]
    return found[0] if len(found) == 1 else 0


def _back(dossier: Dossier, move: MoveRecord) -> Return | None:
    """Read the return of a move; None if its details are no valid return."""
    try:
        back = read_return(move.detail, dossier.instruction.amount_minor)
    except ValueError:
        return None
    is_sound = back.amount_minor > 0 and 0 <= back.rebilled_minor <= back.charges_minor
    return back if is_sound else None


def return_faults(dossier: Dossier, _state_machine: StateMachine) -> Iterator[str]:
    """Check that the returns do not exceed the amount, and equal it if the settlement is RETURNED."""
    left = dossier.instruction.amount_minor
    references: set[str] = set()
    for move in dossier.moves:
        if move.event not in RETURNS:
            continue
        back = _back(dossier, move)
        if back is None:
            yield f"move {move.seq} brings back nothing that could be a return"
            continue
        instruction = dossier.instruction
        bearer = bearer_of(instruction.payment)
        if not is_as_borne(move.detail, bearer, instruction.from_bank):
            yield f"move {move.seq} bills {back.rebilled_minor} of its charges, which {bearer or 'nobody'} bears"
        left -= back.part_minor
        if left < 0 or left != back.left_minor:
            yield f"after move {move.seq} {left} is left, not {back.left_minor}"
        if (left == 0) != (move.to_state is State.RETURNED):
            yield f"move {move.seq} leads to {move.to_state}, and {left} is left"
        if back.reference in references:
            yield f"move {move.seq} books the return {back.reference!r} a second time"
        references.add(back.reference)


def _sound_route(dossier: Dossier) -> Route | None:
    """Return the route of the last attempt; None if no transfer could be made with it."""
    if not dossier.attempts:
        return None
    route = route_of(dossier.attempts[-1])
    is_sound = route.agent_id != route.source_id and route.clearing_id != route.target_id
    return route if is_sound else None


def route_of(attempt: AttemptRecord) -> Route:
    """Return the four accounts and the rail of an attempt."""
    return Route(
        rail=attempt.rail,
        source_id=attempt.source_id,
        agent_id=attempt.agent_id,
        clearing_id=attempt.clearing_id,
        target_id=attempt.target_id,
        delivery=attempt.delivery,
    )


def _sides(each: Transfer) -> tuple[object, ...]:
    sides = each.leg.value, each.debit_id, each.credit_id
    return (each.posting, *sides, each.amount_minor, each.currency)


def done_at(dossier: Dossier, state_machine: StateMachine, *wanted: Do) -> list[MoveRecord]:
    """Return the moves with one of these actions."""
    names = {do.value for do in wanted}
    return [
        move
        for move in dossier.moves
        if (row := state_machine.get((move.from_state.value, move.event.value))) and row.do in names
    ]
