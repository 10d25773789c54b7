"""What became of bytes that were given to a transport: three results, and no fourth.

``NothingSent`` is a proof: not one byte of this request was given to the network. ``NoResponse`` proves
nothing: the bank may have all of it, a part of it or none. ``Response`` is a whole response within its bounds.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec


class NothingSent(msgspec.Struct, frozen=True):
    """Proved: not one byte of the request left. ``why`` is for a person."""

    why: str


class NoResponse(msgspec.Struct, frozen=True):
    """Some bytes may have left, and no whole response came back. ``why`` is for a person."""

    why: str


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """A whole response. ``content_type`` is without its parameters, in lower case."""

    status: int
    body: bytes = b""
    content_type: str = ""
    retry_after_seconds: int | None = None


ExchangeResult: TypeAlias = Response | NoResponse | NothingSent


class ExchangeProgress:
    """Whether the sending of one request has begun; its caller reads it when the call is cancelled.

    ``has_begun`` becomes true before the first byte is given to the network, never after it.
    """

    __slots__ = ("has_begun",)

    def __init__(self) -> None:
        self.has_begun = False
