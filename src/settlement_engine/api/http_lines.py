"""An event stream over HTTP as JSON lines.

Promises: lines are written as fast as the caller reads, and no wait for a caller is unlimited.
"""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from aiohttp import web

from settlement_engine.api.call import RETRY_AFTER_SECONDS
from settlement_engine.api.errors import http_error
from settlement_engine.api.write_json import to_json
from settlement_engine.errors import Overloaded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from settlement_engine.api.settings import ApiSettings
    from settlement_engine.proto import settlement_pb2 as pb


JSON_LINES: Final = "application/x-ndjson"

LAST_WORDS_SECONDS: Final = 1.0
"""How long a stream that ends with an error waits until its last line has been read."""


def event_line(event: pb.SettlementEvent) -> bytes:
    """Encode an event as one line."""
    return to_json(event) + b"\n"


class LineWriter:
    """Writes lines to one caller."""

    def __init__(self, request: web.Request, settings: ApiSettings) -> None:
        self._request = request
        self._unsent_bytes_max = settings.stream_unsent_bytes_max
        self._unread_seconds_max = settings.stream_unread_seconds_max
        self._writing: asyncio.Future[tuple[None]] | None = None
        self.response = web.StreamResponse(headers={"Content-Type": JSON_LINES})

    @property
    def is_open(self) -> bool:
        """Whether the response has begun; before that, an error can still get its own HTTP status."""
        return self.response.prepared

    async def send(self, lines: Sequence[bytes]) -> None:
        """Write lines; the first call starts the response. Raises Overloaded when the caller stops reading."""
        if not self.is_open:
            await self.response.prepare(self._request)
            self._bound_unsent()
        if lines:
            # After a cancelled write aiohttp can write no more, so the write continues in its own task.
            writing = asyncio.gather(self.response.write(b"".join(lines)))
            writing.add_done_callback(_note_end)
            self._writing = writing
            scope = asyncio.timeout(self._unread_seconds_max)
            try:
                async with scope:
                    await asyncio.shield(writing)
            except TimeoutError:
                if not scope.expired():
                    raise
                raise _unread(self._unread_seconds_max) from None

    def _bound_unsent(self) -> None:
        """Limit the socket's send buffer: by default it keeps megabytes that nobody reads."""
        transport = self._request.transport
        found = transport.get_extra_info("socket") if transport is not None else None
        if found is not None:
            with suppress(OSError):
                found.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self._unsent_bytes_max)

    async def end(self, error: Exception | None = None) -> None:
        """Write the error, if there is one, and the end of the stream; close what is not read in time."""
        transport = self._request.transport
        seconds = self._unread_seconds_max if error is None else LAST_WORDS_SECONDS
        try:
            async with asyncio.timeout(seconds):
                if self._writing is not None:
                    await asyncio.shield(self._writing)
                if transport is not None:
                    transport.set_write_buffer_limits(0)  # write_eof returns only when all is sent
                if error is not None:
                    text = json.dumps({"error": http_error(error).body}, ensure_ascii=False)
                    await self.response.write(text.encode() + b"\n")
                await self.response.write_eof()
            if transport is not None:
                transport.set_write_buffer_limits()
        except (TimeoutError, ConnectionError):
            if transport is not None:
                transport.abort()
                await asyncio.sleep(0)  # the loop reports the close in its next iteration


def _unread(seconds: float) -> Overloaded:
    what = f"the client has read nothing from this stream for {seconds:g} s; resume after the last sequence"
    return Overloaded(what, retry_after_seconds=RETRY_AFTER_SECONDS)


def _note_end(writing: asyncio.Future[tuple[None]]) -> None:
    """Retrieve a write's exception; the task that awaits it sees it as well."""
    if not writing.cancelled():
        writing.exception()
