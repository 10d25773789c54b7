"""The open file of the rail ach on a virtual clock: whatever ends or fails meanwhile, a payment comes into the next one."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from datetime import time, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from settlement_engine.domain.identifiers import references
from settlement_engine.domain.lifecycle import Event
from settlement_engine.domain.settlement import Priority
from settlement_engine.errors import Misconfigured, Unavailable
from settlement_engine.messages.nacha.reading import read_file
from settlement_engine.ports import Question
from settlement_engine.rails.ach.connections import AchConnection, AchConnections
from settlement_engine.rails.ach.open_file import GATHER_SECONDS, Stage
from settlement_engine.rails.ach.same_day import SameDayWindow
from tests.support.achrails import FilesOfAnybody, ach_rail, connection, profile
from tests.support.jumpingloop import LoopClock
from tests.unit.rails.builders import CALLER, Heard, settlement, settlement_id

if TYPE_CHECKING:
    from pathlib import Path

    from settlement_engine.rails.ach.rail import AchRail, BankFiles

ACKNOWLEDGED_SECONDS = 2
CLOSE_AFTER_SECONDS = 2.0


@pytest.fixture(autouse=True)
def nothing_placed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that reads the archive is outside of the virtual clock."""

    async def none(_self: object, _day: object) -> frozenset[str]:
        return frozenset()

    monkeypatch.setattr(AchConnection, "placed_modifiers", none)


class OpenScene:
    """A rail with one bank whose files are closed by its own closer; nobody places or acknowledges them."""

    def __init__(self, folder: Path, **changes: Any) -> None:
        given = {
            "close_after_seconds": CLOSE_AFTER_SECONDS,
            "profile": profile(acknowledged_seconds=ACKNOWLEDGED_SECONDS, validity_seconds=3_600),
            **changes,
        }
        self.clock = LoopClock()
        self.files = FilesOfAnybody()
        self.heard = Heard()
        self.rail: AchRail = ach_rail(self.clock, self.files, connection(folder, **given))
        self._tasks = [asyncio.get_running_loop().create_task(self.bank.closer.run())]

    @property
    def bank(self) -> BankFiles:
        return self.rail._files["bank"]

    async def send(
        self,
        key: str,
        age_seconds: float = 0.0,
        valid_seconds: float = 3_600.0,
        priority: Priority = Priority.NORMAL,
        **changes: Any,
    ) -> asyncio.Task[None]:
        paid = settlement(key)
        paid = replace(paid, instruction=replace(paid.instruction, priority=priority))
        [trace] = await self.rail.allocate_traces([paid])
        names, now = references(CALLER, key, 1), self.clock.now()
        values = {
            "settlement_id": paid.id,
            "attempt": 1,
            "references": names,
            "payload": self.rail.prepare(paid, names),
            "valid_until": now + timedelta(seconds=valid_seconds),
            "trace": trace,
            "recorded_at": now - timedelta(seconds=age_seconds),
        }
        question = Question(**{**values, **changes})
        task = asyncio.get_running_loop().create_task(self.rail.send([question], self.heard))
        self._tasks.append(task)
        await asyncio.sleep(0)
        return task

    def filed(self) -> list[set[str]]:
        """Return whose payments are in each file."""
        names = {settlement_id(key): key for key in "abcdef"}
        return [
            {names[each.settlement_id] for each in items}
            for _, items in self.files._records.rail_files
        ]

    async def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@pytest.fixture
async def scene(tmp_path: Path):
    made = OpenScene(tmp_path)
    yield made
    await made.end()


async def test_the_time_for_an_acknowledgement_begins_when_the_file_is_closed(scene) -> None:
    """Both times are two seconds: the first payment was let go just before its file was closed, for ever."""
    first = await scene.send("a")
    await asyncio.sleep(1)
    second = await scene.send("b")
    await asyncio.sleep(1.5)
    assert scene.filed() == [{"a", "b"}]
    assert not first.done()
    assert not second.done()
    await asyncio.sleep(1)
    assert not first.done(), "its file was closed one and a half seconds ago"
    await asyncio.sleep(1)
    assert first.done()
    assert second.done()
    assert scene.heard.answers == [], "silence: the operator may have the file"


async def test_a_payment_that_is_asked_for_again_does_not_begin_to_wait_anew(scene) -> None:
    """Nor does one that was taken over: its file is as old as its send intent."""
    await scene.send("a", age_seconds=1.5)
    await asyncio.sleep(1.1)
    assert scene.filed() == [{"a"}]


async def test_what_is_taken_over_batch_after_batch_is_gathered_in_one_file(scene) -> None:
    for key in "abc":
        await scene.send(key, age_seconds=3_000)
        await asyncio.sleep(GATHER_SECONDS / 4)
    assert scene.filed() == []
    await asyncio.sleep(GATHER_SECONDS)
    assert scene.filed() == [{"a", "b", "c"}]


async def test_a_file_that_could_not_be_stored_is_tried_again_at_once(tmp_path: Path) -> None:
    scene = OpenScene(tmp_path, close_after_seconds=1_000.0)
    store, fails = scene.files.close_file, [True, True]

    async def unreachable(file, items):
        if fails and fails.pop():
            raise Unavailable("nobody listens")
        return await store(file, items)

    scene.files.close_file = unreachable  # type: ignore[method-assign]
    task = await scene.send("a")
    await asyncio.sleep(1_000)
    assert scene.filed() == []
    await asyncio.sleep(3)
    assert scene.filed() == [{"a"}], "it does not wait for as long as a new file"
    assert not task.done()
    await scene.end()


async def test_an_entry_that_cannot_be_built_holds_up_no_other(scene) -> None:
    task = await scene.send("a", trace="not a trace")
    await scene.send("b")
    await asyncio.sleep(2.5)
    assert scene.filed() == [{"b"}]
    assert scene.heard.events == [Event.UNDELIVERED]
    assert task.done()


async def test_what_is_to_be_settled_the_same_day_has_a_file_of_its_own(tmp_path: Path) -> None:
    scene = OpenScene(tmp_path, close_after_seconds=1_000.0, same_day_close_after_seconds=20.0)
    waiting = [
        await scene.send("a"),
        await scene.send("b", priority=Priority.URGENT),
        await scene.send("c", priority=Priority.URGENT),
    ]
    await asyncio.sleep(19)
    assert scene.filed() == []
    await asyncio.sleep(2)
    assert scene.filed() == [{"b", "c"}]
    await asyncio.sleep(980)
    assert scene.filed() == [{"b", "c"}, {"a"}]
    assert [each.done() for each in waiting] == [False, True, True]
    await scene.end()


async def test_the_file_of_the_same_day_is_closed_before_its_window_is(tmp_path: Path) -> None:
    """The virtual clock begins at noon, UTC: the window closes at half past seven in New York."""
    half_past = SameDayWindow(closes=time(7, 30), settles=time(13))
    shipped = profile().same_day
    assert shipped is not None
    rules = msgspec.structs.replace(shipped, windows=(half_past,))
    own = profile(acknowledged_seconds=2, validity_seconds=100_000, same_day=rules)
    scene = OpenScene(
        tmp_path,
        profile=own,
        close_after_seconds=7_200.0,
        same_day_close_after_seconds=7_200.0,
    )
    task = await scene.send("a", priority=Priority.URGENT, valid_seconds=90_000)
    await asyncio.sleep(1_700)
    assert scene.filed() == []
    await asyncio.sleep(60)
    assert scene.filed() == [{"a"}]
    [(stored, _)] = scene.files._records.rail_files
    [batch] = read_file(stored.content).batches
    assert batch.descriptive_date == "SD1300"
    assert task.done()
    await scene.end()


async def test_a_payment_leaves_the_open_file_when_it_is_valid_no_more(tmp_path: Path) -> None:
    scene = OpenScene(tmp_path, close_after_seconds=1_000.0)
    late = await scene.send("a", valid_seconds=100)
    in_time = await scene.send("b")
    await asyncio.sleep(101)
    assert late.done()
    [answer] = scene.heard.answers
    assert (answer.event, answer.is_held_back) == (Event.UNDELIVERED, True)
    await asyncio.sleep(900)
    assert scene.filed() == [{"b"}], "and it brings the closing of the others no nearer"
    assert not in_time.done()
    await scene.end()


async def test_a_call_that_ends_while_its_file_is_stored_is_looked_up_in_the_store(scene) -> None:
    """Silence would leave it in doubt for ever if the commit never came about."""
    answers: list[bool] = []

    async def never_answers(file, items):
        answers.append(True)
        raise Unavailable("nobody listens")

    scene.files.close_file = never_answers
    reading = scene.files.filed

    async def unreachable(keys):
        raise Unavailable("nobody listens")

    scene.files.filed = unreachable
    task = await scene.send("a")
    await asyncio.sleep(2.5)
    assert len(answers) == 1
    assert scene.bank.open.in_stage(Stage.CLOSING)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    key = (settlement_id("a"), 1)
    assert scene.heard.answers == []
    with pytest.raises(Unavailable):
        await scene.rail.never_left([key])
    scene.files.filed = reading
    assert await scene.rail.never_left([key]) == {key}
    assert await scene.rail.never_left([key]) == frozenset(), "it is asked about once"


def test_a_file_that_would_be_closed_when_its_payments_are_valid_no_more_is_refused(
    tmp_path: Path,
) -> None:
    late = connection(
        tmp_path,
        close_after_seconds=3_597.0,
        profile=profile(acknowledged_seconds=2, validity_seconds=3_600),
    )
    with pytest.raises(Misconfigured, match="closed too late"):
        AchConnections([late])
    rules = AchConnections(
        [connection(tmp_path, close_after_seconds=100.0, profile=late.profile)]
    ).capabilities()
    assert rules.answer_timeout_seconds == 103, "what waits in the open file is not silence"
