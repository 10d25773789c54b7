"""The messages between us and banks: kept before they leave, and before anybody acts upon them.

A transmission's bytes are recorded with its send intent, and what a bank sends unasked is stored before it is
acknowledged (``ports/inbound.py``); neither is stored twice. Everything else is kept here: repeated transmissions,
enquiries, recalls, and the response to each. Must never: change or delete a message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from uuid import UUID

    from settlement_engine.domain.kept_messages import KeptMessage, ListedMessage, MessagePosition

Keep: TypeAlias = "Callable[[Sequence[KeptMessage]], Awaitable[None]]"
"""Stores messages durably; raises Unavailable when they could not be stored."""


class MessageStore(Protocol):
    """Keeps messages. Every call is one transaction, durable when it returns. Raises Unavailable, Contention."""

    async def keep(self, messages: Sequence[KeptMessage]) -> None:
        """Store messages; one that is stored already changes nothing."""
        ...

    async def messages_of(
        self, settlement_id: UUID, limit: int, after: MessagePosition | None = None
    ) -> list[ListedMessage]:
        """Return a settlement's messages, oldest first, wherever they are kept."""
        ...


@runtime_checkable
class MessageRail(Protocol):
    """The part of a rail that writes and reads messages: they are kept.

    The rail stores what it sends before it leaves, except for a payment's first transmission. A response goes
    with the answer that it led to (``Answer.message``), and is stored in the commit of that answer's transition;
    a response without an answer is stored by the rail.
    """

    def keep_messages(self, keep: Keep) -> None:
        """Set the function that stores messages."""
        ...
