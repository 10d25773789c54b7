"""An event loop whose clock jumps to the next timer when nothing is ready to run.

What a test waits for takes no real time, and a busy machine delays nothing: time without the processor
does not count. Each turn of the loop takes a microsecond, so that a task that never waits does not stop
the clock. It is for tests within one thread; results from outside come at once or are not waited for.
"""

from __future__ import annotations

import asyncio
import selectors
from datetime import UTC, datetime, timedelta

TURN_SECONDS = 1e-6
BEGINNING = datetime(2026, 11, 26, 12, tzinfo=UTC)
"""The time at which every clock of a ``JumpingLoop`` begins: a Thursday at noon."""


class _JumpingSelector(selectors.DefaultSelector):
    """Never waits for a timer."""

    def __init__(self) -> None:
        super().__init__()
        self.jumped_seconds = 0.0

    def select(self, timeout=None):
        if timeout is None:
            return super().select(timeout)
        self.jumped_seconds += TURN_SECONDS
        events = super().select(0)
        if not events:
            self.jumped_seconds += max(timeout, 0.0)
        return events


class JumpingLoop(asyncio.SelectorEventLoop):
    """See above."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Return the virtual seconds since the start."""
        return self._jumping.jumped_seconds


class LoopClock:
    """The clock of the running loop: that of a ``JumpingLoop``, or the machine's."""

    def now(self) -> datetime:
        """Return the present time."""
        loop = asyncio.get_running_loop()
        if isinstance(loop, JumpingLoop):
            return BEGINNING + timedelta(seconds=loop.time())
        return datetime.now(UTC)
