"""The bytes of one payment: what its entry in the file will say, except for its trace, and our references. Pure.

Promises: the bytes are a function of the settlement, its references and the configuration, and can be read back.
The trace is no part of them, because it is no function of these: it is stored beside them with the send intent.
"""

from __future__ import annotations

from datetime import date  # noqa: TC003 - msgspec reads the annotations
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID  # noqa: TC003 - msgspec reads the annotations

import msgspec

from settlement_engine.domain.bank_codes import folded_bank
from settlement_engine.domain.identifiers import References
from settlement_engine.domain.intent import PaymentTerms
from settlement_engine.domain.money import format_amount
from settlement_engine.domain.payment import Delivery
from settlement_engine.domain.payment_checks import REMITTANCE_CHARACTERS_MAX
from settlement_engine.messages.nacha.characters import OUTSIDE
from settlement_engine.messages.nacha.codes import CREDIT_CODES
from settlement_engine.messages.nacha.credits import CreditEntry
from settlement_engine.messages.naming import ACH_ORDER
from settlement_engine.rails.ach.same_day import timing_of

if TYPE_CHECKING:
    from collections.abc import Collection

    from settlement_engine.domain.settlement import Instruction, Settlement
    from settlement_engine.rails.ach.party import AchParty
    from settlement_engine.rails.ach.same_day import SameDayRules

CURRENCY: Final = "USD"
AMOUNT_CENTS_MAX: Final = 9_999_999_999
IDENTIFICATION_COLUMNS: Final = 15
NAME_COLUMNS: Final = 22
ACCOUNT_COLUMNS: Final = 17
ADDENDA_COLUMNS: Final = 80
REMITTANCE_COLUMNS: Final = 44
"""What is left of the columns of the only addenda of a CCD entry beside our end-to-end id."""

ONE_ADDENDA: Final = "CCD"
MANY_ADDENDA: Final = "CTX"
NARROW_NAME_COLUMNS: Final = 16
"""A CTX entry has more addenda, and fewer columns for the name."""


class AchOrder(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    gc=False,
    tag_field="type",
    tag=ACH_ORDER,
):
    """One payment, as it is recorded with the send intent: from our account at ``from_bank``.

    ``to_bank`` is empty where it moves our own money to our own account. ``same_day`` asks for its settlement on the
    day of its file; ``same_day_refused`` is why it does not, although the caller did.
    """

    settlement_id: UUID
    uetr: UUID
    end_to_end_id: str
    message_id: str
    from_bank: str
    amount_cents: int
    currency: str
    effective_date: date
    transaction_code: str
    receiver: str
    account: str
    name: str
    identification: str
    to_bank: str = ""
    remittance: str = ""
    same_day: bool = False
    same_day_refused: str = ""

    @property
    def entry_class(self) -> str:
        """CCD, or CTX where the remittance needs more than one addenda."""
        return ONE_ADDENDA if len(self.remittance) <= REMITTANCE_COLUMNS else MANY_ADDENDA

    def entry(self, trace: str) -> CreditEntry:
        """Return its entry; the addenda begin with our end-to-end id, which fits in no other field."""
        return CreditEntry(
            transaction_code=self.transaction_code,
            receiver=self.receiver,
            account=self.account,
            amount_cents=self.amount_cents,
            name=self.name,
            trace_number=trace,
            identification=self.identification,
            remittance=addenda_of(f"{self.end_to_end_id} {self.remittance}".rstrip()),
        )


def addenda_of(text: str) -> tuple[str, ...]:
    """Divide a text into addenda between its words; joined by blanks they are the text again.

    Only a word that is longer than one addenda is divided itself. Of several blanks between two addenda one is left.
    """
    found: list[str] = []
    line = ""
    for word in text.split(" "):
        longer = f"{line} {word}" if line else word
        if len(longer) <= ADDENDA_COLUMNS:
            line = longer
            continue
        if line:
            found.append(line)
        line = word
        while len(line) > ADDENDA_COLUMNS:
            found.append(line[:ADDENDA_COLUMNS])
            line = line[ADDENDA_COLUMNS:]
    return (*found, line)


def write_order(
    settlement: Settlement,
    references: References,
    party: AchParty,
    same_day: SameDayRules | None = None,
) -> bytes:
    """Write the bytes of a payment; ``same_day`` are the rules of the profile, if it settles on the same day."""
    instruction = settlement.instruction
    timing = timing_of(instruction, same_day)
    is_paid_out = instruction.delivery is Delivery.PAY_OUT
    paid = _paid_out(instruction, party) if is_paid_out else _to_ourselves(party)
    order = AchOrder(
        settlement_id=settlement.id,
        uetr=references.uetr,
        end_to_end_id=references.end_to_end_id,
        message_id=references.message_id,
        from_bank=instruction.from_bank,
        amount_cents=instruction.amount.minor,
        currency=instruction.amount.currency,
        effective_date=settlement.value_date,
        same_day=timing.is_same_day,
        same_day_refused=timing.refused,
        **{"identification": references.end_to_end_id[:IDENTIFICATION_COLUMNS], **paid},
    )
    return msgspec.json.encode(order)


def _to_ourselves(party: AchParty) -> dict[str, Any]:
    """Move our own money: we are the receiver, at the settlement agent."""
    return {
        "transaction_code": CREDIT_CODES[party.account_kind],
        "receiver": party.receiver,
        "account": party.account,
        "name": party.name,
    }


def _paid_out(instruction: Instruction, party: AchParty) -> dict[str, Any]:
    """Pay TO's customer; ``fault_of`` has found nothing that cannot be carried."""
    said = instruction.payment
    assert said is not None, "a payment that is paid out names its creditor"
    assert said.creditor is not None, "the same"
    assert said.creditor.account is not None, "the same"
    named = {"identification": said.end_to_end_id} if said.end_to_end_id else {}
    return {
        **named,
        "transaction_code": CREDIT_CODES["checking"],
        "receiver": party.routing_numbers[folded_bank(instruction.to_bank)],
        "account": said.creditor.account.other_id,
        "name": said.creditor.name,
        "to_bank": instruction.to_bank,
        "remittance": said.creditor_reference or said.remittance,
    }


def fault_of(
    instruction: Instruction, party: AchParty, entry_classes: Collection[str] = (ONE_ADDENDA,)
) -> str:
    """Say what an entry cannot carry, with its field; empty when it can carry everything.

    ``entry_classes`` are those that the bank takes.
    """
    said = instruction.payment
    if instruction.delivery is not Delivery.PAY_OUT:
        return ""
    if folded_bank(instruction.to_bank) not in party.routing_numbers:
        return "to_bank: its routing number is not configured"
    if said is None or said.creditor is None or said.creditor.account is None:
        return ""  # the fields that are needed are missing, which is said elsewhere
    agent = said.creditor.agent_bic
    if agent and folded_bank(agent) != folded_bank(instruction.to_bank):
        return "payment.creditor.agent_bic: an entry pays an account with the receiving bank only"
    told = said.creditor_reference or said.remittance
    has_addenda = MANY_ADDENDA in entry_classes and len(told) > REMITTANCE_COLUMNS
    remittance_columns = REMITTANCE_CHARACTERS_MAX if has_addenda else REMITTANCE_COLUMNS
    name_columns = NARROW_NAME_COLUMNS if has_addenda else NAME_COLUMNS
    for name, text, columns in (
        ("creditor.name", said.creditor.name, name_columns),
        ("creditor.account.other_id", said.creditor.account.other_id, ACCOUNT_COLUMNS),
        ("end_to_end_id", said.end_to_end_id, IDENTIFICATION_COLUMNS),
        ("creditor_reference", said.creditor_reference, remittance_columns),
        ("remittance", said.remittance, remittance_columns),
    ):
        if len(text) > columns or OUTSIDE.search(text) or text != text.strip():
            return f"payment.{name}: an entry has {columns} columns for it, blank to tilde"
    return ""


_read: Final = msgspec.json.Decoder(AchOrder).decode


def read_order(payload: bytes) -> AchOrder | None:
    """Read the bytes of a payment; None for any others."""
    try:
        return _read(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def read_terms(payload: bytes) -> PaymentTerms | None:
    """Parse what the bytes ask the bank to do."""
    order = read_order(payload)
    if order is None:
        return None
    return PaymentTerms(
        from_bank=order.from_bank,
        to_bank=order.to_bank,
        amount=format_amount(order.amount_cents, order.currency),
        currency=order.currency,
        references=References(
            uetr=order.uetr, end_to_end_id=order.end_to_end_id, message_id=order.message_id
        ),
    )
