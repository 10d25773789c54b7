"""Identities: the canonical form of a name, and whether two names belong to the same person.

The identity of a caller is the URI or the DNS name in its certificate. Promises: names that mean the same
(capitals in scheme and host, percent-encoding, slashes at the end) have one canonical form, and a name without
a canonical form is not accepted; a URI has a colon and a DNS name has none, so the two kinds cannot be
confused. The database uses the same form: the
function ``person_of`` in its migrations, and a test compares the two.
"""

from __future__ import annotations

import re
from typing import Final

NAME_CHARACTERS_MAX: Final = 256

_ENCODED: Final = re.compile(r"%([0-9A-Fa-f]{2})?")
_URI: Final = re.compile(r"[a-z][a-z0-9+.-]{0,31}:[^/].*|[a-z][a-z0-9+.-]{0,31}://[^/]+(?:/[^/]+)*")
_HOST: Final = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*")
_VISIBLE: Final = re.compile(r"[!-~]+")
_NOT_OF_A_NAME: Final = re.compile(r"[%?#\\]")
_KEPT_ENCODED: Final = frozenset("%/?#")
_CAPITALS: Final = {ordinal: ordinal + 32 for ordinal in range(ord("A"), ord("Z") + 1)}


def canonical(name: str) -> str:
    """Return the canonical form of a name. Any text is allowed; a canonical name is returned unchanged."""
    text = _ENCODED.sub(_decoded, name).rstrip("/")
    scheme, colon, rest = text.partition(":")
    if not colon:
        return _small(text)
    if not rest.startswith("//"):
        return f"{_small(scheme)}:{rest}"
    host, slash, path = rest[2:].partition("/")
    return f"{_small(scheme)}://{_small(host)}{slash}{path}"


def person_of(name: str) -> str:
    """Return the key of the person with this name: names that differ in capitals only are one person."""
    return _small(canonical(name))


def is_same_person(one: str, other: str) -> bool:
    """Say whether two names belong to the same person."""
    return person_of(one) == person_of(other)


def name_of_uri(uri: str) -> str | None:
    """Return the identity that a certificate's URI stands for; None when it is ambiguous.

    It is ambiguous with a user, a port, a query, a fragment, with ``.`` or empty parts in its path, or with
    anything that stays percent-encoded.
    """
    name = canonical(uri)
    if len(uri) > NAME_CHARACTERS_MAX or _VISIBLE.fullmatch(name) is None:
        return None
    if _NOT_OF_A_NAME.search(name) is not None or _URI.fullmatch(name) is None:
        return None
    _, has_host, rest = name.partition("://")
    if not has_host:
        return name
    host, *parts = rest.split("/")
    is_plain = _HOST.fullmatch(host) is not None and not {".", ".."}.intersection(parts)
    return name if is_plain else None


def name_of_dns(dns: str) -> str | None:
    """Return the identity that a certificate's DNS name stands for; None for a wildcard or an invalid name."""
    name = canonical(dns)
    return name if len(dns) <= NAME_CHARACTERS_MAX and _HOST.fullmatch(name) else None


def _decoded(match: re.Match[str]) -> str:
    """Decode what need not be percent-encoded; what stays encoded is written in capitals."""
    if match[1] is None:
        return "%25"
    character = chr(int(match[1], 16))
    if "!" <= character <= "~" and character not in _KEPT_ENCODED:
        return character
    return f"%{match[1].upper()}"


def _small(text: str) -> str:
    """Convert ASCII letters to lower case and no others, as the database does in any locale."""
    return text.translate(_CAPITALS)
