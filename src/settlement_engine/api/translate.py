"""Converts a request to an instruction, under the strict grammar of what a caller may request.

Promises: an ``Instruction`` from this module is well formed in every field; any other request is refused with
the names of all faulty fields before anything is written. This runs for every settlement, so it must never use
reflection or compile a regular expression per call.
"""

from __future__ import annotations

import re
from datetime import date
from typing import TYPE_CHECKING, Final

from settlement_engine.api.grammar import (
    CARD_NUMBER,
    Found,
    check_bank,
    check_key,
    check_money,
    check_no_card_number,
    check_obligation,
    check_text,
    check_uuid,
)
from settlement_engine.api.payment import check_delivery, check_payment, check_rail
from settlement_engine.domain.bank_codes import folded_bank
from settlement_engine.domain.card_numbers import has_card_number
from settlement_engine.domain.settlement import Instruction, Priority
from settlement_engine.errors import InvalidInstruction

if TYPE_CHECKING:
    from uuid import UUID

    from settlement_engine.proto.settlement_pb2 import SettlementRequest

METADATA_ENTRIES_MAX: Final = 32
METADATA_VALUE_CHARACTERS_MAX: Final = 512
SETTLEMENT_DATE_MAX: Final = 253_402_300_799
"""The last second of the year 9999."""

_METADATA_KEY: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)
_PRIORITIES: Final = {int(priority): priority for priority in Priority}
_DAY_SECONDS: Final = 86_400
_EPOCH_DAY: Final = date(1970, 1, 1).toordinal()


def to_instruction(request: SettlementRequest, *, caller: str, header_key: str = "") -> Instruction:
    """Check a request and convert it to an instruction. Raises InvalidInstruction."""
    found: Found = []
    obligation_id = request.obligation_id
    check_obligation(obligation_id, found)
    from_bank, to_bank = request.from_bank, request.to_bank
    check_no_card_number("obligation_id", obligation_id, found)
    check_bank("from_bank", from_bank, found)
    check_bank("to_bank", to_bank, found)
    if to_bank and folded_bank(from_bank) == folded_bank(to_bank):
        found.append(("to_bank", "must be another bank than from_bank"))
    amount = check_money(request.amount, request.currency, found)
    value_date = _value_date(request.settlement_date, found)
    priority = _PRIORITIES.get(request.priority)
    if priority is None:
        found.append(("priority", "must be NORMAL, HIGH or URGENT"))
    metadata = _metadata(request, found) if request.metadata else {}
    payment = check_payment(request.payment, found) if request.HasField("payment") else None
    delivery = check_delivery(request.delivery, found) if request.delivery else None
    compensates = _named(request, found)
    key = check_key(request.idempotency_key, header_key, found)
    if found or amount is None or priority is None:
        raise InvalidInstruction(found)
    return Instruction(
        caller=caller,
        idempotency_key=key or obligation_id,
        obligation_id=obligation_id,
        from_bank=from_bank,
        to_bank=to_bank,
        amount=amount,
        value_date=value_date,
        priority=priority,
        metadata=metadata,
        payment=payment,
        rail=request.rail,
        requested_delivery=delivery,
        compensates=compensates,
    )


def _named(request: SettlementRequest, found: Found) -> UUID | None:
    """Check the rail that the caller names, and return the settlement that it compensates, if any."""
    if request.rail:
        check_rail(request.rail, found)
    if not request.compensates:
        return None
    return check_uuid("compensates", request.compensates, found)


def _value_date(seconds: int, found: Found) -> date | None:
    """Read the value date in UTC; 0 leaves it open."""
    if seconds == 0:
        return None
    if not 0 < seconds <= SETTLEMENT_DATE_MAX:
        found.append(("settlement_date", "must be Unix seconds from 0 to the end of the year 9999"))
        return None
    return date.fromordinal(_EPOCH_DAY + seconds // _DAY_SECONDS)


def _metadata(request: SettlementRequest, found: Found) -> dict[str, str]:
    """Read all entries; an invalid key is not repeated in the description, because it may hold anything."""
    if len(request.metadata) > METADATA_ENTRIES_MAX:
        found.append(("metadata", f"has more than {METADATA_ENTRIES_MAX} entries"))
        return {}
    metadata = dict(request.metadata)
    for key, value in metadata.items():
        if _METADATA_KEY.fullmatch(key) is None:
            found.append(("metadata", "a key must be 1 to 64 of A-Z, a-z, 0-9 and _.-"))
        elif has_card_number(key):
            found.append(("metadata", f"a key {CARD_NUMBER}"))
        else:
            check_text(f"metadata.{key}", value, METADATA_VALUE_CHARACTERS_MAX, found)
    return metadata
