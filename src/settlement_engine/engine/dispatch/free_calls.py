"""Calls that need no lane: of a rail without limits, while all of its banks answer and nothing is stopped.

Promises: what leaves without a lane would leave its lane at once, too. As soon as a send is not answered, the lanes of
its banks are made, and count it; from then on the rail's questions go through their lanes, until these have nothing
left to remember. Must never: send anything while the gate is closed, or while this engine's lease may have ended.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from settlement_engine.domain.lifecycle import Ask, Event

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from uuid import UUID

    from settlement_engine.domain.settlement import Settlement
    from settlement_engine.engine.dispatch.lanes import Lanes
    from settlement_engine.engine.gate import Gate
    from settlement_engine.engine.lease import EngineLease
    from settlement_engine.ports import Answer, RailCapabilities, SendRail


class FailedSends(set["UUID"]):
    """The settlements of one call without a lane that failed: not transmitted, or without an answer."""

    def heard(self, answers: Iterable[Answer]) -> None:
        """Note answers: what we held back ourselves says nothing about the bank."""
        for each in answers:
            if each.event is Event.UNDELIVERED and not each.is_held_back:
                self.add(each.settlement_id)

    def silent(self, settlement_ids: Iterable[UUID]) -> None:
        """Note settlements without an answer."""
        self.update(settlement_ids)


class FreeCalls:
    """See the module."""

    def __init__(
        self, rails: Mapping[str, SendRail], lanes: Lanes, gate: Gate, lease: EngineLease
    ) -> None:
        self._rails = rails
        self._lanes = lanes
        self._gate = gate
        self._lease = lease
        self._unlimited: dict[str, tuple[RailCapabilities, bool]] = {}
        self._under_way: dict[int, tuple[str, Sequence[Settlement]]] = {}

    def is_free(self, rail: str) -> bool:
        """Say whether no lane of the rail has anything to limit, to count or to hold back."""
        if rail in self._lanes.watched:
            return False
        rules, known = self._rails[rail].capabilities, self._unlimited.get(rail)
        if known is None or known[0] is not rules:
            known = self._unlimited[rail] = (rules, self._lanes.limits(rail).is_none)
        return known[1]

    def may_leave(self, rail: str) -> bool:
        """Say whether any question may be sent over the rail at once, without a lane."""
        gate = self._gate
        return self.is_free(rail) and gate.is_open and not gate.at_bank and self._lease.holds_lease

    def begin(self, rail: str, settlements: Sequence[Settlement]) -> None:
        """Note what is under way: people may ask."""
        self._under_way[id(settlements)] = (rail, settlements)

    def end(
        self,
        question: Ask,
        rail: str,
        settlements: Sequence[Settlement],
        *,
        asked: Sequence[Settlement] = (),
        failed: Collection[UUID] = (),
    ) -> bool:
        """Note the end of a call; True when a breaker has opened.

        ``asked`` are those that were put, ``failed`` those among them without an answer, or that were not transmitted.
        """
        del self._under_way[id(settlements)]
        if question is not Ask.SEND or not (failed or rail in self._lanes.watched):
            return False  # answered sends change nothing in a breaker that counts nothing
        sent = Counter(each.instruction.from_bank for each in asked)
        lost = Counter(each.instruction.from_bank for each in asked if each.id in failed)
        return self._lanes.count(rail, sent, lost, self._lease.monotonic())

    def under_way(self, rail: str) -> Counter[str]:
        """Count the questions under way, by bank."""
        return Counter(
            each.instruction.from_bank
            for name, settlements in self._under_way.values()
            if name == rail
            for each in settlements
        )
