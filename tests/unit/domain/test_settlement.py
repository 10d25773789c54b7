from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

import pytest
from msgspec.structs import replace as replace_payment

from settlement_engine.domain.announcement import announcement_type, event_id
from settlement_engine.domain.identifiers import references
from settlement_engine.domain.lifecycle import ENDS, Event, State
from settlement_engine.domain.money import Money
from settlement_engine.domain.payment import (
    Delivery,
    PaymentAccount,
    PaymentDetails,
    PaymentParty,
)
from settlement_engine.domain.settlement import (
    FIRST_ATTEMPT,
    Attempt,
    Instruction,
    Moved,
    Priority,
    Route,
    Settlement,
)

INSTRUCTION = Instruction(
    caller="clearing",
    idempotency_key="key-1",
    obligation_id="OBL-1",
    from_bank="DEUTDEFF",
    to_bank="CHASUS33",
    amount=Money(1_250, "EUR"),
    value_date=date(2026, 1, 14),
    priority=Priority.HIGH,
    metadata={"desk": "fx", "simulate": "settle"},
)
OTHERS: dict[str, Any] = {
    "obligation_id": "OBL-2",
    "from_bank": "BNPAFRPP",
    "to_bank": "BNPAFRPP",
    "amount": Money(1_251, "EUR"),
    "currency": Money(1_250, "USD"),
    "settlement_date": date(2026, 1, 15),
    "priority": Priority.NORMAL,
    "metadata": {"desk": "fx"},
}
FIELD = {"currency": "amount", "settlement_date": "value_date"}
ID = UUID("0199c2d4-6f0e-7c1a-9d51-1f2a33445566")


def test_the_content_names_what_must_be_equal_for_a_replay():
    assert INSTRUCTION.content().keys() == OTHERS.keys()


@pytest.mark.parametrize("name", OTHERS)
def test_any_other_content_has_another_hash_and_the_field_is_found(name):
    other = replace(INSTRUCTION, **{FIELD.get(name, name): OTHERS[name]})
    assert other.content_hash != INSTRUCTION.content_hash
    differing = [
        key for key in INSTRUCTION.content() if other.content()[key] != INSTRUCTION.content()[key]
    ]
    assert differing == [name]


@pytest.mark.parametrize("changes", [{"caller": "other"}, {"idempotency_key": "key-2"}])
def test_the_key_is_not_part_of_the_content_but_of_the_key_hash(changes):
    other = replace(INSTRUCTION, **changes)
    assert other.content_hash == INSTRUCTION.content_hash
    assert other.key_hash != INSTRUCTION.key_hash


def test_the_order_of_the_metadata_does_not_matter():
    turned = replace(INSTRUCTION, metadata=dict(reversed(list(INSTRUCTION.metadata.items()))))
    assert turned.content_hash == INSTRUCTION.content_hash


def test_a_value_date_that_is_left_open_differs_from_one_that_is_named():
    assert replace(INSTRUCTION, value_date=None).content_hash != INSTRUCTION.content_hash


PAYMENT = PaymentDetails(
    creditor=PaymentParty(name="Zoë", account=PaymentAccount(iban="DE89370400440532013000")),
    purpose="TRAD",
)
NEWER: dict[str, Any] = {
    "payment": PAYMENT,
    "rail": "swift",
    "requested_delivery": Delivery.BOOK,
}


def test_fields_that_are_left_out_are_not_in_the_content_so_that_old_keys_replay():
    assert not {"payment", "rail", "delivery"} & INSTRUCTION.content().keys()


@pytest.mark.parametrize(("name", "value"), list(NEWER.items()))
def test_newer_fields_are_part_of_the_content_when_they_are_given(name, value):
    other = replace(INSTRUCTION, **{name: value})
    assert other.content_hash != INSTRUCTION.content_hash
    assert other.content().keys() - INSTRUCTION.content().keys() == {
        name.removeprefix("requested_")
    }


def test_an_empty_text_of_a_payment_counts_as_left_out():
    said = replace(INSTRUCTION, payment=replace_payment(PAYMENT, remittance=""))
    assert said.content_hash == replace(INSTRUCTION, payment=PAYMENT).content_hash
    other = replace(INSTRUCTION, payment=replace_payment(PAYMENT, remittance="x"))
    assert other.content_hash != said.content_hash


def test_the_content_hash_with_the_newer_fields_is_the_same_for_ever():
    assert (
        replace(INSTRUCTION, **NEWER).content_hash.hex()
        == "e0ee2353ef3218076d81c76d1ebe4835c80225e44f65af583fba37ef08a35e9f"
    )


def test_the_content_hash_is_the_same_for_ever():
    assert (
        INSTRUCTION.content_hash.hex()
        == "6a4833933c760c1a8092f5dce542f63c242faa751be41490ab7e284e624f75cd"
    )


def test_an_attempt_begins_with_one_sending_of_which_nothing_is_proved():
    route = Route(rail="mock", source_id=1, agent_id=2, clearing_id=3, target_id=4)
    found = Attempt(
        number=FIRST_ATTEMPT,
        route=route,
        references=references("clearing", "key-1", FIRST_ATTEMPT),
        payload=b"",
        recorded_at=datetime(2026, 1, 14, tzinfo=UTC),
        valid_until=datetime(2026, 1, 15, tzinfo=UTC),
    )
    assert (found.number, found.sends, found.undelivered) == (1, 1, 0)


def test_priorities_have_the_numbers_of_the_wire():
    assert {priority.name: priority.value for priority in Priority} == {
        "NORMAL": 0,
        "HIGH": 1,
        "URGENT": 2,
    }


@pytest.mark.parametrize("state", State)
def test_a_settlement_has_ended_exactly_in_the_ends(state):
    found = Settlement(
        id=ID,
        instruction=INSTRUCTION,
        state=state,
        seq=1,
        fencing_token=1,
        created_at=datetime(2026, 1, 14, tzinfo=UTC),
        value_date=date(2026, 1, 14),
    )
    assert found.is_ended is (state in ENDS)
    assert (found.asked, found.is_frozen, found.attempt) == (0, False, None)


def moved(from_state, event, to_state):
    return Moved(
        position=7,
        settlement_id=ID,
        seq=3,
        from_state=from_state,
        event=event,
        to_state=to_state,
        at=datetime(2026, 1, 14, tzinfo=UTC),
        detail={},
    )


@pytest.mark.parametrize(
    ("move", "name"),
    [
        (moved(State.PENDING, Event.ADMITTED, State.VALIDATING), "settlement.accepted"),
        (moved(State.QUEUED, Event.RELEASED, State.VALIDATING), "settlement.validating"),
        (moved(State.LOCKED, Event.SETTLED, State.COMPLETED), "settlement.completed"),
        (moved(State.LOCKED, Event.NO_ANSWER, State.IN_DOUBT), "settlement.in_doubt"),
        (moved(State.SENT, Event.REJECTED, State.ROLLED_BACK), "settlement.rolled_back"),
        (moved(State.COMPLETED, Event.CONTRADICTED, State.COMPLETED), "settlement.contradicted"),
    ],
)
def test_an_announcement_is_named_after_what_was_reached(move, name):
    assert announcement_type(move) == name


def test_an_announcement_has_the_same_name_for_ever():
    found = moved(State.LOCKED, Event.SETTLED, State.COMPLETED)
    assert event_id(found) == "0199c2d4-6f0e-7c1a-9d51-1f2a33445566.3"
