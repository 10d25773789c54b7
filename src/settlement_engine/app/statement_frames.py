"""What the process that reads a file of statements writes: frames, each a part of the result.

Promises: a statement comes without its entries, and its entries follow in slices, so that whoever decodes them is
held up by one slice at most; the last frame says that nothing is missing. Pure.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Final

import msgspec

from settlement_engine.domain.statements import Entry, Statement, StatementFault, StatementFile

if TYPE_CHECKING:
    from collections.abc import Iterator

ENTRIES_OF_A_FRAME: Final = 500
FRAME_BYTES_MAX: Final = 128 * 1024 * 1024
"""The longest frame: an entry may have 100,000 payments inside."""

HEAD_BYTES: Final = 5


class FrameKind(IntEnum):
    """What a frame holds."""

    STATEMENT = 1  # without its entries
    ENTRIES = 2  # of the statement before
    FAULTS = 3
    END = 4


_encode: Final = msgspec.msgpack.Encoder().encode
_statement: Final = msgspec.msgpack.Decoder(Statement).decode
_entries: Final = msgspec.msgpack.Decoder(tuple[Entry, ...]).decode
_faults: Final = msgspec.msgpack.Decoder(tuple[StatementFault, ...]).decode


def frames_of(file: StatementFile) -> Iterator[bytes]:
    """Write what was read."""
    for statement in file.statements:
        yield _frame(FrameKind.STATEMENT, msgspec.structs.replace(statement, entries=()))
        for start in range(0, len(statement.entries), ENTRIES_OF_A_FRAME):
            slice_ = statement.entries[start : start + ENTRIES_OF_A_FRAME]
            yield _frame(FrameKind.ENTRIES, slice_)
    yield _frame(FrameKind.FAULTS, file.faults)
    yield _frame(FrameKind.END, None)


def _frame(kind: FrameKind, value: object) -> bytes:
    body = _encode(value)
    return bytes((kind,)) + len(body).to_bytes(HEAD_BYTES - 1, "big") + body


def head_of_frame(head: bytes) -> tuple[FrameKind, int]:
    """Read a frame's kind, and the length of its body. Raises ValueError."""
    length = int.from_bytes(head[1:], "big")
    if length > FRAME_BYTES_MAX:
        message = f"a frame has {length:,} bytes"
        raise ValueError(message)
    return FrameKind(head[0]), length


class FileBeingRead:
    """Puts the frames together."""

    def __init__(self) -> None:
        self._done: list[Statement] = []
        self._present: Statement | None = None
        self._entries: list[Entry] = []
        self._faults: tuple[StatementFault, ...] = ()

    def take(self, kind: FrameKind, body: bytes) -> bool:
        """Take a frame; says whether it was the last one. Raises ValueError."""
        match kind:
            case FrameKind.STATEMENT:
                self._finish()
                self._present = _statement(body)
            case FrameKind.ENTRIES:
                self._entries += _entries(body)
            case FrameKind.FAULTS:
                self._faults = _faults(body)
            case _:
                self._finish()
                return True
        return False

    def _finish(self) -> None:
        if self._present is not None:
            whole = msgspec.structs.replace(self._present, entries=tuple(self._entries))
            self._done.append(whole)
        self._present, self._entries = None, []

    def file(self) -> StatementFile:
        """Return the result."""
        return StatementFile(tuple(self._done), self._faults)
