"""Other days of ISO 4217: a currency leaves the list, or has another exponent, and a process starts anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

from settlement_engine.domain import money

if TYPE_CHECKING:
    import pytest

LEAVING = "BGN"
"""The lev left ISO 4217 in 2026; the tests put it there first, whatever the list of today says."""

_LISTED = money._exponents() | {LEAVING: 2}


def list_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the lev be a currency like any other, in a process that knows of no book yet."""
    monkeypatch.setattr(money, "_exponents", lambda: _LISTED)
    start_anew(monkeypatch)


def list_loses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let today's list be without the lev."""
    rest = {code: digits for code, digits in _LISTED.items() if code != LEAVING}
    monkeypatch.setattr(money, "_exponents", lambda: rest)


def list_changes_it(monkeypatch: pytest.MonkeyPatch, digits: int) -> None:
    """Let today's list have the lev with another exponent."""
    monkeypatch.setattr(money, "_exponents", lambda: _LISTED | {LEAVING: digits})


def start_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process know no more of the book than one that has just begun."""
    monkeypatch.setattr(money, "_BOOKED", {})
