"""``proposals``: lists proposals for settlements, above all those that wait for a second person."""

from __future__ import annotations

import click

from settlement_engine.cli.cases import FINDINGS, status_word
from settlement_engine.cli.commands import lasting
from settlement_engine.cli.connection import EngineAddress, engine_options, reach
from settlement_engine.cli.histories import settlement_id_of
from settlement_engine.cli.messages import as_dict, day_and_time
from settlement_engine.cli.output import as_json, example, print_json, table
from settlement_engine.cli.pages import limit_option, read_pages, say_how_much
from settlement_engine.proto import settlement_pb2 as wire


@lasting
@click.command()
@click.option("--all", "has_ended", is_flag=True, help="Also list those that are finished.")
@click.option(
    "--settlement", default="", metavar="ID", help="Only of this settlement; any of its references."
)
@limit_option()
@engine_options
@as_json
@example("""
settlement-engine proposals
settlement-engine proposals --all --settlement MY-OBLIGATION-7 --json
""")
def proposals(
    *, has_ended: bool, settlement: str, limit: int, address: EngineAddress, is_json: bool
) -> None:
    """List proposals that wait for a decision or for their execution, newest first."""
    wanted = wire.ListProposalsRequest(include_ended=has_ended)
    with reach(address) as engine:
        if settlement:
            wanted.settlement_id = settlement_id_of(engine, settlement)
        listed = read_pages(engine.exceptions.ListProposals, wanted, limit, "proposals")
    if is_json:
        many = [as_dict(each) for each in listed.items]
        print_json({"proposals": many, "hasMore": listed.has_more})
        return
    columns = ("ID", "SETTLEMENT", "PROPOSED", "BY", "STATUS", "DECIDED BY", "EXPIRES", "REASON")
    table(columns, [_row(each) for each in listed.items], right=("ID",))
    waiting = "no open proposals; list finished ones with --all"
    say_how_much(listed, "nothing found" if has_ended else waiting)


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
