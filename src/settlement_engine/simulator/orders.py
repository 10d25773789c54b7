"""What a received message says about a payment: the values for the ledger, its references, its rail. Pure."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import msgspec

from settlement_engine.domain.money import format_amount
from settlement_engine.simulator.events import SimulatorState
from settlement_engine.simulator.ledger import Names
from settlement_engine.simulator.legs import NOT_PROVIDED, Leg, kind_of, leg_of

if TYPE_CHECKING:
    from settlement_engine.messages.camt056 import Cancellation
    from settlement_engine.messages.envelope import Opened
    from settlement_engine.messages.pacs028 import StatusQuestion
    from settlement_engine.messages.parties import Agent, PartyAccount


def payment_values(message: Opened, transfer: Any) -> dict[str, Any]:  # noqa: ANN401 -- of pacs.008 or pacs.009
    """Return what the ledger records of a payment, except how it is treated."""
    header = message.content.header
    day = transfer.settlement_date or header.settlement_date
    receiver = transfer.instructed_agent or header.instructed_agent or transfer.debtor_agent
    creditor = transfer.creditor_agent or transfer.creditor
    return {
        "uetr": transfer.uetr,
        "message_name": message.definition,
        "message_id": header.message_id,
        "instruction_id": transfer.instruction_id or "",
        "end_to_end_id": transfer.end_to_end_id,
        "trace": None,
        "from_bank": _code(receiver),
        "to_bank": _code(creditor),
        "amount_minor": transfer.amount.minor,
        "currency": transfer.amount.currency,
        "value_date": day.isoformat() if day else "",
        "content_hash": hashlib.sha256(msgspec.json.encode(transfer)).hexdigest(),
        "original": "",
        "credited_account": _account_number(transfer.creditor_account),
        "leg": leg_of(message, transfer),
        "state": SimulatorState.RECEIVED,
        "status": "RCVD",
        "code": "",
    }


def names_of(values: dict[str, Any]) -> Names:
    """Return the references by which a payment is known when it comes again."""
    return Names(
        uetr=values["uetr"],
        end_to_end_id=values["end_to_end_id"],
        message_id=values["message_id"],
        kind=kind_of(values["message_name"]),
        leg=values["leg"],
    )


def names_asked(asked: StatusQuestion | Cancellation) -> Names:
    """Return the references by which an enquiry or a recall names a payment."""
    group = asked.group
    is_named = group is not None and group.message_id != NOT_PROVIDED
    return Names(
        uetr=asked.uetr,
        end_to_end_id=asked.end_to_end_id,
        message_id=group.message_id if group is not None and is_named else None,
        kind=None if group is None else kind_of(group.message_name),
    )


def reference_of(names: Names, leg: str) -> str:
    """Return the reference under which the arrivals of a payment are counted: of a leg, those of one message."""
    return f"{names.uetr}/{names.message_id}" if leg and names.uetr else _ordinary(names)


def references_asked(names: Names) -> tuple[str, ...]:
    """Return the references under which a payment may have arrived that another message names.

    Whether it is a leg is known only once it has arrived, so that there is one for either case.
    """
    if not names.uetr:
        return (_ordinary(names),)
    return _ordinary(names), f"{names.uetr}/{names.message_id or names.kind or ''}"


def barring_references(names: Names, leg: str) -> tuple[str, ...]:
    """Return the references of recalls that bar a payment; of a leg, by its message, its kind, or its UETR alone."""
    if not (leg and names.uetr):
        return (_ordinary(names),)
    said = (names.message_id, names.kind, "")
    return tuple(f"{names.uetr}/{each}" for each in said)


def rail_of(transfer: Any) -> str:  # noqa: ANN401 -- of pacs.008 or pacs.009
    """Return the rail that a payment names by its type: SEPA's two schemes do, and all others are SWIFT's."""
    kind = transfer.payment_type
    if kind is None or "SEPA" not in {level.code for level in kind.service_levels}:
        return "swift"
    return "sepa_inst" if kind.local_instrument == "INST" else "sepa_sct"


def criteria(values: dict[str, Any], transfer: Any) -> tuple[tuple[str, ...], str, str, Leg]:  # noqa: ANN401
    """Return what rules are matched with: all references of a payment, its amount, its currency and its leg."""
    names = [values[name] for name in ("end_to_end_id", "uetr", "message_id", "instruction_id")]
    texts = getattr(transfer, "remittance_texts", ())
    amount = format_amount(values["amount_minor"], values["currency"])
    references = tuple(name for name in (*names, *texts) if name)
    return references, amount, values["currency"], values["leg"]


def _account_number(named: PartyAccount | None) -> str:
    return "" if named is None else named.iban or named.other_id or ""


def _code(agent: Agent | None) -> str:
    return "" if agent is None else agent.bic or agent.clearing_member_id or agent.name or ""


def _ordinary(names: Names) -> str:
    return names.uetr or f"{names.message_id}/{names.end_to_end_id}"
