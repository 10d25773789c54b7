"""Bank codes: which texts are valid, and which of them mean the same bank.

Promises: two spellings of a code are equal after folding: upper case, and a BIC of eleven characters without
the ``XXX`` of the head office. All comparisons, searches and screening use folded codes; ``folded_bank`` in the
database's schema does the same. Must never: change what was received. The content hash covers the fields as
they were received, so that a repeated call with an old key is recognised.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

BANK_CODE_CHARACTERS_MAX: Final = 20

FOLDED_KEPT_MAX: Final = 10_000
"""How many folded codes are cached: each settlement asks for several of them."""

_BANK_CODE: Final = re.compile(r"[A-Za-z0-9._-]{1,20}", re.ASCII)
_PUNCTUATION: Final = re.compile(r"[._-]+", re.ASCII)
_HEAD_OFFICE: Final = re.compile(r"[A-Z0-9]{4}[A-Z]{2}[A-Z0-9]{2}XXX", re.ASCII)
_BIC8_CHARACTERS: Final = 8
_BIC11_CHARACTERS: Final = 11


@lru_cache(maxsize=FOLDED_KEPT_MAX)
def folded_bank(code: str) -> str:
    """Return the folded code: all spellings of a bank's code give the same text."""
    folded = code.upper()
    if len(folded) == _BIC11_CHARACTERS and _HEAD_OFFICE.fullmatch(folded) is not None:
        return folded[:_BIC8_CHARACTERS]
    return folded


def is_same_bank(one: str, other: str) -> bool:
    """Say whether two codes name the same bank."""
    return folded_bank(one) == folded_bank(other)


def fault_of_bank(code: str) -> str:
    """Say what is wrong with a text that should be a bank code; empty when nothing is."""
    if _BANK_CODE.fullmatch(code) is None:
        most = BANK_CODE_CHARACTERS_MAX
        return f"must be 1 to {most} of A-Z, a-z, 0-9, dot, underscore and hyphen"
    if _PUNCTUATION.fullmatch(code) is not None:
        return "must contain a letter or a digit: punctuation alone is not a code"
    return ""
