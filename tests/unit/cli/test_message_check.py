"""``message check`` on files that are read, and on files that are not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from settlement_engine.cli.failures import ExitCode
from settlement_engine.messages.envelope import built
from settlement_engine.messages.pacs002 import StatusReportMessage, TransactionStatus
from tests.support.corpora import shared_folder
from tests.support.messages import Maker
from tests.unit.messages.test_statuses import HEADER

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.cli.conftest import Run

REPORT = StatusReportMessage(
    header=HEADER, transactions=(TransactionStatus(end_to_end_id="E1", status="ACSC"),)
)


def written(folder: Path, data: bytes) -> str:
    file = folder / "message.xml"
    file.write_bytes(data)
    return str(file)


def test_a_message_is_told(command: Run, tmp_path: Path):
    said = command("message", "check", written(tmp_path, built("pacs.002.001.10", REPORT)))
    assert said.code == ExitCode.OK
    assert "pacs.002 version 10" in said.out
    assert "payment E1: ACSC (settled)" in said.out


def test_a_message_is_told_as_json(command: Run, tmp_path: Path):
    data = built("pacs.002.001.10", REPORT, Maker(1).head("02"))
    said = command("message", "check", written(tmp_path, data), "--json")
    shown = json.loads(said.out)
    assert said.code == ExitCode.OK
    assert (shown["kind"], shown["version"]) == ("pacs.002", "10")
    assert shown["content"]["transactions"] == [{"end_to_end_id": "E1", "status": "ACSC"}]
    assert shown["head"]["message_id"]
    assert shown["says"] == ["payment E1: ACSC (settled)"]
    assert any(each["place"] == "head.definition" for each in shown["warnings"])


def test_a_fault_is_told_with_its_place(command: Run, tmp_path: Path):
    data = built("pacs.002.001.10", REPORT).replace(b"ACSC", b"ACSCX")
    file = written(tmp_path, data)
    said = command("message", "check", file)
    assert said.code == ExitCode.FAILED
    assert "Document/FIToFIPmtStsRpt/TxInfAndSts/TxSts" in said.out
    said = command("message", "check", file, "--json")
    assert said.code == ExitCode.FAILED
    error = json.loads(said.out)["error"]
    assert error["place"].startswith("Document/FIToFIPmtStsRpt/TxInfAndSts/TxSts")
    assert error["reason"] == "has 5 characters, and 4 is the most"


def test_a_file_that_is_too_large_is_not_even_read(command: Run, tmp_path: Path):
    file = tmp_path / "large.xml"
    with file.open("wb") as sparse:
        sparse.truncate(50_000_000_000)
    said = command("message", "check", str(file), "--json")
    assert said.code == ExitCode.FAILED
    assert "50,000,000,000 bytes" in json.loads(said.out)["error"]["reason"]


def test_a_file_that_is_not_there_is_said(command: Run, tmp_path: Path):
    said = command("message", "check", str(tmp_path / "none.xml"))
    assert said.code == ExitCode.MISCONFIGURED
    assert "cannot be read" in said.err


def test_schemas_of_ones_own_say_the_rest(command: Run, tmp_path: Path):
    folder = shared_folder("iso20022-xsd")
    data = built("pacs.002.001.10", REPORT).replace(
        b"</TxInfAndSts>", b"<SplmtryData><Wrong/></SplmtryData></TxInfAndSts>"
    )
    file = written(tmp_path, data)
    assert command("message", "check", file).code == ExitCode.OK
    said = command("message", "check", file, "--xsd-dir", str(folder), "--json")
    assert said.code == ExitCode.FAILED
    assert "Wrong" in json.loads(said.out)["error"]["reason"]
