"""The short directory of PostgreSQL's Unix socket.

A socket's path may have 107 bytes, and PostgreSQL reads the setting as a list, so that neither a deep data
directory nor one with a space in its name is possible. The directory's path is noted next to the data: the one
that a killed process left behind is reused by the next process, and then removed.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from settlement_engine.embedded import files
from settlement_engine.embedded.errors import EmbeddedServerError
from settlement_engine.embedded.process import UNPRIVILEGED_ID, LaunchMode

if TYPE_CHECKING:
    from collections.abc import Sequence

PREFIX: Final = "settlement-"
# $TMPDIR comes last: it may be too long, and not accessible to the server's user.
PARENTS: Final[Sequence[Path]] = (Path("/tmp"), Path("/var/tmp"))  # noqa: S108  made by mkdtemp


class SocketDirectory:
    """A private temporary directory whose path is noted in the file ``note``."""

    def __init__(self, note: Path) -> None:
        self._note = note
        self._path: Path | None = None

    @property
    def path(self) -> Path:
        """The directory, while it exists. Raises EmbeddedServerError before it was created."""
        if self._path is None:
            raise EmbeddedServerError(
                "There is no socket directory.",
                why="it lives only while the server runs",
                todo="call start() first",
            )
        return self._path

    def make(self, mode: LaunchMode) -> Path:
        """Return the directory, created if necessary and owned by the server's user."""
        self._path = self._path or self._remembered()
        if self._path is None or not self._path.is_dir():
            self._path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=_parent()))
            files.write_private(self._note, str(self._path))
        if mode is LaunchMode.DROP:
            os.chown(self._path, UNPRIVILEGED_ID, UNPRIVILEGED_ID)
        return self._path

    def remove(self) -> None:
        """Remove the directory that this object created, and the note."""
        if self._path is not None:
            shutil.rmtree(self._path, ignore_errors=True)
            self._note.unlink(missing_ok=True)
            self._path = None

    def _remembered(self) -> Path | None:
        """Return the noted directory if only we can have created it."""
        try:
            path = Path(self._note.read_text(encoding="utf-8").strip())
            status = path.lstat()
        except OSError:
            return None
        is_ours = status.st_uid in {os.geteuid(), UNPRIVILEGED_ID}
        is_private = path.is_dir() and not path.is_symlink() and not status.st_mode & 0o077
        return path if path.name.startswith(PREFIX) and is_ours and is_private else None


def _parent() -> Path:
    for parent in PARENTS:
        if parent.is_dir() and os.access(parent, os.W_OK | os.X_OK):
            return parent
    return Path(tempfile.gettempdir())
