"""The issuer ranges of the card schemes (ISO/IEC 7812): the first digits of their card numbers, and the lengths.

For each scheme: the first digits, single or as a range from-to, and the possible numbers of digits. Schemes that
have closed are included, because their numbers still occur in old records and in lists of test numbers.
"""

from __future__ import annotations

from typing import Final

_ANY_LENGTH: Final = tuple(range(12, 20))
_LONG: Final = tuple(range(16, 20))

_SCHEMES: Final[tuple[tuple[str, str, tuple[int, ...]], ...]] = (
    ("Visa", "4", (13, 16, 19)),
    ("Mastercard", "51-55 2221-2720", (16,)),
    ("American Express", "34 37", (15,)),
    ("Diners Club", "300-305 3095 36 38-39", tuple(range(14, 20))),
    ("Discover", "6011 644-649 65", _LONG),
    ("JCB", "3528-3589", _LONG),
    ("UnionPay", "62", _LONG),
    ("Maestro", "5018 5020 5038 5893 6304 6703 6705 6706 6709 6759 6761-6763 6799", _ANY_LENGTH),
    ("Laser", "6304 6706 6709 6771", _LONG),
    ("Mir", "2200-2204", _LONG),
    ("RuPay", "508500-508999 606985-608500", (16,)),
    ("Elo", "504175 506699-506778 509000-509999 636297 636368", (16,)),
    ("Hipercard", "606282 637095 637568 637599 637609 637612", (16,)),
    ("Verve", "506099-506198 507865-507964", (16, 18, 19)),
    ("Dankort", "5019", (16,)),
    ("InstaPayment", "637-639", (16,)),
    ("InterPayment", "636", _LONG),
    ("Bankcard", "5610 560221-560225", (16,)),
    ("Switch, Solo", "4903 4905 4911 4936 564182 633110 6333-6334 6767", (16, 18, 19)),
)


def _read(ranges: str, lengths: tuple[int, ...]) -> list[tuple[str, str, frozenset[int]]]:
    """Return the lowest and the highest first six digits of each range."""
    read = []
    for text in ranges.split():
        low, _, high = text.partition("-")
        read.append((low.ljust(6, "0"), (high or low).ljust(6, "9"), frozenset(lengths)))
    return read


_RANGES: Final = [each for _, ranges, lengths in _SCHEMES for each in _read(ranges, lengths)]
_BY_TWO_DIGITS: Final = {
    f"{two:02}": [each for each in _RANGES if each[0][:2] <= f"{two:02}" <= each[1][:2]]
    for two in range(100)
}


def lengths_of(begin: str) -> frozenset[int]:
    """Return how long the numbers are that begin with these six digits; empty outside of every range."""
    lengths: frozenset[int] = frozenset()
    for low, high, of_range in _BY_TWO_DIGITS.get(begin[:2], ()):
        if low <= begin <= high:
            lengths |= of_range
    return lengths


NUMBER_DIGITS_MIN: Final = min(min(lengths) for _, _, lengths in _RANGES)
NUMBER_DIGITS_MAX: Final = max(max(lengths) for _, _, lengths in _RANGES)
