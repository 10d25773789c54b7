"""MT940, MT942 and MT950: SWIFT's older statement messages, parsed with mt-940 block by block.

Promises: each block that begins with field 20 is parsed separately, so that an unreadable one does not affect the
others; an entry's sign is checked against its mark (RC lowers the balance, RD raises it); a field that may occur
once occurs once. The library's log output about a statement's text is suppressed. Must never: open a file whose
name happens to be the text, accept a truncated line, or return a statement that is not in the file.
"""

from __future__ import annotations

import re
from calendar import isleap
from datetime import date
from typing import Any, Final

from mt940 import tags as mt940_tags
from mt940.models import Transactions
from mt940.options import Options

from settlement_engine.domain.money import MoneyError
from settlement_engine.domain.statements import (
    BalanceType,
    Entry,
    EntryStatus,
    FaultKind,
    Source,
    Statement,
    StatementAccount,
    StatementBalance,
    StatementFault,
    StatementReferences,
)
from settlement_engine.messages.amounts import read_amount
from settlement_engine.messages.errors import MessageError, quoted
from settlement_engine.messages.mt_fields import (
    BLOCKS_MAX,
    Block,
    Field,
    blocks_of,
    currency_of,
    date_of,
)

_ENTRY: Final = r"""^
    (?P<year>[0-9]{2})(?P<month>[0-9]{2})(?P<day>[0-9]{2})
    (?P<entry_month>[0-9]{2}|\s{2})?(?P<entry_day>[0-9]{2}|\s{2})?
    (?P<status>[RE]?[DC])
    (?P<funds_code>[A-Z])?
    [\n ]?
    (?P<amount>[0-9]{1,15}(?:,[0-9]{0,14})?)(?![0-9,])
    (?P<id>[A-Z][A-Z0-9 ]{3})
    (?P<customer_reference>((?!//)[^\n]){0,16})
    (//(?P<bank_reference>.{0,23}))?
    (\n?(?P<extra_details>.*))?
    $"""
"""mt-940's pattern of field 61, extended by expected entries (EC, ED), and stricter, so that a truncated line
does not match: the amount ends at its last digit, and the type of the booking is required (without one, mt-940
joins two lines)."""


def _entry_tag() -> mt940_tags.Tag:
    tag = mt940_tags.Statement()
    tag.re = re.compile(_ENTRY, tag.RE_FLAGS)
    return tag


def _silence() -> None:
    """Suppress the library's log: on a fault it writes the statement's text, which is customers' data."""
    mt940_tags.logger.addFilter(lambda _record: False)
    for tag in mt940_tags.TAG_BY_ID.values():
        tag.logger.addFilter(lambda _record: False)


_silence()
_TAGS: Final[dict[int | str, mt940_tags.Tag]] = {**mt940_tags.TAG_BY_ID, 61: _entry_tag()}
_OPTIONS: Final = Options.all()

_BALANCE: Final = re.compile(r"([CD])([0-9]{6})([A-Z]{3})?([0-9]{1,24},[0-9]{0,14})", re.ASCII)
_TOTAL: Final = re.compile(r"([0-9]{1,5})([A-Z]{3})([0-9]{1,15}(?:,[0-9]{0,14})?)", re.ASCII)
_NUMBER: Final = re.compile(r"([0-9]{1,10})(?:/([0-9]{1,5}))?", re.ASCII)
_ACCOUNT: Final = re.compile(r"(?:([A-Z]{6}[A-Z0-9]{2}(?:[A-Z0-9]{3})?)/)?(.+)", re.ASCII)
_IBAN: Final = re.compile(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}", re.ASCII)
_MARK: Final = re.compile(r"[0-9]{6}(?:[0-9]{4}|\s{4})?([RE]?[DC])", re.ASCII)

_BALANCES: Final = {
    "60F": BalanceType.OPENING,
    "60M": BalanceType.OPENING_INTERMEDIATE,
    "62F": BalanceType.CLOSING,
    "62M": BalanceType.CLOSING_INTERMEDIATE,
    "64": BalanceType.AVAILABLE,
    "65": BalanceType.FORWARD_AVAILABLE,
}
_LEAP_DAY: Final = (2, 29)
_RAISES: Final = frozenset({"C", "RD", "EC"})
_NO_REFERENCE: Final = frozenset({"NONREF", "KREF+", "NOTPROVIDED"})


def read_blocks(data: bytes) -> tuple[list[Statement], list[StatementFault]]:
    """Read every block of a file. A faulty block does not affect the others."""
    statements: list[Statement] = []
    faults: list[StatementFault] = []
    for block in blocks_of(data):
        try:
            statements.append(_statement(block))
        except MessageError as error:
            faults.append(StatementFault(FaultKind.UNREADABLE, error.place, error.reason))
    if len(statements) + len(faults) > BLOCKS_MAX:
        reason = f"has more than {BLOCKS_MAX:,} statements"
        return [], [StatementFault(FaultKind.UNREADABLE, "file", reason)]
    return statements, faults


def _statement(block: Block) -> Statement:
    block.check()
    currency = currency_of(block)
    balances = tuple(
        _balance(block, field, currency) for field in block.fields if field.tag in _BALANCES
    )
    entries = _entries(block, currency)
    source = _source(block)
    if source is not Source.MT942 and not any(
        each.type is not BalanceType.AVAILABLE and each.type is not BalanceType.FORWARD_AVAILABLE
        for each in balances
    ):
        raise MessageError(block.place, "has neither field 60 nor field 62")
    if source is Source.MT942 and not entries and block.first("90C", "90D") is None:
        # A truncated statement looks the same as one without entries.
        raise MessageError(block.place, "has neither entries nor their totals (field 90)")
    number, page = _number(block)
    final = block.first("62F")
    opening, closing = block.first("60F", "60M"), block.first("62F", "62M")
    begins = date_of(block, opening, opening.text[1:7]) if opening else None
    ends = date_of(block, closing, closing.text[1:7]) if closing else None
    return Statement(
        source=source,
        account=_account(block, currency),
        id=block.required("20").text.strip(),
        entries=entries,
        balances=balances,
        sequence=number,
        page=page,
        is_last_page=None if source is Source.MT942 or closing is None else final is not None,
        begins=begins,
        ends=ends,
        totals_differ=_totals_differ(block, entries, currency),
        text=block.information,
        place=block.place,
    )


def _totals_differ(block: Block, entries: tuple[Entry, ...], currency: str) -> bool:
    """Return whether field 90 states another number or sum of debits or credits than the entries have."""
    for tag, raises in (("90C", True), ("90D", False)):
        field = block.first(tag)
        if field is None:
            continue
        match = _TOTAL.fullmatch(field.text.strip())
        if match is None or match[2] != currency:
            raise MessageError(block.place_of(field), "is no total: number, currency, amount")
        amounts = [abs(each.minor) for each in entries if each.minor and (each.minor > 0) == raises]
        total = _minor(block, field, match[3], currency)
        if (int(match[1]), total) != (len(amounts), sum(amounts)):
            return True
    return False


def _source(block: Block) -> Source:
    if block.message_type == "950":
        return Source.MT950
    if block.message_type == "942" or (
        not block.message_type
        and block.first("60F", "60M", "62F", "62M") is None
        and block.first("34F", "13D", "13") is not None
    ):
        return Source.MT942
    return Source.MT940


def _account(block: Block, currency: str) -> StatementAccount:
    field = block.required("25", "25P")
    match = _ACCOUNT.fullmatch(field.text.split("\n", 1)[0].strip())
    bic, number = (match[1] or "", match[2].strip()) if match is not None else ("", "")
    if not number:
        raise MessageError(block.place_of(field), "names no account")
    compact = number.replace(" ", "").upper()
    scheme = "IBAN" if _IBAN.fullmatch(compact) else "MT"
    return StatementAccount(
        identifier=compact if scheme == "IBAN" else number,
        scheme=scheme,
        currency=currency,
        servicer=bic,
    )


def _number(block: Block) -> tuple[int | None, int | None]:
    field = block.first("28C", "28")
    if field is None:
        return None, None
    match = _NUMBER.fullmatch(field.text.strip())
    if match is None:
        raise MessageError(block.place_of(field), f"{quoted(field.text)} is no statement number")
    return int(match[1]), int(match[2]) if match[2] else None


def _balance(block: Block, field: Field, currency: str) -> StatementBalance:
    match = _BALANCE.fullmatch(field.text.strip())
    if match is None:
        raise MessageError(block.place_of(field), "is no balance: mark, date, currency, amount")
    if match[3] not in (None, currency):
        reason = f"is in {match[3]}, and the statement in {currency}"
        raise MessageError(block.place_of(field), reason)
    minor = _minor(block, field, match[4], currency)
    return StatementBalance(
        type=_BALANCES[field.tag],
        minor=-minor if match[1] == "D" else minor,
        currency=currency,
        date=date_of(block, field, match[2]),
    )


def _minor(block: Block, field: Field, text: str, currency: str) -> int:
    try:
        return read_amount(text.replace(",", "."), currency).minor
    except MoneyError as error:
        raise MessageError(block.place_of(field), str(error)) from None


def _entries(block: Block, currency: str) -> tuple[Entry, ...]:
    lines = [field for field in block.fields if field.tag == "61"]
    if not lines:
        return ()
    found = _parsed(block, lines)
    if len(found) != len(lines):
        reason = f"holds {len(lines)} entries, and {len(found)} were read"
        raise MessageError(block.place, reason)
    return tuple(
        _entry(block, line, values, text, (number, currency))
        for number, (line, values, text) in enumerate(
            zip(lines, found, block.details(), strict=True), 1
        )
    )


def _parsed(block: Block, lines: list[Field]) -> list[dict[str, Any]]:
    """Parse the block with mt-940, which is given none of the fields after its closing balance but these."""
    transactions = Transactions(tags=_TAGS, options=_OPTIONS)
    try:
        transactions.parse(block.text_for_entries())
    except (RuntimeError, ValueError, ArithmeticError, LookupError, TypeError, AttributeError):
        # The library's error contains the statement's text, so the faulty line is found here instead.
        raise MessageError(*_fault_of(block, lines)) from None
    return [each.data for each in transactions.transactions]


def _fault_of(block: Block, lines: list[Field]) -> tuple[str, str]:
    pattern = _TAGS[61].re
    for field in lines:
        if pattern.match(field.text.strip()) is None:
            return block.place_of(field), "is no entry: date, mark, amount and type, in this order"
        year, month, day = field.text[:2], field.text[2:4], field.text[4:6]
        if not ("01" <= month <= "12" and "01" <= day <= "31"):
            return block.place_of(field), f"{quoted(year + month + day)} is no date"
    return block.place, "has a field that could not be read"


def _entry(
    block: Block, field: Field, values: dict[str, Any], details: str, order: tuple[int, str]
) -> Entry:
    number, currency = order
    mark = _MARK.match(field.text)
    decimal = values["amount"].amount
    status = str(values["status"]).upper()
    if mark is None or mark[1] != status:
        raise MessageError(block.place_of(field), "its mark is none of C, D, RC, RD, EC, ED")
    minor = _minor(block, field, format(abs(decimal), "f"), currency)
    signed = minor if status in _RAISES else -minor
    # The library signs C, D, RC and RD as we do, or one of both is wrong; it does not know expected entries.
    if not status.startswith("E") and minor and (decimal < 0) != (signed < 0):
        raise MessageError(block.place_of(field), "its sign and its mark disagree")
    extra = str(values.get("extra_details") or "").strip()
    return Entry(
        number=number,
        minor=signed,
        currency=currency,
        status=EntryStatus.PENDING if status.startswith("E") else EntryStatus.BOOKED,
        booking_date=_booked_on(values),
        value_date=_day(values["date"]),
        is_reversal=status.startswith("R"),
        references=_references(values),
        code=str(values["id"]).strip(),
        text="\n".join(part for part in (extra, details) if part),
    )


def _references(values: dict[str, Any]) -> StatementReferences:
    def said(name: str) -> str:
        # The library joins the values that fields 61 and 86 have for the same key, line by line.
        for text in str(values.get(name) or "").split("\n"):
            if text.strip() and text.strip().upper() not in _NO_REFERENCE:
                return text.strip()
        return ""

    return StatementReferences(
        customer=said("customer_reference"),
        servicer=said("bank_reference"),
        end_to_end=said("end_to_end_reference"),
    )


def _booked_on(values: dict[str, Any]) -> date | None:
    """Return the booking date, of which only month and day are given: its year is the nearest to the value date."""
    value, booked = _day(values["date"]), _day(values.get("entry_date"))
    if value is None or booked is None:
        return booked or value
    nearby = (
        booked.replace(year=value.year + years)
        for years in (-1, 0, 1)
        if (booked.month, booked.day) != _LEAP_DAY or isleap(value.year + years)
    )
    return min(nearby, key=lambda day: abs(day - value), default=booked)


def _day(value: object) -> date | None:
    """Return a plain date: the library's dates are of a subclass."""
    return date(value.year, value.month, value.day) if isinstance(value, date) else None
