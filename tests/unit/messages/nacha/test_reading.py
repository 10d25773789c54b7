"""A file is read completely; a file that is not consistent is an error with its position."""

from __future__ import annotations

import random
import tracemalloc

import pytest

from settlement_engine.messages.errors import MessageError
from settlement_engine.messages.nacha.building import build_file
from settlement_engine.messages.nacha.codes import Direction
from settlement_engine.messages.nacha.faults import NachaError
from settlement_engine.messages.nacha.lines import REMARKS_MAX, Bounds
from settlement_engine.messages.nacha.model import EntryKind, OtherAddenda
from settlement_engine.messages.nacha.reading import read_file
from tests.support.nacha import addenda_98, batch, entry, file, incoming, incoming_entry

BUILT = build_file(file()).data
LINES = (
    BUILT.decode().splitlines()
)  # header, batch, entry, addenda, entry, control, control, fillers


def fault(data: bytes, **bounds) -> NachaError:
    with pytest.raises(NachaError) as caught:
        read_file(data, Bounds(**bounds))
    assert isinstance(caught.value, MessageError)
    return caught.value


def altered(line: int, column: int, text: str) -> bytes:
    """Return the built file with some columns of one line overwritten; both are counted from one."""
    lines = list(LINES)
    old = lines[line - 1]
    lines[line - 1] = old[: column - 1] + text + old[column - 1 + len(text) :]
    assert lines[line - 1] != old
    return "\n".join(lines).encode()


# --- hashes, counts and totals ----------------------------------------------------------------------

CONTROLLED = {
    "batch, entries and addenda": (6, 5, 10),
    "batch, entry hash": (6, 11, 20),
    "batch, debits": (6, 21, 32),
    "batch, credits": (6, 33, 44),
    "file, batches": (7, 2, 7),
    "file, blocks": (7, 8, 13),
    "file, entries and addenda": (7, 14, 21),
    "file, entry hash": (7, 22, 31),
    "file, debits": (7, 32, 43),
    "file, credits": (7, 44, 55),
}


@pytest.mark.parametrize(("line", "first", "last"), CONTROLLED.values(), ids=CONTROLLED)
def test_a_corrupted_total_is_reported_with_its_position(line, first, last):
    """Each digit of each total, not only the last one."""
    for column in range(first, last + 1):
        old = LINES[line - 1][column - 1]
        error = fault(altered(line, column, str((int(old) + 1) % 10)))
        assert (error.line, error.columns) == (line, (first, last))


def test_a_corrupted_amount_is_detected_by_the_totals():
    error = fault(altered(3, 30, "9"))
    assert (error.line, error.columns) == (6, (33, 44))
    assert "is 246912, and what stands before it makes 9000246912" in error.reason


@pytest.mark.parametrize(
    ("line", "column", "text", "columns"),
    [
        (1, 34, "a", (34, 34)),
        (1, 34, " ", (34, 34)),
        (1, 35, "095", (35, 37)),
        (1, 24, "261301", (24, 29)),
        (2, 2, "999", (2, 4)),
        (2, 2, "225", (2, 3)),  # a batch of debits: the first entry is none
        (2, 2, "280", (2, 4)),
        (2, 51, "C D", (51, 53)),
        (3, 2, "20", (2, 3)),
        (3, 2, "82", (2, 3)),
        (3, 2, "21", (2, 3)),  # a return without addenda 99
        (3, 12, "5", (4, 12)),
        (3, 30, "-", (30, 39)),
        (3, 79, "2", (79, 79)),
        (4, 84, "0002", (84, 87)),
        (4, 88, "9", (88, 94)),
        (6, 2, "200", (2, 4)),
        (6, 45, "X", (45, 54)),
        (6, 80, "9", (80, 87)),
        (6, 94, "2", (88, 94)),
    ],
)
def test_an_invalid_field_is_reported_with_its_position(line, column, text, columns):
    error = fault(altered(line, column, text))
    places = {(line, columns)}
    if (line, column, text) == (2, 2, "225"):
        places = {(3, columns)}
    assert (error.line, error.columns) in places


@pytest.mark.parametrize(
    ("kept", "line", "wanted"),
    [
        ([], 1, "empty"),
        ([1], 1, "a batch or the file control"),
        ([1, 2], 2, "an entry or the batch control"),
        ([1, 2, 3], 3, "announces addenda"),
        ([1, 2, 3, 4, 5], 5, "an entry or the batch control"),
        ([1, 2, 3, 4, 5, 6], 6, "a batch or the file control"),
        ([2], 1, "the file header"),
        ([1, 3], 2, "a batch or the file control"),
        ([1, 2, 4], 3, "an entry or the batch control"),
        ([1, 2, 5, 4], 4, "has no addenda"),
        ([1, 2, 3, 4, 5, 6, 7, 2], 8, "lines of nines"),
        ([1, 1], 2, "a batch or the file control"),
    ],
)
def test_records_out_of_order_are_refused(kept, line, wanted):
    error = fault("\n".join(LINES[number - 1] for number in kept).encode())
    assert error.line == line
    assert wanted in error.reason


def test_an_entry_of_ctx_has_as_many_addenda_as_it_says():
    data = build_file(file(batch(entry(remittance=("a", "b")), entry_class="CTX"))).data
    error = fault(data.replace(b"0002RECEIVER", b"0003RECEIVER"))
    assert (error.line, error.columns) == (3, (55, 58))
    assert read_file(data).entries()[0].remittance == ("a", "b")


# --- lines ------------------------------------------------------------------------------------------


ENDS = [(end, last) for end in ("\r\n", "\n", "") for last in ("", "\n", "\r\n", "\n\n   \n")]


@pytest.mark.parametrize(("end", "last"), [pair for pair in ENDS if pair != ("", "\n\n   \n")])
def test_every_kind_of_line_end_is_accepted(end, last):
    """A file without line ends may have one at its end, but no lines of blanks."""
    back = read_file((end.join(LINES) + last).encode())
    assert back.totals == read_file(BUILT).totals
    assert len(back.entries()) == 2


def test_blanks_that_were_cut_off_are_a_remark():
    short = "\n".join(line.rstrip() for line in LINES).encode()
    back = read_file(short)
    assert back.batches == read_file(BUILT).batches
    assert [remark.line for remark in back.remarks] == [1, 7]


def test_a_missing_filler_is_a_remark():
    back = read_file("\n".join(LINES[:7]).encode())
    assert [remark.line for remark in back.remarks] == [7]
    assert back.blocks == 1


def test_a_record_that_is_too_long_is_reported():
    lines = [*LINES[:2], f"{LINES[2]}x", *LINES[3:]]
    error = fault("\n".join(lines).encode())
    assert (error.line, error.columns) == (3, (95, 95))
    assert read_file("\n".join([*LINES[:2], f"{LINES[2]}  ", *LINES[3:]]).encode()).remarks != ()


@pytest.mark.parametrize(
    "byte", [b"\x00", b"\t", b"\x1a", b"\x7f", b"\x80", b"\xe9", b"\xff", b"\r"]
)
def test_an_invalid_byte_is_reported_with_its_position(byte):
    at = BUILT.index(b"RECEIVER")
    error = fault(BUILT[:at] + byte + BUILT[at + 1 :])
    assert (error.line, error.columns) == (3, (55, 55))


# --- bounds -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bounds", "line"),
    [
        ({"bytes_max": len(BUILT) - 1}, 1),
        ({"lines_max": 9}, 9),
        ({"batches_max": 0}, 2),
        ({"entries_max": 1}, 5),
    ],
)
def test_a_files_size_is_limited(bounds, line):
    assert fault(BUILT, **bounds).line == line
    ((name, value),) = bounds.items()
    assert read_file(BUILT, Bounds(**{name: value + 1})).totals.credit_cents == 246_912


def test_the_number_of_remarks_is_limited():
    lines = [LINES[0], *[line.rstrip() for line in LINES[6:7]], *["9" * 94 + " "] * 500]
    lines[1] = "9000000000001" + "0" * 42
    assert len(read_file("\n".join(lines).encode()).remarks) == REMARKS_MAX


@pytest.mark.parametrize("byte", [b"9", b"\n", b"6", b"\x00", b" "])
def test_the_cost_of_a_camt_file_is_linear(byte):
    data = byte * (4 * 1024 * 1024)
    tracemalloc.start()
    try:
        error = fault(data, lines_max=1_000)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert error.line >= 1
    assert peak < 20 * 1024 * 1024


# --- what an entry is -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "amount", "kind", "direction"),
    [
        ("22", 1, EntryKind.PAYMENT, Direction.CREDIT),
        ("27", 1, EntryKind.PAYMENT, Direction.DEBIT),
        ("55", 1, EntryKind.PAYMENT, Direction.DEBIT),
        ("33", 0, EntryKind.PRENOTE, Direction.CREDIT),
        ("38", 0, EntryKind.PRENOTE, Direction.DEBIT),
        ("24", 0, EntryKind.INFORMATION, Direction.CREDIT),
    ],
)
def test_the_transaction_code_says_what_an_entry_is(code, amount, kind, direction):
    record = incoming_entry(code, amount)
    [got] = read_file(incoming([record[:78] + "0" + record[79:]])).entries()
    assert (got.kind, got.direction, got.amount_cents) == (kind, direction, amount)


@pytest.mark.parametrize("entry_class", ["ACK", "ATX"])
def test_an_acknowledgement_names_the_entry_that_arrived(entry_class):
    counted = "0001RECEIVER LLC      " if entry_class == "ATX" else f"{'RECEIVER LLC':22}"
    records = [
        f"624121042882{'987654321':17}{0:010d}121042880000001{counted}  1231380100000001",
        f"705{'thanks':80}00010000001",
    ]
    [got] = read_file(incoming(records, entry_class)).entries(EntryKind.ACKNOWLEDGEMENT)
    assert (got.identification, got.name) == ("121042880000001", "RECEIVER LLC")
    assert (got.remittance, got.amount_cents) == (("thanks",), 0)


def test_advices_of_the_operator_are_read_by_their_own_columns():
    entries = [
        f"682231380104{'987654321':15}{123_456:012d}12104288200001 {'RECEIVER':22}  0031300012890001",
        f"681231380104{'987654321':15}{44:012d}12104288200001 {'RECEIVER':22}  0031300012890002",
    ]
    control = f"8280000002{46276020:010d}{123_456:020d}{44:020d}{'':19}031300010000001"
    closing = (
        f"900000100000100000002{46276020:011d}"[:21] + f"{46276020:010d}{123_456:020d}{44:020d}"
    )
    lines = [
        LINES[0],
        f"5280{'OPERATOR':16}{'':20}1234567890ADVADVICE    {'':6}261130   0031300010000001",
        *entries,
        control,
        closing.ljust(94),
    ]
    back = read_file("\n".join(lines).encode())
    assert {got.kind for got in back.entries()} == {EntryKind.ADVICE}
    assert (back.totals.debit_cents, back.totals.credit_cents) == (123_456, 44)
    assert back.entries()[0].trace_number == "031300012890001"
    corrupted = "\n".join([*lines[:5], lines[5].replace("00123456", "00123457")])
    assert fault(corrupted.encode()).columns == (32, 51)


def test_addenda_of_other_types_are_kept_uninterpreted():
    record = incoming_entry("27")
    other = f"702{'terminal':76}231380100000001"
    [got] = read_file(incoming([record, other], "POS")).entries()
    assert got.addenda == (OtherAddenda(line=4, addenda_type="02", text=other[3:]),)


def test_a_notification_without_its_addenda_is_refused():
    record = incoming_entry("21", 0)
    error = fault(incoming([record[:78] + "0" + record[79:]], "COR"))
    assert (error.line, error.columns) == (3, (2, 3))


# --- what is not well -------------------------------------------------------------------------------

SEEDS = range(6)


def _corpus() -> list[bytes]:
    changed = [incoming_entry("21", 0), addenda_98("C02", "231380104")]
    many = [entry(number, remittance=("a", "b", "c")) for number in range(1, 6)]
    return [
        BUILT,
        incoming(changed, "COR"),
        build_file(file(batch(*many, entry_class="CTX"))).data,
    ]


@pytest.mark.parametrize("seed", SEEDS)
def test_any_damaged_file_is_read_or_refused(seed):
    chance = random.Random(seed)
    for data in _corpus():
        for _ in range(150):
            damaged = bytearray(data)
            for _ in range(chance.randint(1, 4)):
                damaged[chance.randrange(len(damaged))] = chance.choice(
                    [chance.randrange(256), *b"0123456789 \n"]
                )
            _read_or_refuse(
                bytes(damaged[: chance.choice([len(damaged), chance.randrange(len(damaged))])])
            )


def test_every_truncation_is_refused_or_lacks_nothing():
    for data in _corpus():
        whole = read_file(data)
        for length in range(len(data)):
            try:
                back = read_file(data[:length])
            except NachaError:
                continue
            assert (back.batches, back.totals) == (whole.batches, whole.totals)


def _refusal(data: bytes) -> NachaError | None:
    try:
        read_file(data)
    except NachaError as error:
        return error
    return None


def _read_or_refuse(data: bytes) -> None:
    error = _refusal(data)
    if error is not None:
        assert error.line >= 1
        assert 1 <= error.columns[0] <= error.columns[1]
        assert error.place.startswith("line ")
