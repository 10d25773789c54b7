"""The program as a whole: help, exit codes, three-line errors, quiet interruptions."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import click
import pytest

from settlement_engine import __version__, cli
from settlement_engine.cli.failures import ExitCode, code_for, explain
from settlement_engine.errors import (
    Contention,
    Misconfigured,
    NotFound,
    SettlementEngineError,
    Unavailable,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.unit.cli.conftest import Run

HELP_CPU_SECONDS_MAX = 0.25
HEAVY = {"asyncpg", "grpc", "nats", "pydantic", "rich", "aiohttp", "google.protobuf", "asyncio"}


def every_command() -> Iterator[tuple[str, ...]]:
    def walk(command: click.Command, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        yield path
        if isinstance(command, click.Group):
            for name in command.list_commands(click.Context(command)):
                inner = command.get_command(click.Context(command), name)
                assert inner is not None
                yield from walk(inner, (*path, name))

    yield from walk(cli.cli, ())


def program(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "settlement_engine", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_help_lists_every_command_but_the_hidden_one(command: Run) -> None:
    said = command("--help")
    assert said.code == ExitCode.OK
    for names in cli.COMMANDS.values():
        for name in names:
            assert (f"  {name} " in said.out) is (name != "engine-process")


def named(path: tuple[str, ...]) -> click.Command:
    """Find a command by its words."""
    found: click.Command = cli.cli
    for name in path:
        assert isinstance(found, click.Group)
        inner = found.get_command(click.Context(found), name)
        assert inner is not None
        found = inner
    return found


@pytest.mark.parametrize("path", list(every_command()), ids=" ".join)
def test_every_command_has_help_with_an_example(command: Run, path: tuple[str, ...]) -> None:
    said = command(*path, "--help")
    assert said.code == ExitCode.OK
    assert "--debug" in said.out
    explained = said.out.partition("Options:")[0].partition("Examples:")[0].splitlines()[1:]
    assert not any("  " in line.removeprefix("  ") for line in explained), "the text is indented"
    is_group = isinstance(named(path), click.Group)
    assert is_group or "settlement-engine " + " ".join(path) in said.out.partition("Examples:")[2]


@pytest.mark.parametrize("path", list(every_command()), ids=" ".join)
def test_every_option_of_every_command_is_explained(path: tuple[str, ...]) -> None:
    found: click.Command | None = cli.cli
    for name in path:
        assert isinstance(found, click.Group)
        found = found.get_command(click.Context(found), name)
    assert found is not None
    for option in found.params:
        if isinstance(option, click.Option):
            assert option.help, f"{option.opts[0]} has no help"


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from settlement_engine.cli import run; run(['--help']);"
        f"print(sorted({HEAVY!r} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_the_package_app_itself_imports_no_component() -> None:
    """Each command imports the one module of app that it needs, and pays for no other."""
    code = (
        "import sys; before = set(sys.modules); import settlement_engine.app.development;"
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    app = "settlement_engine.app"
    assert done.stdout.split() == ["settlement_engine", app, f"{app}.development"]


def test_help_is_there_at_once() -> None:
    def cpu_seconds() -> float:
        before = os.times()
        subprocess.run(
            [sys.executable, "-m", "settlement_engine", "--help"], check=True, capture_output=True
        )
        after = os.times()
        return (
            after.children_user
            - before.children_user
            + after.children_system
            - before.children_system
        )

    assert min(cpu_seconds() for _ in range(3)) < HELP_CPU_SECONDS_MAX


def test_the_version_is_printed(command: Run) -> None:
    assert __version__ in command("--version").out


@pytest.mark.parametrize("words", [("sbmit",), ("--wrong",), ("config", "chek"), ("show",)])
def test_wrong_usage_ends_with_two_and_three_lines(command: Run, words: tuple[str, ...]) -> None:
    said = command(*words)
    assert said.code == ExitCode.USAGE
    assert said.out == ""
    what, why, todo = said.err.splitlines()
    assert what.startswith("✗ ")
    assert why.startswith("  why: ")
    assert todo.startswith("  do:  Read the help: settlement-engine")


def test_a_misspelt_command_gets_a_hint(command: Run) -> None:
    assert "did you mean submit?" in command("sbmit").err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Misconfigured("x"), 3),
        (Unavailable("x"), 4),
        (NotFound("x"), 1),
        (Contention("x"), 1),
        (SettlementEngineError("x"), 1),
        (ValueError("x"), 1),
    ],
)
def test_each_kind_of_failure_has_its_code(error: Exception, code: int) -> None:
    assert code_for(error) == code
    assert len(explain(error).splitlines()) == 3


def test_a_bug_is_told_without_a_traceback_and_with_debug_with_one(
    command: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        message = "all wrong"
        raise ZeroDivisionError(message)

    monkeypatch.setattr("settlement_engine.cli.configuration.load_config", fail)
    said = command("config", "check")
    assert said.code == ExitCode.FAILED
    assert "all wrong" in said.err
    assert "--debug" in said.err
    assert "Traceback" not in said.err
    with pytest.raises(ZeroDivisionError):
        command("config", "check", "--debug")


def test_a_reader_that_goes_away_is_met_with_silence() -> None:
    child = program("config", "show")
    assert child.stdout is not None
    assert child.stderr is not None
    child.stdout.close()
    assert child.stderr.read() == ""
    child.stderr.close()
    assert child.wait(timeout=20) in {ExitCode.OK, ExitCode.FAILED}


@pytest.mark.parametrize("variable", ["NO_COLOR", "--no-color"])
def test_colors_can_be_switched_off(command: Run, variable: str) -> None:
    words = ("config", "check", variable) if variable.startswith("-") else ("config", "check")
    assert "\x1b" not in command(*words).out
