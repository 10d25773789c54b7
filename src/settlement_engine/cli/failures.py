"""What a failed command says, and with which code it ends.

Promises: three lines (what, why, what to do) for every failure, and a code that a script can rely on.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Final

from settlement_engine.errors import Misconfigured, SettlementEngineError, Unavailable

if TYPE_CHECKING:
    import click

UNREACHED_TODO: Final = "Start it, or correct its address: settlement-engine doctor"
SHOW_MORE_TODO: Final = "Run it again with --debug to see more."
BUG_TODO: Final = "Run it again with --debug and report what it prints."


class ExitCode(IntEnum):
    """How a command ended."""

    OK = 0
    FAILED = 1
    USAGE = 2
    MISCONFIGURED = 3
    UNAVAILABLE = 4
    UNBALANCED = 5
    INTERRUPTED = 130  # 128 + SIGINT, as shells say it


def code_for(error: Exception) -> ExitCode:
    """Choose the exit code."""
    match error:
        case Misconfigured():
            return ExitCode.MISCONFIGURED
        case Unavailable():
            return ExitCode.UNAVAILABLE
        case SettlementEngineError():
            return ExitCode.FAILED
        case _ if _is_told(error):  # the embedded servers' own error
            return ExitCode.UNAVAILABLE
        case _:
            return ExitCode.FAILED


def explain(error: Exception) -> str:
    """Write the three lines."""
    if _is_told(error):
        what, why, todo = (str(getattr(error, name)) for name in ("what", "why", "todo"))
    else:
        what, why, todo = f"{type(error).__name__}: {error}", "this is a bug", BUG_TODO
    if not todo:
        todo = UNREACHED_TODO if isinstance(error, Unavailable) else SHOW_MORE_TODO
    return f"✗ {what}\n  why: {why or 'that is all that is known'}\n  do:  {todo}"


def explain_usage(error: click.ClickException) -> str:
    """Write the three lines for a command that was not understood."""
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "settlement-engine"
    usage = " ".join(context.get_usage().split()[1:]) if context else f"{path} --help lists them"
    lines = [
        f"✗ {error.format_message().rstrip('.')}",
        f"  why: it is used like this: {usage}",
        f"  do:  {path} --help",
    ]
    return "\n".join(lines)


def _is_told(error: Exception) -> bool:
    return all(isinstance(getattr(error, name, None), str) for name in ("what", "why", "todo"))
