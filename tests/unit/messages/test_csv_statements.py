from __future__ import annotations

import pytest

from settlement_engine.domain.statements import EntryStatus
from settlement_engine.messages.csv_mapping import SHIPPED, read_mapping, shipped_mapping
from settlement_engine.messages.errors import MessageError
from settlement_engine.messages.statements import read_statements

SIGNED = "Date,Value date,Amount,Currency,Balance,Reference,End to end,Description\n"

PLAIN = "[account]\nidentifier='1'\ncurrency='EUR'\n[columns]\nbooking_date='a'\namount='b'\n"


def signed(rows):
    return read_statements((SIGNED + rows).encode(), shipped_mapping("signed_amount"))


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_mapping_is_valid(name):
    assert shipped_mapping(name).columns.booking_date


def test_balances_are_derived_from_the_running_balance():
    (found,) = signed(
        '2026-11-24,2026-11-24,-2.50,EUR,97.50,B1,E1,"one, with a comma"\n2026-11-25,,10,EUR,107.5,B2,,\n'
    ).statements
    opening, closing = found.opening(), found.closing()
    assert opening is not None
    assert closing is not None
    assert (opening.minor, closing.minor, found.booked_minor()) == (10000, 10750, 750)
    assert found.entries[0].text == "one, with a comma"
    assert found.entries[0].references.end_to_end == "E1"


def test_each_account_and_currency_is_a_statement_of_its_own():
    header = "Konto;Buchung;Valuta;Soll;Haben;Währung;Saldo;Buchungstext;Verwendungszweck\n"
    rows = (
        "1;25.11.2026;25.11.2026;;1.000,00;EUR;1.500,00;GUT;b\n"
        "1;24.11.2026;24.11.2026;500,00;;EUR;500,00;LAST;a\n"
        "2;24.11.2026;24.11.2026;;5,00;EUR;5,00;GUT;c\n"
    )
    file = read_statements((header + rows).encode(), shipped_mapping("debit_and_credit"))
    first, second = file.statements
    assert [each.minor for each in first.entries] == [
        -50000,
        100000,
    ]  # the file has the newest first
    opening = first.opening()
    assert opening is not None
    assert opening.minor == 100000
    assert second.account.identifier == "2"


@pytest.mark.parametrize("sides", ["1,00;2,00", ";"])
def test_a_row_has_an_amount_on_exactly_one_side(sides):
    text = (
        "Konto;Buchung;Valuta;Soll;Haben;Währung;Saldo;Buchungstext;Verwendungszweck\n"
        f"1;25.11.2026;;{sides};EUR;1,00;GUT;b\n"
    )
    file = read_statements(text.encode(), shipped_mapping("debit_and_credit"))
    assert "both sides, or on none" in file.faults[0].reason


@pytest.mark.parametrize(
    ("mark", "minor", "reversal"),
    [("C", 100, False), ("DR", -100, False), ("RC", -100, True), ("RD", 100, True)],
)
def test_marks_give_the_sign(mark, minor, reversal):
    text = (
        "account,booked,valued,mark,amount,status,bank_reference,our_reference,text\n"
        f"1,20261124,20261124,{mark},1.00,pending,B,O,T\n"
    )
    (found,) = read_statements(text.encode(), shipped_mapping("mark_and_status")).statements
    (entry,) = found.entries
    assert (entry.minor, entry.is_reversal) == (minor, reversal)
    assert entry.status is EntryStatus.PENDING


@pytest.mark.parametrize(
    ("rows", "place", "reason"),
    [
        ("2026-11-24,,1.005,EUR,1,,,\n", "row 2, column 'Amount'", "decimals"),
        ("2026-11-24,,1;5,EUR,1,,,\n", "row 2, column 'Amount'", "is no number"),
        ("24.11.2026,,1,EUR,1,,,\n", "row 2", "is no date of the form"),
        ("2026-11-24,,1,EUR\n", "row 2", "cells"),
        ("2026-11-24,,1,,1,,,\n", "row 2", "no currency"),
        ('2026-11-24,,1,EUR,1,,,"open\n', "row 2", "quotes"),
        ("", "file", "no row"),
    ],
)
def test_a_faulty_row_makes_its_statement_unreadable_with_its_position(rows, place, reason):
    file = signed(rows)
    assert file.statements == ()
    assert file.faults[0].place == place
    assert reason in file.faults[0].reason


def test_a_missing_column_is_named():
    file = read_statements(b"Date,Amount\n1,2\n", shipped_mapping("signed_amount"))
    assert "'Value date'" in file.faults[0].reason


@pytest.mark.parametrize(
    "text",
    [
        "[columns]\nbooking_date='a'\namount='b'\ndebit='c'\ncredit='d'\n",
        "[columns]\nbooking_date='a'\namount='b'\nrubbish='c'\n",
        "[columns]\nbooking_date='a'\namount='b'\n",
        f"date_format='DD.MM'\n{PLAIN}",
        f"{PLAIN}mark='c'\n[marks]\ncredit=['X']\ndebit=['X']\n",
        "not toml",
    ],
)
def test_an_ambiguous_mapping_is_refused(text):
    with pytest.raises(MessageError):
        read_mapping(text.encode())
