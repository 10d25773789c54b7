"""What is asked of both banks of cover payments, and what is reported and stored of their answers."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec
import pytest

from settlement_engine.domain.covers import Cover, CoverRefusal, cover_message_id
from settlement_engine.domain.identifiers import references
from settlement_engine.domain.lifecycle import Event
from settlement_engine.ports import Answer, Question
from settlement_engine.rails.pairs import PairAsker
from tests.support.isorails import iso_rail
from tests.unit.rails.builders import HandClock

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from settlement_engine.ports import CoverResult, FailedCover, NewCover
    from settlement_engine.ports.rails import Report

E = Event
NOW = HandClock().now()
FAR = NOW + timedelta(days=300)


@dataclass
class Banks:
    """Both banks: what each says of a message, by its id, and what they were asked."""

    says: dict[str, Event] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    capabilities = iso_rail(HandClock()).capabilities

    async def _answer(self, what: str, questions: Sequence[Question], report: Report) -> None:
        for each in questions:
            name = each.references.message_id
            self.asked.append((what, name))
            event = self.says.get(name)
            if event is not None:
                report(
                    [
                        Answer(
                            settlement_id=each.settlement_id,
                            event=event,
                            attempt=each.attempt,
                            text=name,
                        )
                    ]
                )

    async def send(self, questions: Sequence[Question], report: Report) -> None:
        await self._answer("send", questions, report)

    async def enquire(self, questions: Sequence[Question], report: Report) -> None:
        await self._answer("enquire", questions, report)

    async def recall(self, questions: Sequence[Question], report: Report) -> None:
        await self._answer("recall", questions, report)


@dataclass
class Covers:
    """Covers in a dict, with what was noted of them."""

    kept: dict[UUID, Cover] = field(default_factory=dict)
    notes: list[CoverResult] = field(default_factory=list)
    failed: list[FailedCover] = field(default_factory=list)

    async def latest(self, keys: Sequence[tuple[UUID, int]]) -> Mapping[UUID, Cover]:
        return {key[0]: self.kept[key[0]] for key in keys if key[0] in self.kept}

    async def record(self, covers: Sequence[NewCover]) -> None:
        for each in covers:
            self.kept.setdefault(each.settlement_id, each.cover)

    async def note(self, results: Sequence[CoverResult]) -> None:
        self.notes += results

    async def open_failed(self, failed: Sequence[FailedCover]) -> None:
        self.failed += failed

    async def order(self, repair: NewCover) -> bool:
        raise AssertionError(repair)


class Pair:
    """One pair: its question, and the ids of its messages."""

    def __init__(self, number: int) -> None:
        self.id = UUID(int=number)
        self.names = references("caller", f"k{number}", 1)
        self.payment = self.names.message_id
        self.cover = cover_message_id(self.payment, 1)

    def question(self, **changes: Any) -> Question:
        usual: dict[str, Any] = {
            "settlement_id": self.id,
            "attempt": 1,
            "references": self.names,
            "payload": self.payment.encode(),
            "valid_until": FAR,
            "seq": 3,
        }
        return Question(**(usual | changes))

    def stored(self, **changes: Any) -> Cover:
        made = first(self.question())
        return msgspec.structs.replace(made, **changes)


def first(question: Question) -> Cover:
    return Cover(
        number=1,
        message_id=cover_message_id(question.references.message_id, 1),
        content=b"cover of " + question.payload,
        recorded_at=NOW,
        valid_until=FAR,
    )


@pytest.fixture
def banks() -> Banks:
    return Banks()


@pytest.fixture
def covers() -> Covers:
    return Covers()


@pytest.fixture
def pairs(banks: Banks, covers: Covers) -> PairAsker:
    made = PairAsker(banks, first, HandClock())
    made.covers = covers
    return made


async def ask(way: Any, *questions: Question) -> dict[UUID, Answer]:
    found: dict[UUID, Answer] = {}
    await way(questions, lambda answers: found.update((a.settlement_id, a) for a in answers))
    return found


def due(cover: Cover) -> str:
    return hashlib.sha256(cover.content).hexdigest()


async def test_a_batch_sends_what_is_due_and_asks_about_the_rest(
    pairs: PairAsker, banks: Banks, covers: Covers
) -> None:
    """The two parts run side by side, and neither loses what the other hears."""
    made = [Pair(number) for number in range(1, 21)]
    for each in made:
        covers.kept[each.id] = each.stored(sends=1)
        banks.says |= {each.payment: E.ACKNOWLEDGED, each.cover: E.ACKNOWLEDGED}
    questions = [
        each.question(cover_due=due(covers.kept[each.id]) if each.id.int % 2 else "")
        for each in made
    ]
    found = await ask(pairs.enquire, *questions)
    assert {answer.event for answer in found.values()} == {E.ACKNOWLEDGED}
    assert found.keys() == {each.id for each in made}
    sent = {name for what, name in banks.asked if what == "send"}
    assert sent == {each.cover for each in made if each.id.int % 2}


async def test_only_the_bytes_of_the_send_intent_leave(
    pairs: PairAsker, banks: Banks, covers: Covers
) -> None:
    pair = Pair(1)
    covers.kept[pair.id] = pair.stored(sends=1)
    await ask(pairs.enquire, pair.question(cover_due="0" * 64))
    assert ("send", pair.cover) not in banks.asked


async def test_what_is_refused_is_noted_and_asked_about_again_and_not_recalled(
    pairs: PairAsker, banks: Banks, covers: Covers
) -> None:
    """FROM may have taken its refusal back: only what it says now counts."""
    pair = Pair(1)
    covers.kept[pair.id] = pair.stored(sends=1)
    banks.says = {pair.payment: E.ACKNOWLEDGED, pair.cover: E.REJECTED}
    found = await ask(pairs.enquire, pair.question())
    assert found[pair.id].event is E.ACKNOWLEDGED
    assert [note.number for note in covers.notes] == [1]
    assert [each.problem.value for each in covers.failed] == ["cover"]
    covers.kept[pair.id] = pair.stored(sends=1, refusal=CoverRefusal(code="AM04"))
    banks.asked.clear()
    banks.says[pair.payment] = E.RECALLED
    found = await ask(pairs.recall, pair.question())
    assert found[pair.id].event is E.RECALLED
    assert banks.asked == [("recall", pair.payment), ("enquire", pair.cover)]
    for said, event in ((E.SETTLED, E.RECALL_REFUSED), (E.NOT_FOUND, E.RECALLED)):
        banks.says[pair.cover] = said
        found = await ask(pairs.recall, pair.question())
        assert found[pair.id].event is event
    del banks.says[pair.cover]
    assert await ask(pairs.recall, pair.question()) == {}, "silence is not a no"
    banks.says[pair.payment] = E.REJECTED
    assert await ask(pairs.enquire, pair.question()) == {}, "silence is not a no"


@pytest.mark.parametrize("said", [E.REJECTED, E.ACKNOWLEDGED, E.SETTLED])
@pytest.mark.parametrize("of_from", [E.SETTLED, E.ACKNOWLEDGED])
async def test_a_cover_that_is_not_recorded_is_asked_for_before_anything_is_decided(
    pairs: PairAsker, banks: Banks, covers: Covers, said: Event, of_from: Event
) -> None:
    """A restored database does not know that the cover has left: TO's no alone releases nothing."""
    pair = Pair(1)
    banks.says = {pair.payment: said, pair.cover: of_from}
    found = await ask(pairs.enquire, pair.question())
    both = said is of_from is E.SETTLED
    assert found[pair.id].event is (E.SETTLED if both else E.ACKNOWLEDGED)
    assert covers.kept[pair.id].is_found
    assert bool(covers.failed) is (said is E.REJECTED)


async def test_where_from_says_nothing_of_it_nothing_is_decided(
    pairs: PairAsker, banks: Banks, covers: Covers
) -> None:
    pair = Pair(1)
    for way, said in ((pairs.enquire, E.REJECTED), (pairs.recall, E.RECALLED)):
        banks.says = {pair.payment: said}
        assert await ask(way, pair.question()) == {}
    assert covers.kept == {}


async def test_where_from_never_had_it_the_no_of_to_ends_the_pair(
    pairs: PairAsker, banks: Banks
) -> None:
    pair = Pair(1)
    banks.says = {pair.payment: E.REJECTED, pair.cover: E.NOT_FOUND}
    found = await ask(pairs.enquire, pair.question())
    assert (found[pair.id].event, found[pair.id].text) == (E.REJECTED, pair.payment)
    assert found[pair.id].seq == 3, "it is worth nothing once the settlement has moved"


@pytest.mark.parametrize("is_definite", [True, False])
@pytest.mark.parametrize("sends", [1, 2])
async def test_after_a_restore_only_a_definite_not_found_proves_that_it_never_left(
    pairs: PairAsker, banks: Banks, covers: Covers, is_definite: bool, sends: int
) -> None:
    """A recovery counts one more transmission of everything that is open."""
    pair = Pair(1)
    banks.capabilities = replace(Banks.capabilities, is_not_found_definite=is_definite)
    for said, event in ((E.ACKNOWLEDGED, E.COVER_DUE), (E.REJECTED, E.REJECTED)):
        covers.kept.clear()
        banks.says = {pair.payment: said, pair.cover: E.NOT_FOUND}
        found = await ask(pairs.enquire, pair.question(sends=sends))
        is_proved = is_definite or sends == 1
        assert found[pair.id].event is (event if is_proved else E.ACKNOWLEDGED)


async def test_a_first_transmission_that_to_refuses_is_refused_at_once(
    pairs: PairAsker, banks: Banks
) -> None:
    pair = Pair(1)
    banks.says = {pair.payment: E.REJECTED}
    found = await ask(pairs.send, pair.question())
    assert found[pair.id].event is E.REJECTED
    assert banks.asked == [("send", pair.payment)]


async def test_a_repeated_transmission_asks_for_the_cover_first(
    pairs: PairAsker, banks: Banks, covers: Covers
) -> None:
    pair = Pair(1)
    banks.says = {pair.payment: E.ACKNOWLEDGED, pair.cover: E.SETTLED}
    found = await ask(pairs.send, pair.question(is_possible_duplicate=True))
    assert found[pair.id].event is E.ACKNOWLEDGED
    assert covers.kept[pair.id].is_found


async def test_what_did_not_leave_is_proved_once_for_each_transmission(
    pairs: PairAsker, banks: Banks, covers: Covers
) -> None:
    pair = Pair(1)
    banks.says = {pair.cover: E.UNDELIVERED}
    for sends in (1, 2):
        covers.kept[pair.id] = pair.stored(sends=sends, undelivered=sends - 1)
        found = await ask(pairs.enquire, pair.question(cover_due=due(covers.kept[pair.id])))
        assert found[pair.id].event is E.ACKNOWLEDGED, "TO has the payment"
    assert [note.undelivered for note in covers.notes] == [1, 2]


@pytest.mark.parametrize(("late_seconds", "expected"), [(-1, E.COVER_DUE), (1, E.ACKNOWLEDGED)])
async def test_a_cover_leaves_by_the_databases_clock_whatever_the_machines_say(
    pairs: PairAsker, banks: Banks, covers: Covers, late_seconds: float, expected: Event
) -> None:
    """The machine that wrote it said that it is valid for 300 days, and the clock of the one that asks stands still."""
    pair = Pair(1)
    covers.kept[pair.id] = pair.stored()
    banks.says = {pair.payment: E.ACKNOWLEDGED}
    seconds = banks.capabilities.validity_seconds + late_seconds
    asked = pair.question(asked_at=NOW + timedelta(seconds=seconds))
    found = await ask(pairs.enquire, asked)
    assert found[pair.id].event is expected
