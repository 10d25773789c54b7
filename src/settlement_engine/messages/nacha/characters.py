"""Which characters an ACH file may hold, and by which rule others are written: as configured, the original kept.

The rule is data that the caller gives. Without one nothing is replaced: what does not pass is refused.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import msgspec

from settlement_engine.messages.errors import MessageError, quoted

if TYPE_CHECKING:
    from collections.abc import Mapping

REPLACEMENT_CHARACTERS_MAX: Final = 4
"""No character is replaced by a longer text."""

OUTSIDE: Final = re.compile(r"[^\x20-\x7e]")
"""Blank to tilde is the whole character set of the ACH; there are no control characters in a record."""


class CharacterRule(msgspec.Struct, frozen=True):
    """What is written for a character that the ACH does not have, and whether long texts are cut."""

    replacements: Mapping[str, str] = {}
    cut_long_texts: bool = False

    def __post_init__(self) -> None:
        """Refuse a rule that could write what may not be written."""
        for character, text in self.replacements.items():
            if (
                len(character) != 1
                or len(text) > REPLACEMENT_CHARACTERS_MAX
                or OUTSIDE.search(text)
            ):
                raise MessageError(
                    "replacements", f"no rule: {quoted(character)} to {quoted(text)}"
                )


class WrittenText(msgspec.Struct, frozen=True):
    """A text as it stands in the file, and what it was."""

    text: str
    original: str

    @property
    def changed(self) -> bool:
        """Whether the file says something else than was asked for."""
        return self.text != self.original


LATIN: Final = CharacterRule(
    replacements={
        **dict(zip("ÀÁÂÃÅàáâãåÇçÈÉÊËèéêëÌÍÎÏìíîïÑñÒÓÔÕòóôõÙÚÛùúûÝýÿ",
                   "AAAAAaaaaaCcEEEEeeeeIIIIiiiiNnOOOOooooUUUuuuYyy", strict=True)),
        "Ä": "Ae", "Ö": "Oe", "Ü": "Ue", "ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "Æ": "AE",
           "æ": "ae", "Ø": "O", "ø": "o", "Œ": "OE", "œ": "oe", "Š": "S", "š": "s", "Ž": "Z", "ž": "z",
        "\u2013": "-", "\u2014": "-", "\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"',
           "\u00a0": " ",
    },
)  # fmt: skip
"""Western European letters and typographers' marks, as most originators write them."""


def written(text: str, width: int, rule: CharacterRule, field: str) -> WrittenText:
    """Write a text for a field of ``width`` columns by the rule, or refuse it; the original is kept."""
    replaced = OUTSIDE.sub(lambda found: rule.replacements.get(found[0], found[0]), text)
    outside = OUTSIDE.search(replaced)
    if outside:
        raise MessageError(field, f"{quoted(outside[0])} is not in the character set of the ACH")
    replaced = replaced.rstrip()
    if len(replaced) > width:
        if not rule.cut_long_texts:
            raise MessageError(field, f"{quoted(replaced)} does not fit {width} columns")
        replaced = replaced[:width].rstrip()
    return WrittenText(replaced, text)
