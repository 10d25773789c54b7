"""The HTTP port and the metrics port: gateway, health, metrics, and in development the bank's book."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
from aiohttp import web

from settlement_engine import __version__
from settlement_engine.api.gateway import Gateway
from settlement_engine.errors import Misconfigured
from settlement_engine.monitoring.routes import health_routes, metrics_routes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from settlement_engine.app.application import Application
    from settlement_engine.monitoring.health import HealthBoard

BACKLOG: Final = 512


class HttpPorts:
    """Both ports of one process."""

    def __init__(self, application: Application, board: HealthBoard) -> None:
        self._application = application
        self._board = board
        self._runners: list[web.AppRunner] = []

    async def start(self) -> tuple[int, int]:
        """Listen; returns the HTTP port and the metrics port (0 when metrics are switched off)."""
        config = self._application.config
        about = {"name": "settlement-engine", "version": __version__}
        routes = [
            *Gateway(self._application.calls, self._application.api).routes(),
            *health_routes(self._board, about),
            *self._development(),
        ]
        pages = metrics_routes(self._application.metrics)
        if not config.monitoring.prometheus_enabled:
            return await self._listen(routes, config.server.http_port), 0
        http = await self._listen([*routes, *pages], config.server.http_port)
        return http, await self._listen(pages, config.monitoring.metrics_port)

    def _development(self) -> list[web.RouteDef]:
        if self._application.config.profile == "production":
            return []
        return [web.get("/dev/bank-ledger", self._bank_ledger)]

    async def _bank_ledger(self, request: web.Request) -> web.StreamResponse:
        """Answer what the mock bank's own book holds, one JSON object a line."""
        response = web.StreamResponse(headers={"content-type": "application/x-ndjson"})
        await response.prepare(request)
        async for page in self._application.mock.ledger_pages():
            lines = b"".join(msgspec.json.encode(entry) + b"\n" for entry in page)
            await response.write(lines)
        await response.write_eof()
        return response

    async def _listen(self, routes: Iterable[web.AbstractRouteDef], port: int) -> int:
        limit = self._application.api.message_bytes_max
        app = web.Application(client_max_size=limit)
        app.add_routes(routes)
        runner = web.AppRunner(app, access_log=None, handler_cancellation=False)
        await runner.setup()
        self._runners.append(runner)
        host = self._application.config.server.host
        is_shared = self._application.config.profile != "production"
        site = web.TCPSite(runner, host, port, reuse_port=is_shared, backlog=BACKLOG)
        try:
            await site.start()
        except OSError as error:
            what = f"HTTP cannot listen on {host}:{port}"
            raise Misconfigured(what, why=str(error), todo="Choose another port.") from error
        [listening, *_] = [
            address[1]
            for address in runner.addresses
            if isinstance(address, tuple) and len(address) >= 2  # noqa: PLR2004 - host and port
        ]
        return int(listening)

    async def stop(self) -> None:
        """Close both."""
        for runner in reversed(self._runners):
            await runner.cleanup()
        self._runners.clear()
