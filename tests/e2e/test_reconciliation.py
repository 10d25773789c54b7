"""``reconcile``, ``reports``, ``breaks`` and ``prove --date`` against a running engine, as a person uses them."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from settlement_engine.cli.failures import ExitCode
from tests.e2e.jetstream import read_stream
from tests.e2e.test_command_line import run
from tests.e2e.world import World, until
from tests.support.statement_files import chain, file_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NUMBER = "0007654321"
SECONDS = 60.0


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("reconciliation")) as world:
        yield world


def test_a_statement_is_reconciled_when_it_arrives_and_on_demand(
    world: World, tmp_path: Path
) -> None:
    opened = run(
        world, *("accounts", "open", "nostro", "HOUSDEFF", "EUR"), "--account-number", NUMBER
    )
    assert opened.code == ExitCode.OK, opened
    file = tmp_path / "day.sta"
    first, second = chain(NUMBER, 2)
    file.write_bytes(file_of(first))
    assert run(world, "statements", "import", str(file), "--as", "ada").code == ExitCode.OK
    until(lambda: run(world, "breaks", "list", "--json").json["breaks"], SECONDS, "breaks")
    [account] = run(world, "accounts", "list", "--bank", "HOUSDEFF", "--json").json["accounts"]
    listed = run(world, "reports", "list", "--json").json["reports"]
    assert listed[0]["startedFor"] == "arrival"

    file.write_bytes(file_of(second))
    assert run(world, "statements", "import", str(file), "--as", "ada").code == ExitCode.OK
    options = ("reconcile", "--account", account["id"], "--as", "ada")
    until(lambda: "IDENTIFIED" in run(world, *options).out, SECONDS, "the run of the arrival")
    report = run(world, *options, "--json").json
    assert report["startedBy"] == "ada"
    assert report["businessDate"] == f"{second.day}"
    [found] = report["accounts"]
    assert found["status"] == "RECONCILIATION_STATUS_IDENTIFIED"
    assert (found["internalBalance"], found["externalBalance"]) == ("0.00", "999.98")
    assert found["openBreaks"] == 5

    shown = run(world, "reports", "show", report["reportId"])
    assert "IDENTIFIED" in shown.out
    assert "999.98" in shown.out
    assert report["reportId"] in run(world, "reports", "list").out
    for form in ("csv", "jsonl"):
        target = tmp_path / f"report.{form}"
        done = run(
            world,
            *("reports", "export", report["reportId"], "--out", str(target)),
            "--format",
            form,
        )
        assert done.code == ExitCode.OK, done
        with target.open(newline="") as opened_file:
            rows = (
                list(csv.DictReader(opened_file))
                if form == "csv"
                else list(map(json.loads, opened_file))
            )
        assert [row["discrepancy"] for row in rows] == ["999.98"]
        assert rows[0]["status"] == "IDENTIFIED"


def test_breaks_are_listed_and_shown_and_the_account_says_what_is_proved(world: World) -> None:
    _, second = chain(NUMBER, 2)
    [account] = run(world, "accounts", "list", "--bank", "HOUSDEFF", "--json").json["accounts"]
    assert account["lastReconciled"] == f"{second.day}"
    breaks = run(world, "breaks", "list", "--account", account["id"], "--json").json["breaks"]
    kinds = sorted(each["kind"] for each in breaks)
    assert kinds == [
        "MISSING_OURS",
        "MISSING_OURS",
        "OPENING_DIFFERENCE",
        "UNKNOWN_DEBIT",
        "UNKNOWN_DEBIT",
    ]
    debits = run(world, "breaks", "list", "--kind", "unknown_debit")
    assert debits.out.count("CRITICAL") == 2
    one = run(world, "breaks", "show", breaks[0]["id"])
    assert "opened by engine" in one.out

    assert run(world, "reconcile", "--account", "999999").code != ExitCode.OK


def test_the_proof_of_a_day_is_printed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    first, _ = chain(NUMBER, 2)
    monkeypatch.setenv("SETTLEMENT_DATABASE__URL", world.address["database_url"])
    done = run(world, "prove", "--date", f"{first.day}", "--json")
    assert done.code == ExitCode.OK, done
    [proof] = done.json["proofs"]
    assert proof["theirClosing"] == "999.99"
    assert proof["openingDifference"] == "1000.00"
    assert proof["isZero"]
    told = run(world, "prove", "--date", f"{first.day}", "--account", proof["accountId"])
    assert "1 proved to zero" in told.out
    assert "no account has a proof" in run(world, "prove", "--date", "2001-01-01").out


def test_the_items_of_a_day_are_printed_and_add_up_to_its_proof(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = chain(NUMBER, 2)
    monkeypatch.setenv("SETTLEMENT_DATABASE__URL", world.address["database_url"])
    for day in (first.day, second.day):
        done = run(world, "prove", "--date", f"{day}", "--items", "--json")
        assert done.code == ExitCode.OK, done
        [proof] = done.json["proofs"]
        assert (proof["addsUp"], proof["isCurrent"], proof["hasMore"]) == (True, True, False)
        items = proof["items"]
        assert {each["side"] for each in items} == {"theirs"}
        assert len(items) == proof["unmatchedEntries"] > 0
        total = sum(Decimal(each["amount"]) for each in items)
        assert total == Decimal(proof["unmatchedTheirs"])
        assert max(each["bookingDate"] for each in items) <= f"{day}"
        told = run(world, "prove", "--date", f"{day}", "--account", proof["accountId"], "--items")
        assert "the items add up to the proof" in told.out
        assert items[0]["name"] in told.out
    cut = run(world, "prove", "--date", f"{first.day}", "--items", "--limit", "1")
    assert "1 shown, and there are more" in cut.out
    assert run(world, "prove", "--items").code == ExitCode.USAGE


def test_what_was_found_is_announced_once_and_in_order(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The notices of the runs before, and the same ones again in another stream."""
    reports = run(world, "reports", "list", "--json").json["reports"]
    wanted = {f"discrepancy.{each['reportId']}.EUR" for each in reports}
    assert wanted

    def told() -> list[tuple[str, int]]:
        return read_stream(world, header="ce-noticesequence")

    until(lambda: wanted <= {name for name, _ in told()}, SECONDS, "the notices")
    before = told()
    assert [number for _, number in before] == list(range(1, len(before) + 1))
    assert any(name.startswith("proof.") for name, _ in before)
    names = [name for name, _ in before]
    assert len(set(names)) == len(names)
    monkeypatch.setenv("SETTLEMENT_DATABASE__URL", world.address["database_url"])
    monkeypatch.setenv("SETTLEMENT_NATS__URL", world.address["nats_url"])
    assert run(world, "prove").code == ExitCode.OK
    done = run(world, "outbox", "replay", "--notices", "--from", "1", "--stream", "again")
    assert done.code == ExitCode.OK, done
    assert read_stream(world, "again", "ce-noticesequence") == before


def test_the_debit_that_ends_a_doubt_is_no_break(world: World, tmp_path: Path) -> None:
    def done(*words: str) -> Any:
        found = run(world, *words)
        assert found.code == ExitCode.OK, found
        return found

    day = f"{datetime.now(UTC).date()}"
    done("accounts", "open", "nostro", "SILTDEFF", "EUR", "--account-number", "SILENT-1")
    done("accounts", "open", "vostro", "RECVDEFF", "EUR")
    done("accounts", "fund", "SILTDEFF", "EUR", "100.00", "--reference", "PAID-IN-1")
    sent = run(
        world,
        *("submit", "SILTDEFF", "RECVDEFF", "6.00", "EUR", "--obligation-id", "SILENT-PAYMENT"),
        *("--metadata", "simulate=silent", "--timeout-seconds", "1"),
    )
    assert sent.code == ExitCode.OPEN, sent

    def shown() -> Any:
        return run(world, "show", "SILENT-PAYMENT", "--json").json

    until(lambda: shown()["status"] == "IN_DOUBT", SECONDS, "the doubt")
    lines = "".join(
        f"<Ntry><Amt Ccy='EUR'>{amount}</Amt><CdtDbtInd>{mark}</CdtDbtInd><Sts><Cd>BOOK</Cd></Sts>"
        f"<BookgDt><Dt>{day}</Dt></BookgDt><ValDt><Dt>{day}</Dt></ValDt><NtryDtls><TxDtls><Refs>"
        f"<EndToEndId>{name}</EndToEndId></Refs></TxDtls></NtryDtls></Ntry>"
        for amount, mark, name in (
            ("100.00", "CRDT", "PAID-IN-1"),
            ("6.00", "DBIT", shown()["endToEndId"]),
        )
    )
    balances = "".join(
        f"<Bal><Tp><CdOrPrtry><Cd>{code}</Cd></CdOrPrtry></Tp><Amt Ccy='EUR'>{amount}</Amt>"
        f"<CdtDbtInd>CRDT</CdtDbtInd><Dt><Dt>{day}</Dt></Dt></Bal>"
        for code, amount in (("OPBD", "0.00"), ("CLBD", "94.00"))
    )
    file = tmp_path / "statement.xml"
    file.write_text(
        "<Document xmlns='urn:iso:std:iso:20022:tech:xsd:camt.053.001.08'><BkToCstmrStmt><GrpHdr>"
        f"<MsgId>M1</MsgId><CreDtTm>{day}T22:00:00Z</CreDtTm></GrpHdr><Stmt><Id>S1</Id>"
        f"<CreDtTm>{day}T22:00:00Z</CreDtTm><Acct><Id><Othr><Id>SILENT-1</Id></Othr></Id>"
        f"<Ccy>EUR</Ccy></Acct>{balances}{lines}</Stmt></BkToCstmrStmt></Document>"
    )
    done("statements", "import", str(file), "--as", "ada")
    [account] = run(world, "accounts", "list", "--bank", "SILTDEFF", "--json").json["accounts"][:1]

    def proved() -> bool:
        return bool(run(world, "accounts", "show", account["id"], "--json").json["lastReconciled"])

    until(proved, SECONDS, "the run of the arrival")
    assert shown()["status"] == "COMPLETED"
    every = run(world, "breaks", "list", "--all", "--account", account["id"], "--json").json
    assert every["breaks"] == []
