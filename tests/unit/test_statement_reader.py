"""Large files are read in a process of their own: the same result, and bounds on its time, memory and life."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from settlement_engine.app import statement_child
from settlement_engine.app.statement_frames import (
    ENTRIES_OF_A_FRAME,
    FRAME_BYTES_MAX,
    HEAD_BYTES,
    FileBeingRead,
    FrameKind,
    frames_of,
    head_of_frame,
)
from settlement_engine.app.statement_reader import COMMAND, StatementReader
from settlement_engine.domain.statements import FaultKind, StatementFile
from settlement_engine.messages.csv_mapping import shipped_mapping
from settlement_engine.messages.statements import read_statements
from tests.support.statement_files import chain, file_of
from tests.support.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

LARGE = file_of(*chain("111", 3, entries=2 * ENTRIES_OF_A_FRAME + 1))
CSV = b"Booking date;Value date;Amount;Currency;Balance\n"


def reader(*code: str, seconds_max: float = 60.0) -> StatementReader:
    """Read everything in a process; with ``code`` in one that does something else."""
    command = (sys.executable, "-c", *code) if code else COMMAND
    return StatementReader(inline_bytes_max=0, seconds_max=seconds_max, command=command)


@pytest.mark.parametrize(
    "content",
    [
        LARGE,
        file_of(*chain("111", 1, entries=0)),
        b"no statement",
        LARGE + b":20:BROKEN\r\n:25:1\r\n",
    ],
)
async def test_what_a_process_reads_is_what_is_read_at_once(content):
    assert await reader().read(content, None, "") == read_statements(content)


async def test_a_csv_is_read_with_its_mapping():
    mapping = shipped_mapping("signed_amount")
    found = await reader().read(CSV, mapping, "signed_amount")
    assert found == read_statements(CSV, mapping)


async def test_a_small_file_needs_no_process():
    quick = StatementReader(command=("/nowhere",))
    assert await quick.read(file_of(*chain("111", 1)), None, "") == read_statements(
        file_of(*chain("111", 1))
    )


def reason(found: StatementFile) -> str:
    assert found.statements == ()
    [fault] = found.faults
    assert (fault.kind, fault.place) == (FaultKind.UNREADABLE, "file")
    return fault.reason


def has_ended(pid: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return False
    return True


WAITS = "import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(100)"


async def test_a_process_that_takes_too_long_is_killed(tmp_path: Path):
    file = tmp_path / "pid"
    found = await reader(WAITS, str(file), seconds_max=3.0).read(LARGE, None, "")
    assert "3 seconds" in reason(found)
    assert has_ended(int(file.read_text()))


async def test_a_cancelled_import_leaves_no_process_behind(tmp_path: Path):
    file = tmp_path / "pid"
    reading = asyncio.create_task(reader(WAITS, str(file)).read(LARGE, None, ""))
    await until(lambda: file.exists() and bool(file.read_text()))
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert has_ended(int(file.read_text()))


@pytest.mark.parametrize(
    "code",
    [
        "raise MemoryError",
        "import sys; sys.stdin.buffer.read(); sys.stdout.buffer.write(b'\\x01\\x00\\x00\\x00\\x02no')",
        "import sys; sys.stdin.buffer.read(); sys.stdout.buffer.write(b'\\x09\\x00\\x00\\x00\\x00')",
        "import sys; sys.stdin.buffer.read(); sys.stdout.buffer.write(b'\\x01\\xff\\xff\\xff\\xff')",
    ],
)
async def test_a_process_that_ends_early_or_writes_nonsense_is_a_fault_of_the_file(code):
    assert "ended early" in reason(await reader(code).read(LARGE, None, ""))


def test_the_memory_of_a_process_is_limited():
    code = (
        "import settlement_engine.app.statement_child as child, sys, io;"
        "child.MEMORY_BYTES_MAX = 512 * 1024 * 1024;"
        "child.read_statements = lambda *_: bytearray(1024 * 1024 * 1024);"
        "child.main()"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], input=b"\0\0\0\0x", capture_output=True, check=False
    )
    assert ended.returncode != 0
    assert b"MemoryError" in ended.stderr
    assert statement_child.MEMORY_BYTES_MAX <= 4 * 1024**3


def test_frames_are_slices_of_the_entries():
    file = read_statements(LARGE)
    frames = list(frames_of(file))
    per_statement = 1 + 3  # itself, and its entries in three slices
    assert len(frames) == 3 * per_statement + 2
    being_read = FileBeingRead()
    ends = [
        being_read.take(head_of_frame(each[:HEAD_BYTES])[0], each[HEAD_BYTES:]) for each in frames
    ]
    assert ends == [False] * (len(frames) - 1) + [True]
    assert being_read.file() == file


def test_a_frame_is_bounded():
    head = bytes((FrameKind.ENTRIES,)) + (FRAME_BYTES_MAX + 1).to_bytes(4, "big")
    with pytest.raises(ValueError, match="bytes"):
        head_of_frame(head)


async def test_a_process_that_ends_before_it_has_begun_is_started_again(tmp_path: Path) -> None:
    """A good file is never told unreadable because its first reader died at once."""
    mark = tmp_path / "died once"
    script = (
        "import os, pathlib, runpy, sys\n"
        "mark = pathlib.Path(sys.argv[1])\n"
        "if not mark.exists():\n"
        "    mark.touch()\n"
        "    os._exit(1)\n"
        "runpy.run_module('settlement_engine.app.statement_child', run_name='__main__')\n"
    )
    assert await reader(script, str(mark)).read(LARGE, None, "") == read_statements(LARGE)
    assert mark.exists()
