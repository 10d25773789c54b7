"""The external code sets of ISO 20022 and those of Nacha: dated data with its source, beside this module.

The sets grow every quarter and without a new version of any message, so that they are data and no part of a
form. A code that a set does not have is still a code; what it means is for ``statuses.py`` to say.
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
    """An external code set: its name in the standard, when it was published, and where it is from."""

    set: str
    published: str
    source: str
    codes: dict[str, str]

    def __contains__(self, code: object) -> bool:
        """Say whether the set has the code."""
        return code in self.codes


@cache
def code_set(name: str) -> CodeSet:
    """Return one of ``CODE_SETS``."""
    assert name in CODE_SETS, name
    data = files(__package__).joinpath("code_sets", f"{name}.json").read_bytes()
    return msgspec.json.decode(data, type=CodeSet)
