"""Which characters a record may hold. How others are written is for the rail's rule to say (``charsets``)."""

from __future__ import annotations

import re
from typing import Final

from settlement_engine.messages.charsets import CharacterSet

OUTSIDE: Final = re.compile(r"[^\x20-\x7e]")
"""Blank to tilde is all that the ACH has; there are no control characters in a record."""

NOTHING_REWRITTEN: Final = CharacterSet(
    source="blank to tilde, and no rule for anything else",
    allowed="".join(map(chr, range(0x20, 0x7F))),
)

PROSE: Final = frozenset(
    {"company_name", "description", "destination_name", "name", "origin_name", "text"}
)
"""The fields that hold words. All others identify something: they fit as they are, or are refused."""
