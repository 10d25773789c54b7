"""``submit``: what is said before, while and after a payment is on its way, and with which code it ends."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from google.rpc import code_pb2, error_details_pb2

from settlement_engine.cli.failures import ExitCode
from settlement_engine.proto import settlement_pb2 as wire
from tests.unit.cli.fake_engine import ID, INVALID, FakeEngine, not_a_field, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.unit.cli.conftest import Run

IBAN = "DE89370400440532013000"
SUBMIT = ("submit", "DEUTDEFF", "CHASUS33", "1000.00", "EUR")


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeEngine]:
    fake = FakeEngine()
    with serving(fake) as address:
        monkeypatch.setenv("SETTLEMENT_ADDRESS", address)
        yield fake


def sent(engine: FakeEngine) -> list[wire.SettlementRequest]:
    """Return what was sent to be written down."""
    return [
        asked.settlements[0]
        for asked in engine.asked
        if isinstance(asked, wire.SubmitSettlementsRequest)
    ]


def test_submit_sends_what_was_said_and_waits_under_the_same_key(
    command: Run, engine: FakeEngine
) -> None:
    said = command(
        *SUBMIT,
        *("--obligation-id", "OB-7", "--priority", "URGENT", "--idempotency-key", "K-1"),
        *("--metadata", "simulate=lost_answer", "--metadata", "note=a=b"),
    )
    assert said.code == ExitCode.OK
    wanted = wire.SettlementRequest(
        obligation_id="OB-7",
        from_bank="DEUTDEFF",
        to_bank="CHASUS33",
        amount="1000.00",
        currency="EUR",
        priority=wire.URGENT,
        metadata={"simulate": "lost_answer", "note": "a=b"},
        idempotency_key="K-1",
    )
    assert sent(engine) == [wanted]
    assert engine.asked[1] == wanted
    assert "✓ COMPLETED" in said.out
    assert ID in said.out


def test_submit_sends_what_the_payment_says(
    command: Run, engine: FakeEngine, tmp_path: Path
) -> None:
    file = tmp_path / "payment.json"
    file.write_text('{"debtor": {"name": "Ada"}, "purpose": "TRAD", "remittance": "from the file"}')
    said = command(
        *SUBMIT,
        *("--payment", str(file), "--creditor-name", "Zoë", "--creditor-iban", IBAN),
        *("--remittance", "invoice 4711", "--rail", "swift", "--delivery", "book"),
    )
    assert said.code == ExitCode.OK
    [request] = sent(engine)
    assert request.payment == wire.PaymentDetails(
        debtor=wire.PaymentParty(name="Ada"),
        creditor=wire.PaymentParty(name="Zoë", account=wire.PaymentAccount(iban=IBAN)),
        purpose="TRAD",
        remittance="invoice 4711",
    )
    assert (request.rail, request.delivery) == ("swift", wire.DELIVERY_BOOK)


def test_submit_without_these_options_sends_none_of_their_fields(
    command: Run, engine: FakeEngine
) -> None:
    command(*SUBMIT)
    [request] = sent(engine)
    assert not request.HasField("payment")
    assert (request.rail, request.delivery) == ("", wire.DELIVERY_UNSPECIFIED)
    assert request.compensates == ""


def test_submit_names_the_settlement_that_it_compensates(command: Run, engine: FakeEngine) -> None:
    assert command(*SUBMIT, "--compensates", ID, "--no-wait").code == ExitCode.OK
    [request] = sent(engine)
    assert request.compensates == ID


@pytest.mark.parametrize(
    "content",
    ["[]", '{"nam": "Ada"}', "\xff", '"' + "a" * 70_000 + '"'],
    ids=["a list", "an unknown field", "no text", "too long"],
)
def test_a_file_that_is_no_payment_is_refused_before_anything_is_sent(
    command: Run, engine: FakeEngine, tmp_path: Path, content: str
) -> None:
    file = tmp_path / "payment.json"
    file.write_bytes(content.encode("latin-1"))
    assert command(*SUBMIT, "--payment", str(file)).code == ExitCode.USAGE
    assert engine.asked == []


def test_warnings_about_a_payment_are_shown(command: Run, engine: FakeEngine) -> None:
    warning = "payment.creditor.agent_bic: is in none of the directories"
    engine.accepted = wire.SettlementResponse(settlement_id=ID, warnings=[warning])
    assert "payment.creditor.agent_bic: is in none" in command(*SUBMIT).out


# --- a repetition ---------------------------------------------------------------------------------


def test_the_same_command_again_is_the_same_payment(command: Run, engine: FakeEngine) -> None:
    command(*SUBMIT)
    command("submit", "DEUTDEFF", "CHASUS33", "1000", "EUR")  # the same amount, written shorter
    first, second = sent(engine)
    assert first.obligation_id == first.idempotency_key
    assert first.obligation_id == second.obligation_id


@pytest.mark.parametrize(
    "other",
    [
        ("submit", "DEUTDEFF", "CHASUS33", "1000.01", "EUR"),
        ("submit", "CHASUS33", "DEUTDEFF", "1000.00", "EUR"),
        (*SUBMIT, "--priority", "high"),
        (*SUBMIT, "--metadata", "note=x"),
        (*SUBMIT, "--rail", "swift"),
        (*SUBMIT, "--delivery", "pay_out"),
        (*SUBMIT, "--compensates", ID),
        (*SUBMIT, "--remittance", "x"),
        (*SUBMIT, "--another"),
    ],
    ids=str,
)
def test_another_payment_has_another_name(
    command: Run, engine: FakeEngine, other: tuple[str, ...]
) -> None:
    command(*SUBMIT)
    command(*other)
    first, second = sent(engine)
    assert first.obligation_id != second.obligation_id
    assert first.idempotency_key != second.idempotency_key


def test_another_one_each_time(command: Run, engine: FakeEngine) -> None:
    command(*SUBMIT, "--another")
    command(*SUBMIT, "--another")
    first, second = sent(engine)
    assert first.obligation_id != second.obligation_id
    assert command(*SUBMIT, "--another", "--obligation-id", "OB-7").code == ExitCode.USAGE


def test_a_repetition_says_that_nothing_was_paid_again(command: Run, engine: FakeEngine) -> None:
    engine.accepted = wire.SettlementResponse(settlement_id=ID, replayed=True)
    said = command(*SUBMIT)
    assert "submitted before and is not made again; to pay again, use --another" in said.out
    assert "--another" not in command(*SUBMIT, "--obligation-id", "OB-7").out
    engine.accepted.status = engine.answer.status = wire.FAILED
    said = command(*SUBMIT, "--obligation-id", "OB-7")
    assert "to try again, use another --idempotency-key" in said.out
    assert said.code == ExitCode.FAILED
    engine.answer.status = wire.COMPLETED
    answer = json.loads(command(*SUBMIT, "--json").out)
    assert answer["replayed"] is True


# --- what is said, and when -----------------------------------------------------------------------


def test_the_names_are_said_before_anything_is_sent(command: Run) -> None:
    said = command(*SUBMIT, "--address", "127.0.0.1:1", "--idempotency-key", "K-1")
    assert said.out.splitlines()[0].startswith("  obligation  cli-")
    assert said.out.splitlines()[1] == "  key         K-1"
    assert said.code == ExitCode.UNAVAILABLE


def test_the_settlement_is_named_as_soon_as_the_engine_has_it(
    command: Run, engine: FakeEngine
) -> None:
    engine.accepted = wire.SettlementResponse(settlement_id=ID, status=wire.VALIDATING)
    engine.fail("ExecuteSettlement", code_pb2.UNAVAILABLE, "gone")
    said = command(*SUBMIT)
    assert f"  settlement  {ID}" in said.out.splitlines()
    assert said.code == ExitCode.UNAVAILABLE
    assert f"settlement-engine show {ID}" in said.err
    assert "send it again" not in said.err


def test_with_json_the_names_go_beside_the_answer(command: Run, engine: FakeEngine) -> None:
    said = command(*SUBMIT, "--obligation-id", "OB-7", "--json")
    answer = json.loads(said.out)
    assert answer["settlementId"] == ID
    assert answer["status"] == "COMPLETED"
    assert answer["replayed"] is False
    names, settlement = (json.loads(line) for line in said.err.splitlines())
    assert names == {"obligationId": "OB-7", "idempotencyKey": "OB-7"}
    assert settlement == {"settlementId": ID}


@pytest.mark.parametrize("has_accepted", [False, True])
def test_ctrl_c_says_how_to_go_on(
    command: Run, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch, *, has_accepted: bool
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    name = "_await_end" if has_accepted else "_accept"
    monkeypatch.setattr(f"settlement_engine.cli.submit.{name}", interrupt)
    said = command(*SUBMIT, "--obligation-id", "OB-7")
    assert said.code == ExitCode.INTERRUPTED
    if has_accepted:
        assert f"settlement {ID} continues; the command stopped waiting" in said.err
        assert f"settlement-engine show {ID}" in said.err
    else:
        assert "not known whether the settlement was accepted" in said.err
        assert "--obligation-id OB-7" in said.err


def test_an_engine_that_is_away_ends_with_four_and_tells_how_to_send_again(command: Run) -> None:
    said = command(*SUBMIT, "--address", "127.0.0.1:1", "--obligation-id", "OB-7")
    assert said.code == ExitCode.UNAVAILABLE
    assert "settlement-engine dev" in said.err
    assert "--obligation-id OB-7: it is never paid twice" in said.err
    assert "Traceback" not in said.err


# --- with which code it ends ----------------------------------------------------------------------

ENDS = {wire.COMPLETED: 0, wire.FAILED: 1, wire.ROLLED_BACK: 1, wire.RETURNED: 1}


@pytest.mark.parametrize("status", wire.SettlementStatus.values())
def test_what_is_not_over_ends_with_six(command: Run, engine: FakeEngine, status: int) -> None:
    engine.answer.status = wire.SettlementStatus.ValueType(status)
    said = command(*SUBMIT)
    assert said.code == ENDS.get(wire.SettlementStatus.ValueType(status), ExitCode.OPEN)
    assert ("settlement-engine show" in said.out) is (said.code == ExitCode.OPEN)
    assert command(*SUBMIT, "--json").code == said.code


def test_a_wait_that_is_over_is_an_open_outcome(command: Run, engine: FakeEngine) -> None:
    engine.accepted = wire.SettlementResponse(settlement_id=ID, status=wire.VALIDATING)
    engine.fail("ExecuteSettlement", code_pb2.DEADLINE_EXCEEDED, "too late")
    said = command(*SUBMIT)
    assert said.code == ExitCode.OPEN
    assert "VALIDATING" in said.out


@pytest.mark.parametrize(
    "code", [code_pb2.RESOURCE_EXHAUSTED, code_pb2.INTERNAL, code_pb2.PERMISSION_DENIED]
)
def test_what_was_accepted_is_never_told_as_refused(
    command: Run, engine: FakeEngine, code: int
) -> None:
    """Exit code 1 says that no money moves: a wait that fails says nothing of the kind."""
    engine.accepted = wire.SettlementResponse(settlement_id=ID, status=wire.VALIDATING)
    info = error_details_pb2.ErrorInfo(reason="OVERLOADED", domain="settlement-engine")
    engine.fail("ExecuteSettlement", code, "no room to wait", info)
    said = command(*SUBMIT)
    assert said.code == ExitCode.UNAVAILABLE
    assert f"settlement {ID} was accepted" in said.err
    assert f"settlement-engine show {ID}" in said.err


@pytest.mark.parametrize("reason", ["INTERNAL", "CORRUPT_RECORD"])
def test_an_engine_that_fails_leaves_the_outcome_open(
    command: Run, engine: FakeEngine, reason: str
) -> None:
    info = error_details_pb2.ErrorInfo(reason=reason, domain="settlement-engine")
    engine.fail("SubmitSettlements", code_pb2.INTERNAL, "the engine failed; incident 7", info)
    said = command(*SUBMIT, "--obligation-id", "OB-7")
    assert said.code == ExitCode.UNAVAILABLE
    assert "incident 7" in said.err
    assert "--obligation-id OB-7: it is never paid twice" in said.err


def test_without_waiting_what_was_accepted_is_done(command: Run, engine: FakeEngine) -> None:
    engine.answer.status = wire.VALIDATING
    said = command(*SUBMIT, "--no-wait")
    assert said.code == ExitCode.OK
    assert len(engine.asked) == 1
    assert f"settlement-engine show {ID}" in said.out


def test_a_settlement_that_moved_no_money_says_why(command: Run, engine: FakeEngine) -> None:
    engine.answer.status = wire.FAILED
    engine.answer.refusal_code = "INSUFFICIENT_FUNDS"
    engine.answer.refusal_detail = "required 1000.00, available 20.00 EUR"
    said = command(*SUBMIT)
    assert said.code == ExitCode.FAILED
    assert "INSUFFICIENT_FUNDS: required 1000.00, available 20.00 EUR" in said.out


# --- what is wrong --------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["SubmitSettlements", "item"])
def test_a_wrong_field_is_wrong_usage_and_named(
    command: Run, engine: FakeEngine, where: str
) -> None:
    engine.fail(where, INVALID, "bad", not_a_field("amount", "must be plain"))
    said = command(*SUBMIT)
    assert said.code == ExitCode.USAGE
    assert said.err.splitlines()[0] == "✗ amount: must be plain"
    assert len(said.err.splitlines()) == 3


def test_a_failure_is_json_where_json_was_asked_for(command: Run, engine: FakeEngine) -> None:
    engine.fail("item", INVALID, "bad", not_a_field("amount", "must be plain"))
    error = json.loads(command(*SUBMIT, "--json").out)["error"]
    assert error["what"] == "amount: must be plain"
    assert error["reason"] == "INVALID_ARGUMENT"
    assert error["exitCode"] == ExitCode.USAGE
    assert error["violations"] == [{"field": "amount", "description": "must be plain"}]


def test_an_unknown_option_and_a_dead_engine_are_json_too(command: Run) -> None:
    said = command(*SUBMIT, "--wrong", "--json")
    assert json.loads(said.out)["error"]["reason"] == "USAGE"
    assert said.code == ExitCode.USAGE
    said = command(*SUBMIT, "--address", "127.0.0.1:1", "--json")
    assert json.loads(said.out)["error"]["reason"] == "UNAVAILABLE"
    assert said.code == ExitCode.UNAVAILABLE


@pytest.mark.parametrize("amount", ["-5", "-5.00", "-.5", "-1,000.00"])
def test_a_negative_amount_is_an_amount(command: Run, engine: FakeEngine, amount: str) -> None:
    command("submit", "DEUTDEFF", "CHASUS33", amount, "EUR")
    assert sent(engine)[0].amount == amount
    command("accounts", "fund", "DEUTDEFF", "EUR", amount, "--reference", "R")
    assert engine.asked[-1].amount == amount


def test_an_unknown_option_is_still_one(command: Run) -> None:
    said = command("submit", "DEUTDEFF", "CHASUS33", "-5x", "EUR")
    assert said.code == ExitCode.USAGE
    assert "-5" in said.err


def test_an_engine_that_is_overloaded_says_when_to_come_back(
    command: Run, engine: FakeEngine
) -> None:
    info = error_details_pb2.ErrorInfo(reason="OVERLOADED", domain="settlement-engine")
    retry = error_details_pb2.RetryInfo()
    retry.retry_delay.FromMilliseconds(1500)
    engine.fail("SubmitSettlements", code_pb2.RESOURCE_EXHAUSTED, "too much", info, retry)
    said = command(*SUBMIT)
    assert said.code == ExitCode.FAILED
    assert "OVERLOADED" in said.err
    assert "Try again after 1.5 s." in said.err
    error = json.loads(command(*SUBMIT, "--json").out)["error"]
    assert error["reason"] == "OVERLOADED"


def test_metadata_needs_a_key_and_a_value(command: Run) -> None:
    assert command(*SUBMIT, "--metadata", "simulate").code == ExitCode.USAGE
