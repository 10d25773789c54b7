"""Orders of covers that the tests control."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from settlement_engine.domain.covers import Cover

if TYPE_CHECKING:
    from uuid import UUID

    from settlement_engine.errors import SettlementEngineError

NOW = datetime(2026, 11, 30, tzinfo=UTC)


class FakeCovers:
    """Takes every order, or fails as told."""

    def __init__(self) -> None:
        self.ordered: list[tuple[UUID, str, str]] = []
        self.failure: SettlementEngineError | None = None

    async def repair(self, settlement_id: UUID, who: str, reason: str) -> Cover:
        """Order another cover; see the port."""
        if self.failure is not None:
            raise self.failure
        self.ordered.append((settlement_id, who, reason))
        return Cover(
            number=1 + len(self.ordered),
            message_id="CH0",
            content=b"<Document/>",
            recorded_at=NOW,
            valid_until=NOW,
            ordered_by=who,
            reason=reason,
        )
