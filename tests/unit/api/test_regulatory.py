"""RunRegulatoryReport, ListRegulatoryReports, GetRegulatoryReport and ListReportTemplates."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

import pytest

from settlement_engine.proto import settlement_pb2 as pb
from tests.unit.api.test_grpc import failed, violations

ADA = (("settlement-actor", "ada"),)
PAST = "2026-01-31"
NAME = "sample_final_settlements"


async def run(edge, **fields) -> pb.RegulatoryReport:
    wanted = pb.RunRegulatoryReportRequest(**{"template": NAME, "date": PAST} | fields)
    made: pb.RegulatoryReport = await edge.reports.RunRegulatoryReport(wanted, metadata=ADA)
    return made


async def test_a_report_is_made_corrected_made_again_and_read(edge) -> None:
    one = await run(edge)
    assert (one.number, one.version, one.rows, one.made_by) == (1, 1, 0, "ada")
    assert (one.template, one.template_version, one.date) == (NAME, 1, PAST)
    error = await failed(run(edge))
    assert "was reported" in error.details()
    two = await run(edge, reason="a late return")
    assert (two.version, two.reason, two.replayed) == (2, "a late return", False)
    again = await run(edge, as_of=one.as_of)
    assert (again.number, again.version, again.replayed) == (1, 1, True)
    wanted = pb.GetRegulatoryReportRequest(number=1)
    got = await edge.reports.GetRegulatoryReport(wanted)
    assert hashlib.sha256(got.content).hexdigest() == got.report.sha256 == one.sha256
    wanted.offset = got.report.file_bytes
    assert (await edge.reports.GetRegulatoryReport(wanted)).content == b""


async def test_reports_are_listed_in_pages(edge) -> None:
    for day in ("2026-01-29", "2026-01-30", "2026-01-31"):
        await run(edge, date=day)
    wanted = pb.ListRegulatoryReportsRequest(template=NAME, page_size=2)
    first = await edge.reports.ListRegulatoryReports(wanted)
    wanted.page_token = first.next_page_token
    second = await edge.reports.ListRegulatoryReports(wanted)
    assert [each.date for each in (*first.reports, *second.reports)] == [
        "2026-01-31",
        "2026-01-30",
        "2026-01-29",
    ]
    assert second.next_page_token == ""
    only = await edge.reports.ListRegulatoryReports(pb.ListRegulatoryReportsRequest(date=PAST))
    assert [each.date for each in only.reports] == [PAST]


async def test_templates_are_listed_and_say_that_they_are_samples(edge) -> None:
    listed = await edge.reports.ListReportTemplates(pb.ListReportTemplatesRequest())
    assert [each.name for each in listed.templates] == ["sample_currency_totals", NAME]
    assert all(each.is_sample for each in listed.templates)
    assert "settled" in listed.templates[1].columns


async def test_somebody_has_to_be_named(edge) -> None:
    wanted = pb.RunRegulatoryReportRequest(template=NAME, date=PAST)
    error = await failed(edge.reports.RunRegulatoryReport(wanted))
    assert "name of the person" in error.details()


async def test_what_is_not_there_is_not_found(edge) -> None:
    error = await failed(run(edge, template="nothing"))
    assert "no template nothing" in error.details()
    wanted = pb.GetRegulatoryReportRequest(number=7)
    error = await failed(edge.reports.GetRegulatoryReport(wanted))
    assert "no regulatory report 7" in error.details()


async def test_today_is_not_over(edge) -> None:
    error = await failed(run(edge, date=datetime.now(UTC).date().isoformat()))
    assert "is not over" in error.details()


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("template", {"template": ""}),
        ("template", {"template": "x" * 65}),
        ("date", {"date": ""}),
        ("reason", {"reason": "x" * 1001}),
        ("reason", {"reason": "a\u202eb"}),
    ],
)
async def test_what_cannot_be_read_names_its_field(edge, field, fields) -> None:
    error = await failed(run(edge, **fields))
    assert field in violations(error)
