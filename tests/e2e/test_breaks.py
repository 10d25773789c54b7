"""Work on breaks on a running engine, as people do it: assigned, commented, closed by two, opened again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from settlement_engine.cli.failures import ExitCode
from tests.e2e.test_command_line import run
from tests.e2e.world import World
from tests.support.statement_files import Day, file_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NUMBER = "0009876543"
FUND = ("accounts", "fund", "HOUSDEFF", "EUR")
FIRST = Day(
    account=NUMBER,
    number=1,
    opening=0,
    amounts=(100_000, -66),
    day=datetime.now(UTC).date(),
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("breaks")) as world:
        yield world


def done(world: World, *arguments: str) -> Any:
    found = run(world, *arguments)
    assert found.code == ExitCode.OK, (arguments, found)
    return found


def balanced(world: World, account: str) -> tuple[str, str]:
    """Reconcile, and return the account's status with the difference that its proof leaves."""
    [found] = run(world, "reconcile", "--account", account, "--json").json["accounts"]
    return found["status"], found["proof"]["difference"]


def open_break(world: World) -> dict[str, Any]:
    [found] = done(world, "breaks", "list", "--json").json["breaks"]
    return dict(found)


@pytest.fixture(scope="module")
def account(world: World) -> str:
    """An account at a bank with a funding of 1,000.00."""
    opening = ("accounts", "open", "nostro", "HOUSDEFF", "EUR", "--account-number", NUMBER)
    opened = done(world, *opening, "--json").json
    done(world, *FUND, "1000.00", "--reference", "OURS1")
    return str(opened["id"])


def take(world: World, folder: Path, day: Day) -> None:
    file = folder / f"{day.number}.sta"
    file.write_bytes(file_of(day))
    done(world, "statements", "import", str(file), "--as", "ada")


def write_off(world: World, number: str) -> None:
    given = ("breaks", "write-off", number, "--reason", "agreed", "--as", "ada", "--json")
    done(world, "breaks", "approve", done(world, *given).json["id"], "--as", "grace")


def test_a_break_is_closed_by_two_people(world: World, account: str, tmp_path: Path) -> None:
    take(world, tmp_path, FIRST)
    status, difference = balanced(world, account)
    assert (status.endswith("IDENTIFIED"), difference) == (True, "0.00")
    found = open_break(world)
    assert (found["kind"], found["amount"], found["ageBucket"]) == ("UNKNOWN_DEBIT", "-0.66", "0-1")
    number = found["id"]
    done(world, "breaks", "assign", number, "ben", "--as", "ada")
    done(world, "breaks", "comment", number, "their fee, I think", "--as", "ben")
    given = ("breaks", "write-off", number, "--reason", "too small to ask", "--as", "ada")
    assert "would propose" in done(world, *given, "--dry-run").out
    proposal = done(world, *given, "--json").json["id"]
    assert "WRITE_OFF" in done(world, "breaks", "proposals").out
    refused = run(world, "breaks", "approve", proposal, "--as", "ada")
    assert refused.code != ExitCode.OK
    assert "two different people" in refused.err
    approved = done(world, "breaks", "approve", proposal, "--as", "grace")
    assert f"break {number} is closed" in approved.out + approved.err
    assert balanced(world, account)[0].endswith("BALANCED")
    shown = done(world, "breaks", "show", number).out
    for said in ("assigned by ada", "commented by ben", "approved by grace", "closed"):
        assert said in shown


def test_what_comes_late_opens_a_break_again(world: World, account: str, tmp_path: Path) -> None:
    done(world, *FUND, "5.00", "--reference", "OURS1")  # the bank books it only tomorrow
    balanced(world, account)
    late = open_break(world)
    assert late["kind"] == "MISSING_THEIRS"
    write_off(world, late["id"])
    assert balanced(world, account)[0].endswith("BALANCED")
    tomorrow = FIRST.day + timedelta(days=1)
    second = Day(account=NUMBER, number=2, opening=FIRST.end, amounts=(500,), day=tomorrow)
    take(world, tmp_path, second)
    status, difference = balanced(world, account)
    assert (status.endswith("IDENTIFIED"), difference) == (True, "0.00")
    assert open_break(world)["id"] == late["id"]
    assert "reopened by engine" in done(world, "breaks", "show", late["id"]).out
    write_off(world, late["id"])
    assert balanced(world, account)[0].endswith("BALANCED")
