"""The work on breaks: ``breaks assign``, ``comment``, ``match``, ``unmatch``, ``write-off`` and its second person.

Promises: each step has the name of a person; what is approved is what was shown, because the approval carries the
proposal's fingerprint; ``--dry-run`` changes nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click

from settlement_engine.cli.acting import acting, name_of, who_option
from settlement_engine.cli.commands import lasting
from settlement_engine.cli.connection import CALL_SECONDS, EngineAddress, engine_options, reach
from settlement_engine.cli.messages import as_dict, day_and_time
from settlement_engine.cli.output import GOOD, as_json, example, mark, print_json, say, table
from settlement_engine.cli.pages import limit_option, read_pages, say_how_much
from settlement_engine.proto import settlement_pb2 as wire

EVIDENCE_BYTES_MAX: Final = 1024 * 1024
RESOLUTION: Final = "BREAK_RESOLUTION_"
STATUS: Final = "PROPOSAL_STATUS_"
COLUMNS: Final = (
    "NO.",
    "BREAK",
    "RESOLUTION",
    "AMOUNT",
    "",
    "BY",
    "STATUS",
    "DECIDED BY",
    "EXPIRES",
)

_number = click.argument("break_id", metavar="NUMBER")
_reason = click.option("--reason", required=True, help="Why; it is kept with the break.")
_dry_run = click.option("--dry-run", is_flag=True, help="Show what would be done; do nothing.")
_ours = click.option(
    "--ours", multiple=True, metavar="ITEM", help="A posting of ours; may be repeated."
)
_theirs = click.option(
    "--theirs", multiple=True, metavar="ITEM", help="An entry of theirs; may be repeated."
)
_evidence = click.option(
    "--evidence",
    "file",
    type=click.Path(path_type=Path),
    help="A letter or an advice of the bank, at most 1 MiB.",
)


@lasting
@click.command()
@_number
@click.argument("owner")
@click.option("--reason", default="", help="Why; it is kept with the break.")
@who_option
@_dry_run
@engine_options
@example("settlement-engine breaks assign 12 ben")
def assign(
    *,
    break_id: str,
    owner: str,
    reason: str,
    who: str | None,
    dry_run: bool,
    address: EngineAddress,
) -> None:
    """Make an open break the work of OWNER, a person or a group."""
    request = wire.AssignBreakRequest(
        id=break_id, owner=owner, reason=reason, validate_only=dry_run
    )
    with reach(address) as engine:
        found = engine.reconciliation.AssignBreak(request, **acting(who, address))
    if dry_run:
        say(f"{name_of(who, address)} would assign break {found.id} to {owner}")
        return
    mark(GOOD, f"break {found.id} is assigned to {found.owner}, due {day_and_time(found.due_time)}")


@lasting
@click.command()
@_number
@click.argument("text")
@who_option
@_dry_run
@engine_options
@example('settlement-engine breaks comment 12 "the bank looks for it"')
def comment(
    *, break_id: str, text: str, who: str | None, dry_run: bool, address: EngineAddress
) -> None:
    """Add a comment to a break."""
    request = wire.CommentBreakRequest(id=break_id, text=text, validate_only=dry_run)
    with reach(address) as engine:
        found = engine.reconciliation.CommentBreak(request, **acting(who, address))
    if dry_run:
        say(f"{name_of(who, address)} would comment on break {found.id}")
        return
    mark(GOOD, f"the comment is kept with break {found.id}")


@lasting
@click.command()
@_number
@_ours
@_theirs
@click.option("--charges", "kind", flag_value="CHARGES", help="They differ by a charge.")
@click.option("--exchange", "kind", flag_value="EXCHANGE", help="They differ by exchange.")
@_reason
@_evidence
@who_option
@_dry_run
@engine_options
@as_json
@example("""
settlement-engine breaks match 12 --ours GROUP/1/1 --theirs 7/3 --reason "the bank's mistake"
settlement-engine breaks match 12 --charges --reason "the bank's tariff"
""")
def match(  # noqa: PLR0913 -- each option of the command is an argument
    *,
    break_id: str,
    ours: tuple[str, ...],
    theirs: tuple[str, ...],
    kind: str | None,
    reason: str,
    file: Path | None,
    who: str | None,
    dry_run: bool,
    address: EngineAddress,
    is_json: bool,
) -> None:
    """Match open items, by default those of the break.

    What is exactly equal is matched at once. A difference is proposed, and another person has to approve it.
    """
    request = wire.ProposeMatchRequest(
        break_id=break_id,
        our_postings=ours,
        their_entries=theirs,
        resolution=wire.BreakResolution.Value(RESOLUTION + (kind or "MATCH")),
        reason=reason,
        validate_only=dry_run,
        **_file(file),
    )
    with reach(address) as engine:
        found = engine.reconciliation.ProposeMatch(request, **acting(who, address))
    if is_json:
        print_json(as_dict(found))
    elif found.HasField("proposal"):
        _say_proposed(found.proposal, is_dry_run=dry_run)
    elif dry_run:
        say(f"{name_of(who, address)} would match the items of break {break_id}")
    else:
        mark(GOOD, f"match {found.match_id}: break {break_id} is closed")


@lasting
@click.command()
@click.argument("match_id", metavar="MATCH")
@_reason
@who_option
@_dry_run
@engine_options
@example('settlement-engine breaks unmatch 44 --reason "it belongs to another payment"')
def unmatch(
    *, match_id: str, reason: str, who: str | None, dry_run: bool, address: EngineAddress
) -> None:
    """Take a match back: its items are open again, and no run matches them again."""
    request = wire.UnmatchRequest(match_id=match_id, reason=reason, validate_only=dry_run)
    with reach(address) as engine:
        found = engine.reconciliation.Unmatch(request, **acting(who, address))
    opened = f"open again: breaks {', '.join(found.break_ids)}" if found.break_ids else "no break"
    if dry_run:
        say(f"{name_of(who, address)} would take match {match_id} back; {opened}")
        return
    mark(GOOD, f"match {match_id} is taken back; {opened}")


@lasting
@click.command("write-off")
@_number
@_ours
@_theirs
@click.option("--suspense", "SUSPENSE", is_flag=True, help="Into suspense instead.")
@click.option("--funding", "FUNDING", is_flag=True, help="The credit is a funding.")
@click.option("--return", "RETURN", is_flag=True, help="The credit goes back.")
@click.option("--explain", "EXPLANATION", is_flag=True, help="Explain an opening difference.")
@_reason
@_evidence
@who_option
@_dry_run
@engine_options
@as_json
@example("""
settlement-engine breaks write-off 12 --reason "below the cost of asking" --dry-run
settlement-engine breaks write-off 12 --suspense --evidence advice.pdf --reason "owner unknown"
""")
def write_off(  # noqa: PLR0913 -- each option of the command is an argument
    *,
    break_id: str,
    ours: tuple[str, ...],
    theirs: tuple[str, ...],
    reason: str,
    file: Path | None,
    who: str | None,
    dry_run: bool,
    address: EngineAddress,
    is_json: bool,
    **kinds: bool,
) -> None:
    """Propose to close a break with a transfer; another person has to approve it."""
    request = wire.ProposeWriteOffRequest(
        break_id=break_id,
        our_postings=ours,
        their_entries=theirs,
        resolution=_resolution(kinds),
        reason=reason,
        validate_only=dry_run,
        **_file(file),
    )
    with reach(address) as engine:
        found = engine.reconciliation.ProposeWriteOff(request, **acting(who, address))
    if is_json:
        print_json(as_dict(found))
        return
    _say_proposed(found, is_dry_run=dry_run)


def _resolution(kinds: dict[str, bool]) -> wire.BreakResolution.ValueType:
    """Return the only resolution that was asked for; a write-off without any."""
    chosen = [kind for kind, is_chosen in kinds.items() if is_chosen]
    if len(chosen) > 1:
        message = "give one of --suspense, --funding, --return and --explain"
        raise click.UsageError(message)
    return wire.BreakResolution.Value(RESOLUTION + (chosen[0] if chosen else "WRITE_OFF"))


@lasting
@click.command()
@click.option("--break", "break_id", default="", metavar="NUMBER", help="Only of this break.")
@click.option("--all", "has_ended", is_flag=True, help="Also those that are decided or expired.")
@limit_option()
@engine_options
@as_json
@example("settlement-engine breaks proposals")
def proposals(
    *, break_id: str, has_ended: bool, limit: int, address: EngineAddress, is_json: bool
) -> None:
    """List proposals that wait for a second person, newest first."""
    wanted = wire.ListBreakProposalsRequest(break_id=break_id, include_ended=has_ended)
    with reach(address) as engine:
        listed = read_pages(engine.reconciliation.ListBreakProposals, wanted, limit, "proposals")
    if is_json:
        many = [as_dict(each) for each in listed.items]
        print_json({"proposals": many, "hasMore": listed.has_more})
        return
    table(COLUMNS, [_row(each) for each in listed.items], right=("NO.", "AMOUNT"))
    say_how_much(listed, "no proposals about breaks")


@lasting
@click.command()
@click.argument("proposal_id", metavar="PROPOSAL")
@click.option("--fingerprint", default="", help="Refuse unless the proposal has this fingerprint.")
@who_option
@_dry_run
@engine_options
@as_json
@example("settlement-engine breaks approve 3 --as grace")
def approve(
    *,
    proposal_id: str,
    fingerprint: str,
    who: str | None,
    dry_run: bool,
    address: EngineAddress,
    is_json: bool,
) -> None:
    """Approve the proposal of another person: its transfer is posted in the same commit."""
    with reach(address) as engine:
        wanted = wire.GetBreakProposalRequest(id=proposal_id)
        shown = engine.reconciliation.GetBreakProposal(wanted, timeout=CALL_SECONDS)
        if not is_json:
            _print(shown)
        request = wire.ApproveBreakProposalRequest(
            id=proposal_id,
            content_sha256=fingerprint or shown.content_sha256,
            validate_only=dry_run,
        )
        found = engine.reconciliation.ApproveBreakProposal(request, **acting(who, address))
    if is_json:
        print_json(as_dict(found))
    elif dry_run:
        say(f"\n  {name_of(who, address)} would approve it")
    else:
        mark(GOOD, f"approved by {found.decided_by}; break {found.break_id} is closed")


@lasting
@click.command()
@click.argument("proposal_id", metavar="PROPOSAL")
@who_option
@_dry_run
@engine_options
@example("settlement-engine breaks decline 3 --as grace")
def decline(*, proposal_id: str, who: str | None, dry_run: bool, address: EngineAddress) -> None:
    """Decline a proposal of another person, or withdraw your own."""
    request = wire.DeclineBreakProposalRequest(id=proposal_id, validate_only=dry_run)
    with reach(address) as engine:
        found = engine.reconciliation.DeclineBreakProposal(request, **acting(who, address))
    if dry_run:
        _print(found)
        say(f"\n  {name_of(who, address)} would decline it")
        return
    mark(GOOD, f"proposal {found.id} declined by {found.decided_by}")


COMMANDS: Final = (*(assign, comment, match, unmatch, write_off, proposals, approve, decline),)
"""The commands of ``breaks`` that change something, and the proposals."""


def _file(file: Path | None) -> dict[str, Any]:
    """Read the evidence, and return its fields."""
    if file is None:
        return {}
    if not file.is_file() or not 1 <= file.stat().st_size <= EVIDENCE_BYTES_MAX:
        message = f"the evidence {file} must be a file with 1 to {EVIDENCE_BYTES_MAX:,} bytes"
        raise click.UsageError(message)
    return {"evidence_name": file.name, "evidence": file.read_bytes()}


def _say_proposed(found: wire.BreakProposal, *, is_dry_run: bool) -> None:
    _print(found)
    if is_dry_run:
        say(f"\n  {found.proposed_by} would propose it; another person would have to approve it")
        return
    say(f"\n  another person has to approve it: settlement-engine breaks approve {found.id}")


def _print(found: wire.BreakProposal) -> None:
    facts = (
        ("proposal", f"{found.id or 'none yet'}, {_word(found)}, of {found.proposed_by}"),
        ("break", found.break_id),
        ("posts", f"{found.amount} {found.currency} on account {found.account_id}"),
        ("ours", ", ".join(found.our_postings)),
        ("theirs", ", ".join(found.their_entries)),
        ("reason", found.reason),
        ("evidence", found.evidence_name),
        ("signs", found.content_sha256),
    )
    for title, text in facts:
        if text:
            say(f"  {title:<9} {text}")


def _word(found: wire.BreakProposal) -> str:
    return wire.BreakResolution.Name(found.resolution).removeprefix(RESOLUTION)


def _row(found: wire.BreakProposal) -> tuple[str, ...]:
    return (
        found.id,
        found.break_id,
        _word(found),
        found.amount,
        found.currency,
        found.proposed_by,
        wire.ProposalStatus.Name(found.status).removeprefix(STATUS),
        found.decided_by,
        day_and_time(found.expires_time),
    )
