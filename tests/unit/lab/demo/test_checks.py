"""The demo's checks can fail: each is shown a world in which its promise is broken."""

from __future__ import annotations

from dataclasses import replace

import pytest

from settlement_engine.domain.money import parse_amount
from settlement_lab.commands.demo.checks import (
    BankEntry,
    EventSeen,
    Evidence,
    OurSettlement,
    check_all,
)
from settlement_lab.commands.demo.payments import POOR_BANK, make_orders

BANK = BankEntry(
    reference="E1",
    settlement_id="s1",
    obligation_id="o1",
    state="settled",
    times_received=1,
    times_debited=1,
)
REFUSED = OurSettlement(settlement_id="s2", obligation_id="o2", status="FAILED")
DONE = OurSettlement(settlement_id="s1", obligation_id="o1", status="COMPLETED")
EVENTS = tuple(
    EventSeen(event_id=f"{name}.{seq}", settlement_id=name, seq=seq, position=place, status=status)
    for place, (name, seq, status) in enumerate(
        [
            ("s1", 1, "VALIDATING"),
            ("s2", 1, "VALIDATING"),
            ("s1", 2, "EXECUTING"),
            ("s2", 2, "FAILED"),
            ("s1", 3, "COMPLETED"),
        ],
        start=1,
    )
)
GOOD = Evidence(
    obligations=frozenset({"o1", "o2"}),
    bank=[BANK],
    ours=[DONE, REFUSED],
    held={},
    open_holds=0,
    differences=[],
    events=EVENTS,
    deliveries=7,
    tail={4: "s2.2", 5: "s1.3"},
)


def broken(evidence: Evidence) -> list[str]:
    return [check.promise for check in check_all(evidence) if not check.is_true]


def test_a_good_world_passes_every_check() -> None:
    assert broken(GOOD) == []


@pytest.mark.parametrize(
    ("evidence", "promise"),
    [
        (replace(GOOD, obligations=frozenset({"o1", "o2", "o3"})), "ended"),
        (replace(GOOD, obligations=frozenset({"o1"})), "ended"),
        (replace(GOOD, ours=[DONE, REFUSED, replace(REFUSED, settlement_id="s3")]), "ended"),
        (replace(GOOD, ours=[DONE, replace(REFUSED, status="IN_DOUBT")]), "ended"),
        (replace(GOOD, bank=[replace(BANK, times_debited=2)]), "at most once"),
        (replace(GOOD, bank=[BANK, replace(BANK, settlement_id="s3")]), "at most once"),
        (replace(GOOD, bank=[]), "completed settlements were debited"),
        (
            replace(GOOD, bank=[replace(BANK, times_debited=0)]),
            "completed settlements were debited",
        ),
        (
            replace(GOOD, bank=[BANK, replace(BANK, settlement_id="s2", obligation_id="o2")]),
            "completed settlements were debited",
        ),
        (replace(GOOD, differences=["balance of 7: 1"]), "conserved"),
        (replace(GOOD, held={"DEUTDEFF EUR": "1.00"}), "hold"),
        (replace(GOOD, open_holds=1), "hold"),
        (replace(GOOD, events=EVENTS[:-1]), "announced exactly once"),
        (replace(GOOD, events=EVENTS[1:]), "announced exactly once"),
        (replace(GOOD, events=(*EVENTS, EVENTS[-1])), "announced exactly once"),
        (replace(GOOD, events=(*EVENTS[:2], *EVENTS[3:])), "announced exactly once"),
        (replace(GOOD, tail={5: "s1.4"}), "announced exactly once"),
        (replace(GOOD, tail={6: "s1.4"}), "announced exactly once"),
        (
            replace(GOOD, events=(*EVENTS[:-1], replace(EVENTS[-1], status="ROLLED_BACK"))),
            "agree with the books",
        ),
    ],
)
def test_each_promise_can_be_seen_to_break(evidence: Evidence, promise: str) -> None:
    assert any(promise in text for text in broken(evidence))


def test_events_out_of_order_within_a_settlement_are_seen() -> None:
    first, second = EVENTS[0], EVENTS[2]
    swapped = (replace(first, seq=2), EVENTS[1], replace(second, seq=1), *EVENTS[3:])
    assert any("in order" in text for text in broken(replace(GOOD, events=swapped)))


def test_a_long_list_of_faults_is_cut_short() -> None:
    many = replace(GOOD, obligations=frozenset(f"x{number}" for number in range(100)))
    details = [check.detail for check in check_all(many) if not check.is_true]
    assert "and 99 more" in details[0]


# --- what is sent ---------------------------------------------------------------------------------


def test_the_same_seed_makes_the_same_instructions() -> None:
    banks, currencies = ("A", "B", "C"), ("EUR", "JPY", "KWD")
    first = list(make_orders(2000, 7, banks, currencies))
    assert first == list(make_orders(2000, 7, banks, currencies))
    assert first != list(make_orders(2000, 8, banks, currencies))


def test_the_instructions_are_well_formed_and_some_are_made_to_go_wrong() -> None:
    payment_requests = list(make_orders(2000, 7, ("A", "B", "C"), ("EUR", "JPY", "KWD")))
    assert len({payment_request.key for payment_request in payment_requests}) == len(
        payment_requests
    )
    assert len({payment_request.obligation_id for payment_request in payment_requests}) == len(
        payment_requests
    )
    for payment_request in payment_requests:
        assert payment_request.from_bank != payment_request.to_bank
        assert parse_amount(payment_request.amount, payment_request.currency).minor > 0
    scripts = {payment_request.metadata.get("simulate") for payment_request in payment_requests}
    assert scripts == {None, "reject", "lost_answer", "lost_request", "late_settle"}
    assert any(payment_request.from_bank == POOR_BANK for payment_request in payment_requests)
