"""Which new instructions do not fit the settlements that they compensate.

Promises: instructions that compensate nothing cost no query, and a batch costs one at most. Must never: be the last
word on what is left to compensate; another engine may admit a compensation at the same time, and the store decides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from settlement_engine.domain.compensation_checks import fault_of_compensation
from settlement_engine.errors import Broken, Contention, InvalidInstruction, SettlementEngineError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from settlement_engine.domain.settlement import Instruction, Settlement
    from settlement_engine.ports import SettlementStore


UNREADABLE: Final = "is a settlement whose record cannot be read"


async def faults_of_compensations(
    store: SettlementStore, instructions: Sequence[Instruction]
) -> list[tuple[str, str] | None]:
    """Return, for each instruction, the field that does not fit what it compensates, and why.

    The list is empty if no instruction compensates anything. Raises Unavailable.
    """
    wanted = {each.compensates for each in instructions if each.compensates is not None}
    if not wanted:
        return []
    try:
        found = await store.load(sorted(wanted))
    except Broken:
        if len(wanted) == 1:
            return [
                ("compensates", UNREADABLE) if each.compensates else None for each in instructions
            ]
        # One record that cannot be read costs no other's caller.
        return [
            (await faults_of_compensations(store, [each]) or [None])[0] for each in instructions
        ]
    return [
        fault_of_compensation(each, found.get(each.compensates)) if each.compensates else None
        for each in instructions
    ]


def why_not_left(instruction: Instruction, compensated: Settlement) -> SettlementEngineError:
    """Return the error for a compensation that the store did not admit, because not enough was left."""
    fault = fault_of_compensation(instruction, compensated)
    if fault is not None:
        return InvalidInstruction([fault])
    what = "what is left to compensate is being changed by other calls"
    return Contention(what)
