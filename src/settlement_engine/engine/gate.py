"""The gate: whether a question that can move money may leave this process.

Promises: while it is shut nothing is screened, sent or recalled; what waits goes out when it opens, unless
this engine has forgotten it meanwhile. Asking what became of a payment is always allowed.
"""

from __future__ import annotations

import asyncio

NOTHING: frozenset[str] = frozenset()


class Gate:
    """One for each engine. ``turn`` counts how often this engine has forgotten what it carried."""

    def __init__(self, *, is_open: bool) -> None:
        self._opened = asyncio.Event()
        self._at_bank = NOTHING
        self.turn = 0
        if is_open:
            self._opened.set()

    @property
    def is_open(self) -> bool:
        """Say whether questions leave."""
        return self._opened.is_set()

    def shut(self) -> None:
        """Hold questions back from now on."""
        self._opened.clear()

    def open(self, at_bank: frozenset[str] = NOTHING) -> None:
        """Let them go. ``at_bank`` are references that a bank has from time that was forgotten."""
        self._at_bank = at_bank
        self._opened.set()

    def forget(self) -> None:
        """Drop what waits: others carry it on, or this engine under a new number."""
        self.turn += 1

    async def passes(self, turn: int) -> bool:
        """Wait until questions leave; False when what was to be asked in that turn was forgotten."""
        await self._opened.wait()
        return turn == self.turn

    def is_at_bank(self, reference: str) -> bool:
        """Say whether the bank has this payment already, so that it is asked about and never sent."""
        return reference in self._at_bank
