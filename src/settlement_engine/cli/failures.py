"""What a failed command says, and with which code it ends.

Promises: three lines (what, why, what to do) for every failure, or the same as JSON where JSON was asked
for, and a code that a script can rely on.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final

from settlement_engine.errors import (
    InvalidInstruction,
    Misconfigured,
    SettlementEngineError,
    Unavailable,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    import click

UNREACHED_TODO: Final = "Start it, or correct its address: settlement-engine doctor"
SHOW_MORE_TODO: Final = "Run it again with --debug to see more."
BUG_TODO: Final = "Run it again with --debug and report what it prints."


class ExitCode(IntEnum):
    """How a command ended."""

    OK = 0  # done
    FAILED = 1  # failed; of `submit`: the settlement ended without moving money
    USAGE = 2  # wrong usage, or a field that the engine refused: nothing was written
    MISCONFIGURED = 3  # wrong configuration
    UNAVAILABLE = 4  # something it needs is down; what was sent may have been accepted
    UNBALANCED = 5  # the books do not balance
    OPEN = 6  # the settlement has not ended yet (QUEUED, EXECUTING, IN_DOUBT, RECALLING, ...)
    INTERRUPTED = 130  # interrupted, as by Ctrl-C


class Interrupted(SettlementEngineError):
    """A person pressed Ctrl-C while something was on its way that goes on without us."""

    reason = "INTERRUPTED"


_CODES: Final[Mapping[type[Exception], ExitCode]] = {
    InvalidInstruction: ExitCode.USAGE,  # a wrong field is a wrong argument, whoever finds it
    Interrupted: ExitCode.INTERRUPTED,
    Misconfigured: ExitCode.MISCONFIGURED,
    Unavailable: ExitCode.UNAVAILABLE,
}


def code_for(error: Exception) -> ExitCode:
    """Choose the exit code."""
    for kind, code in _CODES.items():
        if isinstance(error, kind):
            return code
    is_embedded = _is_told(error) and not isinstance(error, SettlementEngineError)
    return ExitCode.UNAVAILABLE if is_embedded else ExitCode.FAILED


def explain(error: Exception) -> str:
    """Write the three lines."""
    what, why, todo = _three(error)
    return f"✗ {what}\n  why: {why}\n  do:  {todo}"


def as_failure(error: Exception) -> dict[str, Any]:
    """Write the same for a program, with the reason that it may rely on."""
    what, why, todo = _three(error)
    reason = getattr(error, "told_reason", "") or getattr(error, "reason", "") or "FAILED"
    told: dict[str, Any] = {"what": what, "why": why, "do": todo, "reason": reason}
    if isinstance(error, InvalidInstruction):
        told["violations"] = [
            {"field": field, "description": description} for field, description in error.violations
        ]
    return {"error": {**told, "exitCode": int(code_for(error))}}


def _three(error: Exception) -> tuple[str, str, str]:
    if _is_told(error):
        what, why, todo = (str(getattr(error, name)) for name in ("what", "why", "todo"))
    else:
        what, why, todo = f"{type(error).__name__}: {error}", "this is a bug", BUG_TODO
    if not todo:
        todo = UNREACHED_TODO if isinstance(error, Unavailable) else SHOW_MORE_TODO
    return what, why or "that is all that is known", todo


def explain_usage(error: click.ClickException) -> str:
    """Write the three lines for a command that was not understood."""
    what, why, todo = _three_of_usage(error)
    return f"✗ {what}\n  why: {why}\n  do:  {todo}"


def usage_as_failure(error: click.ClickException) -> dict[str, Any]:
    """Write the same for a program."""
    what, why, todo = _three_of_usage(error)
    told = {"what": what, "why": why, "do": todo, "reason": "USAGE"}
    return {"error": {**told, "exitCode": error.exit_code}}


def _three_of_usage(error: click.ClickException) -> tuple[str, str, str]:
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "settlement-engine"
    usage = " ".join(context.get_usage().split()[1:]) if context else f"{path} --help lists them"
    what = error.format_message().rstrip(".")
    return what, f"it is used like this: {usage}", f"{path} --help"


def _is_told(error: Exception) -> bool:
    return all(isinstance(getattr(error, name, None), str) for name in ("what", "why", "todo"))
