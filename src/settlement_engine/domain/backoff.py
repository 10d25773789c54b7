"""How long to wait before a question is asked again.

Promises: each wait is at least as long as the one before, up to a named maximum. Must never: draw random
numbers; the caller passes them in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_DOUBLINGS_MAX: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Waits that double from ``first_seconds`` to ``max_seconds``."""

    first_seconds: float
    max_seconds: float

    def seconds(self, asked: int, spread: float) -> float:
        """Return the wait in seconds after ``asked`` questions without a new status.

        ``spread`` in [0, 1) is a random number from the caller. It shortens the wait by up to a quarter, so
        that thousands of waits that began together do not end together.
        """
        assert 0 <= spread < 1
        doublings = min(max(asked - 1, 0), _DOUBLINGS_MAX)
        wait: float = min(self.first_seconds * 2**doublings, self.max_seconds)
        return wait * (1 - spread / 4)
