"""The decision table of a payment at a rail, over folders: a NACHA file, its operator, and the operator's ledger.

The rows are those of ``test_rail_rows.py`` that mean something where payments wait in an open file and nobody can be
asked. In each of them: never two debits, no release without evidence, and the row's end.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import msgspec
import pytest

from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.domain.preconditions import RefusalCode
from settlement_engine.domain.settlement import Priority
from settlement_engine.errors import WrongState
from settlement_engine.messages.nacha.reading import read_file
from settlement_engine.simulator.scenarios import (
    MoneyBack,
    Reply,
    Rule,
    Scenario,
    ScenarioScript,
    ScenarioStep,
)
from settlement_lab.memory.records import NOBODY
from tests.support.achrows import ALL_DAY_SECONDS, BOTH_IN_ONE_FILE_SECONDS, ach_row_world
from tests.support.railrows import AMOUNT, FUNDS
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from settlement_engine.domain.settlement import Settlement
    from tests.support.achrows import AchRowWorld

    AchRowTest: TypeAlias = Callable[[AchRowWorld], Awaitable[tuple[Settlement, ...]]]

ACSP, ACSC = ScenarioStep(status="ACSP"), ScenarioStep(status="ACSC")
NOT_OF_FILES = {
    2: "windows",
    8: "no responses",
    15: "no recalls",
    17: "no recalls",
    19: "no resends",
    20: "cut-offs",
    21: "the engine's own",
    26: "cover",
    27: "linked",
    28: "linked",
    31: "incoming",
    32: "incoming",
    33: "incoming",
    34: "the open file is row 5",
}


class AchRow(NamedTuple):
    """One way into a row of the table, over folders."""

    number: int
    run: AchRowTest

    @property
    def name(self) -> str:
        """The row's number, and its way into it."""
        return f"{self.number:02d}-{self.run.__name__}"


ACH_ROWS: list[AchRow] = []


def row(number: int) -> Callable[[AchRowTest], AchRowTest]:
    """Enter a way into a row of the table; it returns the settlements for the judge."""

    def enter(run: AchRowTest) -> AchRowTest:
        ACH_ROWS.append(AchRow(number, run))
        return run

    return enter


# --- before a file has left ---------------------------------------------------------------------------


@row(1)
async def refused_by_screening(world: AchRowWorld) -> tuple[Settlement, ...]:
    await world.comes()
    await world.start()
    world.engine.screening.answers.append(Event.REFUSED)
    settlement = await world.settle("settle")
    assert await world.ends(settlement) is State.FAILED
    assert await world.received() == []
    return (settlement,)


@row(3)
async def cancelled_in_the_open_file(world: AchRowWorld) -> tuple[Settlement, ...]:
    world.close_after_seconds = ALL_DAY_SECONDS
    await world.comes()
    await world.start()
    settlement = await world.settle("settle")
    await until(lambda: world.files.open.open_count == 1)
    await world.engine.engine.cancel(settlement.id)
    assert await world.ends(settlement) is State.ROLLED_BACK
    assert await world.received() == []
    return (settlement,)


@row(3)
async def cancelled_through_another_engine(world: AchRowWorld) -> tuple[Settlement, ...]:
    """The engine that has it in its open file closes that without it, and with the others."""
    world.close_after_seconds = BOTH_IN_ONE_FILE_SECONDS
    await world.comes()
    await world.start()
    other = await world.start_beside()
    settlements = [await world.settle("settle", key) for key in ("one", "two")]
    await until(lambda: world.files.open.open_count == 2)
    ended = await other.engine.cancel(settlements[0].id)
    assert ended.state is State.ROLLED_BACK
    assert ended.refusal_code == RefusalCode.CANCELLED_BY_CALLER
    assert await world.ends(settlements[1]) is State.COMPLETED
    [line] = await world.received()
    assert line.trace == (await world.attempt(settlements[1])).trace
    return tuple(settlements)


@row(3)
async def cancelled_while_it_is_parked(world: AchRowWorld) -> tuple[Settlement, ...]:
    """Its call was held back, so no engine has it in an open file just now."""
    world.rules |= {"acknowledged_seconds": 1}
    await world.comes()
    world.uses_up_the_day()
    await world.start()
    settlement = await world.settle("settle")
    await until(lambda: world.engine.records.open[settlement.id].engine_id == NOBODY)
    ended = await world.engine.engine.cancel(settlement.id)
    assert ended.state is State.ROLLED_BACK
    assert await world.received() == []
    return (settlement,)


@row(4)
async def crashed_with_the_file_still_open(world: AchRowWorld) -> tuple[Settlement, ...]:
    world.close_after_seconds = ALL_DAY_SECONDS
    await world.comes()
    await world.start()
    settlement = await world.settle("settle")
    await until(lambda: world.files.open.open_count == 1)
    world.close_after_seconds = 0.05
    await world.restart()
    assert await world.ends(settlement) is State.COMPLETED
    (line,) = await world.received()
    assert (line.times_received, line.times_debited) == (1, 1)
    return (settlement,)


@row(5)
async def never_in_a_file_until_it_is_too_late(world: AchRowWorld) -> tuple[Settlement, ...]:
    """All file id modifiers of the day are used."""
    world.rules |= {"acknowledged_seconds": 1, "validity_seconds": 4}
    await world.comes()
    world.uses_up_the_day()
    await world.start()
    settlement = await world.settle("settle")
    assert await world.ends(settlement) is State.ROLLED_BACK
    assert (await world.engine.store.history(settlement.id))[-1].event is Event.ABANDONED
    assert await world.received() == []
    return (settlement,)


@row(6)
async def crashed_between_the_commit_of_the_file_and_its_placing(
    world: AchRowWorld,
) -> tuple[Settlement, ...]:
    await world.comes()
    await world.start()
    never = asyncio.Event()
    world.files.courier.place = never.wait  # type: ignore[method-assign, assignment]
    settlement = await world.settle("settle")
    await until(lambda: world.engine.records.rail_files)
    assert not list((world.folder / "outbox").glob("*.ach"))
    await world.restart()
    assert await world.ends(settlement) is State.COMPLETED
    (line,) = await world.received()
    assert line.times_received == 1
    return (settlement,)


# --- a file that has left -----------------------------------------------------------------------------


@row(7)
async def acknowledgement_lost(world: AchRowWorld) -> tuple[Settlement, ...]:
    """Nobody can be asked: the payment is in doubt until the operator's advice comes."""
    await world.comes()
    await world.start()
    settlement = await world.settle(Scenario(reply=Reply.LOST, steps=(later("ACSC", 4_000),)))
    await world.comes_to(settlement, State.IN_DOUBT)
    assert await world.held() == AMOUNT
    assert await world.ends(settlement) is State.COMPLETED
    return (settlement,)


@row(9)
async def the_same_file_again(world: AchRowWorld) -> tuple[Settlement, ...]:
    """The connector gives it twice: the operator acknowledges again, and debits once."""
    await world.comes(is_working=False)
    await world.start()
    settlement = await world.settle("settle")
    [file] = await world.placed()
    content = file.read_bytes()
    await world.operator.folders.take()
    file.write_bytes(content)
    await world.operator.folders.take()
    await world.comes_to(settlement, State.SENT)
    await world.has_heard_all()
    await due(world)
    assert await world.ends(settlement) is State.COMPLETED
    (line,) = await world.received()
    assert (line.times_received, line.times_debited) == (2, 1)
    return (settlement,)


@row(10)
async def the_file_is_refused(world: AchRowWorld) -> tuple[Settlement, ...]:
    await world.comes(is_working=False)
    world.close_after_seconds = BOTH_IN_ONE_FILE_SECONDS
    await world.start()
    settlements = [await world.settle("settle", key) for key in ("one", "two")]
    [file] = await world.placed()
    world.refuses(file, "the totals do not add up")
    for settlement in settlements:
        assert await world.ends(settlement) is State.ROLLED_BACK
    assert await world.received() == []
    return tuple(settlements)


@row(11)
async def acknowledged_late(world: AchRowWorld) -> tuple[Settlement, ...]:
    world.rules |= {"acknowledged_seconds": 1}
    await world.comes(is_working=False)
    await world.start()
    settlement = await world.settle("settle")
    await world.placed()
    await world.comes_to(settlement, State.IN_DOUBT)
    assert await world.held() == AMOUNT
    await world.operator.folders.take()
    await world.comes_to(settlement, State.SENT)
    await due(world)
    assert await world.ends(settlement) is State.COMPLETED
    return (settlement,)


@row(12)
async def partly_refused(world: AchRowWorld) -> tuple[Settlement, ...]:
    """Two entries of one file: one is refused, the other settles."""
    world.close_after_seconds = BOTH_IN_ONE_FILE_SECONDS
    await world.comes(is_working=False)
    await world.start()
    refused = await world.settle("settle", "one")
    other = await world.settle("settle", "two")
    [file] = await world.placed()
    assert file.read_text("ascii").count("\n6") == 2
    trace = (await world.attempt(refused)).trace
    script = world.operator.service._bank.script
    rule = Rule(reference=trace, scenario="reject")
    world.operator.service._bank.script = with_rule(script, rule)
    await world.operator.folders.take()
    assert await world.ends(refused) is State.ROLLED_BACK
    await due(world)
    assert await world.ends(other) is State.COMPLETED
    return (refused, other)


@row(12)
async def rejected_after_the_acknowledgement(world: AchRowWorld) -> tuple[Settlement, ...]:
    await world.comes()
    await world.start()
    settlement = await world.settle(Scenario(steps=(ACSP, later("RJCT", 200, code="AC04"))))
    assert await world.ends(settlement) is State.ROLLED_BACK
    return (settlement,)


@row(13)
async def acknowledged_and_nothing_more(world: AchRowWorld) -> tuple[Settlement, ...]:
    await world.comes()
    await world.start()
    settlement = await world.settle(Scenario(steps=(ACSP,)))
    await world.comes_to(settlement, State.SENT)
    await world.has_heard_all()
    assert await world.state(settlement) is State.SENT
    return (settlement,)


@row(14)
async def cancelled_after_the_file_has_left(world: AchRowWorld) -> tuple[Settlement, ...]:
    """The rail takes no recalls: the caller is told so, and nothing is released."""
    await world.comes()
    await world.start()
    settlement = await world.settle(Scenario(steps=(ACSP, later("ACSC", 1_500))))
    await world.comes_to(settlement, State.SENT)
    with pytest.raises(WrongState) as refused:
        await world.engine.engine.cancel(settlement.id)
    assert "does not support recalls" in refused.value.why
    assert await world.held() == AMOUNT
    assert await world.ends(settlement) is State.COMPLETED
    return (settlement,)


@row(16)
async def cancelled_in_a_closed_file_without_an_acknowledgement(
    world: AchRowWorld,
) -> tuple[Settlement, ...]:
    await world.comes(is_working=False)
    await world.start()
    settlement = await world.settle("settle")
    await world.placed()
    with pytest.raises(WrongState):
        await world.engine.engine.cancel(settlement.id)
    assert await world.held() == AMOUNT
    await world.operator.folders.take()
    await world.comes_to(settlement, State.SENT)
    return (settlement,)


@row(16)
async def cancelled_in_a_closed_file_through_another_engine(
    world: AchRowWorld,
) -> tuple[Settlement, ...]:
    await world.comes(is_working=False)
    await world.start()
    other = await world.start_beside()
    settlement = await world.settle("settle")
    await world.placed()
    with pytest.raises(WrongState):
        await other.engine.cancel(settlement.id)
    assert await world.held() == AMOUNT
    await world.operator.folders.take()
    await world.comes_to(settlement, State.SENT)
    return (settlement,)


@row(18)
async def settled_after_doubt(world: AchRowWorld) -> tuple[Settlement, ...]:
    """The acknowledgement never comes, the advice does."""
    world.rules |= {"acknowledged_seconds": 1}
    await world.comes(is_working=False)
    await world.start()
    settlement = await world.settle(Scenario(reply=Reply.LOST))
    await world.placed()
    await world.operator.folders.take()
    await world.comes_to(settlement, State.IN_DOUBT)
    await due(world)
    assert await world.ends(settlement) is State.COMPLETED
    return (settlement,)


@row(29)
async def never_picked_up_until_later(world: AchRowWorld) -> tuple[Settlement, ...]:
    """The file stays in the outbox, the same one, and no other is made."""
    world.rules |= {"acknowledged_seconds": 1}
    await world.start()
    settlement = await world.settle("settle")
    [file] = await world.placed()
    content = file.read_bytes()
    await world.comes_to(settlement, State.IN_DOUBT)
    await world.restart()
    assert [each.read_bytes() for each in await world.placed()] == [content]
    assert await world.held() == AMOUNT
    await world.comes()
    assert await world.ends(settlement) is State.COMPLETED
    (line,) = await world.received()
    assert (line.times_received, line.times_debited) == (1, 1)
    return (settlement,)


@row(29)
async def lost_after_it_was_picked_up(world: AchRowWorld) -> tuple[Settlement, ...]:
    """Nothing is released and nothing is made anew: a person gives the same file again."""
    world.rules |= {"acknowledged_seconds": 1}
    await world.comes(is_working=False)
    await world.start()
    settlement = await world.settle(Scenario(lost_requests=1))
    [file] = await world.placed()
    content = file.read_bytes()
    await world.operator.folders.take()
    assert not file.exists()
    await world.comes_to(settlement, State.IN_DOUBT)
    await world.restart()
    assert await world.held() == AMOUNT
    assert not list((world.folder / "outbox").glob("*.ach"))
    file.write_bytes(content)
    await world.operator.folders.take()
    await world.comes_to(settlement, State.SENT)
    await due(world)
    assert await world.ends(settlement) is State.COMPLETED
    return (settlement,)


@row(35)
async def too_late_to_be_sent_and_in_a_file(world: AchRowWorld) -> tuple[Settlement, ...]:
    """No time limit of ours releases what may have left."""
    world.rules |= {"acknowledged_seconds": 1, "validity_seconds": 3}
    await world.start()
    settlement = await world.settle("settle")
    await world.placed()
    attempt = await world.attempt(settlement)
    await until(lambda: world.engine.records.clock.now() > attempt.valid_until)
    await world.comes_to(settlement, State.IN_DOUBT)
    assert await world.held() == AMOUNT
    await world.comes(is_working=False)
    return (settlement,)


# --- after settlement ---------------------------------------------------------------------------------


@row(22)
async def a_recall_is_not_offered(world: AchRowWorld) -> tuple[Settlement, ...]:
    await world.comes()
    await world.start()
    settlement = await world.settle("settle")
    assert await world.ends(settlement) is State.COMPLETED
    with pytest.raises(WrongState) as refused:
        await world.engine.recaller.request(settlement.id, "ada", "paid twice")
    assert "does not support recalls" in refused.value.why
    return (settlement,)


@row(23)
async def returned_before_its_settlement_was_advised(
    world: AchRowWorld,
) -> tuple[Settlement, ...]:
    """The return's file is read first; the advice that comes later changes nothing any more."""
    await world.comes(is_working=False)
    await world.start()
    settlement = await world.settle(Scenario(returns=(MoneyBack(after_ms=0),)))
    await world.placed()
    await world.operator.folders.take()
    await world.comes_to(settlement, State.SENT)
    for report in reversed(await reports(world, 2)):
        world.tells(*report)
        await world.has_heard_all()
    assert await world.ends(settlement) is State.RETURNED
    assert await world.posted() == FUNDS
    return (settlement,)


@row(24)
async def rejected_after_settlement(world: AchRowWorld) -> tuple[Settlement, ...]:
    await world.comes()
    await world.start()
    lie = ScenarioStep(status="RJCT", code="AC04", after_ms=300, is_true=False)
    settlement = await world.settle(Scenario(steps=(ACSC, lie)))
    assert await world.ends(settlement) is State.COMPLETED
    await until(world.cases)
    assert world.cases() == ["contradiction"]
    assert await world.posted() == FUNDS - AMOUNT
    return (settlement,)


@row(25)
async def settled_after_a_rejection(world: AchRowWorld) -> tuple[Settlement, ...]:
    await world.comes()
    await world.start()
    lie = ScenarioStep(status="RJCT", code="AC04", after_ms=100, is_true=False)
    settlement = await world.settle(Scenario(steps=(ACSP, lie, later("ACSC", 800))))
    assert await world.ends(settlement) is State.ROLLED_BACK
    await until(world.cases)
    assert world.cases() == ["late_debit"]
    return (settlement,)


@row(30)
async def returned_after_settlement(world: AchRowWorld) -> tuple[Settlement, ...]:
    await world.comes()
    await world.start()
    settlement = await world.settle(Scenario(returns=(MoneyBack(after_ms=500, code="R03"),)))
    await world.comes_to(settlement, State.RETURNED)
    moves = await world.engine.store.history(settlement.id)
    assert [moves[-2].to_state, moves[-1].to_state] == [State.COMPLETED, State.RETURNED]
    assert moves[-1].detail["code"] == "R03"
    assert await world.posted() == FUNDS
    return (settlement,)


# --- reports that are odd -----------------------------------------------------------------------------


async def test_another_amount_than_was_sent_posts_nothing(tmp_path: Path) -> None:
    async with ach_row_world(tmp_path) as world:
        await world.comes()
        await world.start()
        settlement = await world.settle(Scenario(steps=(ACSP,)))
        await world.comes_to(settlement, State.SENT)
        trace = (await world.attempt(settlement)).trace
        world.advises("other-amount.json", trace, "settled", AMOUNT - 1)
        await until(world.cases)
        assert world.cases() == ["amount_differs"]
        assert (await world.state(settlement), await world.posted()) == (State.SENT, FUNDS)
        await world.judge(settlement)


async def test_a_report_on_an_unknown_trace_is_a_case_and_touches_no_payment(
    tmp_path: Path,
) -> None:
    async with ach_row_world(tmp_path) as world:
        await world.comes()
        await world.start()
        settlement = await world.settle(Scenario(steps=(ACSP,)))
        await world.comes_to(settlement, State.SENT)
        for name, status in (("unknown-1.json", "accepted"), ("unknown-2.json", "settled")):
            world.advises(name, "091000019999999", status)
        await world.has_heard_all()
        assert world.cases() == ["unknown_payment"]
        assert await world.state(settlement) is State.SENT
        await world.judge(settlement)


async def test_a_repeated_acknowledgement_and_a_repeated_advice_change_nothing(
    tmp_path: Path,
) -> None:
    async with ach_row_world(tmp_path) as world:
        await world.comes()
        await world.start()
        settlement = await world.settle("settle")
        assert await world.ends(settlement) is State.COMPLETED
        moves = len(await world.engine.store.history(settlement.id))
        trace = (await world.attempt(settlement)).trace
        for name, status in (("a.json", "accepted"), ("b.json", "settled"), ("c.json", "settled")):
            world.advises(name, trace, status)
        await world.has_heard_all()
        assert len(await world.engine.store.history(settlement.id)) == moves
        assert world.cases() == []
        await world.judge(settlement)


async def test_an_urgent_payment_is_settled_the_same_day_by_a_file_of_its_own(
    tmp_path: Path,
) -> None:
    async with ach_row_world(tmp_path) as world:
        await world.comes()
        await world.start()
        urgent = await world.settle("settle", "one", priority=Priority.URGENT)
        ordinary = await world.settle("settle", "two")
        for settlement in (urgent, ordinary):
            assert await world.ends(settlement) is State.COMPLETED
        files = [read_file(file.content) for file, _ in world.engine.records.rail_files]
        batches = [batch for file in files for batch in file.batches]
        dates = {batch.entries[0].trace_number: batch.effective_date for batch in batches}
        traces = [(await world.attempt(each)).trace for each in (urgent, ordinary)]
        same_day, next_day = (dates[trace] for trace in traces)
        assert same_day is not None
        # A payment without a value date is for today in UTC: in New York that is tomorrow, in the evening.
        days = [each for file in files if (each := file.header.created_on) is not None]
        is_for_today = urgent.value_date <= min(days)
        assert next_day == same_day + timedelta(days=is_for_today)
        await world.judge(urgent, ordinary)


# --- the table ----------------------------------------------------------------------------------------


def later(status: str, after_ms: int = 300, code: str = "") -> ScenarioStep:
    return ScenarioStep(status=status, after_ms=after_ms, code=code)


def with_rule(script: ScenarioScript, rule: Rule) -> ScenarioScript:
    """Let one entry be treated differently."""
    return msgspec.structs.replace(script, rules=(rule,))


async def due(world: AchRowWorld) -> None:
    """Let the operator carry out what is due, and report it."""
    await reports_until(world, 1, is_told=True)


async def reports(world: AchRowWorld, count: int) -> list[tuple[str, bytes]]:
    """Let the operator carry out what is due, and return its reports without writing them."""
    return await reports_until(world, count, is_told=False)


async def reports_until(
    world: AchRowWorld, count: int, *, is_told: bool
) -> list[tuple[str, bytes]]:
    found: list[tuple[str, bytes]] = []

    async def are_there() -> bool:
        for each in await world.operator.service.work():
            ending = "json" if each["content"].startswith(b"{") else "ach"
            found.append((f"report-{each['id']}.{ending}", each["content"]))
            await world.operator.service.delivered(each["id"])
        return len(found) >= count

    await until(are_there, "the operator reported nothing")
    if is_told:
        for report in found:
            world.tells(*report)
    return found


def test_every_row_of_the_table_is_tried_over_folders_or_has_no_meaning_there() -> None:
    tried = {each.number for each in ACH_ROWS}
    assert tried | NOT_OF_FILES.keys() == set(range(1, 36))
    assert not tried & NOT_OF_FILES.keys()


@pytest.mark.parametrize("each", ACH_ROWS, ids=[each.name for each in ACH_ROWS])
async def test_a_row_ends_as_the_table_says_over_folders(each: AchRow, tmp_path: Path) -> None:
    async with ach_row_world(tmp_path) as world:
        settlements = await each.run(world)
        await world.judge(*settlements)
