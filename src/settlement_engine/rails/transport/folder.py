"""Files to and from an operator's file connector: an outbox that we fill, an inbox that we empty.

Promises for the outbox: the connector never sees an incomplete file; a file name is used once, also if the engine
crashes or the connector has removed the file meanwhile; other content under a used name is refused. Promises for
the inbox: files are returned in the order of their arrival, a limited number at a time, and again until they are
archived; archived content is never returned again.

All calls block, so they belong in a thread. Only one process at a time may use an outbox or an inbox: the one that
holds the archive's lock (``try_lock``).

The outbox is written in three steps: (1) the file is written to the outbox under a hidden name, (2) a copy is
written to the archive, (3) the hidden file is renamed. After a crash, a copy without the hidden file shows that
step 3 was done; a copy with it shows that it was not. If the power fails after step 3, before the renaming is on
the disk, the connector can see the file a second time: with the same name and bytes, so that the operator
recognises the duplicate.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from settlement_engine.errors import Misconfigured
from settlement_engine.rails.transport.disk import Disk

if TYPE_CHECKING:
    from pathlib import Path

FILE_BYTES_MAX: Final = 33_554_432
"""The largest file in either direction."""

PICK_UP_MAX: Final = 100
"""The most files that are returned at a time."""

LISTED_MAX: Final = 100_000
"""The most files in an inbox; with more, reading it fails, so that a person finds out why."""

NAME_CHARACTERS_MAX: Final = 100
LOCK_FILE: Final = ".lock"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*", re.ASCII)
_UNFINISHED: Final = (".part", ".tmp", ".filepart")
_HIDDEN: Final = ".{}.part"


class Placing(Enum):
    """The result of placing a file into the outbox."""

    PLACED = "placed"
    WAS_PLACED = "was placed before, with the same bytes"
    REFUSED = "its name was used for other bytes: nothing was placed"
    NOT_PLACED = "proved: the connector cannot have seen it"
    UNKNOWN = "the connector may have seen it"


class Placed(msgspec.Struct, frozen=True):
    """The result of placing a file into the outbox, and the error, if there was one."""

    placing: Placing
    why: str = ""


class PickedUp(msgspec.Struct, frozen=True, kw_only=True):
    """A file of the inbox. ``sha256`` identifies its content, because a name may be used again."""

    name: str
    content: bytes
    sha256: str


class SentFile(NamedTuple):
    """A file that was placed, and when its copy was written (seconds since 1970)."""

    name: str
    at_seconds: float


class NotPickedUp(msgspec.Struct, frozen=True):
    """A file that was left in the inbox for a person, and why."""

    name: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderSettings:
    """The folders. The archive has one folder for sent files and one for received files."""

    outbox: Path
    inbox: Path
    archive: Path
    file_bytes_max: int = FILE_BYTES_MAX


class FolderTransport:
    """The outbox and the inbox of one connector."""

    def __init__(self, settings: FolderSettings, disk: Disk | None = None) -> None:
        self._settings = settings
        self._disk = disk or Disk()
        self._sent = settings.archive / "sent"
        self._received = settings.archive / "received"
        self._lock: int | None = None

    def start(self) -> None:
        """Create the archive. Raises Misconfigured if the connector's folders do not exist."""
        for folder in (self._settings.outbox, self._settings.inbox):
            if not folder.is_dir():
                what = f"there is no folder {folder}"
                raise Misconfigured(what, todo="Name the folders of the file connector.")
        for folder in (self._sent, self._received):
            folder.mkdir(parents=True, exist_ok=True)
        self._disk.sync_folder(self._settings.archive)

    def try_lock(self) -> bool:
        """Take the lock that allows the use of the folders, and keep it; False if another process holds it."""
        if self._lock is not None:
            return True
        handle = os.open(self._settings.archive / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o640)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return False
        self._lock = handle
        return True

    def unlock(self) -> None:
        """Release the lock; harmless without it. The end of the process releases it as well."""
        handle, self._lock = self._lock, None
        if handle is not None:
            os.close(handle)

    def sent_files(self, prefix: str, since_seconds: float = 0.0) -> list[SentFile]:
        """List the files that were placed since then and whose names begin so, by name. Raises OSError."""
        found: list[SentFile] = []
        with os.scandir(self._sent) as entries:
            for entry in entries:
                if not entry.name.startswith(prefix):
                    continue
                sent = SentFile(entry.name, entry.stat().st_mtime)
                if sent.at_seconds >= since_seconds:
                    found.append(sent)
                if len(found) > LISTED_MAX:
                    message = f"{self._sent} has more than {LISTED_MAX} such files"
                    raise OSError(message)
        return sorted(found, key=lambda each: each.name)

    def sent_content(self, name: str) -> bytes:
        """Return the bytes of a file that was placed. Raises OSError."""
        _check_name(name)
        return (self._sent / name).read_bytes()

    # --- outbox -------------------------------------------------------------------------------------

    def place(self, name: str, content: bytes) -> Placed:
        """Put a file into the outbox, at most once. Raises ValueError for an invalid name or size."""
        _check_name(name)
        if len(content) > self._settings.file_bytes_max:
            message = f"the file has more than {self._settings.file_bytes_max} bytes"
            raise ValueError(message)
        hidden = self._settings.outbox / _HIDDEN.format(name)
        try:
            before = self._before(name, content, hidden)
            if before is not None:
                return before
            self._prepare(name, content, hidden)
        except OSError as error:
            return Placed(Placing.NOT_PLACED, str(error))
        return self._show(hidden, self._settings.outbox / name)

    def _before(self, name: str, content: bytes, hidden: Path) -> Placed | None:
        """Return the result of an earlier call for this file; None if the file still has to be placed."""
        copy = self._sent / name
        if not copy.exists():
            return None
        if copy.read_bytes() != content:
            return Placed(Placing.REFUSED)
        return None if hidden.exists() else Placed(Placing.WAS_PLACED)

    def _prepare(self, name: str, content: bytes, hidden: Path) -> None:
        """Carry out steps 1 and 2, which may be repeated after a crash."""
        self._disk.write(hidden, content)
        self._disk.sync_folder(self._settings.outbox)
        draft = self._sent / _HIDDEN.format(name)
        self._disk.write(draft, content)
        self._disk.move(draft, self._sent / name)
        self._disk.sync_folder(self._sent)

    def _show(self, hidden: Path, shown: Path) -> Placed:
        try:
            self._disk.move(hidden, shown)
        except OSError as error:
            is_hidden_still = hidden.exists()
            return Placed(Placing.NOT_PLACED if is_hidden_still else Placing.UNKNOWN, str(error))
        try:
            self._disk.sync_folder(shown.parent)
        except OSError as error:
            return Placed(Placing.UNKNOWN, str(error))
        return Placed(Placing.PLACED)

    # --- inbox --------------------------------------------------------------------------------------

    def pick_up(self, limit: int = PICK_UP_MAX) -> tuple[list[PickedUp], list[NotPickedUp]]:
        """Return the oldest files, and those that cannot be read. Only archived duplicates are moved.

        Raises OSError when the inbox cannot be read.
        """
        found: list[PickedUp] = []
        left: list[NotPickedUp] = []
        for path in self._arrived():
            if len(found) == min(limit, PICK_UP_MAX):
                break
            read = self._read(path)
            if isinstance(read, NotPickedUp):
                left.append(read)
            elif self._is_archived(read):
                self.archive(read)
            else:
                found.append(read)
        return found, left

    def archive(self, file: PickedUp) -> None:
        """Move a file from the inbox to the archive, after it was stored. May be repeated. Raises OSError."""
        source = self._settings.inbox / file.name
        if not source.exists():
            return
        read = self._read(source)
        if isinstance(read, PickedUp) and read.sha256 != file.sha256:
            return  # another file came under this name meanwhile: it is still to be picked up
        self._disk.move(source, self._archived_as(file))
        self._disk.sync_folder(self._received)
        self._disk.sync_folder(self._settings.inbox)

    def _arrived(self) -> list[Path]:
        """List complete files, oldest first; files of the same time are in the order of their names."""
        arrived: list[tuple[int, str, Path]] = []
        for path in self._settings.inbox.iterdir():
            if path.name.startswith(".") or path.name.endswith(_UNFINISHED):
                continue
            if path.is_file() and not path.is_symlink():
                arrived.append((path.stat().st_mtime_ns, path.name, path))
            if len(arrived) > LISTED_MAX:
                message = f"{self._settings.inbox} has more than {LISTED_MAX} files"
                raise OSError(message)
        return [path for _, _, path in sorted(arrived)]

    def _read(self, path: Path) -> PickedUp | NotPickedUp:
        most = self._settings.file_bytes_max
        try:
            with path.open("rb") as file:
                content = file.read(most + 1)
        except OSError as error:
            return NotPickedUp(path.name, str(error))
        if len(content) > most:
            return NotPickedUp(path.name, f"it has more than {most} bytes")
        digest = hashlib.sha256(content).hexdigest()
        return PickedUp(name=path.name, content=content, sha256=digest)

    def _is_archived(self, file: PickedUp) -> bool:
        return self._archived_as(file).exists()

    def _archived_as(self, file: PickedUp) -> Path:
        # By the content only: the same content under another name is the same message.
        return self._received / file.sha256


def _check_name(name: str) -> None:
    is_good = len(name) <= NAME_CHARACTERS_MAX and _NAME.fullmatch(name) is not None
    if not is_good or name.endswith(_UNFINISHED):
        message = "the name of a file has letters, digits, dots, hyphens, and no ending of a draft"
        raise ValueError(message)
