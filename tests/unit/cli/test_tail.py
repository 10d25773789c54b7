"""``tail``: it begins now, can be resumed, and comes back when the engine does."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from google.rpc import code_pb2

from settlement_engine.cli import tail
from settlement_engine.cli.failures import ExitCode
from tests.unit.cli.fake_engine import ID, FakeEngine, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.unit.cli.conftest import Run


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeEngine]:
    fake = FakeEngine()
    with serving(fake) as address:
        monkeypatch.setenv("SETTLEMENT_ADDRESS", address)
        yield fake


class Enough(Exception):
    """What ends a wait that would never end."""


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Count the waits, and end the third."""
    waited: list[float] = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 3:
            raise Enough

    monkeypatch.setattr("settlement_engine.cli.tail.time.sleep", sleep)
    return waited


def sequences(out: str) -> list[str]:
    return [json.loads(line)["sequence"] for line in out.splitlines() if '"sequence"' in line]


def test_tail_resumes_after_a_number(command: Run, engine: FakeEngine) -> None:
    said = command("tail", "--after", "42", "--no-follow", "--json")
    assert sequences(said.out) == ["43", "44"]
    assert json.loads(said.out.splitlines()[0])["payload"]["amount"] == "1000.00"
    assert engine.asked[0].ends_at_head


def test_tail_begins_now(command: Run, engine: FakeEngine, pauses: list[float]) -> None:
    said = command("tail", "--json")
    assert engine.asked[0].begins_at_head
    assert not engine.asked[0].ends_at_head
    assert sequences(said.out) == ["43", "44"]  # what the engine had at the head is not told


@pytest.mark.parametrize("words", [("--from-start",), ("--after", "0"), ("--no-follow",)])
def test_tail_can_begin_with_the_first(
    command: Run, engine: FakeEngine, pauses: list[float], words: tuple[str, ...]
) -> None:
    said = command("tail", "--json", *words)
    assert sequences(said.out) == ["41", "42", "43", "44"]
    assert not engine.asked[0].begins_at_head


@pytest.mark.parametrize("name", [ID, "OB-7", "u-1"])
def test_tail_of_one_settlement_takes_any_name_of_it(
    command: Run, engine: FakeEngine, name: str
) -> None:
    said = command("tail", "--settlement", name, "--no-follow")
    assert len(said.out.splitlines()) == 4
    assert engine.asked[1].settlement_id == ID


def test_a_stream_that_breaks_is_taken_up_where_it_broke(
    command: Run, engine: FakeEngine, pauses: list[float]
) -> None:
    engine.breaks_after = 3
    said = command("tail", "--from-start", "--json")
    assert sequences(said.out) == ["41", "42", "43", "44"]
    assert [asked.after_sequence for asked in engine.asked[:2]] == [0, 43]
    assert "the engine is draining; retrying" in said.err


def test_a_stream_that_breaks_before_its_first_event_is_not_begun_later(
    command: Run, engine: FakeEngine, pauses: list[float]
) -> None:
    engine.head = 44  # nothing follows; the stream ends, and is taken up after the same number
    command("tail", "--json")
    assert [asked.after_sequence for asked in engine.asked] == [0, 44, 44]
    assert [asked.begins_at_head for asked in engine.asked] == [True, False, False]


def test_an_engine_that_was_never_there_is_not_waited_for(
    command: Run, pauses: list[float]
) -> None:
    assert command("tail", "--address", "127.0.0.1:1").code == ExitCode.UNAVAILABLE
    assert pauses == []


def test_without_following_a_break_is_a_failure(
    command: Run, engine: FakeEngine, pauses: list[float]
) -> None:
    engine.breaks_after = 2
    assert command("tail", "--no-follow").code == ExitCode.UNAVAILABLE
    assert pauses == []


def test_what_is_wrong_for_ever_is_not_tried_again(
    command: Run, engine: FakeEngine, pauses: list[float]
) -> None:
    engine.fail("StreamSettlementEvents", code_pb2.PERMISSION_DENIED, "you may not")
    assert command("tail").code == ExitCode.FAILED
    assert pauses == []


def test_an_engine_that_stays_away_is_given_up_some_day(
    command: Run, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch, pauses: list[float]
) -> None:
    monkeypatch.setattr(tail, "AWAY_SECONDS_MAX", 0.0)
    engine.breaks_after = 1
    said = command("tail", "--from-start")
    assert said.code == ExitCode.UNAVAILABLE
    assert pauses == []


def test_ctrl_c_says_where_to_go_on(
    command: Run, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("settlement_engine.cli.tail.time.sleep", interrupt)
    said = command("tail", "--from-start")
    assert said.code == ExitCode.INTERRUPTED
    assert "settlement-engine tail --after 44" in said.err
