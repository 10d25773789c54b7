from __future__ import annotations

from datetime import UTC, datetime
from itertools import product
from typing import Any

import pytest

from settlement_engine.domain.money import Money
from settlement_engine.domain.preconditions import (
    AccountFacts,
    RefusalCode,
    refuse_accounts,
    refuse_funds,
    refuse_window,
)

CODE = RefusalCode


def side(role, account_id=1, *, is_active=True, elsewhere=()):
    return AccountFacts(
        role=role,
        bank="DEUTDEFF",
        currency="EUR",
        account_id=account_id,
        is_active=is_active,
        elsewhere=elsewhere,
    )


FACTS: dict[RefusalCode | None, dict[str, Any]] = {
    None: {},
    CODE.UNKNOWN_ACCOUNT: {"account_id": None, "is_active": False},
    CODE.INACTIVE_ACCOUNT: {"is_active": False},
    CODE.CURRENCY_MISMATCH: {"account_id": None, "is_active": False, "elsewhere": ("USD", "CHF")},
}
PRECEDENCE = [CODE.UNKNOWN_ACCOUNT, CODE.INACTIVE_ACCOUNT, CODE.CURRENCY_MISMATCH]


@pytest.mark.parametrize(("source", "target"), list(product(FACTS, FACTS)))
def test_the_worst_of_both_sides_is_the_answer(source, target):
    found = refuse_accounts(side("nostro", **FACTS[source]), side("vostro", **FACTS[target]))
    expected = next((code for code in PRECEDENCE if code in (source, target)), None)
    assert (found.code if found else None) is expected
    if found:
        role = "nostro" if source is expected else "vostro"
        assert found.detail["account"] == f"{role} of DEUTDEFF in EUR"


def test_another_currency_is_told_with_the_ones_that_there_are():
    known = side("vostro", None, is_active=False, elsewhere=("USD", "CHF"))
    found = refuse_accounts(side("nostro"), known)
    assert found is not None
    assert found.detail["currencies"] == "CHF, USD"


def test_a_shut_window_is_told_with_its_next_opening():
    opening = datetime(2026, 1, 19, 7, tzinfo=UTC)
    found = refuse_window("EUR", opening)
    assert found.code is CODE.SETTLEMENT_WINDOW_CLOSED
    assert found.detail == {"currency": "EUR", "next_opening": "2026-01-19T07:00:00+00:00"}


def test_a_currency_without_any_window_has_no_next_opening():
    assert refuse_window("EUR", None).detail == {"currency": "EUR"}


def test_missing_funds_are_told_with_what_was_asked_and_what_was_there():
    found = refuse_funds(Money(10_000, "KWD"), Money(9_999, "KWD"))
    assert found.code is CODE.INSUFFICIENT_FUNDS
    assert found.detail == {"required": "10.000", "available": "9.999", "currency": "KWD"}


def test_the_codes_stand_in_order_of_precedence():
    """Static and cheap checks first, the contended one last; then what only comes later."""
    assert [code.value for code in CODE] == [
        "UNKNOWN_ACCOUNT",
        "INACTIVE_ACCOUNT",
        "CURRENCY_MISMATCH",
        "NO_ROUTE",
        "SETTLEMENT_WINDOW_CLOSED",
        "COMPLIANCE_BLOCKED",
        "RISK_LIMIT_EXCEEDED",
        "NOT_COMPENSABLE",
        "ACCOUNT_FULL",
        "INSUFFICIENT_FUNDS",
        "CANCELLED_BY_CALLER",
        "RECALLED_OVERDUE",
        "RAIL_REJECTED",
        "ATTESTED_NOT_SETTLED",
        "UNDELIVERED",
        "DECLINED",
        "LAPSED",
    ]


def test_the_specifications_four_names_are_among_the_codes():
    assert {
        "INSUFFICIENT_FUNDS",
        "SETTLEMENT_WINDOW_CLOSED",
        "COMPLIANCE_BLOCKED",
        "RISK_LIMIT_EXCEEDED",
    } <= {code.value for code in CODE}


def test_a_code_is_its_own_name():
    assert all(code.name == code.value for code in CODE)
