"""The gate: whether a question that can move money may leave this process, rail by rail.

Promises: while it is shut for a rail nothing is screened for it, sent over it or recalled from it; what
waits goes out when it opens, unless this engine has forgotten it meanwhile. One rail's being shut holds up
no other. Asking what became of a payment is always allowed.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

NOTHING: frozenset[str] = frozenset()


class Gate:
    """One for each engine. ``turn`` counts how often this engine has forgotten what it carried."""

    def __init__(self, rails: Iterable[str] = (), *, is_open: bool) -> None:
        self._rails = frozenset(rails)
        self._opened: set[str] = set()
        self._is_open = is_open
        self._changed = asyncio.Event()
        self._at_bank = NOTHING
        self._hear: Callable[[], None] = _nobody
        self.turn = 0

    def when_changed(self, hear: Callable[[], None]) -> None:
        """Name who hears that questions may leave now, or that what waits was forgotten."""
        self._hear = hear

    @property
    def is_open(self) -> bool:
        """Say whether questions leave for every rail."""
        return self._is_open

    @property
    def is_ajar(self) -> bool:
        """Say whether questions leave for some rail at least."""
        return self._is_open or bool(self._opened)

    def is_open_for(self, rail: str) -> bool:
        """Say whether questions leave for this rail."""
        return self._is_open or rail in self._opened

    def is_open_for_all(self, rails: Iterable[str]) -> bool:
        """Say whether questions leave for all these rails; if none is named, for some rail at least."""
        return self.is_ajar and (self._is_open or self._opened.issuperset(rails))

    def shut(self) -> None:
        """Hold questions back from now on, for every rail."""
        self._is_open = False
        self._opened.clear()

    def open(self, at_bank: frozenset[str] = NOTHING, *, rail: str | None = None) -> None:
        """Let them go, for one rail or for all.

        ``at_bank`` are references that a bank has from time that was forgotten.
        """
        self._at_bank = at_bank
        if rail is not None:
            self._opened.add(rail)
        self._is_open = rail is None or self._rails <= self._opened
        self._tell()

    def forget(self) -> None:
        """Drop what waits: others carry it on, or this engine under a new number."""
        self.turn += 1
        self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
        self._hear()

    async def passes(self, turn: int, rails: Iterable[str] = ()) -> bool:
        """Wait until questions leave for all these rails, or for some rail if none is named.

        False when what was to be asked in that turn was forgotten.
        """
        while not self.is_open_for_all(rails):
            await self._changed.wait()
        return turn == self.turn

    @property
    def knows_at_bank(self) -> bool:
        """Say whether a bank has anything of ours from time that was forgotten."""
        return bool(self._at_bank)

    def is_at_bank(self, reference: str) -> bool:
        """Say whether the bank has this payment already, so that it is asked about and never sent."""
        return reference in self._at_bank


def _nobody() -> None:
    """Nobody listens yet."""
