"""The few files of a data directory that are ours: the lock, the password, the log.

They promise that two supervisors never share a directory, that a password file is whole or absent
and ours alone to read, and that a log stays below a bound. Nothing here changes the permissions of
a directory that was there before us.
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
# One older file of the same size is kept beside it.
LOG_BYTES_MAX: Final = 64 * 1024 * 1024
COMPLAINT_BYTES_MAX: Final = 2000
EXECUTE_BIT: Final = 0o1


class DirectoryLock:
    """Whoever holds it owns the directory; the kernel takes it back when the holder dies.

    Taking twice and giving back twice are fine.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / "lock"
        self._file: IO[str] | None = None

    @property
    def is_held(self) -> bool:
        """Whether this object has the directory."""
        return self._file is not None

    def acquire(self) -> None:
        """Take the directory, or refuse at once when somebody else has it."""
        if self._file is None:
            self._path.parent.mkdir(mode=PRIVATE_DIRECTORY, parents=True, exist_ok=True)
            self._file = self._locked()

    def release(self) -> None:
        """Give the directory back."""
        if self._file is not None:
            self._file.close()
            self._file = None

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Have the directory for a while, and give it back unless it was held before."""
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
    """Write a file that only we may read, so that a crash never leaves half of one."""
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
    """Make the names in a directory durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def password_in(path: Path) -> str:
    """Return the password kept at ``path``, making a random one the first time.

    It is made of letters, digits, ``-`` and ``_``, so that it stands in a URL or a configuration
    file as it is.
    """
    with contextlib.suppress(FileNotFoundError):
        # A backup or a copy may have widened it.
        path.chmod(PRIVATE_FILE)
        return path.read_text(encoding="ascii").strip()
    password = secrets.token_urlsafe(PASSWORD_BYTES)
    write_private(path, password + "\n")
    return password


def bound_log(path: Path) -> None:
    """Set a log that has grown too long aside.

    The server keeps its file open, so the text is copied and the file cut; what the server writes
    between the two is lost, which a development log can bear.
    """
    if path.exists() and path.stat().st_size > LOG_BYTES_MAX:
        older = path.with_name(f"{path.name}.1")
        older.touch(mode=PRIVATE_FILE)
        shutil.copyfile(path, older)
        os.truncate(path, 0)


def open_log(path: Path) -> IO[bytes]:
    """Open a log to be written at its end, by us and by the server alike."""
    bound_log(path)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    file = os.fdopen(os.open(path, flags, PRIVATE_FILE), "ab")
    file.seek(0, os.SEEK_END)
    return file


def read_from(path: Path, offset: int) -> str:
    """Return the last words of a log, beginning at ``offset`` at the earliest."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(offset, size - COMPLAINT_BYTES_MAX))
        return file.read().decode("utf-8", errors="replace").strip()


def give_to(directory: Path, uid: int, gid: int) -> None:
    """Change the owner of a directory and of all in it, never following a link out of it."""
    os.chown(directory, uid, gid)
    for parent, directories, files in os.walk(directory):
        for name in (*directories, *files):
            os.chown(os.path.join(parent, name), uid, gid, follow_symlinks=False)  # noqa: PTH118


def first_unreachable(path: Path, uid: int, gids: frozenset[int]) -> Path | None:
    """Return the highest directory on the way to ``path`` that the user may not pass, if any.

    Asked of the permission bits, for a user without root's privilege of ignoring them.
    """
    for directory in (*reversed(path.parents), path):
        status = directory.stat()
        is_owner, is_member = status.st_uid == uid, status.st_gid in gids
        shift = 6 if is_owner else 3 if is_member else 0
        if not (status.st_mode >> shift) & EXECUTE_BIT:
            return directory
    return None
