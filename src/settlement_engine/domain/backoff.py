"""How long to wait before a question is put again."""

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
        """Return the wait after the question was put ``asked`` times without news.

        ``spread`` in [0, 1) is chance, drawn by the caller: it shortens the wait by up to a quarter,
        so that thousands of waits that began together do not end together.
        """
        assert 0 <= spread < 1
        doublings = min(max(asked - 1, 0), _DOUBLINGS_MAX)
        wait: float = min(self.first_seconds * 2**doublings, self.max_seconds)
        return wait * (1 - spread / 4)
