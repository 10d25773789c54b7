"""The characters that a rail accepts, and the rules that replace others.

Promises: a text that fits is not changed; any other is rewritten by a configured rule, and the original is kept;
a character without a rule is a MessageError. No character becomes a question mark, and none is dropped. It must
never rewrite an identifier: identifiers fit or are refused.
"""

from __future__ import annotations

import unicodedata
from functools import cache
from importlib.resources import files
from typing import Any, Final

import msgspec

from settlement_engine.messages.errors import MessageError, quoted

PROSE: Final = frozenset(
    {
        *("name", "branch_name", "lines", "street_name", "building_name", "town_name", "floor"),
        *("town_location_name", "district_name", "country_sub_division", "department", "room"),
        *("sub_department", "remittance_texts", "texts", "text", "birth_city", "birth_province"),
        *("role", "responsibility"),
    }
)
"""The fields that hold free text, not identifiers."""


class CharacterSet(msgspec.Struct, frozen=True):
    """The characters that a rail accepts, and the replacements of others."""

    source: str
    allowed: str
    written_as: dict[str, str] = {}
    strips_accents: bool = False


class Fitted(msgspec.Struct, frozen=True):
    """A text as it is sent, and the original."""

    place: str
    text: str
    original: str


@cache
def character_sets() -> dict[str, CharacterSet]:
    """Return the character sets distributed with the engine; a deployment may define its own."""
    data = files(__package__).joinpath("usage_rules", "character_sets.json").read_bytes()
    return msgspec.json.decode(data, type=dict[str, CharacterSet])


def fault_of_characters(text: str, characters: CharacterSet) -> str:
    """Describe the first character that the rail does not accept; empty when all are accepted."""
    for each in text:
        if each not in characters.allowed:
            return f"the character {quoted(each)} (U+{ord(each):04X}) is not carried"
    return ""


def fitted(text: str, characters: CharacterSet, place: str = "") -> Fitted:
    """Rewrite a text with the rail's characters. Raises MessageError for one that no rule covers."""
    if not fault_of_characters(text, characters):
        return Fitted(place, text, text)
    return Fitted(place, "".join(_written(each, characters, place) for each in text), text)


def _written(each: str, characters: CharacterSet, place: str) -> str:
    if each in characters.allowed:
        return each
    if each in characters.written_as:
        return characters.written_as[each]
    if characters.strips_accents:
        base = "".join(
            part for part in unicodedata.normalize("NFKD", each) if not unicodedata.combining(part)
        )
        if base and not fault_of_characters(base, characters):
            return base
    reason = (
        f"the character {quoted(each)} (U+{ord(each):04X}) is not carried, and no rule says how"
    )
    raise MessageError(place, reason)


def fit(content: Any, characters: CharacterSet) -> tuple[Any, tuple[Fitted, ...]]:  # noqa: ANN401 -- any message
    """Rewrite all texts of a message with the rail's characters; also return the rewritten ones."""
    if _all_fit(content, _allowed(characters.allowed)):
        return content, ()
    rewritten: list[Fitted] = []
    return _fit(content, characters, "", rewritten), tuple(rewritten)


@cache
def _allowed(characters: str) -> frozenset[str]:
    return frozenset(characters)


def _all_fit(value: Any, allowed: frozenset[str]) -> bool:  # noqa: ANN401 -- any part of a message
    """Say whether every text fits, as nearly always: then no place of a text need be known."""
    if isinstance(value, str):
        return allowed.issuperset(value)
    if isinstance(value, msgspec.Struct):
        return all(
            _all_fit(held, allowed)
            for name in value.__struct_fields__
            if (held := getattr(value, name))
        )
    if isinstance(value, tuple):
        return all(_all_fit(each, allowed) for each in value)
    return True


def _fit(value: Any, characters: CharacterSet, place: str, rewritten: list[Fitted]) -> Any:  # noqa: ANN401
    if isinstance(value, msgspec.Struct):
        changed = {}
        for name in value.__struct_fields__:
            held = getattr(value, name)
            at = f"{place}.{name}" if place else name
            new = _fit(held, characters, at, rewritten)
            if new is not held:
                changed[name] = new
        return msgspec.structs.replace(value, **changed) if changed else value
    if isinstance(value, tuple):
        parts = [
            _fit(each, characters, f"{place}[{number}]", rewritten)
            for number, each in enumerate(value, start=1)
        ]
        return tuple(parts) if any(a is not b for a, b in zip(parts, value, strict=True)) else value
    if isinstance(value, str):
        return _fit_text(value, characters, place, rewritten)
    return value


def _fit_text(text: str, characters: CharacterSet, place: str, rewritten: list[Fitted]) -> str:
    fault = fault_of_characters(text, characters)
    if not fault:
        return text
    field = place.rpartition(".")[2].partition("[")[0]
    if field not in PROSE:
        raise MessageError(place, fault)
    found = fitted(text, characters, place)
    rewritten.append(found)
    return found.text
