"""The error of messages that cannot be read or built: the position of the fault, and its reason."""

from __future__ import annotations

from typing import Final

REASON_CHARACTERS_MAX: Final = 300
"""The greatest length of a reason, because it quotes text from outside."""


class MessageError(ValueError):
    """The bytes are no valid message of this kind, or the values make none.

    ``place`` is the position of the fault: a path of elements such as
    ``Document/FIToFIPmtStsRpt/GrpHdr/MsgId``, a line and its columns, or the name of a field. ``reason``
    says what is wrong there.
    """

    def __init__(self, place: str, reason: str) -> None:
        reason = reason[:REASON_CHARACTERS_MAX]
        super().__init__(f"{place}: {reason}" if place else reason)
        self.place = place
        self.reason = reason


def quoted(text: str) -> str:
    """Quote text from outside: shortened, and without control characters."""
    shown_max = 80
    shown = text if len(text) <= shown_max else text[: shown_max - 1] + "…"
    return repr(shown)
