"""``submit``: one settlement, from the caller's side.

Promises: it prints the references before it sends anything, and the settlement id as soon as the engine has
accepted it. The same command again is the same payment, never a second one, unless ``--another`` is given.
Whoever stops waiting sees how to continue. Exit code 1 if no money moved, 6 if it is not final yet.
"""

from __future__ import annotations

import time
import uuid
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, NoReturn, cast

import click
import grpc

from settlement_engine.cli.amounts import AmountCommand
from settlement_engine.cli.call_errors import EngineError, from_status
from settlement_engine.cli.commands import lasting
from settlement_engine.cli.connection import CALL_SECONDS, EngineAddress, engine_options, reach
from settlement_engine.cli.failures import ExitCode, Interrupted
from settlement_engine.cli.messages import NOT_SETTLED, as_dict, code_of, status_name, status_sign
from settlement_engine.cli.output import (
    WARN,
    as_json,
    console,
    example,
    mark,
    note_json,
    print_json,
    say,
)
from settlement_engine.cli.payment import Said, payment_options
from settlement_engine.domain.bank_codes import folded_bank
from settlement_engine.domain.identifiers import content_hash
from settlement_engine.domain.money import MoneyError, format_amount, parse_amount
from settlement_engine.errors import Unavailable
from settlement_engine.proto import settlement_pb2 as wire

if TYPE_CHECKING:
    from collections.abc import Iterator

    from settlement_engine.cli.connection import EngineClient

PRIORITIES: Final = {"normal": wire.NORMAL, "high": wire.HIGH, "urgent": wire.URGENT}
LOOK_SECONDS: Final = 1.0
"""How often the state is shown on a terminal."""

POLL_SECONDS: Final = 0.05
NOT_ACCEPTED: Final = frozenset({"OVERLOADED", "IDEMPOTENCY_CONFLICT"})
"""The reasons of ``EngineError`` that mean: nothing was stored. After any other the outcome is unknown."""

NAME_DIGITS: Final = 32


@lasting
@click.command(cls=AmountCommand)
@click.argument("from_bank", metavar="FROM")
@click.argument("to_bank", metavar="TO")
@click.argument("amount")
@click.argument("currency")
@click.option(
    "--obligation-id",
    help="The obligation id of clearing. Default: derived from the other arguments.",
)
@click.option(
    "--another", is_flag=True, help="Make another payment, even if the same one was made before."
)
@click.option(
    "--priority",
    type=click.Choice(list(PRIORITIES), case_sensitive=False),
    default="normal",
    show_default=True,
    help="The priority of the settlement.",
)
@click.option("--idempotency-key", help="Calls with the same key never pay twice.")
@payment_options
@click.option(
    "--wait/--no-wait",
    default=True,
    show_default=True,
    help="Wait for the final state. With --no-wait, exit code 0 means accepted.",
)
@click.option(
    "--timeout-seconds",
    type=click.FloatRange(0.1, 3600),
    default=CALL_SECONDS,
    show_default=True,
    help="How long to wait. The settlement continues after that.",
)
@engine_options
@as_json
@example("""
settlement-engine submit DEUTDEFF CHASUS33 1000.00 EUR
settlement-engine submit DEUTDEFF CHASUS33 1000.00 EUR --another
settlement-engine submit DEUTDEFF CHASUS33 1000.00 EUR --metadata simulate=lost_answer --json
settlement-engine submit DEUTDEFF CHASUS33 1000.00 EUR --creditor-name Ada --remittance "invoice 4711"
settlement-engine submit CHASUS33 DEUTDEFF 1000.00 EUR --compensates 0199c2d4-6f0e-7c1a-9d51-1f2a33445566 --no-wait
""")
def submit(  # noqa: PLR0913 -- each option of the command is an argument
    *,
    from_bank: str,
    to_bank: str,
    amount: str,
    currency: str,
    obligation_id: str | None,
    another: bool,
    priority: str,
    idempotency_key: str | None,
    said: Said,
    wait: bool,
    timeout_seconds: float,
    address: EngineAddress,
    is_json: bool,
) -> int:
    """Settle AMOUNT of CURRENCY between two banks.

    The same command again is the same payment: it shows the status and does not pay again. Exit code 6
    means that the settlement has not ended yet.
    """
    request = wire.SettlementRequest(
        from_bank=from_bank,
        to_bank=to_bank,
        amount=amount,
        currency=currency,
        priority=PRIORITIES[priority],
    )
    said.write(request)
    _name(request, said, obligation_id, idempotency_key, is_new=another)
    shown = _Shown(request, is_json=is_json, is_named=bool(obligation_id or idempotency_key))
    shown.names()
    began = time.monotonic()
    with shown.going_on(), reach(address) as engine:
        answer = first = _accept(engine, request, timeout_seconds)
        shown.accepted(first)
        if wait:
            left = max(timeout_seconds - (time.monotonic() - began), POLL_SECONDS)
            answer = _await_end(engine, request, first, left, is_json=is_json)
            answer.replayed = first.replayed
    return shown.answer(answer, time.monotonic() - began, has_waited=wait)


def _name(
    request: wire.SettlementRequest,
    said: Said,
    obligation_id: str | None,
    key: str | None,
    *,
    is_new: bool,
) -> None:
    """Set the obligation id and the key: those that were given, or derived ones."""
    if is_new and (obligation_id or key):
        message = "--another makes a new key: do not give --obligation-id or --idempotency-key"
        raise click.UsageError(message)
    request.obligation_id = obligation_id or _name_of(request, said, is_new=is_new)
    request.idempotency_key = key or request.obligation_id


def _name_of(request: wire.SettlementRequest, said: Said, *, is_new: bool) -> str:
    """Derive an obligation id from the content of the request, so that a repetition has the same id."""
    if is_new:
        return f"cli-{uuid.uuid4()}"
    amount = request.amount
    try:
        money = parse_amount(request.amount, request.currency)
        amount = format_amount(money.minor, money.currency)
    except MoneyError:
        pass  # the engine reports what is wrong
    wanted: dict[str, object] = {
        "from": folded_bank(request.from_bank),
        "to": folded_bank(request.to_bank),
        "amount": amount,
        "currency": request.currency,
        "priority": int(request.priority),
        "metadata": dict(request.metadata),
        **said.content(),
    }
    return f"cli-{content_hash(wanted).hex()[:NAME_DIGITS]}"


def _accept(
    engine: EngineClient, request: wire.SettlementRequest, timeout_seconds: float
) -> wire.SettlementResponse:
    """Submit it: once it is accepted it has an id and continues without this command."""
    batch = wire.SubmitSettlementsRequest(settlements=[request])
    # A short --timeout-seconds limits only the wait for the final state, not this call.
    seconds = max(timeout_seconds, CALL_SECONDS)
    result = engine.settlements.SubmitSettlements(batch, timeout=seconds).results[0]
    if result.HasField("error"):
        raise from_status(result.error)
    return result.settlement


def _await_end(
    engine: EngineClient,
    request: wire.SettlementRequest,
    accepted: wire.SettlementResponse,
    seconds: float,
    *,
    is_json: bool,
) -> wire.SettlementResponse:
    """Wait for the final state with a second call under the same key; show the state meanwhile."""
    waiting: Any = engine.settlements.ExecuteSettlement.future(request, timeout=seconds)
    try:
        if not is_json and console().is_terminal:
            _show(engine, waiting, accepted)
        answer: wire.SettlementResponse = waiting.result()
    except grpc.RpcError as error:
        call = cast("grpc.Call", error)  # gRPC raises errors that are calls
        if call.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
            return accepted  # the waiting time is over; this is the last known status
        # The settlement stays accepted, so this error must not look like a refusal.
        what = f"settlement {accepted.settlement_id} was accepted, but its final state is not known"
        raise Unavailable(what, why=call.details() or call.code().name) from None
    finally:
        waiting.cancel()
    return answer


def _show(engine: EngineClient, waiting: Any, accepted: wire.SettlementResponse) -> None:  # noqa: ANN401 -- grpc's future
    """Show the state of the settlement on a terminal, until the wait is over."""
    asked = wire.SettlementStatusRequest(settlement_id=accepted.settlement_id)
    began = looked_at = time.monotonic()
    state = status_name(accepted.status)
    with console().status(state) as shown:
        while not waiting.done():
            time.sleep(POLL_SECONDS)
            if time.monotonic() - looked_at >= LOOK_SECONDS:
                looked_at = time.monotonic()
                with suppress(grpc.RpcError):  # the waiting call reports the error
                    found = engine.settlements.GetSettlementStatus(asked, timeout=LOOK_SECONDS)
                    state = found.state
            shown.update(
                f"{state}, {time.monotonic() - began:.0f} s; Ctrl-C stops only the waiting"
            )


class _Shown:
    """Prints what becomes known about one settlement, in order."""

    def __init__(self, request: wire.SettlementRequest, *, is_json: bool, is_named: bool) -> None:
        self._request = request
        self._is_json = is_json
        self._is_named = is_named
        self._settlement_id = ""

    def names(self) -> None:
        """Print the references under which it is sent."""
        request = self._request
        if self._is_json:
            names = {
                "obligationId": request.obligation_id,
                "idempotencyKey": request.idempotency_key,
            }
            note_json(names)
            return
        say(f"  obligation  {request.obligation_id}")
        if request.idempotency_key != request.obligation_id:
            say(f"  key         {request.idempotency_key}")

    def accepted(self, answer: wire.SettlementResponse) -> None:
        """Print the settlement id, and say if this is a repeated payment."""
        self._settlement_id = answer.settlement_id
        if self._is_json:
            note_json({"settlementId": answer.settlement_id})
            return
        say(f"  settlement  {answer.settlement_id}")
        for warning in answer.warnings:
            mark(WARN, warning)
        if answer.replayed:
            again = "" if self._is_named else "; to pay again, use --another"
            if self._is_named and answer.status in NOT_SETTLED:
                again = "; to try again, use another --idempotency-key"
            mark(WARN, f"this payment was submitted before and is not made again{again}")

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """Add to an error how to continue while the outcome is not known."""
        try:
            yield
        except EngineError as error:
            if error.told_reason in NOT_ACCEPTED:
                raise
            raise Unavailable(error.what, why=error.why, todo=self._how()) from None
        except Unavailable as error:
            error.todo = f"{error.todo} {self._how()}".strip()
            raise
        except KeyboardInterrupt:
            self._interrupted()

    def _interrupted(self) -> NoReturn:
        if self._settlement_id:
            what = f"settlement {self._settlement_id} continues; the command stopped waiting"
            why = "the engine had accepted it when you interrupted the command"
        else:
            what = "it is not known whether the settlement was accepted"
            why = "you interrupted the command before the engine answered"
        raise Interrupted(what, why=why, todo=self._how()) from None

    def _how(self) -> str:
        if self._settlement_id:
            return f"See its status: settlement-engine show {self._settlement_id}"
        request = self._request
        names = f"--obligation-id {request.obligation_id}"
        if request.idempotency_key != request.obligation_id:
            names += f" --idempotency-key {request.idempotency_key}"
        return f"Then submit it again with {names}: it is never paid twice."

    def answer(
        self, answer: wire.SettlementResponse, seconds: float, *, has_waited: bool
    ) -> ExitCode:
        """Print the result and return the exit code; without waiting, an open settlement is fine."""
        code = code_of(answer.status)
        if self._is_json:
            print_json(as_dict(answer))
        else:
            self._print(answer, seconds)
        return ExitCode.OK if code is ExitCode.OPEN and not has_waited else code

    def _print(self, answer: wire.SettlementResponse, seconds: float) -> None:
        request = self._request
        what = f"{request.amount} {request.currency}  {request.from_bank} → {request.to_bank}"
        mark(status_sign(answer.status), f"{status_name(answer.status)}  {what}  {seconds:.2f} s")
        if answer.refusal_code:
            say(f"  {answer.refusal_code}: {answer.refusal_detail}")
        if answer.reference:
            say(f"  reference   {answer.reference}")
        if answer.status not in NOT_SETTLED and answer.status != wire.COMPLETED:
            say(f"  not final yet; see the status: settlement-engine show {answer.settlement_id}")
