"""The three possible results of an exchange with a bank.

``NothingSent`` is a proof: no byte of this request was passed to the network. ``NoResponse`` proves nothing: the
bank may have received all, a part or nothing of it. ``Response`` is a complete response within its limits.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec


class NothingSent(msgspec.Struct, frozen=True):
    """Proved: no byte of the request was sent. ``why`` is text for a person."""

    why: str


class NoResponse(msgspec.Struct, frozen=True):
    """Some bytes may have been sent, and there was no complete response. ``why`` is text for a person."""

    why: str


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """A complete response. ``content_type`` is in lower case, without its parameters."""

    status: int
    body: bytes = b""
    content_type: str = ""
    retry_after_seconds: int | None = None


ExchangeResult: TypeAlias = Response | NoResponse | NothingSent


class ExchangeProgress:
    """Whether the transmission of one request has begun; the caller reads it when the call was cancelled.

    ``has_begun`` is set before the first byte is passed to the network, never after it.
    """

    __slots__ = ("has_begun",)

    def __init__(self) -> None:
        self.has_begun = False
