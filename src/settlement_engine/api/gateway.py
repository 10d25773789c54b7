"""The same calls as JSON over HTTP: ``POST /settlement.SettlementService/ExecuteSettlement``.

Promises: the handlers are those of gRPC, not copies; every error is answered as JSON and names the faulty
field; no body is read beyond its limit, and a call counts as in progress only once its body is complete. A
web page in a browser must never be able to make a call here (``http_guard.py``).
"""

from __future__ import annotations

import asyncio
import math
import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from aiohttp import web

from settlement_engine.api.bounds import SINGLE
from settlement_engine.api.call import ACTOR_HEADER, KEY_HEADER, Call, CallLimit
from settlement_engine.api.callbacks import refuse_banks
from settlement_engine.api.grammar import one_actor, one_key
from settlement_engine.api.http_answers import (
    JSON,
    deadline_reached,
    failed,
    not_json,
    not_post,
)
from settlement_engine.api.http_body import Bodies, NotRead
from settlement_engine.api.http_guard import is_json
from settlement_engine.api.http_lines import LineWriter, event_line
from settlement_engine.api.read_json import read_json, reading_json
from settlement_engine.api.tls import caller_of_transport
from settlement_engine.api.write_json import writing_json
from settlement_engine.errors import InvalidInstruction, NotOffered
from settlement_engine.proto import settlement_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from settlement_engine.api.call import Unary
    from settlement_engine.api.calls import Calls
    from settlement_engine.api.settings import ApiSettings

DEADLINE_SECONDS_MAX: Final = 86_400.0

_SETTLEMENT: Final = pb.DESCRIPTOR.services_by_name["SettlementService"].full_name
_STREAM: Final = "StreamSettlementEvents"
_BIDIRECTIONAL: Final = "ExecuteSettlements"
_GRPC_TIMEOUT: Final = re.compile(r"([0-9]{1,8})([HMSmun])", re.ASCII)
_UNITS: Final = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_MILLISECONDS: Final = re.compile(r"[0-9]{1,10}", re.ASCII)
_SECONDS: Final = re.compile(r"[0-9]{1,6}(?:\.[0-9]{1,6})?", re.ASCII)


class Gateway:
    """Serves the calls over HTTP; ``routes`` are mounted on the HTTP port next to other routes."""

    def __init__(self, calls: Calls, settings: ApiSettings) -> None:
        self._calls = calls
        self._settings = settings
        self._in_flight = CallLimit("calls", settings.calls_max)
        self._bodies = Bodies(settings.http)
        self._services: Mapping[str, Mapping[str, Unary]] = calls.services()

    def routes(self) -> list[web.RouteDef]:
        """Return one route for each service; the last part of its path is the name of the call."""
        return [
            web.route("*", f"/{{service:{re.escape(service)}}}/{{method}}", self._handle)
            for service in self._services
        ]

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request; every exception becomes a JSON response."""
        service, method = request.match_info["service"], request.match_info["method"]
        try:
            if request.method != "POST":
                return not_post()
            if not is_json(request):
                return not_json()
            call = _call_of(request)
            refuse_banks(self._settings, call.caller)
            is_stream = service == _SETTLEMENT and method == _STREAM
            unary = None if is_stream else self._find(service, method)
            # A request that is still being sent does not count: a slow sender must not delay others.
            bounds = SINGLE if unary is None else unary.bounds
            limit = min(bounds.bytes_max, self._settings.message_bytes_max)
            async with self._bodies.read(request, limit) as body:
                with self._in_flight:
                    if unary is None:
                        return await self._stream(request, call, body)
                    return await self._unary(body, call, unary)
        except NotRead as refused:
            return refused.response
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller gets JSON
            return failed(error)

    async def _unary(self, body: bytes, call: Call, unary: Unary) -> web.StreamResponse:
        turns = self._calls.turns
        scope = asyncio.timeout(call.deadline_seconds)
        try:
            async with scope:
                message = await turns.run(reading_json(body, unary.request, unary.bounds))
                answer = await unary.serve(message, call)
                text = await turns.run(writing_json(answer))
        except TimeoutError:
            if scope.expired():
                return deadline_reached()
            raise
        return web.Response(body=text, content_type=JSON)

    async def _stream(self, request: web.Request, call: Call, body: bytes) -> web.StreamResponse:
        """Send events as JSON lines. An error before the first event still gets its own HTTP status."""
        wanted = read_json(body, pb.StreamRequest)
        lines = LineWriter(request, self._settings)
        try:
            async with self._while_connected(request, call):
                await self._calls.events.follow(wanted, call, lines.send, event_line)
        except ConnectionError:
            return lines.response  # the caller has disconnected
        except Exception as error:
            if not lines.is_open:
                raise
            await lines.end(error)
            return lines.response
        if not lines.is_open:
            return deadline_reached()
        await lines.end()
        return lines.response

    @asynccontextmanager
    async def _while_connected(self, request: web.Request, call: Call) -> AsyncIterator[None]:
        """Run the body until it ends, the caller disconnects or the caller's deadline is reached.

        A stream with nothing to write would not notice a lost connection by itself.
        """
        loop = asyncio.get_running_loop()
        scope = asyncio.timeout(call.deadline_seconds)
        poll_seconds = self._settings.disconnect_poll_seconds
        timer: asyncio.TimerHandle

        def look() -> None:
            nonlocal timer
            is_gone = request.transport is None or request.transport.is_closing()
            if is_gone and not scope.expired():
                scope.reschedule(loop.time())
            timer = loop.call_later(poll_seconds, look)

        timer = loop.call_later(poll_seconds, look)
        try:
            async with scope:
                yield
        except TimeoutError:
            if not scope.expired():
                raise
        finally:
            timer.cancel()

    def _find(self, service: str, method: str) -> Unary:
        """Return a call by its name. Raises NotOffered."""
        unary = self._services[service].get(method)
        if unary is not None:
            return unary
        if service == _SETTLEMENT and method == _BIDIRECTIONAL:
            raise NotOffered(f"{method} streams in both directions, which only gRPC supports")
        names = ", ".join(sorted(self._services[service]))
        raise NotOffered(f"there is no such call; {service} has: {names}")


def _call_of(request: web.Request) -> Call:
    keys = (_unquoted(key) for key in request.headers.getall(KEY_HEADER, []))
    return Call(
        caller=caller_of_transport(request.transport),
        deadline_seconds=_deadline_seconds(request.headers),
        idempotency_key=one_key(keys),
        actor=one_actor(request.headers.getall(ACTOR_HEADER, [])),
    )


def _unquoted(key: str) -> str:
    """Read a key in double quotes, as the Idempotency-Key draft writes it, or without them."""
    is_quoted = len(key) > 1 and key.startswith('"') and key.endswith('"')
    return key[1:-1] if is_quoted else key


def _deadline_seconds(headers: Mapping[str, str]) -> float | None:
    """Read the caller's deadline from one of the three headers that can state it."""
    found: float | None = None
    if (text := headers.get("Grpc-Timeout")) is not None:
        match = _GRPC_TIMEOUT.fullmatch(text)
        found = int(match[1]) * _UNITS[match[2]] if match else math.nan
    elif (text := headers.get("Connect-Timeout-Ms")) is not None:
        found = int(text) / 1000 if _MILLISECONDS.fullmatch(text) else math.nan
    elif (text := headers.get("X-Timeout-Seconds")) is not None:
        found = float(text) if _SECONDS.fullmatch(text) else math.nan
    if found is not None and math.isnan(found):
        raise InvalidInstruction(
            [("timeout", "the header must be like Grpc-Timeout: 500m or X-Timeout-Seconds: 0.5")]
        )
    return None if found is None else min(found, DEADLINE_SECONDS_MAX)
