"""Faults of a NACHA file with their position: line and columns."""

from __future__ import annotations

import msgspec

from settlement_engine.messages.errors import MessageError


class NachaError(MessageError):
    """The file cannot be read; ``line`` and ``columns`` count from one, as the operator's rules do."""

    def __init__(self, reason: str, *, line: int, first: int = 1, last: int = 94) -> None:
        columns = f"column {first}" if first == last else f"columns {first}-{last}"
        super().__init__(f"line {line}, {columns}", reason)
        self.line = line
        self.columns = (first, last)


class Remark(msgspec.Struct, frozen=True):
    """A departure from the format that leaves the file's meaning unambiguous."""

    line: int
    reason: str
