"""The send intent: what was committed with the hold, and the check that it is unchanged when it is read.

Promises: only bytes that were recorded before the first transmission are sent. A database row can be altered,
so the move that recorded the intent stores the hash of the bytes and the route, and the references can be
derived from caller, key and attempt. ``alterations`` compares all of them. Must never: build the message again.
Message builders change, and a payment must never be sent in two different forms.

Old moves have neither hash nor route. For them only the fields are compared.
"""

from __future__ import annotations

import hashlib
from datetime import UTC
from enum import StrEnum, auto
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from settlement_engine.domain.identifiers import References, references
from settlement_engine.domain.payment import Delivery

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from settlement_engine.domain.settlement import Attempt, Instruction, Settlement

PAYLOAD_SHA256: Final = "payload_sha256"
ROUTE: Final = "route"
VALID_UNTIL: Final = "valid_until"
TRACE: Final = "trace"
DELIVERY: Final = "delivery"
"""Recorded for a payout only: without it, as in all older moves, the settlement is booked."""

INSTANTS_KEPT_MAX: Final = 16
"""How many times are cached as text: all payments of a batch are valid until the same time."""

INTENT: Final = (PAYLOAD_SHA256, ROUTE, VALID_UNTIL, TRACE, DELIVERY)
"""The details of the move into LOCKED that keep the send intent; only payments in files have a trace."""


class PaymentTerms(msgspec.Struct, frozen=True, kw_only=True):
    """What the bytes of a message ask the bank to do. ``amount`` is decimal text, as callers write it.

    ``to_bank`` is empty where the message moves our own money to our own account, and names no other bank.
    """

    from_bank: str
    to_bank: str
    amount: str
    currency: str
    references: References | None = None  # None unless the message carries all three


class AlteredPart(StrEnum):
    """Which part of a settlement was altered."""

    INSTRUCTION = auto()  # what the caller requested, or the caller or key itself
    REFERENCES = auto()  # our references for the payment
    ROUTE = auto()  # the rail, the accounts, or until when the bytes are valid
    MESSAGE = auto()  # the bytes


class Alteration(NamedTuple):
    """A difference between what was committed and what was read back."""

    part: AlteredPart
    text: str


def intent_detail(attempt: Attempt) -> dict[str, str]:
    """Return the details of the move that records the send intent: the hash of the bytes, route and trace.

    The route is the rail and the four accounts: source, agent, clearing, target; and the delivery of a payout.
    """
    route = attempt.route
    ours = f"{route.rail} {route.source_id} {route.agent_id}"
    detail = {
        PAYLOAD_SHA256: hashlib.sha256(attempt.payload).hexdigest(),
        ROUTE: f"{ours} {route.clearing_id} {route.target_id}",
        VALID_UNTIL: _in_utc(attempt.valid_until),
    }
    if attempt.trace:
        detail[TRACE] = attempt.trace
    if route.delivery is not Delivery.BOOK:
        detail[DELIVERY] = route.delivery.value
    return detail


@lru_cache(maxsize=INSTANTS_KEPT_MAX)
def _in_utc(until: datetime) -> str:
    """Write an instant in UTC; equal instants have one text, in whichever zone they are given."""
    return until.astimezone(UTC).isoformat()


def alterations(
    settlement: Settlement, read: Callable[[bytes], PaymentTerms | None] | None
) -> tuple[Alteration, ...]:
    """Compare a settlement that was read back with what was committed; empty when nothing differs.

    ``read`` parses the bytes of its rail; without it only the hash of the bytes is compared.
    """
    recorded = settlement.recorded
    if recorded is None:
        return ()  # this process wrote it and has kept it in memory
    instruction, attempt = settlement.instruction, settlement.attempt
    found = []
    if instruction.key_hash != recorded.key_hash:
        found.append(
            Alteration(AlteredPart.INSTRUCTION, "the key's hash is not that of caller and key")
        )
    if instruction.content_hash != recorded.content_hash:
        found.append(
            Alteration(AlteredPart.INSTRUCTION, "the instruction is not the one that was taken in")
        )
    if attempt is None:
        return tuple(found)
    if attempt.references != references(
        instruction.caller, instruction.idempotency_key, attempt.number
    ):
        found.append(
            Alteration(AlteredPart.REFERENCES, "the references are not those of caller and key")
        )
    if recorded.intent is None:
        found.append(
            Alteration(AlteredPart.ROUTE, f"no move has locked funds for attempt {attempt.number}")
        )
    else:
        found += intent_faults(attempt, recorded.intent)
    if read is not None:
        found += [
            Alteration(AlteredPart.MESSAGE, text)
            for text in terms_faults(instruction, attempt.references, read(attempt.payload))
        ]
    return tuple(found)


def alteration_fingerprint(settlement: Settlement, found: Iterable[Alteration]) -> str:
    """Return the fingerprint of an alteration: the same alteration always has the same one."""
    parts = ",".join(sorted({each.part.value for each in found}))
    instruction, attempt = settlement.instruction, settlement.attempt
    content: list[object] = [instruction.key_hash, instruction.content()]
    if attempt is not None:
        content += [attempt.references, intent_detail(attempt)]
    return (
        f"{parts} {hashlib.sha256(msgspec.json.encode(content, order='sorted')).hexdigest()[:32]}"
    )


def intent_faults(attempt: Attempt, intent: Mapping[str, str]) -> list[Alteration]:
    """Compare an attempt with the details of the move that held its funds."""
    made = intent_detail(attempt)
    faults = {
        ROUTE: (AlteredPart.ROUTE, "rail or accounts are not those that were locked"),
        VALID_UNTIL: (AlteredPart.ROUTE, "it is valid until another time than was recorded"),
        PAYLOAD_SHA256: (AlteredPart.MESSAGE, "the bytes do not have the hash that was recorded"),
    }
    found = [
        Alteration(*faults[name])
        for name in faults
        if name in intent and intent[name] != made[name]
    ]
    if intent.get(TRACE) != made.get(TRACE):  # no version has recorded an intent without its trace
        found.append(Alteration(AlteredPart.REFERENCES, "the trace is not the one that was locked"))
    if intent.get(DELIVERY, Delivery.BOOK) != attempt.route.delivery:
        found.append(Alteration(AlteredPart.ROUTE, "the delivery is not the one that was recorded"))
    return found


def terms_faults(
    instruction: Instruction, names: References, terms: PaymentTerms | None
) -> list[str]:
    """Compare the terms in the bytes with the instruction."""
    if terms is None:
        return ["the bytes cannot be read"]
    asked = {
        "from_bank": instruction.from_bank,
        "to_bank": instruction.to_bank,
        "amount": str(instruction.amount),
        "currency": instruction.amount.currency,
    }
    if not terms.to_bank and instruction.delivery is Delivery.BOOK:
        del asked["to_bank"]  # our own money goes to our own account, and no other bank is named
    told = [name for name, text in asked.items() if getattr(terms, name) != text]
    if terms.references is not None and terms.references != names:
        told.append("references")
    return [f"the bytes name another {name}" for name in told]
