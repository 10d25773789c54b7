"""Descriptions of messages: which elements, in which order, and which field of which struct each fills.

A *form* lists the elements of one complex type in the order of its schema. One list serves both directions, so
that building and reading cannot diverge. Types change between editions of the standard: an element states since
and until which edition it exists, and a form is compiled per edition and namespace.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec

from settlement_engine.messages.leaves import Leaf

if TYPE_CHECKING:
    from collections.abc import Iterator

EDITION_FIRST: Final = 2009
EDITION_LAST: Final = 2099
MANY: Final = 0
"""No limit but that of the message's size."""

LEAF, AMOUNT, RECORD, INSIDE, SKIPPED = range(5)


class Form:
    """The elements of a complex type: they fill fields of ``struct``, or of the enclosing struct."""

    __slots__ = ("elements", "is_choice", "struct")

    def __init__(
        self,
        struct: type[msgspec.Struct] | None,
        elements: tuple[Element, ...],
        *,
        is_choice: bool = False,
    ) -> None:
        self.struct = struct
        self.elements = elements
        self.is_choice = is_choice


class Amount:
    """An element with a number and a currency attribute."""


class Skipped:
    """An element that is allowed but not read."""


Kind: TypeAlias = "Leaf | Amount | Form | Skipped"
MONEY: Final = Amount()
_SKIPPED: Final = Skipped()


class Element(msgspec.Struct, frozen=True, kw_only=True):
    """One element of a form."""

    tag: str
    field: str
    kind: Kind
    least: int
    most: int
    is_list: bool = False
    since: int = EDITION_FIRST
    until: int = EDITION_LAST


def one(
    tag: str, field: str, kind: Kind, *, since: int = EDITION_FIRST, until: int = EDITION_LAST
) -> Element:
    """Describe a required element."""
    return Element(tag=tag, field=field, kind=kind, least=1, most=1, since=since, until=until)


def opt(
    tag: str, field: str, kind: Kind, *, since: int = EDITION_FIRST, until: int = EDITION_LAST
) -> Element:
    """Describe an optional element."""
    return Element(tag=tag, field=field, kind=kind, least=0, most=1, since=since, until=until)


def many(  # noqa: PLR0913 -- each has its default, and a table reads well
    tag: str,
    field: str,
    kind: Kind,
    *,
    least: int = 0,
    most: int = MANY,
    since: int = EDITION_FIRST,
    until: int = EDITION_LAST,
) -> Element:
    """Describe an element that may occur several times; its field is a tuple."""
    once = one(tag, field, kind, since=since, until=until)
    return msgspec.structs.replace(once, least=least, most=most, is_list=True)


def skip(
    *tags: str, most: int = MANY, since: int = EDITION_FIRST, until: int = EDITION_LAST
) -> tuple[Element, ...]:
    """Describe elements that are allowed here but not read."""
    once = opt("", "", _SKIPPED, since=since, until=until)
    return tuple(msgspec.structs.replace(once, tag=tag, most=most) for tag in tags)


def inside(
    tag: str,
    *elements: Element,
    least: int = 0,
    since: int = EDITION_FIRST,
    until: int = EDITION_LAST,
) -> Element:
    """Describe an element whose own elements fill fields of the enclosing struct."""
    once = opt(tag, "", Form(None, elements), since=since, until=until)
    return msgspec.structs.replace(once, least=least)


def either(
    tag: str,
    *elements: Element,
    least: int = 0,
    since: int = EDITION_FIRST,
    until: int = EDITION_LAST,
) -> Element:
    """Describe an element that holds exactly one of these."""
    once = opt(tag, "", Form(None, elements, is_choice=True), since=since, until=until)
    return msgspec.structs.replace(once, least=least)


def code_or_own(
    tag: str, field: str, leaf: Leaf, own: Leaf, *, since: int = EDITION_FIRST
) -> Element:
    """Describe the usual choice: a code of an external set, or a proprietary code."""
    return either(tag, opt("Cd", field, leaf), opt("Prtry", f"{field}_own", own), since=since)


class Step:
    """One element, prepared for reading and building."""

    __slots__ = (
        "bit",
        "field",
        "form",
        "how",
        "is_list",
        "is_required",
        "leaf",
        "most",
        "name",
        "tag",
    )

    def __init__(self, element: Element, index: int, namespace: str, edition: int) -> None:
        kind = element.kind
        self.name = element.tag
        self.field = element.field
        self.tag = f"{{{namespace}}}{element.tag}"
        self.bit = 1 << index
        self.most = element.most
        self.is_required = element.least > 0
        self.leaf = kind if isinstance(kind, Leaf) else None
        self.form = compiled(kind, namespace, edition) if isinstance(kind, Form) else None
        self.is_list = element.is_list
        self.how = _how(kind)


def _how(kind: Kind) -> int:
    if isinstance(kind, Leaf):
        return LEAF
    if isinstance(kind, Amount):
        return AMOUNT
    if isinstance(kind, Form):
        return RECORD if kind.struct is not None else INSIDE
    return SKIPPED


class Compiled:
    """A form compiled for one edition and namespace."""

    __slots__ = ("by_tag", "fields", "is_choice", "lists", "required", "steps", "struct")

    def __init__(self, form: Form, namespace: str, edition: int) -> None:
        elements = [each for each in form.elements if each.since <= edition <= each.until]
        self.steps = tuple(
            Step(each, index, namespace, edition) for index, each in enumerate(elements)
        )
        self.by_tag = {step.tag: step for step in self.steps}
        assert len(self.by_tag) == len(self.steps), f"a tag stands twice: {elements}"
        self.required = sum(step.bit for step in self.steps if step.is_required)
        self.is_choice = form.is_choice
        self.struct = form.struct
        self.fields = tuple(step.field for step in self._filling())
        self.lists = tuple(step.field for step in self._filling() if step.is_list)

    def _filling(self) -> Iterator[Step]:
        """Yield the elements that fill a field of the struct, including nested ones."""
        for step in self.steps:
            if step.field:
                yield step
            elif step.form is not None:
                yield from step.form._filling()  # noqa: SLF001 -- of the same class


@cache
def compiled(form: Form, namespace: str, edition: int) -> Compiled:
    """Compile a form; each combination is compiled once."""
    return Compiled(form, namespace, edition)
