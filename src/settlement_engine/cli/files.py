"""Files that commands write. A file that exists is never overwritten, and none is left half written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from settlement_engine.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def write_new(target: Path, parts: Iterable[bytes]) -> int:
    """Write a new file, and return its length; what breaks off leaves no file.

    Raises Misconfigured if the file exists or cannot be written, and what the parts raise.
    """
    written = 0
    try:
        opened = target.open("xb")
    except OSError as error:
        raise _unwritable(target, error) from None
    try:
        with opened:
            for part in parts:
                written += opened.write(part)
    except BaseException as error:
        target.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise _unwritable(target, error) from None
        raise
    return written


def _unwritable(target: Path, error: OSError) -> Misconfigured:
    what = f"{target} cannot be written"
    todo = "Name a file that does not exist, in a directory that you may write to."
    return Misconfigured(what, why=error.strerror or "", todo=todo)
