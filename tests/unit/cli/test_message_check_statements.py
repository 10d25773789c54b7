"""``message check`` of statements: what they say, and what in the same file cannot be read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from settlement_engine.cli.failures import ExitCode
from settlement_engine.messages.camt_statements import FILE_BYTES_MAX
from settlement_engine.messages.xml import MESSAGE_BYTES_MAX
from tests.support.corpora import shared_folder
from tests.unit.messages.test_camt_statements import BOTH, document, entry, statement
from tests.unit.messages.test_mt_statements import HEAD, TAIL


def written(folder, text):
    file = folder / "statement"
    file.write_text(text)
    return str(file)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (HEAD + TAIL, "MT940 STMT1, number 7, page 1 of DE89370400440532013000 (EUR)"),
        (document(statement(*BOTH, entry())), "opening 1.00 on 2026-11-25, closing 11.00"),
    ],
)
def test_a_statement_is_told(command, tmp_path, text, says):
    said = command("message", "check", written(tmp_path, text))
    assert said.code == ExitCode.OK
    assert says in " ".join(said.out.split())
    assert "; balanced" in said.out


def large(text: str, ends: str = "") -> str:
    """Return the text with empty lines that make it larger than any other message may be."""
    return text + "\n" * (MESSAGE_BYTES_MAX + 1 - len(text) - len(ends)) + ends


@pytest.mark.parametrize("kind", ["camt.053", "camt.054", "MT940"])
def test_a_file_of_statements_may_be_as_large_as_the_import_takes(command, tmp_path, kind):
    if kind == "MT940":
        text = large(HEAD, TAIL)
    elif kind == "camt.053":
        text = large(document(statement(*BOTH, entry())))
    else:
        text = large(
            document(statement(*BOTH, entry()))
            .replace("camt.053", kind)
            .replace("BkToCstmrStmt", "BkToCstmrDbtCdtNtfctn")
            .replace("Stmt>", "Ntfctn>")
        )
    file = written(tmp_path, text)
    assert MESSAGE_BYTES_MAX < Path(file).stat().st_size < FILE_BYTES_MAX
    said = command("message", "check", file)
    assert said.code == ExitCode.OK, said.out[:500]
    assert kind in said.out


def test_a_large_file_of_statements_is_validated(command, tmp_path):
    folder = shared_folder("iso20022-xsd")
    file = written(tmp_path, large(document(statement(*BOTH, entry()))))
    assert command("message", "check", file).code == ExitCode.OK
    said = command("message", "check", file, "--xsd-dir", str(folder))
    assert said.code == ExitCode.FAILED
    assert "camt.053.001.08}BkTxCd" in " ".join(said.out.split()), "what an entry lacks"


def test_other_kinds_keep_their_maximum_and_each_error_names_its_own(command, tmp_path):
    said = command("message", "check", written(tmp_path, large("<Document/>")))
    assert said.code == ExitCode.FAILED
    assert "the maximum of a message is 8,388,608" in " ".join(said.out.split())
    file = tmp_path / "statement.sta"
    with file.open("wb") as sparse:
        sparse.write(HEAD.encode())
        sparse.truncate(FILE_BYTES_MAX + 1)
    said = command("message", "check", str(file))
    assert said.code == ExitCode.FAILED
    assert "the maximum of a file of statements is 67,108,864" in " ".join(said.out.split())


def test_what_cannot_be_read_in_the_same_file_fails_the_check(command, tmp_path):
    file = written(tmp_path, f"{HEAD}{TAIL}:20:X\n:25:1\n{HEAD}{TAIL}")
    said = command("message", "check", file)
    assert said.code == ExitCode.FAILED
    assert said.out.count("MT940 STMT1") == 2
    assert "statement 2 (line 7): names no currency" in said.out
    shown = json.loads(command("message", "check", file, "--json").out)
    assert shown["kind"] == "MT940"
    assert len(shown["content"]["statements"]) == 2
    assert [each["reason"] for each in shown["unread"]] == ["names no currency"]


def test_a_csv_is_told_with_a_mapping(command, tmp_path):
    text = (
        "Date,Value date,Amount,Currency,Balance,Reference,End to end,Description\n"
        "2026-11-24,,-2.50,EUR,97.50,B1,E1,x\n"
    )
    file = written(tmp_path, text)
    said = command("message", "check", file, "--csv-mapping", "signed_amount")
    assert said.code == ExitCode.OK
    assert "closing 97.50 on 2026-11-24" in " ".join(said.out.split())
    bad = tmp_path / "mapping.toml"
    bad.write_text("rubbish = 1\n")
    said = command("message", "check", file, "--csv-mapping", str(bad))
    assert said.code == ExitCode.FAILED
    assert "mapping" in said.out


@pytest.mark.parametrize("words", [("message", "check"), ("statements", "import")])
def test_a_mapping_that_is_neither_a_file_nor_a_name_is_wrong_usage(command, tmp_path, words):
    file = written(tmp_path, "Date,Amount\n")
    said = command(*words, file, "--csv-mapping", "nope")
    assert said.code == ExitCode.USAGE
    assert "no mapping nope" in said.err
    assert "signed_amount" in said.err
