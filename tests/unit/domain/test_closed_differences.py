"""Differences that the rules close: which rules hold, what is covered, and the transfer that makes both sides equal."""

from __future__ import annotations

from datetime import date, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from settlement_engine.domain.closed_differences import (
    CHARGES_ACCOUNT,
    DIFFERENCE_ACCOUNTS,
    NOT_REVERSED,
    ROUNDING_ACCOUNT,
    WaitingReversals,
    covered,
    is_difference,
    missing_reason,
    name_of,
    reversed_transfer,
    reversible,
    rules_of,
    transfer_of,
    versioned,
    with_transfer,
)
from settlement_engine.domain.ledger import Leg
from settlement_engine.domain.matching.run import match_items
from settlement_engine.domain.matching.values import (
    TOLERANCE_MINOR_MAX,
    Charge,
    Match,
    Ours,
    Pass,
    Rules,
    Theirs,
    Tolerance,
)

DAY = date(2026, 11, 25)
DIFFERENCES = st.integers(-500, 500).filter(bool)


def match(difference=-150, number=1, account=CHARGES_ACCOUNT):
    return Match(
        matched_by=Pass.TARIFF,
        rules_version="1",
        ours=(f"o{number}",),
        theirs=(f"t{number}",),
        explanation="why",
        difference_minor=difference,
        difference_account=account,
    )


@given(minors=st.lists(DIFFERENCES, max_size=20), room=st.integers(-100, 1_000))
def test_what_is_posted_is_covered_at_every_step(minors, room):
    closing = [match(minor, number) for number, minor in enumerate(minors)]
    kept = covered(closing, room)
    left = room
    for each in kept:
        left += each.difference_minor
        assert left >= 0 or each.difference_minor > 0
    assert [each for each in closing if each.difference_minor > 0 and each not in kept] == []
    assert covered(closing, None) == closing


@given(minor=DIFFERENCES, turns=st.integers(0, 3))
def test_a_transfer_makes_both_sides_equal_and_follows_from_the_items(minor, turns):
    made = transfer_of(match(minor), (1, 2), "EUR", DAY, ("7/3", turns))
    signed = made.amount_minor if made.debit_id == 1 else -made.amount_minor
    assert signed == minor
    assert transfer_of(match(minor), (1, 2), "EUR", DAY, ("7/3", turns)) == made
    others = [
        transfer_of(match(minor), (1, 2), "EUR", DAY, ("7/3", turns + 1)),
        transfer_of(match(minor), (1, 2), "EUR", DAY, ("7/4", turns)),
        transfer_of(match(minor), (3, 2), "EUR", DAY, ("7/3", turns)),
        transfer_of(match(minor, 2), (1, 2), "EUR", DAY, ("7/3", turns)),
    ]
    assert made.group_id not in {each.group_id for each in others}
    assert (made.group_id.version, made.group_id.variant) == (7, "specified in RFC 4122")
    later = transfer_of(match(minor), (1, 2), "EUR", DAY + timedelta(days=1), ("7/3", turns))
    assert later.group_id > made.group_id
    back = reversed_transfer(made)
    assert (back.debit_id, back.credit_id) == (made.credit_id, made.debit_id)
    assert (back.leg, back.amount_minor) == (Leg.DIFFERENCE_REVERSED, made.amount_minor)
    whole = with_transfer(match(minor), made)
    assert whole.ours == ("o1", name_of(made))
    assert [is_difference(each) for each in whole.ours] == [False, True]
    assert whole.explanation.startswith("why; ")


def test_a_banks_own_rules_replace_those_of_every_bank():
    rules = Rules(
        version="",
        charges=(
            Charge("EUR", 100, CHARGES_ACCOUNT),
            Charge("EUR", 150, CHARGES_ACCOUNT, counterparty="DEUTDEFFXXX"),
            Charge("USD", 200, CHARGES_ACCOUNT),
        ),
        tolerances=(
            Tolerance("EUR", 1, ROUNDING_ACCOUNT),
            Tolerance("EUR", 0, ROUNDING_ACCOUNT, counterparty="COBADEFF"),
        ),
    )

    def found(bank, currency):
        chosen = rules_of(rules, bank, currency)
        return [each.minor for each in chosen.charges] + [each.minor for each in chosen.tolerances]

    assert found("deutdeff", "EUR") == [150, 1]
    assert found("COBADEFF", "EUR") == [100, 0]
    assert found("COBADEFF", "USD") == [200]
    assert found("COBADEFF", "JPY") == []


def test_other_rules_have_another_version():
    rules = versioned(Rules(version="x"))
    assert versioned(Rules(version="y")) == rules
    assert versioned(msgspec.structs.replace(rules, window_days=6)).version != rules.version
    charge = Charge("EUR", 100, CHARGES_ACCOUNT)
    versions = {
        versioned(Rules(version="", charges=(each,))).version
        for each in (charge, msgspec.structs.replace(charge, valid_until=DAY))
    }
    assert len(versions) == 2


def test_no_tolerance_is_above_the_cap():
    Tolerance("EUR", TOLERANCE_MINOR_MAX, ROUNDING_ACCOUNT)
    with pytest.raises(AssertionError):
        Tolerance("EUR", TOLERANCE_MINOR_MAX + 1, ROUNDING_ACCOUNT)


@pytest.mark.parametrize(
    ("day", "is_charged"),
    [
        (DAY - timedelta(days=1), False),
        (DAY, True),
        (DAY + timedelta(days=2), True),
        (DAY + timedelta(days=3), False),
    ],
)
def test_a_tariff_holds_for_its_time(day, is_charged):
    charge = Charge(
        "EUR", 150, CHARGES_ACCOUNT, valid_from=DAY, valid_until=DAY + timedelta(days=2)
    )
    ours = Ours("o", "nostro", -1_000, "EUR", DAY, references=("SETTLE-1",))
    theirs = Theirs("t", "nostro", -1_150, "EUR", day, given=("SETTLE-1",))
    found = match_items([ours], [theirs], Rules(version="1", charges=(charge,)))
    assert bool(found.matches) is is_charged


def test_each_named_account_has_a_place_in_the_ledger():
    for name, each in DIFFERENCE_ACCOUNTS.items():
        assert name == f"{each.kind.value} {each.number}"


# --- what waits to be reversed ------------------------------------------------------------------------------


@given(minors=st.lists(DIFFERENCES, max_size=20), room=st.integers(-100, 1_000))
def test_what_gives_is_reversed_first_and_what_is_not_covered_waits(minors, room):
    """A reversal of what had given to the account takes from it."""
    every = [
        reversed_transfer(transfer_of(match(minor, number), (1, 2), "EUR", DAY, (f"7/{number}", 0)))
        for number, minor in enumerate(minors)
    ]
    posted, waiting = reversible(every, 1, room)
    left, has_taken = room, False
    for each in posted:
        gives = each.debit_id == 1
        assert gives or left >= each.amount_minor
        assert not (gives and has_taken)
        has_taken |= not gives
        left += each.amount_minor if gives else -each.amount_minor
    rest = [each for each in every if each not in posted]
    assert waiting == WaitingReversals(len(rest), sum(each.amount_minor for each in rest))
    assert all(each.credit_id == 1 and each.amount_minor > left for each in rest)
    assert reversible(every, 1, None)[1] == WaitingReversals()
    assert sorted(map(name_of, reversible(every, 1, None)[0])) == sorted(map(name_of, every))


def test_what_waits_is_said_with_what_is_to_be_done():
    assert WaitingReversals().reason("EUR") == ""
    assert WaitingReversals(2, 1_050).reason("EUR") == (
        "the account does not cover 10.50 EUR to reverse 2 closed differences whose matches were"
        " taken back: fund the account, and the next run reverses them"
    )
    assert missing_reason(f"{name_of(reversed_transfer(TRANSFER))}") == "no statement has it"
    assert missing_reason(name_of(TRANSFER)) == NOT_REVERSED


TRANSFER = transfer_of(match(2), (1, 2), "EUR", DAY, ("7/3", 0))
