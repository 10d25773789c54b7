"""The files of a data directory that belong to this component: the lock, the password, the log.

Promises: two supervisors never share a directory; a password file is complete or absent, and readable by us
only; a log stays below a limit. It must never change the permissions of a directory that existed before.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
from typing import TYPE_CHECKING, Final

from settlement_engine.embedded.errors import EmbeddedServerError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import IO

PRIVATE_FILE: Final = 0o600
PRIVATE_DIRECTORY: Final = 0o700
PASSWORD_BYTES: Final = 32
# One older file of the same size is kept.
LOG_BYTES_MAX: Final = 64 * 1024 * 1024
COMPLAINT_BYTES_MAX: Final = 2000
EXECUTE_BIT: Final = 0o1


class DirectoryLock:
    """The lock on a directory; the kernel releases it when its holder dies.

    Acquiring or releasing twice is allowed.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / "lock"
        self._file: IO[str] | None = None

    @property
    def is_held(self) -> bool:
        """Whether this object holds the lock."""
        return self._file is not None

    def acquire(self) -> None:
        """Acquire the lock, or raise at once when another process holds it."""
        if self._file is None:
            self._path.parent.mkdir(mode=PRIVATE_DIRECTORY, parents=True, exist_ok=True)
            self._file = self._locked()

    def release(self) -> None:
        """Release the lock."""
        if self._file is not None:
            self._file.close()
            self._file = None

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock during the block, and release it unless it was held before."""
        was_held = self.is_held
        self.acquire()
        try:
            yield
        finally:
            if not was_held:
                self.release()

    def _locked(self) -> IO[str]:
        file = self._path.open("a+", encoding="ascii")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            file.close()
            raise EmbeddedServerError(
                f"The data directory {self._path.parent} is in use.",
                why=f"process {holder} keeps its servers there",
                todo="stop that process, or choose another data directory",
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        return file


def write_private(path: Path, text: str) -> None:
    """Write a file that only we may read; a crash never leaves a partial file."""
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable (fsync)."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def password_in(path: Path) -> str:
    """Return the password kept at ``path``, creating a random one the first time.

    It consists of letters, digits, ``-`` and ``_``, so that it needs no escaping in a URL or a
    configuration file.
    """
    with contextlib.suppress(FileNotFoundError):
        # A backup or a copy may have widened the permissions.
        path.chmod(PRIVATE_FILE)
        return path.read_text(encoding="ascii").strip()
    password = secrets.token_urlsafe(PASSWORD_BYTES)
    write_private(path, password + "\n")
    return password


def bound_log(path: Path) -> None:
    """Rotate a log that has grown beyond its limit.

    The server keeps its file open, so the text is copied and the file truncated; what the server writes in
    between is lost, which is acceptable for a development log.
    """
    if path.exists() and path.stat().st_size > LOG_BYTES_MAX:
        older = path.with_name(f"{path.name}.1")
        older.touch(mode=PRIVATE_FILE)
        shutil.copyfile(path, older)
        os.truncate(path, 0)


def open_log(path: Path) -> IO[bytes]:
    """Open a log for appending, by us and by the server alike."""
    bound_log(path)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    file = os.fdopen(os.open(path, flags, PRIVATE_FILE), "ab")
    file.seek(0, os.SEEK_END)
    return file


def read_from(path: Path, offset: int) -> str:
    """Return the end of a log, from ``offset`` on and of limited length."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(offset, size - COMPLAINT_BYTES_MAX))
        return file.read().decode("utf-8", errors="replace").strip()


def give_to(directory: Path, uid: int, gid: int) -> None:
    """Change the owner of a directory and its content, never following a symbolic link."""
    os.chown(directory, uid, gid)
    for parent, directories, files in os.walk(directory):
        for name in (*directories, *files):
            os.chown(os.path.join(parent, name), uid, gid, follow_symlinks=False)  # noqa: PTH118


def first_unreachable(path: Path, uid: int, gids: frozenset[int]) -> Path | None:
    """Return the highest directory on the way to ``path`` that the user may not enter, if any.

    It reads the permission bits, for a user without root's privilege of ignoring them.
    """
    for directory in (*reversed(path.parents), path):
        status = directory.stat()
        is_owner, is_member = status.st_uid == uid, status.st_gid in gids
        shift = 6 if is_owner else 3 if is_member else 0
        if not (status.st_mode >> shift) & EXECUTE_BIT:
            return directory
    return None
