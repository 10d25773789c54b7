"""The comparison after the kills over all rails can fail: each way in which two ledgers may differ is found."""

from __future__ import annotations

import pytest

from settlement_engine.proto import settlement_pb2 as pb
from tests.support.railkills import differences

NAME = "E1"
DEBITED = {"end_to_end_id": NAME, "times_debited": 1, "debited_amount": "7.00"}
KEPT = {**DEBITED, "returned_amount": "0.00"}
CAME_BACK = {**DEBITED, "returned_amount": "7.00"}
IN_PART = {**DEBITED, "returned_amount": "3.00"}
REFUSED = {**KEPT, "times_debited": 0, "debited_amount": "0.00"}


def ours(
    status: pb.SettlementStatus.ValueType, name: str = NAME
) -> list[pb.SettlementStatusResponse]:
    return [pb.SettlementStatusResponse(status=status, end_to_end_id=name, amount="7.00")]


@pytest.mark.parametrize(
    ("status", "lines"),
    [
        (pb.COMPLETED, [KEPT]),
        (pb.RETURNED, [CAME_BACK]),
        (pb.ROLLED_BACK, [REFUSED]),
        (pb.ROLLED_BACK, []),
        (pb.FAILED, []),
    ],
)
def test_ledgers_that_agree_have_no_difference(status, lines) -> None:
    assert differences(ours(status), lines) == []


@pytest.mark.parametrize(
    ("status", "lines"),
    [
        (pb.COMPLETED, []),
        (pb.COMPLETED, [REFUSED]),
        (pb.COMPLETED, [KEPT, KEPT]),
        (pb.COMPLETED, [CAME_BACK]),
        (pb.COMPLETED, [{**KEPT, "debited_amount": "6.99"}]),
        (pb.RETURNED, [KEPT]),
        (pb.RETURNED, [IN_PART]),
        (pb.RETURNED, [CAME_BACK, CAME_BACK]),
        (pb.ROLLED_BACK, [KEPT]),
        (pb.ROLLED_BACK, [CAME_BACK]),
        (pb.FAILED, [KEPT]),
    ],
)
def test_each_difference_is_found(status, lines) -> None:
    assert len(differences(ours(status), lines)) == 1


def test_a_payment_that_the_bank_alone_has_is_found() -> None:
    assert differences(ours(pb.FAILED, name=""), [REFUSED]) == ["the bank alone has E1"]
