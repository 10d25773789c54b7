from __future__ import annotations

import logging
from datetime import date

import pytest

from settlement_engine.domain.statements import BalanceType, EntryStatus, Source
from settlement_engine.messages.mt_fields import ENTRY_DETAILS_CHARACTERS_MAX
from settlement_engine.messages.statements import read_statements

HEAD = ":20:STMT1\n:25:DEUTDEFF/DE89370400440532013000\n:28C:7/1\n:60F:C261124EUR1000,00\n"
TAIL = ":62F:C261125EUR1000,00\n-\n"


def one(text):
    file = read_statements(text.encode())
    assert file.faults == ()
    (statement,) = file.statements
    return statement


def fault(text):
    file = read_statements(text.encode())
    assert file.statements == ()
    (found,) = file.faults
    return found


@pytest.mark.parametrize(
    ("mark", "minor", "reversal", "status"),
    [
        ("C", 1250, False, EntryStatus.BOOKED),
        ("D", -1250, False, EntryStatus.BOOKED),
        ("RC", -1250, True, EntryStatus.BOOKED),
        ("RD", 1250, True, EntryStatus.BOOKED),
        ("CR", 1250, False, EntryStatus.BOOKED),  # a credit, with the R of EUR as its funds code
        ("DR", -1250, False, EntryStatus.BOOKED),
        ("RCR", -1250, True, EntryStatus.BOOKED),
        ("EC", 1250, False, EntryStatus.PENDING),
        ("ED", -1250, False, EntryStatus.PENDING),
    ],
)
def test_the_sign_follows_the_marks_effect_on_the_balance(mark, minor, reversal, status):
    (entry,) = one(f"{HEAD}:61:2611251125{mark}12,50NTRFX//B1\n{TAIL}").entries
    assert (entry.minor, entry.is_reversal, entry.status) == (minor, reversal, status)


def test_a_statement_has_the_expected_values():
    statement = one(
        f"{{1:F01}}{{2:O9400000}}{{4:\n{HEAD}"
        ":61:2612310102D10,NTRFOUR-1//THEIR-1\nSUPPLEMENT\n:86:166?00X?20EREF+E2E-7?21SVWZ+Text\n"
        ":62F:C261125EUR990,00\n:64:C261125EUR900,00\n:86:For the holder\n-}{5:}\n"
    )
    assert statement.source is Source.MT940
    assert statement.account.identifier == "DE89370400440532013000"
    assert (statement.account.servicer, statement.account.scheme) == ("DEUTDEFF", "IBAN")
    assert (statement.id, statement.sequence, statement.page) == ("STMT1", 7, 1)
    assert statement.is_last_page is True
    assert [(each.type, each.minor) for each in statement.balances] == [
        (BalanceType.OPENING, 100000),
        (BalanceType.CLOSING, 99000),
        (BalanceType.AVAILABLE, 90000),
    ]
    (entry,) = statement.entries
    assert entry.value_date == date(2026, 12, 31)
    assert entry.booking_date == date(2027, 1, 2)  # the year turns between the two
    assert entry.references.customer == "OUR-1"
    assert entry.references.servicer == "THEIR-1"
    assert entry.references.end_to_end == "E2E-7"
    assert "SVWZ+Text" in entry.text
    assert statement.text == "For the holder"
    assert "For the holder" not in entry.text


def test_a_reference_of_the_entry_survives_its_details():
    (entry,) = one(
        f"{HEAD}:61:261125D10,NTRFOUR-1//B\n:86:166?00X?20EREF+E2E?21SVWZ+Y\n{TAIL}"
    ).entries
    assert (entry.references.customer, entry.references.end_to_end) == ("OUR-1", "E2E")


def test_an_mt_page_has_intermediate_balances():
    statement = one(
        ":20:S\n:25:1\n:28C:7/2\n:60M:D261124EUR1,00\n:61:261125C2,NTRFX\n:62M:C261125EUR1,00\n"
    )
    opening, closing = statement.opening(), statement.closing()
    assert opening is not None
    assert closing is not None
    assert (opening.type, opening.minor) == (BalanceType.OPENING_INTERMEDIATE, -100)
    assert (closing.type, closing.minor) == (BalanceType.CLOSING_INTERMEDIATE, 100)
    assert statement.is_last_page is False


def test_a_report_of_the_day_has_no_booked_balances():
    statement = one(":20:S\n:25:1\n:28C:1\n:34F:EUR0,\n:13D:2611251200+0100\n:61:261125C2,NTRFX\n")
    assert statement.source is Source.MT942


def test_a_report_of_nothing_says_so_by_its_totals():
    report = ":20:S\n:25:1\n:28C:1\n:34F:EUR0,\n:13D:2611251200+0100\n"
    assert "neither entries nor their totals" in fault(report).reason
    assert one(f"{report}:90D:0EUR0,00\n").entries == ()


@pytest.mark.parametrize(
    ("total", "differs"), [("1EUR2,00", False), ("2EUR2,00", True), ("1EUR3,", True)]
)
def test_wrong_totals_are_kept_as_a_difference(total, differs):
    report = f":20:S\n:25:1\n:28C:1\n:34F:EUR0,\n:61:261125D2,NTRFX\n:90D:{total}\n"
    assert one(report).totals_differ is differs


@pytest.mark.parametrize("tag", [":71:", ";61:", ":61;", "61:", ""])
def test_an_entry_with_a_damaged_tag_makes_its_statement_unreadable(tag):
    line = "2611251125D12,50NTRFX//B1\n"
    text = f"{HEAD}:61:{line}:86:text\n{tag}{line}{TAIL}"
    assert "whose tag is damaged" in fault(text).reason


def test_a_time_split_over_two_lines_is_text():
    (entry,) = one(
        f"{HEAD}:61:261125D1,NTRFX\n:86:106?20EREF+E?21SVWZ+AT 12:16\n:26:37 X?22KREF+K\n{TAIL}"
    ).entries
    assert ":26:37 X?22KREF+K" in entry.text
    assert entry.references.end_to_end == "E"


def test_an_mt950_is_recognised_by_the_header_before_its_block():
    assert one(f"{{2:I950DEUTDEFF}}{{4:\n{HEAD}{TAIL}").source is Source.MT950


def test_a_statement_without_entries_is_accepted():
    assert one(HEAD + TAIL).entries == ()


def test_two_equal_entries_are_both_kept():
    line = ":61:261125D3,50NTRFNONREF\n:86:Parking\n"
    assert [each.minor for each in one(HEAD + line + line + TAIL).entries] == [-350, -350]


def test_the_limit_on_text_applies_to_each_entry():
    line = f":61:261125D1,NTRFX\n:86:{'x' * (ENTRY_DETAILS_CHARACTERS_MAX // 2)}\n"
    assert len(one(HEAD + line * 5 + TAIL).entries) == 5


def test_a_faulty_block_does_not_affect_the_others():
    bad = ":20:BAD\n:25:1\n:28C:1\n:60F:C261124EUR1,00\n:61:rubbish\n:62F:C261124EUR1,00\n-\n"
    file = read_statements((HEAD + TAIL + bad + HEAD + TAIL).encode())
    assert [each.id for each in file.statements] == ["STMT1", "STMT1"]
    (found,) = file.faults
    assert found.place == "statement 2, field 61 (line 11)"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f"{HEAD}:61:261125D10,005NTRFX\n{TAIL}", "decimals"),
        (f"{HEAD}:61:261125D12345678901234567,89NTRFX\n{TAIL}", "is no entry"),
        (f"{HEAD}:61:261125D9\n{TAIL}", "is no entry"),  # a line that was cut, not an amount of 9
        (f"{HEAD}:61:261125D1,2,3NTRFX\n{TAIL}", "is no entry"),
        (f"{HEAD}:61:261125X1,NTRFX\n{TAIL}", "is no entry"),
        (f"{HEAD}:61:269925D1,NTRFX\n{TAIL}", "is no date"),
        (f"{HEAD}:62F:C261125USD1000,00\n", "is in USD, and the statement in EUR"),
        (f"{HEAD}:62F:C261125EUR1000\n", "is no balance"),
        (f"{HEAD}{HEAD[10:]}", "more than once"),
        (":20:X\n:25:1\n:28C:1\n:60F:C261124XXX1,00\n", "ISO 4217"),
        (":20:X\n:25:1EUR\n:28C:1\n", "neither field 60 nor field 62"),
        (f":20:X\n:25:\n1\n{HEAD[40:]}", "names no account"),
        (":20:X\n:28C:1\n:60F:C261124EUR1,00\n", "has no field 25"),
        (":25:1\n:60F:C261124EUR1,00\n:62F:C261124EUR1,00\n", "has no field 20"),
        (f"{HEAD}:61:261125D1,NTRFX\n:86:{'x' * ENTRY_DETAILS_CHARACTERS_MAX}\n{TAIL}", "longer"),
    ],
)
def test_an_unreadable_file_has_a_reason(text, reason):
    assert reason in fault(text).reason


def test_customers_data_is_in_no_log(caplog):
    caplog.set_level(logging.DEBUG)
    secret = "Erika Mustermann"
    fault(f"{HEAD}:61:261125D {secret}\n:86:{secret}\n{TAIL}")
    read_statements(f"{HEAD}:61:261125D1,NTRF{secret}\n:86:{secret}\n{TAIL}".encode())
    assert secret not in caplog.text
    assert caplog.records == []


def test_a_text_that_is_a_file_name_opens_no_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "statement").write_text(HEAD + TAIL)
    file = read_statements(b"statement")
    assert file.statements == ()
    assert [each.reason for each in file.faults] == [
        "is neither camt nor MT; a CSV needs a mapping"
    ]


@pytest.mark.parametrize("data", [b"", b"   ", b":20:", b"<", b"\x00" * 100, b"-\n-\n"])
def test_the_result_is_never_empty(data):
    file = read_statements(data)
    assert file.statements == ()
    assert len(file.faults) == 1
