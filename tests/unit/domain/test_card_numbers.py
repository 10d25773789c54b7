"""What is a card number, in which spellings, and what never is one."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from settlement_engine.domain.card_issuers import lengths_of
from settlement_engine.domain.card_numbers import has_card_number, passes_luhn
from settlement_engine.domain.iban import without_checked_references

TEST_NUMBERS = {
    "Visa": "4111111111111111 4012888888881881 4242424242424242 4000056655665556 4222222222222"
    " 4035300539804083 4000000000000000006",
    "Mastercard": "5555555555554444 5105105105105100 5200828282828210 5424000000000015"
    " 2223003122003222 2223000048400011 2221000000000009 2720990000000007",
    "American Express": "378282246310005 371449635398431 378734493671000 341111111111111",
    "Diners Club": "30569309025904 38520000023237 36227206271667 3056930009020004 36700102000000",
    "Discover": "6011111111111117 6011000990139424 6011981111111113 6445644564456445"
    " 6555900000604105",
    "JCB": "3530111333300000 3566002020360505 3528000000000007",
    "UnionPay": "6200000000000005 6200000000000047 6205500000000000004 6243030000000001",
    "Maestro": "6759649826438453 6799990100000000019 6304000000000000 5018000000000009"
    " 6771830999991239",
    "Mir": "2200000000000004 2204320000000002",
    "Elo": "5066991111111118 6362970000457013",
    "Hipercard": "6062826786276634 6062825624254001",
    "Dankort": "5019717010103742",
    "Bankcard": "5610591081018250",
    "Switch": "6331101999990016 5641820000000005",
    "RuPay": "5085000000000007 6070000000000002",
}
NUMBERS = [
    pytest.param(number, id=f"{scheme} {number}")
    for scheme, numbers in TEST_NUMBERS.items()
    for number in numbers.split()
]
CARD = "4111111111111111"
FULL_WIDTH = str.maketrans("0123456789", "".join(chr(0xFF10 + digit) for digit in range(10)))
ARABIC = str.maketrans("0123456789", "".join(chr(0x0660 + digit) for digit in range(10)))


def grouped(number: str, separator: str) -> str:
    """Write a number as its card does."""
    sizes = {14: (4, 6, 4), 15: (4, 6, 5), 13: (4, 3, 3, 3)}.get(len(number), (4,) * 5)
    parts, place = [], 0
    for size in sizes:
        parts.append(number[place : place + size])
        place += size
    return separator.join(part for part in parts if part)


@pytest.mark.parametrize("number", NUMBERS)
def test_a_card_number_is_recognised_in_every_spelling(number: str) -> None:
    spellings = [number, number.translate(FULL_WIDTH), number.translate(ARABIC)]
    for separator in (
        " ",
        "-",
        ".",
        "_",
        "/",
        " - ",
        "\u00a0",
        "\u2009",
        "\u2011",
        "\u2013",
        "\u2212",
        *(",", ";", "|", "\\", "*", "+", "'", "\t", "\r\n"),
        *("\u00b7", " \u00b7 ", "\u2022", "\u2219", "\u22c5", "\u30fb"),  # dots in the middle
        *("\u202f", "\u2028", "\u060c", "\u3001", "\u3002", "\uff0c", "\u2019"),
    ):
        spellings.append(grouped(number, separator))
        spellings.append(grouped(number, separator).translate(FULL_WIDTH))
    spellings += [separator.join(number) for separator in (" ", "-", ".")]
    spellings.append("\u200b".join(number))  # an invisible space
    spellings.append(number + "7")  # a digit too many
    spellings.append(grouped(number, " ") + "7")
    for spelling in spellings:
        assert has_card_number(spelling), spelling
        for text in ("paid with {}.", "{}", "card:{}", "({})", "PAN{}", "no {} 12/28 123", "12 {}"):
            assert has_card_number(text.format(spelling)), text.format(spelling)


@pytest.mark.parametrize("number", NUMBERS)
def test_a_card_number_with_a_wrong_check_digit_is_none(number: str) -> None:
    wrong = number[:-1] + str((int(number[-1]) + 1) % 10)
    shorter = any(
        length in lengths_of(number[:6]) and passes_luhn(number[:length])
        for length in (len(number) - 1,)
    )
    assert has_card_number(wrong) is shorter


FORMS = [
    "%Y%m%d", "%Y%m%d%H%M", "%Y%m%d%H%M%S", "%Y%m%d%H%M%S%f", "%d%m%Y", "%d%m%Y%H%M%S", "%d%m%Y%H%M%S%f",
    "%m%d%Y%H%M%S", "%y%m%d%H%M", "%y%m%d%H%M%S", "%y%m%d%H%M%S%f", "%Y-%m-%d", "%Y-%m-%dT%H:%M:%S.%f",
    "%d.%m.%Y %H:%M:%S", "%Y/%m/%d %H.%M.%S", "%Y%m%d-%H%M%S", "%d%m%Y-%d%m%Y", "%Y%m%d%H%M%S0001",
    "%d.%m.%Y, %d.%m.%Y", "%d.%m.%Y,%H.%M.%S", "%y-%m-%d,%H-%M-%S", "%Y\u00b7%m\u00b7%d\u00b7%H\u00b7%M\u00b7%S",
    "%d\u3001%m\u3001%Y", "%d\u2022%m\u2022%Y\u2022%d\u2022%m\u2022%Y",
]  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_no_date_is_a_card_number(form: str) -> None:
    chance = random.Random(20_261_128)
    first, last = datetime(1950, 1, 1), datetime(2090, 12, 31)  # noqa: DTZ001 - only its digits count
    if "%y" in form:
        first, last = datetime(2000, 1, 1), datetime(2033, 12, 31)  # noqa: DTZ001
    span = int((last - first).total_seconds())
    for _ in range(10_000):
        moment = first + timedelta(
            seconds=chance.randrange(span), microseconds=chance.randrange(10**6)
        )
        text = moment.strftime(form)
        assert not has_card_number(text), text


@given(st.integers(10**11, 10**20 - 1), st.sampled_from("01789"))
def test_digits_that_begin_outside_of_the_issuers_ranges_are_no_card_number(
    number: int, first: str
) -> None:
    assert not has_card_number(first + str(number)[1:])


@given(st.text("0123456789", min_size=12, max_size=21))
def test_only_what_begins_in_a_range_and_has_its_length_and_check_digit_is_one(digits: str) -> None:
    lengths = lengths_of(digits[:6])
    is_possible = any(
        length in lengths and passes_luhn(digits[:length])
        for length in (len(digits), len(digits) - 1)
    )
    if has_card_number(digits):
        assert is_possible


@pytest.mark.parametrize("separator", [", ", "; "])
@pytest.mark.parametrize("digits", [4, 5, 6, 8])
def test_no_list_of_references_is_a_card_number(separator: str, digits: int) -> None:
    chance = random.Random(digits)
    for _ in range(5_000):
        numbers = [
            str(chance.randrange(10 ** (digits - 1), 10**digits))
            for _ in range(chance.randint(2, 6))
        ]
        assert not has_card_number(separator.join(numbers)), numbers


def test_few_random_numbers_are_taken_for_card_numbers() -> None:
    """Of sixteen random digits one in 26: those in an issuer's range, and of these one in ten."""
    chance = random.Random(1)
    numbers = [str(chance.randrange(10**15, 10**16)) for _ in range(20_000)]
    found = [number for number in numbers if has_card_number(number)]
    assert all(lengths_of(number[:6]) for number in found)
    assert 0.03 < len(found) / len(numbers) < 0.045


@pytest.mark.parametrize(
    "text",
    [
        "",
        "411111111111",
        "4111111111111112",
        "4111111111111111000",  # three digits more are another number
        "550e8400-e29b-41d4-a716-446655440000",
        "ab4111111111111111",  # a hash
        "0193a5c27d1e4111111111111111abcd",
        "1732320000000",
        "1732320000000000",
        "1732320000000000000",
        "+49 4111 11111 11",
        "4111, 1111, 1111, 1111",
        "4111; 1111; 1111; 1111",
        "4,111,111,111,111,111",
        "2026-01-31,09:30:00.000000",
        "4111:1111:1111:1111",
        "AT61 1904 3002 3457 3201",
        "AT611904300234573201",
        "FR7630006000011234567890189",
        "FR76 3000 6000 0112 3456 7890 189",
        "GB29 NWBK 6016 1331 9268 19",
        "RF18 5390 0754 7034",
        "EUR 4111111111111.11",
    ],
)
def test_what_looks_like_one_from_afar_is_none(text: str) -> None:
    assert not has_card_number(text)


def check_digits(country: str, rest: str) -> str:
    number = int("".join(str(int(character, 36)) for character in rest + country + "00"))
    return f"{country}{98 - number % 97:02}{rest}"


@given(
    st.sampled_from(
        [("AT", 16), ("DE", 18), ("NL", 14), ("BE", 12), ("LT", 16), ("HU", 24), ("RF", 17)]
    ),
    st.data(),
)
def test_an_iban_or_a_creditor_reference_is_no_card_number(kind: tuple[str, int], data) -> None:
    country, digits = kind
    iban = check_digits(country, data.draw(st.text("0123456789", min_size=digits, max_size=digits)))
    printed = " ".join(iban[place : place + 4] for place in range(0, len(iban), 4))
    for text in (iban, printed, f"to {iban}.", f"IBAN: {printed}"):
        assert not has_card_number(text), text
    assert has_card_number(f"{iban}, {CARD}")
    assert has_card_number(f"{CARD} {iban}")


def test_a_reference_with_wrong_check_digits_is_left_in_the_text() -> None:
    text = "AT62 4111 1111 1111 1111"
    assert without_checked_references(text) == text
    assert has_card_number(text)


@given(st.text(max_size=200))
def test_any_text_may_be_asked_about(text: str) -> None:
    assert has_card_number(text) in (True, False)
    assert has_card_number(f"{text} {CARD}")


@pytest.mark.parametrize(
    "text",
    [
        "4aae0fe1-3016-4329-8844-95622fa80c11",
        "72cb4692-9145-4966-8736-46d0becb20aa",
        "OBL-72cb4692-9145-4966-8736-46d0becb20aa",
        "pay/72CB4692-9145-4966-8736-46D0BECB20AA.1",
        "11111111-4111-1111-1111-111111111111",
    ],
)
def test_a_uuid_is_no_card_number(text: str) -> None:
    assert not has_card_number(text)


def test_no_uuid_is_ever_taken_for_one() -> None:
    chance = random.Random(20)
    for _ in range(200_000):
        made = str(UUID(int=chance.getrandbits(128), version=4))
        assert not has_card_number(made), made
        assert not has_card_number(made.replace("-", "")), made


def test_a_card_number_beside_a_uuid_is_found() -> None:
    assert has_card_number("72cb4692-9145-4966-8736-46d0becb20aa 4111 1111 1111 1111")
    assert has_card_number("4111-1111-1111-1111-72cb46929145")
