"""The words of an entry's text that may be references of ours."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from settlement_engine.domain.matching.values import Theirs

TEXT_REFERENCE_CHARACTERS_MIN: Final = 8
"""A shorter reference is not searched in text, because a word could equal it by chance."""

TEXT_TOKENS_MAX: Final = 500
"""The most words of an entry's text that are compared."""

_TOKEN: Final = re.compile(r"[A-Z0-9](?:[A-Z0-9/._-]*[A-Z0-9])?", re.ASCII)
_PIECE: Final = re.compile(r"[A-Z0-9-]{8,}", re.ASCII)


def text_references(theirs: Theirs) -> list[str]:
    """Return the words of a text that may be references, also those that a line break has cut in two."""
    text = theirs.text.upper()
    found: dict[str, None] = {}
    for written in (text, text.replace("\n", "")):
        for token in _TOKEN.findall(written)[:TEXT_TOKENS_MAX]:
            if len(token) >= TEXT_REFERENCE_CHARACTERS_MIN:
                found[token] = None
                found.update(dict.fromkeys(_PIECE.findall(token)))
    return list(found)
