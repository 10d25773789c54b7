"""May the same bytes leave again: every rule of a rail with every age and every count of sends."""

from __future__ import annotations

from datetime import timedelta

import pytest

from settlement_engine.domain.decisions.resending import (
    RailClass,
    is_too_late_to_send,
    may_send_again,
)
from tests.support.decided import NOW, VALID_SECONDS, attempt, rules


@pytest.mark.parametrize(
    ("given", "age_seconds", "may"),
    [
        ({}, 0, True),
        ({}, VALID_SECONDS - 1, True),
        ({}, VALID_SECONDS, False),
        ({"deduplicates_seconds": 300.0}, 299, True),
        ({"deduplicates_seconds": 300.0}, 300, False),
        ({"is_not_found_definite": False}, 0, False),
        ({"not_found_after_seconds": 30.0}, 29, False),
        ({"not_found_after_seconds": 30.0}, 30, True),
        ({"rail_class": RailClass.B}, 0, True),
        ({"rail_class": RailClass.C}, 0, False),
        ({"rail_class": RailClass.D}, 0, False),
    ],
)
def test_not_found_lets_bytes_leave_again_only_where_all_rules_allow_it(given, age_seconds, may):
    now = NOW + timedelta(seconds=age_seconds)
    assert may_send_again(attempt(), rules(**given), now) is may


@pytest.mark.parametrize(
    ("sends", "undelivered", "deduplicates_seconds", "age_seconds", "is_too_late"),
    [
        (1, 0, 0.0, 0, False),  # nothing has left: nothing has to be recognised
        (2, 1, 0.0, 0, False),
        (2, 0, 0.0, 0, True),  # the first may have arrived, and is forgotten
        (2, 0, 300.0, 299, False),
        (2, 0, 300.0, 300, True),
        (1, 0, 300.0, VALID_SECONDS, True),
    ],
)
def test_a_send_is_too_late_when_it_is_not_valid_or_would_not_be_recognised(
    sends, undelivered, deduplicates_seconds, age_seconds, is_too_late
):
    sent = attempt(sends=sends, undelivered=undelivered)
    limits = rules(deduplicates_seconds=deduplicates_seconds)
    now = NOW + timedelta(seconds=age_seconds)
    assert is_too_late_to_send(sent, limits, now) is is_too_late


@pytest.mark.parametrize(("age_seconds", "is_too_late"), [(0, False), (VALID_SECONDS, True)])
def test_a_rail_that_is_gone_leaves_only_the_validity(age_seconds, is_too_late):
    now = NOW + timedelta(seconds=age_seconds)
    assert is_too_late_to_send(attempt(sends=2), None, now) is is_too_late
