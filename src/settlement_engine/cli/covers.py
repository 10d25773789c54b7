"""``repair-cover``: order another cover of a customer's payment, after the bank has refused the last one."""

from __future__ import annotations

import click

from settlement_engine.cli.acting import acting, who_option
from settlement_engine.cli.commands import lasting
from settlement_engine.cli.connection import EngineAddress, engine_options, reach
from settlement_engine.cli.failures import ExitCode
from settlement_engine.cli.histories import settlement_id_of
from settlement_engine.cli.messages import as_dict
from settlement_engine.cli.output import GOOD, as_json, example, mark, print_json, say
from settlement_engine.proto import settlement_pb2 as wire


@lasting
@click.command()
@click.argument("name", metavar="ID")
@click.option("--reason", required=True, help="Why another cover is sent.")
@who_option
@engine_options
@as_json
@example("""
settlement-engine repair-cover 0199c2d4-6f0e-7c1a-9d51-1f2a33445566 --reason "our account at FROM was funded"
""")
def repair_cover(
    *, name: str, reason: str, who: str | None, address: EngineAddress, is_json: bool
) -> int:
    """Order another cover of a customer's payment, after FROM has refused the last one.

    TO has the payment, which is not sent again; the cover has the same UETR, and goes to the correspondent that the
    bank directory names now. It is refused while FROM has not refused the last cover, which may then still be paid. To
    have the payment back instead use `cancel`. ID is any reference of the settlement, as for `show`.
    """
    with reach(address) as engine:
        request = wire.RepairCoverRequest(
            settlement_id=settlement_id_of(engine, name), reason=reason
        )
        found = engine.settlements.RepairCover(request, **acting(who, address))
    if is_json:
        print_json(as_dict(found))
        return ExitCode.OK
    mark(GOOD, f"cover {found.number} is ordered: {found.message_id}  {found.settlement_id}")
    say(f"  see what becomes of it: settlement-engine show {found.settlement_id}")
    return ExitCode.OK
