"""Appends messages one after the other, after a batch contained an id that the stream knows already.

Promises: the stream's message with that id is read. If it is the announcement itself, it counts as stored. If it is
another publisher's message, the announcement is stored without the id. Must never: let another publisher keep an
announcement out of the stream by using its id first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from settlement_engine.events.announce import Message, without_id
from settlement_engine.events.publisher import Conflict

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from settlement_engine.events.publisher import Publisher


async def append_each(
    publisher: Publisher,
    messages: Sequence[Message],
    after: int,
    is_held: Callable[[int, Message], Awaitable[bool]],
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
    is_held: Callable[[int, Message], Awaitable[bool]],
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
