"""Breaks, reports, statements and proofs by command, as two people do it whom client certificates name."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from settlement_engine.cli.failures import ExitCode
from tests.e2e.test_command_line import Done
from tests.e2e.world import World
from tests.support.certificates import Authority, CertificateFiles
from tests.support.statement_files import Day, file_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NUMBER = "0007771234"
PEOPLE = ("ada", "ben")
DAY = Day(
    account=NUMBER,
    number=1,
    opening=0,
    amounts=(100_000, 70_000, -66, -45),
    day=datetime.now(UTC).date(),
)


class Books:
    """One engine with client certificates, and an account with breaks of three kinds."""

    def __init__(self, world: World, authority: Authority, people: dict[str, CertificateFiles]):
        self.world = world
        self._authority = authority
        self._people = people
        self.account = ""

    def run(self, who: str, *words: str) -> Done:
        port = self.world.address["grpc"].rpartition(":")[2]
        person = self._people[who]
        connection = ("--address", f"localhost:{port}", "--ca", str(self._authority.file))
        named = ("--cert", str(person.certificate), "--key", str(person.key))
        return command(*words, *connection, *named)

    def good(self, who: str, *words: str) -> Done:
        done = self.run(who, *words)
        assert done.code == ExitCode.OK, (words, done)
        return done

    def refused(self, who: str, *words: str, code: int = ExitCode.FAILED) -> str:
        """Run a command that is refused; return the sentences, which say what to do."""
        done = self.run(who, *words)
        assert done.code == code, (words, done)
        assert "  do:  " in done.err, done
        return done.err

    def breaks(self, *words: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.good("ada", "breaks", "list", *words, "--json").json[
            "breaks"
        ]
        return found

    def first(self, kind: str) -> dict[str, Any]:
        return self.breaks("--kind", kind)[0]


def command(*words: str, **variables: str) -> Done:
    done = subprocess.run(
        [sys.executable, "-m", "settlement_engine", *words],
        env={**os.environ, "NO_COLOR": "1", **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def books(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Books]:
    folder = tmp_path_factory.mktemp("books")
    authority = Authority.make(folder, "authority")
    server = authority.issue(folder, "server", is_server=True)
    settings = {
        "server.tls_cert_file": server.certificate,
        "server.tls_key_file": server.key,
        "server.tls_client_ca_file": authority.file,
        "nats.enabled": "false",
    }
    words = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
    with World(folder, *words) as world:
        made = Books(world, authority, {name: authority.issue(folder, name) for name in PEOPLE})
        opening = ("accounts", "open", "nostro", "HOUSDEFF", "EUR", "--account-number", NUMBER)
        made.account = made.good("ada", *opening, "--json").json["id"]
        funding = ("accounts", "fund", "HOUSDEFF", "EUR", "700.00", "--reference", "OTHERWISE")
        made.good("ada", *funding)
        file = folder / "day.sta"
        file.write_bytes(file_of(DAY))
        made.good("ada", "statements", "import", str(file))
        made.run("ada", "reconcile", "--account", made.account)
        yield made


def test_an_account_and_a_day_are_reconciled(books: Books) -> None:
    chosen = ("reconcile", "--account", books.account, "--date", f"{DAY.day}")
    done = books.run("ada", *chosen)
    assert done.code == ExitCode.FAILED, "it is not balanced"
    assert "0 of 1 account balanced, report" in done.out + done.err
    report = books.run("ben", *chosen, "--json").json
    assert (report["businessDate"], report["startedBy"]) == (f"{DAY.day}", "ben.example")
    [found] = report["accounts"]
    assert (found["externalBalance"], found["proof"]["difference"]) == ("1698.89", "0.00")
    books.refused("ada", "reconcile", "--account", "999999")
    wrong = ("reconcile", "--account", books.account, "--date", "31.1.2026")
    assert "--date" in books.refused("ada", *wrong, code=ExitCode.USAGE)


def test_breaks_are_listed_by_filters_and_pages(books: Books) -> None:
    kinds = [each["kind"] for each in books.breaks()]
    assert sorted(kinds) == ["MISSING_OURS"] * 2 + ["MISSING_THEIRS"] + ["UNKNOWN_DEBIT"] * 2
    debits = books.good("ada", "breaks", "list", "--kind", "unknown_debit").out
    assert debits.count("CRITICAL") == 2
    page = books.good("ada", "breaks", "list", "--limit", "1")
    assert "1 shown, and there are more; see more with --limit" in page.out + page.err
    assert books.good("ada", "breaks", "list", "--limit", "1", "--json").json["hasMore"]
    assert books.breaks("--account", "777777") == []
    assert books.breaks("--owner", "nobody") == []
    wrong = books.refused("ada", "breaks", "list", "--kind", "odd", code=ExitCode.USAGE)
    assert "unknown_debit" in wrong


def test_a_break_is_assigned_and_commented(books: Books) -> None:
    number = books.first("missing_ours")["id"]
    words = ("breaks", "assign", number, "clara")
    assert f"would assign break {number} to clara" in books.good("ada", *words, "--dry-run").out
    assert books.breaks("--owner", "clara") == []
    done = books.good("ada", *words)
    assert f"break {number} is assigned to clara, due " in done.out + done.err
    assert [each["id"] for each in books.breaks("--owner", "clara")] == [number]
    books.good("ben", "breaks", "comment", number, "the bank looks for it")
    shown = books.good("ada", "breaks", "show", number).out
    assert "assigned by ada.example" in shown
    assert "commented by ben.example: the bank looks for it" in shown
    assert "there is no break 99999" in books.refused("ada", "breaks", "assign", "99999", "clara")
    wrong = ("breaks", "assign", "x", "clara")
    assert "id: must be a positive" in books.refused("ada", *wrong, code=ExitCode.USAGE)


def test_two_people_write_a_break_off_and_one_declines(books: Books) -> None:
    number = books.first("unknown_debit")["id"]
    write_off = ("breaks", "write-off", number, "--reason", "too small to ask")
    proposal = books.good("ada", *write_off, "--json").json
    assert (proposal["proposedBy"], proposal["breakId"]) == ("ada.example", number)
    assert "WRITE_OFF" in books.good("ben", "breaks", "proposals").out
    alone = books.refused("ada", "breaks", "approve", proposal["id"])
    assert "two different people are required" in alone
    done = books.good("ben", "breaks", "decline", proposal["id"])
    assert f"proposal {proposal['id']} declined by ben.example" in done.out + done.err
    late = books.refused("ben", "breaks", "approve", proposal["id"])
    assert "the proposal was declined by ben.example" in late
    again = books.good("ada", *write_off, "--json").json["id"]
    approved = books.good("ben", "breaks", "approve", again)
    assert f"approved by ben.example; break {number} is closed" in approved.out + approved.err
    assert number not in [each["id"] for each in books.breaks()]
    assert number in [each["id"] for each in books.breaks("--all")]


def test_equal_items_are_matched_by_one_person_and_taken_back(books: Books) -> None:
    ours = books.first("missing_theirs")
    [theirs] = [each for each in books.breaks() if each["amount"] == "700.00" and each != ours]
    items = [word for each in ours["ourPostings"] for word in ("--ours", each)]
    items += [word for each in theirs["theirEntries"] for word in ("--theirs", each)]
    match = ("breaks", "match", ours["id"], *items, "--reason", "the same payment")
    books.good("ada", *match, "--dry-run")
    assert ours["id"] in [each["id"] for each in books.breaks()]
    books.good("ada", *match)
    books.run("ada", "reconcile", "--account", books.account)
    assert not {ours["id"], theirs["id"]} & {each["id"] for each in books.breaks()}
    made = books.good("ada", "breaks", "show", ours["id"], "--json").json["matchId"]
    books.good("ben", "breaks", "unmatch", made, "--reason", "it is another payment")
    books.run("ada", "reconcile", "--account", books.account)
    assert {"MISSING_OURS", "MISSING_THEIRS"} <= {each["kind"] for each in books.breaks()}
    books.refused("ben", "breaks", "unmatch", "999999", "--reason", "it is another payment")


def test_reports_are_listed_shown_and_exported(books: Books, tmp_path: Path) -> None:
    assert books.good("ada", "reports", "list", "--date", "2001-01-01", "--json").json == {
        "reports": [],
        "hasMore": False,
    }
    page = books.good("ada", "reports", "list", "--limit", "1", "--json").json
    assert (len(page["reports"]), page["hasMore"]) == (1, True)
    number = page["reports"][0]["reportId"]
    assert "HOUSDEFF" in books.good("ada", "reports", "show", number).out
    books.refused("ada", "reports", "show", str(uuid.uuid4()))
    target = tmp_path / "report.csv"
    export = ("reports", "export", number, "--out", str(target))
    books.good("ada", *export)
    with target.open(newline="") as file:
        [row] = csv.DictReader(file)
    assert row["status"] == "IDENTIFIED"
    assert books.run("ada", *export).code != ExitCode.OK, "the file is there"


def test_a_statements_file_is_exported_byte_for_byte(books: Books, tmp_path: Path) -> None:
    target = tmp_path / "as-it-came.sta"
    export = ("statements", "export", "1", "--out", str(target))
    books.good("ada", *export)
    assert target.read_bytes() == file_of(DAY)
    assert books.run("ada", *export).code != ExitCode.OK, "the file is there"
    other = ("statements", "export", "999999", "--out", str(tmp_path / "none.sta"))
    books.refused("ada", *other)


def test_the_proof_of_an_account_and_a_day_is_printed(books: Books) -> None:
    url = {"SETTLEMENT_DATABASE__URL": books.world.address["database_url"]}
    chosen = ("prove", "--date", f"{DAY.day}", "--account", books.account)
    told = command(*chosen, **url)
    assert told.code == ExitCode.OK, told
    assert "1 proved to zero" in told.out + told.err
    [proof] = json.loads(command(*chosen, "--json", **url).out)["proofs"]
    assert (proof["accountId"], proof["isZero"]) == (books.account, True)
    other = command("prove", "--date", f"{DAY.day}", "--account", "777777", "--json", **url)
    assert json.loads(other.out)["proofs"] == []
