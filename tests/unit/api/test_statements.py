"""The calls of StatementService: files in parts, bounds, who imports, and lists in pages."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from settlement_engine.api import statements
from settlement_engine.api.call import ACTOR_HEADER
from settlement_engine.domain.ledger import AccountKind
from settlement_engine.engine import statement_problems
from settlement_engine.proto import settlement_pb2 as pb
from tests.support.histories import spec
from tests.support.statement_files import chain, file_of
from tests.unit.api.test_grpc import failed, violations

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.unit.api.conftest import Edge

ADA = ((ACTOR_HEADER, "ada"),)
NUMBER = "0001234567"


PART_BYTES = 100


def parts(
    content: bytes, *, file_name: str = "day.sta", csv_mapping: str = ""
) -> Iterator[pb.ImportStatementRequest]:
    yield pb.ImportStatementRequest(file_name=file_name, csv_mapping=csv_mapping)
    for start in range(0, len(content), PART_BYTES):
        yield pb.ImportStatementRequest(content=content[start : start + PART_BYTES])


async def imported(edge: Edge, content: bytes, who: Any = ADA, **head: str) -> Any:
    return await edge.statements.ImportStatement(parts(content, **head), metadata=who)


@pytest.fixture
async def account(edge: Edge) -> str:
    wanted = spec(AccountKind.NOSTRO, "HOUSDEFF", account_number=NUMBER)
    return str((await edge.world.stores.accounts.open_account(wanted)).id)


async def test_a_file_in_parts_is_imported_and_read_back(edge: Edge, account: str) -> None:
    content = file_of(*chain(NUMBER, 3))
    answer = await imported(edge, content)
    assert [each.outcome for each in answer.statements] == [pb.STATEMENT_OUTCOME_IMPORTED] * 3
    listed = await edge.statements.ListStatements(pb.ListStatementsRequest(account_id=account))
    latest = listed.statements[0]
    assert (latest.id, latest.sequence, latest.imported_by) == ("STMT3", 3, "ada")
    assert (latest.opening, latest.closing, latest.date) == ("999.98", "999.97", "2026-03-04")
    got = await edge.statements.GetStatement(pb.GetStatementRequest(number=latest.number))
    assert [each.amount for each in got.entries] == ["1.14", "-1.15"]
    assert got.entries[0].references.customer == "OURS1"
    wanted = pb.GetStatementFileRequest(sha256=answer.file_sha256)
    file = await edge.statements.GetStatementFile(wanted)
    assert (file.content, file.file_bytes, file.file_name) == (content, len(content), "day.sta")


async def test_lists_and_entries_come_in_pages(edge: Edge, account: str) -> None:
    await imported(edge, file_of(*chain(NUMBER, 3, entries=3)))
    wanted = pb.ListStatementsRequest(account_id=account, page_size=2)
    first = await edge.statements.ListStatements(wanted)
    wanted.page_token = first.next_page_token
    second = await edge.statements.ListStatements(wanted)
    assert [each.id for each in (*first.statements, *second.statements)] == [
        "STMT3",
        "STMT2",
        "STMT1",
    ]
    assert not second.next_page_token
    one = pb.GetStatementRequest(number=second.statements[0].number, page_size=2)
    page = await edge.statements.GetStatement(one)
    one.page_token = page.next_page_token
    rest = await edge.statements.GetStatement(one)
    assert [each.number for each in (*page.entries, *rest.entries)] == [1, 2, 3]


async def test_json_imports_a_file_in_one_part(edge: Edge, account: str) -> None:
    del account
    content = base64.b64encode(file_of(*chain(NUMBER, 1))).decode()
    body = {"file_name": "day.sta", "content": content}
    status, answer, _ = await edge.post("ImportStatement", body, headers={ACTOR_HEADER: "ada"})
    assert status == 200
    assert answer["statements"][0]["outcome"] == "STATEMENT_OUTCOME_IMPORTED"
    status, listed, _ = await edge.post("ListStatements", {"only_problems": True})
    assert (status, listed.get("statements", [])) == (200, [])


async def test_an_import_has_a_named_person(edge: Edge) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await imported(edge, b"x", who=())
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize(
    ("head", "field"),
    [
        ({"file_name": ""}, "file_name"),
        ({"file_name": "x" * 256}, "file_name"),
        ({"file_name": "a\u202eb"}, "file_name"),
        ({"csv_mapping": "no mapping"}, "csv_mapping"),
        ({"csv_mapping": "x" * (64 * 1024 + 1)}, "csv_mapping"),
    ],
)
async def test_wrong_fields_are_named(edge: Edge, head: dict[str, str], field: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await imported(edge, b"x", **head)
    assert field in violations(refused.value)
    assert edge.world.stores.records.statement_files == {}


async def test_a_file_name_may_look_like_a_card_number(edge: Edge) -> None:
    answer = await imported(edge, b"x", file_name="camt.053_4111111111111111.xml")
    assert [each.outcome for each in answer.statements] == [pb.STATEMENT_OUTCOME_UNREADABLE]


async def test_a_file_beyond_the_bound_is_refused_while_it_arrives(
    edge: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statements, "FILE_BYTES_MAX", 150)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await imported(edge, b"x" * 151)
    assert "content" in violations(refused.value)


async def test_a_sender_that_stops_does_not_hold_a_place(
    edge: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statements, "RECEIVE_SECONDS_MAX", 0.01)
    call = edge.statements.ImportStatement(metadata=ADA)
    await call.write(pb.ImportStatementRequest(file_name="a", content=b"x"))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    assert "content" in violations(refused.value)


async def test_what_is_not_there_is_not_found(edge: Edge) -> None:
    missing = edge.statements.GetStatement(pb.GetStatementRequest(number=7))
    assert (await failed(missing)).code() is grpc.StatusCode.NOT_FOUND
    file = edge.statements.GetStatementFile(pb.GetStatementFileRequest(sha256="00" * 32))
    assert (await failed(file)).code() is grpc.StatusCode.NOT_FOUND


async def test_fetched_accounts_have_outcomes(edge: Edge, account: str) -> None:
    wanted = pb.FetchStatementsRequest(bank="HOUSDEFF", date="2026-03-02")
    answer = await edge.statements.FetchStatements(wanted, metadata=ADA)
    [found] = answer.accounts
    assert (found.account_id, found.account_number, found.bank) == (account, NUMBER, "HOUSDEFF")
    assert (found.outcome, found.rail) == (pb.FETCH_OUTCOME_NOT_OFFERED, "")
    assert "no rail" in found.reason


async def test_a_fetch_has_a_named_person_and_checked_fields(edge: Edge) -> None:
    error = await failed(edge.statements.FetchStatements(pb.FetchStatementsRequest()))
    assert error.code() is grpc.StatusCode.UNAUTHENTICATED
    wanted = pb.FetchStatementsRequest(bank="a bank", date="yesterday")
    error = await failed(edge.statements.FetchStatements(wanted, metadata=ADA))
    assert set(violations(error)) == {"bank", "date"}


async def test_problems_are_listed_until_they_are_cured(edge: Edge, account: str) -> None:
    first, second, third = chain(NUMBER, 3)
    await imported(edge, file_of(first, third))
    wanted = pb.ListStatementProblemsRequest()
    answer = await edge.statements.ListStatementProblems(wanted)
    [found] = answer.problems
    assert (found.kind, found.account_id, found.bank, found.number) == (
        pb.STATEMENT_PROBLEM_KIND_GAP,
        account,
        "HOUSDEFF",
        2,
    )
    assert (found.first_date, found.last_date) == ("2026-03-02", "2026-03-04")
    got = await edge.statements.GetStatement(pb.GetStatementRequest(number=2))
    assert (got.place.position, got.place.of, got.place.number_before) == (2, 2, 1)
    assert got.place.problem.kind == pb.STATEMENT_PROBLEM_KIND_GAP
    await imported(edge, file_of(second))
    wanted.account_id = account
    assert not (await edge.statements.ListStatementProblems(wanted)).problems
    got = await edge.statements.GetStatement(pb.GetStatementRequest(number=2))
    assert (got.place.position, got.place.of, got.place.number_before) == (3, 3, 3)
    assert not got.place.HasField("problem")


async def test_problems_come_in_pages_of_accounts(
    edge: Edge, account: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statement_problems, "PAGE_ACCOUNTS", 1)
    other = spec(AccountKind.NOSTRO, "CHASUS33", account_number="999")
    await edge.world.stores.accounts.open_account(other)
    for number in (NUMBER, "999"):
        first, _, third = chain(number, 3)
        await imported(edge, file_of(first, third))
    wanted = pb.ListStatementProblemsRequest()
    page = await edge.statements.ListStatementProblems(wanted)
    assert [each.account_id for each in page.problems] == [account]
    wanted.page_token = page.next_page_token
    rest = await edge.statements.ListStatementProblems(wanted)
    assert [each.bank for each in rest.problems] == ["CHASUS33"]
    assert not rest.next_page_token
