"""The bank's statements over HTTP, and what a test does to its accounts.

``GET /statements?bank=B&date=D`` gives out a statement, with ``account``, ``currency`` and ``format`` where they are
needed; ``GET /balance?bank=B`` states a balance as of now; ``GET /statements/planted`` lists the differences in all
statements, as JSON lines: the truth to test against.
"""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Final

import msgspec
from aiohttp import web

from settlement_engine.messages.errors import MessageError
from settlement_engine.simulator.account_books import AccountGiven, BookingGiven
from settlement_engine.simulator.statement_issuing import (
    NoStatement,
    StatementFormat,
    StatementWanted,
)

if TYPE_CHECKING:
    from settlement_engine.simulator.service import BankService

BAD_REQUEST: Final = 400
NOT_FOUND: Final = 404
_TYPES: Final = {
    StatementFormat.CAMT053: "application/xml",
    StatementFormat.MT940: "text/plain",
}


class StatementRoutes:
    """Serves the calls about statements and accounts."""

    def __init__(self, service: BankService) -> None:
        self._service = service

    async def statement(self, request: web.Request) -> web.Response:
        """Give out the statement of a day."""
        asked = request.query
        try:
            form = StatementFormat(asked.get("format", StatementFormat.CAMT053))
            wanted = StatementWanted(
                bank=asked["bank"],
                number=asked.get("account", ""),
                currency=asked.get("currency"),
                day=date.fromisoformat(asked["date"]),
            )
        except KeyError as error:
            return refused(ValueError(f"{error.args[0]} is missing"))
        except ValueError as error:
            return refused(error)
        try:
            body = await self._service.statement(wanted, form)
        except NoStatement as error:
            return refused(error, status=NOT_FOUND)
        except MessageError as error:
            return refused(error)
        return web.Response(body=body, content_type=_TYPES[form])

    async def balance(self, request: web.Request) -> web.Response:
        """State the balance of an account now."""
        asked = request.query
        try:
            wanted = StatementWanted(
                bank=asked["bank"],
                number=asked.get("account", ""),
                currency=asked.get("currency"),
                day=date.min,
            )
        except KeyError as error:
            return refused(ValueError(f"{error.args[0]} is missing"))
        try:
            return json_answer(await self._service.balance(wanted))
        except NoStatement as error:
            return refused(error, status=NOT_FOUND)

    async def planted(self, request: web.Request) -> web.StreamResponse:
        """List the differences that the bank has put into its statements."""
        response = web.StreamResponse(headers={"content-type": "application/x-ndjson"})
        await response.prepare(request)
        page, last_id = await self._service.planted(0)
        while page:
            await response.write(b"".join(msgspec.json.encode(line) + b"\n" for line in page))
            page, last_id = await self._service.planted(last_id)
        await response.write_eof()
        return response

    async def open_account(self, request: web.Request) -> web.Response:
        """Open an account, or set what it begins with."""
        try:
            given = msgspec.json.decode(await request.read(), type=AccountGiven)
            await self._service.open_account(given)
        except (msgspec.MsgspecError, ValueError) as error:
            return refused(error)
        return json_answer(given)

    async def book(self, request: web.Request) -> web.Response:
        """Book an amount that no order has caused."""
        try:
            given = msgspec.json.decode(await request.read(), type=BookingGiven)
            await self._service.book(given)
        except (msgspec.MsgspecError, ValueError) as error:
            return refused(error)
        return json_answer(given)


def json_answer(value: object) -> web.Response:
    """Answer with JSON."""
    return web.Response(body=msgspec.json.encode(value), content_type="application/json")


def refused(error: Exception, *, status: int = BAD_REQUEST) -> web.Response:
    """Answer with the reason why a call is refused."""
    why = getattr(error, "why", "")
    text = f"{error}: {why}" if why else str(error)
    return web.Response(
        status=status,
        body=msgspec.json.encode({"error": text}),
        content_type="application/json",
    )
