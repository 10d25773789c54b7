"""Equal twins: what nothing tells apart is counted, and never guessed."""

from __future__ import annotations

import random
from collections import Counter
from datetime import timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from settlement_engine.domain.matching.breaks import (
    BreakKind,
    BreakRun,
    classify,
    references_of_matched,
)
from settlement_engine.domain.matching.run import match_items
from settlement_engine.domain.matching.values import Ours, Pass, Theirs
from tests.support.matching_cases import DAY, RULES, Maker

NAME = "INVOICE-7"


def made_twins(count, entries, **more):
    maker = Maker(random.Random(4))
    ours = [maker.ours(-500, end_to_end=NAME, value_date=DAY) for _ in range(count)]
    theirs = [
        maker.theirs(ours[0], end_to_end=NAME, value_date=DAY, **more) for _ in range(entries)
    ]
    return ours, theirs


def kinds_of(ours, theirs, result):
    open_ours = tuple(each for each in ours if each.id in result.open_ours)
    open_theirs = tuple(each for each in theirs if each.id in result.open_theirs)
    known = references_of_matched(each for each in ours if each.id not in result.open_ours)
    return Counter(each.kind for each in classify(BreakRun(open_ours, open_theirs, RULES, known)))


@given(count=st.integers(1, 8), entries=st.integers(1, 8))
def test_as_many_are_matched_as_are_sure(count, entries):
    ours, theirs = made_twins(count, entries)
    result = match_items(ours, theirs, RULES)
    kinds = kinds_of(ours, theirs, result)
    if entries < count:  # which of ours is missing is not known
        assert result.matches == ()
        assert kinds == {
            BreakKind.AMBIGUOUS: entries,
            BreakKind.MISSING_THEIRS: count - entries,
        }
        return
    (match,) = result.matches
    assert len(match.ours) == len(match.theirs) == count
    assert kinds == ({BreakKind.DUPLICATE: entries - count} if entries > count else {})


def test_the_entry_that_names_ours_twice_is_the_payment():
    ours, theirs = made_twins(1, 3)
    theirs[1] = msgspec.structs.replace(theirs[1], text=f"about {ours[0].references[0]}")
    (match,) = match_items(ours, theirs, RULES).matches
    assert match.theirs == (theirs[1].id,)


def test_the_earliest_entries_are_the_payments():
    ours, theirs = made_twins(2, 3)
    late = msgspec.structs.replace(theirs[0], value_date=DAY + timedelta(days=2))
    (match,) = match_items(ours, [late, *theirs[1:]], RULES).matches
    assert match.theirs == (theirs[1].id, theirs[2].id)


@pytest.mark.parametrize("swapped", [False, True])
def test_the_entry_that_names_nothing_else_is_the_payment(swapped):
    ours, theirs = made_twins(1, 2)
    theirs[swapped] = msgspec.structs.replace(theirs[swapped], text="SOMETHING-ELSE-77")
    (match,) = match_items(ours, theirs, RULES).matches
    assert match.theirs == (theirs[not swapped].id,)


@pytest.mark.parametrize(
    "change",
    [
        {"value_date": DAY + timedelta(days=6)},
        {"value_date": None},
        {"is_reversal": True},
        {"text": "SETTLE-OTHER"},
        {"given": ("SETTLE-OTHER",)},
    ],
)
def test_what_tells_one_from_the_others_leaves_all_of_them_open(change):
    ours, theirs = made_twins(2, 2)
    other = Maker(random.Random(5)).ours(-500, id="o-other", references=("SETTLE-OTHER",))
    theirs[1] = msgspec.structs.replace(theirs[1], **change)
    result = match_items([*ours, other], theirs, RULES)
    twins = [each for each in result.matches if each.matched_by is Pass.EQUAL_TWINS]
    assert twins == []
    assert set(result.open_ours) >= {ours[0].id, ours[1].id} - {
        item for each in result.matches for item in each.ours
    }
    assert not {ours[0].id, ours[1].id} & {
        item for each in result.matches for item in each.ours if len(each.ours) > 1
    }


NAMES = st.sampled_from(("", "NAME-ONE", "NAME-TWO", "NAME-THREE"))
DAYS = st.sampled_from([DAY, DAY + timedelta(days=1), DAY + timedelta(days=9)])
MINORS = st.sampled_from((-500, -500, -500, -600, 500))


def named(names):
    return tuple(name for name in names if name)


@st.composite
def books(draw):
    ours = [
        Ours(
            id=f"o{place}",
            account="nostro",
            minor=draw(MINORS),
            currency="EUR",
            value_date=draw(DAYS),
            references=named([draw(NAMES)]),
            end_to_end=draw(NAMES),
        )
        for place in range(draw(st.integers(0, 5)))
    ]
    theirs = [
        Theirs(
            id=f"t{place}",
            account="nostro",
            minor=draw(MINORS),
            currency="EUR",
            value_date=draw(DAYS),
            given=named([draw(NAMES)]),
            end_to_end=draw(NAMES),
            text=draw(NAMES),
        )
        for place in range(draw(st.integers(0, 5)))
    ]
    return ours, theirs


def content(items, wanted):
    return Counter(
        msgspec.json.encode(msgspec.structs.replace(each, id=""))
        for each in items
        if each.id in wanted
    )


def called_anew(items, chance):
    names = [f"x{place}" for place in range(len(items))]
    chance.shuffle(names)
    return [msgspec.structs.replace(each, id=name) for each, name in zip(items, names, strict=True)]


@given(both=books(), chance=st.randoms(use_true_random=False))
def test_what_is_left_open_does_not_depend_on_how_the_items_are_called(both, chance):
    ours, theirs = both
    result = match_items(ours, theirs, RULES)
    matched = Counter(item for each in result.matches for item in (*each.ours, *each.theirs))
    assert set(matched.values()) <= {1}
    for each in result.matches:
        if each.matched_by is Pass.EQUAL_TWINS:
            assert len(each.ours) == len(each.theirs)
            members = {*each.ours, *each.theirs}
            assert len({item.minor for item in (*ours, *theirs) if item.id in members}) == 1
    called_ours, called_theirs = called_anew(ours, chance), called_anew(theirs, chance)
    again = match_items(called_ours, called_theirs, RULES)
    assert content(called_ours, again.open_ours) == content(ours, result.open_ours)
    assert content(called_theirs, again.open_theirs) == content(theirs, result.open_theirs)
