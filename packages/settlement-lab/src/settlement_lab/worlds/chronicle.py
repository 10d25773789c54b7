"""The event log of a world: its last lines for people, and its digest for comparing two runs."""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import asyncio

LINES_KEPT: Final = 4_000
SECONDS_PER_HOUR: Final = 3_600


class Chronicle:
    """Keeps the last lines, and a digest of all lines."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._hash = hashlib.blake2b(digest_size=16)
        self.lines: deque[str] = deque(maxlen=LINES_KEPT)

    def note(self, line: str) -> None:
        """Write a line with the virtual time."""
        written = f"{self._loop.time():9.3f}  {line}"
        self._hash.update(written.encode())
        self.lines.append(written)

    @property
    def digest(self) -> str:
        """Return the digest of all lines."""
        return self._hash.hexdigest()


@dataclass(slots=True)
class History:
    """The result of a world. ``violations`` is empty if every guarantee held."""

    seed: int
    violations: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    digest: str = ""
    fired: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    invariant_warnings: Counter[str] = field(default_factory=Counter)
    debits: int = 0
    seconds: float = 0.0
    turns: int = 0
