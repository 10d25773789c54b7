"""``migrate``, ``prove`` and ``recovery``: the schema, the proof of the books, recovery after a restore.

Promises: ``migrate --dry-run``, ``prove`` and ``recovery`` without options change nothing; ``prove`` exits
with 5 on any difference.
"""

from __future__ import annotations

import asyncio
import getpass
from typing import TYPE_CHECKING, Final

import click
import msgspec

from settlement_engine.cli.balance_proofs import tell_proofs
from settlement_engine.cli.commands import lasting
from settlement_engine.cli.failures import ExitCode
from settlement_engine.cli.open_items import tell_items
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
from settlement_engine.cli.pages import LIST_MAX
from settlement_engine.cli.settings import config_options, load_config, url_option
from settlement_engine.domain.money import format_amount
from settlement_engine.domain.readable import has_unseen
from settlement_engine.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from settlement_engine.ports import BarrierStep, Proof

ENVIRONMENTS: Final = ("production", "dev")

_database = url_option(
    "--database-url",
    "database.url",
    "The database, without a password. Default: database.url, or the `dev` running in this directory.",
)


@lasting
@click.command()
@config_options
@_database
@click.option("--dry-run", is_flag=True, help="Show what would be done; do nothing.")
@click.option(
    "--environment",
    type=click.Choice(ENVIRONMENTS),
    help="Mark the database for this environment. Default: the first `serve` or `dev` marks it.",
)
@click.option(
    "--replace-environment",
    "is_replacing",
    is_flag=True,
    help="With --environment: change an existing mark. Only for a copy of a database.",
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
    """Bring the database's schema up to date, and mark its environment."""
    from settlement_engine.app.database import mark_environment
    from settlement_engine.app.database import migrate as migrate_database

    if is_replacing and environment is None:
        raise click.UsageError("--replace-environment needs --environment")
    url = _find_database(config_file, settings, database_url)
    warnings: list[str] = []
    names = asyncio.run(migrate_database(url, dry_run=dry_run, warn=warnings.append))
    if environment is not None and not dry_run:
        asyncio.run(mark_environment(url, environment, is_replacing=is_replacing))
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
@click.option(
    "--date",
    "day",
    type=click.DateTime(["%Y-%m-%d"]),
    help="Instead: the proofs of our accounts at banks with the banks' statements for this booking day.",
)
@click.option(
    "--account", "account_id", type=click.IntRange(min=1), help="Such a proof of this account only."
)
@click.option(
    "--items",
    "with_items",
    is_flag=True,
    help="With --date or --account: also the items that were open at the end of the day.",
)
@click.option(
    "--limit",
    type=click.IntRange(1, LIST_MAX),
    default=1_000,
    show_default=True,
    help="With --items: the maximum number of items.",
)
@as_json
@example("""
settlement-engine prove
settlement-engine prove --json --database-url postgresql://reader@db/settlement
settlement-engine prove --date 2026-01-31 --account 12
settlement-engine prove --date 2026-01-31 --account 12 --items --json
""")
def prove(  # noqa: PLR0913 -- each option of the command is an argument
    *,
    config_file: Path | None,
    settings: tuple[str, ...],
    database_url: str | None,
    day: datetime | None,
    account_id: int | None,
    with_items: bool,
    limit: int,
    is_json: bool,
) -> int:
    """Recompute balances, holds, fingerprints and references; exit code 5 on any difference.

    Also finds transfers without a settlement, funding without its call, second attempts, and altered
    instructions, keys, payment messages, references and routes.

    With --date or --account it shows what reconciliation has proved instead (without --date for the last day of
    each account): our closing balance, what is open, and the bank's closing balance. Exit code 5 if one is not zero.

    With --items it also lists what was open at the end of the day: booked by one of the sides until then, and matched
    with something booked later, or open to this day. Exit code 5, too, if that does not add up to the proof.
    """
    from settlement_engine.app.database import prove as prove_ledger

    is_of_accounts = day is not None or account_id is not None
    if with_items and not is_of_accounts:
        raise click.UsageError("--items needs --date or --account")
    url = _find_database(config_file, settings, database_url)
    on = day.date() if day is not None else None
    if with_items:
        return tell_items(url, on, account_id, limit, is_json=is_json)
    if is_of_accounts:
        return tell_proofs(url, on, account_id, is_json=is_json)
    with busy("recomputing the books from the transfers"):
        proof = asyncio.run(prove_ledger(url))
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
    "--restored", is_flag=True, help="A backup was restored: start a recovery and ask the banks."
)
@click.option(
    "--since",
    type=click.DateTime(["%Y-%m-%dT%H:%M:%S%z"]),
    help="With --restored: data after this time may be missing. Default: the time of the last move.",
)
@click.option(
    "--confirm", is_flag=True, help="Resume sending for rails whose bank gives no payment list."
)
@click.option("--reason", default="", help="With --confirm: the reason, for the record.")
@click.option("--as", "who", help="Who confirms. Default: the user of this machine.")
@as_json
@example("""
settlement-engine recovery
settlement-engine recovery --restored --since 2026-01-31T09:30:00+0000
settlement-engine recovery --confirm --reason "statement of 31 January compared by hand"
""")
def recovery(  # noqa: PLR0913 -- each option of the command is an argument
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
    """Show the recoveries of the database, start one after a restore, or confirm one.

    During a recovery sending is paused. The engine asks each bank which payments it has, and then resumes
    sending rail by rail.
    """
    from settlement_engine.app import recovery

    _check_options(restored=restored, since=since, confirm=confirm, reason=reason)
    url = _find_database(config_file, settings, database_url)
    if restored or confirm:
        system_epoch = asyncio.run(
            recovery.begin_recovery(url, since=since)
            if restored
            else recovery.confirm_recovery(url, who=who or getpass.getuser(), reason=reason)
        )
        if is_json:
            print_json({"recovery": system_epoch, "isPaused": True})
        else:
            mark(GOOD, f"sending paused (recovery {system_epoch}) until the banks have answered")
        return
    steps = asyncio.run(recovery.recovery_journal(url))
    if is_json:
        print_json([msgspec.structs.asdict(step) for step in steps])
        return
    _print_recoveries(steps)


def _print_recoveries(steps: Sequence[BarrierStep]) -> None:
    rows = [
        (str(s.system_epoch), s.step, s.why, str(s.timeline), s.at.isoformat("T", "seconds"))
        for s in steps
    ]
    columns = ("RECOVERY", "STEP", "WHY", "TIMELINE", "AT")
    table(columns, rows, right=("RECOVERY", "TIMELINE"))


def _check_options(*, restored: bool, since: datetime | None, confirm: bool, reason: str) -> None:
    if restored and confirm:
        raise click.UsageError("give --restored or --confirm, not both")
    if since is not None and not restored:
        raise click.UsageError("--since needs --restored")
    if confirm and not reason.strip():
        raise click.UsageError("--confirm needs --reason")
    if has_unseen(reason):
        raise click.UsageError("--reason contains invisible characters")


def proof_as_dict(proof: Proof) -> dict[str, object]:
    """Return the proof for JSON; amounts are decimal text."""
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
    """Print the proof as text."""
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
        mark(GOOD, "the books balance: every balance and every hold matches the transfers")


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
        "no database is configured",
        why="database.url is empty, and no `settlement-engine dev` runs in this directory",
        todo="Set SETTLEMENT_DATABASE__URL, or start `settlement-engine dev`.",
    )
