"""Which of several engines publishes. Must never: be needed for correctness; it only saves work."""

from __future__ import annotations

from typing import Protocol


class Leadership(Protocol):
    """Which of several engines publishes.

    For economy only: two that publish at once would still not write anything twice.
    """

    async def is_leader(self) -> bool:
        """Say whether this engine leads now. Called before each batch, so it must answer from memory."""
        ...


class SoleLeader:
    """The leadership of a single engine: it always leads."""

    async def is_leader(self) -> bool:
        """Return True."""
        return True
