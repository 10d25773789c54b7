"""Why a message could not be read or built: where, and what is wrong there."""

from __future__ import annotations

from typing import Final

REASON_CHARACTERS_MAX: Final = 300
"""No reason is longer: what a stranger wrote is quoted in it."""


class MessageError(ValueError):
    """The bytes are no message of this kind, or the values make none.

    ``place`` names where: a path of elements such as ``Document/FIToFIPmtStsRpt/GrpHdr/MsgId``, a line and
    its columns, or the name of a field. ``reason`` says what is wrong there.
    """

    def __init__(self, place: str, reason: str) -> None:
        reason = reason[:REASON_CHARACTERS_MAX]
        super().__init__(f"{place}: {reason}" if place else reason)
        self.place = place
        self.reason = reason


def quoted(text: str) -> str:
    """Quote what a stranger wrote: short, and without control characters."""
    shown_max = 80
    shown = text if len(text) <= shown_max else text[: shown_max - 1] + "…"
    return repr(shown)
