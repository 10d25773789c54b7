"""The comparison of planted differences with breaks: what is missing, too much, or wrongly named is a mistake."""

from __future__ import annotations

from decimal import Decimal

import pytest

from settlement_engine.simulator.differences import DifferenceKind
from settlement_lab.bench.planted_differences import (
    BREAK_KINDS,
    expected_of,
    mistakes_of,
    named,
)

MISSING = expected_of("A", "missing", Decimal(-7))


def test_every_kind_has_its_breaks() -> None:
    assert set(BREAK_KINDS) == {kind.value for kind in DifferenceKind}


def test_what_is_found_as_it_was_planted_is_no_mistake() -> None:
    assert mistakes_of(MISSING, [named("A", "MISSING_THEIRS", Decimal("-7.00"))]) == []


def test_a_wrong_amount_is_named_without_its_amount() -> None:
    assert expected_of("A", "charge", Decimal(9)) == [named("A", "AMOUNT", Decimal("0.50"))]


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ([], ["1 not found: MISSING_THEIRS at A -7"]),
        ([*MISSING, *MISSING], ["1 not planted: MISSING_THEIRS at A -7"]),
        (
            [named("A", "DATE", Decimal(-7))],
            ["1 not found: MISSING_THEIRS at A -7", "1 not planted: DATE at A -7"],
        ),
        (
            [named("B", "MISSING_THEIRS", Decimal(-7))],
            ["1 not found: MISSING_THEIRS at A -7", "1 not planted: MISSING_THEIRS at B -7"],
        ),
    ],
)
def test_each_mistake_is_said(found: list[object], said: list[str]) -> None:
    assert mistakes_of(MISSING, found) == said  # type: ignore[arg-type]
