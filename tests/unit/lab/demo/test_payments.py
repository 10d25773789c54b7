"""The demo's instructions: determined by the seed, some over each rail, and spread evenly."""

from __future__ import annotations

from collections import Counter

from settlement_engine.cli.development.sample import BANKS, CURRENCIES
from settlement_lab.commands.demo.payments import (
    ACH_BANK,
    RAIL_BANKS,
    RAILS,
    make_orders,
    make_rail_orders,
    spread,
)


def test_each_rail_gets_as_many_instructions_in_its_currency_half_of_them_paid_out() -> None:
    orders = list(make_rail_orders(10, 7, BANKS))
    assert Counter((order.rail, order.currency) for order in orders) == dict.fromkeys(
        RAILS.items(), 10
    )
    assert Counter(order.rail for order in orders if order.is_paid_out) == {
        rail: 5 for rail in RAILS if rail != "ach"
    }
    assert len({order.key for order in orders}) == len(orders)
    assert all(order.from_bank != order.to_bank for order in orders)
    assert orders == list(make_rail_orders(10, 7, BANKS))


def test_the_mock_bank_moves_no_account_of_which_the_simulator_writes_statements() -> None:
    senders = {order.from_bank for order in make_orders(500, 7, BANKS, CURRENCIES)}
    assert not senders & set(RAIL_BANKS)
    over_rails = list(make_rail_orders(100, 7, BANKS))
    assert {order.from_bank for order in over_rails} == set(RAIL_BANKS)
    assert {order.from_bank for order in over_rails if order.rail == "ach"} == {ACH_BANK}


def test_the_few_are_spread_evenly_and_keep_their_order() -> None:
    many = list(make_orders(100, 7, BANKS, CURRENCIES))
    few = list(make_rail_orders(5, 7, BANKS))
    together = spread(few, many)
    assert [order for order in together if order.rail] == few
    assert [order for order in together if not order.rail] == many
    halves = Counter(bool(order.rail) for order in together[:60])
    assert halves == {True: 12, False: 48}
