"""The decider: what a chosen transition writes, and in which order our own refusals count."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import Mock
from zoneinfo import ZoneInfo

from settlement_engine.domain.lifecycle import Do, Event, State
from settlement_engine.domain.preconditions import AccountFacts, RefusalCode
from settlement_engine.domain.routing import RejectedRail, RouteDecision, RouteReason
from settlement_engine.domain.settlement import Route
from settlement_engine.domain.windows import WindowOpening
from settlement_engine.engine.decider import Decider
from settlement_engine.engine.settings import EngineSettings
from tests.support.decided import NOW, answer, attempt, settlement
from tests.unit.engine.engine_world import ScriptedRail

ROUTE = Route(rail="scripted", source_id=1, agent_id=2, clearing_id=3, target_id=4)
SESSION = WindowOpening(NOW, NOW + timedelta(hours=6))
OPEN = RouteDecision(rail="scripted", window_opening=SESSION)
DEAR = RejectedRail("dear", RouteReason.AMOUNT_BELOW_MINIMUM, "it carries no less")
CLEARED = answer(Event.CLEARED, attempt=0)


class Fixture:
    """A decider over accounts that are made up."""

    def __init__(self, **settings: Any) -> None:
        self.rail, self.directory = ScriptedRail(), Mock()
        self.directory.are_both_active.return_value = True
        self.directory.route.return_value = ROUTE
        told = EngineSettings(has_real_windows=False, **settings)
        rails: Any = {"scripted": self.rail}
        self.decider = Decider(told, rails, self.directory, Mock(), random.Random(1))

    def cleared(self, route: RouteDecision, now: datetime = NOW) -> Any:
        asked = settlement(State.VALIDATING, seq=1)
        return self.decider.decide(asked, CLEARED, now, (), route)


def test_what_is_cleared_is_locked_with_the_bytes_and_the_reasons_against_other_rails() -> None:
    made = Fixture()
    step = made.cleared(RouteDecision(rail="scripted", window_opening=SESSION, rejected=(DEAR,)))
    assert (step.event, step.transition.do, step.window_opening) == (
        Event.CLEARED,
        Do.LOCK,
        SESSION,
    )
    assert step.attempt.number == 1
    assert step.attempt.route is ROUTE
    assert step.attempt.valid_until == NOW + timedelta(
        seconds=made.rail.capabilities.validity_seconds
    )
    assert step.attempt.payload == made.rail.prepare(step.settlement, step.attempt.references)
    assert set(step.detail) == {"payload_sha256", "route", "valid_until", "rail.dear"}
    assert step.detail["valid_until"] == step.attempt.valid_until.isoformat()


def test_a_completed_settlement_moves_cash_and_meets_the_obligation_and_is_parked_no_more() -> None:
    step = Fixture().decider.decide(settlement(State.SENT), answer(Event.SETTLED), NOW)
    assert step is not None
    cash, obligation = step.transfers
    assert (cash.debit_id, cash.credit_id) == (2, 1)
    assert (obligation.debit_id, obligation.credit_id) == (3, 4)
    assert step.due_seconds is None


def test_an_event_that_books_nothing_has_no_postings() -> None:
    step = Fixture().decider.decide(settlement(State.LOCKED), answer(Event.ACKNOWLEDGED), NOW)
    assert step is not None
    assert step.transfers == ()


def test_one_instant_is_written_in_utc_whichever_zone_it_is_given_in() -> None:
    there = NOW.astimezone(ZoneInfo("Asia/Tokyo"))
    written = {Fixture().cleared(OPEN, now).detail["valid_until"] for now in (there, NOW)}
    [until] = written
    assert datetime.fromisoformat(until).tzinfo == UTC


def test_our_own_accounts_are_looked_at_before_the_route() -> None:
    made = Fixture()
    made.directory.are_both_active.return_value = False
    made.directory.facts.side_effect = lambda kind, bank, currency: AccountFacts(
        role=kind.value,
        bank=bank,
        currency=currency,
        account_id=None,
        is_active=False,
        elsewhere=(),
    )
    step = made.cleared(RouteDecision(rail=""))
    assert step.event is Event.REFUSED
    assert step.refusal.code is not RefusalCode.NO_ROUTE


def test_what_no_rail_carries_is_refused_with_the_reasons() -> None:
    step = Fixture().cleared(RouteDecision(rail="", rejected=(DEAR,)))
    assert (step.event, step.refusal.code) == (Event.REFUSED, RefusalCode.NO_ROUTE)
    assert step.detail["rail.dear"] == "AMOUNT_BELOW_MINIMUM: it carries no less"


def test_a_shut_window_is_waited_for_or_refused_as_configured() -> None:
    shut = RouteDecision(
        rail="scripted", waits_for=RouteReason.WINDOW_CLOSED, opens_at=NOW + timedelta(seconds=90)
    )
    waits = Fixture(is_queueing=True).cleared(shut)
    assert (waits.event, waits.due_seconds) == (Event.POSTPONED, 90.0)
    assert Fixture(is_queueing=False).cleared(shut).event is Event.REFUSED


def test_a_full_lane_is_waited_for_before_funds_are_held() -> None:
    step = Fixture().cleared(RouteDecision(rail="scripted", waits_for=RouteReason.LANE_FULL))
    assert (step.event, step.attempt) == (Event.POSTPONED, None)
    assert step.due_seconds > 0


def test_what_settles_is_posted_in_words_that_can_be_printed() -> None:
    sent = settlement(State.LOCKED, attempt=attempt(route=ROUTE))
    said = answer(Event.SETTLED, code="ACSC", rail_reference="R\x00-1")
    step = Fixture().decider.decide(sent, said, NOW)
    assert step is not None
    assert (step.transition.do, step.due_seconds, step.rail_reference) == (Do.POST, None, "R?-1")
    assert step.detail == {"code": "ACSC", "rail_reference": "R?-1"}
    assert [(each.debit_id, each.credit_id) for each in step.transfers] != []


def test_an_answer_about_another_attempt_says_nothing() -> None:
    sent = settlement(State.LOCKED)
    assert Fixture().decider.decide(sent, answer(Event.SETTLED, attempt=2), NOW) is None


def test_a_rail_that_is_gone_has_no_rules_and_its_report_still_counts() -> None:
    sent = settlement(State.LOCKED)
    step = Fixture().decider.decide(sent, answer(Event.SETTLED), NOW)
    assert step is not None
    assert step.transition.state is State.COMPLETED
