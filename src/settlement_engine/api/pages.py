"""Page tokens: where a list goes on, in a form that callers cannot mistake for something of theirs.

A token carries a fingerprint of the filter with which it was made. With another filter it is refused,
instead of quietly leaving something out.
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


def make_token(filters: tuple[object, ...], place: str) -> str:
    """Write down where the list goes on."""
    text = f"{_fingerprint(filters)}.{place}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def read_token(token: str, filters: tuple[object, ...], found: Found) -> str:
    """Return where the list goes on; empty at its beginning, and for a token that is none."""
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
    fingerprint, point, place = text.partition(".")
    if not point or not place:
        found.append(("page_token", _NOT_OURS))
    elif fingerprint != _fingerprint(filters):
        found.append(("page_token", _OTHER_FILTER))
    else:
        return place
    return ""


def _fingerprint(filters: tuple[object, ...]) -> str:
    return f"{zlib.crc32(repr(filters).encode()):08x}"
