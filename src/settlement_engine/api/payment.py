"""Payment details between the messages of the API and the domain's values.

Promises: what is read is valid in every field, else each fault is noted under its name; what is written is what was
received. It must never change a text.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from settlement_engine.domain.payment import (
    Delivery,
    PaymentAccount,
    PaymentDetails,
    PaymentParty,
    PostalAddress,
)
from settlement_engine.domain.payment_checks import faults_of_payment, warnings_of_payment
from settlement_engine.proto import settlement_pb2 as pb

if TYPE_CHECKING:
    from settlement_engine.api.grammar import Found

_RAIL: Final = re.compile(r"[a-z][a-z0-9_]{0,31}", re.ASCII)
_DELIVERIES: Final = {
    int(pb.DELIVERY_UNSPECIFIED): None,
    int(pb.DELIVERY_BOOK): Delivery.BOOK,
    int(pb.DELIVERY_PAY_OUT): Delivery.PAY_OUT,
}
_NUMBERS: Final = {
    Delivery.BOOK: pb.DELIVERY_BOOK,
    Delivery.PAY_OUT: pb.DELIVERY_PAY_OUT,
}

# --- in -----------------------------------------------------------------------------------------------


def check_payment(message: pb.PaymentDetails, found: Found) -> PaymentDetails:
    """Read what a payment says; the checks are those of ``domain/payment_checks.py``."""
    payment = PaymentDetails(
        debtor=_party(message.debtor) if message.HasField("debtor") else None,
        creditor=_party(message.creditor) if message.HasField("creditor") else None,
        remittance=message.remittance,
        creditor_reference=message.creditor_reference,
        purpose=message.purpose,
        charge_bearer=message.charge_bearer,
        end_to_end_id=message.end_to_end_id,
    )
    found += faults_of_payment(payment)
    return payment


def _party(message: pb.PaymentParty) -> PaymentParty:
    return PaymentParty(
        name=message.name,
        account=_account(message.account) if message.HasField("account") else None,
        lei=message.lei,
        address=_address(message.address) if message.HasField("address") else None,
        agent_bic=message.agent_bic,
    )


def _account(message: pb.PaymentAccount) -> PaymentAccount:
    return PaymentAccount(iban=message.iban, other_id=message.other_id, type=message.type)


def _address(message: pb.PostalAddress) -> PostalAddress:
    return PostalAddress(
        street_name=message.street_name,
        building_number=message.building_number,
        building_name=message.building_name,
        floor=message.floor,
        post_box=message.post_box,
        room=message.room,
        post_code=message.post_code,
        town_name=message.town_name,
        district_name=message.district_name,
        country_sub_division=message.country_sub_division,
        country=message.country,
        lines=tuple(message.lines),
    )


def check_rail(text: str, found: Found) -> None:
    """Check the name of a rail; whether there is one of this name is the router's question."""
    if _RAIL.fullmatch(text) is None:
        found.append(
            ("rail", "must be 1 to 32 of a-z, 0-9 and underscore, beginning with a letter")
        )


def check_delivery(number: int, found: Found) -> Delivery | None:
    """Read the delivery; None leaves it to the default."""
    if number not in _DELIVERIES:
        found.append(("delivery", "must be DELIVERY_BOOK or DELIVERY_PAY_OUT"))
        return None
    return _DELIVERIES[number]


# --- out ----------------------------------------------------------------------------------------------


def delivery_number(delivery: Delivery) -> pb.Delivery.ValueType:
    """Return the number of a delivery."""
    return _NUMBERS[delivery]


def payment_message(payment: PaymentDetails) -> pb.PaymentDetails:
    """Convert what a payment says."""
    return pb.PaymentDetails(
        debtor=_party_message(payment.debtor) if payment.debtor is not None else None,
        creditor=_party_message(payment.creditor) if payment.creditor is not None else None,
        remittance=payment.remittance,
        creditor_reference=payment.creditor_reference,
        purpose=payment.purpose,
        charge_bearer=payment.charge_bearer,
        end_to_end_id=payment.end_to_end_id,
    )


def _party_message(party: PaymentParty) -> pb.PaymentParty:
    account, address = party.account, party.address
    return pb.PaymentParty(
        name=party.name,
        account=pb.PaymentAccount(iban=account.iban, other_id=account.other_id, type=account.type)
        if account is not None
        else None,
        lei=party.lei,
        address=_address_message(address) if address is not None else None,
        agent_bic=party.agent_bic,
    )


def _address_message(address: PostalAddress) -> pb.PostalAddress:
    return pb.PostalAddress(
        street_name=address.street_name,
        building_number=address.building_number,
        building_name=address.building_name,
        floor=address.floor,
        post_box=address.post_box,
        room=address.room,
        post_code=address.post_code,
        town_name=address.town_name,
        district_name=address.district_name,
        country_sub_division=address.country_sub_division,
        country=address.country,
        lines=address.lines,
    )


def warnings_about(payment: PaymentDetails) -> list[str]:
    """Return what is odd about accepted details: the field, a colon, a sentence."""
    return [f"{field}: {text}" for field, text in warnings_of_payment(payment)]
