"""The report on settlements: the same rows whatever happens later, and sums that are the changes of the balances."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from settlement_engine.domain.ledger import AccountKind
from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.domain.past_balances import BookingDay
from settlement_engine.domain.settlement_report import (
    ReportedSettlement,
    ReportSpan,
    SettlementReportFilter,
    report_totals,
)
from settlement_engine.store import reports as in_postgres
from settlement_lab.memory import reports as in_memory
from tests.support.histories import funding

pytestmark = pytest.mark.asyncio(loop_scope="module")

INSTANT = timedelta(microseconds=1)
LATE = datetime(2100, 1, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _in_small_pages(monkeypatch):
    for store in (in_postgres, in_memory):
        monkeypatch.setattr(store, "MOVES_AT_ONCE", 3)
        monkeypatch.setattr(store, "BOOKING_SECONDS_MAX", 0.0)


async def report(scene, begins, ends, as_of=LATE, **wanted):
    """Read a report on the two banks of the scene, page by page."""
    span = ReportSpan(day=BookingDay(begins, ends), as_of=as_of)
    filters = SettlementReportFilter(**({"bank": scene.source_bank} | wanted))
    rows: list[ReportedSettlement] = []
    place, pages = await scene.stores.reports.report_place(span), 0
    while place is not None:
        page = await scene.stores.reports.reported(span, filters, place)
        rows, place, pages = [*rows, *page.rows], page.following, pages + 1
    assert pages >= len(rows) / 3
    return rows


async def now(scene):
    """Return an instant after everything that was done."""
    return await scene.stores.reports.complete_until() + INSTANT


async def find(scene, settlement_id):
    return (await scene.stores.settlements.load([settlement_id]))[settlement_id]


async def two_days(scene):
    """Do something on two days; return what, and the instants at which the days begin and end."""
    zero = await now(scene)
    done = {"early": await scene.bring(State.COMPLETED), "failed": await scene.bring(State.FAILED)}
    done["open"] = await scene.bring(State.SENT)
    await scene.stores.accounts.fund(funding(5_000, bank=scene.source_bank))
    first = await now(scene)
    await scene.move(done["early"], Event.RETURNED)
    done["late"] = await scene.bring(State.COMPLETED)
    await scene.move(done["open"], Event.SETTLED)
    return done, (zero, first, await now(scene))


def told(rows):
    return {row.id: (row.state, row.settled_minor, row.returned_minor) for row in rows}


async def test_a_settlement_is_in_the_report_of_each_date_on_which_something_happened_to_it(scene):
    done, (zero, first, second) = await two_days(scene)
    ids = {name: each.id for name, each in done.items()}
    assert told(await report(scene, zero, first, first)) == {
        ids["early"]: (State.COMPLETED, 100, 0),
        ids["failed"]: (State.FAILED, 0, 0),
        ids["open"]: (State.SENT, 0, 0),
    }
    assert told(await report(scene, first, second)) == {
        ids["early"]: (State.RETURNED, 0, 100),
        ids["open"]: (State.COMPLETED, 100, 0),
        ids["late"]: (State.COMPLETED, 100, 0),
    }
    # The same date, known later: the states are others, and what was posted on the date is not.
    assert told(await report(scene, zero, first, second)) == {
        ids["early"]: (State.RETURNED, 100, 0),
        ids["failed"]: (State.FAILED, 0, 0),
        ids["open"]: (State.COMPLETED, 0, 0),
    }


async def test_a_report_as_of_an_instant_never_changes(scene):
    _, (zero, first, second) = await two_days(scene)
    wanted = [(zero, first, first), (zero, second, first), (zero, second, second)]
    before = [await report(scene, *each) for each in wanted]
    for row in before[-1]:
        if row.state is State.COMPLETED:
            settlement = await find(scene, row.id)
            await scene.move(settlement, Event.RETURNED)
    await scene.bring(State.COMPLETED)
    assert [await report(scene, *each) for each in wanted] == before
    assert before[0] == before[1]


async def test_the_sums_of_a_date_are_the_change_of_the_balances(scene):
    """Of our account at FROM: what was funded and returned came, what was settled went."""
    _, (zero, first, second) = await two_days(scene)
    [nostro] = await scene.stores.accounts.accounts_of([(AccountKind.NOSTRO, scene.source_bank)])
    for begins, ends, funded in ((zero, first, 5_000), (first, second, 0), (zero, second, 5_000)):
        [total] = report_totals(await report(scene, begins, ends))
        opening, closing = [
            (await scene.stores.past_balances.balances_at([nostro.id], at))[0].posted(nostro.kind)
            for at in (begins, ends)
        ]
        change = funded + total.returned_minor - total.settled_minor
        assert opening + change == closing
        assert total.currency == "EUR"


async def test_filters_by_state_bank_and_currency(scene):
    done, (zero, first, _) = await two_days(scene)
    failed = await report(scene, zero, first, first, state=State.FAILED)
    assert [each.id for each in failed] == [done["failed"].id]
    assert len(await report(scene, zero, first, bank=scene.target_bank.lower())) == 3
    assert await report(scene, zero, first, bank="NOBODY") == []
    assert await report(scene, zero, first, currency="USD") == []
    assert len(await report(scene, zero, first, currency="EUR")) == 3


async def test_a_time_without_moves_is_an_empty_report(scene):
    await scene.bring(State.COMPLETED)
    for begins in (datetime(2000, 1, 1, tzinfo=UTC), datetime(2099, 1, 1, tzinfo=UTC)):
        assert await report(scene, begins, begins + timedelta(days=1)) == []


async def test_a_row_says_what_is_known_of_the_settlement(scene):
    zero = await now(scene)
    done = await scene.bring(State.COMPLETED)
    [row] = await report(scene, zero, await now(scene))
    history = await find(scene, done.id)
    assert (row.obligation_id, row.from_bank, row.to_bank) == (
        history.instruction.obligation_id,
        scene.source_bank,
        scene.target_bank,
    )
    assert (row.created_at, row.ended_at, row.value_date) == (
        history.created_at,
        history.ended_at,
        history.value_date,
    )
    references = history.attempt.references
    assert (row.uetr, row.end_to_end_id) == (str(references.uetr), references.end_to_end_id)
    assert (row.rail, row.delivery, row.purpose) == (history.attempt.route.rail, "book", "")
    assert (row.amount_minor, row.currency, row.charges_minor) == (100, "EUR", 0)
