"""Starts the file system of ``powercut.py`` and cuts its power."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

DEVICE: Final = Path("/dev/fuse")
TOP: Final = Path(__file__).parents[2]
WORD_SECONDS: Final = 20.0
END_SECONDS: Final = 10.0


class NoPowerCut(Exception):
    """The machine does not allow us to use FUSE."""


class PowerPlug:
    """A mounted file system, and the process that serves it."""

    def __init__(self, path: Path, process: subprocess.Popen[str]) -> None:
        self.path = path
        self._process = process

    def pull(self) -> None:
        """Cut the power: what was not forced to disk is lost. The programs that use it must be dead."""
        self._process.send_signal(signal.SIGUSR1)
        _await(self._process, "cut")


def _await(process: subprocess.Popen[str], word: str) -> None:
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], WORD_SECONDS)
    said = process.stdout.readline().strip() if ready else "nothing"
    if said != word:
        process.kill()
        raise NoPowerCut(process.communicate()[1].strip().rpartition("\n")[2] or said)


@contextlib.contextmanager
def power_plug(backing: Path, mount_point: Path) -> Iterator[PowerPlug]:
    """Serve ``backing`` under ``mount_point`` for the length of the block. Raises NoPowerCut."""
    if os.geteuid() != 0 or not DEVICE.exists():
        raise NoPowerCut("it takes root and /dev/fuse")
    backing.mkdir(parents=True, exist_ok=True)
    mount_point.mkdir(parents=True)
    command = [sys.executable, "-m", "tests.support.powercut", str(backing), str(mount_point)]
    process = subprocess.Popen(
        command, cwd=TOP, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        _await(process, "mounted")
        yield PowerPlug(mount_point, process)
    finally:
        unmount = ["umount", "--lazy", str(mount_point)]
        subprocess.run(unmount, capture_output=True, timeout=END_SECONDS, check=False)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(END_SECONDS)
        process.kill()
        process.communicate()
