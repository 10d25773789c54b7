"""The takeover: a claimed settlement continues with an event, with its request, or not at all."""

from __future__ import annotations

import pytest

from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.ports import Claimed
from tests.unit.engine.engine_world import House, running


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
