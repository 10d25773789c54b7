"""The content of a NACHA file as values. Amounts are whole cents; every record knows its line number."""

from __future__ import annotations

from datetime import date  # noqa: TC003 - msgspec looks the fields' types up
from enum import Enum
from typing import Final

import msgspec

from settlement_engine.messages.codes import code_set
from settlement_engine.messages.nacha.codes import (
    CORRECTED_FIELDS,
    TRANSACTION_CODES,
    Direction,
    ReturnStage,
    return_stage,
)
from settlement_engine.messages.nacha.faults import Remark  # noqa: TC001 - as above
from settlement_engine.messages.nacha.routing import is_routing_number

FILE_ID_MODIFIERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
"""The file id modifier, which distinguishes one day's files between the same two parties: at most 36."""


class EntryKind(Enum):
    """What an entry is."""

    PAYMENT = "payment"
    PRENOTE = "prenotification"
    INFORMATION = "information without money"
    ACKNOWLEDGEMENT = "acknowledgement"
    RETURN = "return"
    DISHONORED_RETURN = "dishonoured return"
    CONTESTED_RETURN = "contested dishonoured return"
    CHANGE = "notification of change"
    REFUSED_CHANGE = "refused notification of change"
    ADVICE = "advice of the operator"


class Remittance(msgspec.Struct, frozen=True):
    """Addenda 05: the remittance information of a payment."""

    line: int
    text: str
    sequence: int
    entry_sequence: str


class _Returned(msgspec.Struct, frozen=True):
    """The fields that all records of type 99 have."""

    line: int
    code: str
    original_trace: str
    original_receiver: str
    information: str = ""
    trace_number: str = ""

    @property
    def title(self) -> str | None:
        """The title of the code; None when our table does not have it, which changes nothing else."""
        return code_set("nacha_return_reason").codes.get(self.code)

    @property
    def stage(self) -> ReturnStage:
        """Whether this is a return, or one of the two later stages of the exchange about it."""
        return return_stage(self.code)


class NachaReturn(_Returned, frozen=True):
    """Addenda 99: the entry was returned."""

    died_on: str = ""


class DishonoredReturn(_Returned, frozen=True):
    """Addenda 99 with R61 to R70: the originating institution dishonours a return."""

    return_trace: str = ""
    return_settlement_day: str = ""
    return_code: str = ""


class ContestedReturn(_Returned, frozen=True):
    """Addenda 99 with R71 to R77: the receiving institution contests the dishonoured return."""

    returned_on: str = ""
    original_settlement_day: str = ""
    return_trace: str = ""
    return_settlement_day: str = ""
    return_code: str = ""
    dishonored_trace: str = ""
    dishonored_settlement_day: str = ""
    dishonored_code: str = ""


class Change(msgspec.Struct, frozen=True):
    """Addenda 98: data of the receiver must be changed from the next entry on."""

    line: int
    code: str
    original_trace: str
    original_receiver: str
    corrected_data: str
    trace_number: str

    @property
    def title(self) -> str | None:
        """The title of the code; None when our table does not have it."""
        return code_set("nacha_change").codes.get(self.code)

    def corrected(self) -> dict[str, str]:
        """Return the corrected fields by name; empty where the data do not have the code's form."""
        fields = {
            name: self.corrected_data[first - 1 : last].strip()
            for name, first, last in CORRECTED_FIELDS.get(self.code, ())
        }
        receiver, transaction = fields.get("receiver"), fields.get("transaction_code")
        wrong = (
            not all(fields.values())
            or (receiver is not None and not is_routing_number(receiver))
            or (transaction is not None and transaction not in TRANSACTION_CODES)
        )
        return {} if wrong else fields


class RefusedChange(Change, frozen=True):
    """Addenda 98 with C61 to C69: the originating institution refuses a notification."""

    refused_code: str = ""
    refused_sequence: str = ""


class OtherAddenda(msgspec.Struct, frozen=True):
    """Addenda that are kept but not interpreted: their type, and their text."""

    line: int
    addenda_type: str
    text: str


Addenda = (
    Remittance
    | NachaReturn
    | DishonoredReturn
    | ContestedReturn
    | Change
    | RefusedChange
    | OtherAddenda
)
AnyReturn = NachaReturn | DishonoredReturn | ContestedReturn


class NachaEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One entry with its addenda.

    ``identification`` is the original entry's trace number where the entry is an acknowledgement.
    """

    line: int
    kind: EntryKind
    transaction_code: str
    receiver: str
    account: str
    amount_cents: int
    identification: str = ""
    name: str = ""
    discretionary_data: str = ""
    trace_number: str
    addenda: tuple[Addenda, ...] = ()

    @property
    def direction(self) -> Direction:
        """Whether the amount is in the total of credits or in that of debits."""
        return TRANSACTION_CODES[self.transaction_code]

    @property
    def remittance(self) -> tuple[str, ...]:
        """The texts of its addenda 05, in their order."""
        return tuple(item.text for item in self.addenda if isinstance(item, Remittance))

    @property
    def returned(self) -> AnyReturn | None:
        """Return the last record of type 99: the latest stage of the exchange about this entry."""
        found = [item for item in self.addenda if isinstance(item, AnyReturn)]
        return found[-1] if found else None

    @property
    def change(self) -> Change | None:
        """Return the record of type 98."""
        return next((item for item in self.addenda if isinstance(item, Change)), None)


class Totals(msgspec.Struct, frozen=True):
    """The totals of a control record over the entries before it."""

    entries_and_addenda: int = 0
    entry_hash: int = 0
    debit_cents: int = 0
    credit_cents: int = 0


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """Entries of one company, one class and one effective date; its totals have been verified."""

    line: int
    service_class: str
    company_name: str
    discretionary_data: str
    company_id: str
    entry_class: str
    description: str
    descriptive_date: str
    effective_date: date | None
    settlement_day: str
    originator_status: str
    institution: str
    batch_number: int
    entries: tuple[NachaEntry, ...]
    totals: Totals


class FileHeader(msgspec.Struct, frozen=True, kw_only=True):
    """The sender, the receiver, and the file's modifier of the day."""

    priority: str
    destination: str
    origin: str
    created_on: date | None
    created_at: str
    modifier: str
    destination_name: str
    origin_name: str
    reference_code: str


class NachaFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file whose hashes, counts and totals have been verified."""

    header: FileHeader
    batches: tuple[Batch, ...]
    totals: Totals
    blocks: int
    remarks: tuple[Remark, ...] = ()

    def entries(self, *kinds: EntryKind) -> tuple[NachaEntry, ...]:
        """Return the entries of these kinds, or of all kinds, in the order of the file."""
        return tuple(
            entry
            for batch in self.batches
            for entry in batch.entries
            if not kinds or entry.kind in kinds
        )
