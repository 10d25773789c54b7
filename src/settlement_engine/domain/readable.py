"""Text that people read: what cannot be seen in it, or turns around what can, is refused or shown as a code.

U+202E makes ``gpj.exe`` look like ``exe.jpg``; a zero-width character makes two names that look the same.
Promises: what stays is what anybody sees. Letters of every script stay, spaces and emoji too.
"""

from __future__ import annotations

import re
from typing import Final

_UNSEEN: Final = re.compile(
    "["
    "\x00-\x1f\x7f-\x9f"  # control characters
    "\xad\u034f\u061c\u180e"  # soft hyphen, joiner, letter mark, vowel separator
    "\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"  # letters and signs that are blank
    "\u180b-\u180d\u180f"
    "\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"  # zero width, directions, separators
    "\ufff0-\ufffb\U0001d173-\U0001d17a\U000e0000-\U000e007f"
    "\ud800-\udfff"  # halves of characters
    "]"
)
_KEPT: Final = "\n\t"
_TWO_BYTES_MAX: Final = 0xFFFF

FOREIGN_TEXT_MAX: Final = 500
"""No more is kept of what a bank says in one field."""


def plain(text: str) -> str:
    """Bound foreign text, and replace what cannot be printed: it is kept for people to read."""
    if text.isprintable() and len(text) <= FOREIGN_TEXT_MAX:
        return text
    return "".join(letter if letter.isprintable() else "?" for letter in text[:FOREIGN_TEXT_MAX])


def has_unseen(text: str) -> bool:
    """Say whether there is a character in it that nobody sees."""
    return _UNSEEN.search(text) is not None


def shown(text: str) -> str:
    """Write what nobody sees as its code, U+202E as a backslash and ``u202e``; lines and tabulators stay."""
    return _UNSEEN.sub(_code, text)


def _code(found: re.Match[str]) -> str:
    letter = found[0]
    if letter in _KEPT:
        return letter
    number = ord(letter)
    if number <= _TWO_BYTES_MAX:
        return f"\\u{number:04x}"
    high, low = divmod(number - 0x10000, 0x400)  # two codes, as JSON writes it
    return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}"
