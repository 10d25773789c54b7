"""``recall``: ask for the money of a completed settlement back.

Promises: a recall that the bank has only accepted is never called a return.
"""

from __future__ import annotations

from typing import Final

import click

from settlement_engine.cli.acting import acting, who_option
from settlement_engine.cli.commands import lasting
from settlement_engine.cli.connection import EngineAddress, engine_options, reach
from settlement_engine.cli.failures import ExitCode
from settlement_engine.cli.histories import recall_words, settlement_id_of
from settlement_engine.cli.messages import as_dict
from settlement_engine.cli.output import BAD, GOOD, WARN, as_json, example, mark, print_json, say
from settlement_engine.proto import settlement_pb2 as wire

CODES: Final = {
    wire.RECALL_STATE_RETURNED: (GOOD, ExitCode.OK),
    wire.RECALL_STATE_REFUSED: (BAD, ExitCode.FAILED),
}
"""The sign and the exit code of a recall that has ended; the others are open."""


@lasting
@click.command()
@click.argument("name", metavar="ID")
@click.option("--reason", required=True, help="Why the money is wanted back.")
@who_option
@engine_options
@as_json
@example("""
settlement-engine recall 0199c2d4-6f0e-7c1a-9d51-1f2a33445566 --reason "paid twice by the customer"
""")
def recall(
    *, name: str, reason: str, who: str | None, address: EngineAddress, is_json: bool
) -> int:
    """Ask the bank to give back the money of a settlement that has completed.

    Nothing moves by it: the bank accepts or refuses, and what it gives back comes as a return. For a settlement that
    has not completed use `cancel`. ID is any reference of the settlement, as for `show`. Exit code 6 means that the
    bank has not given the money back, and has not refused.
    """
    with reach(address) as engine:
        request = wire.RecallSettlementRequest(
            settlement_id=settlement_id_of(engine, name), reason=reason
        )
        found = engine.settlements.RecallSettlement(request, **acting(who, address))
    sign, code = CODES.get(found.state, (WARN, ExitCode.OPEN))
    if is_json:
        print_json(as_dict(found))
        return code
    mark(sign, f"{recall_words(found)}  {found.settlement_id}")
    if found.replayed:
        mark(WARN, "it was requested before; nothing was done now")
    if code is ExitCode.OPEN:
        say(f"  see what becomes of it: settlement-engine show {found.settlement_id}")
    return code
