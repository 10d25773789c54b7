"""``breaks``: the differences that reconciliation has found, and the work on them."""

from __future__ import annotations

from typing import Any, Final

import click

from settlement_engine.cli import break_work
from settlement_engine.cli.commands import lasting
from settlement_engine.cli.connection import CALL_SECONDS, EngineAddress, engine_options, reach
from settlement_engine.cli.messages import as_dict, day_and_time
from settlement_engine.cli.output import as_json, example, print_json, say, table
from settlement_engine.cli.pages import limit_option, read_pages, say_how_much
from settlement_engine.cli.reconciliation import account_option
from settlement_engine.proto import settlement_pb2 as wire

KIND: Final = "BREAK_KIND_"
SEVERITY: Final = "BREAK_SEVERITY_"
KINDS: Final = tuple(name.removeprefix(KIND).lower() for name in wire.BreakKind.keys()[1:])
COLUMNS: Final = (
    *("NO.", "KIND", "SEVERITY", "ACCOUNT", "BANK", "DAY", "AGE", "AMOUNT", "", "OWNER", ""),
)


@lasting
@click.group()
def breaks() -> None:
    """List and show differences that reconciliation has found, and work on them."""


for command in break_work.COMMANDS:
    breaks.add_command(command)


@lasting
@breaks.command("list")
@account_option
@click.option("--kind", type=click.Choice(KINDS), help="Only of this kind.")
@click.option("--owner", default="", help="Only of this owner.")
@click.option("--all", "with_closed", is_flag=True, help="Also those that are closed.")
@limit_option()
@engine_options
@as_json
@example("""
settlement-engine breaks list
settlement-engine breaks list --kind unknown_debit --json
""")
def list_(  # noqa: PLR0913 -- each option of the command is an argument
    *,
    account_id: str,
    kind: str | None,
    owner: str,
    with_closed: bool,
    limit: int,
    address: EngineAddress,
    is_json: bool,
) -> None:
    """List open breaks, the latest first. Amounts have the sign of the bank's statement."""
    wanted = wire.ListBreaksRequest(account_id=account_id, with_closed=with_closed, owner=owner)
    if kind is not None:
        wanted.kind = wire.BreakKind.Value(KIND + kind.upper())
    with reach(address) as engine:
        listed = read_pages(engine.reconciliation.ListBreaks, wanted, limit, "breaks")
    if is_json:
        print_json(
            {"breaks": [_as_dict(each) for each in listed.items], "hasMore": listed.has_more}
        )
        return
    table(COLUMNS, [_row(each) for each in listed.items], right=("NO.", "AMOUNT"))
    say_how_much(listed, "no breaks")


@lasting
@breaks.command()
@click.argument("break_id", metavar="NUMBER")
@engine_options
@as_json
@example("""
settlement-engine breaks show 12
""")
def show(*, break_id: str, address: EngineAddress, is_json: bool) -> None:
    """Show a break with its items, what is suggested about them, and its history."""
    with reach(address) as engine:
        wanted = wire.GetBreakRequest(id=break_id)
        found = engine.reconciliation.GetBreak(wanted, timeout=CALL_SECONDS)
    if is_json:
        print_json(_as_dict(found))
        return
    for title, text in _facts(found):
        if text:
            say(f"  {title:<9} {text}")
    for each in found.suggestions:
        say(f"  suggested {each.explanation}")
        say(f"    ours    {', '.join(each.our_postings)}")
        say(f"    theirs  {', '.join(each.their_entries)}")
    for event in found.events:
        said = f": {event.text}" if event.text else ""
        say(f"  {day_and_time(event.time)}  {event.kind} by {event.who}{said}")


def _facts(found: wire.ReconciliationBreak) -> list[tuple[str, str]]:
    return [
        ("break", f"{found.id}, {_kind(found)}, {_severity(found)}"),
        ("account", f"{found.account_id} at {found.bank}"),
        ("amount", f"{found.amount} {found.currency}"),
        ("day", found.business_date),
        ("reason", found.reason),
        ("age", f"{found.age_business_days} business days"),
        ("state", found.status or ("open" if found.is_open else "closed")),
        ("owner", found.owner),
        ("due", day_and_time(found.due_time) if found.HasField("due_time") else ""),
        ("level", str(found.level or "")),
        ("proposal", found.proposal_id),
        ("match", found.match_id),
        ("ours", ", ".join(found.our_postings)),
        ("theirs", ", ".join(found.their_entries)),
    ]


def _row(found: wire.ReconciliationBreak) -> tuple[str, ...]:
    return (
        found.id,
        _kind(found),
        _severity(found),
        found.account_id,
        found.bank,
        found.business_date,
        found.age_bucket,
        found.amount,
        found.currency,
        found.owner,
        "" if found.is_open else "closed",
    )


def _as_dict(found: wire.ReconciliationBreak) -> dict[str, Any]:
    return {**as_dict(found), "kind": _kind(found), "severity": _severity(found)}


def _kind(found: wire.ReconciliationBreak) -> str:
    return wire.BreakKind.Name(found.kind).removeprefix(KIND)


def _severity(found: wire.ReconciliationBreak) -> str:
    return wire.BreakSeverity.Name(found.severity).removeprefix(SEVERITY)
