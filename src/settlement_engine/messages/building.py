"""Builds a message: the same forms as for reading, in the other direction.

Promises: the elements are in the order of the schema and their texts are valid; otherwise a MessageError names the
position and nothing is built. A built message reads back as the same values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lxml import etree

from settlement_engine.messages.amounts import write_amount
from settlement_engine.messages.errors import MessageError
from settlement_engine.messages.forms import AMOUNT, INSIDE, LEAF, RECORD, Compiled, Step
from settlement_engine.messages.xml import place_of

if TYPE_CHECKING:
    from lxml.etree import _Element

    from settlement_engine.domain.money import Money

_SubElement = etree.SubElement


def build(parent: _Element, form: Compiled, value: object) -> None:
    """Append the elements of a value to its parent. Raises MessageError."""
    chosen = 0
    for step in form.steps:
        if step.how == INSIDE:
            chosen += _build_inside(parent, step, value)
            continue
        if not step.field:
            continue
        held = getattr(value, step.field)
        if held is None or held == ():
            if step.is_required:
                raise MessageError(place_of(parent, step.name), "is missing")
            continue
        chosen += 1
        if step.is_list:
            _build_many(parent, step, held)
        else:
            _build_one(parent, step, held)
    if form.is_choice and chosen != 1:
        names = ", ".join(step.name for step in form.steps)
        raise MessageError(place_of(parent), f"must hold exactly one of {names}")


def _build_inside(parent: _Element, step: Step, value: object) -> int:
    form = step.form
    assert form is not None, "what is inside has a form"
    if not step.is_required and all(getattr(value, name) in (None, ()) for name in form.fields):
        return 0
    build(_SubElement(parent, step.tag), form, value)
    return 1


def _build_many(parent: _Element, step: Step, values: tuple[Any, ...]) -> None:
    if step.most and len(values) > step.most:
        raise MessageError(
            place_of(parent, step.name), f"is there too often: {step.most} is the most"
        )
    for value in values:
        _build_one(parent, step, value)


def _build_one(parent: _Element, step: Step, value: Any) -> None:  # noqa: ANN401 -- a field's
    child = _SubElement(parent, step.tag)
    if step.how == RECORD:
        assert step.form is not None, "a record has a form"
        build(child, step.form, value)
        return
    try:
        if step.how == LEAF:
            assert step.leaf is not None, "a leaf has its kind"
            child.text = step.leaf.write(value)
        elif step.how == AMOUNT:
            money: Money = value
            child.text = write_amount(money)
            child.set("Ccy", money.currency)
    except ValueError as error:
        raise MessageError(place_of(child), str(error)) from None
