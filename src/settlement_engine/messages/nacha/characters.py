"""The characters that a record may contain. The rail's rule decides how others are replaced (``charsets``)."""

from __future__ import annotations

import re
from typing import Final

from settlement_engine.messages.charsets import CharacterSet

OUTSIDE: Final = re.compile(r"[^\x20-\x7e]")
"""The ACH accepts blank to tilde; a record has no control characters."""

NOTHING_REWRITTEN: Final = CharacterSet(
    source="blank to tilde, and no rule for anything else",
    allowed="".join(map(chr, range(0x20, 0x7F))),
)

PROSE: Final = frozenset(
    {"company_name", "description", "destination_name", "name", "origin_name", "text"}
)
"""The fields that hold free text. All others are identifiers: they fit unchanged, or are refused."""
