from __future__ import annotations

import pytest

from settlement_engine.domain.payment_scope import EVERYTHING, is_in_scope, scope_of


@pytest.mark.parametrize(
    ("banks", "currencies", "scope"),
    [
        ((), (), {"*/*"}),
        (("deutdeffxxx",), (), {"DEUTDEFF/*"}),
        ((), ("EUR",), {"*/EUR"}),
        (("A", "B"), ("EUR", "USD"), {"A/EUR", "A/USD", "B/EUR", "B/USD"}),
    ],
)
def test_a_scope_names_banks_and_currencies_that_go_together(banks, currencies, scope) -> None:
    assert scope_of(banks, currencies) == scope


@pytest.mark.parametrize(
    ("scope", "is_in"),
    [
        (EVERYTHING, True),
        ({"DEUTDEFF/*"}, True),
        ({"*/EUR"}, True),
        ({"DEUTDEFF/EUR"}, True),
        ({"DEUTDEFF/USD", "CHASUS33/EUR"}, False),
        (set(), False),
    ],
)
def test_a_payment_is_in_a_scope_by_its_bank_and_currency_together(scope, is_in) -> None:
    assert is_in_scope(frozenset(scope), "deutdeffXXX", "EUR") is is_in
