"""What is left of settlements, while returns are booked and the funds of compensations are held.

A return and a compensation give the same money back. Each is decided on what was read before, so that here, under a
lock of the settlement's row, it is looked at again: of two at once the second one sees the first.

Promises: the rows are locked in the order in which every batch locks them; a batch is one call. Must never: decide
what becomes of a return or a compensation for which not enough is left.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from settlement_engine.domain.lifecycle import Do
from settlement_engine.store import arrays
from settlement_engine.store.queries import query

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from settlement_engine.ports import TransitionCommand
    from settlement_engine.store.database import Connection

LOCKING: Final = frozenset({Do.EXCEPT, Do.REVERSE, Do.SUSPEND})
"""With one of these actions a batch locks the rows of all its settlements."""


async def lock_what_is_left(
    connection: Connection, steps: Sequence[TransitionCommand]
) -> tuple[datetime, list[bool]]:
    """Lock what the transitions give back of; say for each whether more was given back than its caller had read.

    A transition that is stale for another reason is not late: the guards of the batch find it.
    """
    giving = [step for step in steps if step.gives_back is not None]
    wanted = [step.gives_back for step in giving if step.gives_back is not None]
    locked = {settlement_id for settlement_id, _ in wanted}
    if any(step.transition.do in LOCKING for step in steps):
        locked |= {step.settlement.id for step in steps}  # as the batch itself does
    row = await connection.fetchrow(
        query("lock_what_is_left"),
        arrays.uuids([step.settlement.id for step in steps]),
        arrays.uuids(sorted(locked)),
        arrays.uuids([step.settlement.id for step in giving]),
        arrays.integers([step.settlement.seq for step in giving]),
        arrays.uuids([settlement_id for settlement_id, _ in wanted]),
    )
    assert row is not None, "the call returns a row"
    at, left_minor = row
    late = _late(wanted, left_minor)
    found = iter(late)
    return at, [next(found) if step.gives_back is not None else False for step in steps]


def _late(wanted: Sequence[tuple[UUID, int]], left_minor: Sequence[int | None]) -> list[bool]:
    """Say which do not fit into what is left, one after the other."""
    given: dict[UUID, int] = {}
    late = []
    for (settlement_id, minor), left in zip(wanted, left_minor, strict=True):
        is_late = left is not None and given.get(settlement_id, 0) + minor > left
        late.append(is_late)
        if not is_late:
            given[settlement_id] = given.get(settlement_id, 0) + minor
    return late
