"""The kinds of rails of the worlds: what the bank of a world promises, drawn once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from settlement_engine.domain.backoff import Backoff
from settlement_engine.domain.decisions.resending import AT_RAIL
from settlement_engine.domain.lifecycle import Ask
from settlement_engine.ports import BreakerLimits, LaneLimits, RailCapabilities, RailClass

if TYPE_CHECKING:
    from random import Random

ANSWER_TIMEOUT_SECONDS: Final = 3.0
SHORT_SECONDS: Final = 15.0
QUEUES: Final = (1, 2, 500)
LONG_SECONDS: Final = 600.0
RESENDABLE: Final = (RailClass.A, RailClass.B)


def draw_rules(chance: Random) -> RailCapabilities:
    """Draw the kind of rail of this world."""
    kinds = (RailClass.A, RailClass.A, RailClass.B, RailClass.B, RailClass.C, RailClass.D)
    drawn = chance.random() * len(kinds)
    kind = kinds[int(drawn)]
    is_one_way = kind not in RESENDABLE and drawn % 1 < 0.5  # noqa: PLR2004 - with probability one half
    is_hasty = chance.random() < 0.5  # noqa: PLR2004 - of two promises, either may be the shorter
    return RailCapabilities(
        rail_class=kind,
        answer_timeout_seconds=ANSWER_TIMEOUT_SECONDS,
        is_not_found_definite=kind in RESENDABLE,
        validity_seconds=SHORT_SECONDS if is_hasty else LONG_SECONDS,
        deduplicates_seconds=LONG_SECONDS if is_hasty else SHORT_SECONDS,
        overdue_after_seconds=SHORT_SECONDS if chance.random() < 0.5 else None,  # noqa: PLR2004
        lane=_draw_lane(chance),
        asks=frozenset({Ask.SEND}) if is_one_way else AT_RAIL,
    )


def _draw_lane(chance: Random) -> LaneLimits:
    """Draw how much the rail accepts at once; in half of the worlds there is no limit, and no queue."""
    is_narrow = chance.random() < 0.5  # noqa: PLR2004 - with probability one half
    return LaneLimits(
        concurrency_max=1 + int(chance.random() * 2) if is_narrow else None,
        queue_max=QUEUES[int(chance.random() * len(QUEUES))],
        breaker=BreakerLimits(
            failures_in_a_row=3, window=6, rest=Backoff(first_seconds=4, max_seconds=15)
        ),
    )
