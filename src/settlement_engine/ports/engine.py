"""What the edge may ask of the engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeAlias

import msgspec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from contextlib import AbstractContextManager
    from uuid import UUID

    from settlement_engine.domain.settlement import Instruction, Settlement
    from settlement_engine.ports.stream import Announcement


NoteRead: TypeAlias = Callable[[int, int], None]
"""Takes how many were read so far, and how many of them were good."""


class Accepted(msgspec.Struct, frozen=True, kw_only=True):
    """What a caller gets for an instruction."""

    settlement: Settlement
    is_replay: bool


class Engine(Protocol):
    """What the edge may ask of the engine.

    Raises IdempotencyConflict, Overloaded, Unavailable; refusals are in the settlement.
    """

    def reading(self, count: int) -> AbstractContextManager[NoteRead]:
        """Keep room for so many while they are being read. Raises Overloaded before anybody reads them.

        Whoever reads notes now and then how many he has read so far and how many of them were good: of the
        rest as many are expected to be, and room is kept for no more.
        """
        ...

    async def submit(self, instructions: Sequence[Instruction]) -> list[Accepted | Exception]:
        """Accept a batch durably; one result each, in order. The lives go on by themselves."""
        ...

    async def settle(self, instruction: Instruction, wait_seconds: float) -> Accepted:
        """Accept one and wait for its end, at most that long; returns it as it is then."""
        ...

    async def wait(self, settlement_id: UUID, wait_seconds: float) -> Settlement:
        """Wait for the end of one that exists. Raises NotFound."""
        ...

    async def cancel(self, settlement_id: UUID) -> Settlement:
        """Pass on the caller's wish. Raises NotFound, WrongState."""
        ...

    def moves(
        self, after: int, settlement_id: UUID | None = None
    ) -> AsyncIterator[Sequence[Announcement]]:
        """Follow the stream for ever from a position, in bounded batches."""
        ...
