"""The HTTP port and the metrics port: gateway, health, metrics, and in development the mock bank's ledger.

Promises: where callers must present certificates, the JSON gateway requires the same ones as gRPC, or listens
on a Unix socket, or is off. The metrics port requires none, so it must never serve more than health and metrics.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import msgspec
from aiohttp import web

from settlement_engine import __version__
from settlement_engine.api.callbacks import CallbackRoutes
from settlement_engine.api.gateway import Gateway
from settlement_engine.api.http_server import HttpServer
from settlement_engine.api.tls import Certificates
from settlement_engine.monitoring.routes import health_routes, metrics_routes

if TYPE_CHECKING:
    from settlement_engine.app.application import Application
    from settlement_engine.monitoring.health import HealthBoard

READER_SECONDS_MAX: Final = 30.0
"""How long a reader of the mock bank's ledger may take for one part of it."""

GRACE_SECONDS: Final = 2.0
"""How long requests in progress may take to finish at shutdown."""


class HttpPorts:
    """Both ports of one process."""

    def __init__(
        self, application: Application, board: HealthBoard, *, metrics_connections_max: int
    ) -> None:
        self._application = application
        self._board = board
        self._metrics_connections_max = metrics_connections_max
        self._servers: list[HttpServer] = []

    async def start(self) -> tuple[int, int]:
        """Listen; return the HTTP port (0 when there is none) and the metrics port."""
        config = self._application.config
        about = {"name": "settlement-engine", "version": __version__}
        open_to_all = health_routes(self._board, about)
        if config.monitoring.prometheus_enabled:
            open_to_all += metrics_routes(self._application.metrics)
        http = await self._start_gateway(open_to_all)
        many = self._metrics_connections_max
        bounds = replace(
            self._application.api.http, connections_max=many, connections_per_address_max=many
        )
        hosts = (config.monitoring.metrics_host, *self._application.api.allowed_hosts)
        metrics = HttpServer(open_to_all, bounds, allowed_hosts=hosts, grace_seconds=GRACE_SECONDS)
        self._servers.append(metrics)
        section = config.monitoring
        return http, await metrics.listen(
            section.metrics_host, section.metrics_port, is_shared=self._is_shared
        )

    @property
    def _is_shared(self) -> bool:
        return self._application.api.is_port_shared

    async def _start_gateway(self, open_to_all: list[web.RouteDef]) -> int:
        server, api = self._application.config.server, self._application.api
        if not server.http_enabled:
            return 0
        routes = [
            *Gateway(self._application.calls, api).routes(),
            *CallbackRoutes(api, self._application.takers()).routes(),
            *open_to_all,
            *self._development(),
        ]
        path = server.http_socket_file
        has_tls = api.tls is not None and path is None
        gateway = HttpServer(
            routes,
            api.http,
            allowed_hosts=api.allowed_hosts,
            tls=Certificates(api.tls).context() if has_tls and api.tls is not None else None,
            grace_seconds=GRACE_SECONDS,
        )
        self._servers.append(gateway)
        if path is not None:
            await gateway.listen_unix(path)
            return 0
        return await gateway.listen(server.host, server.http_port, is_shared=self._is_shared)

    def _development(self) -> list[web.RouteDef]:
        if self._application.config.profile == "production" or self._application.mock is None:
            return []
        return [web.get("/dev/bank-ledger", self._bank_ledger)]

    async def _bank_ledger(self, request: web.Request) -> web.StreamResponse:
        """Return the entries of the mock bank's ledger, one JSON object a line."""
        mock = self._application.mock
        assert mock is not None, "the route exists only with the mock bank"
        response = web.StreamResponse(headers={"content-type": "application/x-ndjson"})
        await response.prepare(request)
        async for page in mock.ledger_pages():
            lines = b"".join(msgspec.json.encode(entry) + b"\n" for entry in page)
            async with asyncio.timeout(READER_SECONDS_MAX):
                await response.write(lines)
        await response.write_eof()
        return response

    async def drain(self) -> None:
        """Accept no more calls, and close connections without a complete one; health is served to the end."""
        for server in self._servers[:1] if self._application.config.server.http_enabled else []:
            await server.drain()

    async def stop(self) -> None:
        """Close both ports."""
        for server in reversed(self._servers):
            await server.stop()
        self._servers.clear()
