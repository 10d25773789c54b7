"""What each class of rail guarantees, whichever bank is behind it. The engine's guarantees depend on these.

A test without ``promised_by`` holds for every rail. The others name the classes for which they hold, or the
kind of request that a rail must offer for them. ``WORLDS`` lists the rails that are tested. The guarantees of
the classes are described in ``docs/guides/add-a-rail.md``.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

import msgspec
import pytest

from settlement_engine.domain.decisions.resending import AT_RAIL, RailClass
from settlement_engine.domain.identifiers import references
from settlement_engine.domain.lifecycle import TRANSITIONS, Ask, Event, State
from settlement_engine.ports import Question, SendRail
from settlement_engine.rails.iso20022 import RAIL_NAMES
from settlement_engine.rails.iso20022.rail import IsoRail
from settlement_engine.rails.mock import MockRail
from settlement_engine.rails.registry import asks_of
from settlement_engine.rails.transport.http import HttpSettings
from settlement_engine.simulator.scenarios import SCENARIOS, RecallReply, Rule, ScenarioScript
from tests.support.achrails import AchOperator, FilesOfAnybody, Inbox, ach_rail
from tests.support.achrails import connection as connection_to_folders
from tests.support.achrails import profile as ach_profile
from tests.support.isorails import NOWHERE, agreed_profile, connection, iso_rail
from tests.support.onewayrail import SEND_ONLY, OneWayRail
from tests.support.scriptedbank import ScriptedBank
from tests.unit.rails.builders import (
    CALLER,
    HandClock,
    Heard,
    book_of,
    mock_settings,
    question,
    settlement,
    settlement_id,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from settlement_engine.domain.identifiers import References
    from settlement_engine.domain.settlement import Settlement

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
WAYS = {"send": Ask.SEND, "enquire": Ask.ENQUIRE, "recall": Ask.RECALL}
FINAL = {Event.SETTLED, Event.REJECTED}


class World(Protocol):
    """A rail, the bank behind it, and time. ``situations`` names what the bank can be made to do."""

    rail_class: ClassVar[RailClass]
    asks: ClassVar[frozenset[Ask]]
    rail: SendRail
    situations: tuple[str, ...]

    async def open(self) -> None: ...
    async def reopen(self) -> None: ...
    async def close(self) -> None: ...
    async def debits(self) -> dict[str, int]: ...
    def later(self, seconds: float) -> None: ...


class MockWorld:
    rail_class: ClassVar = RailClass.A
    asks: ClassVar = AT_RAIL
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
        self.rail: SendRail = self.make()

    def make(self) -> SendRail:
        return MockRail(self._settings, self._clock)

    async def open(self) -> None:
        await self.rail.start()

    async def reopen(self) -> None:
        await self.rail.stop()
        self.rail = self.make()
        await self.rail.start()

    async def close(self) -> None:
        await self.rail.stop()

    async def debits(self) -> dict[str, int]:
        assert isinstance(self.rail, MockRail)
        book = await book_of(self.rail)
        return {obligation: int(str(entry["times_debited"])) for obligation, entry in book.items()}

    def later(self, seconds: float) -> None:
        self._clock.advance(seconds)


class MockOfClassB(MockWorld):
    """The same bank as class B: the engine does not rely on enforced validity."""

    rail_class = RailClass.B

    def make(self) -> MockRail:
        made = MockRail(self._settings, self._clock)
        made._capabilities = replace(made.capabilities, rail_class=RailClass.B)
        return made


class FileWorld:
    """Files that can only be sent, in a world that is never reopened differently."""

    rail_class: ClassVar = RailClass.C
    asks: ClassVar = SEND_ONLY
    situations = ("settle", "reject", "silent", "undelivered")

    def __init__(self, folder: Path) -> None:
        del folder
        self._debits: Counter[str] = Counter()
        self.rail: SendRail = self.make()

    def make(self) -> SendRail:
        return OneWayRail("paper", self.rail_class, self._debits)

    async def open(self) -> None:
        await self.rail.start()

    async def reopen(self) -> None:
        await self.rail.stop()
        self.rail = self.make()
        await self.rail.start()

    async def close(self) -> None:
        await self.rail.stop()

    async def debits(self) -> dict[str, int]:
        return dict(self._debits)

    def later(self, seconds: float) -> None:
        del seconds


class OnceWorld(FileWorld):
    rail_class = RailClass.D


class AchWorld:
    """NACHA files to the scripted bank: payments in the open file, and an acknowledgement as the only answer."""

    rail_class: ClassVar = RailClass.D
    asks: ClassVar = SEND_ONLY
    situations = ("settle", "reject", "lost_answer", "lost_request")

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        script = ScenarioScript(
            rules=tuple(
                Rule(scenario=word, reference=references(CALLER, word, 1).end_to_end_id)
                for word in self.situations
            )
        )
        self._operator = AchOperator(folder, script)
        self._files = FilesOfAnybody()
        self.rail: SendRail = self.make()

    def make(self) -> SendRail:
        reached = connection_to_folders(self._folder, profile=ach_profile(acknowledged_seconds=1))
        rail = ach_rail(HandClock(), self._files, reached)
        rail.listen(Inbox())
        return rail

    async def open(self) -> None:
        await self._operator.open()
        await self.rail.start()

    async def reopen(self) -> None:
        await self.rail.stop()
        self.rail = self.make()
        await self.rail.start()

    async def close(self) -> None:
        await self.rail.stop()
        await self._operator.close()

    async def debits(self) -> dict[str, int]:
        await self._operator.service.work()
        keys = (*self.situations, "k", "good")
        words = {references(CALLER, word, 1).end_to_end_id: f"OB-{word}" for word in keys}
        lines = await self._operator.ledger()
        return {words[line.end_to_end_id]: line.times_debited for line in lines}

    def later(self, seconds: float) -> None:
        self._operator.service._offset_ms += round(seconds * 1000)


class DirectedRail(IsoRail):
    """Tells the scripted bank what to do with a payment, which no message could say."""

    bank: ScriptedBank

    def prepare(self, settlement: Settlement, references: References) -> bytes:
        word = settlement.instruction.metadata.get("simulate", "")
        if word in IsoWorld.situations:
            self.bank.treat_at_once(settlement.id.hex, word)
        return super().prepare(settlement, references)


class IsoWorld:
    """ISO 20022 over HTTP to the scripted bank, which keeps the guarantees of class B."""

    rail_name: ClassVar[str]
    rail_class: ClassVar = RailClass.B
    asks: ClassVar = AT_RAIL
    situations = (
        "settle",
        "reject",
        "lost_request",
        "lost_answer",
        "half_response",
        "wrong_reference",
    )

    def __init__(self, folder: Path) -> None:
        keeps = {
            word: msgspec.structs.replace(SCENARIOS[word], recall=RecallReply.REFUSE)
            for word in self.situations
        }
        script = ScenarioScript(bars_recalled=True, scenarios=keeps)
        self._bank = ScriptedBank(folder, script)
        self.rail: SendRail = self.make()

    def make(self) -> SendRail:
        profile = agreed_profile(
            self.rail_name, deduplicates_seconds=10 * 365 * 86_400, currencies=()
        )
        endpoint = f"{self._bank.endpoint or NOWHERE}/{self.rail_name}"
        reached = connection(profile, HttpSettings(endpoint=endpoint))
        rail = iso_rail(HandClock(), reached, name=self.rail_name, kind=DirectedRail)
        assert isinstance(rail, DirectedRail)
        rail.bank = self._bank
        return rail

    async def open(self) -> None:
        await self._bank.open()
        self.rail = self.make()
        await self.rail.start()

    async def reopen(self) -> None:
        await self.rail.stop()
        self.rail = self.make()
        await self.rail.start()

    async def close(self) -> None:
        await self.rail.stop()
        await self._bank.close()

    async def debits(self) -> dict[str, int]:
        words = {str(settlement_id(word)): f"OB-{word}" for word in (*self.situations, "k", "good")}
        lines = await self._bank.ledger()
        assert {line.rail for line in lines} <= {self.rail_name}
        return {words[line.settlement_id]: line.times_debited for line in lines}

    def later(self, seconds: float) -> None:
        self._bank.service._offset_ms += round(seconds * 1000)


class SwiftWorld(IsoWorld):
    rail_name = "swift"


class SepaWorld(IsoWorld):
    rail_name = "sepa_sct"


class InstantSepaWorld(IsoWorld):
    rail_name = "sepa_inst"


class RealtimeWorld(IsoWorld):
    rail_name = "realtime"


WORLDS: tuple[Any, ...] = (
    MockWorld,
    MockOfClassB,
    SwiftWorld,
    SepaWorld,
    InstantSepaWorld,
    RealtimeWorld,
    AchWorld,
    FileWorld,
    OnceWorld,
)

Test = TypeVar("Test", bound="Callable[..., object]")


def promised_by(*classes: RailClass, taking: Ask = Ask.SEND) -> Callable[[Test], Test]:
    """Run a test only with rails of these classes (all if none is named) that offer a kind of request."""

    def mark(test: Test) -> Test:
        test.promised_by = (classes or tuple(RailClass), taking)  # type: ignore[attr-defined]
        return test

    return mark


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "world" not in metafunc.fixturenames:
        return
    classes, taking = getattr(metafunc.function, "promised_by", (tuple(RailClass), Ask.SEND))
    chosen = [each for each in WORLDS if each.rail_class in classes and taking in each.asks]
    names = [f"{each.__name__}-{each.rail_class}" for each in chosen]
    metafunc.parametrize("world", chosen, ids=names, indirect=True)


@pytest.fixture
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    made: World = request.param(tmp_path)
    await made.open()
    yield made
    await made.close()


async def ask(rail: SendRail, way: str, *questions: Question) -> Heard:
    answered = Heard()
    await getattr(rail, way)(questions, answered)
    return answered


def in_every_situation(world: World) -> list[Question]:
    return [question(world.rail, word, word) for word in world.situations]


def ways_of(world: World) -> list[str]:
    return [way for way, ask in WAYS.items() if ask in world.asks]


# --- every rail -------------------------------------------------------------------------------------


def test_every_class_of_rail_and_every_rail_is_tested() -> None:
    assert {each.rail_class for each in WORLDS} == set(RailClass)
    assert {each.rail_name for each in WORLDS if issubclass(each, IsoWorld)} == set(RAIL_NAMES)


def test_prepare_is_pure_and_names_the_payment(world: World) -> None:
    names = references(CALLER, "k", 1)
    first = world.rail.prepare(settlement("k", "settle"), names)
    assert first == world.rail.prepare(settlement("k", "settle"), names)
    assert world.rail.prepare(settlement("k", "settle", amount_minor=12_51), names) != first
    assert world.rail.prepare(settlement("other", "settle"), names) != first


def test_what_the_bytes_say_is_what_was_asked_for_where_they_can_be_read(world: World) -> None:
    wanted = settlement("k", "settle")
    payment_request = wanted.instruction
    terms = world.rail.read(world.rail.prepare(wanted, references(CALLER, "k", 1)))
    assert world.rail.read(b"\xff\x00 not a message") is None
    if terms is not None:
        assert terms.from_bank == payment_request.from_bank
        assert terms.to_bank in {payment_request.to_bank, ""}, "empty: we pay ourselves"
        assert (terms.amount, terms.currency) == (
            str(payment_request.amount),
            payment_request.amount.currency,
        )


def test_a_rails_capabilities_are_consistent(world: World) -> None:
    rules = world.rail.capabilities
    assert world.rail.name
    assert rules.rail_class is world.rail_class
    assert 0 < rules.answer_timeout_seconds < rules.validity_seconds
    if rules.is_not_found_definite:
        assert rules.rail_class in {RailClass.A, RailClass.B}


def test_a_rail_has_the_parts_and_messages_it_declares(world: World) -> None:
    rules = world.rail.capabilities
    assert rules.asks == world.asks == asks_of(world.rail)
    assert {each.ask for each in rules.messages} - {None} == rules.asks
    assert all(each.name and each.versions for each in rules.messages)
    if rules.overdue_after_seconds is not None:
        assert Ask.RECALL in rules.asks, "what is overdue is recalled"


async def test_a_rail_may_be_stopped_twice_and_without_a_start(world: World) -> None:
    await world.rail.stop()
    await world.rail.stop()


async def test_a_rail_reports_only_answers_and_never_a_timeout(
    world: World,
) -> None:
    questions = in_every_situation(world)
    for way in ways_of(world):
        for _ in range(3):
            answered = await ask(world.rail, way, *questions)
            assert set(answered.events) <= ANSWERS[way]
            assert len({answer.settlement_id for answer in answered.answers}) == len(
                answered.answers
            )


@pytest.mark.parametrize("attempt", [1, 7])
async def test_an_answer_names_its_settlement_and_its_attempt(world: World, attempt: int) -> None:
    asked = question(world.rail, "k", "settle", attempt=attempt)
    for way in ways_of(world):
        (answer,) = (await ask(world.rail, way, asked)).answers
        assert (answer.settlement_id, answer.attempt) == (asked.settlement_id, attempt)


async def test_every_answer_of_a_rail_is_a_known_event(world: World) -> None:
    questions = in_every_situation(world)
    states = {"send": State.LOCKED, "enquire": State.IN_DOUBT, "recall": State.RECALLING}
    for way in ways_of(world):
        answered = await ask(world.rail, way, *questions)
        assert set(answered.events) <= TRANSITIONS[states[way]].keys()


async def test_sent_once_is_debited_at_most_once_and_what_was_refused_or_never_left_is_not(
    world: World,
) -> None:
    questions = in_every_situation(world)
    answered = await ask(world.rail, "send", *questions)
    world.later(3)
    debits = await world.debits()
    assert set(debits.values()) <= {0, 1}
    assert debits["OB-settle"] == 1
    reported = {answer.settlement_id: answer.event for answer in answered.answers}
    for word, asked in zip(world.situations, questions, strict=True):
        if reported.get(asked.settlement_id) in {Event.REJECTED, Event.UNDELIVERED}:
            assert not debits.get(f"OB-{word}"), word


async def test_one_unreadable_message_does_not_affect_others(world: World) -> None:
    good, bad = question(world.rail, "good", "settle"), question(world.rail, "bad", "settle")
    broken = Question(
        settlement_id=bad.settlement_id,
        attempt=1,
        references=bad.references,
        payload=b"\xff\x00 not a message",
        valid_until=bad.valid_until,
    )
    answered = await ask(world.rail, "send", good, broken)
    reported = {answer.settlement_id: answer.event for answer in answered.answers}
    assert reported[good.settlement_id] in {Event.SETTLED, Event.ACKNOWLEDGED}
    assert reported.get(bad.settlement_id, Event.REJECTED) is Event.REJECTED


async def test_an_empty_batch_has_no_answers(world: World) -> None:
    for way in ways_of(world):
        assert (await ask(world.rail, way)).answers == []


# --- classes A and B: it recognises a resend, and can be asked ---------------------------------------


@promised_by(RailClass.A, RailClass.B)
def test_it_can_be_asked_and_its_not_found_is_definite(world: World) -> None:
    rules = world.rail.capabilities
    assert Ask.ENQUIRE in rules.asks
    assert rules.is_not_found_definite
    assert rules.deduplicates_seconds > 0


@promised_by(RailClass.A, RailClass.B)
async def test_a_final_answer_stays_whatever_is_asked_and_however_late(world: World) -> None:
    questions = in_every_situation(world)
    final: dict[object, tuple[Event, str, str, str]] = {}
    seen = 0
    for way in ("send", "enquire", "send", "enquire", "recall", "enquire", "send"):
        for answer in (await ask(world.rail, way, *questions)).answers:
            reported = (answer.event, answer.code, answer.rail_reference, answer.confirmation)
            if answer.event in FINAL:
                assert final.setdefault(answer.settlement_id, reported) == reported
                seen += 1
        world.later(3)
        await world.reopen()
    assert seen > len(world.situations), "the test must have seen final answers repeated"


@promised_by(RailClass.A, RailClass.B)
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


@promised_by(RailClass.A, RailClass.B)
async def test_a_sent_payment_is_found_by_our_reference_after_a_restart(world: World) -> None:
    asked = question(world.rail, "k", "settle")
    (sent,) = (await ask(world.rail, "send", asked)).answers
    await world.reopen()
    (found,) = (await ask(world.rail, "enquire", asked)).answers
    without_message = [msgspec.structs.replace(each, message=None) for each in (sent, found)]
    assert without_message[0] == without_message[1]
    assert found.event is Event.SETTLED
    assert found.rail_reference
    assert found.confirmation


@promised_by(RailClass.A, RailClass.B)
async def test_an_enquiry_about_an_unsent_payment_is_answered_not_found(world: World) -> None:
    asked = question(world.rail, "k", "settle")
    assert (await ask(world.rail, "enquire", asked)).events == [Event.NOT_FOUND]
    assert (await ask(world.rail, "send", asked)).events == [Event.SETTLED]


@promised_by(taking=Ask.ENQUIRE)
async def test_an_enquiry_moves_no_money(world: World) -> None:
    questions = in_every_situation(world)
    await ask(world.rail, "enquire", *questions)
    assert sum((await world.debits()).values()) == 0


# --- class A: it enforces the validity of messages ----------------------------------------------------


@promised_by(RailClass.A)
def test_a_rail_recognises_resends_while_messages_are_valid(world: World) -> None:
    rules = world.rail.capabilities
    assert rules.deduplicates_seconds >= rules.validity_seconds


@promised_by(RailClass.A)
async def test_a_message_past_its_validity_is_refused_for_good(world: World) -> None:
    asked = question(world.rail, "k", "settle", valid_seconds=10)
    world.later(11)
    assert (await ask(world.rail, "send", asked)).events == [Event.REJECTED]
    assert (await ask(world.rail, "enquire", asked)).events == [Event.REJECTED]
    assert sum((await world.debits()).values()) == 0


@promised_by(RailClass.A)
async def test_a_late_resend_of_a_known_payment_is_not_refused(world: World) -> None:
    asked = question(world.rail, "k", "settle", valid_seconds=10)
    await ask(world.rail, "send", asked)
    world.later(11)
    assert (await ask(world.rail, "send", asked)).events == [Event.SETTLED]


# --- class B: a recall blocks a later arrival ---------------------------------------------------------


@promised_by(RailClass.B)
async def test_a_payment_recalled_before_its_arrival_is_refused_afterwards(
    world: World,
) -> None:
    asked = question(world.rail, "k", "settle")
    assert (await ask(world.rail, "recall", asked)).events == [Event.RECALLED]
    await world.reopen()
    assert (await ask(world.rail, "send", asked)).events == [Event.REJECTED]
    assert (await ask(world.rail, "enquire", asked)).events == [Event.REJECTED]
    assert (await ask(world.rail, "recall", asked)).events == [Event.RECALLED]
    assert sum((await world.debits()).values()) == 0


# --- rails that offer recalls -------------------------------------------------------------------------


@promised_by(taking=Ask.RECALL)
async def test_a_recalled_payment_is_never_executed(world: World) -> None:
    questions = in_every_situation(world)
    answered = await ask(world.rail, "recall", *questions)
    given_back = {each.settlement_id for each in answered.answers if each.event is Event.RECALLED}
    await ask(world.rail, "send", *questions)
    world.later(3)
    debits = await world.debits()
    for word, asked in zip(world.situations, questions, strict=True):
        if asked.settlement_id in given_back:
            assert not debits.get(f"OB-{word}"), word


@promised_by(taking=Ask.RECALL)
async def test_a_settled_payment_cannot_be_recalled(world: World) -> None:
    asked = question(world.rail, "k", "settle")
    (sent,) = (await ask(world.rail, "send", asked)).events
    (said,) = (await ask(world.rail, "recall", asked)).events
    if sent is Event.SETTLED:
        assert said in {Event.SETTLED, Event.RECALL_REFUSED}
        assert (await world.debits())["OB-k"] == 1


@promised_by(taking=Ask.RECALL)
async def test_a_rejected_payment_needs_no_recall(world: World) -> None:
    asked = question(world.rail, "k", "reject")
    await ask(world.rail, "send", asked)
    assert (await ask(world.rail, "recall", asked)).events == [Event.REJECTED]


# --- classes C and D: only what the bank says by itself, or a statement, proves something -------------


@promised_by(RailClass.C, RailClass.D)
def test_not_found_of_class_c_and_d_proves_nothing(world: World) -> None:
    assert not world.rail.capabilities.is_not_found_definite
