"""``accounts balance`` against an engine that only pretends."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from settlement_engine.cli.failures import ExitCode
from tests.unit.cli.fake_engine import FakeEngine, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.unit.cli.conftest import Run


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeEngine]:
    fake = FakeEngine()
    with serving(fake) as address:
        monkeypatch.setenv("SETTLEMENT_ADDRESS", address)
        yield fake


def test_a_date_is_asked_for_as_a_booking_date(command: Run, engine: FakeEngine) -> None:
    said = command("accounts", "balance", "7", "--as-of", "2026-01-31")
    assert said.code == ExitCode.OK
    assert (engine.asked[0].account_id, engine.asked[0].as_of_date) == ("7", "2026-01-31")
    assert not engine.asked[0].HasField("as_of_time")
    assert "not final" in said.err + said.out


def test_a_time_is_asked_for_as_an_instant(command: Run, engine: FakeEngine) -> None:
    said = command("accounts", "balance", "--as-of", "2026-01-31T12:00:00.25+01:00")
    assert said.code == ExitCode.OK
    at = engine.asked[0].as_of_time.ToDatetime(UTC)
    assert at == datetime(2026, 1, 31, 11, 0, 0, 250_000, tzinfo=UTC)
    assert not engine.asked[0].as_of_date
    assert "not final" not in said.err + said.out


def test_all_pages_are_read_up_to_the_limit(command: Run, engine: FakeEngine) -> None:
    whole = json.loads(command("accounts", "balance", "--json").out)
    assert [each["accountId"] for each in whole["balances"]] == ["1", "2", "3"]
    assert (whole["hasMore"], whole["isFinal"]) == (False, True)
    cut = json.loads(command("accounts", "balance", "--json", "--limit", "2").out)
    assert (len(cut["balances"]), cut["hasMore"]) == (2, True)


def test_what_is_no_time_is_refused(command: Run, engine: FakeEngine) -> None:
    said = command("accounts", "balance", "--as-of", "2026-02-30")
    assert said.code == ExitCode.USAGE
    assert "is not a time" in said.err
    assert engine.asked == []
