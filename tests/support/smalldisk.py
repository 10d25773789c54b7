"""A small disk that tests fill completely: a tmpfs mount, if the machine allows one.

Promises: it is always unmounted again. If mounting is forbidden (no root, a hardened container), it
raises an error, for a skip with a reason.
"""

from __future__ import annotations

import contextlib
import errno
import subprocess
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BALLAST: Final = "ballast"
CHUNK: Final = bytes(64 * 1024)
MOUNT_SECONDS: Final = 10.0


class CannotMount(Exception):
    """The machine does not allow mounting."""


class SmallDisk:
    """A mounted tmpfs."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def fill(self) -> None:
        """Fill the disk completely."""
        with (self.path / BALLAST).open("ab", buffering=0) as file:
            for size in (len(CHUNK), 4096, 1):
                with contextlib.suppress(OSError):
                    while file.write(CHUNK[:size]) == size:
                        pass
        assert self.is_full

    @property
    def is_full(self) -> bool:
        """Return whether nothing can be written."""
        try:
            with (self.path / "probe").open("wb", buffering=0) as file:
                file.write(b"x")
        except OSError as error:
            return error.errno == errno.ENOSPC
        finally:
            (self.path / "probe").unlink(missing_ok=True)
        return False

    def free(self) -> None:
        """Free the space again."""
        (self.path / BALLAST).unlink()


@contextlib.contextmanager
def small_disk(path: Path, megabytes: int) -> Iterator[SmallDisk]:
    """Mount a disk of that size for the length of the block. Raises CannotMount."""
    path.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0755", "none", str(path)]
    done = _run(command)
    if done.returncode != 0:
        raise CannotMount(done.stderr.decode().strip())
    try:
        yield SmallDisk(path)
    finally:
        _run(["umount", "--lazy", str(path)])


def _run(command: list[str]) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(command, capture_output=True, timeout=MOUNT_SECONDS, check=False)
    except FileNotFoundError as error:
        raise CannotMount(str(error)) from error
