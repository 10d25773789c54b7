"""The stream of announcements: every recorded move of all settlements, in one order.

Promises: positions are gapless within a system epoch. Must never: change an announcement that was read once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

from settlement_engine.domain.payment import Delivery

if TYPE_CHECKING:
    from datetime import date
    from uuid import UUID

    from settlement_engine.domain.money import Money
    from settlement_engine.domain.settlement import Moved


class Announcement(msgspec.Struct, frozen=True, kw_only=True):
    """A move as it is published: with the fields of its settlement."""

    moved: Moved
    obligation_id: str
    from_bank: str
    to_bank: str
    amount: Money
    value_date: date
    priority: int
    compensates: UUID | None = None
    delivery: Delivery = Delivery.BOOK


class Stream(Protocol):
    """All recorded moves in one order. Raises Unavailable."""

    async def read(
        self, after: int, limit: int, settlement_id: UUID | None = None
    ) -> list[Announcement]:
        """Return the moves after a position, oldest first; of one settlement only, if its id is given."""
        ...

    async def head(self) -> int:
        """Return the last position."""
        ...

    async def published(self) -> int:
        """Return the position up to which JetStream is known to hold everything."""
        ...

    async def mark_published(self, position: int) -> None:
        """Record the published position; a lower one than recorded changes nothing."""
        ...
