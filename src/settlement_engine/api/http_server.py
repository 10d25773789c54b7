"""One TCP port or Unix socket that serves HTTP within its limits.

Promises: connections are accepted and counted here before anything is read from them; a handshake has a
deadline; once draining begins no connection is accepted, and a caller that has not sent a complete request is
disconnected; shutdown has a time limit.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import stat
from contextlib import suppress
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog
from aiohttp import web

from settlement_engine.api.http_connections import (
    BoundedHandler,
    HttpConnection,
    HttpConnections,
    follow_requests,
)
from settlement_engine.api.http_guard import host_guard
from settlement_engine.errors import Misconfigured

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable

    from settlement_engine.api.settings import HttpBounds

log: Final[structlog.typing.FilteringBoundLogger] = structlog.get_logger(__name__)

BACKLOG: Final = 512
ACCEPT_PAUSE_SECONDS: Final = 0.1
UNIX_CALLER: Final = "unix"
"""All callers of a Unix socket count as one address: they are on one machine, under one user."""

IPV6_NETWORK_BITS: Final = 64

_NOT_HERE: Final = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})


class HttpServer:
    """Serves routes. Call ``listen`` once; ``drain`` and ``stop`` may be repeated."""

    def __init__(
        self,
        routes: Iterable[web.AbstractRouteDef],
        bounds: HttpBounds,
        *,
        allowed_hosts: Iterable[str] = (),
        tls: ssl.SSLContext | None = None,
        grace_seconds: float = 2.0,
    ) -> None:
        self._bounds = bounds
        self._tls = tls
        self._connections = HttpConnections(bounds)
        self._tasks: set[asyncio.Task[None]] = set()
        self._accepting: list[asyncio.Task[None]] = []
        self._sockets: list[socket.socket] = []
        self._is_draining = False
        app = web.Application(middlewares=[follow_requests, host_guard(allowed_hosts)])
        app.add_routes(routes)
        self._runner = web.AppRunner(
            app,
            access_log=None,
            handler_cancellation=False,
            shutdown_timeout=grace_seconds / 2,  # aiohttp waits for this time twice
        )

    async def listen(self, host: str, port: int, *, is_shared: bool = False) -> int:
        """Listen on an address, and return the port. Raises Misconfigured when it is not available."""
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            for family, _, _, _, address in dict.fromkeys(found):
                with suppress(_NotHere):
                    chosen = (address[0], port, *address[2:])
                    self._sockets.append(_bound(family, chosen, is_shared=is_shared))
                    port = self._sockets[0].getsockname()[1]
        except OSError as error:
            raise _cannot_listen(f"{host}:{port}", error) from error
        if not self._sockets:
            raise _cannot_listen(
                f"{host}:{port}", OSError("the address is not one of this machine")
            )
        await self._begin()
        return port

    async def listen_unix(self, path: Path) -> None:
        """Listen on a Unix socket that only this user can open. Raises Misconfigured."""
        try:
            self._sockets.append(_bound_unix(path))
        except OSError as error:
            raise _cannot_listen(str(path), error) from error
        await self._begin()

    async def _begin(self) -> None:
        await self._runner.setup()
        for listening in self._sockets:
            listening.listen(BACKLOG)
            task = asyncio.get_running_loop().create_task(self._accept(listening))
            self._accepting.append(task)

    async def _accept(self, listening: socket.socket) -> None:
        """Accept connections until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, address = await loop.sock_accept(listening)
            except OSError as error:  # the caller has disconnected, or file descriptors are used up
                log.warning("http.not_accepted", why=str(error))
                await asyncio.sleep(ACCEPT_PAUSE_SECONDS)
                continue
            self._admit(accepted, _caller(address))
            await asyncio.sleep(0)  # the loop closes evicted connections in its next iteration

    def _admit(self, accepted: socket.socket, address: str) -> None:
        connection = HttpConnection(self._connections, address)
        if not self._connections.enter(connection):
            accepted.close()
            return
        task = asyncio.get_running_loop().create_task(self._open(connection, accepted))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        connection.open(task)

    async def _open(self, connection: HttpConnection, accepted: socket.socket) -> None:
        server, idle_seconds = self._runner.server, self._bounds.idle_seconds
        assert server is not None, "the runner is set up before connections are accepted"
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: BoundedHandler(server, connection, idle_seconds),
                accepted,
                ssl=self._tls,
                ssl_handshake_timeout=self._bounds.header_seconds if self._tls else None,
            )
        except OSError as error:
            log.debug("http.no_connection", why=str(error))
            connection.close()
            accepted.close()
        except asyncio.CancelledError:
            connection.close()
            accepted.close()
            raise

    async def drain(self) -> None:
        """Accept no more connections, close those without a complete request, let the others finish."""
        if self._is_draining:
            return
        self._is_draining = True
        for task in self._accepting:
            task.cancel()
        await asyncio.gather(*self._accepting, return_exceptions=True)
        for listening in self._sockets:
            if listening.family == socket.AF_UNIX:
                _remove_socket(Path(listening.getsockname()))
            listening.close()
        self._connections.drain()

    async def stop(self) -> None:
        """Let requests in progress finish within the grace period, then close them."""
        await self.drain()
        await self._runner.cleanup()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _caller(address: object) -> str:
    """Return the key by which connections are counted: an IPv4 address, or a /64 network of IPv6.

    Whoever has one IPv6 address usually has all those of its /64 network.
    """
    if not isinstance(address, tuple):
        return UNIX_CALLER
    parsed = ip_address(str(address[0]).partition("%")[0])
    if parsed.version == 4:  # noqa: PLR2004 - IPv4
        return str(parsed)
    return str(parsed.ipv4_mapped or ip_network((parsed, IPV6_NETWORK_BITS), strict=False))


class _NotHere(Exception):
    """An address of a family that this machine does not have."""


def _bound(family: int, address: tuple[object, ...], *, is_shared: bool) -> socket.socket:
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setblocking(False)  # noqa: FBT003 - its own signature
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_shared:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.bind(address)
    except OSError as error:
        listening.close()
        if error.errno in _NOT_HERE:
            raise _NotHere from error
        raise
    return listening


def _bound_unix(path: Path) -> socket.socket:
    """Bind a Unix socket, replacing one on which no process listens any more."""
    if path.exists() and stat.S_ISSOCK(path.stat().st_mode):
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(path))
            except OSError:
                path.unlink()
            else:
                raise OSError(errno.EADDRINUSE, "another engine listens there")
    listening = socket.socket(socket.AF_UNIX)
    listening.setblocking(False)  # noqa: FBT003 - its own signature
    before = os.umask(0o177)
    try:
        listening.bind(str(path))
    except OSError:
        listening.close()
        raise
    finally:
        os.umask(before)
    return listening


def _remove_socket(path: Path) -> None:
    path.unlink(missing_ok=True)


def _cannot_listen(where: str, error: OSError) -> Misconfigured:
    what = f"HTTP cannot listen on {where}"
    todo = "Choose another port, address or file."
    return Misconfigured(what, why=error.strerror or str(error), todo=todo)
