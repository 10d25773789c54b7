"""The process that reads one large file of statements: bytes from standard input, frames to standard output.

Promises: its memory is limited, and it does nothing but read; it ends with its parent, whose pipe it writes to. Must
never: be trusted to end by itself: its parent has a time-out.
"""

from __future__ import annotations

import gc
import os
import resource
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from settlement_engine.app.message_schemas import statement_schemas
from settlement_engine.app.statement_frames import frames_of
from settlement_engine.domain.statements import FaultKind, StatementFault, StatementFile
from settlement_engine.errors import Misconfigured
from settlement_engine.messages.csv_mapping import SHIPPED, read_mapping, shipped_mapping
from settlement_engine.messages.statements import read_statements

if TYPE_CHECKING:
    from settlement_engine.messages.csv_mapping import Mapping

XSD_DIR: Final = "--xsd-dir"
MEMORY_BYTES_MAX: Final = 3 * 1024 * 1024 * 1024
"""Of addresses, of which it uses about half: 64 MiB of XML with most tags is about 1.5 GiB as a tree."""

NICENESS: Final = 5
"""Settlements come first."""


def main() -> None:
    """Read the length and the text of a CSV mapping, the file behind it, and write what is in the file."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))
    os.nice(NICENESS)
    gc.disable()  # it ends before anything would have to be collected
    given = sys.stdin.buffer
    text = given.read(int.from_bytes(given.read(4), "big")).decode()
    mapping = None
    if text:
        mapping = shipped_mapping(text) if text in SHIPPED else read_mapping(text.encode())
    for frame in frames_of(_read(given.read(), mapping)):
        sys.stdout.buffer.write(frame)
    sys.stdout.buffer.flush()


def _read(content: bytes, mapping: Mapping | None) -> StatementFile:
    """Read the file; with a directory of schemas it is validated first."""
    if XSD_DIR not in sys.argv:
        return read_statements(content, mapping)
    folder = Path(sys.argv[sys.argv.index(XSD_DIR) + 1])
    try:
        schemas = statement_schemas(folder)
    except Misconfigured as error:  # the directory has changed since the engine began
        fault = StatementFault(FaultKind.UNREADABLE, "file", f"{error.what}: {error.why}")
        return StatementFile((), (fault,))
    assert schemas is not None, "a directory is given"
    return read_statements(content, mapping, schemas.check)


if __name__ == "__main__":
    main()
