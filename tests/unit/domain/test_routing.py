"""Which rail takes a payment, and why the others do not."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from settlement_engine.domain.money import Money
from settlement_engine.domain.payment import (
    Delivery,
    PaymentAccount,
    PaymentDetails,
    PaymentParty,
)
from settlement_engine.domain.routing import (
    LASTING,
    RailOffer,
    RouteReason,
    choose_route,
    read_rejected,
)
from settlement_engine.domain.settlement import Instruction, Priority
from settlement_engine.domain.windows import WindowOpening
from settlement_engine.evidence.sentences import refusal_sentence

if TYPE_CHECKING:
    from collections.abc import Mapping

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
OPEN = WindowOpening(NOON - timedelta(hours=1), NOON + timedelta(hours=1))


@dataclass(frozen=True)
class Rules:
    currencies: frozenset[str] | None = None
    banks: frozenset[str] | None = None
    scope: frozenset[str] | None = None
    amount_min_minor: Mapping[str, int] = field(default_factory=dict)
    amount_max_minor: Mapping[str, int] = field(default_factory=dict)
    needs: Mapping[Delivery, tuple[str, ...]] = field(default_factory=dict)


def payment_request(minor=1_000, currency="EUR", from_bank="aaaabe22xxx"):
    return Instruction(
        caller="clearing",
        idempotency_key="k",
        obligation_id="O-1",
        from_bank=from_bank,
        to_bank="BBB",
        amount=Money(minor, currency),
        value_date=None,
        priority=Priority.NORMAL,
        metadata={},
    )


def offer(name="one", *, rules=None, window_opening=OPEN, **fields):
    return RailOffer(
        name=name, rules=Rules(**(rules or {})), window_opening=window_opening, **fields
    )


def shut(name="one", hours=None, **fields):
    opens_at = None if hours is None else NOON + timedelta(hours=hours)
    return offer(name, window_opening=None, opens_at=opens_at, **fields)


LASTING_RULES = [
    ({"currencies": frozenset({"USD"})}, RouteReason.CURRENCY_NOT_CARRIED),
    ({"banks": frozenset({"CCC"})}, RouteReason.BANK_NOT_REACHED),
    ({"scope": frozenset({"AAAABE22/USD", "CCC/EUR"})}, RouteReason.BANK_NOT_REACHED),
    ({"amount_min_minor": {"EUR": 1_001}}, RouteReason.AMOUNT_BELOW_MINIMUM),
    ({"amount_max_minor": {"EUR": 999}}, RouteReason.AMOUNT_ABOVE_LIMIT),
]


def test_the_first_rail_that_can_take_it_is_chosen_and_those_after_it_are_not_looked_at():
    route = choose_route(payment_request(), [offer("one"), offer("two", rules=LASTING_RULES[0][0])])
    assert (route.rail, route.rejected, route.window_opening) == ("one", (), OPEN)
    assert route.words() == {}


@pytest.mark.parametrize(("rules", "reason"), LASTING_RULES)
def test_what_a_rail_never_carries_goes_over_the_next_one_with_the_reason(rules, reason):
    route = choose_route(payment_request(), [offer("one", rules=rules), offer("two")])
    assert route.rail == "two"
    assert [(each.rail, each.reason) for each in route.rejected] == [("one", reason)]
    assert read_rejected(route.words()) == route.rejected


@pytest.mark.parametrize(("rules", "reason"), LASTING_RULES)
def test_what_no_rail_carries_has_the_reason_of_each(rules, reason):
    route = choose_route(payment_request(), [offer("one", rules=rules), offer("two", rules=rules)])
    assert (route.rail, route.waits_for) == ("", None)
    assert [each.reason for each in route.rejected] == [reason, reason]
    sentence = refusal_sentence("NO_ROUTE", {"currency": "EUR", **route.words()})
    assert sentence.startswith("no rail carries ")


def test_limits_hold_to_the_last_minor_unit_and_for_their_own_currency_only():
    rules = {"amount_min_minor": {"EUR": 1_000}, "amount_max_minor": {"EUR": 1_000, "JPY": 5}}
    assert choose_route(payment_request(1_000), [offer(rules=rules)]).rail == "one"
    assert choose_route(payment_request(5, "JPY"), [offer(rules=rules)]).rail == "one"
    assert choose_route(payment_request(6, "JPY"), [offer(rules=rules)]).rail == ""
    assert choose_route(payment_request(10**15, "USD"), [offer(rules=rules)]).rail == "one"


def test_a_bank_is_reached_under_each_spelling_of_its_code():
    rules = {"banks": frozenset({"AAAABE22"})}
    assert (
        choose_route(payment_request(from_bank="AAAABE22XXX"), [offer(rules=rules)]).rail == "one"
    )
    assert choose_route(payment_request(from_bank="aaaabe22"), [offer(rules=rules)]).rail == "one"
    assert choose_route(payment_request(from_bank="AAAABE23"), [offer(rules=rules)]).rail == ""


@pytest.mark.parametrize(
    ("first", "reason"),
    [
        (shut("one", 1), RouteReason.WINDOW_CLOSED),
        (offer("one", has_room=False), RouteReason.LANE_FULL),
        (offer("one", is_breaker_open=True), RouteReason.BREAKER_OPEN),
    ],
    ids=lambda each: str(each) if isinstance(each, str) else "",
)
def test_what_cannot_take_it_now_gives_way_to_what_can(first, reason):
    route = choose_route(payment_request(), [first, offer("two")])
    assert (route.rail, route.waits_for) == ("two", None)
    assert [(each.rail, each.reason) for each in route.rejected] == [("one", reason)]


def test_without_another_rail_it_waits_for_what_can_be_soonest():
    full, silent = offer("full", has_room=False), offer("silent", is_breaker_open=True)
    late, soon, never = shut("late", 9), shut("soon", 2), shut("never")
    never_carries = offer("no", rules=LASTING_RULES[0][0])
    assert choose_route(payment_request(), [never_carries, late, full, silent]).rail == "silent"
    assert choose_route(payment_request(), [late, full]).waits_for is RouteReason.LANE_FULL
    route = choose_route(payment_request(), [never, late, soon])
    assert (route.rail, route.waits_for) == ("soon", RouteReason.WINDOW_CLOSED)
    assert route.opens_at == soon.opens_at
    assert {each.rail for each in route.rejected} == {"never", "late"}


def test_what_is_sent_to_a_bank_that_does_not_answer_waits_in_its_lane():
    route = choose_route(payment_request(), [offer("one", is_breaker_open=True)])
    assert (route.rail, route.waits_for, route.window_opening) == ("one", None, OPEN)


def test_a_rail_that_never_opens_is_a_closed_window_and_not_a_missing_route():
    route = choose_route(payment_request(), [shut("one")])
    assert (route.rail, route.waits_for) == ("one", RouteReason.WINDOW_CLOSED)
    assert route.opens_at is None


def test_a_rail_that_the_caller_named_is_the_only_one_that_is_looked_at():
    named = replace(payment_request(), rail="two")
    route = choose_route(named, [offer("one"), offer("two"), offer("three")])
    assert (route.rail, route.rejected) == ("two", ())


@pytest.mark.parametrize(("rules", "reason"), LASTING_RULES)
def test_a_named_rail_that_cannot_carry_it_is_refused_under_the_field_rail(rules, reason):
    named = replace(payment_request(), rail="two")
    route = choose_route(named, [offer("one"), offer("two", rules=rules)])
    assert (route.rail, route.field) == ("", "rail")
    assert [(each.rail, each.reason) for each in route.rejected] == [("two", reason)]
    sentence = refusal_sentence("NO_ROUTE", {"field": route.field, **route.words()})
    assert sentence == f"rail two does not carry this payment: {route.rejected[0].text}"


def test_a_named_rail_that_does_not_exist_is_refused_under_the_field_rail():
    route = choose_route(replace(payment_request(), rail="four"), [offer("one")])
    assert (route.rail, route.field) == ("", "rail")
    assert [each.reason for each in route.rejected] == [RouteReason.UNKNOWN_RAIL]
    assert read_rejected(route.words()) == route.rejected


@pytest.mark.parametrize(
    ("waiting", "reason"),
    [
        (shut("two", 1), RouteReason.WINDOW_CLOSED),
        (offer("two", has_room=False), RouteReason.LANE_FULL),
        (offer("two", is_breaker_open=True), None),
    ],
)
def test_a_named_rail_is_waited_for_although_another_one_could_take_it_now(waiting, reason):
    named = replace(payment_request(), rail="two")
    route = choose_route(named, [offer("one"), waiting])
    assert (route.rail, route.waits_for) == ("two", reason)


NEEDS = {"needs": {Delivery.PAY_OUT: ("creditor.name", "creditor.account.iban"), Delivery.BOOK: ()}}
CREDITOR = PaymentParty(name="Ada", account=PaymentAccount(iban="DE89370400440532013000"))


def test_what_a_rail_needs_and_the_request_lacks_is_refused_under_its_field():
    asked = replace(payment_request(), requested_delivery=Delivery.PAY_OUT)
    for payment, missing in [
        (None, "creditor.name"),
        (PaymentDetails(purpose="TRAD"), "creditor.name"),
        (PaymentDetails(creditor=PaymentParty(name="Ada")), "creditor.account.iban"),
    ]:
        route = choose_route(replace(asked, payment=payment), [offer("one", rules=NEEDS)])
        assert (route.rail, route.field) == ("", f"payment.{missing}")
        assert [each.reason for each in route.rejected] == [RouteReason.FIELD_MISSING]
        assert missing in route.rejected[0].text


def test_what_has_the_needed_fields_or_needs_none_goes_over_the_rail():
    paid_out = replace(payment_request(), payment=PaymentDetails(creditor=CREDITOR))
    assert choose_route(paid_out, [offer("one", rules=NEEDS)]).rail == "one"
    assert choose_route(payment_request(), [offer("one", rules=NEEDS)]).rail == "one"


def test_another_rail_takes_what_one_lacks_a_field_for():
    asked = replace(payment_request(), requested_delivery=Delivery.PAY_OUT)
    route = choose_route(asked, [offer("one", rules=NEEDS), offer("two")])
    assert route.rail == "two"
    assert [each.reason for each in route.rejected] == [RouteReason.FIELD_MISSING]


def test_other_details_are_no_reasons():
    detail = {"route": "one 1 2 3 4", "rail": "one", "rail.two": "WHATEVER: x", "rail.three": "?"}
    assert read_rejected(detail) == ()


offers = st.lists(
    st.builds(
        offer,
        rules=st.sampled_from([{}, *(rules for rules, _ in LASTING_RULES)]),
        window_opening=st.sampled_from([OPEN, None]),
        opens_at=st.sampled_from([None, NOON, NOON + timedelta(days=1)]),
        has_room=st.booleans(),
        is_breaker_open=st.booleans(),
    ),
    max_size=5,
).map(
    lambda found: [
        RailOffer(
            name=f"rail{number}",
            rules=each.rules,
            window_opening=each.window_opening,
            opens_at=each.opens_at,
            has_room=each.has_room,
            is_breaker_open=each.is_breaker_open,
        )
        for number, each in enumerate(found)
    ]
)


@given(offers)
def test_every_rail_that_was_looked_at_is_chosen_or_has_a_reason(found):
    route = choose_route(payment_request(), found)
    assert route == choose_route(payment_request(), found)
    looked_at = [each.rail for each in route.rejected] + ([route.rail] if route.rail else [])
    names = [each.name for each in found]
    assert sorted(looked_at) == names[: len(looked_at)]
    if not route.rail:
        assert all(each.reason in LASTING for each in route.rejected)
        assert len(route.rejected) == len(found)
    elif route.waits_for is None:
        chosen = found[names.index(route.rail)]
        assert route.window_opening is not None
        assert chosen.has_room


def test_what_a_person_has_stopped_waits_without_a_hold_unless_another_rail_takes_it():
    stopped = offer("one", is_stopped=True, is_breaker_open=True)
    route = choose_route(payment_request(), [stopped])
    assert (route.rail, route.waits_for) == ("one", RouteReason.STOPPED_BY_OPERATOR)
    assert choose_route(payment_request(), [stopped, offer("two")]).rail == "two"
    silent = offer("silent", is_breaker_open=True)
    assert choose_route(payment_request(), [stopped, silent]).rail == "silent"


@pytest.mark.parametrize("fields", [{"is_breaker_open": True}, {"is_stopped": True}])
def test_a_rail_that_refuses_while_its_breaker_is_open_lets_nobody_wait(fields):
    refusing = offer("one", refuses_while_open=True, **fields)
    route = choose_route(payment_request(), [refusing])
    assert (route.rail, route.waits_for) == ("", None)
    assert route.rejected[0].reason in (RouteReason.BREAKER_OPEN, RouteReason.STOPPED_BY_OPERATOR)
    full = offer("one", has_room=False, refuses_while_open=True)
    assert choose_route(payment_request(), [full]).waits_for is RouteReason.LANE_FULL
