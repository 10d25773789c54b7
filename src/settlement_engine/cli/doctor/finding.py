"""The result of one check."""

from __future__ import annotations

from dataclasses import dataclass

from settlement_engine.cli.output import BAD, GOOD, WARN


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the report: a sign, what was checked, what was found, what to do."""

    sign: str
    title: str
    detail: str
    todo: str = ""


def good(title: str, detail: str) -> Finding:
    """Make a finding without a problem."""
    return Finding(sign=GOOD, title=title, detail=detail)


def warn(title: str, detail: str, todo: str) -> Finding:
    """Make a warning: it works, but not well."""
    return Finding(sign=WARN, title=title, detail=detail, todo=todo)


def bad(title: str, detail: str, todo: str) -> Finding:
    """Make a problem: it will not work."""
    return Finding(sign=BAD, title=title, detail=detail, todo=todo)
