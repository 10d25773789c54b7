"""``submit``, ``list`` and ``cancel``: settlements, from the caller's side.

Promises: an instruction that may or may not have been received can be sent again under the same key,
and the error says how; a settlement that did not move money ends the command with 1.
"""

from __future__ import annotations

import time
import uuid
from contextlib import nullcontext
from typing import TYPE_CHECKING, Final

import click

from settlement_engine.cli.commands import lasting
from settlement_engine.cli.connection import (
    CALL_SECONDS,
    EngineAddress,
    engine_options,
    explain_status,
    reach,
)
from settlement_engine.cli.failures import ExitCode
from settlement_engine.cli.messages import (
    NOT_SETTLED,
    as_dict,
    day_and_time,
    status_name,
    status_sign,
)
from settlement_engine.cli.output import (
    GOOD,
    as_json,
    console,
    example,
    mark,
    print_json,
    say,
    table,
)
from settlement_engine.errors import SettlementEngineError, Unavailable
from settlement_engine.proto import settlement_pb2 as wire

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from settlement_engine.cli.connection import Engine

DEADLINE_MARGIN_SECONDS: Final = 2.0
PAGE_MAX: Final = 1_000
LIST_MAX: Final = 100_000
PRIORITIES: Final = {"normal": wire.NORMAL, "high": wire.HIGH, "urgent": wire.URGENT}
STATUSES: Final = [name.lower() for name in wire.SettlementStatus.keys()]  # noqa: SIM118 -- no dict


@lasting
@click.command()
@click.argument("from_bank", metavar="FROM")
@click.argument("to_bank", metavar="TO")
@click.argument("amount")
@click.argument("currency")
@click.option("--obligation-id", help="What clearing calls it; a new name if it is left out.")
@click.option(
    "--priority",
    type=click.Choice(list(PRIORITIES), case_sensitive=False),
    default="normal",
    show_default=True,
    help="How urgent it is.",
)
@click.option("--metadata", multiple=True, metavar="KEY=VALUE", help="May be given again.")
@click.option("--idempotency-key", help="Sending again under the same key never pays twice.")
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait for the end.")
@click.option(
    "--timeout-seconds",
    type=click.FloatRange(0.1, 3600),
    default=CALL_SECONDS,
    show_default=True,
    help="How long to wait; the settlement goes on all the same.",
)
@engine_options
@as_json
@example("""
settlement-engine submit DEUTDEFF CHASUS33 1000.00 EUR
settlement-engine submit DEUTDEFF CHASUS33 1000.00 EUR --metadata simulate=lost_answer --json
""")
def submit(  # noqa: PLR0913 -- each option of the command is an argument
    *,
    from_bank: str,
    to_bank: str,
    amount: str,
    currency: str,
    obligation_id: str | None,
    priority: str,
    metadata: tuple[str, ...],
    idempotency_key: str | None,
    wait: bool,
    timeout_seconds: float,
    address: EngineAddress,
    is_json: bool,
) -> int:
    """Settle AMOUNT of CURRENCY between two banks."""
    obligation_id = obligation_id or f"cli-{uuid.uuid4()}"
    request = wire.SettlementRequest(
        obligation_id=obligation_id,
        from_bank=from_bank,
        to_bank=to_bank,
        amount=amount,
        currency=currency,
        priority=PRIORITIES[priority],
        metadata=_pairs(metadata),
        idempotency_key=idempotency_key or obligation_id,
    )
    began = time.monotonic()
    try:
        with reach(address) as engine, _spinner(is_shown=wait and not is_json):
            if wait:
                answer = engine.settlements.ExecuteSettlement(request, timeout=timeout_seconds)
            else:
                answer = _submit_one(engine, request)
    except Unavailable as error:
        error.todo = _send_again(request, error.todo)
        raise
    if is_json:
        print_json(as_dict(answer))
    else:
        _print_answer(request, answer, time.monotonic() - began)
    return ExitCode.FAILED if answer.status in NOT_SETTLED else ExitCode.OK


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
def cancel(*, settlement_id: str, address: EngineAddress, is_json: bool) -> None:
    """Ask for a settlement not to be made; what the bank has, it is asked to give back."""
    request = wire.CancelSettlementRequest(settlement_id=settlement_id)
    with reach(address) as engine:
        answer = engine.settlements.CancelSettlement(request, timeout=CALL_SECONDS)
    if is_json:
        print_json(as_dict(answer))
        return
    mark(status_sign(answer.status), f"{status_name(answer.status)}  {answer.settlement_id}")


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


def _pairs(texts: tuple[str, ...]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in texts:
        key, sign, value = text.partition("=")
        if not sign:
            message = f"--metadata {text} must be like key=value"
            raise click.UsageError(message)
        pairs[key] = value
    return pairs


def _spinner(*, is_shown: bool) -> AbstractContextManager[object]:
    if is_shown and console().is_terminal:
        return console().status("waiting for the bank")
    return nullcontext()


def _submit_one(engine: Engine, request: wire.SettlementRequest) -> wire.SettlementResponse:
    batch = wire.SubmitSettlementsRequest(settlements=[request])
    result = engine.settlements.SubmitSettlements(batch, timeout=CALL_SECONDS).results[0]
    if result.HasField("error"):
        raise SettlementEngineError(
            explain_status(result.error),
            why="the engine did not accept the instruction",
            todo="Correct it and send it again.",
        )
    return result.settlement


def _send_again(request: wire.SettlementRequest, todo: str) -> str:
    same = f"--obligation-id {request.obligation_id} --idempotency-key {request.idempotency_key}"
    return f"{todo} Then send it again with {same}: it is never paid twice.".strip()


def _print_answer(
    request: wire.SettlementRequest, answer: wire.SettlementResponse, seconds: float
) -> None:
    what = f"{request.amount} {request.currency}  {request.from_bank} → {request.to_bank}"
    mark(status_sign(answer.status), f"{status_name(answer.status)}  {what}  {seconds:.2f} s")
    if answer.replayed:
        say("  this very instruction was accepted before; nothing new was done")
    if answer.refusal_code:
        say(f"  {answer.refusal_code}: {answer.refusal_detail}")
    say(f"  settlement  {answer.settlement_id}")
    say(f"  obligation  {request.obligation_id}")
    if answer.reference:
        say(f"  reference   {answer.reference}")
    if answer.status not in NOT_SETTLED and answer.status != wire.COMPLETED:
        say(f"  it goes on; look with: settlement-engine show {answer.settlement_id}")


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
