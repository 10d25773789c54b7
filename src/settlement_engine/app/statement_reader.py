"""Reads files of statements: small ones at once beside the event loop, large ones in a process of their own.

Promises: reading a large file holds up the event loop for one slice of its result at most; the process is limited in
memory and time, and killed where it exceeds them, which is a fault of the file and not of the engine. Must never:
leave a process behind.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import msgspec
import structlog

from settlement_engine.app.message_schemas import statement_schemas
from settlement_engine.app.statement_child import XSD_DIR
from settlement_engine.app.statement_frames import HEAD_BYTES, FileBeingRead, head_of_frame
from settlement_engine.domain.statements import FaultKind, StatementFault, StatementFile
from settlement_engine.messages.statements import read_statements

if TYPE_CHECKING:
    from pathlib import Path

    from settlement_engine.messages.csv_mapping import Mapping

log = structlog.get_logger(__name__)

INLINE_BYTES_MAX: Final = 256 * 1024
"""A larger file is read in a process of its own, whose start takes about as long as reading this one."""

READ_SECONDS_MAX: Final = 120.0
"""How long a process may take: one of 64 MiB takes about 20 seconds."""

TRIES_MAX: Final = 3
"""A process may end before it has begun for a reason that lies in the machine, as a lack of memory for a moment."""

PIPE_BYTES: Final = 1024 * 1024
COMMAND: Final = (sys.executable, "-m", "settlement_engine.app.statement_child")


class StatementReader:
    """Reads one file at a time for whoever waits."""

    def __init__(
        self,
        *,
        inline_bytes_max: int = INLINE_BYTES_MAX,
        seconds_max: float = READ_SECONDS_MAX,
        command: tuple[str, ...] = COMMAND,
        xsd_dir: Path | None = None,
    ) -> None:
        """With ``xsd_dir`` a file is validated against the schemas in it. Raises Misconfigured."""
        schemas = statement_schemas(xsd_dir)
        self._check = None if schemas is None else schemas.check
        self._inline_bytes_max = inline_bytes_max
        self._seconds_max = seconds_max
        self._command = command if xsd_dir is None else (*command, XSD_DIR, str(xsd_dir))

    async def read(
        self, content: bytes, mapping: Mapping | None, mapping_text: str
    ) -> StatementFile:
        """Read a file; ``mapping_text`` is what ``mapping`` was read from."""
        if len(content) <= self._inline_bytes_max:
            return await asyncio.to_thread(read_statements, content, mapping, self._check)
        for _ in range(TRIES_MAX):
            found = await self._read_apart(content, mapping_text)
            if found is not None:
                return found
        # Most likely the limit of its memory: nothing else of a file can end the reader again and again.
        return _fault("the process that reads it ended early: it may need too much memory")

    async def _read_apart(self, content: bytes, mapping_text: str) -> StatementFile | None:
        """Read a file in a process of its own; None if the process ended early."""
        process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            limit=PIPE_BYTES,
            start_new_session=True,  # Ctrl-C goes to the engine only, which drains first
        )
        found: StatementFile | None = None
        try:
            async with asyncio.timeout(self._seconds_max):
                found = await _converse(process, content, mapping_text.encode())
        except TimeoutError:
            found = _fault(f"could not be read within {self._seconds_max:.0f} seconds")
        except (ValueError, msgspec.MsgspecError, asyncio.IncompleteReadError, OSError):
            pass  # it ended early
        except RuntimeError:
            pass  # the same: uvloop raises it for a pipe whose reader has gone
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            code = await process.wait()
        if found is None:
            log.warning("statement_reader_ended_early", exit_code=code)
        return found


async def _converse(
    process: asyncio.subprocess.Process, content: bytes, mapping_text: bytes
) -> StatementFile:
    assert process.stdin is not None, "it was asked for"
    assert process.stdout is not None, "it was asked for"
    process.stdin.write(len(mapping_text).to_bytes(4, "big") + mapping_text)
    for start in range(0, len(content), PIPE_BYTES):
        process.stdin.write(content[start : start + PIPE_BYTES])
        await process.stdin.drain()
    process.stdin.close()
    result = FileBeingRead()
    is_last = False
    while not is_last:
        kind, length = head_of_frame(await process.stdout.readexactly(HEAD_BYTES))
        is_last = result.take(kind, await process.stdout.readexactly(length))
        await asyncio.sleep(0)  # the frames may all be there already
    return result.file()


def _fault(reason: str) -> StatementFile:
    return StatementFile((), (StatementFault(FaultKind.UNREADABLE, "file", reason),))
