"""ReconcileAccounts and ReconciliationService: reports, breaks and proofs over both doors."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import grpc
import pytest

from settlement_engine.api.call import ACTOR_HEADER
from settlement_engine.api.pages import make_token
from settlement_engine.domain.lifecycle import State
from settlement_engine.domain.reconciliation import ReconciliationRun, RunBegin, StartedFor
from settlement_engine.domain.statement_import import ReceivedFile
from settlement_engine.domain.statements import (
    BalanceType,
    Source,
    Statement,
    StatementAccount,
    StatementBalance,
)
from settlement_engine.engine.statement_import import StatementImport
from settlement_engine.messages.camt052_building import build_camt052
from settlement_engine.proto import settlement_pb2 as pb
from tests.support.bank_statements import BankDay, Booked, debit, take
from tests.support.histories import Scene
from tests.support.stores import CountedIds
from tests.unit.api.test_grpc import failed, violations

if TYPE_CHECKING:
    from tests.unit.api.conftest import Edge


@pytest.fixture
async def account_id(edge: Edge) -> str:
    """An account whose statement has its funding, one of two payments, and a debit that nobody ordered."""
    scene = await Scene.open(edge.world.stores, funds_minor=1_000)
    paid = [await scene.bring(State.COMPLETED, minor=100) for _ in range(2)]
    entries = [
        Booked(minor=1_000, text="for paid in"),
        debit(paid[0]),
        Booked(minor=-7, text="what is this"),
    ]
    source = await scene.source()
    await take(edge.world.stores, BankDay(account=source, opening=0, entries=entries))
    return str(source.id)


async def reconciled(edge: Edge, account_id: str) -> pb.ReconcileResponse:
    wanted = pb.ReconcileRequest(account_id=account_id)
    return await edge.settlements.ReconcileAccounts(wanted, metadata=((ACTOR_HEADER, "ada"),))


async def test_a_run_returns_its_report_and_is_listed(edge: Edge, account_id: str) -> None:
    report = await reconciled(edge, account_id)
    [account] = report.accounts
    assert account.account_id == account_id
    assert account.status == pb.RECONCILIATION_STATUS_IDENTIFIED
    assert (account.internal_balance, account.external_balance) == ("8.00", "8.93")
    assert account.discrepancy == "0.93"
    assert account.proof.is_zero
    assert (report.total_accounts, report.balanced_accounts, report.discrepancy_accounts) == (
        1,
        0,
        1,
    )
    assert (report.started_for, report.started_by) == ("demand", "ada")
    [total] = report.totals
    assert (total.currency, total.total_discrepancy) == ("EUR", "0.93")
    wanted = pb.GetReportRequest(report_id=report.report_id)
    assert await edge.reconciliation.GetReport(wanted) == report
    second = await reconciled(edge, account_id)
    page = await edge.reconciliation.ListReports(pb.ListReportsRequest(page_size=1))
    assert [each.report_id for each in page.reports] == [second.report_id]
    rest = pb.ListReportsRequest(page_size=1, page_token=page.next_page_token)
    page = await edge.reconciliation.ListReports(rest)
    assert [each.report_id for each in page.reports] == [report.report_id]
    assert not page.next_page_token


async def test_breaks_are_listed_filtered_and_shown(edge: Edge, account_id: str) -> None:
    await reconciled(edge, account_id)
    listed = await edge.reconciliation.ListBreaks(pb.ListBreaksRequest(account_id=account_id))
    kinds = {each.kind: each for each in listed.breaks}
    assert pb.BREAK_KIND_UNKNOWN_DEBIT in kinds
    assert pb.BREAK_KIND_MISSING_THEIRS in kinds
    unknown = kinds[pb.BREAK_KIND_UNKNOWN_DEBIT]
    assert (unknown.amount, unknown.severity) == ("-0.07", pb.BREAK_SEVERITY_CRITICAL)
    assert not unknown.events
    only = pb.ListBreaksRequest(kind=pb.BREAK_KIND_UNKNOWN_DEBIT, page_size=1)
    assert [each.id for each in (await edge.reconciliation.ListBreaks(only)).breaks] == [unknown.id]
    shown = await edge.reconciliation.GetBreak(pb.GetBreakRequest(id=unknown.id))
    assert [event.kind for event in shown.events] == ["opened"]
    first = await edge.reconciliation.ListBreaks(pb.ListBreaksRequest(page_size=1))
    rest = pb.ListBreaksRequest(page_size=1, page_token=first.next_page_token)
    assert (await edge.reconciliation.ListBreaks(rest)).breaks[0].id != first.breaks[0].id


async def test_proofs_are_listed_and_accounts_say_when_they_were_reconciled(
    edge: Edge, account_id: str
) -> None:
    await reconciled(edge, account_id)
    listed = await edge.reconciliation.ListProofs(pb.ListProofsRequest(account_id=account_id))
    [proof] = listed.proofs
    assert (proof.our_closing, proof.their_closing, proof.difference) == ("8.00", "8.93", "0.00")
    assert (proof.unmatched_entries, proof.unmatched_postings) == (2, 2)
    same = pb.ListProofsRequest(date=proof.booking_date)
    assert len((await edge.reconciliation.ListProofs(same)).proofs) == 1
    other = pb.ListProofsRequest(date="2001-01-01")
    assert not (await edge.reconciliation.ListProofs(other)).proofs
    status, body, _ = await edge.post("ListProofs", {"accountId": account_id})
    assert (status, body["proofs"][0]["isZero"]) == (200, True)


async def test_the_items_of_a_day_are_listed_page_by_page(edge: Edge, account_id: str) -> None:
    await reconciled(edge, account_id)
    listed = await edge.reconciliation.ListProofs(pb.ListProofsRequest(account_id=account_id))
    [proof] = listed.proofs
    items: list[pb.OpenItem] = []
    wanted = pb.ListOpenItemsRequest(account_id=account_id, date=proof.booking_date, page_size=1)
    while not items or wanted.page_token:
        page = await edge.reconciliation.ListOpenItems(wanted)
        assert (page.proof, page.is_current) == (proof, True)
        items += page.items
        wanted.page_token = page.next_page_token
    assert [(each.side, each.amount) for each in items] == [
        ("theirs", "10.00"),
        ("theirs", "-0.07"),
        ("ours", "-1.00"),
        ("ours", "10.00"),
    ]
    assert (proof.unmatched_theirs, proof.unmatched_ours) == ("9.93", "9.00")
    unknown = items[1]
    assert (unknown.booking_date, unknown.text) == (proof.booking_date, "what is this")
    assert (unknown.match_id, unknown.matched_on) == ("", "")
    assert not unknown.HasField("matched_time")
    body = {"accountId": account_id, "date": proof.booking_date}
    status, answer, _ = await edge.post("ListOpenItems", body)
    assert (status, len(answer["items"]), answer["isCurrent"]) == (200, 4, True)
    stores = edge.world.stores
    matches = [await stores.reconciled.match(number) for number in (1, 2)]
    [match_id] = [each.id for each in matches if each and str(each.account_id) == account_id]
    await stores.reconciliation.unmatch(match_id, who="ada", reason="another one")
    page = await edge.reconciliation.ListOpenItems(
        pb.ListOpenItemsRequest(account_id=account_id, date=proof.booking_date)
    )
    assert not page.is_current
    assert len(page.items) == 6


async def test_items_are_listed_of_a_proved_day_only(edge: Edge, account_id: str) -> None:
    await reconciled(edge, account_id)
    error = await failed(edge.reconciliation.ListOpenItems(pb.ListOpenItemsRequest()))
    assert sorted(violations(error)) == ["account_id", "date"]
    none = pb.ListOpenItemsRequest(account_id=account_id, date="2001-01-01")
    assert (await failed(edge.reconciliation.ListOpenItems(none))).code() is (
        grpc.StatusCode.NOT_FOUND
    )
    for position in ("7", "0.0.2026-01-31.0.1/9999999999"):
        token = make_token((int(account_id), none.date), position)
        made_up = pb.ListOpenItemsRequest(account_id=account_id, date=none.date, page_token=token)
        error = await failed(edge.reconciliation.ListOpenItems(made_up))
        assert violations(error) == ["page_token"]


async def test_wrong_fields_and_unknown_things_are_refused(edge: Edge) -> None:
    wrong = pb.ReconcileRequest(account_id="x", business_date="yesterday", currency="euro")
    error = await failed(edge.settlements.ReconcileAccounts(wrong))
    assert sorted(violations(error)) == ["account_id", "business_date", "currency"]
    report = pb.GetReportRequest(report_id="00000000-0000-7000-8000-000000000001")
    missing = (
        edge.settlements.ReconcileAccounts(pb.ReconcileRequest(account_id="999")),
        edge.reconciliation.GetBreak(pb.GetBreakRequest(id="999")),
        edge.reconciliation.GetReport(report),
    )
    for call in missing:
        assert (await failed(call)).code() is grpc.StatusCode.NOT_FOUND
    unknown = pb.ListBreaksRequest(kind=77)  # type: ignore[arg-type]
    error = await failed(edge.reconciliation.ListBreaks(unknown))
    assert violations(error) == ["kind"]


async def test_a_second_run_at_once_is_aborted(edge: Edge) -> None:
    run = ReconciliationRun(
        id=CountedIds().new(), started_for=StartedFor.SCHEDULE, who="engine", rules_version=""
    )
    assert await edge.world.stores.reconciliation.begin(run) is RunBegin.BEGUN
    error = await failed(edge.settlements.ReconcileAccounts(pb.ReconcileRequest()))
    assert error.code() is grpc.StatusCode.ABORTED


async def test_a_comparison_of_balances_is_shown_as_no_proof(edge: Edge) -> None:
    scene = await Scene.open(edge.world.stores, funds_minor=1_000)
    account = await scene.source()
    now = datetime.now(UTC)
    report = Statement(
        source=Source.CAMT052,
        account=StatementAccount(account.account_number, "OTHER", account.currency),
        id="BAL",
        entries=(),
        balances=(StatementBalance(BalanceType.INTERMEDIATE, 1_000, "EUR", now.date()),),
        created=now.isoformat(),
    )
    file = ReceivedFile(name="balance.xml", content=build_camt052(report), who="ada")
    await StatementImport(edge.world.stores.statements).import_file(file)
    found = await reconciled(edge, str(account.id))
    [shown] = found.accounts
    assert shown.status == pb.RECONCILIATION_STATUS_COMPARED
    assert not shown.HasField("proof")
    assert shown.reason.startswith("balance compared, no proof")
    said = shown.comparison
    assert (said.our_balance, said.their_balance, said.difference) == ("10.00", "10.00", "0.00")
    assert said.source == "camt.052"
    [total] = found.totals
    assert (total.balanced_accounts, total.discrepancy_accounts, total.compared_accounts) == (
        0,
        0,
        1,
    )
    assert (
        await edge.reconciliation.GetReport(pb.GetReportRequest(report_id=found.report_id)) == found
    )
