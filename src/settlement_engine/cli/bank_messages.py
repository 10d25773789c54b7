"""The messages between us and a bank, for ``show --messages``.

Promises: every message is printed whole, with its hash; invisible characters are shown as their
codes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from settlement_engine.cli.connection import CALL_SECONDS
from settlement_engine.cli.messages import as_dict, clock_time
from settlement_engine.cli.output import say
from settlement_engine.proto import settlement_pb2 as wire

if TYPE_CHECKING:
    from settlement_engine.cli.connection import EngineClient

PAGE: Final = 100
MESSAGES_MAX: Final = 2_000
"""No more messages of one settlement are read."""

ARROWS: Final = {"OUT": "→", "IN": "←"}


class ListedMessages(NamedTuple):
    """The messages that were read, and whether there are more."""

    messages: list[wire.SettlementMessage]
    has_more: bool


def read_messages(engine: EngineClient, settlement_id: str) -> ListedMessages:
    """Read the messages of a settlement, page after page."""
    wanted = wire.SettlementStatusRequest(settlement_id=settlement_id, page_size=PAGE)
    found: list[wire.SettlementMessage] = []
    while True:
        page = engine.settlements.ListMessages(wanted, timeout=CALL_SECONDS)
        found += page.messages
        wanted.page_token = page.next_page_token
        if not page.next_page_token or len(found) >= MESSAGES_MAX:
            return ListedMessages(found, bool(page.next_page_token))


def messages_as_dict(listed: ListedMessages | None) -> dict[str, Any]:
    """Return the messages as JSON has them; nothing where none were asked for."""
    if listed is None:
        return {}
    many = [as_dict(message) for message in listed.messages]
    return {"messages": many, "hasMoreMessages": listed.has_more}


def print_messages(listed: ListedMessages) -> None:
    """Print messages one after the other."""
    say()
    if not listed.messages:
        say("  no messages: this rail has none, or nothing was sent yet")
    for message in listed.messages:
        status = f", HTTP {message.response_status}" if message.response_status else ""
        kind = message.type or "no message of a known type"
        name = message.references.message_id
        arrow = ARROWS.get(message.direction, "?")
        title = f"{arrow} {kind}{status}  {name}".rstrip()
        say(f"  {clock_time(message.time)}  {title}")
        say(f"      {message.bytes:,} bytes, SHA-256 {message.sha256}")
        for line in message.text.splitlines():
            say(f"      {line}")
    if listed.has_more:
        say(f"  There are more: the first {len(listed.messages):,} are shown.")
