"""What a conflict means for the next append: the one place that handles it.

A batch is appended whole. After a conflict the stream is looked at again (``events/position.py``). If the conflict was
about a known id, or comes again at the same position, the messages are appended one after the other.

Promises: then the stream's message with a known id is read. If it is the announcement itself, it counts as stored. If
it is another publisher's message, the announcement is stored without the id. Must never: let another publisher keep an
announcement out of the stream by using its id first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog

from settlement_engine.events.announce import Message, without_id
from settlement_engine.events.publisher import Conflict

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from settlement_engine.events.position import StreamPosition
    from settlement_engine.events.publisher import Publisher

    IsHeld = Callable[[int, Message], Awaitable[bool]]

log: Final[structlog.typing.FilteringBoundLogger] = structlog.get_logger(__name__)


class Appender:
    """Appends to one stream on one connection, and remembers where it met conflicts."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self._conflicted: StreamPosition | None = None
        self._one_by_one: StreamPosition | None = None

    def not_before(self, position: StreamPosition) -> StreamPosition:
        """Return the position from which to continue, after the stream was looked at.

        If nothing was added since the last conflict, what was looked at then is behind us.
        """
        refused = self._one_by_one
        if refused is not None and refused.sequence == position.sequence:
            return max(position, refused)
        return position

    async def append(
        self, messages: Sequence[Message], position: StreamPosition, is_held: IsHeld
    ) -> tuple[int, int]:
        """Append after the position; return how many are stored, and the new last number.

        ``is_held`` is that of ``append_each``. Raises Conflict, after which the stream has to be looked at
        again, and Unavailable.
        """
        after = position.sequence
        try:
            if position == self._one_by_one:
                return await append_each(self._publisher, messages, after, is_held)
            return await self._publisher.append(messages, after)
        except Conflict as conflict:
            # One by one, because a batch with a known id is refused whole, and because at the second
            # time the server may not say what is wrong with it.
            log.info("relay.conflict", why=conflict.why)
            is_again = position == self._conflicted
            self._one_by_one = position if conflict.is_known_id or is_again else None
            self._conflicted = position
            raise


async def append_each(
    publisher: Publisher, messages: Sequence[Message], after: int, is_held: IsHeld
) -> tuple[int, int]:
    """Append after the sequence number; return how many are stored, and the new last number.

    ``is_held`` says whether the stream's message of a number counts as this announcement. At least one is
    stored, or the Conflict is raised that the first one met.
    """
    count = 0
    last = after
    for message in messages:
        try:
            last = await _append_one(publisher, message, last, is_held)
        except Conflict:
            if count == 0:
                raise
            break
        count += 1
    return count, last


async def _append_one(
    publisher: Publisher,
    message: Message,
    after: int,
    is_held: IsHeld,
) -> int:
    try:
        _, last = await publisher.append([message], after)
    except Conflict as conflict:
        if conflict.known_sequence is None:
            raise
        if await is_held(conflict.known_sequence, message):
            return after
        _, last = await publisher.append([without_id(message)], after)
    return last
