"""A compensation in requests, in a settlement's status and in its events."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING
from uuid import UUID

import msgspec

from settlement_engine.api import render
from settlement_engine.domain.compensation import Compensation
from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.domain.money import Money
from settlement_engine.domain.payment import Delivery
from settlement_engine.ports import Announcement
from settlement_engine.proto import settlement_pb2 as pb
from tests.support.decided import moved, settlement
from tests.support.histories import payment_request

if TYPE_CHECKING:
    from settlement_engine.domain.settlement import Settlement

COMPENSATED_ID, COMPENSATION_ID = UUID(int=7), UUID(int=8)


def test_a_compensation_names_what_it_compensates() -> None:
    instruction = payment_request(compensates=COMPENSATED_ID)
    answer = render.status_response(settlement(State.HELD, instruction=instruction))
    assert answer.compensates == str(COMPENSATED_ID)
    assert not answer.compensations


def compensated() -> Settlement:
    made = Compensation(
        settlement_id=COMPENSATION_ID, state=State.HELD, amount_minor=40, returned_minor=5
    )
    return settlement(State.COMPLETED, compensations=(made,))


def test_what_is_compensated_names_its_compensations() -> None:
    answer = render.status_response(compensated())
    assert answer.compensates == ""
    assert list(answer.compensations) == [
        pb.SettlementCompensation(
            settlement_id=str(COMPENSATION_ID),
            status=pb.HELD,
            state="HELD",
            amount="0.40",
            returned="0.05",
        )
    ]


def test_an_event_of_a_compensation_names_what_it_compensates() -> None:
    announcement = Announcement(
        moved=moved(State.VALIDATING, Event.PARKED, State.HELD),
        obligation_id="O-1",
        from_bank="ALFA",
        to_bank="BETA",
        amount=Money(100, "EUR"),
        value_date=date(2026, 1, 5),
        priority=0,
        compensates=COMPENSATED_ID,
    )
    for told, name in (
        (announcement, str(COMPENSATED_ID)),
        (msgspec.structs.replace(announcement, compensates=None), ""),
    ):
        payload = pb.SettlementMoved()
        assert render.event(told).payload.Unpack(payload)
        assert payload.compensates == name


def test_an_event_says_how_its_settlement_is_delivered() -> None:
    announcement = Announcement(
        moved=moved(State.VALIDATING, Event.PARKED, State.HELD),
        obligation_id="O-1",
        from_bank="ALFA",
        to_bank="BETA",
        amount=Money(100, "EUR"),
        value_date=date(2026, 1, 5),
        priority=0,
        delivery=Delivery.PAY_OUT,
    )
    for told, number in (
        (announcement, pb.DELIVERY_PAY_OUT),
        (msgspec.structs.replace(announcement, delivery=Delivery.BOOK), pb.DELIVERY_BOOK),
    ):
        payload = pb.SettlementMoved()
        assert render.event(told).payload.Unpack(payload)
        assert payload.delivery == number
