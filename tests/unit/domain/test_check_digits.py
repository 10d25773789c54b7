from __future__ import annotations

import pytest

from settlement_engine.domain import check_digits


@pytest.mark.parametrize(
    "text",
    [
        *("DE89370400440532013000", "GB82WEST12345698765432", "FR1420041010050500013M02606"),
        "SE4550000000058398257466",  # its national check digits cannot be verified
    ],
)
def test_a_right_iban(text):
    assert check_digits.fault_of_iban(text) == ""


@pytest.mark.parametrize(
    "text",
    [
        "DE89370400440532013001",  # check digits
        "DE8937040044053201300",  # too short
        "FR1420041010050500013M02607",  # national check digits
        "XX89370400440532013000",
        "DE89 3704 0044 0532 0130 00",
        "de89370400440532013000",
        "D",
        "A" * 5000,
        "",
        "💶",
    ],
)
def test_a_wrong_iban(text):
    assert check_digits.fault_of_iban(text) != ""


@pytest.mark.parametrize("text", ["DEUTDEFF", "DEUTDEFF500", "CHASUS33", "CHASUS33XXX"])
def test_a_right_bic(text):
    assert check_digits.fault_of_bic(text) == ""


@pytest.mark.parametrize(
    "text", ["DEUTXXFF", "DEUTDEF", "DEUTDEFF5", "", "12345678", "DEUTDEFF ", "deutdeff", "💶" * 8]
)
def test_a_wrong_bic(text):
    assert check_digits.fault_of_bic(text) != ""


def test_a_country_is_one_of_iso_3166_or_one_that_banks_use():
    assert [check_digits.fault_of_country(code) for code in ("DE", "AE", "XK")] == ["", "", ""]
    assert all(check_digits.fault_of_country(code) for code in ("XX", "UK", "de", "D", "DEU", ""))
    assert check_digits.fault_of_bic("MBKOXKPR") == ""


def test_a_bic_in_no_directory_is_a_warning_and_no_fault():
    assert check_digits.warning_of_bic("CHASUS33") != ""
    assert check_digits.fault_of_bic("CHASUS33") == ""
    assert check_digits.warning_of_bic("DEUTDEFF") == ""


@pytest.mark.parametrize(
    ("check", "right", "wrong"),
    [
        (check_digits.fault_of_lei, "213800KUD8LAJWSQ9D15", "213800KUD8LAJWSQ9D16"),
        (check_digits.fault_of_creditor_reference, "RF18539007547034", "RF19539007547034"),
        (check_digits.fault_of_routing_number, "111000025", "111000026"),
    ],
)
def test_check_digits(check, right, wrong):
    assert check(right) == ""
    assert "check digit" in check(wrong)


def test_a_fault_of_an_identifier_does_not_repeat_it():
    said = check_digits.fault_of_iban("DE89370400440532013001")
    assert said == "is not an IBAN: its check digits are wrong"
