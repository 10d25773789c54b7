"""MT940 and MT950 from a statement: the same value that the reader returns, as far as the format can say it.

Promises: a message keeps the format's lengths and character set, is split into pages where one is too long, and
reads back with the same balances, amounts, dates and references. Text is rewritten by the rules of the character
set and folded; what exceeds the six lines of field 86 is left out. Must never: shorten an amount or a reference;
what does not fit is a MessageError with its place.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from settlement_engine.domain.statements import BalanceType, EntryStatus, Source
from settlement_engine.messages.amounts import decimals_of
from settlement_engine.messages.charsets import character_sets, fault_of_characters, fitted
from settlement_engine.messages.errors import MessageError

if TYPE_CHECKING:
    from datetime import date

    from settlement_engine.domain.statements import Entry, Statement, StatementBalance

MESSAGE_CHARACTERS_MAX: Final = 2_000
"""The text of one message, as SWIFT allows it."""

PAGE_FIELDS_CHARACTERS_MAX: Final = 80
"""Fields 28C and 60 of a page, and the longer one of its two fields 62."""

PAGES_MAX: Final = 99_999
REFERENCE_CHARACTERS_MAX: Final = 16
AMOUNT_CHARACTERS_MAX: Final = 15
SUPPLEMENT_CHARACTERS_MAX: Final = 34
INFORMATION_LINES_MAX: Final = 6
INFORMATION_CHARACTERS_MAX: Final = 65
ACCOUNT_CHARACTERS_MAX: Final = 35
NO_REFERENCE: Final = "NONREF"
_BIC_CHARACTERS: Final = 8

_TYPES: Final = {Source.MT940: "940", Source.MT950: "950"}
_AVAILABLE: Final = {BalanceType.AVAILABLE: "64", BalanceType.FORWARD_AVAILABLE: "65"}
_CODE: Final = re.compile(r"[NFS][A-Z0-9]{3}", re.ASCII)
_TRANSFER: Final = "NTRF"


def build_mt(statement: Statement, receiver_bic: str = "") -> bytes:
    """Build the messages of one MT940 or MT950, page by page. Raises MessageError.

    With both banks' BICs each message has its headers; without them it is bare, as banks write their files.
    """
    pages = [_wrapped(page, statement, receiver_bic) for page in _pages(statement)]
    return "".join(pages).encode("ascii")


def _wrapped(text: str, statement: Statement, receiver_bic: str) -> str:
    message_type = _TYPES[statement.source]
    sender = statement.account.servicer
    if sender and receiver_bic:
        return (
            f"{{1:F01{_terminal(sender, 'A')}0000000000}}{{2:I{message_type}"
            f"{_terminal(receiver_bic, 'X')}N}}{{4:\r\n{text}-}}\r\n"
        )
    if statement.source is Source.MT950:
        # Without its header it would be read as an MT940.
        raise MessageError("header", "needs the BICs of the sender and the receiver")
    return f"{text}-\r\n"


def _terminal(bic: str, terminal: str) -> str:
    return f"{bic[:_BIC_CHARACTERS]}{terminal}{bic[_BIC_CHARACTERS:] or 'XXX'}"


def _pages(statement: Statement) -> list[str]:
    if statement.source not in _TYPES:
        raise MessageError("type", f"a {statement.source} is not written as MT")
    opening, closing = statement.opening(), statement.closing()
    if opening is None or closing is None:
        raise MessageError("field 60", "needs the opening and the closing balance")
    head = _head(statement)
    room = (
        MESSAGE_CHARACTERS_MAX
        - len(head)
        - len(_end(statement, closing))
        - PAGE_FIELDS_CHARACTERS_MAX
    )
    groups = _grouped(statement, room)
    if len(groups) > PAGES_MAX:
        raise MessageError("field 28C", f"has more than {PAGES_MAX:,} pages")
    pages: list[str] = []
    running = opening.minor
    first_page = statement.page or 1
    is_opened = opening.type is BalanceType.OPENING
    for number, group in enumerate(groups):
        is_last = number == len(groups) - 1
        start = _balance("60F" if is_opened and not number else "60M", opening, running)
        running += sum(minor for minor, _ in group)
        end = _end(statement, closing) if is_last else _balance("62M", closing, running)
        sequence = f":28C:{statement.sequence or 1}/{first_page + number}\r\n"
        pages.append(head + sequence + start + "".join(text for _, text in group) + end)
    return pages


def _head(statement: Statement) -> str:
    reference = _carried(statement.id, "field 20")
    if not 0 < len(reference) <= REFERENCE_CHARACTERS_MAX or "//" in reference:
        raise MessageError("field 20", f"has 1 to {REFERENCE_CHARACTERS_MAX} characters")
    account = statement.account
    named = f"{account.servicer}/{account.identifier}" if account.servicer else account.identifier
    if len(named) > ACCOUNT_CHARACTERS_MAX:
        named = account.identifier
    if not 0 < len(named) <= ACCOUNT_CHARACTERS_MAX:
        raise MessageError("field 25", f"has 1 to {ACCOUNT_CHARACTERS_MAX} characters")
    return f":20:{reference}\r\n:25:{_carried(named, 'field 25')}\r\n"


def _grouped(statement: Statement, room: int) -> list[list[tuple[int, str]]]:
    """Group the entries into pages of so many characters; there is at least one page."""
    groups: list[list[tuple[int, str]]] = [[]]
    used = 0
    for entry in statement.entries:
        text = _entry(entry, with_information=statement.source is Source.MT940)
        if used + len(text) > room and groups[-1]:
            groups.append([])
            used = 0
        groups[-1].append((entry.minor, text))
        used += len(text)
    return groups


def _end(statement: Statement, closing: StatementBalance) -> str:
    is_final = closing.type is BalanceType.CLOSING
    parts = [_balance("62F" if is_final else "62M", closing, closing.minor)]
    parts += [
        _balance(_AVAILABLE[each.type], each, each.minor)
        for each in statement.balances
        if each.type in _AVAILABLE
    ]
    if statement.text and statement.source is Source.MT940:
        parts.append(_information(statement.text.split("\n"), "field 86"))
    return "".join(parts)


def _balance(tag: str, balance: StatementBalance, minor: int) -> str:
    mark = "D" if minor < 0 else "C"
    amount = _amount(abs(minor), balance.currency, f"field {tag}")
    return f":{tag}:{mark}{balance.date:%y%m%d}{balance.currency}{amount}\r\n"


def _entry(entry: Entry, *, with_information: bool) -> str:
    place = f"entry {entry.number}"
    if entry.status is not EntryStatus.BOOKED:
        raise MessageError(place, "is not booked")
    value = entry.value_date or entry.booking_date
    if value is None:
        raise MessageError(place, "has no date")
    booked = "" if entry.booking_date is None else _month_and_day(entry.booking_date, value, place)
    amount = _amount(abs(entry.minor), entry.currency, place)
    code = entry.code if _CODE.fullmatch(entry.code) else _TRANSFER
    servicer = _reference(entry.references.servicer, place)
    line = (
        f":61:{value:%y%m%d}{booked}{_mark(entry)}{amount}{code}{_customer(entry, place)}"
        f"{f'//{servicer}' if servicer else ''}\r\n"
    )
    if not with_information:
        return line
    said = _said_in_86(entry, place)
    return line + (_information(said, place) if said else "")


def _mark(entry: Entry) -> str:
    """Return the mark: RD raises the balance, because it reverses a debit, and RC lowers it."""
    raises = entry.minor >= 0
    if entry.is_reversal:
        return "RD" if raises else "RC"
    return "C" if raises else "D"


def _month_and_day(booked: date, value: date, place: str) -> str:
    # Only the month and the day are written: the reader takes the year that is nearest to the value date.
    if abs((booked - value).days) > 180:  # noqa: PLR2004 -- half a year
        raise MessageError(place, "was booked more than half a year from its value date")
    return f"{booked:%m%d}"


def _customer(entry: Entry, place: str) -> str:
    """Return our reference: the first one that the field has room for, or NONREF."""
    references = entry.references
    for text in (references.customer, *references.ours()):
        if text and len(text) <= REFERENCE_CHARACTERS_MAX and "//" not in text:
            return _carried(text, place)
    return NO_REFERENCE


def _reference(text: str, place: str) -> str:
    if len(text) > REFERENCE_CHARACTERS_MAX:
        raise MessageError(place, f"a bank's reference has {REFERENCE_CHARACTERS_MAX} characters")
    return _carried(text, place)


def _said_in_86(entry: Entry, place: str) -> list[str]:
    """List the references that field 61 has no room for, each in a line with its code word, and the text."""
    references = entry.references
    written = _customer(entry, place)
    lines = [
        f"/{word}/{_carried(text, place)}"
        for word, text in (("EREF", references.end_to_end), ("UETR", references.uetr))
        if text and text != written
    ]
    return lines + [line for line in entry.text.split("\n") if line.strip()]


def _information(lines: list[str], place: str) -> str:
    characters = character_sets()["swift_x"]
    folded = [piece for line in lines for piece in _folded(fitted(line, characters, place).text)]
    return ":86:" + "\r\n".join(folded[:INFORMATION_LINES_MAX]) + "\r\n"


def _folded(text: str) -> list[str]:
    pieces: list[str] = []
    while text:
        # A line that begins with a colon or a hyphen would be read as a field, or as the message's end.
        piece = f" {text}" if text[0] in ":-" else text
        pieces.append(piece[:INFORMATION_CHARACTERS_MAX])
        text = piece[INFORMATION_CHARACTERS_MAX:]
    return pieces


def _carried(text: str, place: str) -> str:
    """Return an identifier, which is never rewritten. Raises MessageError for a character out of the set."""
    fault = fault_of_characters(text, character_sets()["swift_x"])
    if fault:
        raise MessageError(place, fault)
    return text


def _amount(minor: int, currency: str, place: str) -> str:
    digits = decimals_of(currency)
    whole, part = divmod(minor, 10**digits)
    text = f"{whole},{part:0{digits}d}" if digits else f"{whole},"
    if len(text) > AMOUNT_CHARACTERS_MAX:
        raise MessageError(place, f"an amount has {AMOUNT_CHARACTERS_MAX} characters at most")
    return text
