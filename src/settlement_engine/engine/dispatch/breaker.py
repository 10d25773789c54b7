"""The circuit breaker of a lane: sending to a bank that does not answer stops for a while.

Promises: while it is open nothing is sent; after each wait one send is tried, and if that is answered, the breaker
closes. It counts only sends; enquiries are never stopped. Must never: invent an answer, or read a clock; the caller
passes monotonic seconds.
"""

from __future__ import annotations

from collections import deque
from enum import StrEnum, auto
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from settlement_engine.ports import BreakerLimits


class BreakerState(StrEnum):
    """Whether sends are allowed."""

    CLOSED = auto()  # allowed
    OPEN = auto()  # they wait in the queue
    HALF_OPEN = auto()  # one is tried


class Breaker:
    """One for each lane."""

    def __init__(self, limits: BreakerLimits) -> None:
        self._limits = limits
        self._outcomes: deque[tuple[int, int]] = (
            deque()
        )  # counts of answered and failed sends, for each call
        self._answered = 0
        self._failed = 0
        self._failed_in_a_row = 0
        self._is_open = False
        self._is_trying = False
        self._openings = 0
        self._tries_at = 0.0

    def state(self, now: float) -> BreakerState:
        """Return whether sends are allowed."""
        if not self._is_open:
            return BreakerState.CLOSED
        return BreakerState.HALF_OPEN if now >= self._tries_at else BreakerState.OPEN

    def room(self, now: float) -> int | None:
        """Return how many sends may begin now; None means no limit."""
        state = self.state(now)
        if state is BreakerState.CLOSED:
            return None
        return 1 if state is BreakerState.HALF_OPEN and not self._is_trying else 0

    @property
    def is_closed(self) -> bool:
        """Say whether it is closed, so that it sets no limit."""
        return not self._is_open

    @property
    def is_unused(self) -> bool:
        """Say whether it is closed and has counted nothing."""
        return not self._is_open and not self._failed

    def wait_seconds(self, now: float) -> float:
        """Return in how many seconds it may allow a send by itself."""
        return max(self._tries_at - now, 0.0) if self._is_open else 0.0

    def began(self) -> bool:
        """Note that sends begin; True for the one that is tried: report its end with ``tried``."""
        self._is_trying = self._is_open
        return self._is_trying

    def tried(self, answered: int, failed: int, now: float) -> None:
        """Note the result of the send that was tried; one that never began is tried again."""
        self._is_trying = False
        if answered:
            self._is_open = False
            self._openings = 0
            self._forget()
        elif failed:
            self._open(now)

    def ended(self, answered: int, failed: int, now: float) -> None:
        """Note the results of one call's sends; if the breaker has opened meanwhile, they change nothing."""
        if self._is_open:
            return
        self._count(answered, failed)
        self._failed_in_a_row = 0 if answered else self._failed_in_a_row + failed
        is_silent = self._failed_in_a_row >= self._limits.failures_in_a_row
        seen = self._answered + self._failed
        is_bad = self._failed >= self._limits.failure_share * seen
        if failed and (is_silent or (seen >= self._limits.window and is_bad)):
            self._open(now)

    def _open(self, now: float) -> None:
        self._is_open, self._is_trying = True, False
        self._openings += 1
        self._tries_at = now + self._limits.rest.seconds(self._openings, 0.0)

    def _count(self, answered: int, failed: int) -> None:
        """Count the results of a call, and drop those outside of the window."""
        self._outcomes.append((answered, failed))
        self._answered += answered
        self._failed += failed
        while self._answered + self._failed - sum(self._outcomes[0]) >= self._limits.window:
            past_answered, past_failed = self._outcomes.popleft()
            self._answered -= past_answered
            self._failed -= past_failed

    def _forget(self) -> None:
        self._outcomes.clear()
        self._answered = self._failed = self._failed_in_a_row = 0
