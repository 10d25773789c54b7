"""The data directory of a development installation: made, or refused in a sentence that is true."""

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
    """Make the directory if need be, and see that files can be made in it. Raises Misconfigured."""
    with told_of(data_dir):
        data_dir.mkdir(mode=PRIVATE_DIRECTORY, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=data_dir):
            pass


@contextmanager
def told_of(data_dir: Path) -> Iterator[None]:
    """Turn what the file system refuses in this directory into an error that says so."""
    try:
        yield
    except OSError as error:
        where = Path(str(error.filename)) if error.filename else data_dir
        if where != data_dir and data_dir not in where.parents and where not in data_dir.parents:
            raise
        raise Misconfigured(
            f"the data directory {data_dir} cannot be used",
            why=f"{where}: {error.strerror or error}",
            todo="Choose another with --data-dir, or make this one yours to write to.",
        ) from error
