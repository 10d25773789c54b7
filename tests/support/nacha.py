"""Small NACHA files made by the tests, with hashes and totals computed here."""

from __future__ import annotations

from datetime import date, datetime

from settlement_engine.messages.nacha.credits import CreditBatch, CreditEntry, CreditFile
from settlement_engine.messages.nacha.routing import trace_number

OURS = "12104288"
OUR_ROUTING = "121042882"
THEIR_ROUTING = "231380104"


def entry(sequence: int = 1, **changes) -> CreditEntry:
    values = {
        "transaction_code": "22",
        "receiver": THEIR_ROUTING,
        "account": "987654321",
        "amount_cents": 123_456,
        "name": "RECEIVER LLC",
        "trace_number": trace_number(OURS, sequence),
        "identification": "INV-1",
        "remittance": ("RMR*IV*1\\",),
    }
    return CreditEntry(**{**values, **changes})


def batch(*entries: CreditEntry, **changes) -> CreditBatch:
    values = {
        "entry_class": "CCD",
        "company_name": "FIRST BANK",
        "company_id": "1234567890",
        "description": "SETTLEMENT",
        "effective_date": date(2026, 11, 30),
        "institution": OURS,
        "batch_number": 1,
        "entries": entries or (entry(1), entry(2, remittance=())),
    }
    return CreditBatch(**{**values, **changes})


def file(*batches: CreditBatch, **changes) -> CreditFile:
    values = {
        "destination": THEIR_ROUTING,
        "destination_name": "ODFI BANK",
        "origin": OUR_ROUTING,
        "origin_name": "FIRST BANK",
        "created": datetime(2026, 11, 28, 10, 30),  # noqa: DTZ001 - the time zone is the receiver's
        "modifier": "A",
        "batches": batches or (batch(),),
    }
    return CreditFile(**{**values, **changes})


def incoming(records: list[str], entry_class: str = "CCD") -> bytes:
    """Wrap entries and addenda as an incoming file: one batch, with totals computed by the rules."""
    entries = [record for record in records if record[0] == "6"]
    hashed = f"{sum(int(record[3:11]) for record in entries) % 10**10:010d}"
    debits = sum(int(record[29:39]) for record in entries if record[2] in "56789")
    credits_ = sum(int(record[29:39]) for record in entries if record[2] in "1234")
    header = (
        "5200FIRST BANK                          1234567890"
        f"{entry_class}SETTLEMENT      261130   1231380100000001"
    )
    control = (
        f"8200{len(records):06d}{hashed}{debits:012d}{credits_:012d}1234567890"
        f"{'':25}231380100000001"
    )
    lines = [
        f"101 {OUR_ROUTING} {THEIR_ROUTING}2611281030A094101{'FIRST BANK':23}{'RDFI':31}",
        header,
        *records,
        control,
    ]
    blocks = -(-(len(lines) + 1) // 10)
    lines.append(
        f"9000001{blocks:06d}{len(records):08d}{hashed}{debits:012d}{credits_:012d}{'':39}"
    )
    lines += ["9" * 94] * (blocks * 10 - len(lines))
    assert {len(line) for line in lines} == {94}
    return "\n".join(lines).encode() + b"\n"


def incoming_entry(code: str = "21", amount: int = 123_456, *, sequence: int = 1) -> str:
    return (
        f"6{code}{OUR_ROUTING}{'987654321':17}{amount:010d}{'INV-1':15}{'RECEIVER LLC':22}  "
        f"123138010{sequence:07d}"
    )


def addenda_99(code: str, rest: str = "") -> str:
    """Make a return of our entry 1; ``rest`` are the columns 36 to 79."""
    return f"799{code}{OURS}0000001{'':6}{THEIR_ROUTING[:8]}{rest:44}231380100000001"


def addenda_98(code: str, corrected: str, rest: str = "") -> str:
    return f"798{code}{OURS}0000001{'':6}{THEIR_ROUTING[:8]}{corrected:29}{rest:15}231380100000001"
