"""The proof detects changes behind the guards to what is reconciled, issued and reported."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import asyncpg
import pytest

from settlement_engine.domain.issued_statements import IssuedFormat, StatementOrder
from settlement_engine.domain.ledger import AccountKind
from settlement_engine.domain.lifecycle import State
from settlement_engine.domain.past_balances import BookingDay
from settlement_engine.domain.reconciliation import ReconciliationRun, StartedFor
from settlement_engine.domain.regulatory_report import RegulatoryOrder, ReportingInstitution
from settlement_engine.engine.reconciliation import Reconciliation
from settlement_engine.engine.statement_issuing import StatementIssuing
from settlement_engine.messages.regulatory_files import build_regulatory_report
from settlement_engine.messages.report_templates import shipped_templates
from settlement_engine.store import issued_statements, regulatory
from tests.support.bank_statements import BankDay, Booked, debit, take, today
from tests.support.histories import ALL_TRANSFERS, Scene, funding
from tests.support.stores import PostgresStores
from tests.support.tampering_history import TAMPERED_RECONCILED

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

DAY = date(2026, 1, 30)
INSTANT = timedelta(microseconds=1)
WE = ReportingInstitution(name="We", bic="SETTGB2L", lei="")

GUARDED = (
    *("reconciliation_days", "open_postings", "open_entries", "matched_statements"),
    *("matches", "unmatches", "match_postings", "match_entries"),
    *("statement_days", "proofs", "proved_accounts", "timing_postings", "timing_entries"),
    *("issued_statements", "issued_statement_files", "regulatory_reports"),
    *("statement_proposals", "statement_proposal_statements", "statement_decisions"),
    "set_aside_statements",
)


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    for store in (issued_statements, regulatory):
        monkeypatch.setattr(store, "BOOKING_SECONDS_MAX", 0.0)


@pytest.fixture
async def stores(database_url: str) -> AsyncIterator[PostgresStores]:
    """A database with a match, open items, two issued statements in two formats, and a report.

    Of two fundings the bank has booked one a day earlier, and the other a day later.
    """
    made = PostgresStores(database_url)
    scene = await Scene.open(made, funds_minor=1_000)
    statement = await statement_of(scene)
    funded = []
    for days, reference in ((-1, "PAID-IN-EARLY"), (1, "PAID-IN-LATER")):
        paid_in = funding(500, bank=scene.source_bank, reference=reference)
        await made.accounts.fund(paid_in)
        booked_on = today() + timedelta(days)
        funded.append(Booked(minor=500, text=f"for {reference}", booked_on=booked_on))
    await take(made, replace(statement, entries=[*statement.entries, *funded]))
    await reconcile(made)
    await issue(scene)
    yield made
    await made.close()


async def statement_of(scene):
    """The statement of three days, of which the payment is booked on the second."""
    paid = await scene.bring(State.COMPLETED)
    day = BankDay(account=await scene.source(), opening=0, entries=entries_of(paid))
    return replace(day, opened_on=day.day - timedelta(1), day=day.day + timedelta(1))


async def reconcile(stores, account_id=None):
    run = ReconciliationRun(
        id=uuid.uuid4(),
        started_for=StartedFor.DEMAND,
        who="ada",
        rules_version="",
        account_id=account_id,
    )
    await Reconciliation(stores.reconciliation).reconcile(run)


def entries_of(paid):
    return [debit(paid, booked_on=today()), Booked(minor=-7)]


async def issue(scene):
    """Issue the statement of the day before the booking and of its day, and report that day."""
    [booked] = {
        each.at for each in await scene.stores.accounts.transfers(ALL_TRANSFERS) if each.leg == 2
    }
    [holder] = await scene.stores.accounts.accounts_of([(AccountKind.VOSTRO, scene.target_bank)])
    begins, ends = booked - timedelta(hours=1), datetime.now(UTC)
    issuing = StatementIssuing(scene.stores.issued, "SETTGB2L")
    for day, period in ((DAY, (begins, booked)), (DAY + timedelta(1), (booked, ends))):
        order = StatementOrder(
            account_id=holder.id,
            booking_date=day,
            day=BookingDay(*period),
            format=IssuedFormat.CAMT053,
            who="ada",
        )
        await issuing.issue(order)
    for template in shipped_templates():
        wanted = RegulatoryOrder(
            template=template,
            booking_date=DAY,
            day=BookingDay(begins, ends),
            as_of=None,
            reason="",
            who="ada",
        )
        await scene.stores.regulatory.make_report(wanted, WE, build_regulatory_report)


async def test_each_check_notices_what_is_done_behind_the_guards(stores):
    """One database for all: after each change the rows are put back as they were."""
    assert list((await stores.auditor.prove()).differences) == []
    connection = await asyncpg.connect(stores.url)
    try:
        for table in GUARDED:
            await connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER ALL")
        for what, (change, expected) in TAMPERED_RECONCILED.items():
            kept = await keep(connection)
            await connection.execute(change)
            assert await keep(connection) != kept, what
            proof = await stores.auditor.prove()
            assert {each.check for each in proof.differences} == expected, what
            assert all(each.expected != each.found for each in proof.differences), what
            assert all(each.subject for each in proof.differences), what
            await restore(connection, kept)
    finally:
        await connection.close()
    assert list((await stores.auditor.prove()).differences) == []


async def test_what_came_since_the_last_run_is_no_difference(database_url):
    """Proofs are compared as far as nothing has changed; then the next run records them."""
    stores = PostgresStores(database_url)
    scene = await Scene.open(stores, funds_minor=1_000)
    statement = await statement_of(scene)
    await take(stores, statement)
    await reconcile(stores)
    source, agent = await scene.source(), await scene.account(AccountKind.SETTLEMENT)
    connection = await asyncpg.connect(stores.url)

    async def unproved():
        assert list((await stores.auditor.prove()).differences) == []
        return await connection.fetchval(
            "SELECT unproved_from FROM proved_accounts WHERE account_id = $1", source.id
        )

    try:
        assert await unproved() is None
        await scene.bring(State.COMPLETED)
        await reconcile(stores, agent.id)  # it reads the postings of all accounts
        assert await unproved() == today()
        await take(stores, statement.next(Booked(minor=5)))
        assert await unproved() == today()
        await reconcile(stores, source.id)
        assert await unproved() is None
        await stores.reconciliation.unmatch(1, who="ada", reason="it was another one")
        assert await unproved() == date.min
        await take(stores, replace(statement, entries=statement.entries[:1], made=23))
        await reconcile(stores)
        assert await unproved() is None
    finally:
        await connection.close()
        await stores.close()


async def keep(connection):
    return {
        table: await connection.fetch(f"SELECT t.*::text AS row FROM {table} AS t ORDER BY 1")
        for table in GUARDED
    }


async def restore(connection, kept):
    async with connection.transaction():
        await connection.execute("SET LOCAL session_replication_role = replica")
        for table, rows in kept.items():
            await connection.execute(f"DELETE FROM {table}")
            await connection.execute(
                f"INSERT INTO {table} OVERRIDING SYSTEM VALUE"
                f" SELECT (r::{table}).* FROM unnest($1::text[]) AS r",
                [row["row"] for row in rows],
            )
