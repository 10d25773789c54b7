"""Two contested versions of a statement on a running engine: two people set the wrong one aside, through a kill."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from settlement_engine.cli.failures import ExitCode
from tests.e2e.test_command_line import run
from tests.e2e.world import World, until
from tests.support.statement_files import Day, file_of

if TYPE_CHECKING:
    from collections.abc import Iterator

NUMBER = "0009876511"
RIGHT = Day(account=NUMBER, number=1, opening=0, amounts=(100_000,), day=datetime.now(UTC).date())
WRONG = replace(RIGHT, amounts=(100_000, -66))
SECONDS = 60


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("contested")) as world:
        yield world


def done(world: World, *arguments: str) -> Any:
    found = run(world, *arguments)
    assert found.code == ExitCode.OK, (arguments, found)
    return found


def status_of(world: World, account: str) -> str:
    [found] = run(world, "reconcile", "--account", account, "--json").json["accounts"]
    return str(found["status"]).removeprefix("RECONCILIATION_STATUS_")


def kinds(world: World) -> list[str]:
    found = run(world, "statements", "list", "--problems", "--json").json["problems"]
    return sorted(each["kind"] for each in found)


@pytest.fixture(scope="module")
def statements(world: World, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Our account at a bank, and the numbers of the wrong and of the right version of its statement."""
    folder = tmp_path_factory.mktemp("files")
    opening = ("accounts", "open", "nostro", "HOUSDEFF", "EUR", "--account-number", NUMBER)
    account = str(done(world, *opening, "--json").json["id"])
    done(world, "accounts", "fund", "HOUSDEFF", "EUR", "1000.00", "--reference", "OURS1")
    numbers = []
    for name, day in (("wrong", WRONG), ("right", RIGHT)):
        file = folder / f"{name}.sta"
        file.write_bytes(file_of(day))
        run(world, "statements", "import", str(file), "--as", "ada")
        numbers.append(run(world, "statements", "list", "--json").json["statements"][0]["number"])
    return [account, *map(str, numbers)]


def test_two_people_choose_between_contested_versions(world: World, statements: list[str]) -> None:
    account, wrong, right = statements
    assert kinds(world) == ["CONTESTED", "CONTESTED"]
    assert "statements set-aside" in run(world, "statements", "list", "--problems").out
    assert status_of(world, account) == "PENDING"

    given = ("statements", "set-aside", wrong, "--reason", "the bank has corrected it")
    assert "would propose" in done(world, *given, "--as", "ada", "--dry-run").out
    proposal = done(world, *given, "--as", "ada", "--json").json["id"]
    for name in ("ada", "ADA"):
        refused = run(world, "statements", "approve", proposal, "--as", name)
        assert refused.code != ExitCode.OK
        assert "two different people" in refused.err

    # A kill between the proposal and the approval changes nothing.
    old = world.engine_pids()
    world.kill_engine()
    world.await_new_engine(old)
    assert proposal in done(world, "statements", "proposals").out
    assert kinds(world) == ["CONTESTED", "CONTESTED"]
    assert status_of(world, account) == "PENDING"

    approved = done(world, "statements", "approve", proposal, "--as", "grace")
    assert "set aside from now on" in approved.out + approved.err
    assert kinds(world) == []

    def is_proved() -> bool:
        listed = run(world, "reports", "list", "--json").json["reports"]
        return any(
            each["status"].endswith("BALANCED")
            for report in listed
            for each in report.get("accounts", [])
        )

    until(is_proved, SECONDS, "the run after the approval")
    assert status_of(world, account) == "BALANCED"
    [found] = run(world, "reconcile", "--account", account, "--json").json["accounts"]
    assert found["proof"]["difference"] == "0.00"
    shown = done(world, "statements", "show", wrong).out
    assert "by ada and grace" in shown
    assert "the bank has corrected it" in shown
    assert "set aside" in done(world, "statements", "list").out
    assert "1 of 1 statement" in done(world, "statements", "show", right).out


def test_what_was_set_aside_is_contested_again_when_it_is_restored(
    world: World, statements: list[str]
) -> None:
    _, wrong, _ = statements
    undone = ("statements", "restore", wrong, "--reason", "it was the right one", "--as", "grace")
    back = done(world, *undone, "--json").json["id"]
    done(world, "statements", "approve", back, "--as", "ada")
    assert kinds(world) == ["CONTESTED", "CONTESTED"]
    world.prove()
