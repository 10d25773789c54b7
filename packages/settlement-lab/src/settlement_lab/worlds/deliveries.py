"""What a delivery does to the books, checked against the instructions alone.

It shares no code with what makes the transfers: it adds up what was posted on TO's account and on the rail's own
account, and compares that with what the caller asked for and what the bank has sent back.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from settlement_engine.domain.ledger import AccountKind, Leg
from settlement_engine.domain.lifecycle import State
from settlement_engine.domain.payment import Delivery
from settlement_engine.domain.settlement import Attestation

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID

    from settlement_engine.domain.settlement import Settlement
    from settlement_lab.memory import Records

_MOVED = frozenset({State.COMPLETED, State.RETURNED})


def delivery_faults(records: Records) -> Iterator[str]:
    """Compare what each settlement has moved on TO's account and at the settlement agent with its delivery."""
    moved: dict[UUID, Counter[AccountKind]] = {}
    suspended: Counter[UUID] = Counter()
    for transfer in records.transfers.values():
        if transfer.leg is Leg.OBLIGATION_SUSPENDED:
            suspended[transfer.group_id] += transfer.amount_minor
        sides = moved.setdefault(transfer.group_id, Counter())
        sides[records.accounts[transfer.debit_id].kind] -= transfer.amount_minor
        sides[records.accounts[transfer.credit_id].kind] += transfer.amount_minor
    for key, history in records.histories.items():
        if history.attestation is Attestation.DISPROVED:
            continue  # people find out who has the money
        sides = moved.get(key, Counter())
        left = _left(history)
        expected = (left + suspended[key], -left)
        found = (sides[AccountKind.VOSTRO], sides[AccountKind.SETTLEMENT])
        if found != expected:
            yield f"{history.instruction.delivery} of settlement {key.int}: {found}, not {expected}"


def _left(history: Settlement) -> int:
    """Return what TO, and our account at the agent, still have of a settlement."""
    if history.state not in _MOVED or history.instruction.delivery is Delivery.PAY_OUT:
        return 0
    return history.instruction.amount.minor - sum(each.part_minor for each in history.returns)
