"""The calls of StatementService, independent of the protocol that carries them.

Promises: a file is bounded while it arrives, and is imported to its end even if the caller has disconnected; the
number of files in memory is bounded. Every import has a named person.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, NamedTuple

from settlement_engine.api import grammar
from settlement_engine.api.bounds import ReadBounds
from settlement_engine.api.call import CallLimit, Service, Unary
from settlement_engine.api.exceptions import who_acts
from settlement_engine.api.pages import make_token, read_token
from settlement_engine.api.render_statements import (
    to_entry,
    to_fetched,
    to_place,
    to_problem,
    to_statement,
)
from settlement_engine.api.statement_decisions import StatementDecisionCalls
from settlement_engine.api.turns import in_parts
from settlement_engine.domain.readable import has_unseen
from settlement_engine.domain.statement_import import (
    FILE_BYTES_MAX,
    FILE_NAME_CHARACTERS_MAX,
    ReceivedFile,
)
from settlement_engine.errors import InvalidInstruction, NotFound
from settlement_engine.ports import StatementFilter
from settlement_engine.proto import settlement_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from settlement_engine.api.call import Call, Drain, Undisturbed
    from settlement_engine.ports import (
        StatementDecider,
        StatementFetcher,
        StatementImporter,
        StatementProblems,
        StatementStore,
    )

IMPORTS_MAX: Final = 4
"""The most files that are received or imported at once: each is in memory."""

FETCHES_MAX: Final = 2
"""The most calls at once that ask banks for statements."""

RECEIVE_SECONDS_MAX: Final = 300.0
"""How long a file may take to arrive."""

MAPPING_CHARACTERS_MAX: Final = 64 * 1024
PAGE_BYTES_MAX: Final = 2 * 1024 * 1024
"""A page of entries ends before the entry with which it would have more bytes."""

PART_BYTES_MAX: Final = 1024 * 1024
"""The most bytes of a file in one answer."""

_WHOLE_FILE: Final = ReadBounds(2 * FILE_BYTES_MAX)  # in JSON a file is a third longer


class StatementPorts(NamedTuple):
    """What the calls are built over: the import, and the store that is read."""

    importer: StatementImporter
    store: StatementStore
    fetcher: StatementFetcher
    problems: StatementProblems
    decider: StatementDecider


class StatementCalls:
    """Serves the calls."""

    def __init__(
        self,
        ports: StatementPorts,
        undisturbed: Undisturbed,
        drain: Drain,
        *,
        trusts_names: bool = True,
    ) -> None:
        self._importer, self._store, self._fetcher, self._problems, decider = ports
        self._decisions = StatementDecisionCalls(decider, undisturbed, trusts_names=trusts_names)
        self._undisturbed = undisturbed
        self._drain = drain
        self._trusts_names = trusts_names
        self._imports = CallLimit("imports of statements", IMPORTS_MAX)
        self._fetches = CallLimit("calls that fetch statements", FETCHES_MAX)

    def unary(self) -> Service:
        """Map the names of the calls, as in the proto, to their handlers; an import here is of one part."""
        return {
            "ImportStatement": Unary(pb.ImportStatementRequest, self.import_whole, _WHOLE_FILE),
            "FetchStatements": Unary(pb.FetchStatementsRequest, self.fetch),
            "ListStatementProblems": Unary(pb.ListStatementProblemsRequest, self.list_problems),
            "ListStatements": Unary(pb.ListStatementsRequest, self.list_statements),
            "GetStatement": Unary(pb.GetStatementRequest, self.get),
            "GetStatementFile": Unary(pb.GetStatementFileRequest, self.get_file),
            **self._decisions.unary(),
        }

    async def import_whole(
        self, request: pb.ImportStatementRequest, call: Call
    ) -> pb.ImportStatementResponse:
        """Import a file that came in one part."""

        async def only() -> AsyncIterator[pb.ImportStatementRequest]:
            yield request

        return await self.import_parts(only(), call)

    async def import_parts(
        self, parts: AsyncIterator[pb.ImportStatementRequest], call: Call
    ) -> pb.ImportStatementResponse:
        """Receive a file in parts, and import it."""
        who = who_acts(call, trusts_names=self._trusts_names)
        with self._imports:
            async with self._drain.until_drained():
                file = await _receive(parts, who)
            found = await self._undisturbed.run(self._importer.import_file(file))
        return pb.ImportStatementResponse(
            file_sha256=file.sha256.hex(),
            statements=await in_parts(found, to_statement),
        )

    async def fetch(
        self, request: pb.FetchStatementsRequest, call: Call
    ) -> pb.FetchStatementsResponse:
        """Ask banks for the statements of a day, and import them."""
        who = who_acts(call, trusts_names=self._trusts_names)
        found: grammar.Found = []
        if request.bank:
            grammar.check_bank("bank", request.bank, found)
        day = grammar.check_date("date", request.date, found) if request.date else None
        grammar.refuse(found)
        with self._fetches:
            fetching = self._fetcher.fetch(request.bank, day, who)
            accounts = await self._undisturbed.run(fetching)
        return pb.FetchStatementsResponse(accounts=await in_parts(accounts, to_fetched))

    async def list_statements(
        self, request: pb.ListStatementsRequest, call: Call
    ) -> pb.ListStatementsResponse:
        """List statements, the latest first."""
        del call
        found: grammar.Found = []
        account_id: int | None = None
        if request.account_id:
            account_id = grammar.check_account_id("account_id", request.account_id, found)
        filters = (request.only_problems, request.account_id)
        size = grammar.check_page_size(request.page_size, found)
        before_id = _position(request.page_token, filters, found)
        grammar.refuse(found)
        wanted = StatementFilter(
            limit=size + 1,
            before_id=before_id or None,
            has_problem=request.only_problems,
            account_id=account_id,
        )
        listed = await self._store.statements(wanted)
        page = listed[:size]
        has_more = len(listed) > size
        return pb.ListStatementsResponse(
            statements=await in_parts(page, to_statement),
            next_page_token=make_token(filters, str(page[-1].id)) if has_more else "",
        )

    async def list_problems(
        self, request: pb.ListStatementProblemsRequest, call: Call
    ) -> pb.ListStatementProblemsResponse:
        """List what is wrong with the statements at present."""
        del call
        found: grammar.Found = []
        account_id: int | None = None
        if request.account_id:
            account_id = grammar.check_account_id("account_id", request.account_id, found)
        filters = ("problems", request.account_id)
        after_id = _position(request.page_token, filters, found)
        grammar.refuse(found)
        page = await self._problems.page(account_id, after_id)
        token = make_token(filters, str(page.after_id)) if page.after_id else ""
        return pb.ListStatementProblemsResponse(
            problems=await in_parts(page.problems, to_problem), next_page_token=token
        )

    async def get(self, request: pb.GetStatementRequest, call: Call) -> pb.GetStatementResponse:
        """Return a statement with a page of its entries."""
        del call
        found: grammar.Found = []
        number = grammar.check_number("number", str(request.number), found)
        filters = (request.number,)
        size = grammar.check_page_size(request.page_size, found)
        after = _position(request.page_token, filters, found)
        grammar.refuse(found)
        read = await self._store.statement(number, after_entry=after, entries_max=size + 1)
        if read is None:
            what = f"there is no statement {number}"
            raise NotFound(what, listed_by="statements list")
        page = _fitting(await in_parts(read.entries[:size], to_entry))
        has_more = len(read.entries) > len(page)
        account_id = read.statement.account_id
        place = None
        if account_id is not None and not request.page_token:  # the first page says it
            place = await self._problems.place(account_id, number)
        return pb.GetStatementResponse(
            statement=to_statement(read.statement),
            place=None if place is None else to_place(place),
            entries=page,
            next_page_token=make_token(filters, str(page[-1].number)) if has_more else "",
        )

    async def get_file(
        self, request: pb.GetStatementFileRequest, call: Call
    ) -> pb.GetStatementFileResponse:
        """Return a part of a file."""
        del call
        found: grammar.Found = []
        sha256 = grammar.check_digest("sha256", request.sha256, found)
        if not 0 <= request.offset <= FILE_BYTES_MAX:
            found.append(("offset", f"must be 0 to {FILE_BYTES_MAX}"))
        grammar.refuse(found)
        part = await self._store.file_part(sha256, request.offset, PART_BYTES_MAX)
        if part is None:
            what = f"there is no file of statements with the SHA-256 {request.sha256}"
            raise NotFound(what, listed_by="statements list")
        return pb.GetStatementFileResponse(
            file_name=part.name, file_bytes=part.file_bytes, content=part.content
        )


def _fitting(entries: Sequence[pb.StatementEntry]) -> Sequence[pb.StatementEntry]:
    """Take as many entries as a page has room for; at least one."""
    total_bytes = 0
    for count, entry in enumerate(entries):
        total_bytes += entry.ByteSize()
        if count and total_bytes > PAGE_BYTES_MAX:
            return entries[:count]
    return entries


def _position(token: str, filters: tuple[object, ...], found: grammar.Found) -> int:
    text = read_token(token, filters, found)
    return grammar.check_number("page_token", text, found) if text else 0


async def _receive(parts: AsyncIterator[pb.ImportStatementRequest], who: str) -> ReceivedFile:
    """Put the parts of a file together. Raises InvalidInstruction."""
    content = bytearray()
    first: pb.ImportStatementRequest | None = None
    try:
        async with asyncio.timeout(RECEIVE_SECONDS_MAX):
            async for part in parts:
                if first is None:
                    first = part
                    _check_head(part)
                elif part.file_name or part.csv_mapping:
                    raise InvalidInstruction([("file_name", "is in the first part only")])
                if len(content) + len(part.content) > FILE_BYTES_MAX:
                    description = f"the file has more than {FILE_BYTES_MAX} bytes"
                    raise InvalidInstruction([("content", description)])
                content += part.content
    except TimeoutError:
        description = f"the file did not arrive within {RECEIVE_SECONDS_MAX:.0f} seconds"
        raise InvalidInstruction([("content", description)]) from None
    if first is None:
        raise InvalidInstruction([("file_name", grammar.REQUIRED)])
    return await asyncio.to_thread(  # to hash a large file takes long
        ReceivedFile,
        name=first.file_name,
        content=bytes(content),
        who=who,
        csv_mapping=first.csv_mapping,
    )


def _check_head(part: pb.ImportStatementRequest) -> None:
    """Check what the first part says. A name may look like a card number: banks put numbers into names."""
    found: grammar.Found = []
    name = part.file_name
    if not name:
        found.append(("file_name", grammar.REQUIRED))
    elif len(name) > FILE_NAME_CHARACTERS_MAX:
        found.append(("file_name", f"has more than {FILE_NAME_CHARACTERS_MAX} characters"))
    elif has_unseen(name):
        found.append(("file_name", "contains characters that nobody sees"))
    if len(part.csv_mapping) > MAPPING_CHARACTERS_MAX:
        found.append(("csv_mapping", f"has more than {MAPPING_CHARACTERS_MAX} characters"))
    elif "\x00" in part.csv_mapping:
        found.append(("csv_mapping", "contains control characters"))
    grammar.refuse(found)
