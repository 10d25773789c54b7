"""The lanes of one engine: found by rail and bank, made on first use, and bounded in number.

Promises: a lane with questions that wait or are in flight is never removed; above the limit, banks share one lane for
each rail. Must never: send anything itself, or read a clock; the caller passes the time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from settlement_engine.engine.dispatch.lane import Lane
from settlement_engine.ports import LaneReport

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from settlement_engine.ports import SendRail

LANES_MAX: Final = 4_096
"""The most lanes; further banks share one lane for each rail while no lane is idle."""

SHARED: Final = ""
"""The name of the lane that several banks share."""

CLEARING_SECONDS: Final = 1.0
"""The shortest time between two searches for idle lanes, in seconds."""


class Lanes:
    """The lanes of one engine. ``busy`` are those with waiting questions."""

    def __init__(self, rails: Mapping[str, SendRail]) -> None:
        self._rails = rails
        self.opened: dict[tuple[str, str], Lane] = {}
        self.busy: dict[tuple[str, str], Lane] = {}
        self._cleared_at = float("-inf")

    def find(self, rail: str, bank: str) -> Lane | None:
        """Return the lane that a bank has or shares; None before its first use."""
        return self.opened.get((rail, bank)) or self.opened.get((rail, SHARED))

    def of(self, rail: str, bank: str, now: float, in_use: Collection[Lane]) -> Lane:
        """Return a bank's lane, made on first use."""
        return self.opened.get((rail, bank)) or self._open((rail, bank), now, in_use)

    def _open(self, key: tuple[str, str], now: float, in_use: Collection[Lane]) -> Lane:
        """Make a lane on first use; an idle one is removed for it, and above the limit banks share one."""
        if len(self.opened) >= LANES_MAX and now - self._cleared_at >= CLEARING_SECONDS:
            self._cleared_at = now
            idle = [name for name, lane in self.opened.items() if lane.is_idle]
            for name in idle:
                if self.opened[name] not in in_use:
                    del self.opened[name]
        if len(self.opened) >= LANES_MAX:
            key = (key[0], SHARED)
            if key in self.opened:
                return self.opened[key]
        lane = Lane(*key, self._rails[key[0]].capabilities.lane, now)
        self.opened[key] = lane
        return lane

    def waiting(self, rail: str) -> int:
        """Count the waiting questions of a rail."""
        return sum(lane.waiting for lane in self.opened.values() if lane.rail == rail)

    def reports(self) -> dict[str, LaneReport]:
        """Report for each rail how many questions wait, and how many breakers are open."""
        waiting = dict.fromkeys(self._rails, 0)
        opened = dict.fromkeys(self._rails, 0)
        for lane in self.busy.values():
            waiting[lane.rail] += lane.waiting
        for lane in self.opened.values():
            opened[lane.rail] += not lane.breaker.is_closed
        return {
            name: LaneReport(waiting=waiting[name], breakers_open=opened[name])
            for name in self._rails
        }
