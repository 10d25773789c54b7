"""The data directory of a development installation: created, or refused with the cause."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from settlement_engine.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Iterator

PRIVATE_DIRECTORY = 0o700


def make_data_dir(data_dir: Path) -> None:
    """Create the directory if it is missing, and check that it is writable. Raises Misconfigured."""
    with told_of(data_dir):
        data_dir.mkdir(mode=PRIVATE_DIRECTORY, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=data_dir):
            pass


@contextmanager
def told_of(data_dir: Path) -> Iterator[None]:
    """Turn errors of the file system in this directory into a Misconfigured that names it."""
    try:
        yield
    except OSError as error:
        where = Path(str(error.filename)) if error.filename else data_dir
        if where != data_dir and data_dir not in where.parents and where not in data_dir.parents:
            raise
        raise Misconfigured(
            f"the data directory {data_dir} cannot be used",
            why=f"{where}: {error.strerror or error}",
            todo="Choose another with --data-dir, or make this one writable for your user.",
        ) from error
