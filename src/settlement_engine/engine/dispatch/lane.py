"""A lane: the queues to one bank over one rail, with their limits and a circuit breaker.

Promises: no more questions are in flight, and no more begin in a second, than the rail's limits allow; sends and
recalls share one track, enquiries have another; recalls go before sends; a queue keeps its order. Must never: send
anything itself, or read a clock; the caller passes the time.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

from settlement_engine.domain.lifecycle import Ask
from settlement_engine.engine.dispatch.breaker import Breaker

if TYPE_CHECKING:
    from settlement_engine.domain.lifecycle import State
    from settlement_engine.domain.settlement import Settlement
    from settlement_engine.ports import LaneLimits

NO_BOUND: Final = 1 << 30

IN_ORDER: Final = (Ask.RECALL, Ask.SEND, Ask.ENQUIRE)
"""The order of the queues."""


class Waiting(NamedTuple):
    """A waiting question, with the settlement's position when it was to be asked."""

    settlement: Settlement
    state: State
    seq: int
    attempt: int
    turn: int


class Track:
    """The limits of one kind of question: how many are in flight, and how many begin in a second."""

    def __init__(
        self, concurrency_max: int | None, rate_per_second_max: float | None, now: float
    ) -> None:
        self._concurrency_max = NO_BOUND if concurrency_max is None else concurrency_max
        self._rate = rate_per_second_max
        self._burst_max = max(rate_per_second_max or 0.0, 1.0)
        self._allowance = self._burst_max
        self._counted_at = now
        self.under_way = 0

    def room(self, now: float) -> int:
        """Return how many may begin now."""
        room = self._concurrency_max - self.under_way
        if self._rate is not None:
            self._fill(now)
            room = min(room, int(self._allowance))
        return max(room, 0)

    def begin(self, count: int) -> None:
        """Use capacity."""
        self.under_way += count
        if self._rate is not None:
            self._allowance -= count

    def end(self, count: int = 1) -> None:
        """Release capacity."""
        self.under_way -= count
        assert self.under_way >= 0, "only what has begun ends"

    def wait_seconds(self, now: float) -> float:
        """Return in how many seconds the rate limit allows one more to begin."""
        if self._rate is None:
            return 0.0
        self._fill(now)
        return max(1.0 - self._allowance, 0.0) / self._rate

    def _fill(self, now: float) -> None:
        assert self._rate is not None, "only a bounded rate has an allowance"
        grown = self._allowance + (now - self._counted_at) * self._rate
        self._allowance = min(grown, self._burst_max)
        self._counted_at = now


class Lane:
    """See the module."""

    def __init__(self, rail: str, bank: str, limits: LaneLimits, now: float) -> None:
        self.rail = rail
        self.bank = bank
        self.limits = limits
        self.breaker = Breaker(limits.breaker)
        self.queues: dict[Ask, deque[Waiting]] = {ask: deque() for ask in IN_ORDER}
        orders = Track(limits.concurrency_max, limits.rate_per_second_max, now)
        concurrency, rate = limits.enquiry_concurrency_max, limits.enquiry_rate_per_second_max
        enquiries = Track(
            limits.concurrency_max if concurrency is None else concurrency,
            limits.rate_per_second_max if rate is None else rate,
            now,
        )
        self.tracks: dict[Ask, Track] = {
            Ask.RECALL: orders,
            Ask.SEND: orders,
            Ask.ENQUIRE: enquiries,
        }

    @property
    def is_apart(self) -> bool:
        """Say whether its questions are sent in calls of their own, separate from other banks."""
        return self.limits.concurrency_max is not None

    @property
    def waiting(self) -> int:
        """Count the waiting questions."""
        return sum(map(len, self.queues.values()))

    @property
    def in_flight(self) -> int:
        """Count the questions in flight."""
        return sum(self.tracks[ask].under_way for ask in (Ask.SEND, Ask.ENQUIRE))

    @property
    def is_idle(self) -> bool:
        """Say whether the lane can be removed: nothing waits, is in flight or was counted."""
        is_busy = any(track.under_way for track in self.tracks.values())
        return not is_busy and not self.waiting and self.breaker.is_unused

    def room(self, question: Ask, now: float) -> int:
        """Return how many such questions may begin now."""
        room = self.tracks[question].room(now)
        bound = None if question is not Ask.SEND else self.breaker.room(now)
        return room if bound is None else min(room, bound)

    def begin(self, question: Ask, count: int) -> bool:
        """Note that so many questions begin; True for the one send that the breaker tries."""
        self.tracks[question].begin(count)
        return question is Ask.SEND and self.breaker.began()

    def has_queue_room(self) -> bool:
        """Say whether the queue has room for one more send."""
        return len(self.queues[Ask.SEND]) < self.limits.queue_max

    def wait_seconds(self, now: float) -> float:
        """Return in how many seconds a waiting question may begin: by the rate limit, or by the breaker."""
        waits = [
            max(
                self.tracks[question].wait_seconds(now),
                self.breaker.wait_seconds(now) if question is Ask.SEND else 0.0,
            )
            for question in IN_ORDER
            if self.queues[question]
        ]
        return min((wait for wait in waits if wait > 0), default=NO_BOUND)
