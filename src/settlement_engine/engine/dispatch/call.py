"""A call: the questions that are sent to a rail together, and the capacity that they use in their lanes.

Promises: capacity is used from the beginning of the call until a question is answered (in a lane with a limit of
concurrency) or the call ends, and is released once; at the end the lanes' breakers get the counts of answered and
failed sends. Must never: keep capacity after its end.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from settlement_engine.domain.lifecycle import Ask, Event

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from uuid import UUID

    from settlement_engine.domain.settlement import Settlement
    from settlement_engine.engine.dispatch.lane import Lane
    from settlement_engine.ports import Answer, SendRail


class LaneCall:
    """See the module. ``settlements`` are those whose question is asked."""

    def __init__(
        self,
        question: Ask,
        rail: SendRail,
        groups: Sequence[tuple[Lane, list[Settlement]]],
        hear_freed: Callable[[Iterable[Lane]], None],
        monotonic: Callable[[], float] = float,
    ) -> None:
        self.question = question
        self.rail = rail
        self.settlements = list(chain.from_iterable(group for _, group in groups))
        self._groups = groups
        self._hear_freed = hear_freed
        self._counts = {lane: len(group) for lane, group in groups}
        self._trials = [lane for lane, count in self._counts.items() if lane.begin(question, count)]
        self._holding = self._by_id(lane for lane in self._counts if lane.is_apart)
        self._held = dict(self._counts)
        self._failed: set[UUID] = set()
        self._rejected: set[UUID] = set()
        self._left_out: set[UUID] = set()
        self._monotonic = monotonic
        limits = groups[0][0].limits.breaker  # they are those of the rail
        self._reject_share, self._slow_seconds = limits.reject_share, limits.slow_seconds
        self._began_at = 0.0 if self._slow_seconds is None else monotonic()

    @property
    def lanes(self) -> Iterable[Lane]:
        """The lanes from which the questions come."""
        return self._counts

    def _by_id(self, lanes: Iterable[Lane]) -> dict[UUID, Lane]:
        wanted = set(lanes)
        return {each.id: lane for lane, group in self._groups if lane in wanted for each in group}

    def leave_out(self, settlements: Sequence[Settlement]) -> None:
        """Remove settlements whose question is not asked after all."""
        gone = {each.id for each in settlements}
        self.settlements = [each for each in self.settlements if each.id not in gone]
        self._left_out |= gone
        self._free(gone)

    def heard(self, answers: Sequence[Answer]) -> None:
        """Note answers; a second answer to a question changes nothing."""
        self._failed.update(
            [
                each.settlement_id
                for each in answers
                if each.event is Event.UNDELIVERED and not each.is_held_back
            ]
        )
        if self._reject_share is not None:
            self._rejected.update(
                [each.settlement_id for each in answers if each.event is Event.REJECTED]
            )
        if self._is_slow():
            self._failed.update([each.settlement_id for each in answers])
        if self._holding:
            self._free([each.settlement_id for each in answers])

    def _is_slow(self) -> bool:
        """Say whether what is answered now was waited for too long."""
        if self._slow_seconds is None:
            return False
        return self._monotonic() - self._began_at > self._slow_seconds

    def silent(self, settlement_ids: Iterable[UUID]) -> None:
        """Note the settlements without an answer."""
        self._failed.update(settlement_ids)

    def _free(self, settlement_ids: Iterable[UUID]) -> None:
        for settlement_id in settlement_ids:
            lane = self._holding.pop(settlement_id, None)
            if lane is not None:
                self._held[lane] -= 1
                lane.tracks[self.question].end()
                self._hear_freed((lane,))

    def end(self, now: float, *, is_put: bool) -> bool:
        """Release the capacity that is still used; True when a breaker has opened or closed.

        A call that the engine itself ended says nothing about the bank.
        """
        for lane, count in self._held.items():
            lane.tracks[self.question].end(count)
        self._hear_freed(self._held)
        self._holding.clear()  # later answers release nothing
        if self.question is not Ask.SEND:
            return False
        failed = self._count(self._failed if is_put else set())
        left_out = self._count(self._left_out) if is_put else self._counts
        has_changed = False
        rejected = self._count(self._rejected if is_put else set())
        is_smooth = not (failed or left_out or rejected or self._trials)
        for lane, count in self._counts.items():
            if is_smooth and lane.breaker.is_unused:
                continue  # answered sends change nothing in a breaker without failures
            was_closed = lane.breaker.is_closed
            answered = count - failed.get(lane, 0) - left_out.get(lane, 0)
            if lane in self._trials:
                lane.breaker.tried(answered, failed.get(lane, 0), now)
            else:
                lane.breaker.ended(answered, failed.get(lane, 0), now, rejected.get(lane, 0))
            has_changed |= lane.breaker.is_closed is not was_closed
        return has_changed

    def _count(self, settlement_ids: set[UUID]) -> dict[Lane, int]:
        if not settlement_ids:
            return {}
        return {
            lane: sum(each.id in settlement_ids for each in group) for lane, group in self._groups
        }
