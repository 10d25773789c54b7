"""What a payment says beyond amount and banks: debtor, creditor, remittance, purpose; and how it is delivered.

The texts are kept as they were received. ``domain/payment_checks.py`` says which of them are valid. Promises: the
stored form is canonical and has a version, so that equal details have equal bytes, and a later engine can tell
which form it reads. Must never: change, shorten or fold a text.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final

import msgspec

PAYMENT_VERSION: Final = 1
"""The version of the stored form; another one is not read."""

PAYMENT_BYTES_MAX: Final = 32 * 1024
"""The largest stored form. All fields filled to their limits take less than half of it."""


class Delivery(StrEnum):
    """Whose account moves when a settlement is settled.

    BOOK: our own money goes from our account at FROM to our account at the rail's settlement agent, and TO has
    more with us. PAY_OUT: FROM pays TO, or TO's customer, from our account with FROM; TO's balance with us stays.
    """

    BOOK = "book"
    PAY_OUT = "pay_out"


class PostalAddress(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """A postal address (ISO 20022 ``PostalAddress24``): structured, with at most two free lines."""

    street_name: str = ""
    building_number: str = ""
    building_name: str = ""
    floor: str = ""
    post_box: str = ""
    room: str = ""
    post_code: str = ""
    town_name: str = ""
    district_name: str = ""
    country_sub_division: str = ""
    country: str = ""
    lines: tuple[str, ...] = ()


class PaymentAccount(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """An account: its IBAN or another number, and its type (ISO external cash account type, such as ``CACC``)."""

    iban: str = ""
    other_id: str = ""
    type: str = ""


class PaymentParty(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """A debtor or a creditor. ``agent_bic`` is the party's own bank; empty: the bank of the settlement's side."""

    name: str = ""
    account: PaymentAccount | None = None
    lei: str = ""
    address: PostalAddress | None = None
    agent_bic: str = ""


class PaymentDetails(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """What a caller says about a payment; an empty text says nothing.

    ``remittance`` is a text for the creditor, ``creditor_reference`` the creditor's own (ISO 11649). ``purpose`` is
    an ISO external purpose code, ``charge_bearer`` one of DEBT, CRED, SHAR and SLEV. ``end_to_end_id`` is the
    caller's reference, which every bank passes on unchanged.
    """

    debtor: PaymentParty | None = None
    creditor: PaymentParty | None = None
    remittance: str = ""
    creditor_reference: str = ""
    purpose: str = ""
    charge_bearer: str = ""
    end_to_end_id: str = ""


class _Stored(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: int
    payment: PaymentDetails


_decode: Final = msgspec.json.Decoder(_Stored).decode
_encode: Final = msgspec.json.Encoder().encode


def delivery_of(requested: Delivery | None, payment: PaymentDetails | None) -> Delivery:
    """Return how a settlement is delivered: as requested; else PAY_OUT with payment details, BOOK without."""
    if requested is not None:
        return requested
    return Delivery.BOOK if payment is None else Delivery.PAY_OUT


def payment_content(payment: PaymentDetails) -> dict[str, Any]:
    """Return the fields that say something, for the content hash: a field that is empty is left out."""
    content: dict[str, Any] = msgspec.to_builtins(payment)
    return content


def write_payment(payment: PaymentDetails) -> str:
    """Return the stored form: JSON, with the fields in a fixed order and empty ones left out."""
    return _encode(_Stored(PAYMENT_VERSION, payment)).decode()


def read_payment(stored: str | bytes) -> PaymentDetails:
    """Read the stored form. Raises ValueError for what ``write_payment`` did not write."""
    if len(stored) > PAYMENT_BYTES_MAX:
        message = f"payment details of more than {PAYMENT_BYTES_MAX} bytes"
        raise ValueError(message)
    try:
        found = _decode(stored)
    except msgspec.MsgspecError as error:
        message = f"payment details: {error}"
        raise ValueError(message) from None
    if found.version != PAYMENT_VERSION:
        message = f"payment details of version {found.version}"
        raise ValueError(message)
    return found.payment


def text_at(payment: PaymentDetails | None, path: str) -> str:
    """Return the text of a field by its dotted path, such as ``creditor.account.iban``; empty if it says nothing."""
    value: object = payment
    for name in path.split("."):
        if value is None:
            return ""
        value = getattr(value, name)
    return value if isinstance(value, str) else ""
