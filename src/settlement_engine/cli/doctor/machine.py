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

from settlement_engine.cli.doctor.finding import DoctorFinding, bad, good, warn

if TYPE_CHECKING:
    from collections.abc import Iterator

PYTHON_MIN: Final = (3, 11)
LIBRARIES: Final = ("asyncpg", "grpcio", "nats-py", "protobuf", "pydantic", "pydantic-settings")
GIBIBYTE: Final = 1024**3
DISK_FREE_MIN: Final = 1 * GIBIBYTE
SHARED_MEMORY: Final = "/dev/shm"  # noqa: S108 -- read, never written
SHARED_MEMORY_MIN: Final = 64 * 1024**2
FSYNCS: Final = 20
FSYNC_SLOW_SECONDS: Final = 0.02
BUILT_AT: Final = 1_767_225_600.0
"""The first of January 2026: a correct clock is never earlier."""

CLOCK_TURNED_SECONDS: Final = 2.0
ZONES: Final = ("Asia/Dubai", "Asia/Kolkata", "Europe/Berlin", "Europe/London", "America/New_York")


def check_machine(data_dir: Path) -> Iterator[DoctorFinding]:
    """Check everything that needs no configuration."""
    yield _python()
    yield _libraries()
    yield from _data_dir(data_dir)
    yield _shared_memory()
    if os.geteuid() == 0:
        yield _namespaces(data_dir)
    yield _zones()
    yield _locale()
    yield _clock()


def _python() -> DoctorFinding:
    found = ".".join(str(part) for part in sys.version_info[:3])
    if sys.version_info[:2] < PYTHON_MIN:
        return bad("Python", f"{found} is too old", "Install Python 3.11 or newer.")
    if not __debug__:
        return bad(
            "Python",
            "assertions are switched off",
            "Start Python without -O, and unset PYTHONOPTIMIZE.",
        )
    return good("Python", found)


def _libraries() -> DoctorFinding:
    missing: list[str] = []
    for name in LIBRARIES:
        try:
            version(name)
        except PackageNotFoundError:
            missing.append(name)
    if missing:
        return bad("libraries", f"missing: {', '.join(missing)}", "Install them: make setup.")
    return good("libraries", "all installed")


def _standing(directory: Path) -> Path:
    return next(path for path in (directory, *directory.parents) if path.is_dir())


def _data_dir(data_dir: Path) -> Iterator[DoctorFinding]:
    """Check the disk of the data directory, if the directory is writable."""
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


def _disk(where: Path) -> DoctorFinding:
    free = shutil.disk_usage(where).free
    text = f"{free / GIBIBYTE:.1f} GiB free at {where}"
    if free < DISK_FREE_MIN:
        return bad("disk", text, "Free some space, or choose another --data-dir.")
    return good("disk", text)


def _fsync(where: Path) -> DoctorFinding:
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


def _shared_memory() -> DoctorFinding:
    try:
        total = shutil.disk_usage(SHARED_MEMORY).total
    except OSError:
        todo = "Nothing: the embedded PostgreSQL will use mmap."
        return warn(SHARED_MEMORY, "does not exist", todo)
    text = f"{total / GIBIBYTE:.1f} GiB"
    if total < SHARED_MEMORY_MIN:
        return warn(SHARED_MEMORY, text, "Make it larger, for example docker run --shm-size=256m.")
    return good(SHARED_MEMORY, text)


def _namespaces(data_dir: Path) -> DoctorFinding:
    """Check that root can run the embedded PostgreSQL as another user who can read the data."""
    from settlement_engine.app.development.programs import closed_to_postgres, has_namespaces

    title = "user namespaces"
    closed = closed_to_postgres(_standing(data_dir))
    if closed is not None:
        todo = "Choose a data directory that all users can reach, for example below /var/tmp."
        return bad(title, f"the embedded PostgreSQL's user has no access to {closed}", todo)
    if has_namespaces():
        return good(title, "available; root can start the embedded PostgreSQL in one")
    return good(title, "not permitted here; the embedded PostgreSQL runs as user nobody")


def _zones() -> DoctorFinding:
    try:
        for zone in ZONES:
            ZoneInfo(zone)
    except ZoneInfoNotFoundError as error:
        return bad("time zones", f"{error.args[0]}", "Install them: pip install tzdata.")
    return good("time zones", f"all {len(ZONES)} of the settlement windows found")


def _locale() -> DoctorFinding:
    encoding = (sys.stdout.encoding or "").lower()
    if encoding.replace("-", "") != "utf8":
        return warn(
            "locale",
            f"the terminal's encoding is {encoding or 'unknown'}, not UTF-8",
            "Set it: export LC_ALL=C.UTF-8.",
        )
    return good("locale", encoding)


def _clock() -> DoctorFinding:
    now = time.time()
    with tempfile.NamedTemporaryFile() as file:
        drift = abs(Path(file.name).stat().st_mtime - now)
    if now < BUILT_AT or drift > CLOCK_TURNED_SECONDS:
        year = time.gmtime(now).tm_year
        text = f"the year is {year}, and it differs by {drift:.0f} s from the file system's clock"
        return bad("clock", text, "Correct the clock: see timedatectl.")
    return good("clock", time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now)))
