"""The circuit breaker of a lane: sending to a bank that does not answer stops for a while.

Promises: while it is open nothing is sent; after each wait one send is tried, and if that is answered, the breaker
closes. A person may stop sending as well: then it stays open until a person allows it again, and one send is tried
only when a person says so. It counts only sends; enquiries and recalls are never stopped. Must never: invent an
answer, or read a clock; the caller passes monotonic seconds.
"""

from __future__ import annotations

import math
from collections import deque
from enum import StrEnum, auto
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from settlement_engine.ports import BreakerLimits

NOT_ANSWERED: Final = "sends were not answered in time"
REJECTED: Final = "too many payments were rejected"


class BreakerState(StrEnum):
    """Whether sends are allowed."""

    CLOSED = auto()  # allowed
    OPEN = auto()  # they wait in the queue
    HALF_OPEN = auto()  # one is tried


class Counts(NamedTuple):
    """The sends of one call: answered, failed (not answered in time), and those answered with a rejection."""

    answered: int = 0
    failed: int = 0
    rejected: int = 0

    @property
    def seen(self) -> int:
        """All sends of the call."""
        return self.answered + self.failed

    def plus(self, other: Counts) -> Counts:
        """Add the sends of another call."""
        return Counts(*(ours + theirs for ours, theirs in zip(self, other, strict=True)))

    def minus(self, other: Counts) -> Counts:
        """Take away the sends of another call."""
        return Counts(*(ours - theirs for ours, theirs in zip(self, other, strict=True)))


class Breaker:
    """One for each lane."""

    def __init__(self, limits: BreakerLimits) -> None:
        self._limits = limits
        self._calls: deque[Counts] = deque()
        self._total = Counts()
        self._failed_in_a_row = 0
        self._is_open = False
        self._is_stopped = False
        self._may_probe = False
        self._is_trying = False
        self._openings = 0
        self._tries_at = 0.0
        self.why = ""
        """Why it is open by itself; empty while it is not."""

    def state(self, now: float) -> BreakerState:
        """Return whether sends are allowed."""
        if self.is_closed:
            return BreakerState.CLOSED
        is_tried = self._may_probe or (not self._is_stopped and now >= self._tries_at)
        return BreakerState.HALF_OPEN if is_tried else BreakerState.OPEN

    def room(self, now: float) -> int | None:
        """Return how many sends may begin now; None means no limit."""
        state = self.state(now)
        if state is BreakerState.CLOSED:
            return None
        return 1 if state is BreakerState.HALF_OPEN and not self._is_trying else 0

    @property
    def is_closed(self) -> bool:
        """Say whether it is closed, so that it sets no limit."""
        return not self._is_open and not self._is_stopped

    @property
    def is_stopped(self) -> bool:
        """Say whether a person has stopped sending."""
        return self._is_stopped

    @property
    def is_unused(self) -> bool:
        """Say whether it is closed and has counted nothing that may open it."""
        return self.is_closed and not self._total.failed and not self._total.rejected

    def wait_seconds(self, now: float) -> float:
        """Return in how many seconds it may allow a send by itself."""
        if self.is_closed or self._may_probe:
            return 0.0
        return math.inf if self._is_stopped else max(self._tries_at - now, 0.0)

    # --- orders of people -----------------------------------------------------------------------

    def stop(self, *, is_stopped: bool) -> None:
        """Stop sending, or allow it as far as the bank answers."""
        if self._is_stopped and not is_stopped:
            self._may_probe = False
        self._is_stopped = is_stopped

    def close(self) -> None:
        """Close it, and forget what was counted."""
        self._close()

    def probe(self) -> None:
        """Allow one send now, if it is not closed."""
        self._may_probe = not self.is_closed

    # --- results of sends -----------------------------------------------------------------------

    def began(self) -> bool:
        """Note that sends begin; True for the one that is tried: report its end with ``tried``."""
        self._is_trying = not self.is_closed
        self._may_probe = False
        return self._is_trying

    def tried(self, answered: int, failed: int, now: float) -> None:
        """Note the result of the send that was tried; one that never began is tried again."""
        self._is_trying = False
        if answered:
            self._close()
        elif failed:
            self._open(now, NOT_ANSWERED)
        else:
            self._may_probe = self._is_stopped

    def ended(self, answered: int, failed: int, now: float, rejected: int = 0) -> None:
        """Note the results of one call's sends; if the breaker has opened meanwhile, they change nothing.

        ``rejected`` are those among the answered ones whose answer was a rejection.
        """
        if not self.is_closed:
            return
        self._count(Counts(answered, failed, rejected))
        self._failed_in_a_row = 0 if answered else self._failed_in_a_row + failed
        is_silent = self._failed_in_a_row >= self._limits.failures_in_a_row
        if failed and (is_silent or self._is_share(self._total.failed, self._limits.failure_share)):
            self._open(now, NOT_ANSWERED)
        elif rejected and self._is_share(self._total.rejected, self._limits.reject_share):
            self._open(now, REJECTED)

    def _is_share(self, count: int, share: float | None) -> bool:
        """Say whether so many are at least this share of a full window; None is never reached."""
        seen = self._total.seen
        return share is not None and seen >= self._limits.window and count >= share * seen

    def _open(self, now: float, why: str) -> None:
        self._is_open, self._is_trying = True, False
        self.why = why
        self._openings += 1
        self._tries_at = now + self._limits.rest.seconds(self._openings, 0.0)

    def _close(self) -> None:
        self._is_open = self._may_probe = False
        self.why = ""
        self._openings = 0
        self._calls.clear()
        self._total = Counts()
        self._failed_in_a_row = 0

    def _count(self, counts: Counts) -> None:
        """Count the results of a call, and drop those outside of the window."""
        self._calls.append(counts)
        self._total = self._total.plus(counts)
        while self._total.seen - self._calls[0].seen >= self._limits.window:
            self._total = self._total.minus(self._calls.popleft())
