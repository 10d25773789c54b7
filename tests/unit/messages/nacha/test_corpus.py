"""Foreign files: every one is read, or refused with its position, and nothing else happens."""

from __future__ import annotations

import random

import pytest

from settlement_engine.messages.nacha.faults import NachaError
from settlement_engine.messages.nacha.model import ContestedReturn, DishonoredReturn, EntryKind
from settlement_engine.messages.nacha.reading import read_file
from tests.support.corpora import shared_folder

ODD = {"moov-ach__20110805A.ach": "line 93, columns 2-7"}
"""It declares five batches and has four; its authors' own library refuses it for the same reason."""

SHORT_LINES = {"moov-ach__cie-credit.ach", "moov-ach__ppd-debit.ach"}


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    folder = shared_folder("corpora/nacha")
    found = {path.name: path.read_bytes() for path in sorted(folder.glob("*.ach"))}
    assert len(found) >= 34
    return found


def read(files, name):
    return read_file(files[f"moov-ach__{name}.ach"])


def test_every_file_is_read_or_refused_with_its_place(files):
    refused = {}
    for name, data in files.items():
        try:
            back = read_file(data)
        except NachaError as error:
            refused[name] = error.place
        else:
            assert back.entries(), name
            assert bool(back.remarks) == (name in SHORT_LINES), name
    assert refused == ODD


def test_a_corrupted_total_in_any_corpus_file_is_refused_with_its_position(files):
    for name in files.keys() - ODD.keys():
        lines = files[name].decode().splitlines()
        at = max(number for number, line in enumerate(lines) if line.startswith("90"))
        digit = lines[at][54]
        lines[at] = f"{lines[at][:54]}{(int(digit) + 1) % 10}{lines[at][55:]}"
        with pytest.raises(NachaError) as caught:
            read_file("\n".join(lines).encode())
        assert caught.value.line == at + 1, name


def test_returns_and_their_later_stages_are_recognised(files):
    back = read(files, "return-WEB").entries(EntryKind.RETURN)
    assert [(entry.returned.code, entry.amount_cents) for entry in back] == [
        ("R01", 12354),
        ("R03", 4565),
    ]
    dishonored = read(files, "dishonored-return").entries(EntryKind.DISHONORED_RETURN)
    assert [type(entry.returned) for entry in dishonored] == [DishonoredReturn] * 2
    assert dishonored[0].returned.return_trace == "123918710000001"
    [contested] = read(files, "contested-return").entries()
    assert isinstance(contested.returned, ContestedReturn)
    assert contested.returned.dishonored_trace == "889999990000301"


def test_changes_acknowledgements_and_advices_are_recognised(files):
    [change] = read(files, "cor-example").entries(EntryKind.CHANGE)
    assert change.change.corrected() == {"account": "1918171614"}
    for name, addenda in (("ack-read", 0), ("atx-read", 2)):
        entries = read(files, name).entries(EntryKind.ACKNOWLEDGEMENT)
        assert [len(entry.remittance) for entry in entries] == [addenda] * 2
        assert entries[0].identification == "031300010000001"
    assert read(files, "adv-read").totals.debit_cents == 250_000
    [payment] = read(files, "ctx-debit").entries()
    assert payment.remittance == ("Debit First Account", "Debit Second Account")


@pytest.mark.parametrize("seed", range(3))
def test_any_damaged_file_is_read_or_refused(files, seed):
    chance = random.Random(seed)
    for data in files.values():
        for _ in range(25):
            damaged = bytearray(data)
            for _ in range(chance.randint(1, 4)):
                damaged[chance.randrange(len(damaged))] = chance.randrange(256)
            for found in (damaged, damaged[: chance.randrange(len(damaged)) + 1]):
                error = _refusal(bytes(found))
                assert error is None or error.line >= 1


def _refusal(data: bytes) -> NachaError | None:
    try:
        read_file(data)
    except NachaError as error:
        return error
    return None
