"""Reads a NACHA file: one pass over its records, with every hash, count and total recomputed.

Promises: `read_file` returns a file that is consistent, or raises a `NachaError` with line and columns. Departures
that leave no doubt (a missing filler block, blanks cut off) become remarks.
"""

from __future__ import annotations

import re
from typing import Any, Final, NoReturn

from settlement_engine.messages.errors import quoted
from settlement_engine.messages.nacha import layouts
from settlement_engine.messages.nacha.codes import Direction
from settlement_engine.messages.nacha.columns import Layout, Values, read
from settlement_engine.messages.nacha.entries import OpenEntry
from settlement_engine.messages.nacha.faults import NachaError, Remark
from settlement_engine.messages.nacha.lines import Bounds, records, remark
from settlement_engine.messages.nacha.model import (
    FILE_ID_MODIFIERS,
    Batch,
    FileHeader,
    NachaEntry,
    NachaFile,
    Totals,
)
from settlement_engine.messages.nacha.routing import is_routing_number

RECORDS_IN_BLOCK: Final = 10
HASH_MODULUS: Final = 10**10
FILLER: Final = "9" * 94
DEFAULT_BOUNDS: Final = Bounds()

SERVICE_CLASSES: Final[dict[str, frozenset[Direction]]] = {
    "200": frozenset(Direction),
    "220": frozenset({Direction.CREDIT}),
    "225": frozenset({Direction.DEBIT}),
    "280": frozenset(Direction),
}

_SAME_IN_CONTROL: Final = ("service_class", "institution", "batch_number")
_RECORD_TYPE: Final = re.compile("[156789]")


def read_file(data: bytes, bounds: Bounds = DEFAULT_BOUNDS) -> NachaFile:
    """Read a file. Raises `NachaError` with the position where the file is inconsistent."""
    remarks: list[Remark] = []
    return _Reader(records(data, bounds, remarks), bounds, remarks).read()


class _Running:
    """Totals of the entries so far."""

    def __init__(self) -> None:
        self.entries_and_addenda = 0
        self.entry_hash = 0
        self.cents = {Direction.DEBIT: 0, Direction.CREDIT: 0}

    def add(self, entry: NachaEntry) -> None:
        self.entries_and_addenda += 1 + len(entry.addenda)
        self.entry_hash += int(entry.receiver[:-1])
        self.cents[entry.direction] += entry.amount_cents

    def totals(self) -> Totals:
        return Totals(
            self.entries_and_addenda,
            self.entry_hash % HASH_MODULUS,
            self.cents[Direction.DEBIT],
            self.cents[Direction.CREDIT],
        )


class _Reader:
    """The state of the pass over the records."""

    def __init__(self, lines: list[str], bounds: Bounds, remarks: list[Remark]) -> None:
        self._lines = lines
        self._bounds = bounds
        self._remarks = remarks
        self._at = 0
        self._entries_in_file = 0
        self._file = _Running()

    # --- the pass -----------------------------------------------------------------------------------

    @property
    def _number(self) -> int:
        """The line number, from one."""
        return self._at + 1

    def _type(self) -> str:
        """Return the type of the next record; empty after the last one."""
        return self._lines[self._at][0] if self._at < len(self._lines) else ""

    def _read(self, described: Layout) -> Values:
        """Read the next record and advance."""
        values = read(described, self._lines[self._at], self._number)
        self._at += 1
        return values

    def _unexpected(self, wanted: str) -> NoReturn:
        if self._at >= len(self._lines):
            raise NachaError(f"the file ends where {wanted} must follow", line=len(self._lines))
        found = quoted(self._type())
        reason = f"a record of type {found} stands where {wanted} must follow"
        raise NachaError(reason, line=self._number, last=1)

    def read(self) -> NachaFile:
        """Read the whole file."""
        header = self._header()
        batches: list[Batch] = []
        while self._type() == "5":
            if len(batches) == self._bounds.batches_max:
                raise NachaError(f"more than {len(batches)} batches", line=self._number)
            batches.append(self._batch(batches[-1] if batches else None))
        if self._type() != "9":
            self._unexpected("a batch or the file control")
        blocks = self._control(batches)
        return NachaFile(
            header=header,
            batches=tuple(batches),
            totals=self._file.totals(),
            blocks=blocks,
            remarks=tuple(self._remarks),
        )

    # --- file ---------------------------------------------------------------------------------------

    def _header(self) -> FileHeader:
        if self._type() != "1":
            self._unexpected("the file header")
        values = self._read(layouts.FILE_HEADER)
        header = _made(FileHeader, values)
        if header.modifier not in FILE_ID_MODIFIERS or not header.modifier:
            reason = f"the file id modifier is a letter or a digit, not {quoted(header.modifier)}"
            raise _fault(layouts.FILE_HEADER, "modifier", reason, 1)
        for name in ("destination", "origin"):
            number = str(values[name]).strip()
            if number.isdigit() and not is_routing_number(number[-9:]):
                remark(self._remarks, 1, f"{name} {quoted(number)} is no routing number")
        return header

    def _control(self, batches: list[Batch]) -> int:
        advice = {batch.entry_class == "ADV" for batch in batches}
        if len(advice) > 1:
            raise NachaError("advices stand in files of their own", line=self._number)
        described = layouts.ADVICE_FILE_CONTROL if True in advice else layouts.FILE_CONTROL
        line, count = self._number, self._at + 1
        values = self._read(described)
        blocks = -(-count // RECORDS_IN_BLOCK)
        _compare(described, values, {"batches": len(batches), "blocks": blocks}, line)
        _compare_totals(described, values, self._file.totals(), line)
        self._fillers(blocks)
        return blocks

    def _fillers(self, blocks: int) -> None:
        """Skip the lines of nines that fill the last block."""
        while self._at < len(self._lines):
            if self._lines[self._at] != FILLER:
                reason = "only lines of nines may follow the file control"
                raise NachaError(reason, line=self._number)
            self._at += 1
        if len(self._lines) != blocks * RECORDS_IN_BLOCK:
            reason = f"{len(self._lines)} records do not fill {blocks} blocks of ten"
            remark(self._remarks, len(self._lines), reason)

    # --- batch --------------------------------------------------------------------------------------

    def _batch(self, before: Batch | None) -> Batch:
        line = self._number
        header = self._read(layouts.BATCH_HEADER)
        self._check_batch_header(header, line, before)
        running = _Running()
        entries: list[NachaEntry] = []
        while self._type() == "6":
            entry = self._entry(header)
            running.add(entry)
            self._file.add(entry)
            if entries and entry.trace_number <= entries[-1].trace_number:
                remark(self._remarks, entry.line, "trace numbers do not ascend")
            entries.append(entry)
        if self._type() != "8":
            self._unexpected("an entry or the batch control")
        self._batch_control(header, running.totals())
        return Batch(line=line, entries=tuple(entries), totals=running.totals(), **_any(header))

    def _check_batch_header(self, header: Values, line: int, before: Batch | None) -> None:
        service_class, entry_class = str(header["service_class"]), str(header["entry_class"])
        if service_class not in SERVICE_CLASSES:
            reason = f"there is no service class {quoted(service_class)}"
            raise _fault(layouts.BATCH_HEADER, "service_class", reason, line)
        if not re.fullmatch("[A-Z]{3}", entry_class):
            reason = f"an entry class is three letters, not {quoted(entry_class)}"
            raise _fault(layouts.BATCH_HEADER, "entry_class", reason, line)
        if (entry_class == "ADV") != (service_class == "280"):
            reason = f"service class {service_class} is not for {entry_class}"
            raise _fault(layouts.BATCH_HEADER, "service_class", reason, line)
        number = header["batch_number"]
        if before and isinstance(number, int) and number <= before.batch_number:
            remark(self._remarks, line, "batch numbers do not ascend")

    def _batch_control(self, header: Values, totals: Totals) -> None:
        advice = header["entry_class"] == "ADV"
        described = layouts.ADVICE_BATCH_CONTROL if advice else layouts.BATCH_CONTROL
        line = self._number
        values = self._read(described)
        _compare(described, values, {name: header[name] for name in _SAME_IN_CONTROL}, line)
        _compare_totals(described, values, totals, line)
        company = str(values.get("company_id", "")).strip()
        if company and company != str(header["company_id"]).strip():
            reason = f"is {quoted(company)}, and another one in the batch header"
            raise _fault(described, "company_id", reason, line)

    # --- entries ------------------------------------------------------------------------------------

    def _entry(self, header: Values) -> NachaEntry:
        self._entries_in_file += 1
        if self._entries_in_file > self._bounds.entries_max:
            raise NachaError(f"more than {self._bounds.entries_max} entries", line=self._number)
        entry = OpenEntry(str(header["entry_class"]), self._lines[self._at], self._number)
        if entry.direction not in SERVICE_CLASSES[str(header["service_class"])]:
            reason = f"a {entry.direction.value} in a batch of class {header['service_class']}"
            raise entry.fault("transaction_code", reason)
        self._at += 1
        while self._type() == "7":
            entry.add(self._lines[self._at], self._number)
            self._at += 1
        return entry.closed()


def _compare_totals(described: Layout, values: Values, totals: Totals, line: int) -> None:
    """Compare a control record's totals with the counted ones."""
    counted: Values = {name: getattr(totals, name) for name in totals.__struct_fields__}
    _compare(described, values, counted, line)


def _compare(described: Layout, values: Values, wanted: Values, line: int) -> None:
    for name, value in wanted.items():
        if values[name] != value:
            reason = f"is {values[name]}, and what stands before it makes {value}"
            raise _fault(described, name, reason, line)


def _fault(described: Layout, name: str, reason: str, line: int) -> NachaError:
    column = described.column(name)
    reason = f"{described.title}, {name}: {reason}"
    return NachaError(reason, line=line, first=column.first, last=column.last)


def _any(values: Values) -> dict[str, Any]:
    """Return the values without their types: the columns' forms have checked them."""
    return {**values}


def _made(kind: type[FileHeader], values: Values) -> FileHeader:
    return kind(**{name: _any(values)[name] for name in kind.__struct_fields__})
