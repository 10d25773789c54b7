"""How a bank's CSV is read: a mapping in TOML, and the bank's format of numbers and dates.

Promises: a mapping with an unknown key, or with two ways to determine a sign, is refused. It must never guess the
meaning of a column.
"""

from __future__ import annotations

import re
import tomllib
from datetime import date
from importlib import resources
from typing import Annotated, Final

import msgspec

from settlement_engine.domain.money import MoneyError
from settlement_engine.messages.amounts import read_amount
from settlement_engine.messages.errors import MessageError, quoted

MAPPING_BYTES_MAX: Final = 64 * 1024

SHIPPED: Final = ("debit_and_credit", "mark_and_status", "signed_amount")
"""The mappings distributed with the engine, as examples to copy."""

_PARTS: Final = {"YYYY": "(?P<y>[0-9]{4})", "MM": "(?P<m>[0-9]{2})", "DD": "(?P<d>[0-9]{2})"}
_SIGNED: Final = re.compile(r"([+-]?)([0-9]+(?:\.[0-9]+)?)", re.ASCII)

Character = Annotated[str, msgspec.Meta(min_length=1, max_length=1)]


class AccountOfFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The account and currency of a file that has no column for them."""

    identifier: str = ""
    currency: str = ""
    servicer: str = ""


class Columns(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The names of the columns; an empty name means that the file has no such column."""

    booking_date: str
    value_date: str = ""
    amount: str = ""
    debit: str = ""
    credit: str = ""
    mark: str = ""
    status: str = ""
    currency: str = ""
    account: str = ""
    balance: str = ""
    statement: str = ""
    code: str = ""
    servicer_reference: str = ""
    end_to_end: str = ""
    customer_reference: str = ""
    text: tuple[str, ...] = ()

    def named(self) -> list[str]:
        """List every column that the mapping names."""
        single = [getattr(self, field) for field in self.__struct_fields__ if field != "text"]
        return [name for name in (*single, *self.text) if name]


class Marks(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The texts that mark credits and debits."""

    credit: tuple[str, ...]
    debit: tuple[str, ...]
    reversal: tuple[str, ...] = ()


class Statuses(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The texts that mark booked and pending entries."""

    booked: tuple[str, ...]
    pending: tuple[str, ...] = ()


class Mapping(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How one bank writes its CSV."""

    columns: Columns
    account: AccountOfFile = AccountOfFile()
    marks: Marks | None = None
    statuses: Statuses | None = None
    delimiter: Character = ","
    decimal: Character = "."
    thousands: str = ""
    date_format: str = "YYYY-MM-DD"
    encoding: str = "utf-8"
    lines_before_header: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 0
    newest_first: bool = False

    def day(self, text: str) -> date:
        """Read a date in the mapping's format. Raises ValueError."""
        match = _date_pattern(self.date_format).fullmatch(text.strip())
        if match is None:
            message = f"{quoted(text)} is no date of the form {self.date_format}"
            raise ValueError(message)
        return date(int(match["y"]), int(match["m"]), int(match["d"]))

    def minor(self, text: str, currency: str) -> int:
        """Read a signed number, in minor units. Raises MoneyError."""
        plain = text.strip().replace(self.thousands, "") if self.thousands else text.strip()
        if self.decimal != ".":
            plain = plain.replace(".", "?").replace(self.decimal, ".")
        match = _SIGNED.fullmatch(plain)
        if match is None:
            message = f"{quoted(text)} is no number with the decimal sign {self.decimal!r}"
            raise MoneyError(message)
        minor = read_amount(match[2], currency).minor
        return -minor if match[1] == "-" else minor


def read_mapping(data: bytes) -> Mapping:
    """Read a mapping. Raises MessageError."""
    if len(data) > MAPPING_BYTES_MAX:
        raise MessageError("mapping", f"has more than {MAPPING_BYTES_MAX:,} bytes")
    try:
        mapping = msgspec.convert(tomllib.loads(data.decode()), Mapping)
    except UnicodeDecodeError:
        raise MessageError("mapping", "is not UTF-8") from None
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise MessageError("mapping", str(error)) from None
    _check(mapping)
    return mapping


def shipped_mapping(name: str) -> Mapping:
    """Return one of the mappings distributed with the engine. Raises MessageError."""
    if name not in SHIPPED:
        raise MessageError("mapping", f"{quoted(name)} is none of {', '.join(SHIPPED)}")
    folder = resources.files("settlement_engine.messages").joinpath("csv_mappings")
    return read_mapping(folder.joinpath(f"{name}.toml").read_bytes())


def _check(mapping: Mapping) -> None:
    columns = mapping.columns
    two_sides = bool(columns.debit or columns.credit)
    if two_sides and not (columns.debit and columns.credit):
        raise MessageError("mapping, columns", "debit and credit are there together")
    if two_sides == bool(columns.amount):
        raise MessageError("mapping, columns", "either amount, or debit and credit")
    if bool(columns.mark) != (mapping.marks is not None) or (columns.mark and two_sides):
        raise MessageError("mapping, marks", "go with a column mark beside an amount")
    if bool(columns.status) != (mapping.statuses is not None):
        raise MessageError("mapping, statuses", "go with a column status")
    if mapping.marks is not None and set(mapping.marks.credit) & set(mapping.marks.debit):
        raise MessageError("mapping, marks", "one word stands for both sides")
    for column, fixed in (("account", "identifier"), ("currency", "currency")):
        if bool(getattr(columns, column)) == bool(getattr(mapping.account, fixed)):
            raise MessageError("mapping, account", f"{fixed}: either here or as a column")
    if sorted(re.findall("YYYY|MM|DD", mapping.date_format)) != ["DD", "MM", "YYYY"]:
        raise MessageError("mapping, date_format", "has YYYY, MM and DD once each")
    if mapping.thousands == mapping.decimal:
        raise MessageError("mapping, thousands", "is the decimal sign")


def _date_pattern(form: str) -> re.Pattern[str]:
    pattern = re.escape(form)
    for part, expression in _PARTS.items():
        pattern = pattern.replace(part, expression)
    return re.compile(pattern, re.ASCII)
