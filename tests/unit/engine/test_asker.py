"""The asker: answers that arrive after their time-out, and missing answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from settlement_engine.domain.kept_messages import KeptMessage, MessageDirection
from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.domain.preconditions import RefusalCode
from settlement_engine.ports import Answer
from tests.unit.engine.engine_world import running

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from settlement_engine.ports import Question
    from tests.unit.engine.engine_world import EngineWorld


async def test_an_answer_that_is_valid_only_for_its_request_is_ignored_after_the_time_out() -> None:
    """The bank's first *not found* is late; only the second one leads to a resend."""
    late: list[Callable[[], None]] = []
    async with running() as world:
        world.rail.sends.extend([None, None])
        world.rail.enquiries.extend([Event.NOT_FOUND, *[None] * 500])
        enquire = world.rail.enquire

        async def first_is_late(
            questions: Sequence[Question], report: Callable[[Sequence[Answer]], None]
        ) -> None:
            if late:
                await enquire(questions, report)
                return
            answer = Answer(
                settlement_id=questions[0].settlement_id, event=Event.NOT_FOUND, attempt=1
            )
            late.append(lambda: report([answer]))

        world.rail.enquire = first_is_late  # type: ignore[method-assign]
        settlement = await world.settle(wait_seconds=0.1)
        await world.until(lambda: len([w for w, _, _ in world.rail.asked if w == "send"]) == 2)
        asked = len(world.rail.asked)
        late[0]()
        await world.until(lambda: len(world.rail.asked) > asked + 2)
        assert [word for word, _, _ in world.rail.asked].count("send") == 2
        world.rail.enquiries.clear()
        assert (await world.engine.wait(settlement.id, 5.0)).state is State.COMPLETED


async def test_the_message_of_a_late_answer_is_kept_although_the_answer_is_ignored() -> None:
    late: list[Callable[[], None]] = []
    async with running() as world:
        world.rail.sends.extend([None])

        async def is_late(
            questions: Sequence[Question], report: Callable[[Sequence[Answer]], None]
        ) -> None:
            [asked] = questions
            message = KeptMessage(
                settlement_id=asked.settlement_id,
                attempt=1,
                direction=MessageDirection.IN,
                rail="scripted",
                content=b"no such payment",
                at=world.records.clock.now(),
            )
            answer = Answer(
                settlement_id=asked.settlement_id,
                event=Event.NOT_FOUND,
                attempt=1,
                message=message,
            )
            late.append(lambda: report([answer]))

        enquire = world.rail.enquire
        world.rail.enquire = is_late  # type: ignore[method-assign]
        settlement = await world.settle(wait_seconds=0.1)
        await world.until(lambda: len(late) > 1)  # the first enquiry has timed out
        late[0]()
        world.rail.enquire = enquire  # type: ignore[method-assign]
        assert (await world.engine.wait(settlement.id, 5.0)).state is State.COMPLETED
        assert sent(world) == 1
        [(message, _)] = world.records.messages.values()
        assert message.content == b"no such payment"


def sent(world: EngineWorld) -> int:
    return [word for word, _, _ in world.rail.asked].count("send")


async def test_a_refusal_of_screening_without_a_reason_is_a_refusal() -> None:
    async with running() as world:
        world.screening.answers.append(Event.REFUSED)
        found = await world.settle()
        assert found.state is State.FAILED
        assert found.refusal_code == RefusalCode.COMPLIANCE_BLOCKED
        assert world.rail.asked == []
