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
from tests.unit.engine.engine_world import EngineWorld, running

if TYPE_CHECKING:
    from collections.abc import Sequence

    from settlement_engine.domain.settlement import Settlement


async def test_a_claim_of_a_settlement_that_has_ended_is_dropped() -> None:
    """The claim was read after a transition had ended the settlement: nothing is open then."""
    async with running() as world:
        ended = await world.settle()
        world.engine._takeover.resume([Claimed(settlement=ended, was_asked=True)])
        await world.until(lambda: world.engine._mailbox.is_idle)
        assert world.engine._mailbox.carried_count == 0


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
    async with running(look_interval_seconds=1_000.0) as world:
        world.rail.sends.extend(sends)
        world.rail.enquiries.append(None)
        world.rail.answer_delay_seconds = 1_000.0 if state is State.LOCKED else 0.0
        found = await world.settle(wait_seconds=0.0)
        await world.until(lambda: world.records.histories[found.id].state is state)
        await world.until(lambda: world.rail.asked)
        await world.crash()
        world.rail.answer_delay_seconds = 0.0
        world.rail.enquiries.clear()
        other = EngineWorld(world.records, rail=world.rail)
        await other.start()
        ended = await other.engine.wait(found.id, 60.0)
        await other.crash()
        assert ended.state is State.COMPLETED
        words = [word for word, _, _ in world.rail.asked]
        assert words.count("send") == asked.count("send")
        assert "enquire" in words


async def test_no_more_settlements_are_claimed_than_the_bound_allows() -> None:
    async with running(open_max=1) as world:
        world.rail.answer_delay_seconds = 1_000.0
        await world.settle(wait_seconds=0.0)
        await world.until(lambda: world.engine._mailbox.carried_count == 1)
        assert await world.engine._takeover.claim(is_sweep=True) == 0


async def test_a_record_that_cannot_be_read_is_put_before_people_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running() as world:
        damaged, sound = UUID(int=998), await world.settle(wait_seconds=0.0)
        reported: list[UUID] = []
        monkeypatch.setattr(
            world.engine._unbookable, "report", lambda each: reported.append(each.settlement_id)
        )
        world.engine._takeover.resume(
            [
                Unreadable(settlement_id=damaged, why="priority: 9 is not one"),
                Claimed(settlement=world.records.copy(sound.id), was_asked=True),
            ]
        )
        assert reported == [damaged]
        assert (await world.engine.wait(sound.id, 5)).state is State.COMPLETED


async def test_a_record_that_was_repaired_is_carried_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """It stays this engine's, whose looks after its own read it again and again."""
    async with running(sweep_interval_seconds=1_000.0) as world:
        cases = MemoryCases(world.records)
        world.engine._unbookable._cases = cases
        world.rail.answer_delay_seconds = 1_000.0
        left = await world.settle(wait_seconds=0.0)
        await world.until(lambda: world.rail.asked)
        reclaim, is_damaged = world.store.reclaim, True

        async def damaged(engine_id: int, keys: Sequence[UUID]) -> Sequence[Claimed | Unreadable]:
            claimed = await reclaim(engine_id, keys)
            unread = [Unreadable(settlement_id=each.settlement.id, why="\x00") for each in claimed]
            return unread if is_damaged else claimed

        monkeypatch.setattr(world.store, "reclaim", damaged)
        world.engine._mailbox.drop_all()
        await world.until(lambda: world.records.cases)
        [case] = world.records.cases.values()
        assert (case.kind, case.settlement_id) == (CaseKind.CANNOT_BE_BOOKED, left.id)
        assert left.id not in world.engine._mailbox._carried
        dossier = await MemoryArchive(world.records).dossier(left.id)
        assert dossier is not None
        assert "nothing can be booked until this is repaired" in as_text(explain(dossier))
        is_damaged = False
        world.rail.answer_delay_seconds = 0.0
        assert (await world.engine.wait(left.id, 5)).state is State.COMPLETED


async def test_a_record_that_cannot_be_read_costs_no_other_settlement_its_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    later = Backoff(first_seconds=60, max_seconds=60)
    async with running(enquiry=later) as world:
        load = world.store.load
        damaged = UUID(int=998)

        async def refusing(keys: Sequence[UUID]) -> dict[UUID, Settlement]:
            if damaged in keys:
                raise CorruptRecord("the record cannot be read")
            return await load(keys)

        monkeypatch.setattr(world.store, "load", refusing)
        world.rail.sends.append(Event.ACKNOWLEDGED)
        sound = await world.settle(wait_seconds=0.0)
        await world.until(lambda: world.records.open[sound.id].engine_id == 0)
        world.rail.say(
            [
                Answer(settlement_id=key, event=Event.SETTLED, attempt=1)
                for key in (damaged, sound.id)
            ]
        )
        assert (await world.engine.wait(sound.id, 5)).state is State.COMPLETED
