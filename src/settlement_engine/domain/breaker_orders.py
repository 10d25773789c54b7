"""What operators order about circuit breakers: stop sending to a bank, send again, or try one payment.

Promises: an order is recorded with the person and the reason, and never changed. Must never: say anything about a
payment.
"""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - msgspec reads the types
from enum import StrEnum, auto
from typing import Final

import msgspec

EVERY_BANK: Final = ""
"""Stands for every bank of a rail."""


class BreakerAction(StrEnum):
    """What an order does."""

    OPEN = auto()  # nothing is sent until it is closed by an order
    CLOSE = auto()  # sending is allowed again; what was counted is forgotten
    PROBE = auto()  # one payment is tried


class BreakerOrder(msgspec.Struct, frozen=True, kw_only=True):
    """An order about a rail: for one bank, by its folded code, or for ``EVERY_BANK``."""

    id: int
    rail: str
    bank: str
    action: BreakerAction
    who: str
    reason: str
    at: datetime
