"""``show`` and ``explain``: the history of a settlement.

Promises: a settlement is found by any of its references; its history has one line for each move.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import click
import grpc

from settlement_engine.cli.bank_messages import messages_as_dict, print_messages, read_messages
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
    say,
)
from settlement_engine.cli.payment import delivery_name, payment_facts
from settlement_engine.proto import settlement_pb2 as wire

if TYPE_CHECKING:
    from settlement_engine.cli.connection import EngineClient

STATE_WIDTH: Final = 11
EVENT_WIDTH: Final = 13


def by_name(name: str) -> wire.SettlementStatusRequest:
    """Make the request for a settlement by any of its references."""
    if not name:
        raise click.UsageError("ID is empty: give a reference of the settlement")
    return wire.SettlementStatusRequest(any_id=name)


def settlement_id_of(engine: EngineClient, name: str) -> str:
    """Return the id of the settlement with this reference."""
    found = engine.settlements.GetSettlementStatus(by_name(name), timeout=CALL_SECONDS)
    return found.settlement_id


def name_subject(engine: EngineClient, request: wire.ProposeResolutionRequest, name: str) -> None:
    """Set the subject of a resolution: an exception by number, or a settlement by any reference."""
    if not (name.isascii() and name.isdecimal()):
        request.settlement_id = settlement_id_of(engine, name)
        return
    request.exception_id = name
    try:
        named = settlement_id_of(engine, name)
    except grpc.RpcError as error:
        if isinstance(error, grpc.Call) and error.code() is grpc.StatusCode.NOT_FOUND:
            return
        raise
    message = (
        f"{name} is an exception and also a reference of settlement {named}:"
        " give the settlement id instead"
    )
    raise click.UsageError(message)


@lasting
@click.command()
@click.argument("name", metavar="ID")
@click.option(
    "--messages", "with_messages", is_flag=True, help="Also show the messages to and from the bank."
)
@engine_options
@as_json
@example("""
settlement-engine show 0199c2d4-6f0e-7c1a-9d51-1f2a33445566
settlement-engine show MY-OBLIGATION-7 --json
settlement-engine show MY-OBLIGATION-7 --messages
""")
def show(*, name: str, with_messages: bool, address: EngineAddress, is_json: bool) -> None:
    """Show a settlement's history.

    ID is any of its references: settlement id, obligation id, UETR, end-to-end id, message id, trace, or
    the bank's reference.
    """
    with reach(address) as engine:
        found = engine.settlements.GetSettlementStatus(by_name(name), timeout=CALL_SECONDS)
        listed = read_messages(engine, found.settlement_id) if with_messages else None
    if is_json:
        print_json(as_dict(found) | messages_as_dict(listed))
        return
    print_history(found)
    if listed is not None:
        print_messages(listed)


def print_history(found: wire.SettlementStatusResponse) -> None:
    """Print a settlement with its history."""
    what = f"{found.amount} {found.currency}  {found.from_bank} → {found.to_bank}"
    mark(status_sign(found.status), f"{status_name(found.status)}  {what}")
    for title, text in (*_facts(found), *payment_facts(found.payment)):
        if text:
            say(f"  {title:<11} {text}")
    for back in found.returns:
        say(f"  {'returned':<11} {_returned(back, found.currency)}")
    for each in found.compensations:
        say(f"  {'compensated':<11} {_compensated(each, found.currency)}")
    if found.HasField("recall"):
        say(f"  {'recall':<11} {recall_words(found.recall)}")
    say()
    before: datetime | None = None
    for move in found.moves:
        say(_line(move, before))
        before = instant(move.at)
    if found.next_action:
        say(f"\n  next: {found.next_action}{_when(found)}")


def _when(found: wire.SettlementStatusResponse) -> str:
    """Say when the next action follows, where a time is set for it; what was due and not begun is told."""
    if not found.HasField("next_action_at"):
        return ""
    at = clock_time(found.next_action_at)
    is_over = instant(found.next_action_at) <= datetime.now(UTC)
    return f", due since {at}" if is_over else f", no later than {at}"


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
    """Explain a settlement in sentences: what happened, why, what happens next, who may act.

    ID is any of its references, as for `show`.
    """
    with reach(address) as engine:
        explanation = engine.settlements.ExplainSettlement(by_name(name), timeout=CALL_SECONDS)
    if is_json:
        print_json(as_dict(explanation))
        return
    say(explanation.text.rstrip())


def _facts(found: wire.SettlementStatusResponse) -> list[tuple[str, str]]:
    refused = f"{found.refusal_code}: {found.refusal_detail}" if found.refusal_code else ""
    rail = f"{found.rail}, payment {found.attempt}, {found.uetr}" if found.rail else ""
    if found.requested_rail and not found.rail:
        rail = f"{found.requested_rail}, as requested"
    return [
        ("settlement", found.settlement_id),
        ("obligation", found.obligation_id),
        ("value date", found.value_date),
        ("priority", wire.Priority.Name(found.priority)),
        ("accepted", day_and_time(found.created_time)),
        ("compensates", found.compensates),
        ("delivery", delivery_name(found.delivery)),
        ("rail", rail),
        ("reference", found.reference),
        ("finality", finality_name(found.finality)),
        ("refused", refused),
        ("attention", _attention(found)),
    ]


def finality_name(finality: wire.Finality.ValueType) -> str:
    """Return how final it is, in words; nothing for what was never sent or moved no money."""
    if not finality:
        return ""
    return wire.Finality.Name(finality).removeprefix("FINALITY_").lower()


def _returned(back: wire.SettlementReturn, currency: str) -> str:
    """Describe one return: amount, charges, what is left, and the bank's reference."""
    charged = f" less {back.charges} of charges" if back.charges.strip("0.") else ""
    if back.rebilled.strip("0."):
        charged += f" ({back.rebilled} billed to FROM)"
    named = "".join(f", {text}" for text in (back.reference, back.value_date) if text)
    return f"{back.amount} {currency}{charged}, {back.left} left{named}"


def _compensated(each: wire.SettlementCompensation, currency: str) -> str:
    """Describe one compensation: amount, what came back of it, its state and its id."""
    came_back = f", {each.returned} came back" if each.returned.strip("0.") else ""
    return f"{each.amount} {currency}{came_back}, {each.state}, settlement {each.settlement_id}"


def recall_words(found: wire.SettlementRecall) -> str:
    """Describe a recall: what has become of it, who requested it and why, what the bank said."""
    name = wire.RecallState.Name(found.state).removeprefix("RECALL_STATE_")
    asked = f"requested by {found.requested_by} at {day_and_time(found.requested_time)}"
    said = " ".join(text for text in (found.code, found.text) if text)
    return f"{name}, {asked}: {found.reason}" + (f"; bank: {said}" if said else "")


def _attention(found: wire.SettlementStatusResponse) -> str:
    """Say why a person has to act, if one has to."""
    if not found.is_frozen:
        return ""
    if found.status in ENDED:
        return (
            "frozen: conflicting bank status after final settlement, or a record was altered;"
            " see `settlement-engine exceptions list`"
        )
    return (
        "frozen: the bank reported another amount, or a record was altered;"
        " see `settlement-engine exceptions list`"
    )


def _line(move: wire.Move, before: datetime | None) -> str:
    waited = (instant(move.at) - before).total_seconds() if before else 0.0
    since = f"+{waited:.3f} s" if before else ""
    reached = "".join(f" ✓ {checkpoint}" for checkpoint in move.reached)
    words = " · ".join(f"{key} {text}" for key, text in sorted(move.detail.items()) if text)
    place = f"{move.from_state:>{STATE_WIDTH}} ── {move.event:<{EVENT_WIDTH}} →"
    line = f"  {move.seq:>3}  {clock_time(move.at)} {since:>11}  {place} {move.to_state}{reached}"
    return f"{line}   {words}" if words else line
