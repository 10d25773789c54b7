"""What the API and the engine ask of the store about recalls after completion."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from settlement_engine.domain.lifecycle import Event
    from settlement_engine.domain.recalls import RecallRequest, RecallState


class RecallCommand(msgspec.Struct, frozen=True, kw_only=True):
    """One change of a recall. It is written only if ``after_seq`` is still the number of the last step."""

    settlement_id: UUID
    after_seq: int
    event: Event
    state: RecallState
    detail: Mapping[str, str]


class Recalls(Protocol):
    """What the API uses of recalls."""

    async def request(self, settlement_id: UUID, who: str, reason: str) -> RecallRequest:
        """Write a request down; the bank is asked soon after. Raises NotFound, WrongState."""
        ...

    async def recall(self, settlement_id: UUID) -> RecallRequest | None:
        """Return the recall of a settlement."""
        ...


class RecallStore(Protocol):
    """Keeps recalls: their steps are appended, and none is ever changed. Raises Unavailable."""

    async def request_recall(self, settlement_id: UUID, who: str, reason: str) -> RecallRequest:
        """Write the request down, or return the recall that is there. Raises WrongState unless it is COMPLETED."""
        ...

    async def recall(self, settlement_id: UUID) -> RecallRequest | None:
        """Return the recall of a settlement."""
        ...

    async def recalls(self, settlement_ids: Sequence[UUID]) -> dict[UUID, RecallRequest]:
        """Return the recalls of these settlements, where there are any."""
        ...

    async def take_due_recalls(
        self, limit: int, first_seconds: float, max_seconds: float
    ) -> list[RecallRequest]:
        """Take open recalls that are due; each is due again after a pause that doubles, up to ``max_seconds``."""
        ...

    async def expect_returns(self, settlement_ids: Sequence[UUID]) -> None:
        """Make the recalls of these settlements due, where there are any: money comes back."""
        ...

    async def stop_expecting(self, settlement_id: UUID) -> None:
        """Wait for nothing more about a recall, until it changes or money comes back."""
        ...

    async def step_recall(self, command: RecallCommand) -> bool:
        """Append a step; False if the recall has changed meanwhile."""
        ...
