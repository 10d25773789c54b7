"""Real statements, whole, truncated and with altered bytes: values or a typed error, never a crash."""

from __future__ import annotations

import gc
import random
import re
import time

import pytest

from settlement_engine.domain.statements import FaultKind, Source
from settlement_engine.messages.statements import read_statements
from tests.support.corpora import shared_folder

READ_OF_75 = 68
MARK = re.compile(r"^:61:[0-9]{6}(?:[0-9]{4}|\s{4})?([RE]?[DC])", re.MULTILINE | re.IGNORECASE)
RAISES = {"C", "RD", "EC"}
INTRADAY = {Source.CAMT052, Source.CAMT054, Source.MT942}
"""These kinds may report that there was nothing, and they do not close a day."""


def corpus(name, pattern):
    files = sorted((shared_folder("corpora") / name).glob(pattern))
    assert files, f"the corpus {name} is empty"
    return files


def test_nearly_every_block_of_the_mt_corpus_is_read():
    begun = read = 0
    for path in corpus("mt940", "*.sta"):
        data = path.read_bytes()
        begun += len(re.findall(rb"(?m)^:20:", data))
        read += len(read_statements(data).statements)
    assert begun == 75
    assert read >= READ_OF_75


def test_the_signs_of_the_mt_corpus_are_right():
    told = 0
    for path in corpus("mt940", "*.sta"):
        data = path.read_bytes()
        file = read_statements(data)
        if file.faults:
            continue
        marks = MARK.findall(data.decode("latin-1").replace("\r\n", "\n"))
        entries = [entry for statement in file.statements for entry in statement.entries]
        assert len(marks) == len(entries), path.name
        for mark, entry in zip(marks, entries, strict=True):
            assert (entry.minor > 0) == (mark.upper() in RAISES) or not entry.minor
            told += 1
    assert told > 100


def test_every_file_of_the_camt_corpus_has_values_or_a_place():
    statements = 0
    for path in corpus("camt", "*.xml"):
        data = path.read_bytes()
        file = read_statements(data)
        written = len(re.findall(rb"<(?:\w+:)?(?:Stmt|Rpt|Ntfctn)>", data))
        is_ours = re.search(rb"tech:xsd:camt\.05[234]\.001", data) is not None
        assert file.statements or file.faults
        assert all(fault.place and fault.reason for fault in file.faults)
        if is_ours and written:
            assert len(file.statements) + len(file.faults) == written, path.name
        elif not is_ours:
            assert [fault.kind for fault in file.faults] == [FaultKind.WRONG_CONTAINER]
        statements += len(file.statements)
    assert statements >= 50


def damaged(data: bytes, chance: random.Random) -> bytes:
    if chance.random() < 0.5:
        data = data[: chance.randrange(1, max(2, len(data)))]
    harmed = bytearray(data)
    for _ in range(chance.randrange(6)):
        at, other = chance.randrange(len(harmed)), chance.randrange(len(harmed))
        how = chance.randrange(4)
        if how < 2:
            harmed[at] ^= 1 << chance.randrange(8)
        elif how == 2:
            harmed[at:at] = harmed[other : other + chance.randrange(1, 60)]
        elif len(harmed) > 60:
            del harmed[at : at + chance.randrange(1, 30)]
    return bytes(harmed)


@pytest.mark.parametrize(("name", "pattern"), [("mt940", "*.sta"), ("camt", "*.xml")])
@pytest.mark.parametrize("seed", range(3))
def test_damaged_statements_are_read_or_refused(name, pattern, seed):
    chance = random.Random(f"{name} {seed}")
    for path in corpus(name, pattern):
        whole = path.read_bytes()
        for _ in range(5):
            data = damaged(whole, chance)
            begun = time.process_time()
            file = read_statements(data)
            assert time.process_time() - begun < 5, path.name
            assert file.statements or file.faults
            for statement in file.statements:
                # Nothing is invented: an account and a number, and what makes it a statement.
                assert statement.account.identifier
                assert statement.entries or statement.balances or statement.source in INTRADAY
                for entry in statement.entries:
                    assert isinstance(entry.minor, int)
            if name == "mt940" and not file.faults:
                assert_signs(data, file)


def assert_signs(data, file):
    text = data.decode("latin-1").replace("\r\n", "\n").replace("\r", "\n")
    marks = MARK.findall(text)
    entries = [entry for statement in file.statements for entry in statement.entries]
    if len(marks) == len(entries):
        for mark, entry in zip(marks, entries, strict=True):
            assert (entry.minor > 0) == (mark.upper() in RAISES) or not entry.minor


def test_a_truncated_statement_never_has_a_smaller_amount():
    """Wherever a statement is truncated, each entry that is read is one of the whole statement."""
    line = ":61:2611251125D1234,50NTRFOUR-1//THEIR-1\n"
    text = (
        ":20:S\n:25:DEUTDEFF/123\n:28C:7/1\n:60F:C261124EUR9999,00\n"
        f"{line}{line}:62F:C261125EUR7530,00\n-\n"
    ).encode()
    for length in range(len(text)):
        for statement in read_statements(text[:length]).statements:
            assert {entry.minor for entry in statement.entries} <= {-123450}


def timed(data: bytes) -> float:
    """The least CPU time of three readings, none of which pays for collecting what other tests left."""
    gc.disable()
    try:
        seconds = []
        for _ in range(3):
            begun = time.process_time()
            read_statements(data)
            seconds.append(time.process_time() - begun)
    finally:
        gc.enable()
    return min(seconds)


@pytest.mark.parametrize(
    "line", [":61:261125D1,NTRFX\n", ":86:x\n", ":26:x\n", "x\n", ":20:A\n:25:1\n"]
)
def test_the_cost_of_an_mt_file_is_linear(line):
    head = ":20:S\n:25:1\n:28C:1\n:60F:C261124EUR1,00\n:61:261125D1,NTRFX\n"
    small, large = (timed((head + line * count).encode()) for count in (2_000, 16_000))
    assert large < 8 * 4 * max(small, 0.02)
