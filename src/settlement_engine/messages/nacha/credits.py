"""The values of a credit file, all given by the caller.

Trace numbers, batch numbers and the file id modifier are given, because they are stored before the file is built:
the same values build the same bytes at any time.
"""

from __future__ import annotations

from datetime import date, datetime  # noqa: TC003 - msgspec looks the fields' types up

import msgspec


class CreditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One payment to one account."""

    transaction_code: str
    receiver: str
    account: str
    amount_cents: int
    name: str
    trace_number: str
    identification: str = ""
    discretionary_data: str = ""
    remittance: tuple[str, ...] = ()


class CreditBatch(msgspec.Struct, frozen=True, kw_only=True):
    """Payments of one company with one effective date; ``entry_class`` is CCD or CTX."""

    entry_class: str
    company_name: str
    company_id: str
    description: str
    effective_date: date
    institution: str
    batch_number: int
    entries: tuple[CreditEntry, ...]
    discretionary_data: str = ""
    descriptive_date: str = ""


class CreditFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file for one operator or bank; ``created`` is in the receiver's time zone."""

    destination: str
    destination_name: str
    origin: str
    origin_name: str
    created: datetime
    modifier: str
    batches: tuple[CreditBatch, ...]
    reference_code: str = ""
