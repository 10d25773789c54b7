"""``show``, ``explain`` and ``tail``: what happened to a settlement, and what happens to all.

Promises: a life is told as a path through the page, a line for each move; a stream can be resumed
after any sequence number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar
from uuid import UUID

import click
import grpc

from settlement_engine.cli.commands import lasting
from settlement_engine.cli.connection import CALL_SECONDS, EngineAddress, engine_options, reach
from settlement_engine.cli.messages import (
    ENDED,
    as_dict,
    clock_time,
    day_and_time,
    instant,
    status_name,
    status_sign,
)
from settlement_engine.cli.output import (
    as_json,
    example,
    mark,
    print_json,
    print_json_line,
    say,
)
from settlement_engine.errors import NotFound
from settlement_engine.proto import settlement_pb2 as wire

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

Answered = TypeVar("Answered")

STATE_WIDTH: Final = 11
EVENT_WIDTH: Final = 13


@lasting
@click.command()
@click.argument("name", metavar="ID")
@engine_options
@as_json
@example("""
settlement-engine show 0199c2d4-6f0e-7c1a-9d51-1f2a33445566
settlement-engine show MY-OBLIGATION-7 --json
""")
def show(*, name: str, address: EngineAddress, is_json: bool) -> None:
    """Tell the life of a settlement, by its own ID or by that of its obligation."""
    found = find(address, name)
    if is_json:
        print_json(as_dict(found))
        return
    what = f"{found.amount} {found.currency}  {found.from_bank} → {found.to_bank}"
    mark(status_sign(found.status), f"{status_name(found.status)}  {what}")
    for title, text in _facts(found):
        if text:
            say(f"  {title:<11} {text}")
    say()
    before: datetime | None = None
    for move in found.moves:
        say(_line(move, before))
        before = instant(move.at)
    if found.next_action:
        by = f", at the latest at {clock_time(found.next_action_at)}"
        due = by if found.HasField("next_action_at") else ""
        say(f"\n  next: {found.next_action}{due}")


@lasting
@click.command()
@click.option(
    "--after",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    metavar="N",
    help="Begin after this sequence number; 0 begins with the very first event.",
)
@click.option("--settlement", default="", metavar="ID", help="Only of this settlement.")
@click.option(
    "--follow/--no-follow", default=True, show_default=True, help="Go on when nothing is left."
)
@engine_options
@as_json
@example("""
settlement-engine tail --after 1200
settlement-engine tail --no-follow --json
""")
def tail(
    *, after: int, settlement: str, follow: bool, address: EngineAddress, is_json: bool
) -> None:
    """Follow everything that happens, a line for each move, until Ctrl-C."""
    request = wire.StreamRequest(
        after_sequence=after, settlement_id=settlement, ends_at_head=not follow
    )
    with reach(address) as engine:
        for event in engine.settlements.StreamSettlementEvents(request):
            if is_json:
                print_json_line(as_dict(event))
            else:
                say(_event_line(event))


def find(address: EngineAddress, name: str) -> wire.SettlementStatusResponse:
    """Find a settlement by its id, else by its obligation."""
    by_obligation = wire.SettlementStatusRequest(obligation_id=name)
    if _is_uuid(name):
        try:
            return _ask(address, wire.SettlementStatusRequest(settlement_id=name))
        except NotFound:
            return _ask(address, by_obligation)
    return _ask(address, by_obligation)


def asked_for(name: str, call: Callable[..., Answered], timeout_seconds: float) -> Answered:
    """Make a call that names a settlement by its id, else by its obligation."""
    by_obligation = wire.SettlementStatusRequest(obligation_id=name)
    if not _is_uuid(name):
        return call(by_obligation, timeout=timeout_seconds)
    try:
        return call(wire.SettlementStatusRequest(settlement_id=name), timeout=timeout_seconds)
    except grpc.RpcError as error:
        if not isinstance(error, grpc.Call) or error.code() is not grpc.StatusCode.NOT_FOUND:
            raise
        return call(by_obligation, timeout=timeout_seconds)


@lasting
@click.command()
@click.argument("name", metavar="ID")
@engine_options
@as_json
@example("""
settlement-engine explain 0199c2d4-6f0e-7c1a-9d51-1f2a33445566
settlement-engine explain MY-OBLIGATION-7 --json
""")
def explain(*, name: str, address: EngineAddress, is_json: bool) -> None:
    """Tell the life of a settlement in sentences: what happened, why, what is next, who may act."""
    with reach(address) as engine:
        told = asked_for(name, engine.settlements.ExplainSettlement, CALL_SECONDS)
    if is_json:
        print_json(as_dict(told))
        return
    say(told.text.rstrip())


def _ask(
    address: EngineAddress, request: wire.SettlementStatusRequest
) -> wire.SettlementStatusResponse:
    with reach(address) as engine:
        return engine.settlements.GetSettlementStatus(request, timeout=CALL_SECONDS)


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def _facts(found: wire.SettlementStatusResponse) -> list[tuple[str, str]]:
    refused = f"{found.refusal_code}: {found.refusal_detail}" if found.refusal_code else ""
    rail = f"{found.rail}, payment {found.attempt}, {found.uetr}" if found.rail else ""
    return [
        ("settlement", found.settlement_id),
        ("obligation", found.obligation_id),
        ("value date", found.value_date),
        ("priority", wire.Priority.Name(found.priority)),
        ("accepted", day_and_time(found.created_time)),
        ("rail", rail),
        ("reference", found.reference),
        ("refused", refused),
        ("attention", _attention(found)),
    ]


def _attention(found: wire.SettlementStatusResponse) -> str:
    """Say why a person has to look, if one has."""
    if not found.is_frozen:
        return ""
    if found.status in ENDED:
        return "a bank's later message contradicts the end, or a record was altered: see its exceptions"
    return "frozen, for what was recorded of it was altered in the database: see its exceptions"


def _line(move: wire.Move, before: datetime | None) -> str:
    waited = (instant(move.at) - before).total_seconds() if before else 0.0
    since = f"+{waited:.3f} s" if before else ""
    told = "".join(f" ✓ {checkpoint}" for checkpoint in move.reached)
    words = " · ".join(f"{key} {text}" for key, text in sorted(move.detail.items()) if text)
    place = f"{move.from_state:>{STATE_WIDTH}} ── {move.event:<{EVENT_WIDTH}} →"
    line = f"  {move.seq:>3}  {clock_time(move.at)} {since:>11}  {place} {move.to_state}{told}"
    return f"{line}   {words}" if words else line


def _event_line(event: wire.SettlementEvent) -> str:
    moved = wire.SettlementMoved()
    event.payload.Unpack(moved)
    what = f"{moved.amount} {moved.currency} {moved.from_bank} → {moved.to_bank}"
    name = event.event_type.removeprefix("settlement.")
    return (
        f"{event.sequence:>8}  {clock_time(event.time)}  {name:<12} {event.settlement_id}  {what}"
    )
