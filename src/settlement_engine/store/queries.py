"""The SQL statements of the engine, by name.

Statements are in ``sql/queries/*.sql``: ``-- name: x``, comment lines that say what it does, the statement. No
other code of the engine contains SQL.
"""

from __future__ import annotations

import re
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAME: Final = re.compile(r"^-- name: ([a-z_]+)$", re.MULTILINE)


@cache
def queries() -> Mapping[str, str]:
    """Return every statement by its name."""
    found: dict[str, str] = {}
    folder = resources.files(__package__) / "sql" / "queries"
    for file in sorted(folder.iterdir(), key=lambda entry: entry.name):
        for name, body in statements(file.read_text(encoding="utf-8")).items():
            assert name not in found, f"two statements are called {name}"
            found[name] = body
    return found


def statements(text: str) -> dict[str, str]:
    """Split a file into its statements by name."""
    parts = _NAME.split(text)
    bodies = [body.strip().rstrip(";") for body in parts[2::2]]
    return dict(zip(parts[1::2], bodies, strict=True))


def query(name: str) -> str:
    """Return one statement."""
    return queries()[name]
