"""The command line: what a person or a script does with the engine.

Promises: a command that fails says in three lines what failed, why, and what to do; it never shows a
traceback without ``--debug`` and never a secret; with ``--json`` it says the same as JSON. Commands are
imported when they are used, so that ``--help`` is there at once; grpc, nats and pydantic must never be
imported from here.

Exit codes: 0 done, 1 failed, 2 wrong usage or a wrong field, 3 wrong configuration, 4 something it needs is
down, 5 the books do not balance, 6 the settlement has not ended yet.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any, Final

import click

from settlement_engine import __version__
from settlement_engine.cli.commands import LazyGroup, lasting
from settlement_engine.cli.failures import (
    ExitCode,
    as_failure,
    code_for,
    explain,
    explain_usage,
    usage_as_failure,
)
from settlement_engine.domain.readable import shown
from settlement_engine.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Sequence

PROGRAM: Final = "settlement-engine"

COMMANDS: Final = {
    "Run": {
        "dev": ("development.command:dev", "Run everything on this machine, to develop against."),
        "demo": ("demo.command:demo", "Show the promises: settle, crash, recover, prove."),
        "serve": ("serve:serve", "Run the engine with your own PostgreSQL and NATS."),
        "bank-simulator": (
            "bank_simulator:bank_simulator",
            "Run a bank that misbehaves on purpose.",
        ),
        "migrate": ("database:migrate", "Bring the database's schema up to date."),
    },
    "Settle": {
        "submit": ("submit:submit", "Send a settlement and wait for its end."),
        "show": ("lives:show", "Show a settlement's history."),
        "list": ("settlements:list_", "List settlements, newest first."),
        "explain": ("lives:explain", "Explain a settlement in sentences."),
        "tail": ("tail:tail", "Follow everything that happens."),
        "cancel": ("settlements:cancel", "Request cancellation or recall."),
        "accounts": ("accounts:accounts", "Open, fund, list and switch accounts."),
    },
    "Decide": {
        "exceptions": ("exceptions:exceptions", "What a person has to look at."),
        "resolve": ("exceptions:resolve", "Propose how a settlement in doubt has ended."),
        "approve": ("exceptions:approve", "Approve what another person has proposed."),
        "proposals": ("proposals:proposals", "List what was proposed about settlements in doubt."),
        "decline": ("exceptions:decline", "Decline a proposal, or take it back."),
    },
    "Check": {
        "prove": ("database:prove", "Recompute the books from the transfers."),
        "evidence": ("evidence.command:evidence", "Export all about a settlement, or check it."),
        "intake": ("letters:intake", "What clearing sent and could not be taken in."),
        "message": ("message:message", "Check messages of banks."),
        "outbox": ("outbox:outbox", "Write announcements again to NATS."),
        "config": ("configuration:config", "Check the configuration, or show it."),
        "bench": ("bench.command:bench", "Measure what this machine carries."),
        "simulate": ("simulate:simulate", "Try whole engines in worlds where all goes wrong."),
        "doctor": ("doctor.command:doctor", "Look at this machine for what would get in the way."),
        "reopen": (
            "database:reopen",
            "After a restore: have the banks asked before anything is sent.",
        ),
    },
    "": {"engine-process": ("serve:engine_process", "One engine, as `dev` starts it.")},
}
"""Every command: under which heading it is listed, where it lives, and what it is for."""


@lasting
@click.group(
    cls=LazyGroup,
    sections=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="First steps: settlement-engine demo · settlement-engine dev --sample-data",
)
@click.version_option(__version__, prog_name=PROGRAM)
def cli() -> None:
    """Make fund transfers between banks final, and never pay twice."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program and leave the process with its exit code."""
    sys.exit(run(arguments))


def _require_assertions() -> None:
    # The engine refuses as well, whoever starts it; here no command begins, and nothing is imported.
    if not __debug__:
        raise Misconfigured(
            "nothing here runs without assertions: they guard the money",
            why="Python was started with -O, or PYTHONOPTIMIZE is set",
            todo="Start Python without -O, and unset PYTHONOPTIMIZE.",
        )


def _tell(words: Sequence[str], text: str, failure: dict[str, Any]) -> None:
    """Say what failed to whoever reads: a person on standard error, a program where its JSON goes."""
    own = words[: words.index("--")] if "--" in words else words
    if "--json" in own:
        # One line: it may be the last of a stream of lines.
        click.echo(shown(json.dumps(failure, ensure_ascii=False)))
    else:
        click.echo(shown(text), err=True)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a terminal without UTF-8 gets question marks, no crash
            stream.reconfigure(errors="replace")
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        _require_assertions()
        result = cli.main(args=words, prog_name=PROGRAM, standalone_mode=False)
        sys.stdout.flush()
    except click.Abort:
        return ExitCode.INTERRUPTED
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        # Whoever read has gone, as `head` does; click and rich end the same way, silently and with 1.
        # Python must not complain either when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.FAILED
    except click.ClickException as error:
        _tell(words, explain_usage(error), usage_as_failure(error))
        return error.exit_code
    except Exception as error:
        if lasting.is_debugging:
            raise
        _tell(words, explain(error), as_failure(error))
        return code_for(error)
    return result if isinstance(result, int) else ExitCode.OK
