"""The command line of the engine, for people and for scripts.

Promises: a command that fails prints three lines: what failed, why, and what to do next. It never shows a
traceback without ``--debug`` and never a secret. With ``--json`` it prints the same as JSON. Commands are
imported when they are used, so that ``--help`` is there at once; grpc, nats and pydantic must never be
imported from here.

Exit codes: 0 done, 1 failed, 2 wrong usage or a wrong field, 3 wrong configuration, 4 a required service is
unreachable, 5 the books do not balance, 6 the settlement has not ended yet.
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
LAB: Final = "settlement-lab"
"""The package that tries and measures the engine. It may be absent, and where money is it should be."""

LAB_HEADING: Final = f"Try and measure (with the package {LAB})"

COMMANDS: Final = {
    "Run": {
        "dev": ("development.command:dev", "Run everything on this machine, for development."),
        "serve": ("serve:serve", "Run the engine with your own PostgreSQL and NATS."),
        "bank-simulator": (
            "bank_simulator:bank_simulator",
            "Run a bank that misbehaves on purpose.",
        ),
        "migrate": ("database:migrate", "Bring the database's schema up to date."),
    },
    "Settle": {
        "submit": ("submit:submit", "Submit a settlement and wait for its final state."),
        "show": ("histories:show", "Show a settlement's history."),
        "list": ("settlements:list_", "List settlements, newest first."),
        "explain": ("histories:explain", "Explain a settlement in sentences."),
        "tail": ("tail:tail", "Follow the settlement events."),
        "cancel": ("settlements:cancel", "Request cancellation or recall."),
        "trigger": ("trigger:trigger", "Run a scenario of the simulated bank, and tell its story."),
        "recall": ("recalls:recall", "Ask for the money of a completed settlement back."),
        "repair-cover": ("covers:repair_cover", "Order another cover after the bank's refusal."),
        "banks": ("banks:banks", "Put, import, show and list banks of the directory."),
        "accounts": ("accounts:accounts", "Open, fund, list and (de)activate accounts."),
    },
    "Decide": {
        "exceptions": ("exceptions:exceptions", "Exceptions that need a person."),
        "resolve": (
            "exceptions:resolve",
            "Propose a decision for a settlement in doubt or parked.",
        ),
        "approve": ("exceptions:approve", "Approve a proposal of another person."),
        "proposals": (
            "proposals:proposals",
            "List the proposals for settlements in doubt or parked.",
        ),
        "decline": ("exceptions:decline", "Decline a proposal, or withdraw your own."),
        "rails": ("rails:rails", "List rails; stop sending over them, or allow it again."),
    },
    "Check": {
        "prove": ("database:prove", "Recompute the books from the transfers."),
        "evidence": (
            "evidence.command:evidence",
            "Export the evidence of a settlement, or verify it.",
        ),
        "intake": ("dead_letters:intake", "Work on clearing messages that could not be accepted."),
        "statements": (
            "statements:statements",
            "Import, list, show and export account statements of banks.",
        ),
        "reconcile": (
            "reconciliation:reconcile",
            "Reconcile our accounts with the imported statements.",
        ),
        "reports": (
            "reports:reports",
            "Report settlements; list, show and export reports of reconciliation.",
        ),
        "breaks": ("breaks:breaks", "List and show differences that reconciliation has found."),
        "message": ("message:message", "Check message and statement files of banks."),
        "outbox": ("outbox:outbox", "Publish announcements to NATS again."),
        "config": ("configuration:config", "Check or show the configuration."),
        "doctor": ("doctor.command:doctor", "Check this machine and its settings for problems."),
        "recovery": (
            "database:recovery",
            "Show or start the recovery after a restore or a failover.",
        ),
    },
    LAB_HEADING: {
        "demo": (LAB, "Show the guarantees: settle, crash, recover, prove."),
        "bench": (LAB, "Measure the throughput of this machine."),
        "simulate": (LAB, "Test whole engines with simulated faults."),
    },
    "": {"engine-process": ("serve:engine_process", "One engine process, as `dev` starts it.")},
}
"""Every command: the heading it is listed under, its module and function (or its package), its purpose."""


@lasting
@click.group(
    cls=LazyGroup,
    sections=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="First steps: settlement-engine dev --sample-data · settlement-engine demo",
)
@click.version_option(__version__, prog_name=PROGRAM)
def cli() -> None:
    """Make fund transfers between banks final, and never pay twice."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program and leave the process with its exit code."""
    sys.exit(run(arguments))


def _require_assertions() -> None:
    # The engine checks the same. This check is earlier: no command starts, and nothing is imported.
    if not __debug__:
        raise Misconfigured(
            "assertions are switched off, and no command runs without them",
            why="Python was started with -O, or PYTHONOPTIMIZE is set",
            todo="Start Python without -O, and unset PYTHONOPTIMIZE.",
        )


def _tell(words: Sequence[str], text: str, failure: dict[str, Any]) -> None:
    """Print a failure: text on standard error, or JSON on standard output with ``--json``."""
    own = words[: words.index("--")] if "--" in words else words
    if "--json" in own:
        # On one line: a command such as `tail` may already have printed JSON lines.
        click.echo(shown(json.dumps(failure, ensure_ascii=False)))
    else:
        click.echo(shown(text), err=True)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a terminal without UTF-8 shows question marks
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
        # The reader has closed the pipe, as `head` does. Click and rich then end silently with 1, and so
        # do we. Python must not report an error either when it flushes at exit.
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
