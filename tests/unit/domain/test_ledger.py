from __future__ import annotations

from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from settlement_engine.domain.ledger import (
    ASSETS,
    BALANCE_FULL,
    BALANCE_MAX,
    GUARDED,
    Account,
    AccountKind,
    Leg,
    Transfer,
    correct,
    fund,
    reverse,
    settle,
    suspend_cash,
    suspend_return,
)
from settlement_engine.domain.money import AMOUNT_DIGITS_MAX
from settlement_engine.domain.payment import Delivery
from settlement_engine.domain.returns import Return
from settlement_engine.domain.settlement import Route

GROUP = UUID("0199c2d4-6f0e-7c1a-9d51-1f2a33445566")
NOSTRO, AGENT, CLEARING, VOSTRO = 1, 2, 3, 4
SUSPENSE, FEES = 5, 6
ROUTE = Route(rail="mock", source_id=NOSTRO, agent_id=AGENT, clearing_id=CLEARING, target_id=VOSTRO)
PAY_OUT = msgspec.structs.replace(ROUTE, delivery=Delivery.PAY_OUT)
KINDS = {
    NOSTRO: AccountKind.NOSTRO,
    AGENT: AccountKind.SETTLEMENT,
    CLEARING: AccountKind.CLEARING,
    VOSTRO: AccountKind.VOSTRO,
    SUSPENSE: AccountKind.SUSPENSE,
    FEES: AccountKind.FEES,
}
amounts = st.integers(min_value=1, max_value=10**18 - 1)


def account(kind=AccountKind.NOSTRO, **balances):
    return Account(id=1, kind=kind, bank="B", currency="EUR", account_number="N", **balances)


def whole(minor):
    return Return(posting=2, amount_minor=minor, charges_minor=0, left_minor=0)


def posted(*transfers):
    """Recompute the posted balance of each account from transfers alone."""
    books = {}
    for number, kind in KINDS.items():
        debits = sum(t.amount_minor for t in transfers if t.debit_id == number)
        credits_ = sum(t.amount_minor for t in transfers if t.credit_id == number)
        if number in (SUSPENSE, FEES) and not debits and not credits_:
            continue  # hardly any settlement ever touches it
        books[number] = account(kind, debits_posted=debits, credits_posted=credits_).posted
    return books


@given(amounts)
def test_a_settlement_moves_cash_and_obligation_by_the_same_amount(amount):
    cash, obligation = settle(GROUP, ROUTE, amount, "EUR")
    assert (cash.leg, cash.debit_id, cash.credit_id) == (Leg.CASH, AGENT, NOSTRO)
    assert (obligation.leg, obligation.debit_id, obligation.credit_id) == (
        Leg.OBLIGATION,
        CLEARING,
        VOSTRO,
    )
    assert {(t.group_id, t.amount_minor, t.currency) for t in (cash, obligation)} == {
        (GROUP, amount, "EUR")
    }


@given(amounts)
def test_from_has_less_with_us_at_its_bank_and_to_has_more_with_us(amount):
    books = posted(*settle(GROUP, ROUTE, amount, "EUR"))
    assert books == {NOSTRO: -amount, AGENT: amount, CLEARING: -amount, VOSTRO: amount}


@given(amounts)
def test_debits_equal_credits_over_all_accounts(amount):
    transfers = (
        fund(GROUP, NOSTRO, CLEARING, amount, "EUR", "PAY-IN"),
        *settle(GROUP, ROUTE, amount, "EUR"),
    )
    books = posted(*transfers)
    assets = sum(books.get(number, 0) for number, kind in KINDS.items() if kind in ASSETS)
    liabilities = sum(books.get(number, 0) for number, kind in KINDS.items() if kind not in ASSETS)
    assert assets == liabilities


@given(amounts)
def test_a_funded_settlement_leaves_the_control_accounts_even(amount):
    books = posted(
        fund(GROUP, NOSTRO, CLEARING, amount, "EUR", "PAY-IN"), *settle(GROUP, ROUTE, amount, "EUR")
    )
    assert books == {NOSTRO: 0, AGENT: amount, CLEARING: 0, VOSTRO: amount}


@given(amounts)
def test_a_return_takes_back_exactly_what_the_settlement_did(amount):
    done, undone = settle(GROUP, ROUTE, amount, "EUR"), reverse(GROUP, ROUTE, whole(amount), "EUR")
    assert set(posted(*done, *undone).values()) == {0}
    assert [transfer.leg for transfer in undone] == [Leg.CASH_RETURNED, Leg.OBLIGATION_RESTORED]


@given(amounts, amounts, amounts)
def test_parts_with_their_charges_take_back_the_whole_and_leave_the_charges(one, other, charges):
    first = Return(posting=2, amount_minor=one, charges_minor=charges, left_minor=other)
    second = Return(posting=3, amount_minor=other, charges_minor=0, left_minor=0)
    made = settle(GROUP, ROUTE, one + other + charges, "EUR")
    back = [
        *reverse(GROUP, ROUTE, first, "EUR", FEES),
        *reverse(GROUP, ROUTE, second, "EUR", FEES),
    ]
    assert [each.leg for each in back[:3]] == [
        *(Leg.CASH_RETURNED, Leg.RETURN_CHARGES, Leg.OBLIGATION_RESTORED)
    ]
    assert [each.posting for each in back] == [2, 2, 2, 3, 3]
    books = posted(*made, *back)
    assert (books.pop(NOSTRO), books.pop(FEES)) == (-charges, -charges)
    assert set(books.values()) == {0}


@pytest.mark.parametrize("route", [ROUTE, PAY_OUT])
def test_no_two_transfers_of_one_settlement_share_a_leg(route):
    every = (*settle(GROUP, route, 1, "EUR"), *reverse(GROUP, route, whole(1), "EUR"))
    assert len({transfer.leg for transfer in every}) == len(every)


@given(amounts)
def test_a_payout_leaves_the_balances_of_to_and_of_the_agent_where_they_began(amount):
    made = settle(GROUP, PAY_OUT, amount, "EUR")
    assert made[:2] == settle(GROUP, ROUTE, amount, "EUR")
    assert [(t.leg, t.debit_id, t.credit_id, t.amount_minor) for t in made[2:]] == [
        (Leg.PAID_OUT, VOSTRO, AGENT, amount)
    ]
    assert posted(*made) == {NOSTRO: -amount, AGENT: 0, CLEARING: -amount, VOSTRO: 0}


@given(amounts, amounts, amounts)
def test_every_return_of_a_payout_reverses_its_part_of_all_three_legs(one, other, charges):
    first = Return(posting=2, amount_minor=one, charges_minor=charges, left_minor=other)
    second = Return(posting=3, amount_minor=other, charges_minor=0, left_minor=0)
    made = settle(GROUP, PAY_OUT, one + other + charges, "EUR")
    back = reverse(GROUP, PAY_OUT, first, "EUR", FEES)
    rest = reverse(GROUP, PAY_OUT, second, "EUR", FEES)
    assert {each.leg: each.amount_minor for each in back} == {
        Leg.CASH_RETURNED: one,
        Leg.RETURN_CHARGES: charges,
        Leg.PAID_OUT_RETURNED: one + charges,
        Leg.OBLIGATION_RESTORED: one + charges,
    }
    books = posted(*made, *back)
    assert (books[AGENT], books[VOSTRO]) == (0, 0)
    books = posted(*made, *back, *rest)
    assert (books[AGENT], books[VOSTRO]) == (0, 0)
    assert (books[NOSTRO], books[CLEARING], books[FEES]) == (-charges, 0, -charges)


def test_the_return_of_a_payout_is_never_booked_against_suspense():
    with pytest.raises(AssertionError, match="payout"):
        suspend_return(GROUP, PAY_OUT, SUSPENSE, whole(1), "EUR")


@pytest.mark.parametrize("is_at_agent", [True, False])
def test_late_truth_about_a_payout_moves_nothing_because_nothing_is_at_the_agent(is_at_agent):
    assert suspend_cash(GROUP, PAY_OUT, SUSPENSE, 1, "EUR", is_at_agent=is_at_agent) == ()


def test_a_funding_debits_our_account_and_credits_what_the_bank_has_paid_in():
    found = fund(GROUP, NOSTRO, CLEARING, 500, "EUR", "PAY-IN-7")
    assert (found.leg, found.debit_id, found.credit_id) == (Leg.FUNDING, NOSTRO, CLEARING)
    assert (found.amount_minor, found.currency, found.reference) == (500, "EUR", "PAY-IN-7")


@pytest.mark.parametrize("amount", [0, -1, -(10**18)])
def test_a_transfer_of_nothing_or_less_is_a_bug(amount):
    with pytest.raises(AssertionError, match="positive"):
        Transfer(
            group_id=GROUP,
            leg=Leg.CASH,
            debit_id=1,
            credit_id=2,
            amount_minor=amount,
            currency="EUR",
        )


def test_a_transfer_to_itself_is_a_bug():
    with pytest.raises(AssertionError, match="two accounts"):
        Transfer(
            group_id=GROUP, leg=Leg.CASH, debit_id=1, credit_id=1, amount_minor=1, currency="EUR"
        )


@pytest.mark.parametrize("kind", AccountKind)
def test_each_kind_grows_on_its_own_side(kind):
    found = account(kind, debits_posted=30, credits_posted=10)
    assert found.posted == (20 if kind in ASSETS else -20)


def test_assets_and_guarded_kinds_are_those_of_the_design():
    assert {AccountKind.NOSTRO, AccountKind.SETTLEMENT, AccountKind.FX} == ASSETS
    assert {AccountKind.NOSTRO, AccountKind.VOSTRO} == GUARDED


def test_what_is_held_is_posted_but_not_available():
    found = account(debits_posted=100, credits_posted=20, held=30)
    assert (found.posted, found.available) == (80, 50)


@pytest.mark.parametrize(
    ("amount", "limit", "has_room"),
    [(50, 0, True), (51, 0, False), (51, 1, True), (60, 10, True), (61, 10, False), (1, 0, True)],
)
def test_a_hold_is_covered_by_what_is_available_and_the_credit_limit(amount, limit, has_room):
    found = account(debits_posted=100, credits_posted=20, held=30, credit_limit=limit)
    assert found.has_room_for(amount) is has_room


def test_the_legs_keep_their_numbers_because_the_books_and_the_wire_hold_them():
    assert {leg.name: leg.value for leg in Leg} == {
        "CASH": 1,
        "OBLIGATION": 2,
        "FUNDING": 3,
        "CASH_RETURNED": 4,
        "OBLIGATION_RESTORED": 5,
        "LATE_CASH": 6,
        "OBLIGATION_SUSPENDED": 7,
        "RETURN_CHARGES": 8,
        "PAID_OUT": 9,
        "PAID_OUT_RETURNED": 10,
        "SECOND_DEBIT": 11,
        "CORRECTION": 12,
        "OPENING_CORRECTION": 13,
        "DIFFERENCE": 14,
        "DIFFERENCE_REVERSED": 15,
        "CHARGES_REBILLED": 16,
    }


def test_a_new_account_is_empty_active_and_without_credit():
    found = account()
    assert (found.posted, found.held, found.available, found.credit_limit) == (0, 0, 0, 0)
    assert (found.debits_posted, found.credits_posted, found.is_active) == (0, 0, True)
    assert not found.has_room_for(1)


def test_the_largest_balance_is_that_of_the_databases_check():
    assert BALANCE_MAX == 99_999_999_999_999_999_999_999_999_999_999_999_999


def test_no_turnover_fills_an_account():
    payments_a_second, seconds_a_year = 10_000, 366 * 24 * 3600
    years = BALANCE_FULL // (10**AMOUNT_DIGITS_MAX * payments_a_second * seconds_a_year)
    assert years > 1_000_000


def test_a_full_account_has_room_for_everything_that_may_be_held_by_then():
    assert (BALANCE_MAX - BALANCE_FULL) // 10**AMOUNT_DIGITS_MAX > 10**18


@pytest.mark.parametrize("side", ["debits_posted", "credits_posted"])
def test_an_account_is_full_when_either_side_is(side):
    assert account(**{side: BALANCE_FULL}).is_full
    assert not account(**{side: BALANCE_FULL - 1}).is_full


@given(amounts)
def test_a_return_out_of_suspense_brings_the_cash_back_and_leaves_the_receiver_alone(amount):
    moved = settle(GROUP, ROUTE, amount, "EUR")
    back = suspend_return(GROUP, ROUTE, SUSPENSE, whole(amount), "EUR")
    assert [transfer.leg for transfer in back] == [Leg.CASH_RETURNED, Leg.OBLIGATION_SUSPENDED]
    books = posted(*moved, *back)
    assert (books[NOSTRO], books[AGENT], books[CLEARING]) == (0, 0, 0)
    assert (books[VOSTRO], books[SUSPENSE]) == (amount, -amount)


@given(amounts, st.booleans())
def test_late_cash_moves_between_the_agent_and_suspense_alone(amount, is_at_agent):
    made = suspend_cash(GROUP, ROUTE, SUSPENSE, amount, "EUR", is_at_agent=is_at_agent)
    assert [transfer.leg for transfer in made] == [Leg.LATE_CASH]
    books = posted(*made)
    sign = 1 if is_at_agent else -1
    assert (books[AGENT], books[SUSPENSE]) == (sign * amount, sign * amount)
    assert {books[each] for each in (NOSTRO, CLEARING, VOSTRO)} == {0}


@pytest.mark.parametrize("leg", [Leg.CORRECTION, Leg.OPENING_CORRECTION])
@pytest.mark.parametrize("minor", [-5, 5])
def test_a_correction_moves_our_balance_to_where_the_banks_is(leg, minor):
    made = correct(
        GROUP,
        leg,
        account_id=NOSTRO,
        other_id=FEES,
        minor=minor,
        currency="EUR",
        reference="break 7",
    )
    books = posted(made)
    assert books[NOSTRO] == minor
    assert (made.leg, made.amount_minor, made.reference) == (leg, 5, "break 7")
    assert {made.debit_id, made.credit_id} == {NOSTRO, FEES}


def test_only_breaks_are_corrected():
    with pytest.raises(AssertionError):
        correct(GROUP, Leg.FUNDING, account_id=1, other_id=2, minor=5, currency="EUR", reference="")


@given(amounts, amounts)
def test_charges_that_from_bears_are_taken_from_clearing_and_leave_the_fees_account(one, charges):
    back = Return(
        posting=2,
        amount_minor=one,
        charges_minor=charges,
        left_minor=0,
        rebilled_minor=charges,
    )
    made = settle(GROUP, ROUTE, one + charges, "EUR")
    undone = reverse(GROUP, ROUTE, back, "EUR", FEES)
    assert [each.leg for each in undone] == [
        *(Leg.CASH_RETURNED, Leg.RETURN_CHARGES, Leg.CHARGES_REBILLED, Leg.OBLIGATION_RESTORED)
    ]
    books = posted(*made, *undone)
    assert books.pop(NOSTRO) == -charges
    assert {account: minor for account, minor in books.items() if minor} == {
        ROUTE.clearing_id: -charges
    }
    suspended = suspend_return(GROUP, ROUTE, SUSPENSE, back, "EUR", FEES)
    assert [each.leg for each in suspended] == [
        *(Leg.CASH_RETURNED, Leg.RETURN_CHARGES, Leg.CHARGES_REBILLED, Leg.OBLIGATION_SUSPENDED)
    ]
