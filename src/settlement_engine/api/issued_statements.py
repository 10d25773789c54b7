"""The calls of StatementService about statements that we issue, independent of the protocol that carries them.

Promises: every issue has a named person, and runs to its end even if the caller has disconnected; the number of
statements that are made at once is bounded. It must never make a statement itself.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple
from zoneinfo import ZoneInfo

from settlement_engine.api import grammar
from settlement_engine.api.call import CallLimit, Service, Unary
from settlement_engine.api.exceptions import who_acts
from settlement_engine.api.pages import make_token, read_token
from settlement_engine.api.render import timestamp
from settlement_engine.api.statements import PART_BYTES_MAX
from settlement_engine.api.turns import in_parts
from settlement_engine.domain.issued_statements import (
    IssuedFormat,
    IssuedStatement,
    StatementOrder,
)
from settlement_engine.domain.money import format_amount
from settlement_engine.domain.past_balances import booking_day
from settlement_engine.domain.statement_import import FILE_BYTES_MAX
from settlement_engine.errors import InvalidInstruction, NotFound
from settlement_engine.ports import IssuedFilter
from settlement_engine.proto import settlement_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Mapping

    from settlement_engine.api.call import Call, Undisturbed
    from settlement_engine.ports import HolderStatementIssuer, IssuedStatementStore

ISSUES_MAX: Final = 4
"""The most statements that are made at once: each is in memory."""

FORMATS: Final[Mapping[int, IssuedFormat]] = MappingProxyType(
    {
        pb.ISSUED_FORMAT_UNSPECIFIED: IssuedFormat.CAMT053,
        pb.ISSUED_FORMAT_CAMT053: IssuedFormat.CAMT053,
        pb.ISSUED_FORMAT_MT950: IssuedFormat.MT950,
    }
)
_NUMBERS: Final = {kind: pb.IssuedFormat.ValueType(number) for number, kind in FORMATS.items()}


class IssuedPorts(NamedTuple):
    """What the calls are built over: the issuing, and the store that is read."""

    issuer: HolderStatementIssuer
    store: IssuedStatementStore


class IssuedStatementCalls:
    """Serves the calls."""

    def __init__(
        self, ports: IssuedPorts, undisturbed: Undisturbed, zone: str, *, trusts_names: bool = True
    ) -> None:
        self._issuer, self._store = ports
        self._undisturbed = undisturbed
        self._zone = ZoneInfo(zone)
        self._trusts_names = trusts_names
        self._issues = CallLimit("issues of statements", ISSUES_MAX)

    def unary(self) -> Service:
        """Map the names of the calls, as in the proto, to their handlers."""
        return {
            "IssueStatement": Unary(pb.IssueStatementRequest, self.issue),
            "ListIssuedStatements": Unary(pb.ListIssuedStatementsRequest, self.list_issued),
            "GetIssuedStatementFile": Unary(pb.GetIssuedStatementFileRequest, self.get_file),
        }

    async def issue(self, request: pb.IssueStatementRequest, call: Call) -> pb.IssuedStatement:
        """Issue the statement of a booking date, or return it if it was issued before."""
        found: grammar.Found = []
        account_id = grammar.check_account_id("account_id", request.account_id, found)
        day = grammar.check_date("date", request.date, found)
        wanted = _check_format(request.format, found)
        if found or day is None or wanted is None:
            raise InvalidInstruction(found)
        order = StatementOrder(
            account_id=account_id,
            booking_date=day,
            day=booking_day(day, self._zone),
            format=wanted,
            who=who_acts(call, trusts_names=self._trusts_names),
        )
        with self._issues:
            return to_issued(await self._undisturbed.run(self._issuer.issue(order)))

    async def list_issued(
        self, request: pb.ListIssuedStatementsRequest, call: Call
    ) -> pb.ListIssuedStatementsResponse:
        """List issued statements, the latest first."""
        del call
        found: grammar.Found = []
        account_id = None
        if request.account_id:
            account_id = grammar.check_account_id("account_id", request.account_id, found)
        filters = (request.account_id,)
        size = grammar.check_page_size(request.page_size, found)
        position = read_token(request.page_token, filters, found)
        before = grammar.check_number("page_token", position, found) if position else None
        grammar.refuse(found)
        listed = await self._store.issued(
            IssuedFilter(limit=size + 1, account_id=account_id, before_id=before)
        )
        page = listed[:size]
        has_more = len(listed) > size
        return pb.ListIssuedStatementsResponse(
            statements=await in_parts(page, to_issued),
            next_page_token=make_token(filters, str(page[-1].id)) if has_more else "",
        )

    async def get_file(
        self, request: pb.GetIssuedStatementFileRequest, call: Call
    ) -> pb.GetIssuedStatementFileResponse:
        """Return a part of the bytes of an issued statement."""
        del call
        found: grammar.Found = []
        account_id = grammar.check_account_id("account_id", request.account_id, found)
        if request.number < 1:
            found.append(("number", "must be a positive whole number"))
        wanted = _check_format(request.format, found)
        if not 0 <= request.offset <= FILE_BYTES_MAX:
            found.append(("offset", f"must be 0 to {FILE_BYTES_MAX}"))
        if found or wanted is None:
            raise InvalidInstruction(found)
        part = await self._store.issued_part(
            account_id, request.number, wanted, request.offset, PART_BYTES_MAX
        )
        if part is None:
            what = f"statement {request.number} of account {account_id} was not issued as {wanted}"
            raise NotFound(what, listed_by="statements issued")
        return pb.GetIssuedStatementFileResponse(
            sha256=part.sha256.hex(), file_bytes=part.file_bytes, content=part.content
        )


def _check_format(number: int, found: grammar.Found) -> IssuedFormat | None:
    wanted = FORMATS.get(number)
    if wanted is None:
        found.append(("format", "is a number that is no format"))
    return wanted


def to_issued(issued: IssuedStatement) -> pb.IssuedStatement:
    """Convert an issued statement to its message."""
    account = issued.account

    def money(minor: int) -> str:
        return format_amount(minor, account.currency)

    return pb.IssuedStatement(
        account_id=str(account.id),
        account_number=account.account_number,
        bank=account.bank,
        currency=account.currency,
        number=issued.number,
        date=issued.booking_date.isoformat(),
        opening=money(issued.opening_minor),
        closing=money(issued.closing_minor),
        credits=money(issued.credits_minor),
        debits=money(issued.debits_minor),
        entries=issued.entries,
        issued_by=issued.issued_by,
        issued_time=timestamp(issued.issued_at),
        files=[
            pb.IssuedStatementFile(
                format=_NUMBERS[each.format], sha256=each.sha256.hex(), file_bytes=each.file_bytes
            )
            for each in issued.files
        ],
        replayed=issued.is_replay,
    )
