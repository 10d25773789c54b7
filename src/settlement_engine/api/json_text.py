"""The text of a JSON body before it is decoded: limited, scanned in one pass, then decoded part by part.

Promises: bytes, values, depth and items are counted before decoding, inside compiled code (``re``, ``json``);
every cost is linear in the number of bytes. A fault is raised as InvalidInstruction and quotes little.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from settlement_engine.api.bounds import CALL_BYTES_MAX, DEPTH_MAX, VALUES_MAX
from settlement_engine.errors import InvalidInstruction

if TYPE_CHECKING:
    from settlement_engine.api.turns import Steps

BODY: Final = "body"
NAME_CHARACTERS_MAX: Final = 64
_TOO_DEEP: Final = f"is nested too deeply: more than {DEPTH_MAX} objects and lists in each other"
_TOO_MANY: Final = f"has more than {VALUES_MAX} values"


def _container(depth: int) -> str:
    """Return a pattern for an object or list nested up to ``depth`` levels, which never backtracks."""
    inside = r'"(?:[^"\\]++|\\.)*+"|[^"\[\]{}]++'
    pattern = rf"[\[{{](?:{inside})*+[\]}}]"
    for _ in range(depth - 1):
        pattern = rf"[\[{{](?:{inside}|{pattern})*+[\]}}]"
    return pattern


_SPACE: Final = re.compile(r"[ \t\r\n]*+")
_STRINGS: Final = re.compile(r'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_NOT_BRACKETS: Final = re.compile(r"[^\[\]{}]++")
_VALUE: Final = re.compile(
    rf'{_container(DEPTH_MAX)}|"(?:[^"\\]++|\\.)*+"|[-+.0-9A-Za-z]++', re.DOTALL
)


class _Wrong(Exception):
    """The text is not of the expected form."""


class Span(NamedTuple):
    """Where a value is in the text: ``text[start:end]``."""

    start: int
    end: int


class Member(NamedTuple):
    """A member of the outermost object. ``elements`` is None unless it is a list."""

    name: str
    span: Span
    elements: list[Span] | None


def text_of(data: bytes, bytes_max: int) -> str:
    """Decode a body as UTF-8, up to ``bytes_max`` bytes. Raises InvalidInstruction."""
    if len(data) > bytes_max:
        raise body(f"has more than {bytes_max} bytes")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise body(f"is not valid UTF-8 at byte {error.start}") from None


def load(text: str, span: Span | None = None) -> Any:  # noqa: ANN401 - whatever JSON there is
    """Load the whole text as JSON, or the value in ``span``. Raises InvalidInstruction."""
    part = text if span is None else text[span.start : span.end]
    try:
        _require_bounds(part)
        return _DECODER.decode(part)
    except json.JSONDecodeError as error:
        raise not_json(text, (span.start if span else 0) + error.pos, error.msg) from None
    except RecursionError:
        raise body(_TOO_DEEP) from None
    except ValueError:
        raise body("contains a number that is too long") from None
    except _Wrong as error:
        raise body(str(error)) from None


def body(description: str) -> InvalidInstruction:
    """Return the error for a fault of the body as a whole."""
    return InvalidInstruction([(BODY, description)])


def not_json(text: str, at: int, message: str) -> InvalidInstruction:
    """Return the error that names line and column where the text is not JSON."""
    error = json.JSONDecodeError(message, text, at)
    return body(f"is not JSON at line {error.lineno}, column {error.colno}: {message}")


def shown(name: str) -> str:
    """Quote a name from a request: shortened, and with escapes for what is not printable ASCII."""
    return ascii(name[:NAME_CHARACTERS_MAX])[1:-1]


def _require_bounds(part: str) -> None:
    """Check the number of values and the depth without decoding. Raises _Wrong."""
    opened = part.count("{") + part.count("[")
    if opened <= DEPTH_MAX and opened + part.count(",") < VALUES_MAX:
        return
    bare = _STRINGS.sub("", part)
    opened = bare.count("{") + bare.count("[")
    if opened + bare.count(",") >= VALUES_MAX:
        raise _Wrong(_TOO_MANY)
    depth = 0
    for bracket in _NOT_BRACKETS.sub("", bare):
        depth += 1 if bracket in "{[" else -1
        if depth > DEPTH_MAX:
            raise _Wrong(_TOO_DEEP)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build an object; a duplicate name is refused, because readers differ in which value they take."""
    made = dict(pairs)
    if len(made) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise _Wrong(_twice(name))
            seen.add(name)
    return made


def _twice(name: str) -> str:
    return f"names the field {shown(name)} twice"


def _no_constant(text: str) -> None:
    message = f"contains {text}, which is not JSON"
    raise _Wrong(message)


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant)


# --- the outline of a batch ---------------------------------------------------------------------------


def outline(text: str, items_max: int) -> Steps[list[Member]]:
    """Return the members of the outermost object and the spans of its lists' elements, without decoding them.

    Raises InvalidInstruction.
    """
    members: list[Member] = []
    names: set[str] = set()
    at = _skip(text, 0)
    if not text.startswith("{", at):
        raise body("must be a JSON object")
    at = _skip(text, at + 1)
    is_last = text.startswith("}", at)
    at += is_last
    while not is_last:
        name, at = _name(text, at)
        if name in names:
            raise body(_twice(name))
        names.add(name)
        start, elements = at, None
        if text.startswith("[", at):
            elements, at = yield from _elements(text, at, name, items_max)
        else:
            at = _end(text, at)
        members.append(Member(name, Span(start, at), elements))
        if len(members) > VALUES_MAX:
            raise body(_TOO_MANY)
        at, is_last = _next(text, at, "}")
    at = _skip(text, at)
    if at != len(text):
        raise not_json(text, at, "Extra data")
    return members


def _name(text: str, at: int) -> tuple[str, int]:
    """Read a member's name; return it and the position where its value begins."""
    if not text.startswith('"', at):
        raise not_json(text, at, "Expecting property name enclosed in double quotes")
    end = _end(text, at)
    name: str = load(text, Span(at, end))
    at = _skip(text, end)
    if not text.startswith(":", at):
        raise not_json(text, at, "Expecting ':' delimiter")
    return name, _skip(text, at + 1)


def _elements(text: str, at: int, name: str, items_max: int) -> Steps[tuple[list[Span], int]]:
    """Return the spans of a list's elements and the position where the list ends."""
    spans: list[Span] = []
    at = _skip(text, at + 1)
    if text.startswith("]", at):
        return spans, at + 1
    is_last = False
    while not is_last:
        if len(spans) == items_max:
            raise InvalidInstruction([(shown(name), f"has more than {items_max} items")])
        end = _end(text, at)
        spans.append(Span(at, end))
        at, is_last = _next(text, end, "]")
        yield
    return spans, at


def _next(text: str, at: int, closing: str) -> tuple[int, bool]:
    """Skip the separator after a value; return the next position and whether the container ended."""
    at = _skip(text, at)
    if text.startswith(closing, at):
        return at + 1, True
    if not text.startswith(",", at):
        raise not_json(text, at, "Expecting ',' delimiter")
    return _skip(text, at + 1), False


def _end(text: str, at: int) -> int:
    """Return the position where a value ends, scanning no more than CALL_BYTES_MAX characters."""
    limit = at + CALL_BYTES_MAX
    match = _VALUE.match(text, at, limit)
    if match is not None:
        return match.end()
    if not text.startswith(("{", "[", '"'), at):
        raise not_json(text, at, "Expecting value")
    if limit >= len(text):
        load(text, Span(at, len(text)))  # raises the error that describes the fault
    raise body(f"has an item of more than {CALL_BYTES_MAX} characters, or one that does not end")


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    assert match is not None, "no space is a match too"
    return match.end()
