"""Reads a message: one pass over its elements, checked against its form.

Promises: whatever the form does not allow is a MessageError with its position: an element that is unknown,
repeated too often, out of order or missing, or a text that its type does not allow. Elements that the form marks
as skipped are not read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from settlement_engine.messages.amounts import read_amount
from settlement_engine.messages.errors import MessageError, quoted
from settlement_engine.messages.forms import AMOUNT, INSIDE, LEAF, RECORD, Compiled, Step
from settlement_engine.messages.leaves import CURRENCY
from settlement_engine.messages.xml import place_of

if TYPE_CHECKING:
    from lxml.etree import _Element

_INSTANCE: Final = "{http://www.w3.org/2001/XMLSchema-instance}"


def read(element: _Element, form: Compiled) -> Any:  # noqa: ANN401 -- the form's struct
    """Read an element as its form's struct. Raises MessageError."""
    assert form.struct is not None, "only a form with a struct is read by itself"
    values: dict[str, Any] = {}
    _read_into(element, form, values)
    for name in form.lists:
        if name in values:
            values[name] = tuple(values[name])
    return form.struct(**values)


def _read_into(element: _Element, form: Compiled, values: dict[str, Any]) -> None:
    _check_only_elements(element)
    by_tag, seen, last, count = form.by_tag, 0, 0, 0
    for child in element:
        step = by_tag.get(child.tag)
        if step is None:
            raise MessageError(place_of(child), "is not expected here")
        bit = step.bit
        if bit == last:
            count += 1
            if step.most and count > step.most:
                raise MessageError(place_of(child), f"is there too often: {step.most} is the most")
        elif bit < last:
            raise MessageError(place_of(child), "is out of order")
        else:
            last, count = bit, 1
            seen |= bit
        if child.tail and not child.tail.isspace():
            raise MessageError(place_of(child), f"is followed by the text {quoted(child.tail)}")
        _take(child, step, values)
    missing = form.required & ~seen
    if missing or form.is_choice:
        _check_presence(element, form, missing, seen)


def _take(child: _Element, step: Step, values: dict[str, Any]) -> None:
    how = step.how
    if how == LEAF:
        value = _read_leaf(child, step)
    elif how == RECORD:
        assert step.form is not None, "a record has a form"
        value = read(child, step.form)
    elif how == INSIDE:
        assert step.form is not None, "what is inside has a form"
        _read_into(child, step.form, values)
        return
    elif how == AMOUNT:
        value = _read_amount(child)
    else:
        return
    if step.is_list:
        values.setdefault(step.field, []).append(value)
    else:
        values[step.field] = value


def _read_leaf(child: _Element, step: Step) -> Any:  # noqa: ANN401 -- what the leaf makes of it
    if len(child) or child.attrib:
        _check_leaf(child)
    assert step.leaf is not None, "a leaf has its kind"
    try:
        return step.leaf.read(child.text or "")
    except ValueError as error:
        raise MessageError(place_of(child), str(error)) from None


def _read_amount(child: _Element) -> Any:  # noqa: ANN401 -- money
    _check_leaf(child, "Ccy")
    currency = child.get("Ccy")
    if currency is None:
        raise MessageError(place_of(child), "has no currency")
    try:
        return read_amount(child.text or "", CURRENCY.read(currency))
    except ValueError as error:
        raise MessageError(place_of(child), str(error)) from None


def _check_leaf(child: _Element, *allowed: str) -> None:
    if len(child):
        raise MessageError(place_of(child[0]), "is not expected here")
    _check_attributes(child, *allowed)


def _check_attributes(element: _Element, *allowed: str) -> None:
    for name in element.attrib:
        if str(name) not in allowed and not str(name).startswith(_INSTANCE):
            raise MessageError(place_of(element), f"has an attribute {quoted(str(name))}")


def _check_only_elements(element: _Element) -> None:
    text = element.text
    if text and not text.isspace():
        raise MessageError(place_of(element), f"holds the text {quoted(text)}")
    if element.attrib:
        _check_attributes(element)


def _check_presence(element: _Element, form: Compiled, missing: int, seen: int) -> None:
    for step in form.steps:
        if missing & step.bit:
            raise MessageError(place_of(element, step.name), "is missing")
    if form.is_choice and (seen == 0 or seen & (seen - 1)):
        names = ", ".join(step.name for step in form.steps)
        raise MessageError(place_of(element), f"must hold exactly one of {names}")
