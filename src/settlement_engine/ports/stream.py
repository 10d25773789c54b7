"""What the outside world hears, in one gapless order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from datetime import date
    from uuid import UUID

    from settlement_engine.domain.money import Money
    from settlement_engine.domain.settlement import Moved


class Announcement(msgspec.Struct, frozen=True, kw_only=True):
    """A move as the outside world hears it: with the facts of its settlement."""

    moved: Moved
    obligation_id: str
    from_bank: str
    to_bank: str
    amount: Money
    value_date: date
    priority: int


class Stream(Protocol):
    """Everything that happened, in one gapless order. Raises Unavailable."""

    async def read(
        self, after: int, limit: int, settlement_id: UUID | None = None
    ) -> list[Announcement]:
        """Return what follows the position, oldest first; of one settlement if it is named."""
        ...

    async def head(self) -> int:
        """Return the last position."""
        ...

    async def published(self) -> int:
        """Return the position up to which JetStream is known to hold everything."""
        ...

    async def mark_published(self, position: int) -> None:
        """Remember it; never goes back by itself."""
        ...
