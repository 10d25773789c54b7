"""Text for people: invisible characters, and those that reverse the order of others, are refused or replaced.

U+202E makes ``gpj.exe`` look like ``exe.jpg``; with a zero-width character two different names look the same.
Promises: the returned text is what a reader sees; letters of every script, spaces and emoji are kept. Must
never: change a visible character.
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
"""The most characters that are kept of one text field of a bank."""


def plain(text: str) -> str:
    """Shorten foreign text and replace unprintable characters, so that people can read it."""
    if text.isprintable() and len(text) <= FOREIGN_TEXT_MAX:
        return text
    kept = text[:FOREIGN_TEXT_MAX]
    return "".join(character if character.isprintable() else "?" for character in kept)


def has_unseen(text: str) -> bool:
    """Say whether the text contains an invisible character."""
    return _UNSEEN.search(text) is not None


def shown(text: str) -> str:
    """Replace invisible characters by their code (U+202E by a backslash and ``u202e``); keep newlines and tabs."""
    return _UNSEEN.sub(_code, text)


def _code(found: re.Match[str]) -> str:
    character = found[0]
    if character in _KEPT:
        return character
    number = ord(character)
    if number <= _TWO_BYTES_MAX:
        return f"\\u{number:04x}"
    high, low = divmod(number - 0x10000, 0x400)  # two codes, as JSON writes it
    return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}"
