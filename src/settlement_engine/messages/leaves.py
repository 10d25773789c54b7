"""The texts of elements, and the values that they represent.

Promises: a text that the standard does not allow is refused with a description of what is allowed; a value is
written so that it reads back as itself. Each leaf raises ValueError, and its caller adds the position.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, Final

from settlement_engine.messages.errors import quoted

if TYPE_CHECKING:
    from collections.abc import Callable

_DATE: Final = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})(?:Z|[+-][0-9]{2}:[0-9]{2})?", re.ASCII)
_DATE_TIME: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?(?:Z|[+-][0-9]{2}:[0-9]{2})?",
    re.ASCII,
)
_TIME: Final = re.compile(
    r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]+)?(?:Z|[+-][0-9]{2}:[0-9]{2})?", re.ASCII
)
_DECIMAL: Final = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?", re.ASCII)
_DECIMAL_CHARACTERS_MAX: Final = 64
_BOOLEANS: Final = {"true": True, "1": True, "false": False, "0": False}


class Leaf:
    """Converts a text to a value and back; ``most`` and ``codes`` describe its limit, where it has one."""

    __slots__ = ("codes", "most", "read", "write")

    def __init__(
        self,
        read: Callable[[str], Any],
        write: Callable[[Any], str],
        *,
        most: int = 0,
        codes: tuple[str, ...] = (),
    ) -> None:
        self.read = read
        self.write = write
        self.most = most
        self.codes = codes


def text(most: int) -> Leaf:
    """Accept any text of one to ``most`` characters."""

    def checked(value: str) -> str:
        if 0 < len(value) <= most:
            return value
        message = (
            "is empty" if not value else f"has {len(value)} characters, and {most} is the most"
        )
        raise ValueError(message)

    return Leaf(checked, checked, most=most)


def pattern(expression: str, what: str, *, is_secret: bool = False) -> Leaf:
    """Accept a text that matches the expression. A secret text is not repeated in the error."""
    matches = re.compile(expression, re.ASCII).fullmatch

    def checked(value: str) -> str:
        if matches(value) is None:
            message = f"{'the text' if is_secret else quoted(value)} is not {what}"
            raise ValueError(message)
        return value

    return Leaf(checked, checked)


def choice(*codes: str) -> Leaf:
    """Accept one of these codes: a list of the schema, not an external code set."""
    known = frozenset(codes)

    def checked(value: str) -> str:
        if value not in known:
            message = f"{quoted(value)} is none of {', '.join(codes)}"
            raise ValueError(message)
        return value

    return Leaf(checked, checked, codes=codes)


def open_choice(*codes: str) -> Leaf:
    """Write one of these codes, but read any: an unknown status must not make the others unreadable."""
    return Leaf(text(4).read, choice(*codes).write, codes=codes)


def decimal(total: int, fraction: int) -> Leaf:
    """Accept a decimal number and keep it as text, without loss: rates, and sums without a currency."""

    def checked(value: str) -> str:
        value = value.strip()
        match = _DECIMAL.fullmatch(value) if len(value) <= _DECIMAL_CHARACTERS_MAX else None
        if match is None or not (match[2] or match[3]):
            message = f"{quoted(value)} is not a decimal number"
            raise ValueError(message)
        whole, part = match[2].lstrip("0"), (match[3] or "").rstrip("0")
        if len(part) > fraction or len(whole) + len(part) > total:
            message = f"has more than {total} digits, or more than {fraction} decimals"
            raise ValueError(message)
        return value

    return Leaf(checked, checked)


def count(digits_max: int) -> Leaf:
    """Accept a number of at most ``digits_max`` digits."""

    def read(value: str) -> int:
        if not (0 < len(value) <= digits_max and value.isascii() and value.isdigit()):
            message = f"{quoted(value)} is not a number of at most {digits_max} digits"
            raise ValueError(message)
        return int(value)

    return Leaf(read, lambda value: str(read(str(value))))


def _read_date(value: str) -> date:
    match = _DATE.fullmatch(value.strip())
    if match is None:
        message = f"{quoted(value)} is not a date such as 2026-11-28"
        raise ValueError(message)
    try:
        return date.fromisoformat(match[1])
    except ValueError:
        message = f"{quoted(value)} is no date of the calendar"
        raise ValueError(message) from None


def _read_date_time(value: str) -> datetime:
    value = value.strip()
    if _DATE_TIME.fullmatch(value) is None:
        message = f"{quoted(value)} is not a time such as 2026-11-28T17:00:00+01:00"
        raise ValueError(message)
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        message = f"{quoted(value)} is no time of the calendar"
        raise ValueError(message) from None


def _write_date_time(value: datetime) -> str:
    if value.utcoffset() is None:
        message = "must say its offset from UTC"
        raise ValueError(message)
    return value.isoformat()


def _read_utc(value: str) -> datetime:
    if not value.strip().endswith("Z"):
        message = f"{quoted(value)} is not in UTC: it must end with Z"
        raise ValueError(message)
    return _read_date_time(value)


def _write_utc(value: datetime) -> str:
    _write_date_time(value)
    return value.astimezone(UTC).isoformat().removesuffix("+00:00") + "Z"


def _read_time(value: str) -> str:
    value = value.strip()
    if _TIME.fullmatch(value) is None:
        message = f"{quoted(value)} is not a time of day such as 17:00:00+01:00"
        raise ValueError(message)
    return value


def _read_boolean(value: str) -> bool:
    found = _BOOLEANS.get(value.strip())
    if found is None:
        message = f"{quoted(value)} is neither true nor false"
        raise ValueError(message)
    return found


COUNT: Final = count(15)
PAGE: Final = count(5)
DATE: Final = Leaf(_read_date, date.isoformat)
DATE_TIME: Final = Leaf(_read_date_time, _write_date_time)
UTC_TIME: Final = Leaf(_read_utc, _write_utc)
TIME: Final = Leaf(_read_time, _read_time)
BOOLEAN: Final = Leaf(_read_boolean, lambda value: "true" if value else "false")
DECIMAL: Final = decimal(18, 17)
NUMBER: Final = decimal(18, 0)
RATE: Final = decimal(11, 10)
MAX4: Final = text(4)
MAX5: Final = text(5)
MAX16: Final = text(16)
MAX34: Final = text(34)
MAX35: Final = text(35)
MAX70: Final = text(70)
MAX105: Final = text(105)
MAX128: Final = text(128)
MAX140: Final = text(140)
MAX350: Final = text(350)
MAX500: Final = text(500)
MAX2048: Final = text(2048)
MAX20000: Final = text(20_000)
ANY: Final = Leaf(str, str)
BIC: Final = pattern(r"[A-Z0-9]{4}[A-Z]{2}[A-Z0-9]{2}(?:[A-Z0-9]{3})?", "a BIC")
BIC_2009: Final = pattern(r"[A-Z]{6}[A-Z2-9][A-NP-Z0-9](?:[A-Z0-9]{3})?", "a BIC")
IBAN: Final = pattern(r"[A-Z]{2}[0-9]{2}[a-zA-Z0-9]{1,30}", "an IBAN", is_secret=True)
LEI: Final = pattern(r"[A-Z0-9]{18}[0-9]{2}", "an LEI")
PHONE: Final = pattern(r"\+[0-9]{1,3}-[0-9()+\-]{1,30}", "a telephone number such as +49-301234")
COUNTRY: Final = pattern(r"[A-Z]{2}", "a country code")
CURRENCY: Final = pattern(r"[A-Z]{3}", "a currency code")
UETR: Final = pattern(
    r"[a-f0-9]{8}-[a-f0-9]{4}-4[a-f0-9]{3}-[89ab][a-f0-9]{3}-[a-f0-9]{12}",
    "a UETR, a version 4 UUID in lower case",
)
DIRECTION: Final = choice("CRDT", "DBIT")
