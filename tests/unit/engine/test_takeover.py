"""The takeover: a claimed settlement continues with an event, with its request, or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from settlement_engine.domain.backoff import Backoff
from settlement_engine.domain.exceptions import CaseKind
from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.errors import CorruptRecord
from settlement_engine.evidence.explanation import as_text, explain
from settlement_engine.ports import Answer, Claimed, Unreadable
from settlement_lab.memory import MemoryArchive, MemoryCases
from tests.unit.engine.engine_world import House, running

if TYPE_CHECKING:
    from collections.abc import Sequence

    from settlement_engine.domain.settlement import Settlement


async def test_a_claim_of_a_settlement_that_has_ended_is_dropped() -> None:
    """The claim was read after a transition had ended the settlement: nothing is open then."""
    async with running() as house:
        ended = await house.settle()
        house.engine._takeover.resume([Claimed(settlement=ended, was_asked=True)])
        await house.until(lambda: house.engine._mailbox.is_idle)
        assert house.engine._mailbox.carried_count == 0


@pytest.mark.parametrize(
    ("sends", "state", "asked"),
    [
        (
            [None],
            State.LOCKED,
            ["send", "enquire"],
        ),  # the send got no answer, so that an enquiry follows
        ([Event.ACKNOWLEDGED], State.SENT, ["send", "enquire", "enquire"]),
    ],
)
async def test_settlements_of_a_dead_engine_are_enquired_about_and_never_sent_again(
    sends: list[Event | None], state: State, asked: list[str]
) -> None:
    async with running(look_interval_seconds=1_000.0) as house:
        house.rail.sends.extend(sends)
        house.rail.enquiries.append(None)
        house.rail.answer_delay_seconds = 1_000.0 if state is State.LOCKED else 0.0
        found = await house.settle(wait_seconds=0.0)
        await house.until(lambda: house.records.histories[found.id].state is state)
        await house.until(lambda: house.rail.asked)
        await house.crash()
        house.rail.answer_delay_seconds = 0.0
        house.rail.enquiries.clear()
        other = House(house.records, rail=house.rail)
        await other.start()
        ended = await other.engine.wait(found.id, 60.0)
        await other.crash()
        assert ended.state is State.COMPLETED
        words = [word for word, _, _ in house.rail.asked]
        assert words.count("send") == asked.count("send")
        assert "enquire" in words


async def test_no_more_settlements_are_claimed_than_the_bound_allows() -> None:
    async with running(open_max=1) as house:
        house.rail.answer_delay_seconds = 1_000.0
        await house.settle(wait_seconds=0.0)
        await house.until(lambda: house.engine._mailbox.carried_count == 1)
        assert await house.engine._takeover.claim(is_sweep=True) == 0


async def test_a_record_that_cannot_be_read_is_put_before_people_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running() as house:
        damaged, sound = UUID(int=998), await house.settle(wait_seconds=0.0)
        reported: list[UUID] = []
        monkeypatch.setattr(
            house.engine._unbookable, "report", lambda each: reported.append(each.settlement_id)
        )
        house.engine._takeover.resume(
            [
                Unreadable(settlement_id=damaged, why="priority: 9 is not one"),
                Claimed(settlement=house.records.copy(sound.id), was_asked=True),
            ]
        )
        assert reported == [damaged]
        assert (await house.engine.wait(sound.id, 5)).state is State.COMPLETED


async def test_a_record_that_was_repaired_is_carried_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """It stays this engine's, whose looks after its own read it again and again."""
    async with running(sweep_interval_seconds=1_000.0) as house:
        cases = MemoryCases(house.records)
        house.engine._unbookable._cases = cases
        house.rail.answer_delay_seconds = 1_000.0
        left = await house.settle(wait_seconds=0.0)
        await house.until(lambda: house.rail.asked)
        reclaim, is_damaged = house.store.reclaim, True

        async def damaged(engine_id: int, keys: Sequence[UUID]) -> Sequence[Claimed | Unreadable]:
            claimed = await reclaim(engine_id, keys)
            unread = [Unreadable(settlement_id=each.settlement.id, why="\x00") for each in claimed]
            return unread if is_damaged else claimed

        monkeypatch.setattr(house.store, "reclaim", damaged)
        house.engine._mailbox.drop_all()
        await house.until(lambda: house.records.cases)
        [case] = house.records.cases.values()
        assert (case.kind, case.settlement_id) == (CaseKind.CANNOT_BE_BOOKED, left.id)
        assert left.id not in house.engine._mailbox._carried
        dossier = await MemoryArchive(house.records).dossier(left.id)
        assert dossier is not None
        assert "nothing can be booked until this is repaired" in as_text(explain(dossier))
        is_damaged = False
        house.rail.answer_delay_seconds = 0.0
        assert (await house.engine.wait(left.id, 5)).state is State.COMPLETED


async def test_a_record_that_cannot_be_read_costs_no_other_settlement_its_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    later = Backoff(first_seconds=60, max_seconds=60)
    async with running(enquiry=later) as house:
        load = house.store.load
        damaged = UUID(int=998)

        async def refusing(keys: Sequence[UUID]) -> dict[UUID, Settlement]:
            if damaged in keys:
                raise CorruptRecord("the record cannot be read")
            return await load(keys)

        monkeypatch.setattr(house.store, "load", refusing)
        house.rail.sends.append(Event.ACKNOWLEDGED)
        sound = await house.settle(wait_seconds=0.0)
        await house.until(lambda: house.records.open[sound.id].engine_id == 0)
        house.rail.say(
            [
                Answer(settlement_id=key, event=Event.SETTLED, attempt=1)
                for key in (damaged, sound.id)
            ]
        )
        assert (await house.engine.wait(sound.id, 5)).state is State.COMPLETED
