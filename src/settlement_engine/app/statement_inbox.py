"""The watched folder of statement files: each complete file is imported, and then moved.

Promises: a file is moved only after its import was complete, so that after a kill it is imported again, which
changes nothing; one that cannot be used is moved to ``problems``, with the reasons in a file beside it. One engine at
a time works on a folder. Must never: move a file that is not the one that was imported, follow a link, or delete.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import stat
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
import structlog

from settlement_engine.domain.statement_import import FILE_BYTES_MAX, ReceivedFile
from settlement_engine.errors import (
    Contention,
    Misconfigured,
    SettlementEngineError,
    Unavailable,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from settlement_engine.domain.statement_import import ImportedStatement
    from settlement_engine.ports import StatementImporter

LOOK_SECONDS: Final = 5.0
FILES_AT_ONCE: Final = 100
"""The most files that one look imports; the others wait for the next."""

LISTED_MAX: Final = 10_000
"""The most names of the folder that one look reads."""

WHO: Final = "statement-inbox"
LOCK_FILE: Final = ".lock"
MOVING: Final = ".moving-"
UNFINISHED: Final = (".tmp", ".part", ".partial", ".filepart", ".crdownload")
"""Endings under which programs write a file before they rename it."""

NAME_BYTES_MAX: Final = 160
"""The end of a name that is kept; its file may have 255 bytes, and what is put before and behind it needs room."""

REASONS_MAX: Final = 1_000
LOST: Final = frozenset({"UNREADABLE", "WRONG_CONTAINER", "UNKNOWN_ACCOUNT", "WRONG_CURRENCY"})
"""Outcomes of statements that were not kept: a person has to look at the file."""

log: Final[structlog.typing.FilteringBoundLogger] = structlog.get_logger(__name__)


class _Seen(NamedTuple):
    """How a file looked: it is complete when it looks the same twice."""

    inode: int
    size_bytes: int
    changed_ns: int


class _Reason(msgspec.Struct, frozen=True):
    """A line of the file with the reasons."""

    place: str
    outcome: str
    reason: str


class StatementInbox:
    """Looks into one folder until it is cancelled."""

    def __init__(
        self,
        folder: Path,
        importer: StatementImporter,
        count: Callable[[str], None],
        csv_mapping: str = "",
    ) -> None:
        self._folder = folder
        self._archive, self._problems = folder / "archive", folder / "problems"
        self._importer = importer
        self._count = count
        self._csv_mapping = csv_mapping
        self._seen: dict[str, _Seen] = {}
        self._lock: int | None = None

    def prepare(self) -> None:
        """Create the folders beside it. Raises Misconfigured if it does not exist, or cannot be written to."""
        if not self._folder.is_dir():
            what = f"there is no folder {self._folder}"
            raise Misconfigured(what, todo="Create the folder of reconciliation.inbox_dir.")
        try:
            for folder in (self._archive, self._problems):
                folder.mkdir(exist_ok=True)
        except OSError as error:
            what = f"{self._folder} cannot be written to"
            raise Misconfigured(what, why=error.strerror or "") from error

    async def run(self) -> None:
        """Look again and again."""
        while True:
            try:
                await self.look()
            except (SettlementEngineError, OSError) as error:
                log.warning("statement_inbox_not_looked_at", why=str(error))
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Look once: import the files that look as they did at the last look, and move them."""
        if not await asyncio.to_thread(self._try_lock):
            return
        for name in await asyncio.to_thread(self._complete):
            await self._take(name)

    def close(self) -> None:
        """Let another engine work on the folder."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _try_lock(self) -> bool:
        """Take the lock, and put back what a dead engine was moving; False while another engine has it."""
        if self._lock is not None:
            return True
        handle = os.open(self._folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return False
        self._lock = handle
        for folder in (self._archive, self._problems):
            for path in islice(folder.glob(f"{MOVING}*"), LISTED_MAX):
                self._put_back(path, path.name.removeprefix(MOVING))
        return True

    def _put_back(self, path: Path, name: str) -> None:
        with suppress(FileExistsError):
            os.link(path, self._folder / name)
            path.unlink()

    def _complete(self) -> list[str]:
        """List the files that have not changed since the last look, the oldest first."""
        seen: dict[str, _Seen] = {}
        with os.scandir(self._folder) as entries:
            for entry in islice(entries, LISTED_MAX):
                name = entry.name
                if name.startswith(".") or name.lower().endswith(UNFINISHED):
                    continue
                with suppress(FileNotFoundError):
                    found = entry.stat(follow_symlinks=False)
                    if stat.S_ISREG(found.st_mode):
                        seen[name] = _Seen(found.st_ino, found.st_size, found.st_mtime_ns)
        complete = [name for name, each in seen.items() if self._seen.get(name) == each]
        self._seen = seen
        return sorted(complete, key=lambda name: (seen[name].changed_ns, name))[:FILES_AT_ONCE]

    async def _take(self, name: str) -> None:
        content = await asyncio.to_thread(self._read, name)
        if content is None:
            return
        if len(content) > FILE_BYTES_MAX:
            reason = _Reason("file", "UNREADABLE", f"has more than {FILE_BYTES_MAX:,} bytes")
            await self._finish(name, content, [reason])
            return
        is_csv = name.lower().endswith(".csv")
        file = await asyncio.to_thread(
            ReceivedFile,
            name=_readable(name),
            content=content,
            who=WHO,
            csv_mapping=self._csv_mapping if is_csv else "",
        )
        try:
            imported = await self._importer.import_file(file)
        except (Unavailable, Contention) as error:
            log.warning("statement_file_waits", file=name, why=error.why or error.what)
            return  # it stays where it is
        except SettlementEngineError as error:
            why = f"{error.what}: {error.why}" if error.why else error.what
            await self._finish(name, content, [_Reason("file", "UNREADABLE", why)])
            return
        await self._finish(name, content, _reasons(imported))

    def _read(self, name: str) -> bytes | None:
        """Read a file, with one byte more than it may have; None if it is gone or is no file."""
        try:
            handle = os.open(self._folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return None
        with os.fdopen(handle, "rb") as file:
            return file.read(FILE_BYTES_MAX + 1)

    async def _finish(self, name: str, content: bytes, reasons: Sequence[_Reason]) -> None:
        """Move a file, with the reasons beside it if there are any."""
        moved = await asyncio.to_thread(self._move, name, content, reasons)
        if moved:
            self._seen.pop(name, None)
            self._count("problem" if reasons else "archived")
            log.info("statement_file_imported", file=name, problems=len(reasons))

    def _move(self, name: str, content: bytes, reasons: Sequence[_Reason]) -> bool:
        """Move the file if it is still the one that was imported; its new name begins with its hash."""
        digest = hashlib.sha256(content).hexdigest()
        folder = self._problems if reasons else self._archive
        target = folder / f"{digest[:12]}-{_readable(name)}"
        if reasons:
            lines = b"".join(msgspec.json.encode(each) + b"\n" for each in reasons)
            _write(target.with_name(f"{target.name}.reason.jsonl"), lines)
        hidden = folder / f"{MOVING}{_readable(name)}"
        try:
            (self._folder / name).rename(hidden)
        except FileNotFoundError:
            return False
        if self._is_same(hidden, content):
            hidden.rename(target)
            return True
        # Its sender has replaced it meanwhile: it is imported at the next look.
        self._put_back(hidden, name)
        return False

    def _is_same(self, path: Path, content: bytes) -> bool:
        with path.open("rb") as file:
            return file.read(FILE_BYTES_MAX + 1) == content


def _readable(name: str) -> str:
    """Return a file's name without what nobody sees or no text can hold, and not too long for another name."""
    seen = "".join(each if each.isprintable() else "?" for each in name)
    return seen.encode("utf-8", "replace")[-NAME_BYTES_MAX:].decode("utf-8", "ignore")


def _reasons(imported: Sequence[ImportedStatement]) -> list[_Reason]:
    lost = (each for each in imported if each.outcome in LOST)
    return [_Reason(each.place, each.outcome, each.reason) for each in islice(lost, REASONS_MAX)]


def _write(path: Path, content: bytes) -> None:
    """Write a file in one step."""
    hidden = path.with_name(f".{path.name}.tmp")
    with hidden.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    hidden.rename(path)
