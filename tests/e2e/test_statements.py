"""``statements`` against a running engine, as a person or a script uses it."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest

from settlement_engine.cli.failures import ExitCode
from tests.e2e.test_command_line import run
from tests.e2e.world import World
from tests.support.statement_files import chain, file_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NUMBER = "0009876543"
FIELDS = ["file", "account", "id", "date", "entries", "opening", "closing", "outcome", "reason"]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("statements")) as world:
        opened = run(
            world, "accounts", "open", "nostro", "HOUSDEFF", "EUR", "--account-number", NUMBER
        )
        assert opened.code == ExitCode.OK, opened
        yield world


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_files_are_imported_listed_shown_and_exported(world: World, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    days = chain(NUMBER, 4)
    for number in (0, 1, 3):
        (folder / f"{number}.sta").write_bytes(file_of(days[number]))
    (folder / "notes.txt").write_text("not a statement")
    done = run(world, "statements", "import", str(folder), "--json", "--as", "ada")
    assert done.code == ExitCode.FAILED, done
    found = lines(done.out)
    assert [list(each) for each in found] == [FIELDS] * 4
    assert [each["outcome"] for each in found] == ["IMPORTED", "IMPORTED", "GAP", "UNREADABLE"]
    assert found[0] == {
        "file": str(folder / "0.sta"),
        "account": NUMBER,
        "id": "STMT1",
        "date": "2026-03-02",
        "entries": 2,
        "opening": "1000.00",
        "closing": "999.99",
        "outcome": "IMPORTED",
        "reason": "it is the account's first statement",
    }
    problems = run(world, "statements", "list", "--problems", "--json").json["statements"]
    assert [each["outcome"] for each in problems] == ["UNREADABLE", "GAP"]
    again = run(world, "statements", "import", str(folder / "0.sta"), str(folder / "1.sta"))
    assert again.code == ExitCode.OK, again
    assert again.out.count("ALREADY_IMPORTED") == 2

    number = problems[1]["number"]
    shown = run(world, "statements", "show", number, "--json").json
    assert [each["amount"] for each in shown["entryList"]] == ["1.21", "-1.22"]
    assert "payment 1 of 4" in run(world, "statements", "show", number).out
    assert "GAP" in run(world, "statements", "list").out
    target = tmp_path / "out.sta"
    done = run(world, "statements", "export", number, "--out", str(target), "--json")
    content = (folder / "3.sta").read_bytes()
    assert target.read_bytes() == content
    assert done.json["sha256"] == hashlib.sha256(content).hexdigest()
    assert run(world, "statements", "export", number, "--out", str(target)).code != ExitCode.OK


def test_files_are_imported_in_the_order_in_which_they_are_given(
    world: World, tmp_path: Path
) -> None:
    number = "0001112223"
    opened = run(world, "accounts", "open", "nostro", "HOUSDEFF", "EUR", "--account-number", number)
    assert opened.code == ExitCode.OK, opened
    files = [tmp_path / "b.sta", tmp_path / "a.sta"]
    for file, day in zip(files, chain(number, 2), strict=True):
        file.write_bytes(file_of(day))
    done = run(world, "statements", "import", *map(str, files), "--json")
    assert done.code == ExitCode.OK, done
    assert [(each["file"], each["outcome"]) for each in lines(done.out)] == [
        (str(file), "IMPORTED") for file in files
    ]


def pages(number: str, place: int) -> list[str]:
    """Write a statement of two pages: 10.00 comes in on each."""
    head = f":20:P{place}\r\n:25:{number}\r\n:28C:{place}/"
    opening, middle, closing = (f"C2603{place:02d}EUR{(2 * place + at) * 10},00" for at in range(3))
    entry = f":61:2603{place:02d}03{place:02d}C10,00NTRFOURS//BANK{place}-"
    return [
        f"{head}1\r\n:60F:{opening}\r\n{entry}1\r\n:62M:{middle}\r\n-\r\n",
        f"{head}2\r\n:60M:{middle}\r\n{entry}2\r\n:62F:{closing}\r\n-\r\n",
    ]


def test_pages_that_complete_each_other_are_no_problem(world: World, tmp_path: Path) -> None:
    number = "0003334445"
    opened = run(world, "accounts", "open", "nostro", "HOUSDEFF", "EUR", "--account-number", number)
    assert opened.code == ExitCode.OK, opened
    both, first, last = (tmp_path / f"{name}.sta" for name in ("both", "first", "last"))
    both.write_text("".join(pages(number, 1)))
    done = run(world, "statements", "import", str(both))
    assert done.code == ExitCode.OK, done
    assert "its last page has not come yet (here: page 1)" in done.out
    assert "1 page completed by later ones, 0 problems" in done.out
    for file, text in zip((first, last), pages(number, 2), strict=True):
        file.write_text(text)
    alone = run(world, "statements", "import", str(last), "--json")  # the last one comes first
    assert alone.code == ExitCode.FAILED, alone
    [found] = lines(alone.out)
    assert (found["outcome"], found["reason"]) == (
        "INCOMPLETE",
        "its first page has not come yet (here: page 2)",
    )
    account = run(world, "statements", "list", "--limit", "1", "--json").json["statements"][0]
    wanted = ("statements", "list", "--problems", "--account", account["accountId"], "--json")
    kinds = {each["kind"] for each in run(world, *wanted).json["problems"]}
    assert kinds == {"GAP", "INCOMPLETE"}
    whole = run(world, "statements", "import", str(first), "--json")
    assert whole.code == ExitCode.OK, whole
    [found] = lines(whole.out)
    assert found["outcome"] == "IMPORTED"
    assert found["reason"].startswith("all 2 pages of the statement are here")
    assert run(world, *wanted).json["problems"] == []


def test_a_large_file_goes_in_parts(world: World, tmp_path: Path) -> None:
    file = tmp_path / "large.sta"
    file.write_bytes(file_of(*chain("0005555555", 1, entries=3_000)))
    [found] = lines(run(world, "statements", "import", str(file), "--json").out)
    assert (found["outcome"], found["entries"]) == ("UNKNOWN_ACCOUNT", 3_000)


def test_what_is_not_there_is_a_usage_error(world: World, tmp_path: Path) -> None:
    missing = run(world, "statements", "import", str(tmp_path / "none.sta"))
    assert missing.code == ExitCode.USAGE
    empty = run(world, "statements", "import", str(tmp_path))
    assert empty.code == ExitCode.USAGE
    unread = run(world, "statements", "show", "99999")
    assert unread.code == ExitCode.FAILED
