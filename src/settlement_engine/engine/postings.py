"""The postings of money that comes back, or that cannot be booked where it belongs: between which accounts it moves.

Promises: they depend only on the settlement's route, its amount and the return. The suspense and fees
accounts were looked up before (``engine/lookups.py``). Must never: read from the store.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from settlement_engine.domain.ledger import (
    reverse,
    suspend_cash,
    suspend_return,
    suspend_second_debit,
)
from settlement_engine.domain.lifecycle import Do, Event, State, transition_for

if TYPE_CHECKING:
    from settlement_engine.domain.ledger import Transfer
    from settlement_engine.domain.returns import Return
    from settlement_engine.domain.settlement import Settlement
    from settlement_engine.engine.directory import Directory


COMING_BACK: Final = frozenset({Do.REVERSE, Do.SUSPEND})
"""The actions whose postings need accounts that were looked up for them."""


def transfers_back(
    directory: Directory, settlement: Settlement, event: Event, back: Return | None
) -> tuple[Transfer, ...]:
    """Return the transfers that such an action posts; ``back`` is the return, if it is one."""
    transition = transition_for(settlement.state, event)
    assert transition.do in COMING_BACK, "only money that comes back is posted here"
    assert settlement.attempt is not None, "what is posted was locked"
    route, amount = settlement.attempt.route, settlement.instruction.amount
    if back is None:
        assert transition.do is Do.SUSPEND, "what is reversed has come back"
        suspense_id = directory.suspense(route.rail, amount.currency)
        sides = (settlement.id, route, suspense_id, amount.minor, amount.currency)
        if event is Event.DEBITED_TWICE:
            return suspend_second_debit(*sides)
        return suspend_cash(*sides, is_at_agent=settlement.state is State.ROLLED_BACK)
    fees_id = 0
    if back.charges_minor:
        fees_id = directory.fees(settlement.instruction.from_bank, amount.currency)
    if transition.do is Do.REVERSE:
        return reverse(settlement.id, route, back, amount.currency, fees_id)
    suspense_id = directory.suspense(route.rail, amount.currency)
    return suspend_return(settlement.id, route, suspense_id, back, amount.currency, fees_id)
