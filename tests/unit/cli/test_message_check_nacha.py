"""``message check`` of a NACHA file: what it says, or the line and the columns of its fault."""

from __future__ import annotations

import json

import pytest

from settlement_engine.messages.nacha.building import build_file
from tests.support.nacha import addenda_99, file, incoming, incoming_entry


@pytest.fixture
def returned(tmp_path):
    path = tmp_path / "returned.ach"
    path.write_bytes(incoming([incoming_entry(), addenda_99("R02")]))
    return path


def test_what_a_file_says(command, returned):
    said = command("message", "check", str(returned))
    assert said.code == 0
    assert "nacha" in said.out
    assert "batches 1, entries 1, credits 1234.56 USD, debits 0.00 USD" in " ".join(
        said.out.split()
    )
    assert "return R02 (Account closed)" in said.out


def test_what_a_file_says_as_json(command, tmp_path):
    path = tmp_path / "credits.ach"
    path.write_bytes(build_file(file()).data)
    said = command("message", "check", str(path), "--json")
    shown = json.loads(said.out)
    assert (said.code, shown["kind"], shown["warnings"]) == (0, "nacha", [])
    assert shown["content"]["totals"]["credit_cents"] == 246_912
    assert [entry["kind"] for entry in shown["content"]["batches"][0]["entries"]] == ["payment"] * 2


def test_where_a_file_is_wrong(command, returned):
    returned.write_bytes(returned.read_bytes().replace(b"0000123456", b"0000123457", 1))
    said = command("message", "check", str(returned), "--json")
    assert said.code == 1
    shown = json.loads(said.out)["error"]
    assert shown["place"] == "line 5, columns 33-44"
    assert shown["reason"].endswith("is 123456, and what stands before it makes 123457")
