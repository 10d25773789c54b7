"""What a caller says about a payment, in the words of pacs.008; and what a scheme cannot carry of it. Pure.

Promises: a text goes into the message as the caller wrote it, or as a rule of the scheme's character set rewrites
it; what no rule covers is a fault that names its field. Must never: shorten a text, or leave one out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from settlement_engine.domain.payment import PaymentAccount, PaymentParty, PostalAddress
from settlement_engine.messages.charsets import fault_of_characters, fitted
from settlement_engine.messages.errors import MessageError
from settlement_engine.messages.parties import Address, Party, PartyAccount
from settlement_engine.messages.remittance import StructuredRemittance

if TYPE_CHECKING:
    from collections.abc import Iterator

    from settlement_engine.domain.payment import PaymentDetails
    from settlement_engine.messages.charsets import CharacterSet
    from settlement_engine.rails.iso20022.profile import IsoProfile

CREDITOR_REFERENCE: Final = "SCOR"
"""The type of a creditor reference (ISO 11649)."""

_SIDES: Final = ("debtor", "creditor")
_TEXTS: Final = frozenset({"remittance", "name", "lines", *PostalAddress.__struct_fields__})
"""The fields whose texts may be rewritten; all others are identifiers."""


def party_of(said: PaymentParty) -> Party:
    """Name a party."""
    address = said.address
    return Party(
        name=said.name or None,
        lei=said.lei or None,
        address=None if address is None else _address(address),
    )


def account_of(said: PaymentAccount | None) -> PartyAccount | None:
    """Name an account; None if none was said."""
    if said is None:
        return None
    return PartyAccount(
        iban=said.iban or None, other_id=said.other_id or None, type=said.type or None
    )


def remittance_of(said: PaymentDetails) -> dict[str, Any]:
    """Return what the creditor is told: a text, or a reference of its own."""
    if said.creditor_reference:
        structured = StructuredRemittance(
            reference_type=CREDITOR_REFERENCE, reference=said.creditor_reference
        )
        return {"structured_remittance": (structured,)}
    return {"remittance_texts": (said.remittance,)} if said.remittance else {}


def _address(said: PostalAddress) -> Address:
    texts = {
        name: getattr(said, name) or None for name in said.__struct_fields__ if name != "lines"
    }
    return Address(**texts, lines=said.lines)


# --- what cannot be carried ---------------------------------------------------------------------------


def fault_of(said: PaymentDetails, profile: IsoProfile, characters: CharacterSet | None) -> str:
    """Say what a scheme cannot carry, with its field; empty when it can carry everything."""
    bearer = said.charge_bearer
    if bearer and bearer not in profile.charge_bearers:
        carried = ", ".join(profile.charge_bearers)
        return f"payment.charge_bearer: {profile.scheme} carries {carried}, not {bearer}"
    if profile.account_is_iban:
        for side in _SIDES:
            party: PaymentParty | None = getattr(said, side)
            if party is not None and party.account is not None and party.account.other_id:
                return f"payment.{side}.account: {profile.scheme} carries IBANs only"
    if characters is None:
        return ""
    for path, text in _texts_of(said, "payment"):
        if fault := _fault_of_text(path, text, characters):
            return f"{path}: {fault}"
    return ""


def _fault_of_text(path: str, text: str, characters: CharacterSet) -> str:
    fault = fault_of_characters(text, characters)
    if not fault or path.rpartition(".")[2].partition("[")[0] not in _TEXTS:
        return fault
    try:
        fitted(text, characters)
    except MessageError as error:
        return error.reason
    return ""


def _texts_of(value: object, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        if value:
            yield path, value
    elif isinstance(value, tuple):
        for number, each in enumerate(value):
            yield from _texts_of(each, f"{path}[{number}]")
    elif value is not None:
        for name in value.__struct_fields__:  # type: ignore[attr-defined]
            yield from _texts_of(getattr(value, name), f"{path}.{name}")
