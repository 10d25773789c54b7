"""Statements that are issued, balances of the past and reports, on a running engine, as a person uses them."""

from __future__ import annotations

import csv
import hashlib
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from settlement_engine.cli.failures import ExitCode
from settlement_engine.messages.statements import read_statements
from tests.e2e.test_command_line import SETTLES, run
from tests.e2e.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("issued")) as world:
        yield world


def test_a_statement_is_issued_written_and_listed(world: World, tmp_path: Path) -> None:
    opened = run(world, "accounts", "open", "vostro", "CHASUS33", "USD", "--json").json
    yesterday = str(datetime.now(UTC).date() - timedelta(days=1))
    given = ("statements", "issue", "--account", opened["id"], "--date", yesterday, "--as", "ada")
    for number, form in enumerate(("camt053", "mt950", "camt053")):
        target = tmp_path / f"{number}.{form}"
        done = run(world, *given, "--format", form, "--out", str(target), "--json")
        assert done.code == ExitCode.OK, done
        assert (done.json["number"], done.json["replayed"]) == (1, number == 2)
        assert hashlib.sha256(target.read_bytes()).hexdigest() in {
            each["sha256"] for each in done.json["files"]
        }
        [read] = read_statements(target.read_bytes(), None).statements
        opening, closing = read.opening(), read.closing()
        assert opening is not None
        assert closing is not None
        assert (opening.minor, closing.minor, str(read.ends)) == (0, 0, yesterday)
    assert (tmp_path / "0.camt053").read_bytes() == (tmp_path / "2.camt053").read_bytes()
    assert run(world, *given, "--out", str(tmp_path / "0.camt053")).code != ExitCode.OK
    listed = run(world, "statements", "issued", "--account", opened["id"], "--json").json
    assert [each["date"] for each in listed["statements"]] == [yesterday]
    assert "issued before" in run(world, *given).out + run(world, *given).err
    assert yesterday in run(world, "statements", "issued").out


def test_the_balance_of_today_and_that_of_yesterday(world: World) -> None:
    opened = run(world, "accounts", "open", "nostro", "DEUTDEFF", "EUR", "--json").json
    run(world, "accounts", "fund", "DEUTDEFF", "EUR", "12.50", "--reference", "F1")
    today = datetime.now(UTC).date()
    for day, posted in ((today - timedelta(days=1), "0.00"), (today, "12.50")):
        done = run(world, "accounts", "balance", opened["id"], "--as-of", str(day), "--json")
        assert done.code == ExitCode.OK, done
        assert [each["posted"] for each in done.json["balances"]] == [posted]
        assert done.json["isFinal"] == (day < today)
    assert "12.50" in run(world, "accounts", "balance", "--as-of", str(today)).out


def test_settlements_are_reported_and_the_report_is_the_same_again(
    world: World, tmp_path: Path
) -> None:
    for kind, bank in (("nostro", "BANK0001"), ("vostro", "BANK0002")):
        run(world, "accounts", "open", kind, bank, "EUR")
    run(world, "accounts", "fund", "BANK0001", "EUR", "100.00", "--reference", "R1")
    sent = run(world, "submit", "BANK0001", "BANK0002", "7.25", "EUR", *SETTLES, "--json")
    assert sent.code == ExitCode.OK, sent
    today = str(datetime.now(UTC).date())
    given = ("reports", "settlements", "--date", today, "--bank", "BANK0002")

    def reported() -> str:
        done = run(world, *given)
        is_whole = sent.json["settlementId"] in done.out and "settled 7.25" in done.err
        return done.err if is_whole else ""

    deadline = time.monotonic() + 60
    while not (said := reported()):  # what was booked in the last seconds is not complete yet
        assert time.monotonic() < deadline
        time.sleep(1)
    assert "EUR: 1 settlement, settled 7.25, returned 0.00, charges 0.00" in said
    as_of = said.split("as of ")[1].strip()
    first = tmp_path / "first.csv"
    assert run(world, *given, "--as-of", as_of, "--out", str(first)).code == ExitCode.OK
    run(world, "submit", "BANK0001", "BANK0002", "1.00", "EUR", *SETTLES)
    second = run(world, *given, "--as-of", as_of)
    assert second.out.encode() == first.read_bytes().replace(b"\r\n", b"\n")
    [row] = csv.DictReader(first.read_text().splitlines())
    assert (row["state"], row["settled"], row["to_bank"]) == ("completed", "7.25", "BANK0002")
    late = run(world, *given, "--as-of", "2099-01-01", "--out", str(tmp_path / "late.csv"))
    assert late.code != ExitCode.OK
    assert not (tmp_path / "late.csv").exists()


def test_a_regulatory_report_is_made_corrected_shown_and_exported(
    world: World, tmp_path: Path
) -> None:
    name = "sample_final_settlements"
    assert name in run(world, "reports", "regulatory", "templates").out
    yesterday = str(datetime.now(UTC).date() - timedelta(days=1))
    regulatory = ("reports", "regulatory")
    given = (*regulatory, "run", "--template", name, "--date", yesterday, "--as", "ada")
    one = run(world, *given, "--json")
    assert one.code == ExitCode.OK, one
    assert run(world, *given).code != ExitCode.OK
    two = run(world, *given, "--correct", "a late return", "--json").json
    assert (one.json["version"], two["version"], two["reason"]) == (1, 2, "a late return")
    again = run(world, *given, "--as-of", one.json["asOf"], "--json").json
    assert (again["number"], again["replayed"]) == (one.json["number"], True)
    listed = run(world, *regulatory, "list", "--date", yesterday, "--json").json["reports"]
    assert [each["version"] for each in listed] == [2, 1]
    target = tmp_path / "report.csv"
    done = run(world, *regulatory, "export", one.json["number"], "--out", str(target))
    assert done.code == ExitCode.OK, done
    assert hashlib.sha256(target.read_bytes()).hexdigest() == one.json["sha256"]
    assert "reporting_bic" in run(world, *regulatory, "show", one.json["number"]).out
