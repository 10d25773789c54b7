"""Completed payments that closed statements lack: told once, after the days that the bank has, and never of what is open."""

from __future__ import annotations

import pytest

from settlement_engine.domain.closed_differences import NO_RULES
from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.domain.payment import Delivery
from settlement_engine.domain.statement_evidence import EntrySays
from settlement_engine.ports import ReportClosing, ReportOutcome
from tests.contract.test_store_reconciliation import FUNDED, Books
from tests.support.bank_statements import Booked, debit, take

pytestmark = pytest.mark.asyncio(loop_scope="module")

DAYS = 2
MOST = 500


async def told(books: Books) -> list[tuple[Event, EntrySays, str]]:
    """Tell of what is absent; return the open reports of statements, and close them."""
    stores = books.stores
    await stores.evidence.tell_absent(DAYS, MOST)
    reports = await stores.inbound.open_reports(books.scene.engine_id, 1_000)
    own = [each for each in reports if each.report.entry is not None]
    await stores.inbound.close_reports(
        [ReportClosing(report_id=each.id, outcome=ReportOutcome.APPLIED) for each in own]
    )
    return [
        (each.report.event, each.report.entry.says, str(each.settlement_id))
        for each in own
        if each.report.entry is not None
    ]


async def paid_out(books: Books, state: State = State.COMPLETED):
    return await books.scene.bring(state, minor=100, requested_delivery=Delivery.PAY_OUT)


async def test_a_completed_payment_is_told_absent_after_its_days_and_once(stores):
    books = await Books.open(stores)
    absent, present = await paid_out(books), await paid_out(books)
    opened = await paid_out(books, State.SENT)
    day = await books.day(FUNDED, debit(present))
    for number in range(DAYS + 1):
        await take(stores, day)
        await books.reconcile()
        is_due = number >= DAYS
        expected = [(Event.NOT_FOUND, EntrySays.ABSENT, str(absent.id))] if is_due else []
        assert await told(books) == expected
        day = day.next()
    await take(stores, day)
    await books.reconcile()
    assert await told(books) == []
    assert (await books.scene.load(opened)).state is State.SENT


async def test_a_gap_in_the_statements_proves_no_absence(stores):
    books = await Books.open(stores)
    await paid_out(books)
    first = await books.day(FUNDED)
    missing = first.next(Booked(minor=-7))
    last = missing.next().next().next()
    await take(stores, first, last)
    await books.reconcile()
    assert await told(books) == []


async def test_an_entry_that_names_it_is_enough_even_if_it_is_not_matched(stores):
    """Another amount is a matter of its own: the payment is not absent."""
    books = await Books.open(stores)
    other = await paid_out(books)
    day = await books.day(FUNDED, debit(other, minor=-99))
    for _ in range(DAYS + 2):
        await take(stores, day)
        day = day.next()
    while await stores.evidence.search_next(MOST, NO_RULES) is not None:
        pass
    await books.reconcile()
    assert [says for _, says, _ in await told(books)] == [EntrySays.OTHER_AMOUNT]
