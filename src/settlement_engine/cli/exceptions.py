"""``exceptions``, ``resolve``, ``approve`` and ``decline``: case management for settlements.

Promises: no decision is made without the name of a person; what is approved is what was shown, because the
approval carries the proposal's fingerprint; ``--dry-run`` changes nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from settlement_engine.cli.acting import acting, name_of, who_option
from settlement_engine.cli.cases import (
    FINDINGS,
    KIND_PREFIX,
    print_exception,
    print_proposal,
    row,
)
from settlement_engine.cli.commands import lasting
from settlement_engine.cli.connection import CALL_SECONDS, EngineAddress, engine_options, reach
from settlement_engine.cli.failures import ExitCode
from settlement_engine.cli.histories import name_subject, settlement_id_of
from settlement_engine.cli.messages import as_dict
from settlement_engine.cli.output import (
    GOOD,
    as_json,
    counted,
    example,
    mark,
    print_json,
    say,
    table,
)
from settlement_engine.cli.pages import limit_option, read_pages, say_how_much
from settlement_engine.errors import Misconfigured
from settlement_engine.proto import settlement_pb2 as wire

if TYPE_CHECKING:
    from settlement_engine.cli.connection import EngineClient

EVIDENCE_BYTES_MAX: Final = 1024 * 1024
KINDS: Final = [
    name.removeprefix(KIND_PREFIX).lower()
    for name in wire.ExceptionKind.keys()  # noqa: SIM118 -- no dict
][1:]

OF_PARKED: Final = frozenset({"RELEASE", "DECLINE"})
"""Findings that need no evidence."""

PARKED: Final = frozenset({wire.RESOLUTION_FINDING_RELEASE, wire.RESOLUTION_FINDING_DECLINE})
ASKED_FIRST: Final = "the engine asks the bank once more, then it applies the proposal"

AFTER_APPROVAL: Final = {
    wire.PROPOSAL_STATUS_APPLIED: "it was applied",
    wire.PROPOSAL_STATUS_OVERTAKEN: "it was not applied: a final bank status came first",
}
"""The result of an approval, once it is known."""

_dry_run = click.option("--dry-run", is_flag=True, help="Show what would be done; do nothing.")


@lasting
@click.group()
def exceptions() -> None:
    """Exceptions that need a person: list, show, acknowledge and close them."""


@lasting
@exceptions.command("list")
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    type=click.Choice(KINDS, case_sensitive=False),
    help="Only these kinds; may be repeated.",
)
@click.option(
    "--settlement", default="", metavar="ID", help="Only of this settlement; any of its references."
)
@click.option("--closed", is_flag=True, help="Also list closed exceptions.")
@limit_option()
@engine_options
@as_json
@example("""
settlement-engine exceptions list
settlement-engine exceptions list --kind disproved --closed --json
""")
def list_(
    *,
    kinds: tuple[str, ...],
    settlement: str,
    closed: bool,
    limit: int,
    address: EngineAddress,
    is_json: bool,
) -> None:
    """List exceptions, newest first."""
    wanted = wire.ListExceptionsRequest(
        kinds=[wire.ExceptionKind.Value(KIND_PREFIX + name.upper()) for name in kinds],
        include_closed=closed,
    )
    with reach(address) as engine:
        if settlement:
            wanted.settlement_id = settlement_id_of(engine, settlement)
        listed = read_pages(engine.exceptions.ListExceptions, wanted, limit, "exceptions")
    if is_json:
        many = [as_dict(each) for each in listed.items]
        print_json({"exceptions": many, "hasMore": listed.has_more})
        return
    facts = ("SETTLEMENT", "STATE", "AMOUNT", "", "AGE", "ACKNOWLEDGED BY")
    columns = ("ID", "SEVERITY", "KIND", *facts)
    table(columns, [row(each) for each in listed.items], right=("ID", "AMOUNT"))
    say_how_much(listed)


@lasting
@exceptions.command()
@click.argument("exception_id", metavar="ID")
@engine_options
@as_json
@example("settlement-engine exceptions show 7")
def show(*, exception_id: str, address: EngineAddress, is_json: bool) -> None:
    """Show an exception, the bank's statuses, and what is safe to do now."""
    with reach(address) as engine:
        found = engine.exceptions.GetException(
            wire.GetExceptionRequest(id=exception_id), timeout=CALL_SECONDS
        )
    if is_json:
        print_json(as_dict(found))
        return
    print_exception(found)


@lasting
@exceptions.command()
@click.argument("exception_id", metavar="ID")
@who_option
@engine_options
@example("settlement-engine exceptions acknowledge 7")
def acknowledge(*, exception_id: str, who: str | None, address: EngineAddress) -> None:
    """Record that you are working on an exception."""
    with reach(address) as engine:
        found = engine.exceptions.AcknowledgeException(
            wire.AcknowledgeExceptionRequest(id=exception_id), **acting(who, address)
        )
    mark(GOOD, f"exception {found.id} acknowledged by {found.acknowledged_by}")


@lasting
@exceptions.command()
@click.argument("exception_id", metavar="ID")
@click.option("--reason", required=True, help="How the exception was resolved.")
@who_option
@_dry_run
@engine_options
@example('settlement-engine exceptions close 7 --reason "the bank has returned the second payment"')
def close(
    *, exception_id: str, reason: str, who: str | None, dry_run: bool, address: EngineAddress
) -> None:
    """Close an exception. With money in suspense, another person must acknowledge it first."""
    with reach(address) as engine:
        if dry_run:
            wanted = wire.GetExceptionRequest(id=exception_id)
            print_exception(engine.exceptions.GetException(wanted, timeout=CALL_SECONDS))
            say(f"\n  {name_of(who, address)} would close it with the reason: {reason}")
            return
        request = wire.CloseExceptionRequest(id=exception_id, reason=reason)
        found = engine.exceptions.CloseException(request, **acting(who, address))
    mark(GOOD, f"exception {found.id} closed by {found.closed_by}")


@lasting
@exceptions.command()
@click.argument("proposal_id", metavar="PROPOSAL")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    help="The file to write; an existing file is not overwritten.",
)
@engine_options
@example("settlement-engine exceptions evidence 3 -o statement.xml")
def evidence(*, proposal_id: str, output: Path, address: EngineAddress) -> None:
    """Write the evidence of a proposal to a file. Read it before you approve the proposal."""
    wanted = wire.GetProposalRequest(id=proposal_id, include_evidence=True)
    with reach(address) as engine:
        found = engine.exceptions.GetProposal(wanted, timeout=CALL_SECONDS)
    try:
        with output.open("xb") as file:
            file.write(found.evidence)
    except OSError as error:
        what = f"{output} cannot be written"
        todo = "Choose another file with --output."
        raise Misconfigured(what, why=error.strerror or "", todo=todo) from error
    mark(
        GOOD, f"{counted(len(found.evidence), 'byte')} to {output}, sha256 {found.evidence_sha256}"
    )


# --- resolutions ----------------------------------------------------------------------------------


@lasting
@click.command()
@click.argument("name", metavar="ID")
@click.option("--settled", "finding", flag_value="SETTLED", help="The money moved.")
@click.option("--not-settled", "finding", flag_value="NOT_SETTLED", help="The money did not move.")
@click.option("--release", "finding", flag_value="RELEASE", help="A parked one may continue.")
@click.option("--decline", "finding", flag_value="DECLINE", help="A parked one must end.")
@click.option(
    "--evidence",
    "file",
    type=click.Path(path_type=Path),
    help="A statement or a letter of the bank, at most 1 MiB. Not needed for a parked settlement.",
)
@click.option("--reason", required=True, help="What the evidence shows, or why you decide so.")
@who_option
@_dry_run
@engine_options
@as_json
@example("""
settlement-engine resolve 7 --settled --evidence camt.053.xml --reason "entry 12 of today"
settlement-engine resolve 7 --not-settled --evidence letter.pdf --reason "their letter" --as ada
settlement-engine resolve 9 --release --reason "the customer was identified" --dry-run
""")
def resolve(  # noqa: PLR0913 -- each option of the command is an argument
    *,
    name: str,
    finding: str | None,
    file: Path | None,
    reason: str,
    who: str | None,
    dry_run: bool,
    address: EngineAddress,
    is_json: bool,
) -> None:
    """Propose how a settlement in doubt ended, or whether a parked one may continue.

    Another person must approve it. ID is an exception's number, or any settlement reference as for `show`.
    """
    if finding is None:
        message = "choose what you propose: --settled, --not-settled, --release or --decline"
        raise click.UsageError(message)
    if file is None and finding not in OF_PARKED:
        message = "give the evidence: --evidence FILE"
        raise click.UsageError(message)
    request = wire.ProposeResolutionRequest(
        finding=wire.ResolutionFinding.Value(f"RESOLUTION_FINDING_{finding}"),
        reason=reason,
        evidence_name=file.name if file is not None else "",
        evidence=_read(file) if file is not None else b"",
        validate_only=dry_run,
    )
    with reach(address) as engine:
        name_subject(engine, request, name)
        found = engine.exceptions.ProposeResolution(request, **acting(who, address))
    if is_json:
        print_json(as_dict(found))
        return
    if dry_run:
        _print_trial(found)
        return
    mark(GOOD, f"proposal {found.id}: {FINDINGS[found.finding]}")
    print_proposal(found)
    say(f"\n  another person has to approve it: settlement-engine approve {found.id}")


def _print_trial(found: wire.ResolutionProposal) -> None:
    """Show what the engine would store; an invalid proposal was refused before this."""
    if found.id:
        mark(GOOD, f"proposal {found.id} already says this: {FINDINGS[found.finding]}")
    else:
        mark(GOOD, f"{found.proposed_by} would propose: {FINDINGS[found.finding]}")
    print_proposal(found)
    say(f"\n  a person other than {found.proposed_by} would have to approve it")


@lasting
@click.command()
@click.argument("proposal_id", metavar="PROPOSAL")
@click.option("--fingerprint", default="", help="Refuse unless the proposal has this fingerprint.")
@who_option
@_dry_run
@engine_options
@as_json
@example("""
settlement-engine approve 3 --dry-run
settlement-engine approve 3 --as grace
""")
def approve(
    *,
    proposal_id: str,
    fingerprint: str,
    who: str | None,
    dry_run: bool,
    address: EngineAddress,
    is_json: bool,
) -> int:
    """Approve a proposal of another person. The engine asks the bank once more before it applies it."""
    with reach(address) as engine:
        shown = _find(engine, proposal_id)
        if not is_json:
            say(f"proposal {shown.id}: {FINDINGS.get(shown.finding, '?')}")
            print_proposal(shown)
        request = wire.ApproveProposalRequest(
            id=proposal_id,
            content_sha256=fingerprint or shown.content_sha256,
            validate_only=dry_run,
        )
        found = engine.exceptions.ApproveProposal(request, **acting(who, address))
    if is_json:
        print_json(as_dict(found))
        return ExitCode.OK
    if dry_run:
        say(f"\n  {name_of(who, address)} would approve it")
        return ExitCode.OK
    asked = "it is applied now" if found.finding in PARKED else ASKED_FIRST
    now = AFTER_APPROVAL.get(found.status, asked)
    mark(GOOD, f"approved by {found.decided_by}; {now}")
    say(f"  see the result: settlement-engine show {found.settlement_id}")
    return ExitCode.OK


@lasting
@click.command()
@click.argument("proposal_id", metavar="PROPOSAL")
@who_option
@_dry_run
@engine_options
@example("settlement-engine decline 3 --as grace")
def decline(*, proposal_id: str, who: str | None, dry_run: bool, address: EngineAddress) -> None:
    """Decline a proposal of another person, or withdraw your own."""
    with reach(address) as engine:
        found = engine.exceptions.DeclineProposal(
            wire.DeclineProposalRequest(id=proposal_id, validate_only=dry_run),
            **acting(who, address),
        )
    if dry_run:
        print_proposal(found)
        say(f"\n  {name_of(who, address)} would decline it")
        return
    mark(GOOD, f"proposal {found.id} declined by {found.decided_by}")


def _find(engine: EngineClient, proposal_id: str) -> wire.ResolutionProposal:
    wanted = wire.GetProposalRequest(id=proposal_id)
    return engine.exceptions.GetProposal(wanted, timeout=CALL_SECONDS)


def _read(file: Path) -> bytes:
    if not file.is_file():
        message = f"the evidence file {file} does not exist"
        raise click.UsageError(message)
    size = file.stat().st_size
    if not 1 <= size <= EVIDENCE_BYTES_MAX:
        message = (
            f"{file} has {counted(size, 'byte')}; evidence must have 1 to {EVIDENCE_BYTES_MAX:,}"
        )
        raise click.UsageError(message)
    return file.read_bytes()
