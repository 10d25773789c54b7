"""The disk operations on which the promises of the folders depend; each is atomic or repeatable.

Promises: after ``write`` and ``sync_folder`` returned, a file is there after a power cut; ``move`` is atomic
within a file system. A test that stops at each step replaces this class, and nothing else touches the disk.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

PRIVATE_FILE_MODE = 0o640


class Disk:
    """The real disk."""

    def write(self, path: Path, content: bytes) -> None:
        """Write a whole file and flush it to the disk; an existing file is replaced."""
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE_FILE_MODE)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())

    def move(self, source: Path, target: Path) -> None:
        """Give a file another name in one step."""
        source.rename(target)

    def sync_folder(self, folder: Path) -> None:
        """Force the names in a folder to the disk."""
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
