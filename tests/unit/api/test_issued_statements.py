"""IssueStatement, ListIssuedStatements and GetIssuedStatementFile."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

import pytest

from settlement_engine.domain.ledger import AccountKind
from settlement_engine.proto import settlement_pb2 as pb
from tests.support.histories import spec
from tests.unit.api.test_grpc import failed, violations

ADA = (("settlement-actor", "ada"),)
PAST = "2026-01-31"


async def vostro(edge) -> str:
    opened = await edge.world.stores.accounts.open_account(spec(AccountKind.VOSTRO, "CHASUS33"))
    return str(opened.id)


async def issue(edge, account, day=PAST, form=pb.ISSUED_FORMAT_UNSPECIFIED):
    wanted = pb.IssueStatementRequest(account_id=account, date=day, format=form)
    return await edge.statements.IssueStatement(wanted, metadata=ADA)


async def test_a_statement_is_issued_once_and_its_bytes_are_read(edge) -> None:
    account = await vostro(edge)
    one = await issue(edge, account)
    assert (one.number, one.date, one.entries, one.issued_by) == (1, PAST, 0, "ada")
    assert (one.opening, one.closing, one.replayed) == ("0.00", "0.00", False)
    again = await issue(edge, account)
    assert again.replayed
    assert again.files == one.files
    await issue(edge, account, form=pb.ISSUED_FORMAT_MT950)
    for form, start in (
        (pb.ISSUED_FORMAT_CAMT053, b"<?xml"),
        (pb.ISSUED_FORMAT_MT950, b"{1:F01SETTGB2L"),
    ):
        wanted = pb.GetIssuedStatementFileRequest(account_id=account, number=1, format=form)
        part = await edge.statements.GetIssuedStatementFile(wanted)
        assert part.content.startswith(start)
        assert (part.file_bytes, part.sha256) == (
            len(part.content),
            hashlib.sha256(part.content).hexdigest(),
        )
        wanted.offset = part.file_bytes
        assert (await edge.statements.GetIssuedStatementFile(wanted)).content == b""


async def test_statements_are_listed_in_pages(edge) -> None:
    account, other = await vostro(edge), await vostro(edge)
    for day in ("2026-01-29", "2026-01-30", "2026-01-31"):
        await issue(edge, account, day)
    assert other == account
    found, token = [], ""
    while True:
        wanted = pb.ListIssuedStatementsRequest(account_id=account, page_size=2, page_token=token)
        page = await edge.statements.ListIssuedStatements(wanted)
        found += [each.number for each in page.statements]
        token = page.next_page_token
        if not token:
            break
    assert found == [3, 2, 1]


async def test_somebody_has_to_be_named(edge) -> None:
    wanted = pb.IssueStatementRequest(account_id=await vostro(edge), date=PAST)
    error = await failed(edge.statements.IssueStatement(wanted))
    assert "name of the person" in error.details()


async def test_today_is_not_over(edge) -> None:
    account = await vostro(edge)
    today = datetime.now(UTC).date()
    for day in (today, today + timedelta(days=1)):
        error = await failed(issue(edge, account, day.isoformat()))
        assert "is not over" in error.details()


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("account_id", {"account_id": ""}),
        ("account_id", {"account_id": "0"}),
        ("date", {"date": ""}),
        ("date", {"date": "31.01.2026"}),
        ("format", {"format": 9}),
    ],
)
async def test_what_cannot_be_read_names_its_field(edge, field, fields) -> None:
    good = {"account_id": "1", "date": PAST}
    wanted = pb.IssueStatementRequest(**good | fields)
    error = await failed(edge.statements.IssueStatement(wanted, metadata=ADA))
    assert field in violations(error)


@pytest.mark.parametrize(
    "fields", [{"number": 0}, {"offset": -1}, {"format": 9}, {"account_id": "x"}]
)
async def test_a_file_is_asked_for_by_account_number_and_format(edge, fields) -> None:
    good = {"account_id": "1", "number": 1}
    wanted = pb.GetIssuedStatementFileRequest(**good | fields)
    error = await failed(edge.statements.GetIssuedStatementFile(wanted))
    assert set(fields) & set(violations(error))


async def test_what_was_not_issued_is_not_found(edge) -> None:
    wanted = pb.GetIssuedStatementFileRequest(account_id="1", number=1)
    error = await failed(edge.statements.GetIssuedStatementFile(wanted))
    assert "was not issued" in error.details()
