"""``migrate``, ``prove``, ``reopen``: the database's schema, whether the books in it are right, its eras.

Promises: ``migrate --dry-run``, ``prove`` and ``reopen`` without a wish change nothing; ``prove`` ends with
5 on any difference.
"""

from __future__ import annotations

import asyncio
import getpass
from typing import TYPE_CHECKING, Final

import click
import msgspec

from settlement_engine.cli.commands import lasting
from settlement_engine.cli.failures import ExitCode
from settlement_engine.cli.output import (
    BAD,
    GOOD,
    WARN,
    as_json,
    busy,
    counted,
    example,
    mark,
    print_json,
    say,
    table,
)
from settlement_engine.cli.settings import config_options, load_config, url_option
from settlement_engine.domain.money import format_amount
from settlement_engine.domain.readable import has_unseen
from settlement_engine.errors import Misconfigured

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from settlement_engine.ports import Proof

ENVIRONMENTS: Final = ("production", "dev")

_database = url_option(
    "--database-url",
    "database.url",
    "Which database, without a password; else the configuration's, else that of the `dev` that runs"
    " here.",
)


@lasting
@click.command()
@config_options
@_database
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option(
    "--environment",
    type=click.Choice(ENVIRONMENTS),
    help="Say what the database is for; else the first `serve` or `dev` that starts on it does.",
)
@click.option(
    "--replace-environment",
    "is_replacing",
    is_flag=True,
    help="With --environment: say another one than before. Only for a copy of a database.",
)
@as_json
@example("""
settlement-engine migrate --dry-run
settlement-engine migrate --environment production
SETTLEMENT_DATABASE__URL=postgresql://owner@db/settlement settlement-engine migrate
""")
def migrate(  # noqa: PLR0913 -- each option of the command is an argument
    *,
    config_file: Path | None,
    settings: tuple[str, ...],
    database_url: str | None,
    dry_run: bool,
    environment: str | None,
    is_replacing: bool,
    is_json: bool,
) -> None:
    """Bring the database's schema up to date, and say which environment it belongs to."""
    from settlement_engine import app

    if is_replacing and environment is None:
        raise click.UsageError("--replace-environment goes with --environment")
    url = _find_database(config_file, settings, database_url)
    warnings: list[str] = []
    names = asyncio.run(app.migrate(url, dry_run=dry_run, warn=warnings.append))
    if environment is not None and not dry_run:
        asyncio.run(app.mark_environment(url, environment, is_replacing=is_replacing))
    if is_json:
        print_json({"dryRun": dry_run, "migrations": names, "warnings": warnings})
        return
    for name in names:
        mark(GOOD, f"{'would apply' if dry_run else 'applied'} {name}")
    for warning in warnings:
        mark(WARN, warning)
    if not names:
        mark(GOOD, "the schema is up to date")
    if environment is not None:
        mark(GOOD, f"the environment {'would be' if dry_run else 'is'} {environment}")


@lasting
@click.command()
@config_options
@_database
@as_json
@example("""
settlement-engine prove
settlement-engine prove --json --database-url postgresql://reader@db/settlement
""")
def prove(
    *,
    config_file: Path | None,
    settings: tuple[str, ...],
    database_url: str | None,
    is_json: bool,
) -> int:
    """Recompute balances, holds, fingerprints and references; exit 5 on any difference.

    Finds transfers without a settlement, fundings without their call, second attempts, and whatever was
    rewritten of instructions, keys, payment bytes, references and routes.
    """
    from settlement_engine import app

    url = _find_database(config_file, settings, database_url)
    with busy("recomputing the books from the transfers"):
        proof = asyncio.run(app.prove(url))
    if is_json:
        print_json(proof_as_dict(proof))
    else:
        print_proof(proof)
    return ExitCode.UNBALANCED if proof.differences else ExitCode.OK


@lasting
@click.command()
@config_options
@_database
@click.option(
    "--restored", is_flag=True, help="An older state was restored: open anew, ask the banks."
)
@click.option(
    "--since",
    type=click.DateTime(["%Y-%m-%dT%H:%M:%S%z"]),
    help="With --restored: from when on something may be missing; else the last move that is left.",
)
@click.option("--confirm", is_flag=True, help="Go on without the list of a bank that gives none.")
@click.option("--reason", default="", help="Why, for the record; a confirmation needs it.")
@click.option("--as", "who", help="Who confirms; else the user of this machine.")
@as_json
@example("""
settlement-engine reopen
settlement-engine reopen --restored --since 2026-01-31T09:30:00+0000
settlement-engine reopen --confirm --reason "statement of 31 January compared by hand"
""")
def reopen(  # noqa: PLR0913 -- each option of the command is an argument
    *,
    config_file: Path | None,
    settings: tuple[str, ...],
    database_url: str | None,
    restored: bool,
    since: datetime | None,
    confirm: bool,
    reason: str,
    who: str | None,
    is_json: bool,
) -> None:
    """Say how the database was opened, open it anew after a restore, or confirm an opening."""
    from settlement_engine import app

    _check_wish(restored=restored, since=since, confirm=confirm, reason=reason)
    url = _find_database(config_file, settings, database_url)
    if restored or confirm:
        era = asyncio.run(
            app.reopen(url, since=since)
            if restored
            else app.confirm_opening(url, who=who or getpass.getuser(), reason=reason)
        )
        if is_json:
            print_json({"era": era, "isShut": True})
        else:
            mark(GOOD, f"era {era}: nothing is sent until the banks were asked")
        return
    steps = asyncio.run(app.openings(url))
    if is_json:
        print_json([msgspec.structs.asdict(step) for step in steps])
        return
    rows = [
        (str(s.era), s.step, s.why, str(s.timeline), s.at.isoformat("T", "seconds")) for s in steps
    ]
    table(("ERA", "STEP", "WHY", "TIMELINE", "AT"), rows, right=("ERA", "TIMELINE"))


def _check_wish(*, restored: bool, since: datetime | None, confirm: bool, reason: str) -> None:
    if restored and confirm:
        raise click.UsageError("--restored and --confirm do not go together")
    if since is not None and not restored:
        raise click.UsageError("--since goes with --restored")
    if confirm and not reason.strip():
        raise click.UsageError("--confirm needs a --reason")
    if has_unseen(reason):
        raise click.UsageError("--reason contains characters that nobody sees")


def proof_as_dict(proof: Proof) -> dict[str, object]:
    """Return the proof as JSON has it; amounts are decimal text."""
    return {
        "isProved": not proof.differences,
        "accounts": proof.accounts,
        "transfers": proof.transfers,
        "settlements": proof.settlements,
        "openSettlements": proof.open_settlements,
        "openHolds": proof.open_holds,
        "totals": {code: format_amount(minor, code) for code, minor in proof.totals.items()},
        "differences": [
            {"check": d.check, "subject": d.subject, "expected": d.expected, "found": d.found}
            for d in proof.differences
        ],
    }


def print_proof(proof: Proof) -> None:
    """Print the proof for a person."""
    say(
        f"{counted(proof.settlements, 'settlement')}, {counted(proof.transfers, 'transfer')}"
        f" on {counted(proof.accounts, 'account')};"
        f" open: {counted(proof.open_settlements, 'settlement')}, {counted(proof.open_holds, 'hold')}"
    )
    if proof.totals:
        rows = [(code, format_amount(minor, code)) for code, minor in sorted(proof.totals.items())]
        table(("CURRENCY", "POSTED DEBITS = CREDITS"), rows, right=("POSTED DEBITS = CREDITS",))
    for item in proof.differences:
        text = f"{item.check}: {item.subject}: expected {item.expected}, found {item.found}"
        mark(BAD, text)
    if not proof.differences:
        mark(GOOD, "the books balance: every balance and every hold follows from the transfers")


def _find_database(
    config_file: Path | None, settings: tuple[str, ...], database_url: str | None
) -> str:
    from settlement_engine.cli.addresses import find_running

    loaded = load_config(config_file, settings, {"database.url": database_url})
    url = loaded.config.database.url.get_secret_value()
    if url:
        return url
    running = find_running()
    if running is not None and running.database_url:
        return running.database_url
    raise Misconfigured(
        "no database is named",
        why="database.url is empty, and no `settlement-engine dev` runs in this directory",
        todo="Set SETTLEMENT_DATABASE__URL, or start `settlement-engine dev`.",
    )
