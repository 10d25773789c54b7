"""The mock rail's scripts, its missing answers and its time limits."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from settlement_engine.domain.identifiers import references
from settlement_engine.domain.lifecycle import Event
from settlement_engine.errors import Misconfigured, Unavailable
from settlement_engine.ports import BalanceQuestion
from settlement_engine.rails import mock
from settlement_engine.rails.mock import MockRail
from settlement_engine.rails.mock_message import status_message
from settlement_engine.rails.scripts import SCRIPTS
from tests.support.waiting import turns, until
from tests.unit.rails.builders import (
    HandClock,
    Heard,
    book_of,
    mock_settings,
    question,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from settlement_engine.ports import InboundMessage, Question

SILENCE: list[Event] = []
WAIT_MAX_SECONDS = 5.0


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
async def rail(tmp_path: Path, clock: HandClock) -> AsyncIterator[MockRail]:
    made = MockRail(mock_settings(tmp_path), clock)
    await made.start()
    yield made
    await made.stop()


async def ask(rail: MockRail, way: str, *questions: Question) -> list[Event]:
    heard = Heard()
    await getattr(rail, way)(questions, heard)
    return heard.events


STORIES: dict[str, list[tuple[str, Any]]] = {
    "settle": [("send", [Event.SETTLED]), ("enquire", [Event.SETTLED])],
    "reject": [("send", [Event.REJECTED]), ("enquire", [Event.REJECTED])],
    "lost_request": [
        ("send", SILENCE),
        ("enquire", [Event.NOT_FOUND]),
        ("send", [Event.SETTLED]),
        ("enquire", [Event.SETTLED]),
    ],
    "lost_answer": [("send", SILENCE), ("enquire", [Event.SETTLED]), ("send", SILENCE)],
    "late_settle": [
        ("send", SILENCE),
        ("enquire", [Event.ACKNOWLEDGED]),
        ("later", 4.9),
        ("enquire", [Event.ACKNOWLEDGED]),
        ("later", 0.2),
        ("enquire", [Event.SETTLED]),
        ("recall", [Event.SETTLED]),
    ],
    "late_reject": [
        ("send", SILENCE),
        ("enquire", [Event.ACKNOWLEDGED]),
        ("later", 5.1),
        ("enquire", [Event.REJECTED]),
    ],
    "silent": [
        ("send", SILENCE),
        ("enquire", SILENCE),
        ("later", 1e6),
        ("recall", SILENCE),
        ("enquire", SILENCE),
    ],
    "contradict": [("send", [Event.SETTLED]), ("enquire", [Event.SETTLED])],
    "undelivered": [
        ("send", [Event.UNDELIVERED]),
        ("enquire", [Event.NOT_FOUND]),
        ("send", [Event.UNDELIVERED]),
        ("send", [Event.SETTLED]),
    ],
}
ENDS = {
    "settle": ("settled", 1, 1),
    "reject": ("rejected", 1, 0),
    "lost_request": ("settled", 1, 1),
    "lost_answer": ("settled", 2, 1),
    "late_settle": ("settled", 1, 1),
    "late_reject": ("rejected", 1, 0),
    "silent": ("received", 1, 0),
    "contradict": ("contradicted", 1, 1),
    "undelivered": ("settled", 1, 1),
}


def test_every_script_has_its_story() -> None:
    assert STORIES.keys() == SCRIPTS.keys() == ENDS.keys()


@pytest.mark.parametrize("is_restarted", [False, True], ids=["one life", "restarted at each step"])
@pytest.mark.parametrize("word", SCRIPTS)
async def test_a_script_goes_as_its_story_says(
    rail: MockRail, clock: HandClock, tmp_path: Path, word: str, is_restarted: bool
) -> None:
    asked = question(rail, word, word)
    for step, (way, wanted) in enumerate(STORIES[word]):
        if way == "later":
            clock.advance(wanted)
            continue
        assert await ask(rail, way, asked) == wanted, f"step {step}: {way}"
        if is_restarted:
            await rail.stop()
            rail = MockRail(mock_settings(tmp_path), clock)
            await rail.start()
    entry = (await book_of(rail))[f"OB-{word}"]
    found = (entry["state"], entry["times_received"], entry["times_debited"])
    assert found == ENDS[word]
    await rail.stop()


async def test_the_book_tells_what_was_paid_and_for_whom(rail: MockRail) -> None:
    asked = question(rail, "k", "settle")
    await ask(rail, "send", asked)
    assert await book_of(rail) == {
        "OB-k": {
            "reference": asked.references.end_to_end_id,
            "settlement_id": str(asked.settlement_id),
            "obligation_id": "OB-k",
            "from_bank": "DEUTDEFF",
            "to_bank": "CHASUS33",
            "amount": "12.50",
            "currency": "EUR",
            "state": "settled",
            "times_received": 1,
            "times_debited": 1,
        }
    }


async def test_another_reference_for_the_same_settlement_is_another_debit_and_shows(
    rail: MockRail,
) -> None:
    first, second = question(rail, "k", "settle"), question(rail, "other", "settle")
    wrong = second.__class__(
        settlement_id=first.settlement_id,
        attempt=2,
        references=second.references,
        payload=second.payload.replace(
            str(second.settlement_id).encode(), str(first.settlement_id).encode()
        ),
        valid_until=first.valid_until,
    )
    await ask(rail, "send", first)
    await ask(rail, "send", wrong)
    entries = [entry async for page in rail.ledger_pages() for entry in page]
    ours = [entry for entry in entries if entry["settlement_id"] == str(first.settlement_id)]
    assert [entry["times_debited"] for entry in ours] == [1, 1]


async def test_an_unknown_script_is_rejected_with_its_name(rail: MockRail) -> None:
    heard = Heard()
    await rail.send([question(rail, "k", "setle")], heard)
    (answer,) = heard.answers
    assert answer.event is Event.REJECTED
    assert answer.code == "NARR"
    assert "'setle'" in answer.text
    assert "settle, reject, lost_request" in answer.text


async def test_what_is_pending_can_be_recalled_and_is_never_debited(
    rail: MockRail, clock: HandClock
) -> None:
    asked = question(rail, "k", "late_settle")
    await ask(rail, "send", asked)
    assert await ask(rail, "recall", asked) == [Event.RECALLED]
    clock.advance(60)
    assert await ask(rail, "enquire", asked) == [Event.REJECTED]
    entry = (await book_of(rail))["OB-k"]
    assert (entry["state"], entry["times_debited"]) == ("recalled", 0)


async def test_the_bank_goes_on_though_nobody_asks(rail: MockRail, clock: HandClock) -> None:
    await ask(rail, "send", question(rail, "k", "late_settle"))
    clock.advance(6)
    assert (await book_of(rail))["OB-k"]["times_debited"] == 1


async def test_a_clock_that_goes_back_undoes_nothing(rail: MockRail, clock: HandClock) -> None:
    asked = question(rail, "k", "late_settle")
    await ask(rail, "send", asked)
    clock.advance(6)
    assert await ask(rail, "enquire", asked) == [Event.SETTLED]
    clock.advance(-60)
    assert await ask(rail, "enquire", asked) == [Event.SETTLED]


async def test_with_a_settlement_delay_the_first_word_is_acknowledged(
    tmp_path: Path, clock: HandClock
) -> None:
    rail = MockRail(mock_settings(tmp_path, settlement_delay_seconds=2.0), clock)
    await rail.start()
    asked = question(rail, "k")
    heard = Heard()
    await rail.send([asked], heard)
    await rail.enquire([asked], heard)
    clock.advance(2.1)
    await rail.enquire([asked], heard)
    await rail.stop()
    assert heard.events == [Event.ACKNOWLEDGED, Event.ACKNOWLEDGED, Event.SETTLED]
    assert len({answer.rail_reference for answer in heard.answers}) == 1
    assert heard.answers[0].rail_reference.startswith("MOCK-")
    assert heard.answers[2].confirmation.startswith("CONF-")


async def test_the_contradiction_comes_unasked_and_after_settled(
    rail: MockRail, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mock, "CONTRADICTS_AFTER_SECONDS", 0.01)
    unasked: list[InboundMessage] = []
    told = asyncio.Event()

    async def receive(messages: Sequence[InboundMessage]) -> None:
        unasked.extend(messages)
        told.set()

    rail.listen(receive)
    asked = question(rail, "k", "contradict", attempt=3)
    assert await ask(rail, "send", asked) == [Event.SETTLED]
    assert not unasked
    async with asyncio.timeout(WAIT_MAX_SECONDS):
        await told.wait()
    (message,) = unasked
    (report,) = message.reports
    assert report.event is Event.REJECTED
    assert report.references.uetr == asked.references.uetr
    assert asked.references.end_to_end_id.encode() in message.content


async def test_what_is_not_acknowledged_is_delivered_again(
    rail: MockRail, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mock, "CONTRADICTS_AFTER_SECONDS", 0.01)
    monkeypatch.setattr(mock, "REDELIVERY_SECONDS", 0.01)
    delivered: list[bytes] = []
    acknowledged = asyncio.Event()

    async def receive(messages: Sequence[InboundMessage]) -> None:
        delivered.extend(message.content for message in messages)
        if len(delivered) < 3:
            raise Unavailable("not stored")
        acknowledged.set()

    rail.listen(receive)
    await ask(rail, "send", question(rail, "k", "contradict"))
    async with asyncio.timeout(WAIT_MAX_SECONDS):
        await acknowledged.wait()
    await until(lambda: not rail._deliveries)
    assert len(delivered) == 3, "acknowledged is acknowledged"
    assert len(set(delivered)) == 1, "it is the same message each time"


async def test_after_stop_the_bank_contradicts_nobody(
    tmp_path: Path, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mock, "CONTRADICTS_AFTER_SECONDS", 0.0)
    rail = MockRail(mock_settings(tmp_path), clock)
    await rail.start()
    unasked: list[InboundMessage] = []

    async def receive(messages: Sequence[InboundMessage]) -> None:
        unasked.extend(messages)

    rail.listen(receive)
    rail._report_later([status_message(references("c", "k", 1), Event.REJECTED)])
    await rail.stop()
    await turns()
    assert not unasked
    assert not rail._timers


async def test_an_unanswered_question_waits_for_the_time_out_and_delays_no_answer(
    tmp_path: Path, clock: HandClock
) -> None:
    rail = MockRail(mock_settings(tmp_path, answer_timeout_seconds=0.4), clock)
    await rail.start()
    loop = asyncio.get_running_loop()
    started_at = loop.time()
    answered_at: list[float] = []
    questions = [question(rail, "quiet", "lost_answer"), question(rail, "loud", "settle")]
    await rail.send(questions, lambda _answers: answered_at.append(loop.time() - started_at))
    lasted = loop.time() - started_at
    await rail.stop()
    assert answered_at
    assert answered_at[0] < 0.2
    assert lasted >= 0.39


async def test_without_silence_the_call_does_not_wait(tmp_path: Path, clock: HandClock) -> None:
    rail = MockRail(mock_settings(tmp_path, answer_timeout_seconds=60.0), clock)
    await rail.start()
    async with asyncio.timeout(WAIT_MAX_SECONDS):
        assert await ask(rail, "send", question(rail, "k", "settle")) == [Event.SETTLED]
    await rail.stop()


async def test_the_latency_comes_before_the_bank_has_the_message(
    tmp_path: Path, clock: HandClock
) -> None:
    rail = MockRail(
        mock_settings(tmp_path, latency_seconds=60.0, answer_timeout_seconds=120.0), clock
    )
    await rail.start()
    asked = question(rail, "k", "settle")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await ask(rail, "send", asked)
    assert await book_of(rail) == {}
    await rail.stop()


async def test_the_same_seed_means_the_same_luck(tmp_path: Path, clock: HandClock) -> None:
    async def luck(folder: str, seed: int) -> list[Event]:
        settings = mock_settings(tmp_path / folder, success_rate=Decimal("0.7"), seed=seed)
        rail = MockRail(settings, clock)
        await rail.start()
        events = await ask(rail, "send", *(question(rail, f"k{n}") for n in range(1_500)))
        await rail.stop()
        return events

    first, again, other = await luck("a", 1), await luck("b", 1), await luck("c", 2)
    assert first == again
    assert first != other
    assert 0.65 < first.count(Event.SETTLED) / len(first) < 0.75
    assert set(first) == {Event.SETTLED, Event.REJECTED}


@pytest.mark.parametrize(("rate", "event"), [("0", Event.REJECTED), ("1", Event.SETTLED)])
async def test_certainty_leaves_nothing_to_luck(
    tmp_path: Path, clock: HandClock, rate: str, event: Event
) -> None:
    rail = MockRail(mock_settings(tmp_path, success_rate=Decimal(rate)), clock)
    await rail.start()
    assert set(await ask(rail, "send", *(question(rail, f"k{n}") for n in range(300)))) == {event}
    await rail.stop()


@pytest.mark.parametrize(
    "changes",
    [
        {"success_rate": Decimal("1.01")},
        {"success_rate": Decimal(-1)},
        {"latency_seconds": -0.1},
        {"late_seconds": float("nan")},
        {"latency_seconds": 1.0, "answer_timeout_seconds": 1.0},
    ],
)
def test_a_bank_that_cannot_be_is_refused(tmp_path: Path, changes: dict[str, object]) -> None:
    with pytest.raises(Misconfigured):
        mock_settings(tmp_path, **changes)


async def test_the_balance_is_what_an_account_began_with_less_what_was_paid(
    tmp_path: Path, clock: HandClock
) -> None:
    rail = MockRail(mock_settings(tmp_path, openings_minor={("DEUTDEFF", "EUR"): 100_000}), clock)
    await rail.start()
    try:
        asked = BalanceQuestion(bank="deutdeffxxx", account_number="1", currency="EUR")
        assert rail.gives_balances("deutdeffxxx", "EUR")
        assert not rail.gives_balances("DEUTDEFF", "USD")
        assert not rail.gives_balances("BANK0002", "EUR")
        assert (await rail.balance(asked)).minor == 100_000
        await ask(rail, "send", question(rail, "one", "settle"), question(rail, "two", "reject"))
        paid = next(each for each in (await book_of(rail)).values() if each["state"] == "settled")
        assert (paid["from_bank"], paid["currency"]) == ("DEUTDEFF", "EUR")
        answer = await rail.balance(asked)
        assert answer.minor == 100_000 - round(float(str(paid["amount"])) * 100)
        assert answer.as_of == clock.now()
    finally:
        await rail.stop()
