"""The issue's promises, tested from outside on a whole engine (acceptance 2, 3, 4, 7, 8, 9)."""

from __future__ import annotations

import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from settlement_engine.proto import settlement_pb2 as pb
from tests.e2e.jetstream import publish
from tests.e2e.world import World, events, payment_request, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FAST = (
    "--set",
    "banks.mock_latency_ms=5",
    "--set",
    "banks.mock_success_rate=1",
    "--set",
    "banks.mock_answer_timeout_ms=500",
    "--set",
    "banks.mock_late_seconds=0.5",
    "--set",
    "settlement.enquiry_first_delay_seconds=0.1",
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Start one engine for all tests of this file."""
    folder: Path = tmp_path_factory.mktemp("acceptance")
    with World(folder, *FAST) as world:
        for currency, funds in (("EUR", "1000000.00"), ("KWD", "1000.000"), ("JPY", "1000000")):
            world.open_bank("DEUTDEFF", currency, funds)
            world.open_bank("CHASUS33", currency, funds)
        yield world
        world.prove()


def violations(error: grpc.RpcError) -> list[str]:
    """Return the names of the faulty fields in the error."""
    assert isinstance(error, grpc.Call)
    status = rpc_status.from_call(error)
    assert status is not None
    fields = []
    for detail in status.details:
        found = error_details_pb2.BadRequest()
        if detail.Unpack(found):
            fields += [violation.field for violation in found.field_violations]
    return fields


def test_of_twenty_concurrent_payments_only_the_funded_one_settles(world: World) -> None:
    """Exactly one of twenty settles the 100.00; the refusals of the others state both amounts."""
    world.open_bank("ONEBANK1", "EUR", "100.00")
    lows = []

    def settle(_: int) -> pb.SettlementResponse:
        return world.execute(from_bank="ONEBANK1", amount="100.00")

    with ThreadPoolExecutor(21) as pool:
        answers = [pool.submit(settle, n) for n in range(20)]
        while not all(answer.done() for answer in answers):
            lows.append(float(world.nostro("ONEBANK1", "EUR").available))
    found = [answer.result() for answer in answers]
    completed = [answer for answer in found if answer.status == pb.COMPLETED]
    refused = [answer for answer in found if answer.status == pb.FAILED]
    assert (len(completed), len(refused)) == (1, 19)
    for answer in refused:
        assert answer.refusal_code == "INSUFFICIENT_FUNDS"
        assert answer.refusal_fields["required"] == "100.00"
        assert answer.refusal_fields["available"] == "0.00"
        assert "100.00" in answer.refusal_detail
        assert "0.00" in answer.refusal_detail
    assert min(lows) >= 0
    assert world.nostro("ONEBANK1", "EUR").available == "0.00"


def test_the_same_key_twenty_times_at_once_is_one_settlement(world: World) -> None:
    """One is new, nineteen are replays of it."""
    request = payment_request(idempotency_key=str(uuid.uuid4()))
    with ThreadPoolExecutor(20) as pool:
        call = world.settlements.ExecuteSettlement
        found = list(pool.map(lambda _: call(request, timeout=20), range(20)))
    assert len({answer.settlement_id for answer in found}) == 1
    assert sum(answer.replayed for answer in found) == 19
    assert {answer.status for answer in found} == {pb.COMPLETED}
    entry = world.bank_entry(found[0].settlement_id)
    assert entry is not None
    assert (entry["times_received"], entry["times_debited"]) == (1, 1)


def test_the_same_key_with_other_content_names_the_field(world: World) -> None:
    """ALREADY_EXISTS, with the name of the field that differs."""
    request = payment_request(idempotency_key=str(uuid.uuid4()))
    world.settlements.ExecuteSettlement(request, timeout=20)
    request.amount = "2.00"
    with pytest.raises(grpc.RpcError) as caught:
        world.settlements.ExecuteSettlement(request, timeout=20)
    assert caught.value.code() is grpc.StatusCode.ALREADY_EXISTS
    assert "amount" in (caught.value.details() or "")


def test_an_obligation_is_settled_once_but_may_be_tried_again_after_a_failure(world: World) -> None:
    """Another key for a live or completed obligation is refused; a failed one is free again."""
    first = payment_request(idempotency_key="a" + uuid.uuid4().hex)
    world.settlements.ExecuteSettlement(first, timeout=20)
    second = payment_request(
        obligation_id=first.obligation_id, idempotency_key="b" + uuid.uuid4().hex
    )
    with pytest.raises(grpc.RpcError) as caught:
        world.settlements.ExecuteSettlement(second, timeout=20)
    assert caught.value.code() is grpc.StatusCode.ALREADY_EXISTS
    assert "obligation_id" in (caught.value.details() or "")
    failed = payment_request(simulate="reject", idempotency_key="c" + uuid.uuid4().hex)
    assert world.settlements.ExecuteSettlement(failed, timeout=20).status == pb.ROLLED_BACK
    again = payment_request(
        obligation_id=failed.obligation_id, idempotency_key="d" + uuid.uuid4().hex
    )
    assert world.settlements.ExecuteSettlement(again, timeout=20).status == pb.COMPLETED


@pytest.mark.parametrize(
    ("script", "status", "received", "debited"),
    [
        ("settle", pb.COMPLETED, 1, 1),
        ("reject", pb.ROLLED_BACK, 1, 0),
        ("lost_request", pb.COMPLETED, 1, 1),
        ("lost_answer", pb.COMPLETED, 1, 1),
        ("late_settle", pb.COMPLETED, 1, 1),
        ("late_reject", pb.ROLLED_BACK, 1, 0),
    ],
)
def test_each_script_of_the_mock_bank_ends_as_expected(
    world: World, script: str, status: int, received: int, debited: int
) -> None:
    """The bank's own ledger has the payment exactly once."""
    answer = world.execute(simulate=script)
    assert answer.status == status
    entry = world.bank_entry(answer.settlement_id)
    assert entry is not None
    assert (entry["times_received"], entry["times_debited"]) == (received, debited)
    history = world.status(answer.settlement_id)
    passed = [move.to_state for move in history.moves]
    assert ("IN_DOUBT" in passed) == (script not in ("settle", "reject"))


def test_a_payment_without_an_answer_stays_held(world: World) -> None:
    """It stays IN_DOUBT with a next action, however often an enquiry is sent; the hold stays."""
    world.open_bank("SILENTBK", "EUR", "10.00")
    request = payment_request(from_bank="SILENTBK", amount="10.00", simulate="silent")
    answer = world.settlements.ExecuteSettlement(request, timeout=2)
    assert answer.status in (pb.EXECUTING, pb.IN_DOUBT)
    found = world.wait_for(answer.settlement_id, pb.IN_DOUBT)
    assert found.next_action
    until(lambda: world.status(answer.settlement_id).next_action_at.seconds > 0, 5, "a time for it")
    account = world.nostro("SILENTBK", "EUR")
    assert (account.posted, account.held, account.available) == ("10.00", "10.00", "0.00")
    with pytest.raises(grpc.RpcError) as caught:
        world.settlements.CancelSettlement(
            pb.CancelSettlementRequest(settlement_id=answer.settlement_id), timeout=10
        )
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION


def test_a_contradiction_freezes_and_moves_no_money(world: World) -> None:
    """Settled, then the bank reports rejected: the final state stays, and a person is needed."""
    answer = world.execute(simulate="contradict")
    assert answer.status == pb.COMPLETED
    frozen = until(
        lambda: (found := world.status(answer.settlement_id)).is_frozen and found, 10, "the freeze"
    )
    assert frozen.status == pb.COMPLETED
    assert frozen.moves[-1].event == "CONTRADICTED"


def test_three_decimals_of_kwd_are_kept(world: World) -> None:
    """KWD has three decimals."""
    before = world.nostro("DEUTDEFF", "KWD").posted
    answer = world.execute(amount="1.005", currency="KWD")
    assert answer.status == pb.COMPLETED
    assert world.status(answer.settlement_id).amount == "1.005"
    after = world.nostro("DEUTDEFF", "KWD").posted
    assert round(float(before) - float(after), 3) == 1.005


@pytest.mark.parametrize(
    ("amount", "currency"),
    [
        ("100.5", "JPY"),
        ("1.001", "EUR"),
        ("-1", "EUR"),
        ("0", "EUR"),
        ("1e3", "EUR"),
        ("NaN", "EUR"),
        ("\u0661", "EUR"),
        ("1" * 40, "EUR"),
        ("", "EUR"),
        (" 1", "EUR"),
    ],
)
def test_a_wrong_amount_is_named_and_nothing_is_written(
    world: World, amount: str, currency: str
) -> None:
    """INVALID_ARGUMENT that names the amount, over gRPC and over HTTP."""
    request = payment_request(amount=amount, currency=currency)
    with pytest.raises(grpc.RpcError) as caught:
        world.settlements.ExecuteSettlement(request, timeout=10)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert violations(caught.value) == ["amount"]
    code, answer = world.post(
        "SettlementService/ExecuteSettlement",
        {
            "obligationId": request.obligation_id,
            "fromBank": "DEUTDEFF",
            "toBank": "CHASUS33",
            "amount": amount,
            "currency": currency,
        },
    )
    assert code == 400
    assert "amount" in json.dumps(answer)
    assert not listed(world, request.obligation_id)


def listed(world: World, obligation_id: str) -> list[pb.SettlementStatusResponse]:
    """List what was stored for an obligation."""
    request = pb.ListSettlementsRequest(obligation_id=obligation_id)
    return list(world.settlements.ListSettlements(request, timeout=10).settlements)


def test_garbage_requests_are_refused_and_the_server_keeps_running(world: World) -> None:
    """Unknown field, invalid UTF-8, unknown enum value, 10 MB: each is a clear error, and nothing is stored."""
    good = {
        "obligationId": str(uuid.uuid4()),
        "fromBank": "DEUTDEFF",
        "toBank": "CHASUS33",
        "amount": "1.00",
        "currency": "EUR",
    }
    call = "SettlementService/ExecuteSettlement"
    for change, name in (
        ({"amuont": "1.00"}, "amuont"),
        ({"priority": "EXTREME"}, "priority"),
        ({"priority": 17}, "priority"),
        ({"obligationId": ""}, "obligation_id"),
        ({"currency": "zzz"}, "currency"),
        ({"currency": "ZZZ"}, "currency"),
        ({"toBank": "DEUTDEFF"}, "to_bank"),
    ):
        code, answer = world.post(call, good | change)
        assert code == 400, (change, answer)
        assert name in json.dumps(answer), (change, answer)
    code, answer = world.post(call, b'{"obligationId": "\xff\xfe"}')
    assert code == 400
    code, _ = world.post(call, b'{"amount": "' + b"1" * 10_000_000 + b'"}')
    assert code == 413
    with pytest.raises(grpc.RpcError) as caught:
        world.settlements.ExecuteSettlement(
            payment_request(metadata={"a": "x" * 10_000_000}), timeout=20
        )
    assert caught.value.code() in (
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.INVALID_ARGUMENT,
    )
    assert not listed(world, good["obligationId"])
    assert world.execute().status == pb.COMPLETED


def test_unknown_and_inactive_accounts_are_refusals_in_their_order(world: World) -> None:
    """Refusals are data, not errors."""
    assert world.execute(to_bank="NOBODY").refusal_code == "UNKNOWN_ACCOUNT"
    assert world.execute(currency="SEK").refusal_code == "CURRENCY_MISMATCH"
    world.open_bank("SLEEPER1", "EUR", "5.00")
    account = world.nostro("SLEEPER1", "EUR")
    request = pb.SetAccountActiveRequest(id=account.id, is_active=False)
    world.accounts.SetAccountActive(request, timeout=10)
    assert world.execute(from_bank="SLEEPER1").refusal_code == "INACTIVE_ACCOUNT"


def test_events_are_streamed_from_anywhere_without_gap_or_repeat(world: World) -> None:
    """Also after a SIGKILL of the engine."""
    answer = world.execute(simulate="lost_answer")
    everything = list(events(world))
    numbers = [event.sequence for event in everything]
    assert numbers == list(range(1, numbers[-1] + 1))
    mine = [event for event in everything if event.settlement_id == answer.settlement_id]
    assert [event.event_type for event in mine] == [
        "settlement.accepted",
        "settlement.locked",
        "settlement.in_doubt",
        "settlement.completed",
    ]
    assert len({event.event_id for event in everything}) == len(everything)
    middle = mine[1].sequence
    old = world.engine_pids()
    world.kill_engine()
    world.await_new_engine(old)
    rest = list(events(world, after=middle))
    assert [event.sequence for event in rest][: len(everything) - middle] == [
        event.sequence for event in everything[middle:]
    ]
    alone = list(events(world, settlement_id=answer.settlement_id))
    assert [event.event_id for event in alone] == [event.event_id for event in mine]


def test_a_batch_has_a_result_per_item(world: World) -> None:
    """Valid and invalid items together, in order."""
    batch = pb.SubmitSettlementsRequest(
        settlements=[
            payment_request(),
            payment_request(amount="0"),
            payment_request(),
            payment_request(currency="zzz"),
        ]
    )
    results = world.settlements.SubmitSettlements(batch, timeout=20).results
    assert [bool(result.error.code) for result in results] == [False, True, False, True]
    for result in (results[0], results[2]):
        world.wait_for(result.settlement.settlement_id, pb.COMPLETED)


def test_a_bidirectional_stream_answers_every_item(world: World) -> None:
    """Answers may arrive in another order; each names its obligation."""
    payment_requests = [payment_request() for _ in range(50)]
    answers = list(world.settlements.ExecuteSettlements(iter(payment_requests), timeout=30))
    assert {answer.obligation_id for answer in answers} == {
        each.obligation_id for each in payment_requests
    }
    assert {answer.status for answer in answers} == {pb.COMPLETED}


def test_reconciliation_answers_with_its_report(world: World) -> None:
    """Without any statement every account at a bank is pending: nothing is said to be balanced."""
    world.execute()
    found = world.settlements.ReconcileAccounts(
        pb.ReconcileRequest(), timeout=30, metadata=(("settlement-actor", "ada"),)
    )
    assert found.report_id
    assert found.total_accounts == len(found.accounts) > 0
    assert {each.status for each in found.accounts} == {pb.RECONCILIATION_STATUS_PENDING}
    assert found.balanced_accounts == 0


def test_health_and_metrics_are_served(world: World) -> None:
    """The metrics have the specification's names."""
    assert world.get("/healthz")[0] == 200
    assert until(lambda: world.get("/readyz")[0] == 200, 10, "readiness")
    assert world.execute().status == pb.COMPLETED
    _, text = world.get("/metrics")
    for name in ("settlement_total", "settlement_duration_seconds", "atomic_operations_total"):
        assert name in text


def test_clearing_instructions_are_settled_and_invalid_ones_become_dead_letters(
    world: World,
) -> None:
    """A valid message from NATS is settled; an unreadable one is stored with the reason."""
    good = str(uuid.uuid4())
    publish(
        world,
        "clearing.instructions",
        json.dumps(
            {
                "obligationId": good,
                "fromBank": "DEUTDEFF",
                "toBank": "CHASUS33",
                "amount": "3.00",
                "currency": "EUR",
            }
        ).encode(),
        b"not an instruction",
    )
    found = until(lambda: listed(world, good), 20, "clearing's instruction to be taken")
    assert world.wait_for(found[0].settlement_id, pb.COMPLETED).caller == "clearing"


def test_cancellation_is_refused_after_the_end(world: World) -> None:
    """An ended settlement cannot be cancelled."""
    answer = world.execute()
    with pytest.raises(grpc.RpcError) as caught:
        world.settlements.CancelSettlement(
            pb.CancelSettlementRequest(settlement_id=answer.settlement_id), timeout=10
        )
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION


def test_a_closed_window_refuses_or_queues(tmp_path: Path) -> None:
    """SEK never has a window: refused. A queued settlement waits for its window, and may be cancelled."""
    settings = ("--real-windows", "--set", "settlement.when_window_closed=queue")
    with World(tmp_path, *FAST, *settings) as other:
        for currency in ("SEK", "GBP", "EUR", "USD", "INR", "AED"):
            other.open_bank("DEUTDEFF", currency, "100.00")
            other.open_bank("CHASUS33", currency, "100.00")
        refused = other.execute(currency="SEK")
        assert refused.refusal_code == "SETTLEMENT_WINDOW_CLOSED"
        asked = [  # all at once: each is answered only when its caller's deadline comes near
            other.settlements.ExecuteSettlement.future(
                payment_request(currency=currency), timeout=2
            )
            for currency in ("GBP", "EUR", "USD", "INR", "AED")
        ]
        for answer in [call.result() for call in asked]:
            found = other.status(answer.settlement_id)
            if found.status == pb.QUEUED:
                assert found.next_action_at.seconds > 0
                cancelled = other.settlements.CancelSettlement(
                    pb.CancelSettlementRequest(settlement_id=answer.settlement_id), timeout=10
                )
                assert cancelled.status == pb.FAILED
                assert cancelled.refusal_code == "CANCELLED_BY_CALLER"
            else:
                assert found.status == pb.COMPLETED
        other.prove()
