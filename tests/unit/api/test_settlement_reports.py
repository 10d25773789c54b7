"""ReportSettlements: bytes that never change, pages, sums per currency."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from settlement_engine.domain.lifecycle import State
from settlement_engine.domain.settlement_report import ReportedSettlement, report_totals
from settlement_engine.messages.report_files import (
    SETTLEMENT_COLUMNS,
    ReportFormat,
    settlement_rows,
)
from settlement_engine.proto import settlement_pb2 as pb
from settlement_lab.memory import reports as in_memory
from tests.support.histories import Scene
from tests.unit.api.test_grpc import failed, violations

PAST = "2026-01-31"
ROW = ReportedSettlement(
    id=UUID(int=7),
    obligation_id='OB,"7"',
    from_bank="DEUTDEFF",
    to_bank="CHASUS33",
    currency="EUR",
    amount_minor=123_456,
    state=State.COMPLETED,
    value_date=date(2026, 1, 30),
    created_at=datetime(2026, 1, 31, 12, 0, 0, 5, tzinfo=UTC),
    ended_at=None,
    rail="swift",
    delivery="book",
    uetr="",
    end_to_end_id="E",
    purpose="",
    settled_minor=123_456,
    returned_minor=0,
    charges_minor=0,
)


def test_a_row_of_csv_reads_back_as_it_was() -> None:
    text = settlement_rows([ROW, ROW], ReportFormat.CSV, with_header=True).decode()
    header, *rows = csv.reader(io.StringIO(text, newline=""))
    assert tuple(header) == SETTLEMENT_COLUMNS
    assert rows[0] == rows[1]
    read = dict(zip(header, rows[0], strict=True))
    assert (read["obligation_id"], read["amount"]) == ('OB,"7"', "1234.56")
    assert (read["created_at"], read["ended_at"]) == ("2026-01-31T12:00:00.000005Z", "")
    assert text.count("\r\n") == 3


def test_a_line_of_json_has_every_column() -> None:
    line = settlement_rows([ROW], ReportFormat.JSON_LINES, with_header=True)
    read = json.loads(line)
    assert tuple(read) == SETTLEMENT_COLUMNS
    assert (read["ended_at"], read["uetr"], read["settled"]) == (None, None, "1234.56")


def test_sums_are_never_across_currencies() -> None:
    yen = replace(ROW, currency="JPY", settled_minor=5, returned_minor=2, charges_minor=1)
    [eur, jpy] = report_totals([yen, ROW, ROW, yen])
    assert (eur.currency, eur.settlements, eur.settled_minor) == ("EUR", 2, 246_912)
    assert (jpy.settlements, jpy.settled_minor, jpy.returned_minor, jpy.charges_minor) == (
        2,
        10,
        4,
        2,
    )


@pytest.fixture
def complete(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_memory, "BOOKING_SECONDS_MAX", 0.0)


async def whole(edge, **fields: Any) -> tuple[bytes, list[pb.ReportSettlementsResponse]]:
    """Read all pages of the report of today."""
    today = datetime.now(UTC).date().isoformat()
    wanted = pb.ReportSettlementsRequest(**{"date": today, **fields})
    pages: list[pb.ReportSettlementsResponse] = []
    while not pages or wanted.page_token:
        pages.append(await edge.reports.ReportSettlements(wanted))
        wanted.page_token = pages[-1].next_page_token
    return b"".join(each.content for each in pages), pages


@pytest.mark.usefixtures("complete")
async def test_the_same_instant_gives_the_same_bytes_and_a_later_one_others(
    edge, monkeypatch
) -> None:
    monkeypatch.setattr(in_memory, "MOVES_AT_ONCE", 4)
    scene = await Scene.open(edge.world.stores)
    for _ in range(5):
        await scene.bring(State.COMPLETED)
    before, pages = await whole(edge)
    as_of = pages[0].as_of
    assert len(pages) > 2
    assert {each.as_of.ToMicroseconds() for each in pages} == {as_of.ToMicroseconds()}
    assert before.count(b"\r\n") == 6
    assert before.count(b"settlement_id") == 1
    assert sum(each.rows for each in pages) == 5
    sums = [total for page in pages for total in page.totals]
    assert {each.currency for each in sums} == {"EUR"}
    assert sum(each.settlements for each in sums) == 5
    await scene.bring(State.COMPLETED)
    assert (await whole(edge, as_of=as_of))[0] == before
    assert (await whole(edge))[0].count(b"\r\n") == 7
    lines, _ = await whole(edge, as_of=as_of, format=pb.REPORT_FORMAT_JSON_LINES)
    assert {json.loads(line)["settled"] for line in lines.splitlines()} == {"1.00"}
    none, _ = await whole(edge, as_of=as_of, state="failed")
    assert none.count(b"\r\n") == 1


async def test_an_instant_that_is_not_complete_is_refused(edge) -> None:
    wanted = pb.ReportSettlementsRequest(date=PAST)
    wanted.as_of.FromDatetime(datetime.now(UTC) + timedelta(minutes=1))
    error = await failed(edge.reports.ReportSettlements(wanted))
    assert "may still be booked" in error.details()


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("date", {"date": ""}),
        ("date", {"date": "yesterday"}),
        ("state", {"state": "done"}),
        ("bank", {"bank": "?"}),
        ("currency", {"currency": "EURO"}),
        ("format", {"format": 9}),
        ("page_token", {"page_token": "x"}),
    ],
)
async def test_what_cannot_be_read_names_its_field(edge, field, fields) -> None:
    wanted = pb.ReportSettlementsRequest(**{"date": PAST} | fields)
    error = await failed(edge.reports.ReportSettlements(wanted))
    assert field in violations(error)
