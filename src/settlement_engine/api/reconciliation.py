"""The calls of reconciliation: ReconcileAccounts, and what ReconciliationService shows.

Promises: a run goes on to its end even if the caller has disconnected. Must never: change what was found.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from settlement_engine.api import grammar
from settlement_engine.api.call import LOCAL_CALLER, CallLimit, Service, Unary
from settlement_engine.api.pages import make_token, read_token
from settlement_engine.api.render_breaks import aged_break, worked_break
from settlement_engine.api.render_reconciliation import to_open_item, to_proof, to_report
from settlement_engine.api.turns import in_parts
from settlement_engine.domain.open_items import read_place
from settlement_engine.domain.reconciliation import ReconciliationRun, StartedFor
from settlement_engine.errors import NotFound
from settlement_engine.ports import BreakFilter, OpenItemFilter, ReportFilter
from settlement_engine.proto import settlement_pb2 as pb

if TYPE_CHECKING:
    from datetime import date
    from uuid import UUID

    from settlement_engine.api.call import Call, Undisturbed
    from settlement_engine.domain.open_items import ItemPlace
    from settlement_engine.domain.reconciliation import ReconciliationReport
    from settlement_engine.ports import BreakManagement, Ids, Reconciler, ReconciliationReader

RUNS_MAX: Final = 2
"""The most calls that may start a run at once; only one of them will have it."""

OWNER_CHARACTERS_MAX: Final = 256
REPORTS_MAX: Final = 50
"""The most reports in one answer: each may have thousands of accounts."""


class ReconciliationPorts(NamedTuple):
    """What the calls are built over: who reconciles, what shows it, the ids of runs, and the work on breaks."""

    reconciler: Reconciler
    reader: ReconciliationReader
    ids: Ids
    breaks: BreakManagement


class ReconciliationCalls:
    """Serves the calls."""

    def __init__(self, ports: ReconciliationPorts, undisturbed: Undisturbed) -> None:
        self._reconciler, self._reader, self._ids, self._breaks = ports
        self._undisturbed = undisturbed
        self._runs = CallLimit("reconciliations", RUNS_MAX)

    def runs(self) -> Service:
        """Map the specification's call to its handler."""
        return {"ReconcileAccounts": Unary(pb.ReconcileRequest, self.reconcile)}

    def unary(self) -> Service:
        """Map the names of the calls, as in the proto, to their handlers."""
        return {
            "ListReports": Unary(pb.ListReportsRequest, self.list_reports),
            "GetReport": Unary(pb.GetReportRequest, self.get_report),
            "ListBreaks": Unary(pb.ListBreaksRequest, self.list_breaks),
            "GetBreak": Unary(pb.GetBreakRequest, self.get_break),
            "ListProofs": Unary(pb.ListProofsRequest, self.list_proofs),
            "ListOpenItems": Unary(pb.ListOpenItemsRequest, self.list_open_items),
        }

    async def reconcile(self, request: pb.ReconcileRequest, call: Call) -> pb.ReconcileResponse:
        """Reconcile accounts, and return the report of the run."""
        found: grammar.Found = []
        grammar.check_filter(request.bank, request.currency, found)
        day = _day("business_date", request.business_date, found)
        account_id = _account_id(request.account_id, found)
        grammar.refuse(found)
        run = ReconciliationRun(
            id=self._ids.new(),
            started_for=StartedFor.DEMAND,
            who=call.caller if call.caller != LOCAL_CALLER else call.actor or LOCAL_CALLER,
            rules_version="",
            account_id=account_id,
            bank=request.bank,
            currency=request.currency,
            business_date=day,
        )
        with self._runs:
            await self._undisturbed.run(self._reconciler.reconcile(run))
        return to_report(await self._report(run.id))

    async def list_reports(
        self, request: pb.ListReportsRequest, call: Call
    ) -> pb.ListReportsResponse:
        """List the reports of runs that have ended, the latest first."""
        del call
        found: grammar.Found = []
        filters = (request.date,)
        size = min(grammar.check_page_size(request.page_size, found), REPORTS_MAX)
        day = _day("date", request.date, found)
        token = read_token(request.page_token, filters, found)
        before = grammar.check_uuid("page_token", token, found) if token else None
        grammar.refuse(found)
        listed = await self._reader.reports(ReportFilter(limit=size + 1, before=before, day=day))
        page = listed[:size]
        has_more = len(listed) > size
        return pb.ListReportsResponse(
            reports=await in_parts(page, to_report),
            next_page_token=make_token(filters, str(page[-1].run.id)) if has_more else "",
        )

    async def get_report(self, request: pb.GetReportRequest, call: Call) -> pb.ReconcileResponse:
        """Return the report of one run."""
        del call
        found: grammar.Found = []
        run_id = grammar.check_uuid("report_id", request.report_id, found)
        grammar.refuse(found)
        assert run_id is not None, "what is no UUID was refused"
        return to_report(await self._report(run_id))

    async def list_breaks(self, request: pb.ListBreaksRequest, call: Call) -> pb.ListBreaksResponse:
        """List breaks, the latest first."""
        del call
        found: grammar.Found = []
        account_id = _account_id(request.account_id, found)
        kind = _kind(request, found)
        grammar.check_words("owner", request.owner, OWNER_CHARACTERS_MAX, found)
        filters = (request.account_id, request.kind, request.with_closed, request.owner)
        size = grammar.check_page_size(request.page_size, found)
        before_id = _position(request.page_token, filters, found)
        grammar.refuse(found)
        wanted = BreakFilter(
            limit=size + 1,
            before_id=before_id or None,
            account_id=account_id,
            kind=kind,
            is_open=None if request.with_closed else True,
            owner=request.owner,
        )
        listed = await self._reader.breaks(wanted)
        page = listed[:size]
        has_more = len(listed) > size
        return pb.ListBreaksResponse(
            breaks=await in_parts(page, lambda each: aged_break(each, self._breaks)),
            next_page_token=make_token(filters, str(page[-1].id)) if has_more else "",
        )

    async def get_break(self, request: pb.GetBreakRequest, call: Call) -> pb.ReconciliationBreak:
        """Return one break with its events."""
        del call
        found: grammar.Found = []
        break_id = grammar.check_number("id", request.id, found)
        grammar.refuse(found)
        read = await self._reader.break_by_id(break_id)
        if read is None:
            raise NotFound(f"there is no break {break_id}", listed_by="breaks list")
        file = await self._breaks.file(break_id)
        assert file is not None, "a break is never deleted"
        return worked_break(read, file, self._breaks)

    async def list_proofs(self, request: pb.ListProofsRequest, call: Call) -> pb.ListProofsResponse:
        """List the last proof of each account."""
        del call
        found: grammar.Found = []
        day = _day("date", request.date, found)
        account_id = _account_id(request.account_id, found)
        filters = (request.date, request.account_id)
        size = grammar.check_page_size(request.page_size, found)
        after = _position(request.page_token, filters, found)
        grammar.refuse(found)
        listed = await self._reader.proofs(day, account_id, after, size + 1)
        page = listed[:size]
        has_more = len(listed) > size
        return pb.ListProofsResponse(
            proofs=[to_proof(id_, currency, proof) for id_, currency, proof in page],
            next_page_token=make_token(filters, str(page[-1][0])) if has_more else "",
        )

    async def list_open_items(
        self, request: pb.ListOpenItemsRequest, call: Call
    ) -> pb.ListOpenItemsResponse:
        """List the items that were open on an account at the end of a day."""
        del call
        found: grammar.Found = []
        account_id = grammar.check_account_id("account_id", request.account_id, found)
        day = grammar.check_date("date", request.date, found)
        filters = (account_id, request.date)
        size = grammar.check_page_size(request.page_size, found)
        after = _place(read_token(request.page_token, filters, found), found)
        grammar.refuse(found)
        assert day is not None, "what is no date was refused"
        as_of = await self._reader.proof_as_of(account_id, day)
        if as_of is None:
            what = f"account {account_id} has no proof for {day}"
            raise NotFound(what, listed_by=f"prove --account {account_id}")
        wanted = OpenItemFilter(
            account_id=account_id, day=day, begins=as_of.begins, limit=size + 1, after=after
        )
        listed = await self._reader.open_items(wanted)
        page = listed[:size]
        has_more = len(listed) > size
        return pb.ListOpenItemsResponse(
            items=await in_parts(page, to_open_item),
            next_page_token=make_token(filters, page[-1].place.text()) if has_more else "",
            proof=to_proof(account_id, as_of.currency, as_of.proof),
            is_current=as_of.is_current,
        )

    async def _report(self, run_id: UUID) -> ReconciliationReport:
        report = await self._reader.report(run_id)
        if report is None:
            raise NotFound(f"there is no report {run_id}", listed_by="reports list")
        return report


def _day(field: str, text: str, found: grammar.Found) -> date | None:
    return grammar.check_date(field, text, found) if text else None


def _account_id(text: str, found: grammar.Found) -> int | None:
    return grammar.check_account_id("account_id", text, found) if text else None


def _kind(request: pb.ListBreaksRequest, found: grammar.Found) -> str:
    """Return the kind by its name in the domain; empty: every kind."""
    if not request.kind:
        return ""
    if request.kind not in pb.BreakKind.values():
        found.append(("kind", "is no kind of a break"))
        return ""
    return pb.BreakKind.Name(request.kind).removeprefix("BREAK_KIND_")


def _place(text: str, found: grammar.Found) -> ItemPlace | None:
    """Read the place of an item from a token; empty: from the beginning."""
    place = read_place(text) if text else None
    if text and place is None:
        found.append(("page_token", "is not a token of this call"))
    return place


def _position(token: str, filters: tuple[object, ...], found: grammar.Found) -> int:
    text = read_token(token, filters, found)
    return grammar.check_number("page_token", text, found) if text else 0
