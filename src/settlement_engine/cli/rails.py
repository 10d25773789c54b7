"""``rails``: the rails of an engine, and the orders of operators about their circuit breakers.

Promises: an order carries the name of a person and a reason; what it did is printed as the engine has it afterwards.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from settlement_engine.cli.acting import acting, who_option
from settlement_engine.cli.commands import lasting
from settlement_engine.cli.connection import CALL_SECONDS, EngineAddress, engine_options, reach
from settlement_engine.cli.messages import as_dict, day_and_time
from settlement_engine.cli.output import (
    GOOD,
    WARN,
    as_json,
    example,
    mark,
    print_json,
    say,
    table,
)
from settlement_engine.proto import settlement_pb2 as wire

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

EVERY_BANK: Final = "every bank"
OTHERS: Final = "other banks"

_rail = click.argument("rail", metavar="RAIL")
_bank = click.option("--bank", default="", help="Only for this bank. Default: every bank.")
_reason = click.option("--reason", required=True, help="Why, for the record.")


@lasting
@click.group()
@example("""
settlement-engine rails list
settlement-engine rails open swift --bank DEUTDEFF --reason "the bank has asked us to"
""")
def rails() -> None:
    """List rails; stop sending over them, allow it again, or try one payment."""


@lasting
@rails.command("list")
@engine_options
@as_json
@example("settlement-engine rails list")
def list_(*, address: EngineAddress, is_json: bool) -> None:
    """List the rails of an engine, in the order in which it prefers them."""
    with reach(address) as engine:
        found = engine.rails.ListRails(wire.ListRailsRequest(), timeout=CALL_SECONDS)
    if is_json:
        print_json(as_dict(found))
        return
    rows = [
        (rail.name, rail.rail_class, _state(rail), str(_waiting(rail)), _stops(rail))
        for rail in found.rails
    ]
    table(("RAIL", "CLASS", "SENDING", "WAITING", "STOPPED FOR"), rows, right=("WAITING",))


@lasting
@rails.command()
@_rail
@engine_options
@as_json
@example("settlement-engine rails show swift")
def show(*, rail: str, address: EngineAddress, is_json: bool) -> None:
    """Show a rail: each bank's breaker as this engine has it, and the latest orders."""
    with reach(address) as engine:
        found = engine.rails.GetRail(wire.GetRailRequest(name=rail), timeout=CALL_SECONDS)
    _print(found, is_json=is_json)


def _order(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the arguments of an order to a command."""
    for option in (as_json, engine_options, who_option, _reason, _bank, _rail):
        function = option(function)
    return function


@lasting
@rails.command("open")
@_order
@example("""
settlement-engine rails open swift --reason "maintenance at the bank"
settlement-engine rails open swift --bank DEUTDEFF --reason "the bank has asked us to" --as alice
""")
def open_(
    *, rail: str, bank: str, reason: str, who: str | None, address: EngineAddress, is_json: bool
) -> None:
    """Open a breaker: nothing more is sent, by any engine, until it is closed.

    What was sent before is still asked about. New settlements take another rail, wait without a hold, or are
    refused, as the rail is configured.
    """
    request = wire.OpenBreakerRequest(rail=rail, bank=bank, reason=reason)
    with reach(address) as engine:
        found = engine.rails.OpenBreaker(request, **acting(who, address))
    _print(found, is_json=is_json)


@lasting
@rails.command()
@_order
@example('settlement-engine rails close swift --reason "the bank is back"')
def close(
    *, rail: str, bank: str, reason: str, who: str | None, address: EngineAddress, is_json: bool
) -> None:
    """Close a breaker: sending is allowed again, also where the engine had stopped it by itself.

    It takes back an order about the same bank, or about every bank. `rails show` lists the orders that stand.
    """
    request = wire.CloseBreakerRequest(rail=rail, bank=bank, reason=reason)
    with reach(address) as engine:
        found = engine.rails.CloseBreaker(request, **acting(who, address))
    _print(found, is_json=is_json)


@lasting
@rails.command()
@_order
@example('settlement-engine rails probe swift --bank DEUTDEFF --reason "the bank says it is back"')
def probe(
    *, rail: str, bank: str, reason: str, who: str | None, address: EngineAddress, is_json: bool
) -> None:
    """Try one payment of each bank that is not sent to: the next one that waits or comes.

    If it is answered, a breaker that had opened by itself closes. One that a person has opened stays open.
    """
    request = wire.ProbeRailRequest(rail=rail, bank=bank, reason=reason)
    with reach(address) as engine:
        found = engine.rails.ProbeRail(request, **acting(who, address))
    _print(found, is_json=is_json)


# --- what is printed ----------------------------------------------------------------------------------


def _waiting(rail: wire.Rail) -> int:
    return sum(lane.waiting for lane in rail.lanes)


def _stops(rail: wire.Rail) -> str:
    return ", ".join(order.bank or EVERY_BANK for order in rail.stops)


def _state(rail: wire.Rail) -> str:
    if rail.is_paused:
        return "paused by a recovery"
    if any(not order.bank for order in rail.stops):
        return "stopped"
    stopped = {lane.bank for lane in rail.lanes if lane.breaker != "CLOSED"}
    count = len(stopped | {order.bank for order in rail.stops})
    if not count:
        return "open"
    return f"open, except for {count} {'bank' if count == 1 else 'banks'}"


def _print(rail: wire.Rail, *, is_json: bool) -> None:
    if is_json:
        print_json(as_dict(rail))
        return
    state = _state(rail)
    mark(
        GOOD if state == "open" else WARN, f"{rail.name}, class {rail.rail_class}: sending {state}"
    )
    waits = "are refused" if rail.refuses_while_open else "take another rail, or wait"
    say(f"  while a breaker is open, new settlements {waits}")
    if rail.messages:
        say(f"  messages    {', '.join(rail.messages)}")
    if rail.lanes:
        say()
        columns = ("BANK", "BREAKER", "WAITING", "IN FLIGHT", "WHY")
        rows = [_row(lane) for lane in rail.lanes]
        table(columns, rows, right=("WAITING", "IN FLIGHT"))
    if rail.history:
        say("\n  orders, newest first")
    for order in rail.history:
        bank = order.bank or EVERY_BANK
        stands = ", stands" if order.id in {each.id for each in rail.stops} else ""
        action = order.action.lower()
        say(
            f"  {day_and_time(order.at)}  {action} for {bank} by {order.who}: {order.reason}{stands}"
        )


def _row(lane: wire.RailLane) -> tuple[str, ...]:
    why = ["stopped by a person"] if lane.is_stopped else []
    if lane.why:
        why.append(lane.why)
    if lane.tries_in_seconds:
        why.append(f"one is tried in {lane.tries_in_seconds:.0f} s")
    breaker = lane.breaker.lower().replace("_", "-")
    counts = (str(lane.waiting), str(lane.in_flight))
    return (lane.bank or OTHERS, breaker, *counts, "; ".join(why))
