"""The command line against a running engine, as a person or a script uses it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from settlement_engine.cli.failures import ExitCode
from tests.e2e.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SUBMIT = ("submit", "DEUTDEFF", "CHASUS33")
SETTLES = ("--metadata", "simulate=settle")


class Done(NamedTuple):
    """The result of a command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    quick = ("--set", "banks.mock_latency_ms=0")
    with World(tmp_path_factory.mktemp("cli"), "--sample-data", *quick) as world:
        yield world


def run(world: World, *words: str) -> Done:
    done = subprocess.run(
        [sys.executable, "-m", "settlement_engine", *words],
        env={**os.environ, "SETTLEMENT_ADDRESS": world.address["grpc"]},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def test_commands_find_a_settlement_by_any_of_its_identifiers(world: World, tmp_path: Path) -> None:
    answer = run(world, *SUBMIT, "11.00", "EUR", *SETTLES, "--json").json
    shown = run(world, "show", answer["settlementId"], "--json").json
    names = [shown[name] for name in ("settlementId", "obligationId", "uetr", "endToEndId")]
    for number, name in enumerate([*names, shown["reference"], shown["uetr"].upper()]):
        assert run(world, "show", name, "--json").json["settlementId"] == answer["settlementId"]
        assert answer["obligationId"] in run(world, "explain", name).out
        transfers = run(world, "accounts", "transfers", "--settlement", name, "--json").json
        assert len(transfers["transfers"]) == 2
        announced = run(
            world, "tail", "--settlement", name, "--no-follow", "--json"
        ).out.splitlines()
        assert len(announced) == len(shown["moves"])
        file = str(tmp_path / f"{number}.zip")
        assert run(world, "evidence", name, "-o", file).code == ExitCode.OK
        too_late = run(world, "cancel", name, "--json")
        assert (too_late.code, too_late.json["error"]["reason"]) == (1, "WRONG_STATE")


def test_the_same_command_pays_once_and_another_one_twice(world: World) -> None:
    before = world.nostro("DEUTDEFF", "GBP").posted
    words = (*SUBMIT, "5.00", "GBP", *SETTLES, "--json")
    answers = [run(world, *words).json for _ in range(3)]
    assert len({answer["settlementId"] for answer in answers}) == 1
    assert [answer["replayed"] for answer in answers] == [False, True, True]
    run(world, *words, "--another")
    paid = float(before) - float(world.nostro("DEUTDEFF", "GBP").posted)
    assert paid == 10.0


def test_an_open_outcome_has_its_code_and_goes_on(world: World) -> None:
    words = (*SUBMIT, "6.00", "EUR", "--metadata", "simulate=silent", "--timeout-seconds", "2")
    done = run(world, *words)
    assert done.code == ExitCode.OPEN, done.out + done.err
    assert "settlement-engine show" in done.out


@pytest.mark.parametrize(
    ("words", "code", "field"),
    [
        ((*SUBMIT, "-5", "EUR"), ExitCode.USAGE, "amount"),
        ((*SUBMIT, "5", "XXX"), ExitCode.USAGE, "currency"),
        ((*SUBMIT, "5", "EUR", "--obligation-id", "?"), ExitCode.USAGE, "obligation_id"),
        (("accounts", "fund", "DEUTDEFF", "EUR", "-5", "--reference", "R"), 2, "amount"),
        (("accounts", "show", "x"), ExitCode.USAGE, "id"),
    ],
)
def test_a_wrong_field_is_wrong_usage(
    world: World, words: tuple[str, ...], code: int, field: str
) -> None:
    done = run(world, *words, "--json")
    assert done.code == code
    assert field in [each["field"] for each in done.json["error"]["violations"]]


def test_a_funding_is_posted_once(world: World) -> None:
    before = float(world.nostro("DEUTDEFF", "USD").posted)
    words = ("accounts", "fund", "DEUTDEFF", "USD", "7.00", "--reference", "PAY-IN-1", "--json")
    assert [run(world, *words).json["replayed"] for _ in range(2)] == [False, True]
    assert float(world.nostro("DEUTDEFF", "USD").posted) - before == 7.0
    assert run(world, *words[:5]).code == ExitCode.USAGE


def test_opening_an_existing_account_names_it(world: World) -> None:
    done = run(world, "accounts", "open", "nostro", "DEUTDEFF", "EUR", "--json")
    number = world.nostro("DEUTDEFF", "EUR").id
    assert f"settlement-engine accounts show {number}" in done.json["error"]["do"]


@pytest.mark.parametrize(
    ("server", "words"),
    [
        ("http", "an HTTP server"),
        ("metrics", "an HTTP server"),
        ("nats_url", "NATS listens there"),
        ("database_url", "PostgreSQL listens there"),
    ],
)
def test_an_address_of_another_service_is_recognised(world: World, server: str, words: str) -> None:
    place = world.address[server].rpartition("@")[2].removeprefix("http://").split("/")[0]
    done = run(world, "list", "--address", place)
    assert done.code == ExitCode.UNAVAILABLE
    assert words in done.err


def test_an_unknown_object_names_its_list_command(world: World) -> None:
    unknown = "0199c2d4-6f0e-7c1a-9d51-1f2a33445566"
    for words, command in (
        (("show", unknown), "list"),
        (("accounts", "show", "99999"), "accounts list"),
        (("exceptions", "show", "99999"), "exceptions list"),
        (("approve", "99999", "--as", "ada"), "proposals --all"),
    ):
        done = run(world, *words)
        assert done.code == ExitCode.FAILED
        assert f"List them with: settlement-engine {command}." in done.err


def test_lists_show_the_total(world: World) -> None:
    found = run(world, "list", "--limit", "1", "--since", "1h", "--json").json
    assert found["total"] >= 1
    assert len(found["settlements"]) == 1
    assert run(world, "list", "--until", "2020-01-01", "--json").json["total"] == 0
    assert run(world, "proposals", "--json").json == {"proposals": [], "hasMore": False}
