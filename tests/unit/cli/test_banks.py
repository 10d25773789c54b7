"""``banks``: entries are changed from the version that is there, imported from files, and shown."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from google.rpc import status_pb2

from settlement_engine.cli.development.sample_banks import SAMPLE_BANKS, entry_of, put_sample_banks
from settlement_engine.cli.failures import ExitCode
from settlement_engine.domain.check_digits import fault_of_bic, fault_of_iban, fault_of_lei
from settlement_engine.proto import settlement_pb2 as wire
from tests.unit.cli.fake_engine import INVALID, FakeEngine, not_a_field, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.unit.cli.conftest import Run

TOML = """
[[banks]]
code = "BANK0001"
name = "First"
rails = ["swift"]
[[banks.instructions]]
currency = "EUR"
our_account = { iban = "DE56500700100123456600" }
correspondent = "CHASUS33"
method = "CORRESPONDENT_METHOD_COVER"

[[banks]]
code = "BANK0002"
name = "Second"
"""


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeEngine]:
    fake = FakeEngine()
    with serving(fake) as address:
        monkeypatch.setenv("SETTLEMENT_ADDRESS", address)
        yield fake


def test_put_enters_a_bank_and_says_so(command: Run, engine: FakeEngine) -> None:
    said = command(
        *("banks", "put", "CHASUS33", "--name", "Chase", "--country", "US", "--town", "New York"),
        *("--clearing-member", "USABA:021000021", "--rail", "swift", "--rail", "ach"),
        *("--as", "ada"),
    )
    assert said.code == ExitCode.OK
    assert "CHASUS33 is written as version 1" in said.out
    assert "021000021" in said.out
    assert engine.actors == ["ada"]
    request = engine.asked[-1]
    assert request.after_version == 0
    assert request.bank == wire.Bank(
        code="CHASUS33",
        name="Chase",
        address=wire.PostalAddress(country="US", town_name="New York"),
        clearing_members=[wire.ClearingMember(system="USABA", member_id="021000021")],
        rails=["swift", "ach"],
    )


def test_put_changes_only_what_is_given_and_from_the_version_that_is_there(
    command: Run, engine: FakeEngine
) -> None:
    command("banks", "put", "BANK0001", "--name", "A bank", "--rail", "swift", "--as", "ada")
    said = command("banks", "put", "BANK0001", "--withdraw", "--json", "--as", "grace")
    assert json.loads(said.out)["isWithdrawn"]
    request = engine.asked[-1]
    assert (request.after_version, request.bank.name, list(request.bank.rails)) == (
        1,
        "A bank",
        ["swift"],
    )
    command("banks", "put", "BANK0001", "--restore", "--as", "grace")
    assert not engine.asked[-1].bank.is_withdrawn


@pytest.mark.parametrize(
    "words", [("--withdraw", "--restore"), ("--clearing-member", "USABA"), ("--as", "no name!")]
)
def test_put_refuses_wrong_words(command: Run, engine: FakeEngine, words: tuple[str, ...]) -> None:
    assert command("banks", "put", "BANK0001", *words).code == ExitCode.USAGE
    assert not engine.banks


def test_toml_is_imported(command: Run, engine: FakeEngine, tmp_path: Path) -> None:
    file = tmp_path / "banks.toml"
    file.write_text(TOML, "utf-8")
    said = command("banks", "import", str(file), "--as", "ada")
    assert "2 banks read, 2 written" in said.out
    first = engine.banks["BANK0001"][0]
    assert first.instructions[0].our_account.iban == "DE56500700100123456600"
    assert first.instructions[0].method == wire.CORRESPONDENT_METHOD_COVER
    assert engine.actors == ["ada", "ada"]


def test_what_is_shown_can_be_imported_again(
    command: Run, engine: FakeEngine, tmp_path: Path
) -> None:
    file = tmp_path / "banks.jsonl"
    (tmp_path / "banks.toml").write_text(TOML, "utf-8")
    command("banks", "import", str(tmp_path / "banks.toml"), "--as", "ada")
    shown = json.loads(command("banks", "list", "--json").out)["banks"]
    file.write_text("\n".join(json.dumps(each) for each in shown) + "\n\n", "utf-8")
    said = command("banks", "import", str(file), "--as", "ada", "--json")
    assert json.loads(said.out)["banks"] == 2
    first, again = engine.banks["BANK0001"]
    assert first.instructions == again.instructions


@pytest.mark.parametrize(
    ("name", "content", "place"),
    [
        ("a.toml", b"[[banks]]\ncode = 1", "bank 1"),
        ("a.toml", b"[[banks]]\ncolour = 'red'", "bank 1"),
        ("a.toml", b"banks = [1]", "bank 1"),
        ("a.toml", b"[[banks", "a.toml"),
        ("a.jsonl", b'{"code": "BANK0001"}\n[1]', "line 2"),
        ("a.jsonl", b"{", "a.jsonl"),
        ("a.jsonl", b"\xff", "a.jsonl"),
    ],
)
def test_a_file_that_cannot_be_read_writes_nothing(
    command: Run, engine: FakeEngine, tmp_path: Path, name: str, content: bytes, place: str
) -> None:
    (tmp_path / name).write_bytes(content)
    said = command("banks", "import", str(tmp_path / name), "--as", "ada")
    assert said.code == ExitCode.MISCONFIGURED
    assert place in said.err
    assert not engine.banks


def test_a_file_that_is_not_there_is_wrong_usage(command: Run, engine: FakeEngine) -> None:
    assert command("banks", "import", "nowhere.toml").code == ExitCode.USAGE


def test_an_import_says_which_entry_was_refused(
    command: Run, engine: FakeEngine, tmp_path: Path
) -> None:
    file = tmp_path / "banks.toml"
    file.write_text(TOML, "utf-8")
    engine.refused_banks["BANK0002"] = refused = status_pb2.Status(code=INVALID, message="no")
    refused.details.add().Pack(not_a_field("bank.lei", "is not an LEI: check digits"))
    said = command("banks", "import", str(file), "--as", "ada")
    assert said.code == ExitCode.USAGE
    for text in ("bank 2", "bank.lei", "1 bank before it"):
        assert text in said.err
    assert list(engine.banks) == ["BANK0001"]


def test_show_tells_an_entry_and_its_history(command: Run, engine: FakeEngine) -> None:
    for name, who in (("First name", "ada"), ("Second name", "grace")):
        command("banks", "put", "BANK0001", "--name", name, "--as", who)
    said = command("banks", "show", "BANK0001", "--history").out
    assert "Second name" in said
    assert "rails     not stated" in said
    assert said.index("by grace") < said.index("by ada")
    assert "First name" in command("banks", "show", "BANK0001", "--version", "1").out
    history = json.loads(command("banks", "show", "BANK0001", "--history", "--json").out)
    assert [each["version"] for each in history["history"]] == [2, 1]
    assert command("banks", "show", "NOBODY").code == ExitCode.FAILED


def test_list_prints_a_table(command: Run, engine: FakeEngine) -> None:
    assert "nothing found" in command("banks", "list").out
    command("banks", "put", "BANK0001", "--name", "A bank", "--withdraw", "--as", "ada")
    said = command("banks", "list", "--rail", "swift", "--currency", "EUR", "--withdrawn")
    assert "BANK0001" in said.out
    assert "withdrawn" in said.out
    assert (engine.asked[-1].rail, engine.asked[-1].currency) == ("swift", "EUR")
    assert engine.asked[-1].include_withdrawn


def test_every_sample_bank_has_valid_identifiers_and_is_paid_on_an_iban(engine: FakeEngine) -> None:
    for bank in SAMPLE_BANKS:
        entry = entry_of(bank)
        assert fault_of_bic(entry.code) == ""
        assert not entry.lei or fault_of_lei(entry.lei) == ""
        [euro] = [each for each in entry.instructions if each.currency == "EUR"]
        assert fault_of_iban(euro.their_account.iban) == "", bank.code
        for each in entry.instructions:
            if each.our_account.iban:
                assert fault_of_iban(each.our_account.iban) == "", bank.code


def test_sample_banks_are_entered(engine: FakeEngine) -> None:
    with serving(engine) as address:
        assert put_sample_banks(address) == len(SAMPLE_BANKS) == len(engine.banks)
