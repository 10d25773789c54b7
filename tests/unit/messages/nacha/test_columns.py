from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from settlement_engine.messages.errors import MessageError
from settlement_engine.messages.nacha import layouts
from settlement_engine.messages.nacha.columns import Column, ColumnForm, Layout, layout, read, write
from settlement_engine.messages.nacha.faults import NachaError

LAYOUTS = [found for found in vars(layouts).values() if isinstance(found, Layout)]

TEXTS = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=91)


def values_of(column: Column) -> st.SearchStrategy:
    digits = st.text("0123456789", min_size=column.width, max_size=column.width)
    return {
        ColumnForm.TEXT: TEXTS.map(lambda text: text[: column.width].rstrip()),
        ColumnForm.DIGITS: digits,
        ColumnForm.DIGITS_OR_BLANK: digits | st.just(""),
        ColumnForm.NUMBER: st.integers(0, 10**column.width - 1),
        ColumnForm.DATE: st.dates(date(2000, 1, 1), date(2099, 12, 31)) | st.none(),
    }[column.form]


def read_back(column: Column) -> bool:
    return column.form not in (ColumnForm.FIXED, ColumnForm.RESERVED)


def test_every_kind_of_record_is_there():
    assert len(LAYOUTS) == 17


@pytest.mark.parametrize("described", LAYOUTS, ids=lambda described: described.title)
def test_every_column_belongs_to_one_field(described):
    owned = [
        number for column in described.columns for number in range(column.first, column.last + 1)
    ]
    assert owned == list(range(1, 95))
    names = [column.name for column in described.columns]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("described", LAYOUTS, ids=lambda described: described.title)
@settings(deadline=None, max_examples=25)
@given(st.data())
def test_a_written_record_reads_back(described, data):
    values = {
        column.name: data.draw(values_of(column))
        for column in described.columns
        if read_back(column)
    }
    record = write(described, values)
    assert len(record) == 94
    assert read(described, record, 1) == values


def test_a_layout_with_a_gap_or_overlap_is_a_programming_error():
    whole = Column("all", 1, 94, ColumnForm.TEXT)
    for columns in (
        (Column("a", 1, 10, ColumnForm.TEXT), Column("b", 12, 94, ColumnForm.TEXT)),
        (Column("a", 1, 10, ColumnForm.TEXT), Column("b", 10, 94, ColumnForm.TEXT)),
        (Column("a", 1, 93, ColumnForm.TEXT),),
    ):
        with pytest.raises(AssertionError):
            layout("wrong", *columns)
    assert layout("right", whole).column("all") is whole


@pytest.mark.parametrize(
    ("at", "text", "columns", "reason"),
    [
        (29, "00000000x0", (30, 39), "must be digits"),
        (29, " 000000001", (30, 39), "must be digits"),
        (0, "5", (1, 1), "must be '6'"),
        (79, "12345678901234 ", (80, 94), "must be digits"),
    ],
)
def test_a_faulty_field_is_reported_with_its_columns(at, text, columns, reason):
    record = f"622{'231380104'}{'1':17}{1:010d}{'':15}{'NAME':22}  0121042880000001"
    record = record[:at] + text + record[at + len(text) :]
    with pytest.raises(NachaError, match=reason) as caught:
        read(layouts.ENTRY, record, 7)
    assert (caught.value.line, caught.value.columns) == (7, columns)
    assert f"line 7, column{'s' if columns[0] != columns[1] else ''} {columns[0]}" in str(
        caught.value
    )


@pytest.mark.parametrize("text", ["261131", "26113x", "261301"])
def test_an_invalid_date_is_reported(text):
    record = f"5220{'NAME':36}1234567890CCD{'PAY':10}{'':6}{text}   1121042880000001"
    with pytest.raises(NachaError) as caught:
        read(layouts.BATCH_HEADER, record, 2)
    assert caught.value.columns == (70, 75)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("company_name", "SEVENTEEN LETTERS"),
        ("company_name", "MÜLLER"),
        ("company_name", "A\nB"),
        ("institution", "1234567"),
        ("institution", "1234567x"),
        ("batch_number", 10_000_000),
        ("batch_number", -1),
        ("batch_number", "1"),
    ],
)
def test_a_value_that_does_not_fit_is_not_written(name, value):
    values = {
        **{column.name: "" for column in layouts.BATCH_HEADER.columns},
        "service_class": "220",
        "effective_date": None,
        "institution": "12104288",
        "batch_number": 1,
    }
    assert len(write(layouts.BATCH_HEADER, values)) == 94
    with pytest.raises(MessageError, match=name):
        write(layouts.BATCH_HEADER, {**values, name: value})
