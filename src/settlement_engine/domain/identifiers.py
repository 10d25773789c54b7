"""Identifiers that are derived from what they identify.

Promises: the references of a payment depend on caller, idempotency key and attempt only. A database restored
from an old backup therefore sends the same references again, and the bank recognises them. Must never: use a
secret; with a lost or changed secret the same payment would get new references.
"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final
from uuid import UUID

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

_DOMAIN: Final = b"settlement-engine/1"
_WRITTEN_UUID: Final = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}", re.ASCII)
_encode_sorted: Final = msgspec.json.Encoder(order="sorted").encode
_INSTANT_SHIFT: Final = 80
_INSTANT_MAX: Final = 2**48 - 1
_UUID_V4_MASK: Final = ~((0xF << 76) | (0x3 << 62))
_UUID_V4_BITS: Final = (0x4 << 76) | (0x2 << 62)


class References(msgspec.Struct, frozen=True):
    """Our references for one attempt at the rail.

    ``uetr`` has the form of a version 4 UUID (ISO 20022 ``UUIDv4Identifier``); the two others are at most 35
    characters (``Max35Text``).
    """

    uetr: UUID
    end_to_end_id: str
    message_id: str


def _framed(part: bytes) -> bytes:
    """Prefix a part with its length, so that no two lists of parts give the same bytes."""
    return len(part).to_bytes(4, "big") + part


_KEY: Final = _DOMAIN + _framed(b"key")
_PAYMENT: Final = _DOMAIN + _framed(b"end-to-end")
_MESSAGE: Final = _DOMAIN + _framed(b"message")


CALLERS_KEPT_MAX: Final = 1_000
"""How many framed callers and attempt numbers are cached, because they recur with each settlement."""


@lru_cache(maxsize=CALLERS_KEPT_MAX)
def _framed_often(*texts: str) -> bytes:
    return b"".join([_framed(text.encode()) for text in texts])


def key_hash(caller: str, idempotency_key: str, call: str = "settle") -> UUID:
    """Return the 128-bit hash of a caller and its idempotency key."""
    framed = _framed_often(call, caller) + _framed(idempotency_key.encode())
    digest = hashlib.sha256(_KEY + framed).digest()
    return UUID(int=int.from_bytes(digest[:16], "big"))


def references(caller: str, idempotency_key: str, attempt: int) -> References:
    """Derive the references of an attempt; attempt 1 is the first."""
    framed = _framed_often(caller) + _framed(idempotency_key.encode())
    payment = hashlib.sha256(_PAYMENT + framed).hexdigest()
    message = hashlib.sha256(_MESSAGE + framed + _framed_often(str(attempt))).digest()
    number = int.from_bytes(message[:16], "big") & _UUID_V4_MASK | _UUID_V4_BITS
    return References(
        uetr=UUID(int=number),
        end_to_end_id="E" + payment[:34].upper(),
        message_id="M" + message[15:].hex().upper(),
    )


def as_uuid(text: str) -> UUID | None:
    """Read a UUID as it is written, with hyphens; None for anything else."""
    return UUID(text) if _WRITTEN_UUID.fullmatch(text) is not None else None


def first_id_at(milliseconds: int) -> UUID:
    """Return the lowest identifier of an instant: our identifiers begin with their creation time."""
    return UUID(int=min(max(milliseconds, 0), _INSTANT_MAX) << _INSTANT_SHIFT)


def content_hash(fields: Mapping[str, object]) -> bytes:
    """Hash the content of an instruction, so that a reused key with other content is detected."""
    return hashlib.sha256(_encode_sorted(fields)).digest()
