"""``list`` and ``cancel``: settlements, from the caller's side.

Promises: a list says how much of all it shows; what is not over when a command ends is ended with 6.
"""

from __future__ import annotations

from typing import Final

import click

from settlement_engine.cli.commands import lasting
from settlement_engine.cli.connection import CALL_SECONDS, EngineAddress, engine_options, reach
from settlement_engine.cli.failures import ExitCode
from settlement_engine.cli.messages import (
    ENDED,
    as_dict,
    day_and_time,
    status_name,
    status_sign,
)
from settlement_engine.cli.output import GOOD, as_json, example, mark, print_json, say, table
from settlement_engine.proto import settlement_pb2 as wire

PAGE_MAX: Final = 1_000
LIST_MAX: Final = 100_000
STATUSES: Final = [name.lower() for name in wire.SettlementStatus.keys()]  # noqa: SIM118 -- no dict


@lasting
@click.command("list")
@click.option(
    "--status",
    "statuses",
    multiple=True,
    type=click.Choice(STATUSES, case_sensitive=False),
    help="Only these; may be given again.",
)
@click.option("--stuck", is_flag=True, help="Only what nothing moves, or what lasts too long.")
@click.option("--bank", default="", help="Only with this bank, on either side.")
@click.option("--currency", default="", help="Only in this currency.")
@click.option(
    "--limit",
    type=click.IntRange(1, LIST_MAX),
    default=20,
    show_default=True,
    help="How many at most.",
)
@engine_options
@as_json
@example("""
settlement-engine list --status in_doubt --status executing
settlement-engine list --bank DEUTDEFF --currency EUR --limit 100 --json
settlement-engine list --stuck
""")
def list_(  # noqa: PLR0913 -- each option of the command is an argument
    *,
    statuses: tuple[str, ...],
    stuck: bool,
    bank: str,
    currency: str,
    limit: int,
    address: EngineAddress,
    is_json: bool,
) -> None:
    """List settlements, newest first; what is stuck, oldest first."""
    if stuck:
        if statuses or bank or currency:
            raise click.UsageError("--stuck goes with no other filter")
        _list_stuck(address, limit, is_json=is_json)
        return
    wanted = wire.ListSettlementsRequest(
        statuses=[wire.SettlementStatus.Value(name.upper()) for name in statuses],
        bank=bank,
        currency=currency,
    )
    found: list[wire.SettlementStatusResponse] = []
    with reach(address) as engine:
        while len(found) < limit:
            wanted.page_size = min(limit - len(found), PAGE_MAX)
            page = engine.settlements.ListSettlements(wanted, timeout=CALL_SECONDS)
            found += page.settlements
            wanted.page_token = page.next_page_token
            if not page.next_page_token:
                break
    if is_json:
        print_json({"settlements": [as_dict(settlement) for settlement in found]})
        return
    columns = ("SETTLEMENT", "OBLIGATION", "FROM", "TO", "AMOUNT", "", "STATUS", "CREATED")
    table(columns, [_list_row(settlement) for settlement in found], right=("AMOUNT",))
    if not found:
        say("nothing found")


@lasting
@click.command()
@click.argument("settlement_id", metavar="ID")
@engine_options
@as_json
@example("""
settlement-engine cancel 0199c2d4-6f0e-7c1a-9d51-1f2a33445566
""")
def cancel(*, settlement_id: str, address: EngineAddress, is_json: bool) -> int:
    """Ask for a settlement not to be made; what the bank has, it is asked to give back.

    Exit code 6 says that the bank has been asked and has not answered yet.
    """
    request = wire.CancelSettlementRequest(settlement_id=settlement_id)
    with reach(address) as engine:
        answer = engine.settlements.CancelSettlement(request, timeout=CALL_SECONDS)
    code = ExitCode.OPEN if answer.status not in ENDED else ExitCode.OK
    if is_json:
        print_json(as_dict(answer))
        return code
    mark(status_sign(answer.status), f"{status_name(answer.status)}  {answer.settlement_id}")
    if code is ExitCode.OPEN:
        say(f"  it goes on; look with: settlement-engine show {answer.settlement_id}")
    return code


def _list_stuck(address: EngineAddress, limit: int, *, is_json: bool) -> None:
    wanted = wire.ListStuckSettlementsRequest(page_size=min(limit, PAGE_MAX))
    with reach(address) as engine:
        found = engine.settlements.ListStuckSettlements(wanted, timeout=CALL_SECONDS)
    if is_json:
        print_json(as_dict(found))
        return
    rows = [
        (each.settlement_id, each.obligation_id, each.state, each.text, day_and_time(each.since))
        for each in found.settlements
    ]
    if not rows:
        mark(GOOD, "nothing is stuck")
        return
    table(("SETTLEMENT", "OBLIGATION", "STATE", "WHY", "SINCE"), rows)
    counts = ", ".join(f"{count} {reason}" for reason, count in sorted(found.counts.items()))
    say(f"{counts}; look at one with: settlement-engine explain {rows[0][0]}")


def _list_row(settlement: wire.SettlementStatusResponse) -> tuple[str, ...]:
    status = status_name(settlement.status)
    refused = f" {settlement.refusal_code}" if settlement.refusal_code else ""
    return (
        settlement.settlement_id,
        settlement.obligation_id,
        settlement.from_bank,
        settlement.to_bank,
        settlement.amount,
        settlement.currency,
        f"{status}{refused}",
        day_and_time(settlement.created_time),
    )
