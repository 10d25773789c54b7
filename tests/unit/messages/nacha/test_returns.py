"""Returns under any code, the two later stages of their exchange, and notifications of change."""

from __future__ import annotations

import re

import pytest

from settlement_engine.messages.codes import code_set
from settlement_engine.messages.errors import MessageError
from settlement_engine.messages.nacha.codes import (
    ReturnStage,
    return_stage,
)
from settlement_engine.messages.nacha.model import (
    Change,
    ContestedReturn,
    DishonoredReturn,
    EntryKind,
    NachaReturn,
    RefusedChange,
)
from settlement_engine.messages.nacha.reading import read_file
from settlement_engine.messages.plain import plain
from settlement_engine.messages.recognition import recognised
from tests.support.nacha import addenda_98, addenda_99, incoming, incoming_entry

KINDS = {
    ReturnStage.RETURN: (EntryKind.RETURN, NachaReturn),
    ReturnStage.DISHONORED: (EntryKind.DISHONORED_RETURN, DishonoredReturn),
    ReturnStage.CONTESTED: (EntryKind.CONTESTED_RETURN, ContestedReturn),
}


def only(records, entry_class="CCD"):
    [entry] = read_file(incoming(records, entry_class)).entries()
    return entry


@pytest.mark.parametrize("number", range(100))
def test_every_code_is_one_of_the_three_stages(number):
    code = f"R{number:02d}"
    stage = (
        ReturnStage.DISHONORED
        if 61 <= number <= 70
        else ReturnStage.CONTESTED
        if 71 <= number <= 77
        else ReturnStage.RETURN
    )
    entry = only([incoming_entry(), addenda_99(code)])
    kind, record = KINDS[stage]
    assert (entry.kind, type(entry.returned)) == (kind, record)
    assert entry.returned.stage is stage
    assert entry.returned.code == code
    assert entry.returned.original_trace == "121042880000001"
    assert entry.amount_cents == 123_456


@pytest.mark.parametrize("code", ["R98", "R00", "X12", "   ", "r01", "R6 "])
def test_an_unknown_code_is_still_a_return(code):
    entry = only([incoming_entry(), addenda_99(code)])
    assert entry.kind is EntryKind.RETURN
    assert (entry.returned.code, entry.returned.title) == (code.rstrip(), None)
    assert entry.returned.original_receiver == "23138010"


def test_a_return_keeps_the_date_of_death_and_its_other_fields():
    record = addenda_99("R14", "CALL US")
    entry = only([incoming_entry(), record[:21] + "261101" + record[27:]])
    assert (entry.returned.died_on, entry.returned.information) == ("261101", "CALL US")
    assert entry.returned.title.startswith("Representative payee deceased")


def test_a_dishonoured_return_names_the_return():
    entry = only([incoming_entry(), addenda_99("R68", "   231380100000009333" + "01LATE")])
    returned = entry.returned
    assert (returned.return_trace, returned.return_settlement_day) == ("231380100000009", "333")
    assert (returned.return_code, returned.information) == ("01", "LATE")


def test_a_contested_return_names_the_return_and_who_dishonoured_it():
    rest = "331" + "231380100000009" + "333" + "01" + "121042880000077" + "334" + "68"
    entry = only([incoming_entry(), addenda_99("R73", rest)])
    returned = entry.returned
    assert returned.original_settlement_day == "331"
    assert (returned.return_trace, returned.return_settlement_day) == ("231380100000009", "333")
    assert (returned.dishonored_trace, returned.dishonored_settlement_day) == (
        "121042880000077",
        "334",
    )
    assert (returned.return_code, returned.dishonored_code) == ("01", "68")


def test_the_last_record_of_type_99_gives_the_stage():
    entry = only([incoming_entry(), addenda_99("R01"), addenda_99("R68"), addenda_99("R73")])
    assert entry.kind is EntryKind.CONTESTED_RETURN
    assert entry.returned.code == "R73"
    assert len(entry.addenda) == 3


def test_a_return_of_ctx_keeps_the_count_of_the_entry_that_it_copies():
    record = incoming_entry()
    copied = f"{record[:54]}0007RECEIVER LLC    {record[74:]}"
    entry = only([copied, addenda_99("R03")], "CTX")
    assert (entry.kind, entry.name) == (EntryKind.RETURN, "RECEIVER LLC")


# --- notifications of change ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "corrected", "fields"),
    [
        ("C01", "1918171614", {"account": "1918171614"}),
        ("C02", "231380104", {"receiver": "231380104"}),
        ("C02", "231380105", {}),
        ("C03", "231380104   1918171614", {"receiver": "231380104", "account": "1918171614"}),
        ("C03", "231380104", {}),
        ("C04", "NEW NAME LLC", {"name": "NEW NAME LLC"}),
        ("C05", "32", {"transaction_code": "32"}),
        ("C05", "99", {}),
        ("C06", f"{'1918171614':20}32", {"account": "1918171614", "transaction_code": "32"}),
        (
            "C07",
            f"231380104{'1918171614':17}32",
            {"receiver": "231380104", "account": "1918171614", "transaction_code": "32"},
        ),
        ("C09", "ID 7", {"identification": "ID 7"}),
        ("C13", "whatever", {}),
        ("C99", "whatever", {}),
    ],
)
def test_a_notification_of_change_has_the_corrected_data(code, corrected, fields):
    entry = only([incoming_entry("21", 0), addenda_98(code, corrected)], "COR")
    assert (entry.kind, type(entry.change)) == (EntryKind.CHANGE, Change)
    assert (entry.change.code, entry.change.corrected_data) == (code, corrected)
    assert entry.change.original_trace == "121042880000001"
    assert entry.change.corrected() == fields
    assert (entry.change.title is None) == (code == "C99")


def test_a_refused_change_is_none():
    record = addenda_98("C65", "1918171614", "C010000088")
    entry = only([incoming_entry("21", 0), record], "COR")
    assert (entry.kind, type(entry.change)) == (EntryKind.REFUSED_CHANGE, RefusedChange)
    assert (entry.change.refused_code, entry.change.refused_sequence) == ("C01", "0000088")


# --- tables and summary -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "letter", "size"), [("nacha_return_reason", "R", 70), ("nacha_change", "C", 23)]
)
def test_the_tables_are_dated_and_name_their_source(name, letter, size):
    table = code_set(name)
    assert re.fullmatch(r"20\d\d-\d\d-\d\d", table.published)
    assert "Nacha Operating Rules" in table.source
    assert len(table.codes) == size
    assert all(
        re.fullmatch(rf"{letter}\d\d", code) and title for code, title in table.codes.items()
    )


def test_r70_is_a_dishonoured_return():
    assert return_stage("R70") is ReturnStage.DISHONORED
    assert "not accepted" in code_set("nacha_return_reason").codes["R70"]


# --- message check ----------------------------------------------------------------------------------


def test_message_check_reports_returns_without_account_numbers():
    found = recognised(incoming([incoming_entry(), addenda_99("R02")]))
    totals = "credits 1234.56 USD, debits 0.00 USD, entry hash 12104288"
    assert (found.kind, found.odd) == ("nacha", ())
    assert found.says == (
        "file A of 2026-11-28 from 231380104 to 121042882",
        f"batches 1, entries 1, {totals}",
        f"batch 1, CCD of company 1234567890 for 2026-11-30: 1 return; {totals}",
        "return R02 (Account closed) of the entry 121042880000001, 1234.56 USD",
    )
    assert plain(found.content)["batches"][0]["entries"][0]["kind"] == "return"


def test_message_check_reports_remarks_and_faults_with_their_lines():
    data = incoming([incoming_entry(), addenda_99("R02")])
    found = recognised(data.replace(b"9" * 94 + b"\n", b""))
    assert [(each.place, each.is_fault) for each in found.odd] == [("line 6", False)]
    with pytest.raises(MessageError) as caught:
        recognised(data.replace(b"0000123456", b"0000123457", 1))
    assert caught.value.place == "line 5, columns 33-44"
    with pytest.raises(MessageError, match="line 1"):
        recognised(b"101")
