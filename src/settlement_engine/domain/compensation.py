"""A compensation as a value: what one settlement pays back of another one.

Promises: pure. Must never: know more of either settlement; ``compensation_checks`` compares the two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from uuid import UUID  # noqa: TC003 - msgspec reads the types

import msgspec

from settlement_engine.domain.lifecycle import HOLDING, State

if TYPE_CHECKING:
    from collections.abc import Sequence

WITHOUT_EFFECT: Final = frozenset({State.FAILED, State.ROLLED_BACK, State.RETURNED})
"""The states in which a compensation has paid nothing back, or all of it has come back again."""

PAYS_BACK: Final = HOLDING | {State.COMPLETED}
"""The states in which a compensation has paid back, or its funds are held and its order may be at the rail."""


class Compensation(msgspec.Struct, frozen=True, kw_only=True):
    """A settlement that compensates another one. ``returned_minor`` is what has come back of it, in minor units."""

    settlement_id: UUID
    state: State
    amount_minor: int
    returned_minor: int = 0

    @property
    def effect_minor(self) -> int:
        """What it pays back, or will pay back if it completes, in minor units."""
        return 0 if self.state in WITHOUT_EFFECT else self.amount_minor - self.returned_minor

    @property
    def paid_back_minor(self) -> int:
        """What it has paid back, or what may be on its way and can no longer be stopped, in minor units."""
        return self.amount_minor - self.returned_minor if self.state in PAYS_BACK else 0


def compensated_minor(compensations: Sequence[Compensation]) -> int:
    """Return what compensations pay back together, in minor units; those that are still open count too."""
    return sum(each.effect_minor for each in compensations)


def paid_back_minor(compensations: Sequence[Compensation]) -> int:
    """Return what compensations have paid back together, or may have, in minor units.

    One that waits for two people, or for its window, is not counted: it is refused before its funds are held if so
    much has come back meanwhile that it would pay back too much.
    """
    return sum(each.paid_back_minor for each in compensations)
