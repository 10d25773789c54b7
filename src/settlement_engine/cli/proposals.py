"""``proposals``: what was proposed about settlements in doubt, and what waits for a second person."""

from __future__ import annotations

from typing import Final

import click

from settlement_engine.cli.commands import lasting
from settlement_engine.cli.connection import CALL_SECONDS, EngineAddress, engine_options, reach
from settlement_engine.cli.lives import settlement_id_of
from settlement_engine.cli.matters import FINDINGS, status_word
from settlement_engine.cli.messages import as_dict, day_and_time
from settlement_engine.cli.output import as_json, example, print_json, say, table
from settlement_engine.proto import settlement_pb2 as wire

PAGE_MAX: Final = 1_000
LIST_MAX: Final = 100_000


@lasting
@click.command()
@click.option("--all", "has_ended", is_flag=True, help="Those too that wait for nobody any more.")
@click.option(
    "--settlement", default="", metavar="ID", help="Only of this settlement, by any name of it."
)
@click.option(
    "--limit",
    type=click.IntRange(1, LIST_MAX),
    default=100,
    show_default=True,
    help="How many at most.",
)
@engine_options
@as_json
@example("""
settlement-engine proposals
settlement-engine proposals --all --settlement MY-OBLIGATION-7 --json
""")
def proposals(
    *, has_ended: bool, settlement: str, limit: int, address: EngineAddress, is_json: bool
) -> None:
    """List proposals, newest first: those that wait to be decided or carried out."""
    wanted = wire.ListProposalsRequest(include_ended=has_ended)
    found: list[wire.ResolutionProposal] = []
    with reach(address) as engine:
        if settlement:
            wanted.settlement_id = settlement_id_of(engine, settlement)
        while len(found) < limit:
            wanted.page_size = min(limit - len(found), PAGE_MAX)
            page = engine.exceptions.ListProposals(wanted, timeout=CALL_SECONDS)
            found += page.proposals
            wanted.page_token = page.next_page_token
            if not page.next_page_token:
                break
    if is_json:
        print_json({"proposals": [as_dict(each) for each in found]})
        return
    columns = ("ID", "SETTLEMENT", "PROPOSED", "BY", "STATUS", "DECIDED BY", "EXPIRES", "REASON")
    table(columns, [_row(each) for each in found], right=("ID",))
    if not found:
        say("nothing found" if has_ended else "nothing waits; --all lists those that have ended")


def _row(found: wire.ResolutionProposal) -> tuple[str, ...]:
    return (
        found.id,
        found.settlement_id,
        FINDINGS.get(found.finding, "?"),
        found.proposed_by,
        status_word(found),
        found.decided_by,
        day_and_time(found.expires_time),
        found.reason,
    )
