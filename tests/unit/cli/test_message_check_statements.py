"""``message check`` of statements: what they say, and what in the same file cannot be read."""

from __future__ import annotations

import json

import pytest

from settlement_engine.cli.failures import ExitCode
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
