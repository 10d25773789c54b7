"""Page tokens: where a list continues, in an opaque form that callers cannot construct by accident.

Promises: a token carries a fingerprint of the filter it was made with, and is refused with another filter. It
must never let a list skip items silently.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from settlement_engine.api.grammar import Found

TOKEN_CHARACTERS_MAX: Final = 200
_NOT_OURS: Final = "is not a token of this call"
_OTHER_FILTER: Final = "belongs to another filter; a list is read on with the same filter"


def make_token(filters: tuple[object, ...], position: str) -> str:
    """Return the token of the position where the list continues."""
    text = f"{_fingerprint(filters)}.{position}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def read_token(token: str, filters: tuple[object, ...], found: Found) -> str:
    """Return the position where the list continues; empty for an empty or invalid token."""
    if not token:
        return ""
    if len(token) > TOKEN_CHARACTERS_MAX:
        found.append(("page_token", _NOT_OURS))
        return ""
    try:
        padded = token + "=" * (-len(token) % 4)
        text = base64.b64decode(padded.encode("ascii"), altchars=b"-_", validate=True).decode(
            "ascii"
        )
    except (binascii.Error, UnicodeError):
        found.append(("page_token", _NOT_OURS))
        return ""
    fingerprint, point, position = text.partition(".")
    if not point or not position:
        found.append(("page_token", _NOT_OURS))
    elif fingerprint != _fingerprint(filters):
        found.append(("page_token", _OTHER_FILTER))
    else:
        return position
    return ""


def _fingerprint(filters: tuple[object, ...]) -> str:
    return f"{zlib.crc32(repr(filters).encode()):08x}"
