"""Which statement lists settlements, and its parameters.

Promises: the statement is the one whose index serves the most selective filter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from settlement_engine.domain.lifecycle import State

if TYPE_CHECKING:
    from settlement_engine.ports import SettlementFilter


def list_statement(wanted: SettlementFilter) -> str:
    """Choose the list statement whose index serves the most selective filter."""
    if wanted.compensates is not None:
        return "list_compensations_of"
    if wanted.obligation_id:
        return "list_settlements_of_obligation"
    if wanted.only_compensations:  # few are: two people release each
        return "list_compensations"
    if wanted.only_compensated:
        return "list_compensated_settlements"
    if wanted.states and State.COMPLETED not in wanted.states:
        return "list_settlements_in_states"
    return "list_settlements"


def filter_values(wanted: SettlementFilter) -> tuple[object, ...]:
    """Return the parameters of the list statement: those that all of them share, and its own."""
    shared = (
        sorted(wanted.states) or None,
        wanted.bank or None,
        wanted.currency or None,
        wanted.obligation_id or None,
        wanted.before_id,
        wanted.from_id,
        wanted.since,
        wanted.until,
        wanted.limit,
    )
    own: dict[str, tuple[object, ...]] = {
        "list_compensations_of": (wanted.compensates, wanted.only_compensated),
        "list_settlements_of_obligation": (wanted.only_compensations, wanted.only_compensated),
        "list_compensations": (wanted.only_compensated,),
    }
    return (*shared, *own.get(list_statement(wanted), ()))
