"""Entries that name our payment in their text only, as field 86 of an MT940 does: groups, and the names of breaks."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest

from settlement_engine.domain.matching.breaks import (
    BreakKind,
    BreakRun,
    classify,
    references_of_matched,
)
from settlement_engine.domain.matching.run import match_items
from settlement_engine.domain.matching.values import Pass
from tests.support.matching_cases import DAY, RULES, Maker


def made():
    return Maker(random.Random(1))


def test_both_parts_of_a_return_are_the_entry_whose_text_names_their_payment():
    maker = made()
    back = maker.ours(-514, value_date=DAY)
    charges = maker.ours(-3, end_to_end=back.end_to_end, value_date=DAY)
    theirs = maker.theirs(back, minor=-517, text=f"/EREF/{back.end_to_end}\nRETURN AC04")
    [match] = match_items([back, charges], [theirs], RULES).matches
    assert match.matched_by is Pass.ONE_TO_MANY
    assert match.ours == (back.id, charges.id)


def test_a_text_that_names_a_part_only_does_not_take_the_whole():
    maker = made()
    one, other = maker.ours(-514, value_date=DAY), maker.ours(-3, value_date=DAY)
    theirs = maker.theirs(one, minor=-517, text=f"/EREF/{one.end_to_end}")
    assert match_items([one, other], [theirs], RULES).matches == ()


@pytest.mark.parametrize(
    ("kind", "changed"),
    [
        (BreakKind.AMOUNT, {"minor": -513}),
        (BreakKind.DATE, {"value_date": DAY + timedelta(days=60)}),
        (BreakKind.REVERSAL, {"minor": 514}),
    ],
)
def test_a_difference_is_named_by_the_reference_in_the_text(kind, changed):
    maker = made()
    ours = maker.ours(-514, value_date=DAY)
    theirs = maker.theirs(ours, text=f"/EREF/{ours.end_to_end}\nX", **changed)
    [found] = classify(BreakRun((ours,), (theirs,), RULES, {}))
    assert (found.kind, found.ours, found.theirs) == (kind, (ours.id,), (theirs.id,))


@pytest.mark.parametrize(
    ("minor", "kind"),
    [
        (-514, BreakKind.DUPLICATE),
        (514, BreakKind.REVERSAL),
        (-2, BreakKind.UNKNOWN_DEBIT),
    ],
)
def test_what_a_text_says_of_a_matched_payment_counts_with_its_amount_only(minor, kind):
    maker = made()
    ours = maker.ours(-514, value_date=DAY)
    theirs = maker.theirs(ours, minor=minor, text=f"/EREF/{ours.end_to_end}")
    known = references_of_matched([ours])
    [found] = classify(BreakRun((), (theirs,), RULES, known))
    assert found.kind is kind
