"""Other versions of ISO 4217: a currency leaves the list or has another exponent; a process restarts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from settlement_engine.domain import money

if TYPE_CHECKING:
    import pytest

LEAVING = "BGN"
"""The lev left ISO 4217 in 2026; the tests add it first, whatever the current list has."""

_LISTED = money._exponents() | {LEAVING: 2}


def list_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the lev be an ordinary currency, in a process that has read no database yet."""
    monkeypatch.setattr(money, "_exponents", lambda: _LISTED)
    start_anew(monkeypatch)


def list_loses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the lev from the list."""
    rest = {code: digits for code, digits in _LISTED.items() if code != LEAVING}
    monkeypatch.setattr(money, "_exponents", lambda: rest)


def list_changes_it(monkeypatch: pytest.MonkeyPatch, digits: int) -> None:
    """Give the lev another exponent in the list."""
    monkeypatch.setattr(money, "_exponents", lambda: _LISTED | {LEAVING: digits})


def start_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process forget the database's currencies, as a new process would."""
    monkeypatch.setattr(money, "_BOOKED", {})
