"""The call that lists the messages of one settlement.

Promises: messages come unchanged and in order, and nothing is left out silently: what a page has no room for is on
the next one. The number of messages and of bytes in a page is bounded. Must never: decide anything by a message.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from settlement_engine.api.call import Service, Unary
from settlement_engine.api.grammar import Found, refuse
from settlement_engine.api.pages import make_token, read_token
from settlement_engine.api.render import timestamp
from settlement_engine.domain.kept_messages import MessageDirection, MessagePosition
from settlement_engine.messages.naming import MessageName, name_of
from settlement_engine.proto import settlement_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from settlement_engine.api.call import Call
    from settlement_engine.domain.kept_messages import ListedMessage
    from settlement_engine.domain.settlement import Settlement
    from settlement_engine.ports import MessageStore

    Find = Callable[[pb.SettlementStatusRequest], Awaitable[Settlement]]

PAGE_DEFAULT: Final = 20
PAGE_MAX: Final = 100
PAGE_BYTES_MAX: Final = 2 * 1024 * 1024
"""A page ends with the message that reaches so many bytes."""

_NOT_OURS: Final = "is not a token of this call"


class MessageCalls:
    """Serves the call; it is part of SettlementService."""

    def __init__(self, find: Find, messages: MessageStore) -> None:
        self._find = find
        self._messages = messages

    def unary(self) -> Service:
        """Map the name of the call, as in the proto, to its handler."""
        return {"ListMessages": Unary(pb.SettlementStatusRequest, self.list_messages)}

    async def list_messages(
        self, request: pb.SettlementStatusRequest, call: Call
    ) -> pb.ListMessagesResponse:
        """List the messages of a settlement, oldest first."""
        del call
        found: Found = []
        size = _page_size(request.page_size, found)
        refuse(found)
        settlement = await self._find(request)
        filters = (str(settlement.id),)
        after = _read_position(read_token(request.page_token, filters, found), found)
        refuse(found)
        listed = await self._messages.messages_of(settlement.id, size + 1, after)
        page = _page(listed, size)
        rendered = await asyncio.to_thread(_render_all, page)  # reading a large message takes long
        has_more = len(page) < len(listed)
        token = make_token(filters, _write_position(page[-1].position)) if has_more else ""
        return pb.ListMessagesResponse(messages=rendered, next_page_token=token)


def _page_size(size: int, found: Found) -> int:
    if size < 0:
        found.append(("page_size", "must not be negative"))
    return min(size or PAGE_DEFAULT, PAGE_MAX)


def _page(listed: Sequence[ListedMessage], size: int) -> list[ListedMessage]:
    """Take as many messages as a page has room for; at least one."""
    page: list[ListedMessage] = []
    total_bytes = 0
    for message in listed[:size]:
        total_bytes += len(message.content)
        if page and total_bytes > PAGE_BYTES_MAX:
            break
        page.append(message)
    return page


def _render_all(page: Sequence[ListedMessage]) -> list[pb.SettlementMessage]:
    """Render messages. What a rail without messages has sent is none, and left out."""
    rendered: list[pb.SettlementMessage] = []
    for message in page:
        is_named = message.type is not None
        name = MessageName(message.type or "", message.message_id)
        if not is_named:
            name = name_of(message.content)
        if is_named or name.type:
            rendered.append(_render(message, name))
    return rendered


def _render(message: ListedMessage, name: MessageName) -> pb.SettlementMessage:
    references = message.references
    return pb.SettlementMessage(
        direction=message.direction.name,
        type=name.type,
        version=name.version,
        references=pb.MessageReferences(
            message_id=name.message_id or message.message_id,
            end_to_end_id=references.end_to_end_id,
            uetr=str(references.uetr),
            payment_message_id=references.message_id,
        ),
        time=timestamp(message.at),
        sha256=message.sha256.hex(),
        text=message.content.decode("utf-8", "backslashreplace"),
        bytes=message.size_bytes,
        rail=message.rail,
        attempt=message.attempt,
        response_status=message.response_status,
    )


def _write_position(position: MessagePosition) -> str:
    at = position.at.astimezone(UTC)
    micros = int(at.timestamp()) * 1_000_000 + at.microsecond
    return f"{micros}/{position.direction}/{position.sha256.hex()}"


def _read_position(text: str, found: Found) -> MessagePosition | None:
    if not text:
        return None
    try:
        micros, direction, digits = text.split("/")
        seconds, rest = divmod(int(micros), 1_000_000)
        at = datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest)
        return MessagePosition(at, MessageDirection(direction), bytes.fromhex(digits))
    except (ValueError, OverflowError, OSError):
        found.append(("page_token", _NOT_OURS))
        return None
