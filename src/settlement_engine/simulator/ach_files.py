"""The files that an ACH operator writes: acknowledgements and settlement advices as JSON, returns as NACHA files.

Each operator has its own format for acknowledgements and advices; the JSON here is an example that no operator
has certified. A return is a complete NACHA file with one entry, its addenda 99, hashes and totals. Pure.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import msgspec

from settlement_engine.messages.nacha import layouts
from settlement_engine.messages.nacha.columns import Values, write
from settlement_engine.messages.nacha.routing import check_digit, trace_number
from settlement_engine.simulator.answers import instant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from settlement_engine.messages.nacha.model import Batch, FileHeader, NachaEntry
    from settlement_engine.simulator.ledger import Payment
    from settlement_engine.simulator.scenarios import Coming, ScenarioStep

RECORDS_IN_BLOCK: Final = 10
FILLER: Final = "9" * 94
TRACE_SEQUENCES: Final = 9_999_999
RETURN_CODES: Final = {"AC04": "R02", "AC01": "R03", "AM04": "R01", "CUST": "R06"}
OTHER_RETURN_CODE: Final = "R17"
_RETURN_CODE: Final = re.compile(r"R[0-9]{2}", re.ASCII)


class Original(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of the original entry that its return repeats."""

    sender: str
    operator: str
    sender_name: str
    operator_name: str
    company_name: str
    company_id: str
    entry_class: str
    description: str
    institution: str
    transaction_code: str
    receiver: str
    account: str
    name: str
    identification: str


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """The result for one entry."""

    trace: str
    status: str
    code: str = ""
    amount_cents: int = 0


class AchAdvice(msgspec.Struct, frozen=True, kw_only=True):
    """An operator's message about a file: the acknowledgement, or later an advice of settlement."""

    kind: str
    file: str = ""
    sha256: str
    status: str
    reason: str = ""
    items: tuple[Item, ...] = ()


def original_of(header: FileHeader, batch: Batch, entry: NachaEntry) -> Original:
    """Take the fields that a return will repeat."""
    return Original(
        sender=header.origin,
        operator=header.destination,
        sender_name=header.origin_name,
        operator_name=header.destination_name,
        company_name=batch.company_name,
        company_id=batch.company_id,
        entry_class=batch.entry_class,
        description=batch.description,
        institution=batch.institution,
        transaction_code=entry.transaction_code,
        receiver=entry.receiver,
        account=entry.account,
        name=entry.name,
        identification=entry.identification,
    )


def acknowledgement(file: str, sha256: str, payments: Sequence[Payment]) -> bytes:
    """Write the acknowledgement of a file, with the result of each entry."""
    items = tuple(
        Item(
            trace=payment.trace or "",
            status="rejected" if payment.state == "rejected" else "accepted",
            code=payment.code,
            amount_cents=payment.amount_minor,
        )
        for payment in payments
    )
    statuses = {item.status for item in items}
    status = statuses.pop() if len(statuses) == 1 else "partly accepted"
    advice = AchAdvice(kind="acknowledgement", file=file, sha256=sha256, status=status, items=items)
    return msgspec.json.encode(advice)


def refusal(file: str, sha256: str, reason: str) -> bytes:
    """Write the acknowledgement that rejects a whole file."""
    advice = AchAdvice(
        kind="acknowledgement", file=file, sha256=sha256, status="rejected", reason=reason
    )
    return msgspec.json.encode(advice)


class AchAnswers:
    """The reports about entries that follow the acknowledgement of their file."""

    def status(self, payment: Payment, step: ScenarioStep, name: str, _told_at_ms: int) -> bytes:
        """Write the advice that an entry was settled, rejected or accepted."""
        settles = step.status in ("ACSC", "ACCC")
        item = Item(
            trace=payment.trace or "",
            status="settled" if settles else "rejected" if step.status == "RJCT" else "accepted",
            code=step.code,
            amount_cents=payment.debited_minor or 0,
        )
        advice = AchAdvice(
            kind="settlement",
            file=name,
            sha256=payment.message_id,
            status=item.status,
            items=(item,),
        )
        return msgspec.json.encode(advice)

    def money_back(self, payment: Payment, coming: Coming, _name: str, now_ms: int) -> bytes:
        """Write the file that returns an entry."""
        original = msgspec.json.decode(payment.original, type=Original)
        return return_file(payment, original, coming.code, now_ms)


def return_code(code: str) -> str:
    """Return the NACHA return code for an ISO 20022 reason; a NACHA code is returned unchanged."""
    if _RETURN_CODE.fullmatch(code):
        return code
    return RETURN_CODES.get(code, OTHER_RETURN_CODE)


def return_file(payment: Payment, original: Original, code: str, now_ms: int) -> bytes:
    """Write a file with one return."""
    institution = original.receiver[:8]
    trace = trace_number(institution, payment.id % TRACE_SEQUENCES + 1)
    totals: Values = {
        "entries_and_addenda": 2,
        "entry_hash": int(original.institution),
        "debit_cents": 0,
        "credit_cents": payment.amount_minor,
    }
    shared: Values = {
        "service_class": "220",
        "company_id": original.company_id,
        "institution": institution,
        "batch_number": 1,
    }
    records = [
        _file_header(original, now_ms),
        _batch_header(original, shared, now_ms),
        _entry(payment, original, trace),
        _addenda(payment, institution, return_code(code), trace),
        write(layouts.BATCH_CONTROL, {**shared, **totals, "authentication": ""}),
    ]
    blocks = -(-(len(records) + 1) // RECORDS_IN_BLOCK)
    records.append(write(layouts.FILE_CONTROL, {"batches": 1, "blocks": blocks, **totals}))
    records += [FILLER] * (blocks * RECORDS_IN_BLOCK - len(records))
    return "".join(record + "\n" for record in records).encode("ascii")


def _file_header(original: Original, now_ms: int) -> str:
    now = instant(now_ms)
    return write(
        layouts.FILE_HEADER,
        {
            "priority": "01",
            "destination": _ten_columns(original.sender),
            "origin": _ten_columns(original.operator),
            "created_on": now.date(),
            "created_at": f"{now:%H%M}",
            "modifier": "A",
            "destination_name": original.sender_name,
            "origin_name": original.operator_name,
            "reference_code": "",
        },
    )


def _batch_header(original: Original, shared: Values, now_ms: int) -> str:
    return write(
        layouts.BATCH_HEADER,
        {
            **shared,
            "company_name": original.company_name,
            "discretionary_data": "",
            "entry_class": "CCD",
            "description": original.description,
            "descriptive_date": "",
            "effective_date": instant(now_ms).date(),
            "settlement_day": "",
            "originator_status": "1",
        },
    )


def _addenda(payment: Payment, institution: str, code: str, trace: str) -> str:
    values: Values = {
        "code": code,
        "original_trace": payment.trace or "",
        "died_on": "",
        "original_receiver": institution,
        "information": "",
        "trace_number": trace,
    }
    return write(layouts.RETURN, values)


def _entry(payment: Payment, original: Original, trace: str) -> str:
    """Write the entry with the institution of the original as the receiver."""
    routing = _routing_of(original.institution)
    return write(
        layouts.ENTRY,
        {
            "transaction_code": original.transaction_code[0] + "1",
            "receiver": routing,
            "account": original.account,
            "amount_cents": payment.amount_minor,
            "identification": original.identification[:15],
            "name": original.name[:22],
            "discretionary_data": "",
            "addenda_indicator": 1,
            "trace_number": trace,
        },
    )


def _routing_of(institution: str) -> str:
    return institution + check_digit(institution)


def _ten_columns(identifier: str) -> str:
    identifier = identifier.strip()
    return f" {identifier}" if re.fullmatch("[0-9]{9}", identifier, re.ASCII) else identifier
