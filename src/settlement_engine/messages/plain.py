"""A message as plain values, for JSON: absent fields are left out, and amounts are texts."""

from __future__ import annotations

from datetime import date, datetime
from enum import Enum
from typing import Any

import msgspec

from settlement_engine.domain.money import Money
from settlement_engine.messages.amounts import write_amount


def plain(value: Any) -> Any:  # noqa: ANN401 -- any field of any message
    """Convert a value to dictionaries, lists and texts."""
    if isinstance(value, Money):
        return {"amount": write_amount(value), "currency": value.currency}
    if isinstance(value, msgspec.Struct):
        held = ((name, getattr(value, name)) for name in value.__struct_fields__)
        return {name: plain(each) for name, each in held if each is not None and each != ()}
    if isinstance(value, tuple):
        return [plain(each) for each in value]
    if isinstance(value, date | datetime):
        return value.isoformat()
    if isinstance(value, Enum):
        return value.value
    return value
