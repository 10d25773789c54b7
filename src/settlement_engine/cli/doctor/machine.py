"""Checks of the machine: Python, programs, disk, namespaces, time, locale."""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from settlement_engine.cli.doctor.finding import Finding, bad, good, warn

if TYPE_CHECKING:
    from collections.abc import Iterator

PYTHON_MIN: Final = (3, 11)
LIBRARIES: Final = ("asyncpg", "grpcio", "nats-py", "protobuf", "pydantic", "pydantic-settings")
GIBIBYTE: Final = 1024**3
DISK_FREE_MIN: Final = 1 * GIBIBYTE
SHARED_MEMORY: Final = "/dev/shm"  # noqa: S108 -- looked at, not written to
SHARED_MEMORY_MIN: Final = 64 * 1024**2
FSYNCS: Final = 20
FSYNC_SLOW_SECONDS: Final = 0.02
BUILT_AT: Final = 1_767_225_600.0
"""The first of January 2026: no honest clock is earlier."""

CLOCK_TURNED_SECONDS: Final = 2.0
ZONES: Final = ("Asia/Dubai", "Asia/Kolkata", "Europe/Berlin", "Europe/London", "America/New_York")


def check_machine(data_dir: Path) -> Iterator[Finding]:
    """Look at everything that needs no configuration."""
    yield _python()
    yield _libraries()
    yield from _data_dir(data_dir)
    yield _shared_memory()
    if os.geteuid() == 0:
        yield _namespaces(data_dir)
    yield _zones()
    yield _locale()
    yield _clock()


def _python() -> Finding:
    found = ".".join(str(part) for part in sys.version_info[:3])
    if sys.version_info[:2] < PYTHON_MIN:
        return bad("Python", f"{found} is too old", "Install Python 3.11 or newer.")
    if not __debug__:
        return bad("Python", "assertions are switched off", "Run without -O and PYTHONOPTIMIZE.")
    return good("Python", found)


def _libraries() -> Finding:
    missing: list[str] = []
    for name in LIBRARIES:
        try:
            version(name)
        except PackageNotFoundError:
            missing.append(name)
    if missing:
        return bad("libraries", f"missing: {', '.join(missing)}", "make setup")
    return good("libraries", "all installed")


def _standing(directory: Path) -> Path:
    return next(path for path in (directory, *directory.parents) if path.is_dir())


def _data_dir(data_dir: Path) -> Iterator[Finding]:
    """Look at the disk under the data directory; where nothing can be written there is none to judge."""
    where = _standing(data_dir)
    try:
        with tempfile.TemporaryFile(dir=where):
            pass
    except OSError as error:
        todo = "Choose a --data-dir that you may write to."
        yield bad("data directory", f"{where} cannot be written: {error.strerror}", todo)
        return
    yield _disk(where)
    yield _fsync(where)


def _disk(where: Path) -> Finding:
    free = shutil.disk_usage(where).free
    text = f"{free / GIBIBYTE:.1f} GiB free at {where}"
    if free < DISK_FREE_MIN:
        return bad("disk", text, "Free some space, or choose another --data-dir.")
    return good("disk", text)


def _fsync(where: Path) -> Finding:
    took: list[float] = []
    try:
        with tempfile.TemporaryFile(dir=where) as file:
            for _ in range(FSYNCS):
                file.write(b"x" * 8192)
                file.flush()
                began = time.perf_counter()
                os.fsync(file.fileno())
                took.append(time.perf_counter() - began)
    except OSError as error:
        return bad("fsync", f"{where}: {error.strerror}", "Choose another --data-dir.")
    middle = statistics.median(took)
    text = f"{middle * 1000:.2f} ms, {1 / max(middle, 1e-9):,.0f} a second at {where}"
    if middle > FSYNC_SLOW_SECONDS:
        return warn("fsync", text, "Put the data directory on a faster disk.")
    return good("fsync", text)


def _shared_memory() -> Finding:
    try:
        total = shutil.disk_usage(SHARED_MEMORY).total
    except OSError:
        return warn(SHARED_MEMORY, "there is none", "The embedded PostgreSQL will use mmap.")
    text = f"{total / GIBIBYTE:.1f} GiB"
    if total < SHARED_MEMORY_MIN:
        return warn(SHARED_MEMORY, text, "docker run --shm-size=256m")
    return good(SHARED_MEMORY, text)


def _namespaces(data_dir: Path) -> Finding:
    """Look whether root's PostgreSQL finds a user to run as, who can reach the data."""
    from settlement_engine.embedded.process import choose_mode, namespaces_work, obstacle

    title = "user namespaces"
    closed = obstacle(_standing(data_dir), choose_mode())
    if closed is not None:
        todo = "Keep the data directory where everybody may pass, such as /var/tmp."
        return bad(title, f"the embedded PostgreSQL's user cannot pass {closed}", todo)
    if namespaces_work():
        return good(title, "root can start the embedded PostgreSQL in one")
    return good(title, "forbidden here; the embedded PostgreSQL runs as nobody instead")


def _zones() -> Finding:
    try:
        for zone in ZONES:
            ZoneInfo(zone)
    except ZoneInfoNotFoundError as error:
        return bad("time zones", f"{error.args[0]}", "pip install tzdata")
    return good("time zones", f"{len(ZONES)} of the settlement windows found")


def _locale() -> Finding:
    encoding = (sys.stdout.encoding or "").lower()
    if encoding.replace("-", "") != "utf8":
        return warn(
            "locale", f"the terminal speaks {encoding or 'nothing'}", "export LC_ALL=C.UTF-8"
        )
    return good("locale", encoding)


def _clock() -> Finding:
    now = time.time()
    with tempfile.NamedTemporaryFile() as file:
        drift = abs(Path(file.name).stat().st_mtime - now)
    if now < BUILT_AT or drift > CLOCK_TURNED_SECONDS:
        year = time.gmtime(now).tm_year
        return bad(
            "clock", f"it says {year} and is {drift:.0f} s off the file system's", "timedatectl"
        )
    return good("clock", time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now)))
