"""Elements that the camt messages share: children by name, dates, numbers, signed amounts, balances.

Promises: each child is visited once; an element that occurs twice where one is allowed is an error, and never
resolved by a choice.
"""

from __future__ import annotations

import re
from datetime import date
from typing import TYPE_CHECKING, Final

from settlement_engine.domain.money import Money, MoneyError
from settlement_engine.domain.statements import BalanceType, StatementBalance
from settlement_engine.messages.amounts import read_amount
from settlement_engine.messages.errors import MessageError, quoted
from settlement_engine.messages.xml import place_of

if TYPE_CHECKING:
    from lxml.etree import _Element

BALANCES_MAX: Final = 1_000
"""The most balances that a statement may have."""

NO_LISTS: Final[frozenset[str]] = frozenset()

_CURRENCY: Final = re.compile(r"[A-Z]{3}", re.ASCII)
_NUMBER: Final = re.compile(r"([0-9]{1,18})(?:\.0*)?", re.ASCII)
_DAY: Final = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})(?:Z|[+-][0-9]{2}:[0-9]{2}|T.{1,40})?", re.ASCII
)
_BOOLEANS: Final = {"true": True, "1": True, "false": False, "0": False}
_SIGNS: Final = {"CRDT": 1, "DBIT": -1}

_TYPES: Final = {
    "OPBD": BalanceType.OPENING,
    "PRCD": BalanceType.OPENING,
    "CLBD": BalanceType.CLOSING,
    "ITBD": BalanceType.INTERMEDIATE,
    "OPAV": BalanceType.AVAILABLE,
    "CLAV": BalanceType.AVAILABLE,
    "ITAV": BalanceType.AVAILABLE,
    "FWAV": BalanceType.FORWARD_AVAILABLE,
    "XPCD": BalanceType.EXPECTED,
}


class Children:
    """The children of one element, by name."""

    def __init__(self, element: _Element) -> None:
        self._element = element
        self._single: dict[str, _Element] = {}
        self._lists: dict[str, list[_Element]] = {}

    def put(self, name: str, child: _Element, *, is_list: bool) -> None:
        """Add the next child. Raises MessageError for a second one where only one is allowed."""
        if is_list:
            self._lists.setdefault(name, []).append(child)
        elif name in self._single:
            raise MessageError(place_of(child), "is there more than once")
        else:
            self._single[name] = child

    def one(self, *names: str) -> _Element | None:
        """Return the first of these that exists."""
        return next((self._single[name] for name in names if name in self._single), None)

    def required(self, *names: str) -> _Element:
        """Return the first of these, or raise MessageError."""
        found = self.one(*names)
        if found is None:
            raise MessageError(place_of(self._element, names[0]), "is missing")
        return found

    def many(self, name: str) -> list[_Element]:
        """Return all children of a name that may occur several times."""
        return self._lists.get(name, [])

    def text(self, name: str) -> str:
        """Return the text of a child; empty when it is absent."""
        child = self._single.get(name)
        return (child.text or "").strip() if child is not None else ""

    def required_text(self, name: str) -> str:
        """Return the text of a child, or raise MessageError."""
        text = self.text(name)
        if not text:
            raise MessageError(place_of(self._element, name), "is missing or empty")
        return text


class Reader:
    """Reads elements of one namespace. Elements of other namespaces are extensions, and are skipped."""

    def __init__(self, uri: str) -> None:
        self._prefix = f"{{{uri}}}"

    def children(self, element: _Element, lists: frozenset[str] = NO_LISTS) -> Children:
        """Group an element's children by name. Raises MessageError for a duplicate."""
        prefix, cut = self._prefix, len(self._prefix)
        found = Children(element)
        for child in element:
            tag = child.tag
            if tag.startswith(prefix):
                name = tag[cut:]
                found.put(name, child, is_list=name in lists)
        return found


def read_day(element: _Element, name: str, text: str) -> date:
    """Read the day of a date, or of a date and time, as written: the account servicer's own day."""
    match = _DAY.fullmatch(text)
    try:
        return date.fromisoformat(match[1] if match is not None else "")
    except ValueError:
        raise MessageError(place_of(element, name), f"{quoted(text)} is no date") from None


def read_number(element: _Element, name: str, text: str) -> int:
    """Read a number of up to 18 digits. A schema also allows ``1000.00``: the value has no fraction."""
    match = _NUMBER.fullmatch(text)
    if match is None:
        raise MessageError(place_of(element, name), f"{quoted(text)} is no number")
    return int(match[1])


def read_boolean(element: _Element, name: str, text: str) -> bool:
    """Read an indicator; any other text is an error."""
    if text not in _BOOLEANS:
        raise MessageError(place_of(element, name), f"{quoted(text)} is neither true nor false")
    return _BOOLEANS[text]


def read_date_choice(reader: Reader, element: _Element | None) -> date | None:
    """Read the day of an element that holds a ``Dt`` or a ``DtTm``."""
    if element is None:
        return None
    children = reader.children(element)
    text = children.text("Dt") or children.text("DtTm")
    if not text:
        raise MessageError(place_of(element, "Dt"), "is missing or empty")
    return read_day(element, "Dt", text)


def read_money(element: _Element) -> Money:
    """Read an amount with its currency. Zero is allowed."""
    currency = element.get("Ccy") or ""
    if _CURRENCY.fullmatch(currency) is None:
        raise MessageError(place_of(element), f"{quoted(currency)} is no currency")
    try:
        return read_amount(element.text or "", currency)
    except MoneyError as error:
        raise MessageError(place_of(element), str(error)) from None


def read_sign(element: _Element, text: str) -> int:
    """Read a credit/debit indicator: CRDT or DBIT, nothing else."""
    if text not in _SIGNS:
        raise MessageError(
            place_of(element, "CdtDbtInd"), f"{quoted(text)} is neither CRDT nor DBIT"
        )
    return _SIGNS[text]


def read_balances(
    reader: Reader, elements: list[_Element], statement: _Element
) -> tuple[StatementBalance, ...]:
    """Read the balances of a statement, each with its type and day."""
    if len(elements) > BALANCES_MAX:
        raise MessageError(place_of(statement), f"holds more than {BALANCES_MAX:,} balances")
    codes: list[str] = []
    found: list[StatementBalance] = []
    for element in elements:
        children = reader.children(element, frozenset({"CdtLine", "Avlbty"}))
        code = _balance_code(reader, children)
        money = read_money(children.required("Amt"))
        sign = read_sign(element, children.text("CdtDbtInd"))
        day = read_date_choice(reader, children.required("Dt"))
        assert day is not None, "a required element has a day"
        kind = _TYPES.get(code, BalanceType.OTHER)
        codes.append(code)
        found.append(StatementBalance(kind, sign * money.minor, money.currency, day))
    return _of_pages(found, codes, statement)


def _balance_code(reader: Reader, children: Children) -> str:
    kind = reader.children(children.required("Tp"))
    choice = kind.one("CdOrPrtry")
    inner = reader.children(choice) if choice is not None else kind
    return inner.text("Cd") or inner.text("Prtry")


def _of_pages(
    found: list[StatementBalance], codes: list[str], statement: _Element
) -> tuple[StatementBalance, ...]:
    """Determine the opening and closing balances of a statement's page, where they are intermediate.

    With an opening balance, the first intermediate one is that of the page's end; otherwise it is that of its
    beginning, unless it is the only one.
    """
    opens = codes.count("OPBD") or codes.count("PRCD")
    if codes.count("OPBD") > 1 or codes.count("CLBD") > 1:
        raise MessageError(place_of(statement), "has two opening or two closing balances")
    if "OPBD" in codes:  # the previous closing balance is then no second opening
        found = [
            StatementBalance(BalanceType.OTHER, each.minor, each.currency, each.date)
            if code == "PRCD"
            else each
            for each, code in zip(found, codes, strict=True)
        ]
    wanted: list[BalanceType] = []
    if codes.count("ITBD") <= 2:  # noqa: PLR2004 -- one of the page's beginning, one of its end
        if not opens and (codes.count("ITBD") == 2 or "CLBD" in codes):  # noqa: PLR2004
            wanted.append(BalanceType.OPENING_INTERMEDIATE)
        if "CLBD" not in codes:
            wanted.append(BalanceType.CLOSING_INTERMEDIATE)
    turn = iter(wanted)
    return tuple(
        StatementBalance(next(turn, each.type), each.minor, each.currency, each.date)
        if each.type is BalanceType.INTERMEDIATE
        else each
        for each in found
    )
