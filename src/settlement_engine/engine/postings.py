"""From a transition to its postings: which accounts it moves money between.

Promises: what a transition posts follows from the settlement's route, its amount and the return, and from
nothing else. The accounts for what has no other home, and for charges, were looked up before
(``engine/lookups.py``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from settlement_engine.domain.ledger import reverse, settle, suspend_cash, suspend_return
from settlement_engine.domain.lifecycle import Do, State

if TYPE_CHECKING:
    from settlement_engine.domain.ledger import Transfer
    from settlement_engine.domain.lifecycle import Transition
    from settlement_engine.domain.returns import Return
    from settlement_engine.domain.settlement import Settlement
    from settlement_engine.engine.directory import Directory


def transfers_of(
    directory: Directory, settlement: Settlement, transition: Transition, back: Return | None
) -> tuple[Transfer, ...]:
    """Make the transfers that the row's work posts; ``back`` is what has come back, if that is it."""
    if transition.do not in (Do.POST, Do.REVERSE, Do.SUSPEND):
        return ()
    assert settlement.attempt is not None, "what is posted was locked"
    route, amount = settlement.attempt.route, settlement.instruction.amount
    if transition.do is Do.POST:
        return settle(settlement.id, route, amount.minor, amount.currency)
    if back is None:
        assert transition.do is Do.SUSPEND, "what is reversed has come back"
        suspense_id = directory.suspense(route.rail, amount.currency)
        sides = (settlement.id, route, suspense_id, amount.minor, amount.currency)
        return suspend_cash(*sides, is_at_agent=settlement.state is State.ROLLED_BACK)
    fees_id = 0
    if back.charges_minor:
        fees_id = directory.fees(settlement.instruction.from_bank, amount.currency)
    if transition.do is Do.REVERSE:
        return reverse(settlement.id, route, back, amount.currency, fees_id)
    suspense_id = directory.suspense(route.rail, amount.currency)
    return suspend_return(settlement.id, route, suspense_id, back, amount.currency, fees_id)
