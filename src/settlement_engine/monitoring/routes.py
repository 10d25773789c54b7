"""The HTTP routes for machines: ``/healthz``, ``/livez``, ``/readyz``, ``/version``, ``/metrics``.

Promises: none of them queries another system while it answers. Metrics are rendered outside the event loop, by
one writer at a time, and at most once per interval, however many requests come.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

import msgspec
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

if TYPE_CHECKING:
    from collections.abc import Mapping

    from settlement_engine.monitoring.health import HealthBoard
    from settlement_engine.monitoring.metrics import Metrics

METRICS_FRESH_SECONDS: Final = 0.25
"""Requests within this time get the same text."""

NO_STORE: Final = {"Cache-Control": "no-store"}


def health_routes(board: HealthBoard, about: Mapping[str, str]) -> list[web.RouteDef]:
    """Return the routes of health; ``about`` is the body of ``/version``."""
    version = dict(about)

    async def alive(_request: web.Request) -> web.Response:
        return web.Response(text="ok\n", headers=NO_STORE)

    async def ready(_request: web.Request) -> web.Response:
        snapshot = board.snapshot()
        return _json(snapshot, status=200 if snapshot["ready"] else 503)

    async def version_json(_request: web.Request) -> web.Response:
        return _json(version)

    return [
        web.get("/healthz", alive),
        web.get("/livez", alive),
        web.get("/readyz", ready),
        web.get("/version", version_json),
    ]


def metrics_routes(metrics: Metrics) -> list[web.RouteDef]:
    """Return the route of metrics."""
    endpoint = _MetricsEndpoint(metrics)
    return [web.get("/metrics", endpoint.answer)]


class _MetricsEndpoint:
    """Renders the metrics, and shares a recent rendering among requests."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._writing = asyncio.Lock()
        self._text = b""
        self._written_at = float("-inf")

    async def answer(self, _request: web.Request) -> web.Response:
        async with self._writing:
            if time.monotonic() - self._written_at > METRICS_FRESH_SECONDS:
                self._text = await asyncio.to_thread(self._metrics.text)
                self._written_at = time.monotonic()
        return web.Response(
            body=self._text, headers={"Content-Type": CONTENT_TYPE_LATEST, **NO_STORE}
        )


def _json(value: object, status: int = 200) -> web.Response:
    return web.Response(
        body=msgspec.json.encode(value) + b"\n",
        status=status,
        headers={"Content-Type": "application/json", **NO_STORE},
    )
