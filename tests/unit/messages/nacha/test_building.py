"""A built file reads back with every field, and no text is changed without keeping the original."""

from __future__ import annotations

import re
from datetime import date, datetime

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from stdnum.us import rtn

from settlement_engine.messages.charsets import character_sets
from settlement_engine.messages.errors import MessageError
from settlement_engine.messages.nacha.building import build_entry, build_file
from settlement_engine.messages.nacha.codes import CREDIT_CODES
from settlement_engine.messages.nacha.credits import CreditBatch, CreditEntry, CreditFile
from settlement_engine.messages.nacha.lines import Bounds
from settlement_engine.messages.nacha.model import FILE_ID_MODIFIERS, EntryKind
from settlement_engine.messages.nacha.reading import read_file
from settlement_engine.messages.nacha.routing import check_digit, is_routing_number, trace_number
from tests.support.nacha import OURS, batch, entry, file

ASCII = st.characters(min_codepoint=0x20, max_codepoint=0x7E)


def texts(columns: int, *, least: int = 0) -> st.SearchStrategy[str]:
    made = st.text(ASCII, max_size=columns).map(str.rstrip)
    return made.filter(lambda text: len(text) >= least)


ROUTING = st.integers(0, 99_999_999).map(
    lambda number: f"{number:08d}{check_digit(f'{number:08d}')}"
)


@st.composite
def entries(draw, entry_class, institution, sequence):
    counting = entry_class == "CTX"
    return CreditEntry(
        transaction_code=draw(st.sampled_from(sorted(CREDIT_CODES.values()))),
        receiver=draw(ROUTING),
        account=draw(texts(17, least=1)),
        amount_cents=draw(st.integers(1, 9_999_999_999)),
        name=draw(texts(16 if counting else 22, least=1)),
        trace_number=trace_number(institution, sequence),
        identification=draw(texts(15)),
        discretionary_data=draw(texts(2)),
        remittance=tuple(draw(st.lists(texts(80), max_size=12 if counting else 1))),
    )


@st.composite
def batches(draw, number):
    entry_class = draw(st.sampled_from(["CCD", "CTX"]))
    institution = draw(ROUTING)[:8]
    sequences = sorted(draw(st.sets(st.integers(1, 9_999_999), min_size=1, max_size=4)))
    return CreditBatch(
        entry_class=entry_class,
        company_name=draw(texts(16, least=1)),
        company_id=draw(texts(10, least=1)),
        description=draw(texts(10, least=1)),
        effective_date=draw(st.dates(date(2000, 1, 1), date(2099, 12, 31))),
        institution=institution,
        batch_number=number,
        discretionary_data=draw(texts(20)),
        descriptive_date=draw(texts(6)),
        entries=tuple(draw(entries(entry_class, institution, number)) for number in sequences),
    )


@st.composite
def files(draw):
    numbers = sorted(draw(st.sets(st.integers(1, 9_999_999), min_size=1, max_size=3)))
    made = [draw(batches(number)) for number in numbers]
    traces = [item.trace_number for one in made for item in one.entries]
    assume(len(set(traces)) == len(traces))
    return CreditFile(
        destination=draw(ROUTING),
        destination_name=draw(texts(23)),
        origin=draw(ROUTING | texts(10, least=1)),
        origin_name=draw(texts(23)),
        created=draw(st.datetimes(datetime(2000, 1, 1), datetime(2099, 12, 31))),  # noqa: DTZ001
        modifier=draw(st.sampled_from(FILE_ID_MODIFIERS)),
        reference_code=draw(texts(8)),
        batches=tuple(made),
    )


@settings(deadline=None, max_examples=60)
@given(files())
def test_a_built_file_reads_back_with_every_field(outgoing):
    built = build_file(outgoing)
    back = read_file(built.data)
    assert back.totals == built.totals
    assert built.totals.credit_cents == sum(
        item.amount_cents for one in outgoing.batches for item in one.entries
    )
    assert built.rewritten == ()
    assert _file_fields(back.header) == _outgoing_fields(outgoing)
    assert len(back.batches) == len(outgoing.batches)
    for read, sent in zip(back.batches, outgoing.batches, strict=True):
        _same_fields(read, sent, left_out={"entries"})
        assert (read.service_class, read.totals.debit_cents) == ("220", 0)
        assert len(read.entries) == len(sent.entries)
        for got, given_ in zip(read.entries, sent.entries, strict=True):
            _same_fields(got, given_)
            assert got.kind is EntryKind.PAYMENT
    assert [remark for remark in back.remarks if "origin" not in remark.reason] == []


def _file_fields(header):
    return (
        header.destination,
        header.destination_name,
        header.origin,
        header.origin_name,
        header.created_on,
        header.created_at,
        header.modifier,
        header.reference_code,
    )


def _outgoing_fields(outgoing):
    origin = outgoing.origin
    return (
        f" {outgoing.destination}",
        outgoing.destination_name,
        f" {origin}" if len(origin) == 9 and origin.isdigit() else origin,
        outgoing.origin_name,
        outgoing.created.date(),
        f"{outgoing.created:%H%M}",
        outgoing.modifier,
        outgoing.reference_code,
    )


def _same_fields(read, sent, left_out=frozenset()):
    for name in sent.__struct_fields__:
        if name not in left_out:
            assert getattr(read, name) == getattr(sent, name), name


@given(files())
@settings(deadline=None, max_examples=15)
def test_a_file_is_blocks_of_ten_lines_of_94(outgoing):
    built = build_file(outgoing)
    lines = built.data.split(b"\n")
    assert lines.pop() == b""
    assert {len(line) for line in lines} == {94}
    assert len(lines) % 10 == 0
    assert read_file(built.data).blocks == len(lines) // 10
    assert build_file(outgoing) == built


def test_the_bytes_of_a_file():
    """The bytes are written out column by column, so that reading and building cannot share a mistake."""
    data = build_file(file(batch(entry(1), entry(2, remittance=(), amount_cents=44)))).data
    assert data.decode().split("\n")[:7] == [
        "101 231380104 1210428822611281030A094101ODFI BANK              FIRST BANK                     ",
        "5220FIRST BANK                          1234567890CCDSETTLEMENT      261130   1121042880000001",
        "622231380104987654321        0000123456INV-1          RECEIVER LLC            1121042880000001",
        "705RMR*IV*1\\                                                                       00010000001",
        "622231380104987654321        0000000044INV-1          RECEIVER LLC            0121042880000002",
        "822000000300462760200000000000000000001235001234567890                         121042880000001",
        "9000001000001000000030046276020000000000000000000123500                                       ",
    ]


def test_an_entry_of_ctx_counts_its_addenda():
    record, *addenda = build_entry(
        entry(name="SIXTEEN LETTERS.", remittance=("a", "b")), "CTX"
    ).records
    assert record[54:76] == "0002SIXTEEN LETTERS.  "
    assert [line[83:] for line in addenda] == ["00010000001", "00020000001"]


def test_the_records_of_an_entry_are_those_of_every_file():
    alone = build_entry(entry(7), "CCD").records
    built = build_file(file(batch(entry(3), entry(7), entry(9)), modifier="Z"))
    assert "\n".join(alone) in built.data.decode()


def test_the_entry_hash_keeps_its_last_ten_digits():
    high = f"99999999{check_digit('99999999')}"
    sent = [entry(number, receiver=high, remittance=()) for number in range(1, 102)]
    back = read_file(build_file(file(batch(*sent))).data)
    assert back.totals.entry_hash == 99_999_999 * 101 % 10**10 == 99_999_899


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"amount_cents": 0}, "amount_cents"),
        ({"amount_cents": -1}, "amount_cents"),
        ({"amount_cents": 10_000_000_000}, "amount_cents"),
        ({"receiver": "231380105"}, "receiver"),
        ({"receiver": "23138010"}, "receiver"),
        ({"transaction_code": "27"}, "transaction_code"),
        ({"transaction_code": "21"}, "transaction_code"),
        ({"account": "123456789012345678"}, "account"),
        ({"account": "  "}, "account"),
        ({"name": ""}, "name"),
        ({"name": "Société"}, "name"),
        ({"name": "A\rB"}, "name"),
        ({"remittance": ("a", "b")}, "remittance"),
        ({"remittance": ("x" * 81,)}, "text"),
        ({"trace_number": "231380100000001"}, "trace_number"),
        ({"trace_number": "12104288000001"}, "trace_number"),
    ],
)
def test_a_message_that_must_not_be_sent_names_the_field(change, field):
    with pytest.raises(MessageError) as caught:
        build_file(file(batch(entry(1, **change))))
    assert caught.value.place.endswith(field)
    assert "batch 1, entry 1" in caught.value.place


@pytest.mark.parametrize(
    ("outgoing", "field"),
    [
        (file(modifier="a"), "modifier"),
        (file(modifier="AB"), "modifier"),
        (file(destination="231380105"), "destination"),
        (file(batch(entry_class="PPD")), "entry_class"),
        (file(batch(company_name="")), "company_name"),
        (file(batch(), batch(entry(3))), "batch_number"),
        (file(batch(), batch(entry(2), batch_number=2)), "trace_number"),
        (file(batch(batch_number=0)), "batch_number"),
        (file(batch(entry(2), entry(1))), "trace_number"),
        (file(batch(entry(1), entry(1))), "trace_number"),
        (msgspec.structs.replace(file(), batches=()), "batches"),
        (file(msgspec.structs.replace(batch(), entries=())), "entries"),
        (
            file(
                batch(*(entry(n, amount_cents=9_999_999_999, remittance=()) for n in range(1, 102)))
            ),
            "credit_cents",
        ),
    ],
)
def test_an_invalid_credit_file_names_the_field(outgoing, field):
    with pytest.raises(MessageError) as caught:
        build_file(outgoing)
    assert caught.value.place.endswith(field)


def test_an_entry_of_another_class_is_not_built():
    with pytest.raises(MessageError, match="PPD"):
        build_entry(entry(), "PPD")


@pytest.mark.parametrize(
    "bounds", [Bounds(entries_max=1), Bounds(batches_max=0), Bounds(bytes_max=949)]
)
def test_the_size_of_a_built_file_is_limited(bounds):
    with pytest.raises(MessageError):
        build_file(file(), bounds=bounds)


# --- characters -------------------------------------------------------------------------------------


ASCII_RULE = character_sets()["ascii"]


def test_a_rewritten_text_keeps_its_original():
    built = build_file(file(batch(entry(name="Müller & Söhne"))), ASCII_RULE)
    [text] = built.rewritten
    assert text.place == "batch 1, entry 1, name"
    assert (text.text, text.original) == ("Mueller & Soehne", "Müller & Söhne")
    assert read_file(built.data).entries()[0].name == "Mueller & Soehne"


def test_nothing_is_rewritten_without_a_rule():
    with pytest.raises(MessageError) as caught:
        build_file(file(batch(entry(name="Müller"))))
    assert caught.value.place == "batch 1, entry 1, name"


@pytest.mark.parametrize("field", ["account", "identification", "discretionary_data"])
def test_nacha_identifiers_are_never_rewritten(field):
    with pytest.raises(MessageError) as caught:
        build_file(file(batch(msgspec.structs.replace(entry(), **{field: "é"}))), ASCII_RULE)
    assert caught.value.place.endswith(field)


def test_a_rewritten_text_that_is_too_long_is_refused():
    with pytest.raises(MessageError, match="does not fit 22"):
        build_file(file(batch(entry(name="ß" * 12))), ASCII_RULE)


def test_a_character_without_a_replacement_rule_is_refused():
    with pytest.raises(MessageError) as caught:
        build_file(file(batch(entry(remittance=("北京",)))), ASCII_RULE)
    assert caught.value.place == "batch 1, entry 1, addenda 1, text"


@settings(deadline=None)
@given(st.text(max_size=22))
def test_every_built_file_is_in_the_character_set(text):
    try:
        built = build_file(file(batch(entry(name=text))), ASCII_RULE)
    except MessageError:
        return
    assert re.fullmatch(rb"[ -~\n]+", built.data)
    assert [found.original for found in built.rewritten] == ([] if text.isascii() else [text])


# --- numbers ----------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.text("0123456789", min_size=9, max_size=9))
def test_check_digits_are_those_of_another_library(number):
    assert is_routing_number(number) == (rtn.calc_check_digit(number[:8]) == number[8])


@pytest.mark.parametrize(
    "text", ["", "12345678", "1234567890", "12104288x", "١٢١٠٤٢٨٨٢", " 21042882"]
)
def test_invalid_routing_numbers_are_recognised(text):
    assert not is_routing_number(text)


def test_a_trace_number_is_institution_and_sequence():
    assert trace_number(OURS, 1) == "121042880000001"
    for institution, sequence in ((OURS, 0), (OURS, 10_000_000), ("1210428", 1), ("1210428x", 1)):
        with pytest.raises(ValueError, match=r"digits|sequence"):
            trace_number(institution, sequence)
