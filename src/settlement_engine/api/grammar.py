"""The grammar of single fields, the same for every call.

Promises: each check returns the value, or None after it has noted the fault. It must never repeat a value in
a description: it may be long, secret or unprintable.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Final, TypeAlias
from uuid import UUID

from settlement_engine.api.call import NOBODYS_NAMES
from settlement_engine.domain.bank_codes import fault_of_bank
from settlement_engine.domain.card_numbers import has_card_number
from settlement_engine.domain.money import Money, MoneyError, exponent, parse_amount
from settlement_engine.domain.readable import has_unseen
from settlement_engine.errors import InvalidInstruction, NotAuthenticated

if TYPE_CHECKING:
    from collections.abc import Iterable

    from google.protobuf.timestamp_pb2 import Timestamp

Found: TypeAlias = list[tuple[str, str]]
"""The faults found so far: pairs of field name and description."""

REQUIRED: Final = "is required"
CARD_NUMBER: Final = "looks like a card number, and card numbers are not accepted"
BANKS_KEPT_MAX: Final = 10_000
"""So many codes are cached once checked: the same banks recur all the time."""

KEY_CHARACTERS_MAX: Final = 128
ACCOUNT_NUMBER_CHARACTERS_MAX: Final = 34
INSTANT_SECONDS_MAX: Final = 253_402_300_799
"""The last second of the year 9999."""

PAGE_SIZE_DEFAULT: Final = 100
PAGE_SIZE_MAX: Final = 1_000

_OBLIGATION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,63}", re.ASCII)
_KEY: Final = re.compile(r"[!-~](?:[ -~]{0,126}[!-~])?", re.ASCII)
_UUID: Final = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}", re.ASCII)
_ACCOUNT_ID: Final = re.compile(r"[1-9][0-9]{0,17}", re.ASCII)
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_ACCOUNT_NUMBER: Final = re.compile(r"[A-Za-z0-9._:/-]+(?: [A-Za-z0-9._:/-]+)*", re.ASCII)
_ACTOR: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}", re.ASCII)
_DIGEST: Final = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)
_DATE: Final = re.compile(r"(?:19[7-9][0-9]|[2-9][0-9]{3})-[0-9]{2}-[0-9]{2}", re.ASCII)
_ZERO: Final = re.compile(r"0(?:\.(0+))?", re.ASCII)


def refuse(found: Found) -> None:
    """Raise InvalidInstruction if anything is wrong."""
    if found:
        raise InvalidInstruction(found)


def check_obligation(text: str, found: Found) -> None:
    """Check the identifier of an obligation, as clearing names it."""
    if not text:
        found.append(("obligation_id", REQUIRED))
    elif _OBLIGATION.fullmatch(text) is None:
        grammar = "must be 1 to 64 of A-Z, a-z, 0-9 and ._:/- and begin with a letter or a digit"
        found.append(("obligation_id", grammar))


def check_bank(field: str, text: str, found: Found) -> None:
    """Check the name of a bank."""
    if not text:
        found.append((field, REQUIRED))
    elif fault := _fault_of_bank(text):
        found.append((field, fault))


@lru_cache(maxsize=BANKS_KEPT_MAX)
def _fault_of_bank(text: str) -> str:
    return fault_of_bank(text) or (CARD_NUMBER if has_card_number(text) else "")


def check_currency(text: str, found: Found) -> bool:
    """Check that the text is a currency that can be settled."""
    if not text:
        found.append(("currency", REQUIRED))
        return False
    try:
        exponent(text)
    except MoneyError as error:
        found.append(("currency", str(error)))
        return False
    return True


def check_money(amount: str, currency: str, found: Found) -> Money | None:
    """Read an amount and its currency; a fault names the field that has it."""
    try:
        return parse_amount(amount, currency)
    except MoneyError as error:
        is_known = check_currency(currency, found)
        if not amount:
            found.append(("amount", REQUIRED))
        elif is_known:
            found.append(("amount", str(error)))
    return None


def check_limit(text: str, currency: str, found: Found) -> int:
    """Read a credit limit, in minor units: an amount that may be zero, or empty for zero."""
    try:
        zero = _ZERO.fullmatch(text) if text else None
        if not text or (zero and len(zero[1] or "") <= exponent(currency)):
            return 0
        return parse_amount(text, currency).minor
    except MoneyError as error:
        found.append(("credit_limit", str(error)))
        return 0


def check_account_number(text: str, found: Found) -> None:
    """Check the number of an account; it may be empty."""
    if len(text) > ACCOUNT_NUMBER_CHARACTERS_MAX:
        limit = ACCOUNT_NUMBER_CHARACTERS_MAX
        found.append(("account_number", f"has more than {limit} characters"))
    elif text and _ACCOUNT_NUMBER.fullmatch(text) is None:
        grammar = "must be A-Z, a-z, 0-9 and ._:/- with single spaces between them"
        found.append(("account_number", grammar))


def check_key(text: str, header: str, found: Found) -> str:
    """Choose between the field and the header, and check the key; empty when neither is given."""
    if text and header and text != header:
        found.append(("idempotency_key", "is not the same as the header idempotency-key"))
    key = text or header
    if key and _KEY.fullmatch(key) is None:
        limit = KEY_CHARACTERS_MAX
        description = f"must be at most {limit} printable ASCII characters, without spaces around"
        found.append(("idempotency_key", description))
    else:
        check_no_card_number("idempotency_key", key, found)
    return key


def check_words(field: str, text: str, characters_max: int, found: Found) -> None:
    """Check text that people write for people: it must contain no invisible characters."""
    if len(text) <= characters_max and has_unseen(text):
        found.append((field, "contains characters that nobody sees, or that turn text around"))
    else:
        check_text(field, text, characters_max, found)


def check_reason(reason: str, characters_max: int, found: Found) -> None:
    """Check why a person does something: it is required, and text for people."""
    if not reason.strip():
        found.append(("reason", REQUIRED))
    check_words("reason", reason, characters_max, found)


def check_text(field: str, text: str, characters_max: int, found: Found) -> None:
    """Check free text: limited length, no control characters, no card number."""
    if len(text) > characters_max:
        found.append((field, f"has more than {characters_max} characters"))
    elif not text.isprintable() and _CONTROL.search(text) is not None:
        found.append((field, "contains control characters"))
    else:
        check_no_card_number(field, text, found)


def check_no_card_number(field: str, text: str, found: Found) -> None:
    """Check that the text contains no card number anywhere."""
    if has_card_number(text):
        found.append((field, CARD_NUMBER))


def check_uuid(field: str, text: str, found: Found) -> UUID | None:
    """Read an identifier that the engine has issued."""
    if not text:
        found.append((field, REQUIRED))
    elif _UUID.fullmatch(text) is None:
        found.append((field, "must be a UUID such as 0193a5c2-7d1e-7b3a-9f00-1c2d3e4f5a6b"))
    else:
        return UUID(text)
    return None


def check_account_id(field: str, text: str, found: Found) -> int:
    """Read the number of an account."""
    if not text:
        found.append((field, REQUIRED))
    elif _ACCOUNT_ID.fullmatch(text) is None:
        found.append((field, "must be a positive whole number, as accounts have it in their id"))
    else:
        return int(text)
    return 0


def check_filter(bank: str, currency: str, found: Found) -> None:
    """Check the filter of a list; empty fields do not filter."""
    if bank:
        check_bank("bank", bank, found)
    if currency:
        check_currency(currency, found)


def check_page_size(size: int, found: Found) -> int:
    """Choose the size of a list page: 0 means the default, and larger sizes are reduced to the maximum."""
    if size < 0:
        found.append(("page_size", "must not be negative"))
    return min(size, PAGE_SIZE_MAX) or PAGE_SIZE_DEFAULT


def one_key(values: Iterable[str]) -> str:
    """Return the only key in the headers; empty when there is none."""
    keys = set(values)
    if len(keys) > 1:
        raise InvalidInstruction([("idempotency_key", "the header idempotency-key is given twice")])
    return keys.pop() if keys else ""


def one_actor(values: Iterable[str]) -> str:
    """Return the only person named in the headers, in lower case; empty when nobody is named.

    Raises NotAuthenticated for an invalid name.
    """
    names = {value.casefold() for value in values if value}
    if not names:
        return ""
    [name, *others] = names
    is_name = _ACTOR.fullmatch(name) is not None and not has_card_number(name)
    if others or not is_name or name in NOBODYS_NAMES:
        what = "the header settlement-actor does not contain one valid name"
        todo = "Give one name of at most 64 characters A-Z, a-z, 0-9 and ._@+-, not the name of another person."
        raise NotAuthenticated(what, todo=todo)
    return name


def check_instant(field: str, seconds: int, found: Found) -> datetime | None:
    """Read a time in Unix seconds; 0 means none."""
    if not seconds:
        return None
    if not 0 < seconds <= INSTANT_SECONDS_MAX:
        found.append((field, f"must be Unix seconds, from 1 to {INSTANT_SECONDS_MAX}"))
        return None
    return datetime.fromtimestamp(seconds, UTC)


def check_timestamp(field: str, at: Timestamp, found: Found) -> datetime | None:
    """Read a precise instant from 1970 on; the empty one means none."""
    if not at.seconds and not at.nanos:
        return None
    seconds = check_instant(field, at.seconds or -1, found)
    return seconds and seconds + timedelta(microseconds=at.nanos // 1_000)


def check_date(field: str, text: str, found: Found) -> date | None:
    """Read a date such as 2026-01-31."""
    if not text:
        found.append((field, REQUIRED))
        return None
    try:
        day = date.fromisoformat(text) if _DATE.fullmatch(text) else None
    except ValueError:
        day = None
    if day is None or day == date.max:
        found.append((field, "must be a date such as 2026-01-31"))
        return None
    return day


def check_digest(field: str, text: str, found: Found) -> bytes:
    """Read a SHA-256 in hexadecimal digits."""
    if not text:
        found.append((field, REQUIRED))
    elif _DIGEST.fullmatch(text) is None:
        found.append((field, "must be 64 hexadecimal digits"))
    else:
        return bytes.fromhex(text)
    return b""


def check_number(field: str, text: str, found: Found) -> int:
    """Read a positive whole number that the engine has issued, such as a proposal's."""
    if not text:
        found.append((field, REQUIRED))
    elif _ACCOUNT_ID.fullmatch(text) is None:
        found.append((field, "must be a positive whole number"))
    else:
        return int(text)
    return 0
