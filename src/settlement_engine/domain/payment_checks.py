"""Which payment details are valid: lengths and characters of ISO 20022, check digits, no card numbers.

Promises: every fault names its field as the caller wrote it, and never repeats the text. What depends on the rail
(which fields it needs, which characters it carries) is not checked here. Cost is linear in the text.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from settlement_engine.domain.card_numbers import has_card_number
from settlement_engine.domain.check_digits import (
    fault_of_bic,
    fault_of_country,
    fault_of_creditor_reference,
    fault_of_iban,
    fault_of_lei,
    warning_of_bic,
)
from settlement_engine.domain.readable import has_unseen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from settlement_engine.domain.payment import (
        PaymentAccount,
        PaymentDetails,
        PaymentParty,
        PostalAddress,
    )

PAYMENT: Final = "payment"
"""The field of the request under which the details stand."""

NAME_CHARACTERS_MAX: Final = 140
REMITTANCE_CHARACTERS_MAX: Final = 140
END_TO_END_ID_CHARACTERS_MAX: Final = 35
ACCOUNT_CHARACTERS_MAX: Final = 34
CREDITOR_REFERENCE_CHARACTERS_MAX: Final = 25
BIC_CHARACTERS_MAX: Final = 11
LEI_CHARACTERS: Final = 20
COUNTRY_CHARACTERS: Final = 2
ADDRESS_LINES_MAX: Final = 2
ADDRESS_LINE_CHARACTERS_MAX: Final = 70

ADDRESS_CHARACTERS_MAX: Final = {
    "street_name": 70,
    "building_number": 16,
    "building_name": 35,
    "floor": 70,
    "post_box": 16,
    "room": 70,
    "post_code": 16,
    "town_name": 35,
    "district_name": 35,
    "country_sub_division": 35,
}
"""The limits of ``PostalAddress24``."""

CHARGE_BEARERS: Final = ("DEBT", "CRED", "SHAR", "SLEV")
"""ISO 20022 ``ChargeBearerType1Code``."""

_CODE: Final = re.compile(r"[A-Z0-9]{4}", re.ASCII)
_ACCOUNT: Final = re.compile(r"[A-Za-z0-9._:/-]+(?: [A-Za-z0-9._:/-]+)*", re.ASCII)
_REFERENCE: Final = re.compile(r"(?![/ ])(?!.*//)[A-Za-z0-9/?:().,'+ -]+(?<![/ ])", re.ASCII)
_NOT_IN_XML: Final = re.compile("[\ufffe\uffff]")

_CARD_NUMBER: Final = "looks like a card number, and card numbers are not accepted"
_UNSEEN: Final = "contains characters that nobody sees, or that turn text around"
_CODE_GRAMMAR: Final = "must be a code of four capital letters or digits"


def faults_of_payment(payment: PaymentDetails) -> list[tuple[str, str]]:
    """Return all faults as pairs of field and description; empty when the details are valid."""
    found = [(f"{PAYMENT}.{field}", fault) for field, fault in _faults(payment)]
    if not found and not _says_anything(payment):
        found.append((PAYMENT, "is empty: leave it out, or say whom or what the payment is for"))
    return found


def warnings_of_payment(payment: PaymentDetails) -> list[tuple[str, str]]:
    """Return what is odd and still accepted: a BIC in no directory, an account number with a card's form."""
    found = []
    for side, party in (("debtor", payment.debtor), ("creditor", payment.creditor)):
        if party is None:
            continue
        if party.agent_bic and (warning := warning_of_bic(party.agent_bic)):
            found.append((f"{PAYMENT}.{side}.agent_bic", warning))
        if party.account is not None and has_card_number(party.account.other_id):
            field = f"{PAYMENT}.{side}.account.other_id"
            found.append((field, "has the form of a card number"))
    return found


def _says_anything(payment: PaymentDetails) -> bool:
    return any(getattr(payment, field) for field in payment.__struct_fields__)


def _faults(payment: PaymentDetails) -> Iterator[tuple[str, str]]:
    for side, party in (("debtor", payment.debtor), ("creditor", payment.creditor)):
        if party is not None:
            for field, fault in _faults_of_party(party):
                yield f"{side}.{field}" if field else side, fault
    yield from _text("remittance", payment.remittance, REMITTANCE_CHARACTERS_MAX)
    reference = payment.creditor_reference
    yield from _identifier(
        "creditor_reference",
        reference,
        CREDITOR_REFERENCE_CHARACTERS_MAX,
        fault_of_creditor_reference,
    )
    if reference and payment.remittance:
        yield "remittance", "must be empty beside creditor_reference: a payment has one of them"
    if payment.purpose and _CODE.fullmatch(payment.purpose) is None:
        yield "purpose", _CODE_GRAMMAR
    if payment.charge_bearer and payment.charge_bearer not in CHARGE_BEARERS:
        yield "charge_bearer", f"must be one of {', '.join(CHARGE_BEARERS)}"
    yield from _identifier(
        "end_to_end_id", payment.end_to_end_id, END_TO_END_ID_CHARACTERS_MAX, _fault_of_reference
    )


def _fault_of_reference(text: str) -> str:
    if _REFERENCE.fullmatch(text) is None:
        return "must be A-Z, a-z, 0-9 and /-?:().,'+ with spaces and single slashes only inside"
    return _CARD_NUMBER if has_card_number(text) else ""


def _faults_of_party(party: PaymentParty) -> Iterator[tuple[str, str]]:
    if not any(getattr(party, field) for field in party.__struct_fields__):
        yield "", "is empty: leave it out, or name the party"
    yield from _text("name", party.name, NAME_CHARACTERS_MAX)
    yield from _identifier("lei", party.lei, LEI_CHARACTERS, fault_of_lei)
    yield from _identifier("agent_bic", party.agent_bic, BIC_CHARACTERS_MAX, fault_of_bic)
    if party.account is not None:
        yield from faults_of_account(party.account)
    if party.address is not None:
        yield from faults_of_address(party.address)


def faults_of_account(account: PaymentAccount) -> Iterator[tuple[str, str]]:
    """Check an account; the fields are called ``account`` and ``account.iban``, and so on."""
    if bool(account.iban) is bool(account.other_id):
        yield "account", "must have either iban or other_id"
    yield from _identifier("account.iban", account.iban, ACCOUNT_CHARACTERS_MAX, fault_of_iban)
    yield from _identifier(
        "account.other_id", account.other_id, ACCOUNT_CHARACTERS_MAX, _fault_of_number
    )
    if account.type and _CODE.fullmatch(account.type) is None:
        yield "account.type", _CODE_GRAMMAR


def _fault_of_number(text: str) -> str:
    if _ACCOUNT.fullmatch(text) is not None:
        return ""
    return "must be A-Z, a-z, 0-9 and ._:/- with single spaces between them"


def faults_of_address(address: PostalAddress) -> Iterator[tuple[str, str]]:
    """Check an address: town and country have fields of their own, as SWIFT's CBPR+ asks since November 2026."""
    for field, most in ADDRESS_CHARACTERS_MAX.items():
        yield from _text(f"address.{field}", getattr(address, field), most)
    for field in ("town_name", "country"):
        if not getattr(address, field):
            yield f"address.{field}", "is required: an address names town and country"
    yield from _identifier("address.country", address.country, COUNTRY_CHARACTERS, fault_of_country)
    if len(address.lines) > ADDRESS_LINES_MAX:
        yield "address.lines", f"has more than {ADDRESS_LINES_MAX} lines"
        return
    for index, line in enumerate(address.lines):
        field = f"address.lines[{index}]"
        if not line:
            yield field, "is empty"
        yield from _text(field, line, ADDRESS_LINE_CHARACTERS_MAX)


def _identifier(
    field: str, text: str, most: int, fault_of: Callable[[str], str]
) -> Iterator[tuple[str, str]]:
    """Check an identifier that may be empty; a text that is too long is not looked at further."""
    if len(text) > most:
        yield field, f"has more than {most} characters"
    elif text and (fault := fault_of(text)):
        yield field, fault


def _text(field: str, text: str, most: int) -> Iterator[tuple[str, str]]:
    """Check a text for people; it may be empty."""
    if fault := fault_of_text(text, most):
        yield field, fault


def fault_of_text(text: str, most: int) -> str:
    """Say what is wrong with a text for people, which may be empty; empty when nothing is."""
    if len(text) > most:
        return f"has more than {most} characters"
    if has_unseen(text) or _NOT_IN_XML.search(text) is not None:
        return _UNSEEN
    if text != text.strip():
        return "begins or ends with a space"
    return _CARD_NUMBER if has_card_number(text) else ""
