from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from settlement_engine.domain.breaks.aging import AgeBucket
from settlement_engine.domain.breaks.escalation import (
    DEFAULT_RULES,
    RULES_MAX,
    EscalationRule,
    next_step,
    rule_faults,
    rule_for,
)


def rule(bucket, level, **amounts):
    return EscalationRule(
        bucket=AgeBucket(bucket),
        level=level,
        owner_group=f"level-{level}",
        due_business_days=1,
        amounts_minor=amounts,
    )


TABLE = (
    rule(0, 2, USD=100_000_00, EUR=90_000_00),
    rule(2, 1),
    rule(2, 3, USD=100_000_00),
    rule(11, 4),
)


@pytest.mark.parametrize(
    ("age", "currency", "amount", "level"),
    [
        (0, "USD", 99_999_99, None),
        (0, "USD", 100_000_00, 2),
        (0, "USD", -100_000_00, 2),
        (0, "EUR", 90_000_00, 2),
        (0, "JPY", 10**12, None),
        (1, "USD", 100_000_00, 2),
        (2, "JPY", 1, 1),
        (2, "USD", 100_000_00, 3),
        (2, "EUR", 90_000_00, 2),
        (10, "EUR", 1, 1),
        (11, "USD", 1, 4),
        (999, "JPY", 0, 4),
    ],
)
def test_the_highest_level_that_applies_counts(age, currency, amount, level):
    found = rule_for(TABLE, age, currency, amount)
    assert (found.level if found else None) == level


@given(
    st.integers(0, 60),
    st.integers(0, 60),
    st.integers(0, 10**8),
    st.integers(0, 10**8),
    st.sampled_from(["USD", "EUR", "JPY"]),
)
def test_a_break_that_grows_older_or_larger_is_never_de_escalated(
    age, older, amount, more, currency
):
    def level(years, minor):
        found = rule_for(TABLE, years, currency, minor)
        return found.level if found else 0

    assert level(age, amount) <= level(age + older, amount + more)


@pytest.mark.parametrize(("level", "step"), [(0, 3), (2, 3), (3, None), (9, None)])
def test_each_step_is_taken_once(level, step):
    found = next_step(TABLE, level, age_business_days=2, currency="USD", amount_minor=100_000_00)
    assert (found.level if found else None) == step
    assert found is None or (found.owner_group, found.due_business_days) == ("level-3", 1)


def test_without_rules_nothing_is_escalated():
    assert next_step((), 0, age_business_days=99, currency="USD", amount_minor=1) is None


def test_the_table_that_is_there_by_default_is_sound():
    assert rule_faults(DEFAULT_RULES) == []
    assert [rule_for(DEFAULT_RULES, age, "USD", 1) for age in (0, 1)] == [None, None]
    found = [rule_for(DEFAULT_RULES, age, "USD", 1) for age in (2, 6, 11, 31)]
    assert [each.level for each in found if each] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("rules", "fault"),
    [
        (TABLE, None),
        ([rule(0, 0)], "rule 1: level must be from 1 to 9"),
        ([rule(0, 10)], "rule 1: level must be from 1 to 9"),
        ([rule(0, 1, USD=-1)], "rule 1: an amount must not be negative"),
        ([rule(0, 2), rule(2, 1)], "rule 2 never counts: rule 1 applies wherever it does"),
        ([rule(2, 1), rule(0, 2)], "rule 1 never counts: rule 2 applies wherever it does"),
        ([rule(0, 1), rule(0, 1)], "rule 2 never counts: rule 1 applies wherever it does"),
        (
            [rule(0, 2, USD=5), rule(2, 1, USD=6)],
            "rule 2 never counts: rule 1 applies wherever it does",
        ),
        ([rule(0, 2, USD=5), rule(2, 1, USD=4)], None),
        ([rule(0, 2, USD=5), rule(2, 1, EUR=6)], None),
        ([rule(0, 2, USD=5), rule(2, 1)], None),
        ([rule(0, 1)] * (RULES_MAX + 1), "has more than 100 rules"),
    ],
)
def test_a_table_in_which_a_rule_can_never_count_is_refused(rules, fault):
    assert rule_faults(rules) == ([fault] if fault else [])
