"""The lanes of one engine: found by rail and bank, made on first use, and bounded in number.

Promises: a lane with questions that wait or are in flight is never removed; above the limit, banks share one lane for
each rail. Must never: send anything itself, or read a clock; the caller passes the time.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from settlement_engine.domain.bank_codes import folded_bank
from settlement_engine.domain.breaker_orders import EVERY_BANK
from settlement_engine.engine.dispatch.breaker import BreakerState
from settlement_engine.engine.dispatch.lane import Lane
from settlement_engine.ports import LaneReport, LaneStatus

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from settlement_engine.ports import BreakerLimits, LaneLimits, SendRail

LANES_MAX: Final = 4_096
"""The most lanes; further banks share one lane for each rail while no lane is idle."""

SHARED: Final = ""
"""The name of the lane that several banks share."""

CLEARING_SECONDS: Final = 1.0
"""The shortest time between two searches for idle lanes, in seconds."""


class Lanes:
    """The lanes of one engine. ``busy`` are those with waiting questions.

    ``watched`` are the rails with a lane, or to which a person has stopped sending.
    ``breakers`` are the limits of breakers that are configured for a rail, in place of its own.
    """

    def __init__(
        self, rails: Mapping[str, SendRail], breakers: Mapping[str, BreakerLimits] | None = None
    ) -> None:
        self._rails = rails
        self._breakers = breakers or {}
        self._stopped: frozenset[tuple[str, str]] = frozenset()
        self._probes: set[tuple[str, str]] = set()
        self.opened: dict[tuple[str, str], Lane] = {}
        self.busy: dict[tuple[str, str], Lane] = {}
        self.watched: frozenset[str] = frozenset()
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
            self._watch()
        is_full = len(self.opened) >= LANES_MAX
        if is_full and not self.is_stopped(*key):  # one that is stopped has a lane of its own
            key = (key[0], SHARED)
            if key in self.opened:
                return self.opened[key]
        lane = Lane(*key, self.limits(key[0]), now)
        lane.breaker.stop(is_stopped=self.is_stopped(*key))
        for probe in self._probes.intersection(_names(*key)):
            self._probes.remove(probe)
            lane.breaker.probe()
        self.opened[key] = lane
        if key[0] not in self.watched:
            self._watch()
        return lane

    def _watch(self) -> None:
        self.watched = frozenset(rail for rail, _ in (*self.opened, *self._stopped))

    def forget_idle(self, lanes: Iterable[Lane]) -> None:
        """Remove lanes without limits that have nothing to count or to hold back any more."""
        idle = [lane for lane in lanes if lane.limits.is_none and lane.is_idle]
        for lane in idle:
            self.opened.pop((lane.rail, lane.bank), None)
        if idle:
            self._watch()

    def count(
        self, rail: str, sent: Mapping[str, int], failed: Mapping[str, int], now: float
    ) -> bool:
        """Count sends that left without a lane, by bank; True when a breaker has opened."""
        has_changed = False
        for bank, count in sent.items():
            lost = failed.get(bank, 0)
            lane = self.of(rail, bank, now, ()) if lost else self.find(rail, bank)
            if lane is None or (not lost and lane.breaker.is_unused):
                continue
            was_closed = lane.breaker.is_closed
            lane.breaker.ended(count - lost, lost, now)
            has_changed |= lane.breaker.is_closed is not was_closed
        return has_changed

    def limits(self, rail: str) -> LaneLimits:
        """Return the limits of a rail's lanes."""
        limits = self._rails[rail].capabilities.lane
        own = self._breakers.get(rail)
        return limits if own is None else replace(limits, breaker=own)

    # --- orders of people -----------------------------------------------------------------------

    def stop_only(self, stopped: Collection[tuple[str, str]]) -> None:
        """Stop sending to these, by rail and folded code or ``EVERY_BANK``, and to nobody else."""
        self._stopped = frozenset(stopped)
        rails = {rail for rail, _ in stopped}
        self._probes = {probe for probe in self._probes if probe[0] in rails}
        for lane in self.opened.values():
            lane.breaker.stop(is_stopped=self.is_stopped(lane.rail, lane.bank))
        self._watch()

    def is_stopped(self, rail: str, bank: str) -> bool:
        """Say whether a person has stopped sending to a bank."""
        return bool(self._stopped) and not self._stopped.isdisjoint(_names(rail, bank))

    def refusing_rails(self) -> frozenset[str]:
        """Return the rails that refuse new payments while a breaker is open."""
        return frozenset(
            name for name in self._rails if self.limits(name).breaker.refuses_while_open
        )

    def is_sending_to_new(self, rail: str, bank: str) -> bool:
        """Say whether a bank without a lane is sent to; an ordered probe lets its first send pass."""
        if not self._stopped:
            return True
        return not self.is_stopped(rail, bank) or not self._probes.isdisjoint(_names(rail, bank))

    def close(self, rail: str, bank: str) -> None:
        """Close breakers: what was counted is forgotten, and sending is allowed unless it is stopped."""
        self._probes.discard((rail, bank))
        for lane in self._named(rail, bank):
            lane.breaker.close()

    def probe(self, rail: str, bank: str) -> None:
        """Let each lane whose breaker is not closed try one send; without a lane, the first send.

        Where nothing is stopped, a bank without a lane is sent to anyway.
        """
        lanes = list(self._named(rail, bank))
        for lane in lanes:
            lane.breaker.probe()
        if not lanes and any(stopped == rail for stopped, _ in self._stopped):
            self._probes.add((rail, bank))

    def _named(self, rail: str, bank: str) -> Iterator[Lane]:
        for lane in self.opened.values():
            if (rail, bank) in _names(lane.rail, lane.bank):
                yield lane

    def statuses(
        self, rail: str, now: float, limit: int, free: Mapping[str, int]
    ) -> tuple[LaneStatus, ...]:
        """Describe a rail's lanes: those that are not closed first, then those where most wait.

        ``free`` counts what is under way without a lane, by bank.
        """
        lanes = [lane for lane in self.opened.values() if lane.rail == rail]
        named = {lane.bank for lane in lanes}
        limits = self.limits(rail)
        lanes += [Lane(rail, bank, limits, now) for bank in free if bank not in named]
        lanes.sort(key=lambda lane: (lane.breaker.is_closed, -lane.waiting, lane.bank))
        return tuple(_status(lane, now, free.get(lane.bank, 0)) for lane in lanes[:limit])

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
        stops = dict.fromkeys(self._rails, 0)
        for rail, _ in self._stopped:
            if rail in stops:
                stops[rail] += 1
        return {
            name: LaneReport(waiting=waiting[name], breakers_open=opened[name], stops=stops[name])
            for name in self._rails
        }


def _names(rail: str, bank: str) -> tuple[tuple[str, str], tuple[str, str]]:
    """Return the names under which orders are about a bank."""
    return (rail, folded_bank(bank) if bank else bank), (rail, EVERY_BANK)


def _status(lane: Lane, now: float, free: int) -> LaneStatus:
    breaker = lane.breaker
    state = breaker.state(now)
    is_waiting = state is BreakerState.OPEN and not breaker.is_stopped
    return LaneStatus(
        bank=lane.bank,
        breaker=state.value,
        why=breaker.why,
        is_stopped=breaker.is_stopped,
        waiting=lane.waiting,
        in_flight=lane.in_flight + free,
        tries_in_seconds=breaker.wait_seconds(now) if is_waiting else 0.0,
    )
