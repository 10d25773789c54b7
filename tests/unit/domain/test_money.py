from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from settlement_engine.domain.money import (
    AMOUNT_DIGITS_MAX,
    AMOUNT_TEXT_MAX,
    Money,
    MoneyError,
    currencies,
    exponent,
    format_amount,
    parse_amount,
)

CURRENCIES = sorted(currencies())
any_currency = st.sampled_from(CURRENCIES)
any_minor = st.integers(min_value=1, max_value=10**AMOUNT_DIGITS_MAX - 1)

ZERO_DIGITS = [
    "BIF",
    "CLP",
    "DJF",
    "GNF",
    "ISK",
    "JPY",
    "KMF",
    "KRW",
    "PYG",
    "RWF",
    "UGX",
    "UYI",
    "VND",
    "VUV",
    "XAF",
    "XOF",
    "XPF",
]
THREE_DIGITS = ["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"]
FOUR_DIGITS = ["CLF", "UYW"]


@pytest.mark.parametrize(
    ("digits", "codes"), [(0, ZERO_DIGITS), (3, THREE_DIGITS), (4, FOUR_DIGITS)]
)
def test_the_digits_of_unusual_currencies_are_those_of_iso_4217(digits, codes):
    assert sorted(code for code, known in currencies().items() if known == digits) == codes


def test_every_other_currency_has_two_digits():
    unusual = {*ZERO_DIGITS, *THREE_DIGITS, *FOUR_DIGITS}
    assert {exponent(code) for code in CURRENCIES if code not in unusual} == {2}
    assert {"USD", "EUR", "GBP", "AED", "INR", "CHF"} <= set(CURRENCIES) - unusual


@pytest.mark.parametrize("code", ["XAU", "XXX", "XTS", "XDR", "DEM", "ZZZ"])
def test_what_has_no_minor_units_or_is_not_in_use_is_not_a_currency(code):
    with pytest.raises(MoneyError, match="not an active currency"):
        exponent(code)


@pytest.mark.parametrize(
    "code", ["", "eur", "Eur", "zzz", "EU", "EURO", "E1R", " EUR", "EUR\n", "\u0395UR"]
)
def test_what_does_not_look_like_a_currency_is_told_so(code):
    with pytest.raises(MoneyError, match="three capital letters"):
        exponent(code)


@pytest.mark.parametrize(
    ("text", "currency", "minor"),
    [
        ("1.005", "KWD", 1_005),
        ("1.00", "KWD", 1_000),
        ("1", "KWD", 1_000),
        ("12.50", "EUR", 1_250),
        ("12.5", "EUR", 1_250),
        ("12", "EUR", 1_200),
        ("0.01", "EUR", 1),
        ("0.1", "EUR", 10),
        ("100", "JPY", 100),
        ("0.0001", "CLF", 1),
        ("9999999999999999.99", "EUR", 10**18 - 1),
        ("999999999999999999", "JPY", 10**18 - 1),
        ("99999999999999.9999", "CLF", 10**18 - 1),
    ],
)
def test_an_amount_is_kept_exactly(text, currency, minor):
    assert parse_amount(text, currency) == Money(minor, currency)


@pytest.mark.parametrize(
    ("text", "currency", "why"),
    [
        ("100.5", "JPY", "1 decimals, but JPY has 0"),
        ("100.0", "JPY", "1 decimals, but JPY has 0"),
        ("1.001", "EUR", "3 decimals, but EUR has 2"),
        ("1.000", "EUR", "3 decimals, but EUR has 2"),
        ("1.0050", "KWD", "4 decimals, but KWD has 3"),
        ("1.00001", "CLF", "5 decimals, but CLF has 4"),
        ("0", "EUR", "greater than zero"),
        ("0.00", "EUR", "greater than zero"),
        ("0", "JPY", "greater than zero"),
        ("10000000000000000.00", "EUR", "more than 18 digits"),
        ("10000000000000000", "EUR", "more than 18 digits"),
        ("1000000000000000000", "JPY", "more than 18 digits"),
        ("1" * 40, "EUR", "more than 24 characters"),
        ("1" * 1_000_000, "EUR", "more than 24 characters"),
    ],
)
def test_an_amount_that_cannot_be_kept_is_refused_with_the_reason(text, currency, why):
    with pytest.raises(MoneyError, match=why):
        parse_amount(text, currency)


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "-1", "+1", "-0", "--1", "1-", "01", "00", "00.10", "01.00", "0001"),
        *("1e3", "1E3", "1e-2", "1d3", "0x10", "0b1", "0o7", "1_000", "1,000", "1,5", "1.000,00"),
        *(
            "1.",
            ".5",
            ".",
            "1..0",
            "1.0.0",
            "1 .0",
            " 1",
            "1 ",
            "1\n",
            "\n1",
            "\t1",
            "1\x00",
            "1 000",
        ),
        *("NaN", "nan", "inf", "Infinity", "-inf", "sNaN", "null", "None", "true", "one"),
        *(
            "\u0663",
            "\u0661\u0662",
            "\uff11\uff12",
            "1.\u0665",
            "\u0967",
            "\u00b2",
            "\u00bd",
            "\u2167",
        ),
        *("\u4e00", "1\u200b", "\ufeff1", "1\u066b5", "\U0001d7d9"),  # digits of other scripts
        *("$1", "1€", "EUR 1", "1 EUR", "1/2", "1%", "(1)", "1;2", "'1'", "1--", "{1}", "1\\n"),
    ],
)
@pytest.mark.parametrize("currency", ["EUR", "JPY", "KWD"])
def test_rubbish_is_not_an_amount(text, currency):
    with pytest.raises(MoneyError, match="decimal number"):
        parse_amount(text, currency)


def test_the_longest_amount_of_any_currency_is_not_too_long_to_be_looked_at():
    longest = max(len(format_amount(10**AMOUNT_DIGITS_MAX - 1, code)) for code in CURRENCIES)
    assert longest <= AMOUNT_TEXT_MAX


def test_the_largest_amount_fits_the_database_and_so_does_a_sum_of_nine():
    assert 9 * (10**AMOUNT_DIGITS_MAX - 1) < 2**63


@given(any_currency, any_minor)
def test_what_is_written_is_read_back(currency, minor):
    assert parse_amount(format_amount(minor, currency), currency) == Money(minor, currency)


@given(any_currency, any_minor)
def test_what_is_read_is_the_exact_value_of_the_text(currency, minor):
    text = format_amount(minor, currency)
    assert Decimal(text).scaleb(exponent(currency)) == minor
    assert str(Money(minor, currency)) == text


@given(any_currency, any_minor)
def test_trailing_zeros_may_be_left_out(currency, minor):
    text = format_amount(minor, currency)
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    assert parse_amount(text, currency).minor == minor


@given(any_currency, any_minor)
def test_one_digit_too_many_is_refused_even_if_it_is_a_zero(currency, minor):
    text = format_amount(minor, currency)
    longer = f"{text}0" if "." in text else f"{text}.0"
    with pytest.raises(MoneyError):
        parse_amount(longer, currency)


@given(any_currency, st.integers(min_value=-(10**18), max_value=10**18))
def test_a_balance_of_either_sign_is_written_with_all_its_decimals(currency, minor):
    text = format_amount(minor, currency)
    assert Decimal(text).scaleb(exponent(currency)) == minor
    assert len(text.partition(".")[2]) == exponent(currency)
    assert not text.startswith(("-.", "."))


@given(any_currency, st.text(max_size=AMOUNT_TEXT_MAX + 2))
def test_whatever_is_read_obeys_the_grammar(currency, text):
    try:
        found = parse_amount(text, currency)
    except MoneyError:
        return
    assert text.isascii()
    assert set(text) <= set("0123456789.")
    assert Decimal(text).scaleb(exponent(currency)) == found.minor > 0


@given(any_currency, st.from_regex(r"\A[0-9]{1,14}(\.[0-9]{1,4})?\Z"))
def test_plain_digits_are_refused_only_for_a_reason(currency, text):
    whole, _, fraction = text.partition(".")
    assume(len(fraction) <= exponent(currency))
    is_zero = not text.strip("0.")
    has_leading_zero = len(whole) > 1 and whole.startswith("0")
    if is_zero or has_leading_zero:
        with pytest.raises(MoneyError):
            parse_amount(text, currency)
    else:
        assert parse_amount(text, currency).minor == Decimal(text).scaleb(exponent(currency))


@pytest.mark.parametrize(
    ("minor", "currency", "text"),
    [
        (0, "EUR", "0.00"),
        (0, "JPY", "0"),
        (0, "KWD", "0.000"),
        (1, "EUR", "0.01"),
        (-1, "EUR", "-0.01"),
        (-1, "JPY", "-1"),
        (-100, "EUR", "-1.00"),
        (123_456, "CLF", "12.3456"),
    ],
)
def test_minor_units_are_written_as_people_write_them(minor, currency, text):
    assert format_amount(minor, currency) == text


def test_two_amounts_are_equal_only_in_the_same_currency():
    assert Money(100, "EUR") == Money(100, "EUR")
    assert Money(100, "EUR") != Money(100, "USD")


@pytest.mark.parametrize("operation", ["__add__", "__sub__", "__mul__", "__lt__", "__float__"])
def test_money_offers_no_arithmetic_that_could_mix_currencies(operation):
    own = vars(Money).get(operation)
    assert own is None


def test_money_cannot_be_changed():
    with pytest.raises(AttributeError):
        Money(1, "EUR").minor = 2  # type: ignore[misc]
    assert json.dumps({"amount": str(Money(5, "EUR"))}) == '{"amount": "0.05"}'


def test_the_list_of_currencies_is_a_copy():
    currencies().clear()
    assert currencies()
