"""Keeps secrets and forged lines out of logs and health texts.

Promises: passwords in URLs and in ``key=value`` text, and every value whose key looks like that of a secret, are
masked; line breaks and other control characters are escaped, so that no input can look like a separate log
line. When in doubt it masks. It must never raise, whatever the value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from datetime import date
from functools import lru_cache
from typing import Any, Final

from settlement_engine.domain.readable import has_unseen

MASK: Final = "[redacted]"
TEXT_MAX: Final = 2_000
"""Twice as much is searched for secrets before the text is truncated, so that no secret is cut in half."""

LINES_MAX: Final = 200
KEYS_KEPT_MAX: Final = 1_000
ITEMS_MAX: Final = 100
DEPTH_MAX: Final = 6
WHOLE_MAX: Final = 2**63 - 1
"""JSON readers, and our writer, do not handle larger integers reliably."""

_SECRET_KEY: Final = re.compile(
    r"passw|passphrase|pwd|secret|token|credential|api_?key|private_?key|authorization|cookie",
    re.IGNORECASE,
)
_URL_WITH_PASSWORD: Final = re.compile(r"(?<=://)([^\s:/@]*):\S*@")
_URL_WITH_TOKEN: Final = re.compile(r"(?<=://)[^\s:/@]+@")
_ASSIGNMENT: Final = re.compile(
    r"""((?:passw|passphrase|pwd|secret|token|api_?key)\w*["']?\s*[=:]\s*)("[^"]*"|'[^']*'|\S+)""",
    re.IGNORECASE,
)
_BEARER: Final = re.compile(r"\b(bearer|basic)\s+\S+", re.IGNORECASE)


@lru_cache(maxsize=KEYS_KEPT_MAX)
def _key(key: str) -> tuple[str, bool]:
    """Make a key printable, and return whether it looks like that of a secret."""
    name = printable(key[:TEXT_MAX])
    return name, _SECRET_KEY.search(name) is not None


def mask(text: str) -> str:
    """Mask the secrets in a text."""
    if "://" in text:
        text = _URL_WITH_PASSWORD.sub(rf"\1:{MASK}@", text)
        text = _URL_WITH_TOKEN.sub(f"{MASK}@", text)
    if "=" in text or ":" in text:
        text = _ASSIGNMENT.sub(rf"\1{MASK}", text)
    return _BEARER.sub(rf"\1 {MASK}", text) if " " in text else text


def printable(text: str) -> str:
    """Escape line breaks, other control characters and invalid characters."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        character if _is_seen(character) else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


def _is_seen(character: str) -> bool:
    return character.isprintable() and not has_unseen(character)


def clean(value: object, depth: int = 0) -> object:
    """Make any value safe to log: masked, printable, of limited size and depth."""
    if isinstance(value, str | int | float | None):
        return _clean_leaf(value)
    if isinstance(value, Mapping):
        return clean_mapping(value, depth + 1) if depth < DEPTH_MAX else "…"
    if isinstance(value, list | tuple | AbstractSet):
        items = list(value)[:ITEMS_MAX] if depth < DEPTH_MAX else ["…"]
        return [clean(item, depth + 1) for item in items]
    return _clean_leaf(value)


def _clean_leaf(value: object) -> object:
    if isinstance(value, str):
        return _clean_text(str(value))
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int) and abs(value) <= WHOLE_MAX:
        return int(value)
    return _clean_text(_describe(value))


def clean_mapping(mapping: Mapping[Any, Any], depth: int = 0) -> dict[str, object]:
    """Clean a mapping: the value of a key that looks secret is masked as a whole."""
    cleaned: dict[str, object] = {}
    for key, value in list(mapping.items())[:ITEMS_MAX]:
        name, is_secret = _key(key if isinstance(key, str) else _describe(key))
        cleaned[name] = MASK if value and is_secret else clean(value, depth)
    return cleaned


def _clean_text(text: str) -> str:
    shown = printable(mask(text[: 2 * TEXT_MAX]))
    return shown if len(shown) <= TEXT_MAX else shown[:TEXT_MAX] + "…"


def clean_lines(text: str) -> list[str]:
    """Clean a text of several lines, such as a traceback, line by line; only the last ones are kept."""
    return [_clean_text(line) for line in text.splitlines()[-LINES_MAX:]]


def _describe(value: object) -> str:
    try:
        text = value.isoformat() if isinstance(value, date) else str(value)
        return f"{type(value).__name__}: {text}" if isinstance(value, BaseException) else text
    except Exception as error:  # noqa: BLE001 - a value whose text fails must not fail the log line
        return f"<{type(value).__name__}: {type(error).__name__}>"
