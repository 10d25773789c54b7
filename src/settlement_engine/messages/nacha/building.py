"""Builds a file of CCD and CTX credits: records of 94 columns in blocks of ten, with hashes and totals.

Promises: a built file reads back with every field; the same values give the same bytes; no text is truncated.
Free text is rewritten only by the caller's rule, and the original is kept. It must never rewrite an identifier.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from settlement_engine.messages.charsets import CharacterSet, Fitted, fitted
from settlement_engine.messages.errors import MessageError, quoted
from settlement_engine.messages.nacha import layouts
from settlement_engine.messages.nacha.characters import NOTHING_REWRITTEN, PROSE
from settlement_engine.messages.nacha.codes import CREDIT_CODES
from settlement_engine.messages.nacha.columns import Column, ColumnForm, Layout, Values, write
from settlement_engine.messages.nacha.model import FILE_ID_MODIFIERS, Totals
from settlement_engine.messages.nacha.reading import (
    DEFAULT_BOUNDS,
    FILLER,
    HASH_MODULUS,
    RECORDS_IN_BLOCK,
)
from settlement_engine.messages.nacha.routing import is_routing_number

if TYPE_CHECKING:
    from settlement_engine.messages.nacha.credits import CreditBatch, CreditEntry, CreditFile
    from settlement_engine.messages.nacha.lines import Bounds

LINE_END: Final = "\n"
AMOUNT_CENTS_MAX: Final = 9_999_999_999
"""Ten columns."""

ADDENDA_MAX: Final = {"CCD": 1, "CTX": 9_999}
"""The classes that can be built, and the most addenda of an entry in each."""

_CREDITS_ONLY: Final = "220"
_REQUIRED: Final = frozenset(
    {"company_name", "company_id", "description", "account", "name", "destination", "origin"}
)


class BuiltFile(msgspec.Struct, frozen=True):
    """The bytes of a file, its totals, and each text that was rewritten."""

    data: bytes
    totals: Totals
    rewritten: tuple[Fitted, ...]


class BuiltEntry(msgspec.Struct, frozen=True):
    """The records of one entry, which are the same in every file."""

    records: tuple[str, ...]
    rewritten: tuple[Fitted, ...]


def build_file(
    outgoing: CreditFile,
    characters: CharacterSet = NOTHING_REWRITTEN,
    bounds: Bounds = DEFAULT_BOUNDS,
) -> BuiltFile:
    """Build a file. Raises `MessageError` with the name of the faulty field."""
    _check_file(outgoing, bounds)
    texts = _Texts(characters)
    records = [_file_header(outgoing, texts)]
    batches = []
    for number, batch in enumerate(outgoing.batches, start=1):
        place = f"batch {number}"
        batch_records, totals = _batch(batch, place, texts)
        records += batch_records
        batches.append(totals)
    totals = _sum(batches)
    blocks = -(-(len(records) + 1) // RECORDS_IN_BLOCK)
    counts = {"batches": len(batches), "blocks": blocks}
    records.append(write(layouts.FILE_CONTROL, {**counts, **msgspec.structs.asdict(totals)}))
    records += [FILLER] * (blocks * RECORDS_IN_BLOCK - len(records))
    data = "".join(record + LINE_END for record in records).encode("ascii")
    if len(data) > bounds.bytes_max:
        raise MessageError("file", f"has more than {bounds.bytes_max} bytes")
    return BuiltFile(data, totals, tuple(texts.rewritten))


def build_entry(
    entry: CreditEntry, entry_class: str, characters: CharacterSet = NOTHING_REWRITTEN
) -> BuiltEntry:
    """Build the records of one entry: they are the same in every file."""
    _check_class(entry_class, "entry")
    texts = _Texts(characters)
    return BuiltEntry(tuple(_entry(entry, entry_class, "entry", texts)), tuple(texts.rewritten))


class _Texts:
    """Rewrites texts by the rail's rule, and keeps the originals of those that changed."""

    def __init__(self, characters: CharacterSet) -> None:
        self._characters = characters
        self.rewritten: list[Fitted] = []

    def record(self, described: Layout, values: Values, place: str) -> str:
        """Write one record, whose texts are as the caller gave them."""
        ready = dict(values)
        for column in described.columns:
            value = values.get(column.name)
            if column.form is ColumnForm.TEXT and isinstance(value, str):
                ready[column.name] = self._text(column, value, f"{place}, {column.name}")
        try:
            return write(described, ready)
        except MessageError as error:
            raise MessageError(f"{place}, {error.place}", error.reason) from None

    def _text(self, column: Column, value: str, place: str) -> str:
        if column.name in _REQUIRED and not value.strip():
            raise MessageError(place, "is empty")
        if column.name not in PROSE:
            return value
        done = fitted(value, self._characters, place)
        if done.text != done.original:
            self.rewritten.append(done)
        return done.text


# --- file -------------------------------------------------------------------------------------------


def _check_file(outgoing: CreditFile, bounds: Bounds) -> None:
    if not re.fullmatch(f"[{FILE_ID_MODIFIERS}]", outgoing.modifier):
        raise MessageError("modifier", f"is a letter or a digit, not {quoted(outgoing.modifier)}")
    if not is_routing_number(outgoing.destination):
        raise MessageError("destination", f"{quoted(outgoing.destination)} is no routing number")
    if not 0 < len(outgoing.batches) <= bounds.batches_max:
        raise MessageError("batches", f"are from 1 to {bounds.batches_max}")
    traces = [entry.trace_number for batch in outgoing.batches for entry in batch.entries]
    if len(traces) > bounds.entries_max:
        raise MessageError("entries", f"are more than {bounds.entries_max}")
    if len(set(traces)) != len(traces):
        raise MessageError(
            "trace_number", "two entries of a file have the same: a return names one"
        )
    numbers = [batch.batch_number for batch in outgoing.batches]
    if any(after <= before for before, after in zip([0, *numbers], numbers, strict=False)):
        raise MessageError("batch_number", "batch numbers begin above zero and ascend")


def _file_header(outgoing: CreditFile, texts: _Texts) -> str:
    values: Values = {
        "priority": "01",
        "destination": _ten_columns(outgoing.destination),
        "origin": _ten_columns(outgoing.origin),
        "created_on": outgoing.created.date(),
        "created_at": f"{outgoing.created:%H%M}",
        "modifier": outgoing.modifier,
        "destination_name": outgoing.destination_name,
        "origin_name": outgoing.origin_name,
        "reference_code": outgoing.reference_code,
    }
    return texts.record(layouts.FILE_HEADER, values, "file")


def _ten_columns(identifier: str) -> str:
    """Write a routing number with a leading blank; any other identifier unchanged."""
    return f" {identifier}" if re.fullmatch("[0-9]{9}", identifier, re.ASCII) else identifier


# --- batch ------------------------------------------------------------------------------------------


def _batch(batch: CreditBatch, place: str, texts: _Texts) -> tuple[list[str], Totals]:
    _check_batch(batch, place)
    shared: Values = {
        "service_class": _CREDITS_ONLY,
        "company_id": batch.company_id,
        "institution": batch.institution,
        "batch_number": batch.batch_number,
    }
    header: Values = {
        **shared,
        "company_name": batch.company_name,
        "discretionary_data": batch.discretionary_data,
        "entry_class": batch.entry_class,
        "description": batch.description,
        "descriptive_date": batch.descriptive_date,
        "effective_date": batch.effective_date,
        "settlement_day": "",
        "originator_status": "1",
    }
    records = [texts.record(layouts.BATCH_HEADER, header, place)]
    for number, entry in enumerate(batch.entries, start=1):
        records += _entry(entry, batch.entry_class, f"{place}, entry {number}", texts)
    totals = Totals(
        len(records) - 1,
        sum(int(entry.receiver[:-1]) for entry in batch.entries) % HASH_MODULUS,
        0,
        sum(entry.amount_cents for entry in batch.entries),
    )
    control: Values = {**shared, **msgspec.structs.asdict(totals), "authentication": ""}
    records.append(texts.record(layouts.BATCH_CONTROL, control, place))
    return records, totals


def _check_batch(batch: CreditBatch, place: str) -> None:
    _check_class(batch.entry_class, place)
    if not batch.entries:
        raise MessageError(f"{place}, entries", "there is none")
    before = ""
    for number, entry in enumerate(batch.entries, start=1):
        field = f"{place}, entry {number}, trace_number"
        if not entry.trace_number.startswith(batch.institution):
            raise MessageError(field, f"does not begin with {quoted(batch.institution)}")
        if entry.trace_number <= before:
            raise MessageError(field, "trace numbers ascend, and no two are the same")
        before = entry.trace_number


def _check_class(entry_class: str, place: str) -> None:
    if entry_class not in ADDENDA_MAX:
        known = " and ".join(ADDENDA_MAX)
        reason = f"{quoted(entry_class)} is not built, only {known}"
        raise MessageError(f"{place}, entry_class", reason)


def _sum(batches: list[Totals]) -> Totals:
    return Totals(
        sum(totals.entries_and_addenda for totals in batches),
        sum(totals.entry_hash for totals in batches) % HASH_MODULUS,
        0,
        sum(totals.credit_cents for totals in batches),
    )


# --- entries ----------------------------------------------------------------------------------------


def _entry(entry: CreditEntry, entry_class: str, place: str, texts: _Texts) -> list[str]:
    _check_entry(entry, entry_class, place)
    values: dict[str, Any] = msgspec.structs.asdict(entry)
    values["addenda_indicator"] = int(bool(entry.remittance))
    values["addenda_count"] = f"{len(entry.remittance):04d}"
    counting = entry_class == "CTX"
    described = layouts.ADDENDA_COUNTING_ENTRY if counting else layouts.ENTRY
    records = [texts.record(described, values, place)]
    for sequence, text in enumerate(entry.remittance, start=1):
        addenda: Values = {
            "text": text,
            "sequence": sequence,
            "entry_sequence": entry.trace_number[-7:],
        }
        records.append(texts.record(layouts.REMITTANCE, addenda, f"{place}, addenda {sequence}"))
    return records


def _check_entry(entry: CreditEntry, entry_class: str, place: str) -> None:
    if entry.transaction_code not in CREDIT_CODES.values():
        reason = f"{quoted(entry.transaction_code)} is no credit with money in it"
        raise MessageError(f"{place}, transaction_code", reason)
    if not is_routing_number(entry.receiver):
        reason = f"{quoted(entry.receiver)} is no routing number"
        raise MessageError(f"{place}, receiver", reason)
    if not 0 < entry.amount_cents <= AMOUNT_CENTS_MAX:
        raise MessageError(f"{place}, amount_cents", f"is from 1 to {AMOUNT_CENTS_MAX}")
    most = ADDENDA_MAX[entry_class]
    if len(entry.remittance) > most:
        raise MessageError(f"{place}, remittance", f"{entry_class} has at most {most} addenda")
