"""The rail ach over real folders: closing, placing, crashes in between, and what the operator's files lead to."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from settlement_engine.domain.identifiers import references
from settlement_engine.domain.lifecycle import Event
from settlement_engine.domain.money import Money
from settlement_engine.domain.preconditions import RefusalCode
from settlement_engine.errors import CorruptRecord, Misconfigured, Unavailable
from settlement_engine.messages.nacha.reading import read_file
from settlement_engine.ports import BankPayment, PaymentLister, Question
from settlement_engine.rails.ach.connections import AchConnections
from settlement_engine.rails.ach.open_file import Stage
from settlement_engine.simulator.scenarios import Rule, ScenarioScript
from tests.support.achrails import (
    AchOperator,
    FilesOfAnybody,
    Inbox,
    ach_rail,
    connection,
    party,
    profile,
)
from tests.support.waiting import until
from tests.unit.rails.builders import CALLER, HandClock, Heard, settlement, settlement_id

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from settlement_engine.rails.ach.rail import AchRail, BankFiles


class Scene:
    """A rail with one bank, whose files are closed, placed and read by hand."""

    def __init__(self, folder: Path, files: FilesOfAnybody | None = None, **changes: Any) -> None:
        self.folder = folder
        self.clock = HandClock()
        self.files = files or FilesOfAnybody()
        self.inbox = Inbox()
        self.alarms: list[str] = []
        self.heard = Heard()
        self.connection = connection(folder, **changes)
        self.rail: AchRail = ach_rail(self.clock, self.files, self.connection, alarms=self.alarms)
        self.rail.listen(self.inbox)
        self.connection.transport.start()
        assert self.connection.transport.try_lock()
        self._sent: list[asyncio.Task[None]] = []

    @property
    def bank(self) -> BankFiles:
        return self.rail._files["bank"]

    async def question(self, key: str, minor: int = 12_50) -> Question:
        paid = settlement(key)
        instruction = replace(paid.instruction, amount=Money(minor, "USD"))
        paid = replace(paid, instruction=instruction)
        [trace] = await self.rail.allocate_traces([paid])
        names = references(CALLER, key, 1)
        return Question(
            settlement_id=paid.id,
            attempt=1,
            references=names,
            payload=self.rail.prepare(paid, names),
            valid_until=self.clock.now() + timedelta(days=1),
            trace=trace,
            fencing_token=paid.fencing_token,
        )

    async def send(self, *keys: str) -> list[Question]:
        asked = [await self.question(key) for key in keys]
        self.put(asked)
        await self.until_in(Stage.OPEN, len(keys))
        return asked

    def put(self, asked: list[Question]) -> list[asyncio.Task[None]]:
        task = asyncio.get_running_loop().create_task(self.rail.send(asked, self.heard))
        self._sent.append(task)
        return [task]

    async def until_in(self, stage: Stage, count: int) -> None:
        async def reached() -> bool:
            return len(self.bank.open.in_stage(stage)) >= count

        await until(reached)

    async def close_and_place(self) -> None:
        assert await self.bank.closer.close() == 0
        await self.bank.courier.place()

    async def answered(self) -> dict[Any, Event]:
        for task in self._sent:
            await asyncio.wait_for(task, 5)
        return {each.settlement_id: each.event for each in self.heard.answers}

    def placed(self) -> list[Path]:
        return sorted(each for each in (self.folder / "outbox").iterdir() if each.suffix == ".ach")

    async def end(self) -> None:
        for task in self._sent:
            task.cancel()
        await asyncio.gather(*self._sent, return_exceptions=True)
        await self.rail.stop()


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    made = Scene(tmp_path)
    yield made
    await made.end()


# --- closing ------------------------------------------------------------------------------------------


async def test_a_payment_waits_in_the_open_file_and_leaves_only_after_its_commit(scene) -> None:
    await scene.send("a", "b")
    await scene.bank.courier.place()
    assert (scene.placed(), scene.files._records.rail_files) == ([], [])
    assert await scene.bank.closer.close() == 0
    assert scene.placed() == []
    [(stored, items)] = scene.files._records.rail_files
    assert [each.settlement_id for each in items] == [settlement_id("a"), settlement_id("b")]
    await scene.bank.courier.place()
    [file] = scene.placed()
    assert (file.name, file.read_bytes()) == (stored.name, stored.content)
    assert scene.heard.answers == [], "an open question: only the operator says what became of it"


async def test_a_payment_that_ends_its_call_in_the_open_file_is_undelivered_and_in_no_file(
    scene,
) -> None:
    asked = [await scene.question("a")]
    [task] = scene.put(asked)
    await scene.until_in(Stage.OPEN, 1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert scene.heard.events == [Event.UNDELIVERED]
    assert scene.heard.answers[0].is_held_back
    assert await scene.bank.closer.close() == 0
    assert scene.files._records.rail_files == []


async def test_a_payment_of_a_closed_file_that_ends_its_call_has_no_answer(scene) -> None:
    await scene.send("a")
    assert await scene.bank.closer.close() == 0
    await scene.end()
    assert scene.heard.answers == []


async def test_a_withdrawn_payment_is_in_no_file_and_a_closed_one_cannot_be_withdrawn(
    scene,
) -> None:
    await scene.send("a", "b")
    assert scene.rail.withdraw(settlement_id("a"))
    assert not scene.rail.withdraw(settlement_id("a"))
    [answer] = scene.heard.answers
    assert (answer.event, answer.is_held_back) == (Event.UNDELIVERED, False)
    assert answer.refusal is not None
    assert answer.refusal.code is RefusalCode.CANCELLED_BY_CALLER
    assert await scene.bank.closer.close() == 0
    [(_, items)] = scene.files._records.rail_files
    assert [each.settlement_id for each in items] == [settlement_id("b")]
    assert not scene.rail.withdraw(settlement_id("b"))


async def test_a_payment_that_another_engine_has_is_left_out_and_the_others_leave(scene) -> None:
    await scene.send("a", "b")
    scene.files.gone.add(settlement_id("a"))
    assert await scene.bank.closer.close() == 0
    assert scene.files._records.rail_files == [], "nothing, or the file with exactly its items"
    assert await scene.bank.closer.close() == 0
    [(_, items)] = scene.files._records.rail_files
    assert [each.settlement_id for each in items] == [settlement_id("b")]


async def test_a_payment_is_in_one_file_however_often_it_is_sent(scene) -> None:
    asked = await scene.send("a")
    await scene.close_and_place()
    scene.put(asked)
    await scene.until_in(Stage.OPEN, 1)
    assert await scene.bank.closer.close() == 0
    assert len(scene.files._records.rail_files) == 1
    assert scene.bank.open.in_stage(Stage.OPEN) == []


async def test_a_commit_without_an_answer_is_looked_up_before_anything_else(scene) -> None:
    store = scene.files.close_file

    async def stored_without_answer(file, items):
        await store(file, items)
        raise Unavailable("the connection is lost")

    await scene.send("a")
    scene.files.close_file = stored_without_answer
    with pytest.raises(Unavailable):
        await scene.bank.closer.close()
    assert not scene.rail.withdraw(settlement_id("a")), "it may be in a file"
    scene.files.close_file = store
    await scene.send("b")
    assert await scene.bank.closer.close() == 0
    files = [[each.settlement_id for each in items] for _, items in scene.files._records.rail_files]
    assert files == [[settlement_id("a")], [settlement_id("b")]]


async def test_files_of_a_day_have_different_modifiers_also_after_a_restored_database(
    scene, tmp_path: Path
) -> None:
    await scene.send("a")
    await scene.close_and_place()
    [first] = scene.placed()
    await scene.end()
    restored = Scene(tmp_path)
    await restored.send("b")
    await restored.close_and_place()
    names = [each.name for each in restored.placed()]
    assert len(names) == 2
    assert first.name in names
    assert [name[-5] for name in names] == ["A", "B"]
    await restored.end()


async def test_a_restored_database_learns_from_the_archive_what_has_left(
    scene, tmp_path: Path
) -> None:
    """Which payments, so that they are not sent again; and their traces, so that none is given twice."""
    before = await scene.send("a", "b")
    await scene.close_and_place()
    await scene.send("c")
    await scene.close_and_place()
    await scene.send("waits")
    await scene.end()
    restored = Scene(tmp_path)
    restored.connection.transport.unlock()
    await restored.rail.start()
    found: list[BankPayment] = []
    after, since = "", datetime.now(UTC) - timedelta(minutes=1)
    for _ in range(3):
        page = await restored.rail.payments_since(since, after)
        found += page.payments
        after = page.after
    assert not after
    names = [references(CALLER, key, 1).end_to_end_id for key in ("a", "b", "c")]
    assert sorted(each.reference for each in found) == sorted(names)
    assert [each.facts["trace"] for each in found][:2] == [each.trace for each in before]
    assert (await restored.rail.payments_since(datetime.now(UTC) + timedelta(hours=1))).after == ""
    assert (await restored.question("new")).trace > max(each.facts["trace"] for each in found)
    assert isinstance(restored.rail, PaymentLister)
    await restored.end()


# --- crashes between the steps ------------------------------------------------------------------------


async def test_a_file_that_was_closed_and_not_placed_leaves_with_the_same_bytes(
    scene, tmp_path: Path
) -> None:
    await scene.send("a")
    assert await scene.bank.closer.close() == 0
    [(stored, _)] = scene.files._records.rail_files
    await scene.end()
    again = Scene(tmp_path, scene.files)
    await again.bank.courier.place()
    [file] = again.placed()
    assert (file.name, file.read_bytes()) == (stored.name, stored.content)
    await again.end()


async def test_a_file_that_was_placed_and_not_recorded_is_not_placed_twice(scene) -> None:
    await scene.send("a")
    await scene.close_and_place()
    [file] = scene.placed()
    file.unlink()  # the connector has taken it
    scene.files._records.placed_files.clear()
    await scene.bank.courier.place()
    assert scene.placed() == []
    assert scene.files._records.placed_files == {1}


async def test_a_file_that_cannot_be_placed_is_an_alarm_and_is_tried_again(scene) -> None:
    await scene.send("a")
    assert await scene.bank.closer.close() == 0
    outbox = scene.folder / "outbox"
    outbox.rename(scene.folder / "away")
    await scene.bank.courier.place()
    assert scene.alarms == ["file_not_placed"]
    (scene.folder / "away").rename(outbox)
    await scene.bank.courier.place()
    assert len(scene.placed()) == 1


# --- the operator's files -----------------------------------------------------------------------------


async def operated(scene: Scene, **scenarios: str) -> AchOperator:
    rules = tuple(Rule(scenario=name, amount=amount) for amount, name in scenarios.items())
    operator = AchOperator(scene.folder, ScenarioScript(rules=rules))
    await operator.open(is_working=False)
    return operator


async def test_items_are_acknowledged_rejected_settled_and_returned_one_by_one(scene) -> None:
    script = {"0.01": "reject", "0.02": "late_return"}
    operator = await operated(scene, **script)
    asked = [
        await scene.question("good", 12_50),
        await scene.question("bad", 1),
        await scene.question("back", 2),
    ]
    scene.put(asked)
    await scene.until_in(Stage.OPEN, 3)
    await scene.close_and_place()
    await operator.folders.take()
    await scene.bank.courier.read_inbox()
    good, bad, back = (each.settlement_id for each in asked)
    assert await scene.answered() == {
        good: Event.ACKNOWLEDGED,
        bad: Event.REJECTED,
        back: Event.ACKNOWLEDGED,
    }
    await operator.service.advance(400_000_000)
    await operator.advise()
    await scene.bank.courier.read_inbox()
    said = [
        (report.references.trace, report.event)
        for message in scene.inbox.messages
        for report in message.reports
    ]
    traces = [each.trace for each in asked]
    assert sorted(said) == sorted(
        [
            (traces[0], Event.ACKNOWLEDGED),
            (traces[1], Event.REJECTED),
            (traces[2], Event.ACKNOWLEDGED),
            (traces[0], Event.SETTLED),
            (traces[2], Event.SETTLED),
            (traces[2], Event.RETURNED),
        ]
    )
    assert {line.trace: line.times_debited for line in await operator.ledger()} == {
        traces[0]: 1,
        traces[1]: 0,
        traces[2]: 1,
    }
    assert list((scene.folder / "inbox").iterdir()) == []
    await operator.close()


async def test_a_refused_file_rejects_every_item(scene) -> None:
    operator = await operated(scene)
    asked = await scene.send("a", "b")
    assert await scene.bank.closer.close() == 0
    [(stored, _)] = scene.files._records.rail_files
    other = msgspec.structs.replace(
        stored, content=stored.content.replace(b"SETTLEMENT", b"ANOTHER ON")
    )
    assert await operator.service.receive_file("other.ach", other.content)
    await scene.bank.courier.place()
    await operator.folders.take()
    await scene.bank.courier.read_inbox()
    assert await scene.answered() == dict.fromkeys(
        (each.settlement_id for each in asked), Event.REJECTED
    )
    [message] = scene.inbox.messages
    assert {each.references.trace for each in message.reports} == {each.trace for each in asked}
    await operator.close()


async def test_a_file_stays_in_the_inbox_until_it_is_stored(scene) -> None:
    operator = await operated(scene)
    await scene.send("a")
    await scene.close_and_place()
    await operator.folders.take()
    scene.inbox.error = Unavailable("no database")
    with pytest.raises(Unavailable):
        await scene.bank.courier.read_inbox()
    assert len(list((scene.folder / "inbox").iterdir())) == 1
    assert scene.heard.answers == []
    scene.inbox.error = None
    await scene.bank.courier.read_inbox()
    assert list((scene.folder / "inbox").iterdir()) == []
    assert list(await scene.answered()) == [settlement_id("a")]
    [message] = scene.inbox.messages
    assert message.source.value == "inbox"
    await operator.close()


async def test_a_file_that_cannot_be_stored_stays_and_those_after_it_are_read(scene) -> None:
    inbox = scene.folder / "inbox"
    (inbox / "a.json").write_bytes(b"{}")
    (inbox / "b.json").write_bytes(b"[]")
    os.utime(inbox / "a.json", (1, 1))
    stored = scene.inbox

    async def refuses(messages):
        if messages[0].content == b"{}":
            raise CorruptRecord("the database could not execute a statement")
        await stored(messages)

    scene.rail.listen(refuses)
    await scene.bank.courier.read_inbox()
    assert [each.name for each in inbox.iterdir()] == ["a.json"]
    assert [each.content for each in stored.messages] == [b"[]"]
    assert "file_not_read" in scene.alarms


async def test_a_report_on_an_unknown_file_and_an_unreadable_one_are_kept_as_alarms(scene) -> None:
    inbox = scene.folder / "inbox"
    refusal = {"kind": "acknowledgement", "sha256": "ab" * 32, "status": "rejected"}
    (inbox / "a.json").write_bytes(msgspec.json.encode(refusal))
    (inbox / "b.txt").write_bytes(b"hello")
    await scene.bank.courier.read_inbox()
    assert scene.alarms == ["unknown_file", "unreadable_file"]
    assert [len(each.reports) for each in scene.inbox.messages] == [0, 0]
    assert list(inbox.iterdir()) == []


# --- the whole rail -----------------------------------------------------------------------------------


async def test_without_an_acknowledgement_the_call_ends_without_an_answer(tmp_path: Path) -> None:
    scene = Scene(tmp_path, profile=profile(acknowledged_seconds=0.05))
    asked = [await scene.question("a")]
    [task] = scene.put(asked)
    await scene.until_in(Stage.OPEN, 1)
    assert await scene.bank.closer.close() == 0
    await asyncio.wait_for(task, 5)
    assert scene.heard.answers == []
    await scene.end()


async def test_started_it_closes_places_and_reads_by_itself(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    operator = AchOperator(tmp_path, ScenarioScript())
    await operator.open()
    await scene.rail.start()
    asked = [await scene.question(str(number)) for number in range(20)]
    scene.put(asked)
    assert await scene.answered() == dict.fromkeys(
        (each.settlement_id for each in asked), Event.ACKNOWLEDGED
    )
    for stored, items in scene.files._records.rail_files:
        assert len(read_file(stored.content).entries()) == len(items)
    await scene.end()
    await operator.close()


async def test_folders_are_used_by_one_process_at_a_time(scene, tmp_path: Path) -> None:
    other = connection(tmp_path).transport
    assert not other.try_lock()
    scene.connection.transport.unlock()
    assert other.try_lock()
    other.unlock()


def test_each_bank_has_payments_of_its_own(tmp_path: Path) -> None:
    one = connection(tmp_path, name="one", banks=frozenset({"DEUTDEFF"}))
    other = connection(
        tmp_path, name="other", banks=frozenset({"CHASUS33"}), party=party(origin="2")
    )
    both = AchConnections([one, other])
    assert both.of("DEUTDEFF") is one
    assert both.of("BNPAFRPP") is None
    assert set(both.banks or ()) == {"DEUTDEFF", "CHASUS33"}
    with pytest.raises(Misconfigured, match="one and to third"):
        AchConnections([one, connection(tmp_path, name="third")])
    slow = replace(other, profile=profile(acknowledged_seconds=1))
    with pytest.raises(Misconfigured, match="profiles"):
        AchConnections([one, slow])
