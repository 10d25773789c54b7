"""The result of one check."""

from __future__ import annotations

from dataclasses import dataclass

from settlement_engine.cli.output import BAD, GOOD, WARN


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorFinding:
    """One line of the report: a sign, what was checked, what was found, what to do."""

    sign: str
    title: str
    detail: str
    todo: str = ""


def good(title: str, detail: str) -> DoctorFinding:
    """Make a finding without a problem."""
    return DoctorFinding(sign=GOOD, title=title, detail=detail)


def warn(title: str, detail: str, todo: str) -> DoctorFinding:
    """Make a warning: it works, but not well."""
    return DoctorFinding(sign=WARN, title=title, detail=detail, todo=todo)


def bad(title: str, detail: str, todo: str) -> DoctorFinding:
    """Make a problem: it will not work."""
    return DoctorFinding(sign=BAD, title=title, detail=detail, todo=todo)
