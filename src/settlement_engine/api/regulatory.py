"""The calls of ReportService about regulatory reports, independent of the protocol that carries them.

Promises: every report has a named person, and is made to its end even if the caller has disconnected. It must never
make a report itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple
from zoneinfo import ZoneInfo

from settlement_engine.api import grammar
from settlement_engine.api.call import CallLimit, Service, Unary
from settlement_engine.api.exceptions import who_acts
from settlement_engine.api.pages import make_token, read_token
from settlement_engine.api.render import timestamp
from settlement_engine.api.statements import PART_BYTES_MAX
from settlement_engine.api.turns import in_parts
from settlement_engine.domain.past_balances import booking_day
from settlement_engine.errors import InvalidInstruction, NotFound
from settlement_engine.ports import RegulatoryFilter
from settlement_engine.proto import settlement_pb2 as pb

if TYPE_CHECKING:
    from settlement_engine.api.call import Call, Undisturbed
    from settlement_engine.domain.regulatory_report import RegulatoryReport, ReportTemplate
    from settlement_engine.ports import RegulatoryReporter, RegulatoryStore

REPORTS_MAX: Final = 2
"""The most reports that are made at once: each is in memory."""

TEMPLATE_CHARACTERS_MAX: Final = 64
REASON_CHARACTERS_MAX: Final = 1_000
FILE_BYTES_MAX: Final = 1 << 30


class RegulatoryPorts(NamedTuple):
    """What the calls are built over: the reporting, and the store that is read."""

    reporter: RegulatoryReporter
    store: RegulatoryStore


class RegulatoryCalls:
    """Serves the calls."""

    def __init__(
        self,
        ports: RegulatoryPorts,
        undisturbed: Undisturbed,
        zone: str,
        *,
        trusts_names: bool = True,
    ) -> None:
        self._reporter, self._store = ports
        self._undisturbed = undisturbed
        self._zone = ZoneInfo(zone)
        self._trusts_names = trusts_names
        self._making = CallLimit("regulatory reports", REPORTS_MAX)

    def unary(self) -> Service:
        """Map the names of the calls, as in the proto, to their handlers."""
        return {
            "ListReportTemplates": Unary(pb.ListReportTemplatesRequest, self.list_templates),
            "RunRegulatoryReport": Unary(pb.RunRegulatoryReportRequest, self.run),
            "ListRegulatoryReports": Unary(pb.ListRegulatoryReportsRequest, self.list_reports),
            "GetRegulatoryReport": Unary(pb.GetRegulatoryReportRequest, self.get),
        }

    async def list_templates(
        self, request: pb.ListReportTemplatesRequest, call: Call
    ) -> pb.ListReportTemplatesResponse:
        """List the templates."""
        del request, call
        listed = [_to_template(each) for each in self._reporter.templates]
        return pb.ListReportTemplatesResponse(templates=listed)

    async def run(self, request: pb.RunRegulatoryReportRequest, call: Call) -> pb.RegulatoryReport:
        """Make a report, a correction of one, or a stored one again."""
        found: grammar.Found = []
        if not request.template:
            found.append(("template", grammar.REQUIRED))
        grammar.check_text("template", request.template, TEMPLATE_CHARACTERS_MAX, found)
        day = grammar.check_date("date", request.date, found)
        as_of = grammar.check_timestamp("as_of", request.as_of, found)
        grammar.check_words("reason", request.reason, REASON_CHARACTERS_MAX, found)
        if found or day is None:
            raise InvalidInstruction(found)
        who = who_acts(call, trusts_names=self._trusts_names)
        making = self._reporter.report(
            request.template,
            day,
            booking_day(day, self._zone),
            as_of=as_of,
            reason=request.reason.strip(),
            who=who,
        )
        with self._making:
            return to_report(await self._undisturbed.run(making))

    async def list_reports(
        self, request: pb.ListRegulatoryReportsRequest, call: Call
    ) -> pb.ListRegulatoryReportsResponse:
        """List reports, the latest first."""
        del call
        found: grammar.Found = []
        grammar.check_text("template", request.template, TEMPLATE_CHARACTERS_MAX, found)
        day = grammar.check_date("date", request.date, found) if request.date else None
        filters = (request.template, request.date)
        size = grammar.check_page_size(request.page_size, found)
        position = read_token(request.page_token, filters, found)
        before = grammar.check_number("page_token", position, found) if position else None
        grammar.refuse(found)
        wanted = RegulatoryFilter(
            limit=size + 1, template=request.template, booking_date=day, before_id=before
        )
        listed = await self._store.regulatory_reports(wanted)
        page = listed[:size]
        has_more = len(listed) > size
        return pb.ListRegulatoryReportsResponse(
            reports=await in_parts(page, to_report),
            next_page_token=make_token(filters, str(page[-1].id)) if has_more else "",
        )

    async def get(
        self, request: pb.GetRegulatoryReportRequest, call: Call
    ) -> pb.GetRegulatoryReportResponse:
        """Return a report with a part of its bytes."""
        del call
        found: grammar.Found = []
        if request.number < 1:
            found.append(("number", "must be a positive whole number"))
        if not 0 <= request.offset <= FILE_BYTES_MAX:
            found.append(("offset", f"must be 0 to {FILE_BYTES_MAX}"))
        grammar.refuse(found)
        wanted = RegulatoryFilter(limit=1, report_id=request.number)
        reports = await self._store.regulatory_reports(wanted)
        part = await self._store.report_part(request.number, request.offset, PART_BYTES_MAX)
        if not reports or part is None:
            what = f"there is no regulatory report {request.number}"
            raise NotFound(what, listed_by="reports regulatory list")
        return pb.GetRegulatoryReportResponse(report=to_report(reports[0]), content=part.content)


def _to_template(template: ReportTemplate) -> pb.ReportTemplate:
    return pb.ReportTemplate(
        name=template.name,
        version=template.version,
        title=template.title,
        is_sample=template.is_sample,
        format=template.format,
        columns=[each.name for each in template.columns],
    )


def to_report(report: RegulatoryReport) -> pb.RegulatoryReport:
    """Convert a report to its message."""
    return pb.RegulatoryReport(
        number=report.id,
        template=report.template,
        template_version=report.template_version,
        date=report.booking_date.isoformat(),
        as_of=timestamp(report.as_of),
        version=report.version,
        reason=report.reason,
        rows=report.rows,
        file_bytes=report.file_bytes,
        sha256=report.sha256.hex(),
        made_by=report.made_by,
        made_time=timestamp(report.made_at),
        replayed=report.is_replay,
    )
