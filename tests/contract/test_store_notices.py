"""The outbox of notices on both stores: each fact once, in gapless order, with what it says."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from msgspec import structs

from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.domain.notices import (
    BreakEscalated,
    DayProved,
    DiscrepancyReported,
    RecallStepped,
    notice_fields,
    notice_id,
    notice_type,
)
from settlement_engine.domain.recalls import RecallState
from settlement_engine.domain.reconciliation import AccountToReconcile
from settlement_engine.ports import BreakEscalationStep, RecallCommand
from tests.contract.test_store_reconciliation import FUNDED, Books
from tests.support.bank_statements import Booked, debit, take

if TYPE_CHECKING:
    from settlement_engine.domain.notices import OutboxNotice
    from settlement_engine.ports import RecallStore
    from tests.support.stores import Stores

pytestmark = pytest.mark.asyncio(loop_scope="module")

ALL = 1_000
BANKS_OWN = Booked(minor=-66, text="nobody ordered it")


class Outbox:
    """The notices that follow what a test begins with."""

    def __init__(self, stores: Stores, before: int) -> None:
        self.outbox = stores.stream.notices
        self.before = before

    @classmethod
    async def open(cls, stores: Stores) -> Outbox:
        return cls(stores, await stores.stream.notices.head())

    async def read(self) -> list[OutboxNotice]:
        found = await self.outbox.read(self.before, ALL)
        positions = [each.position for each in found]
        assert positions == list(range(self.before + 1, await self.outbox.head() + 1))
        assert len({notice_id(each) for each in found}) == len(found)
        assert [each.at for each in found] == sorted(each.at for each in found)
        return found

    async def types(self) -> list[str]:
        return [notice_type(each.fact) for each in await self.read()]


async def test_each_step_of_a_recall_is_noticed_once(scene):
    outbox = await Outbox.open(scene.stores)
    settlement = await scene.bring(State.COMPLETED)
    recalls: RecallStore = scene.stores.recalls
    recall = await recalls.request_recall(settlement.id, "ada", 'paid "twice" ü')
    assert (await recalls.request_recall(settlement.id, "ben", "again")).is_replay

    async def step(event: Event, state: RecallState, after_seq: int, **detail: str) -> bool:
        command = RecallCommand(
            settlement_id=settlement.id,
            after_seq=after_seq,
            event=event,
            state=state,
            detail=detail,
        )
        return await recalls.step_recall(command)

    assert await step(Event.OVERDUE, RecallState.OVERDUE, recall.seq)
    assert not await step(Event.RECALLED, RecallState.PROMISED, recall.seq)
    assert await step(Event.RECALL_REFUSED, RecallState.REFUSED, 2, code="LEGL", text="no")
    assert await outbox.types() == [
        *("settlement.recall.requested", "settlement.recall.overdue", "settlement.recall.refused")
    ]
    asked, _, refused = [each.fact for each in await outbox.read()]
    assert isinstance(asked, RecallStepped)
    assert asked.detail == {"requested_by": "ada", "reason": 'paid "twice" ü'}
    assert (asked.settlement_id, asked.seq) == (settlement.id, 1)
    said = notice_fields(refused)
    assert (said["state"], said["detail"]) == ("REFUSED", {"code": "LEGL", "text": "no"})
    assert (said["obligation_id"], said["amount"], said["currency"]) == (
        settlement.instruction.obligation_id,
        "1.00",
        "EUR",
    )


async def test_a_report_with_discrepancies_is_noticed_and_one_without_is_not(stores):
    books = await Books.open(stores)
    paid = await books.settled(100)
    outbox = await Outbox.open(stores)
    await take(stores, await books.day(FUNDED, debit(paid[0]), BANKS_OWN))
    day = (await books.reconcile()).proof
    assert day is not None
    [proved, reported] = [each.fact for each in await outbox.read()]
    assert isinstance(proved, DayProved)
    assert isinstance(reported, DiscrepancyReported)
    said = notice_fields(reported)
    assert (said["total_accounts"], said["balanced_accounts"]) == (1, 0)
    assert (said["discrepancy_accounts"], said["open_breaks"]) == (1, 1)
    assert (said["total_discrepancy"], said["currency"]) == ("0.66", "EUR")
    assert (said["outcomes"], said["report_date"]) == (
        {"identified": 1},
        day.booking_date,
    )
    assert said["link_request"] == {"reportId": str(reported.run_id)}

    books = await Books.open(stores)
    paid = await books.settled(100)
    outbox = await Outbox.open(stores)
    await take(stores, await books.day(FUNDED, debit(paid[0])))
    await books.reconcile()
    assert await outbox.types() == ["settlement.reconciliation.reconciled"]


async def test_a_day_is_reconciled_once_and_reopened_when_its_proof_is_zero_no_more(stores):
    books = await Books.open(stores)
    paid = await books.settled(100)
    outbox = await Outbox.open(stores)
    await take(stores, await books.day(FUNDED, debit(paid[0])))
    await books.reconcile()
    day = (await books.reconcile()).proof
    assert day is not None
    [reconciled] = [each.fact for each in await outbox.read()]
    assert isinstance(reconciled, DayProved)
    said = notice_fields(reconciled)
    assert (said["account_id"], said["booking_date"]) == (str(books.id), day.booking_date)
    assert said["our_closing"] == said["their_closing"] == "9999999.00"
    assert (said["unmatched_postings"], said["unmatched_entries"]) == (0, 0)
    run_id = reconciled.run_id
    differing = structs.replace(
        day, difference_minor=5, their_closing_minor=day.their_closing_minor + 5
    )
    account = AccountToReconcile(id=books.id, bank="", currency="EUR", number="")
    for _ in range(2):
        await stores.reconciliation.keep_proofs(account, run_id, [differing], last_statement_id=0)
    assert await outbox.types() == [
        *("settlement.reconciliation.reconciled", "settlement.reconciliation.reopened")
    ]


async def test_each_step_of_an_escalation_is_noticed_once(stores):
    books = await Books.open(stores)
    await take(stores, await books.day(FUNDED, BANKS_OWN, Booked(minor=-77, text="nor this")))
    await books.reconcile()
    outbox = await Outbox.open(stores)
    due = datetime(2030, 1, 2, 17, 0, 0, 5, tzinfo=UTC)
    numbers = sorted(each.id for each in await books.breaks())
    steps = [
        BreakEscalationStep(break_id=each, was=0, level=2, owner="lead", due_at=due)
        for each in numbers
    ]
    for _ in range(2):  # the second time nothing is at the old level
        await stores.break_work.escalate(steps)
    facts = [each.fact for each in await outbox.read()]
    assert [each.break_id for each in facts if isinstance(each, BreakEscalated)] == numbers
    assert await outbox.types() == ["settlement.break.escalated"] * 2
    amounts: dict[Any, Any] = {}
    for fact in facts:
        said = notice_fields(fact)
        assert (said["level"], said["owner"], said["due_at"]) == (2, "lead", due)
        assert (said["kind"], said["account_id"]) == ("UNKNOWN_DEBIT", str(books.id))
        amounts[said["break_id"]] = said["amount"]
    assert sorted(amounts.values()) == ["-0.66", "-0.77"]


async def test_the_published_place_never_goes_back(stores):
    outbox = stores.stream.notices
    position, sequence = await outbox.published()
    await outbox.mark_published(position + 2, sequence + 9)
    await outbox.mark_published(position + 1, sequence + 4)
    assert await outbox.published() == (position + 2, sequence + 9)
    # Written again into another stream, the same notice has another place.
    await outbox.mark_published(position + 2, 3)
    assert await outbox.published() == (position + 2, 3)


async def test_notices_count_in_the_backlog(scene):
    gauges, outbox = scene.stores.gauges, scene.stores.stream.notices
    settlement = await scene.bring(State.COMPLETED)
    before = (await gauges.gauges(0)).outbox_backlog
    await scene.stores.recalls.request_recall(settlement.id, "ada", "why")
    assert (await gauges.gauges(0)).outbox_backlog == before + 1
    waiting = await outbox.head() - (await outbox.published())[0]
    await outbox.mark_published(await outbox.head(), 1)
    assert (await gauges.gauges(0)).outbox_backlog == before + 1 - waiting
