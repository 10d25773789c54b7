"""The external code sets of ISO 20022 and of Nacha: dated data files with their sources, next to this module.

The sets grow every quarter without a new version of any message, so they are data and not part of a form. A code
that is missing in a set is still accepted; ``statuses.py`` decides what it means.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Final

import msgspec

CODE_SETS: Final = (
    "transaction_status",
    "group_status",
    "status_reason",
    "return_reason",
    "cancellation_reason",
    "cancellation_rejection",
    "investigation_confirmation",
    "entry_status",
    "nacha_return_reason",
    "nacha_change",
)


class CodeSet(msgspec.Struct, frozen=True):
    """An external code set: its name in the standard, its publication date, and its source."""

    set: str
    published: str
    source: str
    codes: dict[str, str]

    def __contains__(self, code: object) -> bool:
        """Return whether the set has the code."""
        return code in self.codes


@cache
def code_set(name: str) -> CodeSet:
    """Return one of ``CODE_SETS``."""
    assert name in CODE_SETS, name
    data = files(__package__).joinpath("code_sets", f"{name}.json").read_bytes()
    return msgspec.json.decode(data, type=CodeSet)
