"""One entry with its addenda: its kind, and whether its addenda match what it declares."""

from __future__ import annotations

from typing import Any, Final

from settlement_engine.messages.errors import quoted
from settlement_engine.messages.nacha import layouts
from settlement_engine.messages.nacha.codes import (
    RETURN_TRANSACTIONS,
    TRANSACTION_CODES,
    Direction,
    ReturnStage,
    refuses_a_change,
    return_stage,
)
from settlement_engine.messages.nacha.columns import Layout, read
from settlement_engine.messages.nacha.faults import NachaError
from settlement_engine.messages.nacha.model import (
    Addenda,
    Change,
    ContestedReturn,
    DishonoredReturn,
    EntryKind,
    NachaEntry,
    NachaReturn,
    OtherAddenda,
    RefusedChange,
    Remittance,
)
from settlement_engine.messages.nacha.routing import is_routing_number

ADDENDA_MAX: Final = 9_999
"""The most addenda of an entry: they are numbered with four digits."""

_LAYOUTS: Final[dict[str, Layout]] = {
    "ADV": layouts.ADVICE_ENTRY,
    "IAT": layouts.INTERNATIONAL_ENTRY,
    **dict.fromkeys(("ATX", "CTX", "TRX"), layouts.ADDENDA_COUNTING_ENTRY),
}
_COUNTING: Final = frozenset({"ATX", "CTX"})
"""The classes whose entries declare the number of their addenda, which is verified."""

_BY_STAGE: Final = {
    ReturnStage.RETURN: (layouts.RETURN, NachaReturn),
    ReturnStage.DISHONORED: (layouts.DISHONORED_RETURN, DishonoredReturn),
    ReturnStage.CONTESTED: (layouts.CONTESTED_RETURN, ContestedReturn),
}
_KIND_OF_ADDENDA: Final[dict[type[Any], EntryKind]] = {
    NachaReturn: EntryKind.RETURN,
    DishonoredReturn: EntryKind.DISHONORED_RETURN,
    ContestedReturn: EntryKind.CONTESTED_RETURN,
    Change: EntryKind.CHANGE,
    RefusedChange: EntryKind.REFUSED_CHANGE,
}
_KIND_OF_CLASS: Final = {
    "ACK": EntryKind.ACKNOWLEDGEMENT,
    "ATX": EntryKind.ACKNOWLEDGEMENT,
    "ADV": EntryKind.ADVICE,
    **dict.fromkeys(("DNE", "ENR"), EntryKind.INFORMATION),
}
_KIND_OF_LAST_DIGIT: Final = {
    **dict.fromkeys("38", EntryKind.PRENOTE),
    **dict.fromkeys("49", EntryKind.INFORMATION),
}


class OpenEntry:
    """An entry whose addenda are still being read."""

    def __init__(self, entry_class: str, record: str, line: int) -> None:
        self._class = entry_class
        self._line = line
        self._layout = _LAYOUTS.get(entry_class, layouts.ENTRY)
        values: dict[str, Any] = {**read(self._layout, record, line)}
        self._indicator: int = values.pop("addenda_indicator")
        self._announced: str = values.pop("addenda_count", "")
        self._values = values
        self._addenda: list[Addenda] = []
        self._check()

    @property
    def direction(self) -> Direction:
        """Whether it is a credit or a debit."""
        return TRANSACTION_CODES[self._values["transaction_code"]]

    def fault(self, name: str, reason: str) -> NachaError:
        """Return an error about one of the entry's fields."""
        column = self._layout.column(name)
        reason = f"{self._layout.title}, {name}: {reason}"
        return NachaError(reason, line=self._line, first=column.first, last=column.last)

    def _check(self) -> None:
        code = self._values["transaction_code"]
        if code not in TRANSACTION_CODES or (code[0] == "8") != (self._class == "ADV"):
            raise self.fault("transaction_code", f"{code} is none of {self._class}")
        if not is_routing_number(self._values["receiver"]):
            shown = quoted(self._values["receiver"])
            raise self.fault("receiver", f"{shown} is no routing number: its check digit is wrong")
        if self._indicator not in (0, 1):
            raise self.fault("addenda_indicator", f"is 0 or 1, not {self._indicator}")

    def add(self, record: str, line: int) -> None:
        """Add the next record of type 7."""
        if not self._indicator:
            reason = "the entry before says that it has no addenda"
            raise NachaError(reason, line=line)
        if len(self._addenda) == ADDENDA_MAX:
            raise NachaError(f"more than {ADDENDA_MAX} addenda", line=line)
        self._addenda.append(self._read_addenda(record, line))

    def _read_addenda(self, record: str, line: int) -> Addenda:
        described, kind = _kind_of_addenda(record)
        values: dict[str, Any] = {**read(described, record, line)}
        made: Addenda = kind(line=line, **values)
        if isinstance(made, Remittance):
            self._check_remittance(made)
        return made

    def _check_remittance(self, made: Remittance) -> None:
        """Check that addenda 05 are in order and belong to the entry."""
        described = layouts.REMITTANCE
        wanted = {
            "sequence": len(self._addenda) + 1,
            "entry_sequence": self._values["trace_number"][-7:],
        }
        for name, value in wanted.items():
            found = getattr(made, name)
            if found != value:
                column = described.column(name)
                reason = f"{described.title}, {name}: is {found}, and must be {value}"
                raise NachaError(reason, line=made.line, first=column.first, last=column.last)

    def closed(self) -> NachaEntry:
        """Return the finished entry: no more addenda follow."""
        if self._indicator and not self._addenda:
            raise self.fault("addenda_indicator", "announces addenda, and none follow")
        kind = self._kind()
        if kind in (EntryKind.PAYMENT, EntryKind.ACKNOWLEDGEMENT) and self._class in _COUNTING:
            announced = int(self._announced or 0)
            if announced != len(self._addenda):
                reason = f"is {announced}, and {len(self._addenda)} follow"
                raise self.fault("addenda_count", reason)
        return NachaEntry(line=self._line, kind=kind, addenda=tuple(self._addenda), **self._values)

    def _kind(self) -> EntryKind:
        """Return the entry's kind: by its last addenda of type 98 or 99, else by class and transaction code."""
        for item in reversed(self._addenda):
            if type(item) in _KIND_OF_ADDENDA:
                return _KIND_OF_ADDENDA[type(item)]
        if self._class == "COR":
            raise self.fault("transaction_code", "a notification of change has no addenda 98")
        code = self._values["transaction_code"]
        if code in RETURN_TRANSACTIONS:
            reason = f"{code} is that of a return, and there are no addenda 99 or 98"
            raise self.fault("transaction_code", reason)
        by_class = _KIND_OF_CLASS.get(self._class)
        return by_class or _KIND_OF_LAST_DIGIT.get(code[1], EntryKind.PAYMENT)


def _kind_of_addenda(record: str) -> tuple[Layout, type[Any]]:
    """Choose the layout by the addenda type, and by the code where one type has several forms."""
    code = record[3:6].rstrip()
    match record[1:3]:
        case "05":
            return layouts.REMITTANCE, Remittance
        case "98" if refuses_a_change(code):
            return layouts.REFUSED_CHANGE, RefusedChange
        case "98":
            return layouts.CHANGE, Change
        case "99":
            return _BY_STAGE[return_stage(code)]
        case _:
            return layouts.OTHER_ADDENDA, OtherAddenda
