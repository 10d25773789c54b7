"""What the API may ask of the engine. Refusals are returned as data; exceptions mean that the call failed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from contextlib import AbstractContextManager
    from uuid import UUID

    from settlement_engine.domain.settlement import Instruction, Settlement
    from settlement_engine.ports.stream import Announcement


NoteRead: TypeAlias = Callable[[int, int], None]
"""Called with how many instructions were read so far, and how many of them were valid."""


class Engine(Protocol):
    """What the API may ask of the engine.

    Raises IdempotencyConflict, Overloaded, Unavailable; refusals are in the settlement.
    """

    def reading(self, count: int) -> AbstractContextManager[NoteRead]:
        """Reserve capacity for ``count`` instructions before decoding. Raises Overloaded if there is none.

        The reader reports from time to time how many it has read and how many of them were valid. The same
        share of the rest is expected to be valid, and the reserved capacity shrinks to that.
        """
        ...

    async def submit(self, instructions: Sequence[Instruction]) -> list[Settlement | Exception]:
        """Accept a batch durably; one result each, in order. Processing continues in the background."""
        ...

    async def settle(self, instruction: Instruction, wait_seconds: float) -> Settlement:
        """Accept one and wait at most ``wait_seconds`` for its final state; returns its current state."""
        ...

    async def wait(self, settlement_id: UUID, wait_seconds: float) -> Settlement:
        """Wait for the final state of an existing settlement. Raises NotFound."""
        ...

    async def cancel(self, settlement_id: UUID) -> Settlement:
        """Request cancellation or recall of a settlement. Raises NotFound, WrongState."""
        ...

    def moves(
        self, after: int, settlement_id: UUID | None = None
    ) -> AsyncIterator[Sequence[Announcement]]:
        """Yield the stream's announcements after a position without end, in bounded batches."""
        ...
