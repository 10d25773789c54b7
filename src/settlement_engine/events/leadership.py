"""Which of several engines publishes. Whoever is asked answers from memory, and waits for nobody."""

from __future__ import annotations

from typing import Protocol


class Leadership(Protocol):
    """Which of several engines publishes.

    For economy only: two that publish at once would still not write anything twice.
    """

    async def is_leader(self) -> bool:
        """Say whether this engine leads now. Asked before each batch: answer from memory."""
        ...


class SoleLeader:
    """Leads always: for one engine alone."""

    async def is_leader(self) -> bool:
        """Say yes."""
        return True
