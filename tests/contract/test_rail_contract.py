"""What every Rail keeps, whichever bank stands behind it. The engine's promises stand on these."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import pytest

from settlement_engine.domain.identifiers import references
from settlement_engine.domain.lifecycle import LIFE, Event, State
from settlement_engine.ports import Question, Rail, RailClass
from settlement_engine.rails.mock import MockRail
from tests.unit.rails.builders import (
    CALLER,
    HandClock,
    Heard,
    book_of,
    mock_settings,
    question,
    settlement,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

ANSWERS = {
    "send": {Event.ACKNOWLEDGED, Event.SETTLED, Event.REJECTED, Event.UNDELIVERED},
    "enquire": {Event.ACKNOWLEDGED, Event.SETTLED, Event.REJECTED, Event.NOT_FOUND},
    "recall": {
        Event.RECALLED,
        Event.RECALL_REFUSED,
        Event.SETTLED,
        Event.REJECTED,
        Event.ACKNOWLEDGED,
    },
}
FINAL = {Event.SETTLED, Event.REJECTED}


class World(Protocol):
    """A rail, the bank behind it, and time. ``situations`` names what the bank can be made to do."""

    rail: Rail
    situations: tuple[str, ...]

    async def open(self) -> None: ...
    async def reopen(self) -> None: ...
    async def close(self) -> None: ...
    async def debits(self) -> dict[str, int]: ...
    def later(self, seconds: float) -> None: ...


class MockWorld:
    situations = (
        "settle",
        "reject",
        "lost_request",
        "lost_answer",
        "late_settle",
        "late_reject",
        "silent",
        "contradict",
        "undelivered",
        "no-such-script",
    )

    def __init__(self, folder: Path) -> None:
        self._settings = mock_settings(folder)
        self._clock = HandClock()
        self.rail = MockRail(self._settings, self._clock)

    async def open(self) -> None:
        await self.rail.start()

    async def reopen(self) -> None:
        await self.rail.stop()
        self.rail = MockRail(self._settings, self._clock)
        await self.rail.start()

    async def close(self) -> None:
        await self.rail.stop()

    async def debits(self) -> dict[str, int]:
        book = await book_of(self.rail)
        return {obligation: int(str(entry["times_debited"])) for obligation, entry in book.items()}

    def later(self, seconds: float) -> None:
        self._clock.advance(seconds)


@pytest.fixture(params=[MockWorld], ids=["mock"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    made: World = request.param(tmp_path)
    await made.open()
    yield made
    await made.close()


async def ask(rail: Rail, way: str, *questions: Question) -> Heard:
    heard = Heard()
    await getattr(rail, way)(questions, heard)
    return heard


def in_every_situation(world: World) -> list[Question]:
    return [question(world.rail, word, word) for word in world.situations]


def test_prepare_is_pure_and_says_what_is_to_be_paid(world: World) -> None:
    names = references(CALLER, "k", 1)
    first = world.rail.prepare(settlement("k", "settle"), names)
    assert first == world.rail.prepare(settlement("k", "settle"), names)
    assert names.end_to_end_id.encode() in first
    assert str(names.uetr).encode() in first
    assert b"12.50" in first
    assert b"EUR" in first
    assert world.rail.prepare(settlement("k", "settle", amount_minor=12_51), names) != first


def test_the_rules_are_sound(world: World) -> None:
    rules = world.rail.capabilities
    assert world.rail.name
    assert 0 < rules.answer_timeout_seconds < rules.validity_seconds
    if rules.rail_class is RailClass.A:
        assert rules.deduplicates_seconds >= rules.validity_seconds, "resends must be recognised"
    if rules.is_not_found_definite:
        assert rules.rail_class in {RailClass.A, RailClass.B}


@pytest.mark.parametrize("way", ["send", "enquire", "recall"])
async def test_only_the_answers_of_the_question_come_and_silence_is_none_of_them(
    world: World, way: str
) -> None:
    questions = in_every_situation(world)
    for _ in range(3):
        heard = await ask(world.rail, way, *questions)
        assert set(heard.events) <= ANSWERS[way]
        assert len({answer.settlement_id for answer in heard.answers}) == len(heard.answers)


@pytest.mark.parametrize("way", ["send", "enquire", "recall"])
@pytest.mark.parametrize("attempt", [1, 7])
async def test_an_answer_names_its_settlement_and_its_attempt(
    world: World, way: str, attempt: int
) -> None:
    asked = question(world.rail, "k", "settle", attempt=attempt)
    (answer,) = (await ask(world.rail, way, asked)).answers
    assert (answer.settlement_id, answer.attempt) == (asked.settlement_id, attempt)


async def test_every_answer_is_one_that_the_page_knows(world: World) -> None:
    questions = in_every_situation(world)
    for way, state in (("send", State.LOCKED), ("enquire", State.IN_DOUBT)):
        heard = await ask(world.rail, way, *questions)
        assert set(heard.events) <= LIFE[state].keys()
    heard = await ask(world.rail, "recall", *questions)
    assert set(heard.events) <= LIFE[State.RECALLING].keys()


async def test_a_final_answer_stays_whatever_is_asked_and_however_late(world: World) -> None:
    questions = in_every_situation(world)
    final: dict[object, tuple[Event, str, str, str]] = {}
    seen = 0
    for way in ("send", "enquire", "send", "enquire", "recall", "enquire", "send"):
        for answer in (await ask(world.rail, way, *questions)).answers:
            told = (answer.event, answer.code, answer.rail_reference, answer.confirmation)
            if answer.event in FINAL:
                assert final.setdefault(answer.settlement_id, told) == told
                seen += 1
        world.later(3)
        await world.reopen()
    assert seen > len(world.situations), "the test must have seen final answers repeated"


async def test_a_resend_is_recognised_and_never_debits_twice(world: World) -> None:
    questions = in_every_situation(world)
    for _ in range(4):
        await ask(world.rail, "send", *questions, *questions[:2])
        world.later(3)
        await world.reopen()
    debits = await world.debits()
    assert set(debits.values()) == {0, 1}
    assert debits["OB-settle"] == 1
    assert debits["OB-reject"] == 0


async def test_what_was_sent_is_found_by_our_reference_after_a_restart(world: World) -> None:
    asked = question(world.rail, "k", "settle")
    (sent,) = (await ask(world.rail, "send", asked)).answers
    await world.reopen()
    (found,) = (await ask(world.rail, "enquire", asked)).answers
    assert sent == found
    assert found.event is Event.SETTLED
    assert found.rail_reference
    assert found.confirmation


async def test_what_was_never_sent_is_not_found_and_may_then_be_sent(world: World) -> None:
    asked = question(world.rail, "k", "settle")
    assert (await ask(world.rail, "enquire", asked)).events == [Event.NOT_FOUND]
    assert (await ask(world.rail, "send", asked)).events == [Event.SETTLED]


async def test_asking_moves_no_money(world: World) -> None:
    questions = in_every_situation(world)
    await ask(world.rail, "enquire", *questions)
    assert sum((await world.debits()).values()) == 0


async def test_what_was_recalled_before_it_came_is_never_carried_out(world: World) -> None:
    asked = question(world.rail, "k", "settle")
    assert (await ask(world.rail, "recall", asked)).events == [Event.RECALLED]
    await world.reopen()
    assert (await ask(world.rail, "send", asked)).events == [Event.REJECTED]
    assert (await ask(world.rail, "enquire", asked)).events == [Event.REJECTED]
    assert (await ask(world.rail, "recall", asked)).events == [Event.RECALLED]
    assert sum((await world.debits()).values()) == 0


async def test_what_is_settled_cannot_be_recalled(world: World) -> None:
    asked = question(world.rail, "k", "settle")
    await ask(world.rail, "send", asked)
    assert (await ask(world.rail, "recall", asked)).events == [Event.SETTLED]
    assert (await world.debits())["OB-k"] == 1


async def test_what_is_rejected_needs_no_recall(world: World) -> None:
    asked = question(world.rail, "k", "reject")
    await ask(world.rail, "send", asked)
    assert (await ask(world.rail, "recall", asked)).events == [Event.REJECTED]


async def test_a_message_past_its_validity_is_refused_for_good(world: World) -> None:
    asked = question(world.rail, "k", "settle", valid_seconds=10)
    world.later(11)
    assert (await ask(world.rail, "send", asked)).events == [Event.REJECTED]
    assert (await ask(world.rail, "enquire", asked)).events == [Event.REJECTED]
    assert sum((await world.debits()).values()) == 0


async def test_a_known_payment_is_not_refused_because_its_resend_comes_late(world: World) -> None:
    asked = question(world.rail, "k", "settle", valid_seconds=10)
    await ask(world.rail, "send", asked)
    world.later(11)
    assert (await ask(world.rail, "send", asked)).events == [Event.SETTLED]


async def test_one_unreadable_message_silences_nobody_else(world: World) -> None:
    good, bad = question(world.rail, "good", "settle"), question(world.rail, "bad", "settle")
    broken = Question(
        settlement_id=bad.settlement_id,
        attempt=1,
        references=bad.references,
        payload=b"\xff\x00 not a message",
        valid_until=bad.valid_until,
    )
    heard = await ask(world.rail, "send", good, broken)
    told = {answer.settlement_id: answer.event for answer in heard.answers}
    assert told == {good.settlement_id: Event.SETTLED, bad.settlement_id: Event.REJECTED}


async def test_an_empty_batch_is_answered_by_nothing(world: World) -> None:
    for way in ("send", "enquire", "recall"):
        assert (await ask(world.rail, way)).answers == []
