"""``list`` and ``cancel``: settlements, from the caller's side.

Promises: a list says how many of all settlements it shows; a cancellation that is not final yet exits with
6.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from settlement_engine.cli.commands import lasting
from settlement_engine.cli.connection import CALL_SECONDS, EngineAddress, engine_options, reach
from settlement_engine.cli.failures import ExitCode
from settlement_engine.cli.histories import finality_name, settlement_id_of
from settlement_engine.cli.instants import Instant
from settlement_engine.cli.messages import (
    ENDED,
    as_dict,
    day_and_time,
    status_name,
    status_sign,
)
from settlement_engine.cli.output import GOOD, as_json, example, mark, print_json, say, table
from settlement_engine.cli.pages import PAGE_MAX, limit_option, read_pages
from settlement_engine.proto import settlement_pb2 as wire

if TYPE_CHECKING:
    from datetime import datetime

    from settlement_engine.cli.pages import Listed

TOTAL_MAX: Final = 10_000
"""The engine counts no further than this."""

COLUMNS: Final = (
    *("SETTLEMENT", "OBLIGATION", "FROM", "TO", "AMOUNT", ""),
    *("STATUS", "FINALITY", "CREATED"),
)
INSTANT: Final = Instant()
STATUSES: Final = [name.lower() for name in wire.SettlementStatus.keys()]  # noqa: SIM118 -- no dict


@lasting
@click.command("list")
@click.option(
    "--status",
    "statuses",
    multiple=True,
    type=click.Choice(STATUSES, case_sensitive=False),
    help="Only these statuses; may be repeated.",
)
@click.option("--stuck", is_flag=True, help="Only stuck settlements, oldest first.")
@click.option("--bank", default="", help="Only with this bank, as payer or receiver.")
@click.option("--currency", default="", help="Only in this currency.")
@click.option("--since", type=INSTANT, help="Only those accepted since: 2026-01-31, or 2h.")
@click.option("--until", type=INSTANT, help="Only those accepted before this time.")
@click.option(
    "--compensates", default="", metavar="ID", help="Only those that compensate this settlement."
)
@click.option("--compensations", is_flag=True, help="Only those that compensate another one.")
@click.option("--compensated", is_flag=True, help="Only those that have a compensation.")
@limit_option(20)
@engine_options
@as_json
@example("""
settlement-engine list --status in_doubt --status executing
settlement-engine list --bank DEUTDEFF --currency EUR --limit 100 --json
settlement-engine list --since 2h
settlement-engine list --since 2026-01-30 --until 2026-01-31 --limit 1000
settlement-engine list --compensates 0199c2d4-6f0e-7c1a-9d51-1f2a33445566
settlement-engine list --compensations --status in_doubt
settlement-engine list --stuck
""")
def list_(  # noqa: PLR0913 -- each option of the command is an argument
    *,
    statuses: tuple[str, ...],
    stuck: bool,
    bank: str,
    currency: str,
    since: datetime | None,
    until: datetime | None,
    compensates: str,
    compensations: bool,
    compensated: bool,
    limit: int,
    address: EngineAddress,
    is_json: bool,
) -> None:
    """List settlements, newest first; stuck ones oldest first.

    The ID of --compensates is any reference, as for `show`. Compensations that failed are listed, too.
    """
    if stuck:
        others = (statuses, bank, currency, since, until, compensates)
        if any(others) or compensations or compensated:
            raise click.UsageError("--stuck cannot be combined with another filter")
        _list_stuck(address, limit, is_json=is_json)
        return
    wanted = wire.ListSettlementsRequest(
        statuses=[wire.SettlementStatus.Value(name.upper()) for name in statuses],
        bank=bank,
        currency=currency,
        since=_seconds(since),
        until=_seconds(until),
        with_total=True,
        only_compensations=compensations,
        only_compensated=compensated,
    )
    with reach(address) as engine:
        if compensates:
            wanted.compensates = settlement_id_of(engine, compensates)
        listed = read_pages(engine.settlements.ListSettlements, wanted, limit, "settlements")
    _print_list(listed, is_json=is_json)


def _print_list(listed: Listed, *, is_json: bool) -> None:
    if is_json:
        many = [as_dict(each) for each in listed.items]
        print_json({"settlements": many, "total": listed.total, "hasMore": listed.has_more})
        return
    table(COLUMNS, [_list_row(settlement) for settlement in listed.items], right=("AMOUNT",))
    shown = len(listed.items)
    say(_count(shown, listed.total) if shown else "nothing found")


@lasting
@click.command()
@click.argument("name", metavar="ID")
@engine_options
@as_json
@example("""
settlement-engine cancel 0199c2d4-6f0e-7c1a-9d51-1f2a33445566
""")
def cancel(*, name: str, address: EngineAddress, is_json: bool) -> int:
    """Request cancellation or recall. If the bank has the payment, the bank is asked to give it back.

    ID is any reference of the settlement, as for `show`. Exit code 6 means that the settlement has not ended: the
    bank has been asked and has not answered yet, or it has refused.
    """
    with reach(address) as engine:
        request = wire.CancelSettlementRequest(settlement_id=settlement_id_of(engine, name))
        answer = engine.settlements.CancelSettlement(request, timeout=CALL_SECONDS)
    code = ExitCode.OPEN if answer.status not in ENDED else ExitCode.OK
    if is_json:
        print_json(as_dict(answer))
        return code
    mark(status_sign(answer.status), f"{status_name(answer.status)}  {answer.settlement_id}")
    if answer.status == wire.EXECUTING:  # a recall that the bank has not refused is RECALLING
        say("  the bank has refused to give it back, and may still settle it")
    if code is ExitCode.OPEN:
        say(f"  not final yet; see the status: settlement-engine show {answer.settlement_id}")
    return code


def _seconds(at: datetime | None) -> int:
    return int(at.timestamp()) if at is not None else 0


def _count(shown: int, total: int) -> str:
    """Say how many of all settlements are shown."""
    if total > TOTAL_MAX:
        return f"{shown:,} of more than {TOTAL_MAX:,}"
    return f"{shown:,} of {max(total, shown):,}"


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
    say(f"{_count(len(rows), sum(found.counts.values()))}: {counts}")
    say(f"see the details of one: settlement-engine explain {rows[0][0]}")


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
        finality_name(settlement.finality),
        day_and_time(settlement.created_time),
    )
