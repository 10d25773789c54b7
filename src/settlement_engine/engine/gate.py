"""The gate: for each rail, whether this process may send questions that can move money.

Promises: while the gate is closed for a rail, nothing is screened for it, sent over it or recalled from it; waiting
questions are sent when it opens, unless this engine has discarded them. A closed gate of one rail never delays
another rail. Must never: stop enquiries; they are always allowed.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

NOTHING: frozenset[str] = frozenset()


class Gate:
    """One for each engine.

    ``is_open`` says whether it is open for every rail, as it nearly always is: then nothing else is asked of it.
    ``at_bank`` are references of payments that a bank has and this database may have lost. ``turn`` counts how often
    this engine has discarded all its settlements.
    """

    def __init__(self, rails: Iterable[str] = (), *, is_open: bool) -> None:
        self._rails = frozenset(rails)
        self._opened: set[str] = set()
        self.is_open = is_open
        self._changed = asyncio.Event()
        self.at_bank = NOTHING
        self._hear: Callable[[], None] = _nobody
        self.turn = 0

    def when_changed(self, hear: Callable[[], None]) -> None:
        """Set the function to call when questions may be sent, or waiting ones were discarded."""
        self._hear = hear

    @property
    def is_ajar(self) -> bool:
        """Say whether the gate is open for at least one rail."""
        return self.is_open or bool(self._opened)

    def is_open_for(self, rail: str) -> bool:
        """Say whether the gate is open for this rail."""
        return self.is_open or rail in self._opened

    def is_open_for_all(self, rails: Iterable[str]) -> bool:
        """Say whether the gate is open for all these rails; without rails, for at least one."""
        return self.is_ajar and (self.is_open or self._opened.issuperset(rails))

    def shut(self) -> None:
        """Close the gate for every rail."""
        self.is_open = False
        self._opened.clear()

    def open(self, at_bank: frozenset[str] = NOTHING, *, rail: str | None = None) -> None:
        """Open the gate for one rail or for all.

        ``at_bank`` are references of payments that a bank has and this database may have lost.
        """
        self.at_bank = at_bank
        if rail is not None:
            self._opened.add(rail)
        self.is_open = rail is None or self._rails <= self._opened
        self._tell()

    def forget(self) -> None:
        """Discard waiting questions: another engine continues them, or this one with a new id."""
        self.turn += 1
        self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
        self._hear()

    async def passes(self, turn: int, rails: Iterable[str] = ()) -> bool:
        """Wait until the gate is open for all these rails, or for at least one if none is given.

        False when the questions of that turn were discarded.
        """
        while not self.is_open_for_all(rails):
            await self._changed.wait()
        return turn == self.turn

    def is_at_bank(self, reference: str) -> bool:
        """Say whether the bank has this payment already: then an enquiry is sent, never the payment."""
        return reference in self.at_bank


def _nobody() -> None:
    """Do nothing: no function was set."""
