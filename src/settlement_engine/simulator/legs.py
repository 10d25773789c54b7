"""The two legs of a cover payment, and by what in a message each is known. Pure.

A cover payment is two messages with one UETR: the customer's payment to the creditor's bank (pacs.008, COVE), which
moves no money of ours, and its cover to our bank (pacs.009 COV), which is debited. The bank plays both receivers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from settlement_engine.messages.envelope import Opened

Leg = Literal["", "payment", "cover"]

ORDINARY: Final = ""
"""The leg of a payment that is none of a cover payment's; in a rule it stands for any payment."""

PAYMENT: Final = "payment"
COVER: Final = "cover"
COVE: Final = "COVE"
KIND_CHARACTERS: Final = 8
NOT_PROVIDED: Final = "NOTPROVIDED"
"""What senders write into a mandatory reference that they do not know."""


def leg_of(message: Opened, transfer: Any) -> Leg:  # noqa: ANN401 -- of pacs.008 or pacs.009
    """Return which leg of a cover payment a transfer is, if it is one."""
    if message.kind == "pacs.008" and message.content.header.settlement.method == COVE:
        return PAYMENT
    return COVER if getattr(transfer, "covers", None) is not None else ORDINARY


def kind_of(message_name: str) -> str:
    """Return the kind of a message, such as ``pacs.008``, from its full name."""
    return message_name[:KIND_CHARACTERS]
