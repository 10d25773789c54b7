"""The decision table of a payment at a rail, row by row, over HTTP, with the bank's ledger as the judge.

Each row is tried with an agreement by which the bank recognises resends (class B), and without any (class D). Where
both end alike, every change tries one rail for each row; ``SETTLEMENT_WHOLE_MATRIX=1`` tries every row with every
rail and class (`make nightly`). In each of them: never two debits, no release without evidence, and the row's end.
"""

from __future__ import annotations

import os
from contextlib import suppress
from itertools import cycle
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import pytest

from settlement_engine.domain.backoff import Backoff
from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.domain.recalls import RecallState
from settlement_engine.errors import Contention, WrongState
from settlement_engine.rails.iso20022 import RAIL_NAMES
from settlement_engine.simulator.scenarios import (
    MoneyBack,
    RecallReply,
    Reply,
    Scenario,
    ScenarioStep,
)
from settlement_engine.simulator.service import Outage, OutageKind
from tests.support.railrows import AMOUNT, FUNDS, row_world
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from pathlib import Path

    from settlement_engine.domain.settlement import Settlement
    from tests.support.railrows import RowWorld

    RowTest: TypeAlias = Callable[[RowWorld], Awaitable[Settlement]]

IS_WHOLE = os.environ.get("SETTLEMENT_WHOLE_MATRIX", "") == "1"
LATER = {2, 13, 20, 27, 28, 31, 32, 33}
"""Rows of cut-offs, linked settlements and payments that come in: of a later version."""

ELSEWHERE = {26: "test_cover_rows", 29: "test_ach_rows", 30: "test_ach_rows"}
"""The row of cover payments, and those of files, which rails over HTTP do not have."""

LONG_MS = 60_000
SELDOM = Backoff(first_seconds=60, max_seconds=60)
ACSP, ACSC = ScenarioStep(status="ACSP"), ScenarioStep(status="ACSC")


class Row(NamedTuple):
    """One way into a row of the table, and what follows."""

    number: int
    run: RowTest
    differs_by_class: bool

    @property
    def name(self) -> str:
        """The row's number, and its way into it."""
        return f"{self.number:02d}-{self.run.__name__}"


ROWS: list[Row] = []


def row(number: int, *, differs_by_class: bool = False) -> Callable[[RowTest], RowTest]:
    """Enter a way into a row of the table; it returns the settlement for the judge."""

    def enter(run: RowTest) -> RowTest:
        ROWS.append(Row(number, run, differs_by_class))
        return run

    return enter


def later(status: str, after_ms: int = 300, **more: object) -> ScenarioStep:
    return ScenarioStep(status=status, after_ms=after_ms, **more)  # type: ignore[arg-type]


# --- before the send intent ---------------------------------------------------------------------------


@row(1)
async def refused_by_screening(world: RowWorld) -> Settlement:
    await world.start()
    world.engine.screening.answers.append(Event.REFUSED)
    settlement = await world.settle("settle")
    assert await world.ends(settlement) is State.FAILED
    assert await world.received() == []
    return settlement


@row(3)
async def cancelled_before_anything_left(world: RowWorld) -> Settlement:
    await world.start()
    world.engine.screening.answers.extend([None] * 100)
    settlement = await world.settle("settle")
    await world.engine.engine.cancel(settlement.id)
    assert await world.ends(settlement) is State.FAILED
    assert await world.received() == []
    return settlement


@row(4)
async def crashed_before_the_intent_was_committed(world: RowWorld) -> Settlement:
    await world.start()
    world.engine.screening.answers.extend([None] * 100)
    settlement = await world.settle("settle")
    await world.restart()
    assert await world.ends(settlement) is State.COMPLETED
    (line,) = await world.received()
    assert line.times_received == 1
    return settlement


@row(4)
async def lost_the_database_at_the_commit(world: RowWorld) -> Settlement:
    await world.start()
    world.engine.store.losses.append(("apply", "before"))
    settlement = await world.settle("settle")
    assert await world.ends(settlement) is State.COMPLETED
    (line,) = await world.received()
    assert line.times_received == 1
    return settlement


# --- sending ------------------------------------------------------------------------------------------


@row(5)
async def nobody_listens(world: RowWorld) -> Settlement:
    await world.start()
    await world.bank._server.stop()
    settlement = await world.settle("settle")
    await world.stays(settlement, State.LOCKED)
    port = int(world.bank.endpoint.rpartition(":")[2])
    await world.bank._server.listen("127.0.0.1", port)
    assert await world.ends(settlement) is State.COMPLETED
    (line,) = await world.received()
    assert line.times_received == 1
    return settlement


@row(5)
async def nobody_ever_listens(world: RowWorld) -> Settlement:
    world.engine_changes = {"sends_max": 3}
    await world.start()
    await world.bank._server.stop()
    settlement = await world.settle("settle")
    assert await world.ends(settlement) is State.ROLLED_BACK
    assert await world.received() == []
    return settlement


@row(6)
async def crashed_after_the_bank_had_it(world: RowWorld) -> Settlement:
    await world.start()
    settlement = await world.settle(Scenario(reply_delay_ms=LONG_MS))
    await until(world.received)
    await world.restart()
    assert await world.ends(settlement) is State.COMPLETED
    return settlement


@row(6, differs_by_class=True)
async def crashed_while_nothing_had_arrived(world: RowWorld) -> Settlement:
    await world.start()
    await world.bank.service.set_outage(Outage(kind=OutageKind.SILENT))
    settlement = await world.settle("settle")
    await until(world.is_sending)
    killed = await world.kill()
    await world.bank.service.set_outage(None)
    await world.start(killed)
    return await resent_where_that_was_agreed(world, settlement)


async def resent_where_that_was_agreed(world: RowWorld, settlement: Settlement) -> Settlement:
    """*Not found* allows the same bytes to be sent again; without an agreement it proves nothing."""
    if world.is_agreed:
        assert await world.ends(settlement) is State.COMPLETED
    else:
        await world.stays(settlement, State.IN_DOUBT)
        assert await world.received() == []
    return settlement


@row(7)
async def lost_the_answer(world: RowWorld) -> Settlement:
    await world.start()
    settlement = await world.settle("lost_answer")
    assert await world.ends(settlement) is State.COMPLETED
    assert "in_doubt" in await world.engine.history(settlement)
    return settlement


@row(7)
async def got_half_an_answer(world: RowWorld) -> Settlement:
    await world.start()
    settlement = await world.settle("half_response")
    assert await world.ends(settlement) is State.COMPLETED
    return settlement


@row(7)
async def was_answered_too_late(world: RowWorld) -> Settlement:
    await world.start()
    settlement = await world.settle(Scenario(reply_delay_ms=3_000))
    assert await world.ends(settlement) is State.COMPLETED
    assert "in_doubt" in await world.engine.history(settlement)
    return settlement


@row(7)
async def was_told_of_another_payment(world: RowWorld) -> Settlement:
    await world.start()
    settlement = await world.settle("wrong_reference")
    assert await world.ends(settlement) is State.COMPLETED
    return settlement


@row(7, differs_by_class=True)
async def lost_the_request(world: RowWorld) -> Settlement:
    await world.start()
    settlement = await world.settle("lost_request")
    return await resent_where_that_was_agreed(world, settlement)


@row(8, differs_by_class=True)
async def met_a_servers_error(world: RowWorld) -> Settlement:
    await world.start()
    settlement = await world.settle(Scenario(errors_for_ms=500))
    await world.passes(settlement, State.IN_DOUBT)
    return await resent_where_that_was_agreed(world, settlement)


@row(9)
async def was_a_duplicate(world: RowWorld) -> Settlement:
    """A database that was restored from an old copy sends what it has sent before, under the same names."""
    await world.start()
    first = await world.settle("settle", wait_seconds=20)
    await world.kill()
    await world.start()
    settlement = await world.settle("reject")
    assert settlement.id == first.id
    assert await world.ends(settlement) is State.COMPLETED
    (line,) = await world.received()
    assert line.times_received == 2
    return settlement


@row(10)
async def had_its_message_refused(world: RowWorld) -> Settlement:
    await world.start()
    settlement = await world.settle("refuse_message")
    assert await world.ends(settlement) is State.ROLLED_BACK
    return settlement


# --- sent, accepted -----------------------------------------------------------------------------------


@row(11)
async def heard_nothing_in_time(world: RowWorld) -> Settlement:
    await world.start()
    steps = (ScenarioStep(status="ACSP", told_after_ms=LONG_MS), later("ACSC", 1_500))
    settlement = await world.settle(
        Scenario(steps=steps, reply=Reply.CALLBACK, reply_delay_ms=3_000)
    )
    await world.passes(settlement, State.IN_DOUBT)
    assert await world.ends(settlement) is State.COMPLETED
    return settlement


@row(12)
async def was_rejected(world: RowWorld) -> Settlement:
    await world.start()
    settlement = await world.settle("reject")
    assert await world.ends(settlement) is State.ROLLED_BACK
    (line,) = await world.received()
    assert line.state == "rejected"
    return settlement


@row(12)
async def was_accepted_and_then_rejected(world: RowWorld) -> Settlement:
    await world.start()
    settlement = await world.settle("accept_then_reject")
    assert await world.ends(settlement) is State.ROLLED_BACK
    assert "sent" in await world.engine.history(settlement)
    return settlement


# --- recalls ------------------------------------------------------------------------------------------


async def cancelled(world: RowWorld, scenario: Scenario) -> Settlement:
    """Have the caller cancel what the bank has accepted."""
    await world.start()
    settlement = await world.settle(scenario)
    await world.comes_to(settlement, State.SENT)
    with suppress(WrongState, Contention):  # what the caller is told where the bank refuses
        await world.engine.engine.cancel(settlement.id)
    await world.passes(settlement, State.RECALLING)
    return settlement


@row(14)
async def asked_for_it_back(world: RowWorld) -> Settlement:
    settlement = await cancelled(world, Scenario(steps=(ACSP,), recall=RecallReply.PENDING))
    await world.stays(settlement, State.RECALLING)
    return settlement


@row(15)
async def got_it_back(world: RowWorld) -> Settlement:
    settlement = await cancelled(world, Scenario(steps=(ACSP,)))
    assert await world.ends(settlement) is State.ROLLED_BACK
    (line,) = await world.received()
    assert line.state == "recalled"
    return settlement


@row(15)
async def got_it_back_later(world: RowWorld) -> Settlement:
    pending = Scenario(steps=(ACSP,), recall=RecallReply.PENDING, recall_after_ms=600)
    settlement = await cancelled(world, pending)
    assert await world.ends(settlement) is State.ROLLED_BACK
    return settlement


@row(16)
async def did_not_get_it_back(world: RowWorld) -> Settlement:
    refusing = Scenario(steps=(ACSP, later("ACSC", 2_000)), recall=RecallReply.REFUSE)
    settlement = await cancelled(world, refusing)
    assert await world.ends(settlement) is State.COMPLETED
    assert "sent" in (await world.engine.history(settlement))[-3:]
    return settlement


@row(17)
async def settled_while_it_was_asked_back(world: RowWorld) -> Settlement:
    both = Scenario(steps=(ACSP, later("ACSC", 800)), recall=RecallReply.PENDING)
    settlement = await cancelled(world, both)
    assert await world.ends(settlement) is State.COMPLETED
    return settlement


# --- in doubt -----------------------------------------------------------------------------------------


@row(18)
async def was_told_the_end_by_call_back(world: RowWorld) -> Settlement:
    world.engine_changes = {"enquiry": SELDOM}
    await world.start()
    settlement = await world.settle(Scenario(steps=(ACSP, later("ACSC", 500)), reply=Reply.LOST))
    await world.comes_to(settlement, State.IN_DOUBT)
    assert await world.ends(settlement) is State.COMPLETED
    return settlement


@row(18)
async def was_silent_for_a_day(world: RowWorld) -> Settlement:
    await world.start()
    settlement = await world.settle("silent_for_a_day")
    await world.stays(settlement, State.IN_DOUBT)
    await world.bank.service.advance(2 * 86_400_000)
    assert await world.ends(settlement) is State.COMPLETED
    return settlement


@row(19)
async def was_told_of_a_second_debit(world: RowWorld) -> Settlement:
    await world.start()
    settlement = await world.settle("settle_twice")
    assert await world.ends(settlement) is State.COMPLETED
    await case_opens(world, "second_debit")
    assert await world.posted() == FUNDS - AMOUNT
    return settlement


async def case_opens(world: RowWorld, kind: str) -> None:
    await until(lambda: world.cases()[kind] == 1, f"no case of {kind}")


# --- settled ------------------------------------------------------------------------------------------


@row(21)
async def lost_the_database_when_it_settled(world: RowWorld) -> Settlement:
    await world.start()
    settlement = await world.settle(Scenario(reply_delay_ms=400))
    await until(world.received)
    world.engine.store.losses.append(("apply", "before"))
    assert await world.ends(settlement) is State.COMPLETED
    assert await world.posted() == FUNDS - AMOUNT
    return settlement


@row(21)
async def did_not_hear_of_its_commit(world: RowWorld) -> Settlement:
    await world.start()
    settlement = await world.settle(Scenario(reply_delay_ms=400))
    await until(world.received)
    world.engine.store.losses.append(("apply", "after"))
    assert await world.ends(settlement) is State.COMPLETED
    assert await world.posted() == FUNDS - AMOUNT
    return settlement


async def recalled(world: RowWorld, recall: RecallReply, end: RecallState) -> Settlement:
    """Have a person recall what has completed, and wait for the end of the recall."""
    await world.start()
    settlement = await world.settle(Scenario(recall=recall))
    assert await world.ends(settlement) is State.COMPLETED
    await world.engine.recaller.request(settlement.id, "ada", "paid twice")

    async def has_ended() -> bool:
        found = await world.engine.recalls.recall(settlement.id)
        return found is not None and found.state is end

    await until(has_ended, f"the recall was not {end}")
    return settlement


@row(22)
async def was_an_error_and_came_back(world: RowWorld) -> Settlement:
    """The acceptance is a promise; only the return moves money."""
    settlement = await recalled(world, RecallReply.ACCEPT, RecallState.RETURNED)
    assert await world.state(settlement) is State.RETURNED
    (line,) = await world.received()
    assert line.state == "returned"
    assert await world.posted() == FUNDS
    return settlement


@row(22)
async def was_an_error_and_was_kept(world: RowWorld) -> Settlement:
    settlement = await recalled(world, RecallReply.REFUSE, RecallState.REFUSED)
    assert await world.state(settlement) is State.COMPLETED
    assert await world.posted() == FUNDS - AMOUNT
    return settlement


@row(23)
async def came_back(world: RowWorld) -> Settlement:
    await world.start()
    settlement = await world.settle("late_return")
    await world.comes_to(settlement, State.RETURNED)
    (line,) = await world.received()
    assert (line.times_debited, line.state) == (1, "returned")
    assert await world.posted() == FUNDS
    return settlement


@row(23)
async def came_back_in_parts(world: RowWorld) -> Settlement:
    await world.start()
    parts = (MoneyBack(after_ms=300, percent=40), MoneyBack(after_ms=600, percent=60))
    settlement = await world.settle(Scenario(returns=parts))
    await world.comes_to(settlement, State.RETURNED)
    assert await world.posted() == FUNDS
    return settlement


@row(23)
async def came_back_before_it_was_told_as_settled(world: RowWorld) -> Settlement:
    """The return is the first that we hear of the end: it settles, and comes back, each once."""
    world.engine_changes = {"enquiry": SELDOM}
    await world.start()
    steps = (ACSP, ScenarioStep(status="ACSC", after_ms=300, told_after_ms=2_000))
    settlement = await world.settle(Scenario(steps=steps, returns=(MoneyBack(after_ms=600),)))
    await world.comes_to(settlement, State.RETURNED)
    history = await world.engine.history(settlement)
    assert history[-3:] == ["sent", "completed", "returned"]
    assert await world.posted() == FUNDS
    await until(world.has_heard_all, "the bank has nothing more to say")
    assert await world.state(settlement) is State.RETURNED
    assert await world.posted() == FUNDS
    return settlement


@row(23)
async def came_back_in_part_while_it_was_in_doubt(world: RowWorld) -> Settlement:
    world.engine_changes = {"enquiry": SELDOM}
    await world.start()
    steps = (ScenarioStep(status="ACSC", told_after_ms=LONG_MS),)
    back = MoneyBack(after_ms=600, percent=40)
    settlement = await world.settle(Scenario(steps=steps, reply=Reply.LOST, returns=(back,)))
    await world.passes(settlement, State.IN_DOUBT)
    assert await world.ends(settlement) is State.COMPLETED
    await until(lambda: booked_back(world, AMOUNT * 40 // 100), "a part to be booked back")
    return settlement


async def booked_back(world: RowWorld, minor: int) -> bool:
    return await world.posted() == FUNDS - AMOUNT + minor


@row(24)
async def was_settled_and_then_rejected(world: RowWorld) -> Settlement:
    await world.start()
    settlement = await world.settle("settle_then_reject")
    assert await world.ends(settlement) is State.COMPLETED
    await case_opens(world, "contradiction")
    assert await world.posted() == FUNDS - AMOUNT
    return settlement


@row(25)
async def was_rejected_and_then_settled(world: RowWorld) -> Settlement:
    await world.start()
    settlement = await world.settle("reject_then_settle")
    assert await world.ends(settlement) is State.ROLLED_BACK
    await case_opens(world, "late_debit")
    return settlement


# --- validity -----------------------------------------------------------------------------------------


@row(34)
async def ran_out_before_anything_left(world: RowWorld) -> Settlement:
    world.profile_changes |= {"validity_seconds": 1}
    await world.start()
    await world.bank._server.stop()
    settlement = await world.settle("settle")
    assert await world.ends(settlement) is State.ROLLED_BACK
    assert await world.received() == []
    return settlement


@row(35)
async def ran_out_while_it_was_in_doubt(world: RowWorld) -> Settlement:
    world.profile_changes |= {"validity_seconds": 1}
    await world.start()
    settlement = await world.settle("silent_for_a_day")
    await world.runs_out(settlement)
    await world.stays(settlement, State.IN_DOUBT)
    return settlement


# --- the matrix ---------------------------------------------------------------------------------------


class Cell(NamedTuple):
    """A row, tried with one rail, with or without an agreement."""

    row: Row
    rail: str
    is_agreed: bool

    @property
    def name(self) -> str:
        """The row, the rail and its class."""
        return f"{self.row.name}-{self.rail}-{'b' if self.is_agreed else 'd'}"


def whole_matrix() -> Iterator[Cell]:
    for each in ROWS:
        for rail in RAIL_NAMES:
            for is_agreed in (True, False):
                yield Cell(each, rail, is_agreed)


def short_matrix() -> Iterator[Cell]:
    """Each row once, with the rails in turn; with both classes where they end differently."""
    for each, rail in zip(ROWS, cycle(RAIL_NAMES), strict=False):
        yield Cell(each, rail, is_agreed=True)
        if each.differs_by_class:
            yield Cell(each, rail, is_agreed=False)


CELLS = list(whole_matrix() if IS_WHOLE else short_matrix())


def test_every_row_of_the_table_is_tried_or_said_to_be_missing() -> None:
    tried = {each.number for each in ROWS}
    missing = LATER | ELSEWHERE.keys()
    assert tried | missing == set(range(1, 36))
    assert not tried & missing


def test_every_rail_is_tried() -> None:
    assert {each.rail for each in CELLS} == set(RAIL_NAMES)


@pytest.fixture
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[RowWorld]:
    cell: Cell = request.param
    async with row_world(tmp_path, cell.rail, is_agreed=cell.is_agreed) as made:
        yield made


@pytest.mark.parametrize(
    ("world", "cell"),
    [(each, each) for each in CELLS],
    ids=[each.name for each in CELLS],
    indirect=["world"],
)
async def test_a_row_ends_as_the_table_says(world: RowWorld, cell: Cell) -> None:
    settlement = await cell.row.run(world)
    await world.judge(settlement)
