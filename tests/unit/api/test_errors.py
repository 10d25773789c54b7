from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import pytest
import structlog
from google.rpc.error_details_pb2 import (
    BadRequest,
    ErrorInfo,
    RetryInfo,
)

from settlement_engine import errors
from settlement_engine.api.errors import CODES, HTTP_CODES, code_of, http_error, status_of
from settlement_engine.domain.lifecycle import ENDS, State
from settlement_engine.domain.money import Money
from settlement_engine.domain.preconditions import RefusalCode, refuse_funds
from settlement_engine.evidence.sentences import next_action, refusal_sentence

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRET = "postgres://user:hunter2@db"


def family(kind: type[Exception]) -> Iterator[type[Exception]]:
    yield kind
    for child in kind.__subclasses__():
        yield from family(child)


def detail(status, kind):
    for packed in status.details:
        found = kind()
        if packed.Unpack(found):
            return found
    return None


def test_every_error_class_has_a_status() -> None:
    ours = {
        kind for kind in family(errors.SettlementEngineError) if kind.__module__ == errors.__name__
    }
    assert ours == set(CODES)


def test_every_grpc_error_status_has_an_http_status() -> None:
    assert set(HTTP_CODES) == set(grpc.StatusCode) - {grpc.StatusCode.OK}


def test_an_unlisted_error_class_has_the_status_of_its_base_class() -> None:
    class Odd(errors.NotFound):
        pass

    assert code_of(Odd("x")) is grpc.StatusCode.NOT_FOUND
    assert code_of(ValueError("x")) is grpc.StatusCode.INTERNAL


def test_violations_are_listed_by_field() -> None:
    status = status_of(errors.InvalidInstruction([("amount", "is odd"), ("to_bank", "is too")]))
    named = [(one.field, one.description) for one in detail(status, BadRequest).field_violations]
    assert named == [("amount", "is odd"), ("to_bank", "is too")]
    assert status.message == "amount: is odd (and 1 more)"
    info = detail(status, ErrorInfo)
    assert (info.reason, info.domain) == ("INVALID_ARGUMENT", "settlement-engine")


def test_a_conflict_names_the_field_and_the_settlement() -> None:
    error = errors.IdempotencyConflict("the key is taken", field="amount", settlement_id="s-1")
    status = status_of(error)
    assert status.code == grpc.StatusCode.ALREADY_EXISTS.value[0]
    assert "amount" in status.message
    assert dict(detail(status, ErrorInfo).metadata)["settlement_id"] == "s-1"


def test_a_retryable_error_says_when_to_retry() -> None:
    status = status_of(errors.Overloaded("full", retry_after_seconds=1.5))
    delay = detail(status, RetryInfo).retry_delay
    assert (delay.seconds, delay.nanos) == (1, 500_000_000)
    assert detail(status_of(errors.Unavailable("away")), RetryInfo) is not None
    assert detail(status_of(errors.NotFound("none")), RetryInfo) is None


@pytest.mark.parametrize(
    "error",
    [
        ValueError(SECRET),
        TimeoutError(SECRET),
        errors.InvariantViolated(SECRET, why=SECRET),
        errors.CorruptRecord(SECRET),
        errors.Misconfigured(SECRET),
        errors.Unavailable("PostgreSQL cannot be reached", why=SECRET),
    ],
)
def test_internal_errors_are_not_shown_to_the_caller(error: Exception) -> None:
    with structlog.testing.capture_logs() as logged:
        status = status_of(error)
        http = http_error(error)
    assert b"hunter2" not in status.SerializeToString()
    assert "hunter2" not in str(http.body)
    if not isinstance(error, errors.Unavailable):
        incidents = [entry["incident"] for entry in logged]
        assert incidents[0] in status.message
        assert incidents[1] in http.body["message"]


def test_http_reports_errors_as_grpc_does() -> None:
    http = http_error(errors.InvalidInstruction([("amount", "is odd")]))
    assert http.http_status == 400
    assert http.body["code"] == 3
    assert http.body["status"] == http.body["reason"] == "INVALID_ARGUMENT"
    assert http.body["violations"] == [{"field": "amount", "description": "is odd"}]
    assert http.body["details"][0]["reason"] == "INVALID_ARGUMENT"


def test_a_status_stays_small_enough_for_its_metadata() -> None:
    many = [("f" * 60, "d" * 120)] * 500
    assert len(status_of(errors.InvalidInstruction(many)).SerializeToString()) < 6_000


@pytest.mark.parametrize("code", list(RefusalCode))
def test_every_refusal_is_a_sentence(code: RefusalCode) -> None:
    facts = {"account": "nostro of A in EUR", "currency": "EUR", "code": "AC04", "text": "closed"}
    sentence = refusal_sentence(code, facts)
    assert sentence
    assert "{" not in sentence
    assert refusal_sentence(code, {})


def test_a_refusal_for_funds_states_required_and_available() -> None:
    refusal = refuse_funds(Money(10_000, "EUR"), Money(2_000, "EUR"))
    sentence = refusal_sentence(refusal.code, refusal.detail)
    assert sentence == "required 100.00, available 20.00 EUR"


@pytest.mark.parametrize("state", sorted(set(State) - ENDS - {State.PENDING}))
def test_every_open_state_has_a_next_action(state: State) -> None:
    assert next_action(state)


def test_a_rail_without_enquiries_is_not_said_to_be_asked() -> None:
    assert "asked" in next_action(State.IN_DOUBT)
    assert "asked" not in next_action(State.IN_DOUBT, takes_enquiries=False)
    assert next_action(State.LOCKED, takes_enquiries=False) == next_action(State.LOCKED)


@pytest.mark.parametrize("state", sorted(ENDS))
def test_a_final_state_has_no_next_action(state: State) -> None:
    assert not next_action(state)
