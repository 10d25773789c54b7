"""``trigger``: one payment that the scripted bank treats as a scenario says, and what became of it on both sides.

Promises: a payment is made only where the engine's bank is the simulator of ``dev``, or one is named. The bank is
told the scenario for this one payment, by its reference, so that no other payment is touched. It tells what was
recorded and what the bank's ledger says, and judges neither.
"""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click
import grpc

from settlement_engine.cli.acting import acting
from settlement_engine.cli.addresses import find_running
from settlement_engine.cli.bank_messages import messages_as_dict, read_messages
from settlement_engine.cli.call_errors import translate
from settlement_engine.cli.commands import lasting
from settlement_engine.cli.connection import CALL_SECONDS, EngineAddress, engine_options, reach
from settlement_engine.cli.failures import ExitCode
from settlement_engine.cli.histories import print_history
from settlement_engine.cli.messages import ENDED, as_dict, clock_time
from settlement_engine.cli.output import (
    as_json,
    busy,
    example,
    print_json,
    say,
    table,
)
from settlement_engine.errors import Misconfigured, NotOffered, WrongState
from settlement_engine.proto import settlement_pb2 as wire

if TYPE_CHECKING:
    from settlement_engine.cli.bank_messages import ListedMessages
    from settlement_engine.cli.connection import EngineClient

FROM: Final = "DEUTDEFF"
TO: Final = "CHASUS33"
AMOUNT: Final = "100.00"
EURO_RAILS: Final = ("sepa_sct", "sepa_inst")
LOOK_SECONDS: Final = 0.2
UNDECIDED: Final = (wire.RECALL_STATE_REQUESTED, wire.RECALL_STATE_IN_PROCESS)
RECALL_REASON: Final = "a scenario of the simulated bank"


@lasting
@click.command()
@click.argument("scenario", required=False)
@click.option("--rail", default="", help="The rail to take. Default: the engine chooses.")
@click.option("--list", "is_listing", is_flag=True, help="Print all scenarios and exit.")
@click.option("--simulator", "bank", help="The simulator's address. Default: that of `dev`.")
@click.option(
    "--timeout-seconds",
    type=click.FloatRange(0.1, 3600),
    default=CALL_SECONDS,
    show_default=True,
    help="How long to wait for the end of the story. The settlement continues after that.",
)
@engine_options
@as_json
@example("""
settlement-engine trigger --list
settlement-engine trigger lost_answer
settlement-engine trigger reject_then_settle --rail swift --json
""")
def trigger(  # noqa: PLR0913 -- each option of the command is an argument
    *,
    scenario: str | None,
    rail: str,
    is_listing: bool,
    bank: str | None,
    timeout_seconds: float,
    address: EngineAddress,
    is_json: bool,
) -> int:
    """Run a SCENARIO of the simulated bank through a running engine, and tell its story.

    It needs `settlement-engine dev --simulator --sample-data`: a payment of 100.00 from DEUTDEFF to CHASUS33 is
    made, and the bank treats it as the scenario says. Exit code 6 means that the settlement has not ended yet.
    """
    from settlement_engine.app.simulated_payment import ledger_entry, order_scenario, sentences

    if is_listing:
        _list(is_json=is_json)
        return ExitCode.OK
    if scenario is None or scenario not in sentences():
        named = f"there is no scenario {scenario}" if scenario else "SCENARIO is missing"
        raise click.UsageError(f"{named}; `settlement-engine trigger --list` prints them")
    simulator = bank or _simulator_beside(address)
    request = _request(scenario, rail)
    order_scenario(simulator, scenario, request.idempotency_key)
    with reach(address) as engine, busy(f"running {scenario}"):
        found, why_not_recalled = _run(engine, request, scenario, timeout_seconds, address)
        story = _read(engine, found, why_not_recalled)
    entry = ledger_entry(simulator, found.end_to_end_id)
    if is_json:
        print_json({"scenario": scenario, **_as_dict(story), "bank": entry})
    else:
        _tell(scenario, story, entry)
    return ExitCode.OK if found.status in ENDED else ExitCode.OPEN


def _list(*, is_json: bool) -> None:
    from settlement_engine.app.simulated_payment import sentences

    if is_json:
        many = [{"name": name, "text": text} for name, text in sentences().items()]
        print_json({"scenarios": many})
        return
    table(("SCENARIO", "WHAT THE BANK DOES"), list(sentences().items()))


def _simulator_beside(address: EngineAddress) -> str:
    """Return the simulator of the ``dev`` whose engine is meant. Raises Misconfigured."""
    running = find_running()
    if running is None or running.grpc != address.target or not running.simulator:
        what = f"no simulator is known for the engine at {address.target}"
        todo = (
            "Run `settlement-engine dev --simulator --sample-data` here, or give --simulator URL."
        )
        raise Misconfigured(
            what, why="a scenario is run only where the bank is simulated", todo=todo
        )
    return running.simulator


def _request(scenario: str, rail: str) -> wire.SettlementRequest:
    name = f"trigger-{scenario}-{uuid.uuid4().hex[:12]}"
    return wire.SettlementRequest(
        obligation_id=name,
        idempotency_key=name,
        from_bank=FROM,
        to_bank=TO,
        amount=AMOUNT,
        currency="EUR" if rail in EURO_RAILS else "USD",
        rail=rail,
    )


# --- the settlement -----------------------------------------------------------------------------------


def _run(
    engine: EngineClient,
    request: wire.SettlementRequest,
    scenario: str,
    timeout_seconds: float,
    address: EngineAddress,
) -> tuple[wire.SettlementStatusResponse, str]:
    """Submit it and wait for the end of its story, also for what the bank does after the end.

    The second value says why it was not recalled, where the scenario is about a recall and the engine refused one.
    """
    from settlement_engine.app.simulated_payment import (
        comes_back,
        is_left_open,
        recalled_when,
        story_seconds,
    )

    asked = wire.SettlementStatusRequest(settlement_id=_submit(engine, request))
    recalled_in, has_to_come_back = recalled_when(scenario), comes_back(scenario)
    why_not = ""
    began = time.monotonic()
    told_at = began + story_seconds(scenario)
    while True:
        found = engine.settlements.GetSettlementStatus(asked, timeout=CALL_SECONDS)
        now = time.monotonic()
        if recalled_in and found.state == recalled_in:
            recalled_in = ""
            why_not = _recall(engine, found, address)
            has_to_come_back = has_to_come_back and not why_not
            told_at = now + story_seconds(scenario)
            continue
        is_back = found.status == wire.RETURNED or not has_to_come_back
        is_back = is_back and found.recall.state not in UNDECIDED
        has_ended = found.status in ENDED or (not recalled_in and is_left_open(scenario))
        is_told = has_ended and is_back and now >= told_at
        if is_told or why_not or now - began > timeout_seconds:
            return found, why_not
        time.sleep(LOOK_SECONDS)


def _submit(engine: EngineClient, request: wire.SettlementRequest) -> str:
    """Return the id of the settlement. Raises Misconfigured."""
    batch = wire.SubmitSettlementsRequest(settlements=[request])
    result = engine.settlements.SubmitSettlements(batch, timeout=CALL_SECONDS).results[0]
    if result.HasField("error"):
        raise Misconfigured(
            "the engine does not take the payment",
            why=result.error.message,
            todo="Start it with --sample-data.",
        )
    return result.settlement.settlement_id


def _recall(
    engine: EngineClient, found: wire.SettlementStatusResponse, address: EngineAddress
) -> str:
    """Ask for the payment back; returns why the engine does not ask the bank for it."""
    try:
        if found.state == "COMPLETED":
            wanted = wire.RecallSettlementRequest(
                settlement_id=found.settlement_id, reason=RECALL_REASON
            )
            engine.settlements.RecallSettlement(wanted, **acting(None, address))
        else:
            cancel = wire.CancelSettlementRequest(settlement_id=found.settlement_id)
            engine.settlements.CancelSettlement(cancel, timeout=CALL_SECONDS)
    except grpc.RpcError as error:
        refused = translate(error, address.target)
        if not isinstance(refused, NotOffered | WrongState):
            raise
        return refused.why or refused.what
    return ""


# --- the story ----------------------------------------------------------------------------------------


class _Story(NamedTuple):
    """What the engine has recorded of a payment."""

    found: wire.SettlementStatusResponse
    messages: ListedMessages
    cases: list[wire.SettlementException]
    why_not_recalled: str


def _read(
    engine: EngineClient, found: wire.SettlementStatusResponse, why_not_recalled: str
) -> _Story:
    wanted = wire.ListExceptionsRequest(settlement_id=found.settlement_id, include_closed=True)
    cases = engine.exceptions.ListExceptions(wanted, timeout=CALL_SECONDS).exceptions
    messages = read_messages(engine, found.settlement_id)
    return _Story(found, messages, list(cases), why_not_recalled)


def _as_dict(story: _Story) -> dict[str, Any]:
    return {
        "settlement": as_dict(story.found),
        **messages_as_dict(story.messages),
        "exceptions": [as_dict(case) for case in story.cases],
        **({"whyNotRecalled": story.why_not_recalled} if story.why_not_recalled else {}),
    }


def _tell(scenario: str, story: _Story, entry: dict[str, Any] | None) -> None:
    from settlement_engine.app.simulated_payment import differs_over_files, sentences

    say(f"{scenario}: {sentences()[scenario]}")
    if story.found.rail == "ach" and (otherwise := differs_over_files(scenario)):
        say(f"  {otherwise}")
    say()
    print_history(story.found)
    say()
    for message in story.messages.messages:
        arrow = "→" if message.direction == "OUT" else "←"
        status = f", HTTP {message.response_status}" if message.response_status else ""
        kind = message.type or "no message of a known type"
        say(f"  {clock_time(message.time)}  {arrow} {kind}{status}")
    for case in story.cases:
        kind = wire.ExceptionKind.Name(case.kind).removeprefix("EXCEPTION_KIND_").lower()
        say(f"  exception {case.id}: {kind.replace('_', ' ')}")
    if story.why_not_recalled:
        say(f"  not recalled: {story.why_not_recalled}")
    say(f"\n  the bank: {_bank_says(entry)}")
    say(f"  more: settlement-engine show {story.found.settlement_id} --messages")


def _bank_says(entry: dict[str, Any] | None) -> str:
    if entry is None:
        return "it has never received this payment"
    debited = f"debited {entry['debited_amount']}" if entry["times_debited"] else "not debited"
    returned = entry["returned_amount"]
    back = f", returned {returned}" if returned.strip("0.") else ""
    return f"received {entry['times_received']} times, {debited}{back}, {entry['state']}"
