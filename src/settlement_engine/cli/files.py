"""Files that commands write. A file that exists is never overwritten."""

from __future__ import annotations

from typing import TYPE_CHECKING

from settlement_engine.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def write_new(target: Path, parts: Iterable[bytes]) -> int:
    """Write a new file, and return its length. Raises Misconfigured if it exists or cannot be written."""
    written = 0
    try:
        with target.open("xb") as opened:
            for part in parts:
                written += opened.write(part)
    except OSError as error:
        what = f"{target} cannot be written"
        todo = "Name a file that does not exist, in a directory that you may write to."
        raise Misconfigured(what, why=error.strerror or "", todo=todo) from None
    return written
