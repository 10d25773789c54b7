"""The bank's HTTP port: it receives messages, lists the ledger, and lets a test control the bank.

``POST /messages`` receives ISO 20022 messages, ``POST /RAIL/messages`` those of one rail. ``GET /ledger`` lists the
ledger as JSON lines, and ``GET /statements`` gives out statements. ``/admin`` is for tests: scripts and rules,
call-backs, the clock, accounts, and outages of the connections. Any client that can connect may use the port; with
``client_authority`` it must present a certificate.
"""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec
from aiohttp import web

from settlement_engine.errors import Misconfigured
from settlement_engine.simulator.bank import FAILED, LOST, SILENT, BankResponse, Manner
from settlement_engine.simulator.http_statements import StatementRoutes, json_answer, refused
from settlement_engine.simulator.scenarios import SCENARIOS, Rule
from settlement_engine.simulator.script_file import read_script
from settlement_engine.simulator.service import Outage, OutageKind

if TYPE_CHECKING:
    from pathlib import Path

    from settlement_engine.simulator.service import BankService

RAILS: Final = ("swift", "sepa_sct", "sepa_inst", "realtime")
"""The rails that have a path of their own."""

MESSAGE_BYTES_MAX: Final = 4_194_304
SILENCE_SECONDS_MAX: Final = 120.0
"""How long a connection without a response stays open."""

MS_PER_SECOND: Final = 1_000
GRACE_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerTls:
    """The bank's certificate; with ``client_authority`` its customers must present one as well."""

    certificate: Path
    key: Path
    client_authority: Path | None = None


class _Callback(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    end_to_end_id: str = ""


class _Advance(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    seconds: int


class _OutageWanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    kind: OutageKind
    seconds: int | None = None


_OUTAGE_RESPONSES: Final = {
    OutageKind.SERVER_ERROR: FAILED,
    OutageKind.LOST_REQUESTS: LOST,
    OutageKind.SILENT: SILENT,
}


class BankServer:
    """Listens on one port."""

    def __init__(self, service: BankService, tls: ServerTls | None = None) -> None:
        self._service = service
        self._tls = tls
        self._runner: web.AppRunner | None = None
        self._statements = StatementRoutes(service)

    async def listen(self, host: str, port: int) -> int:
        """Listen; returns the port. Raises Misconfigured for certificates that cannot be used."""
        app = web.Application(client_max_size=MESSAGE_BYTES_MAX)
        app.add_routes(
            [
                web.post("/messages", self._message),
                web.post(f"/{{rail:{'|'.join(RAILS)}}}/messages", self._message),
                web.get("/ledger", self._ledger),
                web.get("/statements", self._statements.statement),
                web.get("/statements/planted", self._statements.planted),
                web.get("/balance", self._statements.balance),
                web.put("/admin/accounts", self._statements.open_account),
                web.post("/admin/bookings", self._statements.book),
                web.get("/admin/script", self._script),
                web.put("/admin/script", self._set_script),
                web.post("/admin/rules", self._add_rule),
                web.get("/admin/scenarios", self._scenarios),
                web.get("/admin/callbacks", self._callbacks),
                web.post("/admin/callbacks/drop", self._drop_callbacks),
                web.post("/admin/clock", self._advance),
                web.put("/admin/outage", self._set_outage),
                web.delete("/admin/outage", self._end_outage),
                web.get("/healthz", self._health),
            ]
        )
        context = None if self._tls is None else self._context(self._tls)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=GRACE_SECONDS)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port, ssl_context=context)
        await site.start()
        address = self._runner.addresses[0]
        return int(address[1])

    async def stop(self) -> None:
        """Close the port."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def _context(self, tls: ServerTls) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_cert_chain(tls.certificate, tls.key)
            if tls.client_authority is not None:
                context.load_verify_locations(tls.client_authority)
                context.verify_mode = ssl.CERT_REQUIRED
        except OSError as error:
            raise Misconfigured("the bank's certificates cannot be used", why=str(error)) from error
        context.sni_callback = self._admit
        return context

    def _admit(
        self, _connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext
    ) -> int | None:
        """Make the TLS handshake fail during an outage of that kind."""
        if self._service.outage is OutageKind.TLS_FAILURE:
            return ssl.AlertDescription.ALERT_DESCRIPTION_HANDSHAKE_FAILURE
        return None

    # --- messages -----------------------------------------------------------------------------------

    async def _message(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        outage = self._service.outage
        response = _OUTAGE_RESPONSES.get(outage) if outage is not None else None
        if response is None:
            response = await self._service.receive(body, request.match_info.get("rail", ""))
        return await self._respond(request, response)

    async def _respond(self, request: web.Request, response: BankResponse) -> web.StreamResponse:
        if response.manner is Manner.SILENT:
            await asyncio.sleep(SILENCE_SECONDS_MAX)
        if response.delay_ms:
            await asyncio.sleep(response.delay_ms / MS_PER_SECOND)
        content_type = {"content-type": "application/xml"} if response.body else {}
        if response.manner is Manner.WHOLE:
            return web.Response(status=response.status, body=response.body, headers=content_type)
        if response.manner is Manner.HALF:
            return await _half(request, response, content_type)
        _end_connection(request)
        return web.Response()

    # --- the ledger ---------------------------------------------------------------------------------

    async def _ledger(self, request: web.Request) -> web.StreamResponse:
        await self._service.work()
        response = web.StreamResponse(headers={"content-type": "application/x-ndjson"})
        await response.prepare(request)
        page, last_id = await self._service.ledger_page(0)
        while page:
            await response.write(b"".join(msgspec.json.encode(line) + b"\n" for line in page))
            page, last_id = await self._service.ledger_page(last_id)
        await response.write_eof()
        return response

    # --- the scene ----------------------------------------------------------------------------------

    async def _script(self, _request: web.Request) -> web.Response:
        return json_answer(self._service.script)

    async def _set_script(self, request: web.Request) -> web.Response:
        try:
            script = read_script(await request.read())
        except Misconfigured as error:
            return refused(error)
        await self._service.set_script(script)
        return json_answer(script)

    async def _add_rule(self, request: web.Request) -> web.Response:
        try:
            await self._service.add_rule(msgspec.json.decode(await request.read(), type=Rule))
        except (Misconfigured, msgspec.MsgspecError) as error:
            return refused(error)
        return json_answer(self._service.script)

    async def _scenarios(self, _request: web.Request) -> web.Response:
        return json_answer({**SCENARIOS, **self._service.script.scenarios})

    async def _callbacks(self, _request: web.Request) -> web.Response:
        return json_answer(await self._service.waiting_callbacks())

    async def _drop_callbacks(self, request: web.Request) -> web.Response:
        try:
            wanted = msgspec.json.decode(await request.read() or b"{}", type=_Callback)
        except msgspec.MsgspecError as error:
            return refused(error)
        return json_answer({"dropped": await self._service.drop_callbacks(wanted.end_to_end_id)})

    async def _advance(self, request: web.Request) -> web.Response:
        try:
            wanted = msgspec.json.decode(await request.read(), type=_Advance)
            await self._service.advance(wanted.seconds * MS_PER_SECOND)
        except (msgspec.MsgspecError, ValueError) as error:
            return refused(error)
        await self._service.work()
        return json_answer({"now_ms": self._service.now_ms()})

    async def _set_outage(self, request: web.Request) -> web.Response:
        try:
            wanted = msgspec.json.decode(await request.read(), type=_OutageWanted)
        except msgspec.MsgspecError as error:
            return refused(error)
        if wanted.kind is OutageKind.TLS_FAILURE and self._tls is None:
            return refused(ValueError("this bank is reached without TLS"))
        until_ms = None
        if wanted.seconds is not None:
            until_ms = self._service.now_ms() + wanted.seconds * MS_PER_SECOND
        await self._service.set_outage(Outage(kind=wanted.kind, until_ms=until_ms))
        return json_answer({"outage": wanted.kind, "until_ms": until_ms})

    async def _end_outage(self, _request: web.Request) -> web.Response:
        await self._service.set_outage(None)
        return json_answer({"outage": None})

    async def _health(self, _request: web.Request) -> web.Response:
        return json_answer({"now_ms": self._service.now_ms(), "outage": self._service.outage})


async def _half(
    request: web.Request, response: BankResponse, headers: dict[str, str]
) -> web.StreamResponse:
    """Send the headers for the whole body, but only half of the body."""
    half = web.StreamResponse(status=response.status, headers=headers)
    half.content_length = len(response.body)
    await half.prepare(request)
    await half.write(response.body[: len(response.body) // 2])
    _end_connection(request)
    return half


def _end_connection(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.close()
