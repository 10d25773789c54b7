"""Recognises card numbers by the issuer's range, the scheme's length and the check digit.

Promises: a text that contains the number of a payment card is recognised: in one piece, in groups as on a
card, in digits of any script, or with one extra digit at its end. A date, a UUID, or digits outside the issuers'
ranges are never recognised. One in ten other numbers inside these ranges has a valid check digit; it cannot be
distinguished from a card number, and counts as one. Must never: repeat a number that it has found.

Ranges that begin with 0, 1, 7, 8 or 9 are left out: ISO/IEC 7812 gives them to airlines, petrol and national
use, and identifiers of all kinds begin so, those with the time in them among them.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Final

from settlement_engine.domain.card_issuers import NUMBER_DIGITS_MAX, NUMBER_DIGITS_MIN, lengths_of
from settlement_engine.domain.iban import without_checked_references

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_SEPARATORS: Final = " \t\r\n._/\\\\|*+'-"
_SEPARATOR: Final = rf"(?:[{_SEPARATORS}]{{1,3}}|[,;])"
"""A comma or semicolon with a space beside it separates the items of a list, not the groups of a number."""

_ENOUGH_DIGITS: Final = re.compile(rf"[2-6](?:(?:{_SEPARATOR})?[0-9]){{11}}", re.ASCII)
"""The digits that every card number has at least: only texts that match are examined further."""

_SPACES: Final = frozenset({"Zs", "Zl", "Zp"})
_MARKS: Final = frozenset({"Po", "Pc", "Pi", "Pf", "Sm", "So"})
"""Unicode's categories of punctuation and signs; each of these characters separates groups of digits."""

_RUN: Final = re.compile(rf"[0-9]+(?:{_SEPARATOR}[0-9]+)*", re.ASCII)
_GROUP: Final = re.compile(r"[0-9]+", re.ASCII)
_HEXADECIMAL: Final = re.compile(r"[0-9]*[A-Fa-f][0-9A-Fa-f]*", re.ASCII)
_UUID: Final = re.compile(
    r"(?<![0-9A-Za-z])[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}(?![0-9A-Za-z])", re.ASCII
)
"""UUIDs often identify obligations, and the groups in their middle can look like those of a card number."""

_LETTER: Final = re.compile(r"[A-Za-z]", re.ASCII)

GROUP_DIGITS: Final = 4
_GROUPINGS: Final = frozenset({(4, 6, 4), (4, 6, 5), (4, 9), (6, 10), (6, 13)})
"""How cards print their numbers, other than in groups of equal length of which the last may be shorter.

Thirteen digits are printed as 4-3-3-3, whose threes have been joined.
"""

_DAY_FIRST: Final = re.compile(
    r"(?:0[1-9]|[12]\d|3[01])(?:0[1-9]|1[0-2])(?:19|2[01])\d\d", re.ASCII
)
_SHORT_YEAR: Final = re.compile(
    r"(?:[0-2]\d|3[0-3])(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])(?:[01]\d|2[0-3])[0-5]\d", re.ASCII
)
"""Days of 1900 to 2199, and minutes of 2000 to 2033. A day with the year first is in no issuer's range."""

_WITHOUT_SEPARATORS: Final = dict.fromkeys(map(ord, _SEPARATORS + ",;"))
_VALUES: Final = bytes.maketrans(b"0123456789", bytes(range(10)))
_DOUBLED: Final = bytes.maketrans(bytes(range(10)), bytes((0, 2, 4, 6, 8, 1, 3, 5, 7, 9)))


def has_card_number(text: str) -> bool:
    """Say whether the number of a payment card stands in a text. Its cost is linear in the text."""
    if len(text) < NUMBER_DIGITS_MIN:
        return False
    if not text.isascii():
        text = _in_plain_digits(text)
    if _ENOUGH_DIGITS.search(text) is None or not _is_any_found(text):
        return False
    return _is_any_found(without_checked_references(_UUID.sub(" ", text)))


def _in_plain_digits(text: str) -> str:
    """Convert digits of every script, spaces, dashes, dots and commas to ASCII; drop invisible characters."""
    plain = []
    for character in unicodedata.normalize("NFKC", text):
        category = unicodedata.category(character)
        if category == "Nd":
            plain.append(str(unicodedata.decimal(character)))
        elif category in _SPACES:
            plain.append(" ")
        elif category == "Pd" or character == "\u2212":  # a minus sign
            plain.append("-")
        elif (
            category in _MARKS and not character.isascii()
        ):  # a middle dot, a bullet, a comma of a script
            plain.append(".")
        elif category != "Cf":
            plain.append(character)
    return "".join(plain)


def _is_any_found(text: str) -> bool:
    return any(_is_found_in(text, run) for run in _RUN.finditer(text))


def _is_found_in(text: str, run: re.Match[str]) -> bool:
    """Look at each sequence of groups in a run of digits that may be a card number."""
    groups = _joined([match.span() for match in _GROUP.finditer(text, *run.span())])
    digits = run[0].translate(_WITHOUT_SEPARATORS)
    begin = 0
    for first, (start, _, size) in enumerate(groups):
        lengths = lengths_of(digits[begin : begin + 6])
        for count, number in _grouped(groups[first : first + NUMBER_DIGITS_MAX], lengths):
            written = digits[begin : begin + number]
            end = groups[first + count - 1][1]
            if _is_card_number(written, lengths) and not _is_hexadecimal(text, start, end):
                return True
        begin += size
    return False


def _joined(spans: Sequence[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """Give where each group begins and ends and how many digits it has.

    Neighbours of the same size are one group if they have less than four digits each: ``4 1 1 1`` is 4111.
    """
    joined: list[tuple[int, int, int]] = []
    size_before = 0
    for start, end in spans:
        size = end - start
        if size == size_before and size < GROUP_DIGITS:
            begin, _, digits = joined.pop()
            joined.append((begin, end, digits + size))
        else:
            joined.append((start, end, size))
        size_before = size
    return joined


def _grouped(
    groups: Sequence[tuple[int, int, int]], lengths: frozenset[int]
) -> Iterator[tuple[int, int]]:
    """Say how many of the groups may be one number, and how many digits that has."""
    sizes: list[int] = []
    digits = 0
    for _, _, size in groups if lengths else ():
        sizes.append(size)
        digits += size
        if digits > NUMBER_DIGITS_MAX + 1:
            return
        if not lengths.isdisjoint((digits, digits - 1)) and _is_grouped_as_on_a_card(sizes):
            yield len(sizes), digits


def _is_grouped_as_on_a_card(sizes: Sequence[int]) -> bool:
    """Say whether digits in groups of these sizes may be one number; the last may have one too many."""
    *before, last = sizes
    is_even = not before or (last <= before[0] + 1 and before.count(before[0]) == len(before))
    return is_even or (*before, last) in _GROUPINGS or (*before, last - 1) in _GROUPINGS


def _is_card_number(digits: str, lengths: frozenset[int]) -> bool:
    """Say whether digits are a number of one of these lengths, or one with a digit more."""
    if _DAY_FIRST.match(digits) or _SHORT_YEAR.match(digits):
        return False
    return any(
        length in lengths and passes_luhn(digits[:length])
        for length in (len(digits), len(digits) - 1)
    )


def passes_luhn(digits: str) -> bool:
    """Say whether the last digit is the check digit of the others."""
    raw = digits.encode("ascii").translate(_VALUES)
    return (sum(raw[-1::-2]) + sum(raw[-2::-2].translate(_DOUBLED))) % 10 == 0


def _is_hexadecimal(text: str, start: int, end: int) -> bool:
    """Say whether the digits are part of a hexadecimal number, such as a hash or a UUID."""
    if not (_LETTER.match(text, start - 1, start) if start else None) and not _LETTER.match(
        text, end
    ):
        return False
    while start and text[start - 1].isalnum():
        start -= 1
    while end < len(text) and text[end].isalnum():
        end += 1
    return _HEXADECIMAL.fullmatch(text, start, end) is not None
