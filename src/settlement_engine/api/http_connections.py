"""The connections of the HTTP ports, from accept to close.

Promises: the number of connections, in total and per address, never exceeds its limits. A connection on
which the engine waits for its caller (handshake, headers, next request) has a deadline. When a new
connection exceeds a limit, the one that has been idle longest is closed for it, so that callers who only hold
connections open do not lock out others. A connection whose request is being served is never closed for this.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Final, cast

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from typing_extensions import override

from settlement_engine.api.http_answers import not_http

if TYPE_CHECKING:
    from settlement_engine.api.http_guard import Handler
    from settlement_engine.api.settings import HttpBounds

LINGERING_SECONDS: Final = 5.0
"""How long the rest of a refused body is read and discarded: simple callers read no response before it."""

READ_BUFFER_BYTES: Final = 16 * 1024

REASON_CHARACTERS_MAX: Final = 120

log: Final[structlog.typing.FilteringBoundLogger] = structlog.get_logger(__name__)


class HttpConnections:
    """Counts the connections of one port, and decides which are admitted."""

    def __init__(self, bounds: HttpBounds) -> None:
        self.bounds = bounds
        self.is_draining = False
        self._waiting: dict[HttpConnection, None] = {}  # in order: the longest wait comes first
        self._of_address: Counter[str] = Counter()
        self._waiting_of: dict[str, dict[HttpConnection, None]] = {}
        self.count = 0

    def enter(self, connection: HttpConnection) -> bool:
        """Admit a connection, closing an idle one if necessary; return whether it was admitted."""
        address = connection.address
        if self._of_address[address] >= self.bounds.connections_per_address_max:
            if not self._make_room(self._waiting_of.get(address, {})):
                return False
        elif self.count >= self.bounds.connections_max and not self._make_room(self._waiting):
            return False
        self._of_address[address] += 1
        self.count += 1
        self.wait(connection)
        return True

    def _make_room(self, waiting: dict[HttpConnection, None]) -> bool:
        for connection in waiting:
            connection.cut()
            return True
        return False

    def wait(self, connection: HttpConnection) -> None:
        """Record that the engine waits for this connection's caller from now on."""
        self.serve(connection)
        self._waiting[connection] = None
        self._waiting_of.setdefault(connection.address, {})[connection] = None

    def serve(self, connection: HttpConnection) -> None:
        """Record that the caller waits for the engine from now on."""
        self._waiting.pop(connection, None)
        waiting = self._waiting_of.get(connection.address, {})
        waiting.pop(connection, None)
        if not waiting:
            self._waiting_of.pop(connection.address, None)

    def leave(self, connection: HttpConnection) -> None:
        """Remove a connection that has ended."""
        self.serve(connection)
        self.count -= 1
        self._of_address[connection.address] -= 1
        if not self._of_address[connection.address]:
            del self._of_address[connection.address]

    def drain(self) -> None:
        """Close all idle connections now, and every other one after its response."""
        self.is_draining = True
        for connection in list(self._waiting):
            connection.cut()


class HttpConnection:
    """One connection."""

    def __init__(self, connections: HttpConnections, address: str) -> None:
        self.address = address
        self._connections = connections
        self._transport: asyncio.Transport | None = None
        self._opening: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_idle = False
        self._is_open = False

    def open(self, opening: asyncio.Task[None]) -> None:
        """Start waiting for the caller: first for the handshake, then for the first request."""
        self._is_open = True
        self._opening = opening
        self._wait_at_most(self._connections.bounds.header_seconds)

    def made(self, transport: asyncio.Transport) -> None:
        """Record the transport, through which the connection can be closed from now on."""
        self._transport = transport
        if not self._is_open:
            transport.abort()

    def received(self) -> None:
        """Record that bytes have arrived: an idle caller starts a request, which has its own deadline."""
        if self._is_idle:
            self._is_idle = False
            self._wait_at_most(self._connections.bounds.header_seconds)

    def begin(self) -> None:
        """Record that a request's headers are complete; reading its body has a deadline of its own."""
        self._is_idle = False
        self._wait_at_most(None)

    def serve(self) -> None:
        """Record that the request is complete and is being served."""
        if self._is_open:
            self._connections.serve(self)

    def answered(self) -> None:
        """Record that the request is answered: the caller may start another one."""
        if self._is_open:
            self._connections.wait(self)
            self._is_idle = True
            self._wait_at_most(self._connections.bounds.idle_seconds)

    @property
    def is_last_answer(self) -> bool:
        """Whether the port is closing, so that this response is the last one."""
        return self._connections.is_draining

    def cut(self) -> None:
        """Close the connection at once."""
        self.close()
        if self._transport is not None:
            self._transport.abort()
        elif self._opening is not None:
            self._opening.cancel()

    def close(self) -> None:
        """Stop counting the connection: it has ended."""
        if self._is_open:
            self._is_open = False
            self._wait_at_most(None)
            self._connections.leave(self)

    def _wait_at_most(self, seconds: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if seconds is not None and self._is_open:
            self._timer = asyncio.get_running_loop().call_later(seconds, self.cut)


class BoundedHandler(web.RequestHandler):
    """aiohttp's protocol, which reports its events to the connection."""

    __slots__ = ("connection",)

    def __init__(self, server: web.Server, connection: HttpConnection, idle_seconds: float) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(
            server,
            loop=loop,
            access_log=None,  # type: ignore[arg-type]  # aiohttp itself takes None
            keepalive_timeout=2 * idle_seconds,
            lingering_time=LINGERING_SECONDS,
            read_bufsize=READ_BUFFER_BYTES,
        )
        self.connection = connection

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.connection.made(cast("asyncio.Transport", transport))

    @override
    def data_received(self, data: bytes) -> None:
        if data:  # aiohttp calls with no data to have its buffer parsed again
            self.connection.received()
        super().data_received(data)

    @override
    def log_exception(self, *args: object, **kw: object) -> None:
        """Log a failure; a body that contradicts its headers is the caller's mistake, not an error."""
        if isinstance(kw.get("exc_info"), web.RequestPayloadError):
            log.debug("http.invalid_body")
        else:
            super().log_exception(*args, **kw)

    @override
    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer invalid HTTP like any other mistake of a caller: it is no error of the engine."""
        if not isinstance(exc, HttpProcessingError) or request.writer.output_size > 0:
            return super().handle_error(request, status, exc, message)
        lines = exc.message.splitlines() or [""]  # further lines quote the request
        log.debug("http.invalid_request", why=lines[0])
        return not_http(status, lines[0][:REASON_CHARACTERS_MAX].rstrip(":"))

    @override
    def connection_lost(self, exc: BaseException | None) -> None:
        self.connection.close()
        super().connection_lost(exc)


@web.middleware
async def follow_requests(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Report to a request's connection when the request begins and when it is answered."""
    connection = connection_of(request)
    if connection is None:
        return await handler(request)
    connection.begin()
    if not request.can_read_body:
        connection.serve()
    try:
        response = await handler(request)
    finally:
        connection.answered()
    if connection.is_last_answer:
        response.force_close()
    return response


def connection_of(request: web.Request) -> HttpConnection | None:
    """Return the tracked connection of a request; None if it is not tracked."""
    protocol = request.protocol
    return protocol.connection if isinstance(protocol, BoundedHandler) else None
