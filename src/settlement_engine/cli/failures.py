"""The message and the exit code of a failed command.

Promises: every failure prints three lines (what failed, why, what to do next), or the same as JSON with
``--json``; scripts can rely on the exit code.
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

UNREACHED_TODO: Final = "Start the service or correct its address; check: settlement-engine doctor"
SHOW_MORE_TODO: Final = "Run the command again with --debug for details."
BUG_TODO: Final = "Run the command again with --debug, and report the output."


class ExitCode(IntEnum):
    """The exit code of a command."""

    OK = 0  # done
    FAILED = 1  # failed; for `submit`: the settlement ended and no money moved
    USAGE = 2  # wrong usage, or the engine refused a field; nothing was stored
    MISCONFIGURED = 3  # wrong configuration
    UNAVAILABLE = 4  # a required service is unreachable; a submitted instruction may be accepted
    UNBALANCED = 5  # the books do not balance
    OPEN = 6  # the settlement has not ended yet (QUEUED, EXECUTING, IN_DOUBT, RECALLING, ...)
    INTERRUPTED = 130  # interrupted, for example by Ctrl-C


class Interrupted(SettlementEngineError):
    """Ctrl-C was pressed while the engine was working on a call; the engine continues."""

    reason = "INTERRUPTED"


_CODES: Final[Mapping[type[Exception], ExitCode]] = {
    InvalidInstruction: ExitCode.USAGE,  # a wrong field is a wrong argument
    Interrupted: ExitCode.INTERRUPTED,
    Misconfigured: ExitCode.MISCONFIGURED,
    Unavailable: ExitCode.UNAVAILABLE,
}


def code_for(error: Exception) -> ExitCode:
    """Return the exit code of an error."""
    for kind, code in _CODES.items():
        if isinstance(error, kind):
            return code
    is_embedded = _is_ours(error) and not isinstance(error, SettlementEngineError)
    return ExitCode.UNAVAILABLE if is_embedded else ExitCode.FAILED


def explain(error: Exception) -> str:
    """Write an error as three lines."""
    what, why, todo = _three(error)
    return f"✗ {what}\n  why: {why}\n  do:  {todo}"


def as_failure(error: Exception) -> dict[str, Any]:
    """Write an error for JSON, with its stable reason."""
    what, why, todo = _three(error)
    reason = getattr(error, "told_reason", "") or getattr(error, "reason", "") or "FAILED"
    shown: dict[str, Any] = {"what": what, "why": why, "do": todo, "reason": reason}
    if isinstance(error, InvalidInstruction):
        shown["violations"] = [
            {"field": field, "description": description} for field, description in error.violations
        ]
    return {"error": {**shown, "exitCode": int(code_for(error))}}


def _three(error: Exception) -> tuple[str, str, str]:
    if _is_ours(error):
        what, why, todo = (str(getattr(error, name)) for name in ("what", "why", "todo"))
    else:
        what, why, todo = (
            f"{type(error).__name__}: {error}",
            "this is a bug in the engine",
            BUG_TODO,
        )
    if not todo:
        todo = UNREACHED_TODO if isinstance(error, Unavailable) else SHOW_MORE_TODO
    return what, why or "no further cause is known", todo


def explain_usage(error: click.ClickException) -> str:
    """Write the three lines for wrong usage of a command."""
    what, why, todo = _three_of_usage(error)
    return f"✗ {what}\n  why: {why}\n  do:  {todo}"


def usage_as_failure(error: click.ClickException) -> dict[str, Any]:
    """Write wrong usage of a command for JSON."""
    what, why, todo = _three_of_usage(error)
    shown = {"what": what, "why": why, "do": todo, "reason": "USAGE"}
    return {"error": {**shown, "exitCode": error.exit_code}}


def _three_of_usage(error: click.ClickException) -> tuple[str, str, str]:
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "settlement-engine"
    usage = " ".join(context.get_usage().split()[1:]) if context else f"{path} COMMAND"
    what = error.format_message().rstrip(".")
    return what, f"usage: {usage}", f"Read the help: {path} --help"


def _is_ours(error: Exception) -> bool:
    return all(isinstance(getattr(error, name, None), str) for name in ("what", "why", "todo"))
