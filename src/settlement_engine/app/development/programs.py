"""What the embedded servers would run, and as whom: for ``doctor``, which starts nothing."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from settlement_engine.embedded import EmbeddedServerError, binaries
from settlement_engine.embedded.process import choose_mode, namespaces_work, obstacle
from settlement_engine.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def postgres_program() -> str:
    """Return the version of PostgreSQL's programs and where they are. Raises Misconfigured."""
    with _as_misconfigured():
        found = binaries.find_postgres()
        return f"{found.version} in {found.directory}"


def nats_program() -> str:
    """Return the version of NATS's program and where it is. Raises Misconfigured."""
    with _as_misconfigured():
        found = binaries.find_nats()
        return f"{binaries.nats_version(found)} in {found}"


def closed_to_postgres(directory: Path) -> Path | None:
    """Return the part of the path that the user of the embedded PostgreSQL cannot enter, if there is one."""
    return obstacle(directory, choose_mode())


def has_namespaces() -> bool:
    """Say whether root can start the embedded PostgreSQL in a user namespace."""
    return namespaces_work()


@contextmanager
def _as_misconfigured() -> Iterator[None]:
    try:
        yield
    except EmbeddedServerError as error:
        raise Misconfigured(error.what, why=error.why, todo=error.todo) from error
