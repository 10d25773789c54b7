"""The outbox of notices: facts that are announced and are no moves of settlements, in one order.

Promises: positions are gapless within a system epoch, and each is taken in the transaction that records its fact.
Must never: change a notice that was read once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from settlement_engine.domain.notices import OutboxNotice


class NoticeOutbox(Protocol):
    """All notices in one order. Raises Unavailable."""

    async def read(self, after: int, limit: int) -> list[OutboxNotice]:
        """Return the notices after a position, oldest first."""
        ...

    async def head(self) -> int:
        """Return the last position."""
        ...

    async def published(self) -> tuple[int, int]:
        """Return the last position that JetStream is known to hold, and its sequence number in the stream."""
        ...

    async def mark_published(self, position: int, sequence: int) -> None:
        """Record the published position and its place in the stream; a lower position changes nothing."""
        ...
