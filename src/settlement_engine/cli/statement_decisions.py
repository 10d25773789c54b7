"""``statements set-aside``, ``restore``, ``proposals``, ``approve`` and ``decline``: two people decide what counts.

Promises: each step has the name of a person; what is approved is what was shown, because the approval carries the
proposal's fingerprint; ``--dry-run`` changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from settlement_engine.cli.acting import acting, name_of, who_option
from settlement_engine.cli.commands import lasting
from settlement_engine.cli.connection import CALL_SECONDS, EngineAddress, engine_options, reach
from settlement_engine.cli.messages import as_dict, day_and_time
from settlement_engine.cli.output import GOOD, as_json, example, mark, print_json, say, table
from settlement_engine.cli.pages import limit_option, read_pages, say_how_much
from settlement_engine.proto import settlement_pb2 as wire

if TYPE_CHECKING:
    from settlement_engine.cli.connection import EngineClient

CHANGE: Final = "STATEMENT_CHANGE_"
STATUS: Final = "PROPOSAL_STATUS_"
COLUMNS: Final = (
    "NO.",
    "CHANGE",
    "STATEMENTS",
    "ACCOUNT",
    "BY",
    "STATUS",
    "DECIDED BY",
    "EXPIRES",
    "REASON",
)

_numbers = click.argument(
    "numbers", metavar="NUMBER...", nargs=-1, required=True, type=click.IntRange(min=1)
)
_reason = click.option("--reason", required=True, help="Why; it is kept.")
_dry_run = click.option("--dry-run", is_flag=True, help="Show what would be done; do nothing.")


@lasting
@click.command("set-aside")
@_numbers
@_reason
@who_option
@_dry_run
@engine_options
@as_json
@example("""
settlement-engine statements set-aside 12 --reason "the bank has sent the right one"
settlement-engine statements set-aside 12 13 14 --reason "of another account" --as anna
""")
def set_aside(
    *,
    numbers: tuple[int, ...],
    reason: str,
    who: str | None,
    dry_run: bool,
    address: EngineAddress,
    is_json: bool,
) -> None:
    """Propose that kept statements do not count; another person has to approve it.

    NUMBER is ours, as `statements list` has it. A statement of several pages has one for each page: name them all. Of
    two contested versions the one that is left counts. Nothing is deleted, and `statements restore` undoes it.
    """
    change = wire.STATEMENT_CHANGE_SET_ASIDE
    request = wire.ProposeStatementChangeRequest(
        change=change, numbers=numbers, reason=reason, validate_only=dry_run
    )
    _propose(request, who, address, is_json=is_json)


@lasting
@click.command()
@_numbers
@_reason
@who_option
@_dry_run
@engine_options
@as_json
@example("""
settlement-engine statements restore 12 --reason "it was the right one"
""")
def restore(
    *,
    numbers: tuple[int, ...],
    reason: str,
    who: str | None,
    dry_run: bool,
    address: EngineAddress,
    is_json: bool,
) -> None:
    """Propose that statements that are set aside count again; another person has to approve it."""
    change = wire.STATEMENT_CHANGE_RESTORE
    request = wire.ProposeStatementChangeRequest(
        change=change, numbers=numbers, reason=reason, validate_only=dry_run
    )
    _propose(request, who, address, is_json=is_json)


def _propose(
    request: wire.ProposeStatementChangeRequest,
    who: str | None,
    address: EngineAddress,
    *,
    is_json: bool,
) -> None:
    with reach(address) as engine:
        found = engine.statements.ProposeStatementChange(request, **acting(who, address))
    if is_json:
        print_json(as_dict(found))
        return
    _print(found)
    if request.validate_only:
        say(f"\n  {found.proposed_by} would propose it; another person would have to approve it")
        return
    say(f"\n  another person has to approve it: settlement-engine statements approve {found.id}")


@lasting
@click.command()
@click.option(
    "--statement", "number", default=0, metavar="NUMBER", help="Only about this statement."
)
@click.option("--all", "has_ended", is_flag=True, help="Also those that are decided or expired.")
@limit_option()
@engine_options
@as_json
@example("settlement-engine statements proposals --all")
def proposals(
    *, number: int, has_ended: bool, limit: int, address: EngineAddress, is_json: bool
) -> None:
    """List proposals about statements that wait for a second person, newest first."""
    wanted = wire.ListStatementProposalsRequest(number=number, include_ended=has_ended)
    with reach(address) as engine:
        listed = read_pages(engine.statements.ListStatementProposals, wanted, limit, "proposals")
    if is_json:
        many = [as_dict(each) for each in listed.items]
        print_json({"proposals": many, "hasMore": listed.has_more})
        return
    table(COLUMNS, [_row(each) for each in listed.items], right=("NO.",))
    say_how_much(listed, "no proposals about statements")


@lasting
@click.command()
@click.argument("proposal_id", metavar="PROPOSAL")
@click.option("--fingerprint", default="", help="Refuse unless the proposal has this fingerprint.")
@who_option
@_dry_run
@engine_options
@as_json
@example("settlement-engine statements approve 3 --as grace")
def approve(
    *,
    proposal_id: str,
    fingerprint: str,
    who: str | None,
    dry_run: bool,
    address: EngineAddress,
    is_json: bool,
) -> None:
    """Approve the proposal of another person: its statements do not count from then on, or count again.

    The account is reconciled anew, and its days are proved again.
    """
    with reach(address) as engine:
        wanted = wire.GetStatementProposalRequest(id=proposal_id)
        shown = engine.statements.GetStatementProposal(wanted, timeout=CALL_SECONDS)
        if not is_json:
            _print(shown)
        request = wire.ApproveStatementProposalRequest(
            id=proposal_id,
            content_sha256=fingerprint or shown.content_sha256,
            validate_only=dry_run,
        )
        found = engine.statements.ApproveStatementProposal(request, **acting(who, address))
    if is_json:
        print_json(as_dict(found))
    elif dry_run:
        say(f"\n  {name_of(who, address)} would approve it")
    else:
        is_aside = found.change == wire.STATEMENT_CHANGE_SET_ASIDE
        became = "set aside" if is_aside else "counted again"
        mark(GOOD, f"approved by {found.decided_by}; {_named(found)}: {became} from now on")


@lasting
@click.command()
@click.argument("proposal_id", metavar="PROPOSAL")
@who_option
@_dry_run
@engine_options
@example("settlement-engine statements decline 3 --as grace")
def decline(*, proposal_id: str, who: str | None, dry_run: bool, address: EngineAddress) -> None:
    """Decline a proposal of another person, or withdraw your own."""
    request = wire.DeclineStatementProposalRequest(id=proposal_id, validate_only=dry_run)
    with reach(address) as engine:
        found = engine.statements.DeclineStatementProposal(request, **acting(who, address))
    if dry_run:
        _print(found)
        say(f"\n  {name_of(who, address)} would decline it")
        return
    mark(GOOD, f"proposal {found.id} declined by {found.decided_by}")


COMMANDS: Final = (set_aside, restore, proposals, approve, decline)
"""The commands of ``statements`` by which two people decide what counts."""


def set_aside_in_words(engine: EngineClient, statement: wire.Statement) -> str:
    """Say by whom a statement was set aside, and why; empty if it counts."""
    if not statement.is_set_aside:
        return ""
    wanted = wire.ListStatementProposalsRequest(number=statement.number, include_ended=True)
    listed = engine.statements.ListStatementProposals(wanted, timeout=CALL_SECONDS)
    for each in listed.proposals:
        is_applied = each.status == wire.PROPOSAL_STATUS_APPLIED
        if is_applied and each.change == wire.STATEMENT_CHANGE_SET_ASIDE:
            return (
                f"by {each.proposed_by} and {each.decided_by} at"
                f" {day_and_time(each.decided_time)}: {each.reason}"
            )
    return "by two people"


def _print(found: wire.StatementProposal) -> None:
    facts = (
        ("proposal", f"{found.id or 'none yet'}, {_word(found)}, of {found.proposed_by}"),
        ("about", f"{_named(found)} of account {found.account_id}"),
        ("reason", found.reason),
        ("signs", found.content_sha256),
    )
    for title, text in facts:
        say(f"  {title:<9} {text}")


def _named(found: wire.StatementProposal) -> str:
    word = "statement" if len(found.numbers) == 1 else "statements"
    return f"{word} {', '.join(map(str, found.numbers))}"


def _word(found: wire.StatementProposal) -> str:
    return wire.StatementChange.Name(found.change).removeprefix(CHANGE)


def _row(found: wire.StatementProposal) -> tuple[str, ...]:
    return (
        found.id,
        _word(found),
        ", ".join(map(str, found.numbers)),
        found.account_id,
        found.proposed_by,
        wire.ProposalStatus.Name(found.status).removeprefix(STATUS),
        found.decided_by,
        day_and_time(found.expires_time),
        found.reason,
    )
