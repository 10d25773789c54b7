"""From a transition to its postings: between which accounts it transfers money.

Promises: the postings depend only on the settlement's route, its amount and the return. The suspense and fees
accounts were looked up before (``engine/lookups.py``). Must never: read from the store.
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
    """Return the transfers that the transition's action posts; ``back`` is the return, if it is one."""
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
