"""A stream over HTTP as JSON lines: written as fast as it is read, and never waited for without an end."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from aiohttp import web

from settlement_engine.api.errors import http_error
from settlement_engine.api.write_json import to_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from settlement_engine.proto import settlement_pb2 as pb


JSON_LINES: Final = "application/x-ndjson"

LAST_WORDS_SECONDS: Final = 1.0
"""So long a stream that has ended waits for its last line to be taken."""


def event_line(event: pb.SettlementEvent) -> bytes:
    """Write an event as a line."""
    return to_json(event) + b"\n"


class Lines:
    """Writes lines to one caller. ``unsent_bytes_max`` is what the system keeps of them for sending."""

    def __init__(self, request: web.Request, unsent_bytes_max: int) -> None:
        self._request = request
        self._unsent_bytes_max = unsent_bytes_max
        self.response = web.StreamResponse(headers={"Content-Type": JSON_LINES})

    @property
    def is_open(self) -> bool:
        """Whether the answer has begun; before that an error can have a status of its own."""
        return self.response.prepared

    async def send(self, lines: Sequence[bytes]) -> None:
        """Write lines; the first call, of no line, opens the answer."""
        if not self.is_open:
            await self.response.prepare(self._request)
            self._bound_unsent()
        if lines:
            await self.response.write(b"".join(lines))

    def _bound_unsent(self) -> None:
        """Bound what the system keeps: by itself it takes megabytes of what nobody reads."""
        transport = self._request.transport
        found = transport.get_extra_info("socket") if transport is not None else None
        if found is not None:
            with suppress(OSError):
                found.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self._unsent_bytes_max)

    async def end(self, error: Exception | None = None) -> None:
        """Write why it ends, if it is an error, and the end; whoever reads nothing is cut off."""
        try:
            async with asyncio.timeout(LAST_WORDS_SECONDS):
                if error is not None:
                    text = json.dumps({"error": http_error(error).body}, ensure_ascii=False)
                    await self.response.write(text.encode() + b"\n")
                await self.response.write_eof()
        except (TimeoutError, ConnectionError):
            if self._request.transport is not None:
                self._request.transport.abort()
