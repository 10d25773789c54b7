"""Routing numbers (ABA) and trace numbers: construction and checks."""

from __future__ import annotations

import re
from typing import Final

_WEIGHTS: Final = (3, 7, 1, 3, 7, 1, 3, 7)
_ROUTING: Final = re.compile(r"[0-9]{9}", re.ASCII)

INSTITUTION_DIGITS: Final = 8
"""An institution is identified by its routing number without the check digit."""

SEQUENCE_MAX: Final = 9_999_999
"""The highest number of an entry under one institution; its trace number has 15 digits."""


def check_digit(institution: str) -> str:
    """Return the ninth digit of a routing number whose first eight are given."""
    total = sum(int(digit) * weight for digit, weight in zip(institution, _WEIGHTS, strict=True))
    return str(-total % 10)


def is_routing_number(text: str) -> bool:
    """Return whether the text is nine digits whose last one is the check digit of the others."""
    return bool(_ROUTING.fullmatch(text)) and check_digit(text[:-1]) == text[-1]


def trace_number(institution: str, sequence: int) -> str:
    """Return the 15 digits under which the originating institution sends one entry."""
    if not re.fullmatch(r"[0-9]{8}", institution, re.ASCII):
        raise ValueError(
            "an institution is eight digits: its routing number without the check digit"
        )
    if not 0 < sequence <= SEQUENCE_MAX:
        raise ValueError(f"the sequence of a trace number is from 1 to {SEQUENCE_MAX}")
    return f"{institution}{sequence:07d}"
