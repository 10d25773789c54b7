from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from settlement_engine.domain.breaks.resolutions import (
    DESTINATIONS,
    ITEMS_MAX,
    OPENING_DIFFERENCE,
    BreakHead,
    BreakItem,
    BreakResolution,
    BreakSide,
    EvidenceDigest,
    check_resolution,
    difference_minor,
    resolution_sha256,
)
from settlement_engine.domain.ledger import AccountKind, Leg
from settlement_engine.domain.matching.breaks import BreakKind
from settlement_engine.errors import InvalidInstruction, WrongState

OF_THEIRS = {"MISSING_OURS", "UNKNOWN_DEBIT", "DUPLICATE", "REVERSAL"}
OF_BOTH = {*OF_THEIRS, "MISSING_THEIRS", "AMOUNT", "DATE", "CURRENCY", "AMBIGUOUS"}
CLOSED_BY = {
    BreakResolution.MATCH: OF_BOTH,
    BreakResolution.CHARGES: OF_BOTH,
    BreakResolution.EXCHANGE: OF_BOTH,
    BreakResolution.WRITE_OFF: {*OF_BOTH, "OPENING_DIFFERENCE"},
    BreakResolution.SUSPENSE: {*OF_BOTH, "OPENING_DIFFERENCE"},
    BreakResolution.FUNDING: {"MISSING_OURS", "OPENING_DIFFERENCE"},
    BreakResolution.RETURN: OF_THEIRS,
    BreakResolution.EXPLANATION: {"OPENING_DIFFERENCE"},
}


def ours(minor, number=1, account=5, currency="USD"):
    return BreakItem(
        side=BreakSide.OURS, id=f"o{number}", account_id=account, minor=minor, currency=currency
    )


def theirs(minor, number=1, account=5, currency="USD"):
    return BreakItem(
        side=BreakSide.THEIRS, id=f"t{number}", account_id=account, minor=minor, currency=currency
    )


def head(kind, minor=0):
    return BreakHead(
        id=7,
        kind=str(kind),
        account_id=5,
        bank="BANKDEFF",
        currency="USD",
        amount_minor=minor,
        business_date=date(2026, 3, 2),
    )


def fault_of(kind, resolution, items):
    with pytest.raises(InvalidInstruction) as raised:
        check_resolution(head(kind), resolution, items)
    [(field, text)] = raised.value.violations
    assert field == "items"
    return text


@pytest.mark.parametrize(
    ("kind", "resolution", "items", "minor"),
    [
        (BreakKind.MISSING_OURS, BreakResolution.SUSPENSE, [theirs(500)], 500),
        (BreakKind.MISSING_OURS, BreakResolution.FUNDING, [theirs(500)], 500),
        (BreakKind.MISSING_OURS, BreakResolution.RETURN, [theirs(500)], 500),
        (BreakKind.UNKNOWN_DEBIT, BreakResolution.RETURN, [theirs(-500)], -500),
        (BreakKind.UNKNOWN_DEBIT, BreakResolution.WRITE_OFF, [theirs(-500)], -500),
        (BreakKind.MISSING_THEIRS, BreakResolution.WRITE_OFF, [ours(500)], -500),
        (BreakKind.MISSING_THEIRS, BreakResolution.WRITE_OFF, [ours(-500)], 500),
        (BreakKind.DUPLICATE, BreakResolution.SUSPENSE, [theirs(-500)], -500),
        (BreakKind.AMOUNT, BreakResolution.CHARGES, [ours(-500), theirs(-515)], -15),
        (BreakKind.AMOUNT, BreakResolution.EXCHANGE, [ours(500), theirs(503)], 3),
        (BreakKind.AMOUNT, BreakResolution.WRITE_OFF, [ours(500), theirs(499)], -1),
        (BreakKind.REVERSAL, BreakResolution.SUSPENSE, [ours(-500), theirs(500)], 1000),
    ],
)
def test_the_difference_goes_to_the_account_of_the_resolution(kind, resolution, items, minor):
    correction = check_resolution(head(kind), resolution, items)
    assert correction is not None
    assert (correction.minor, correction.leg) == (minor, Leg.CORRECTION)
    assert correction.destination == DESTINATIONS[resolution]


@given(
    st.lists(st.integers(-1000, 1000).filter(bool), max_size=6),
    st.lists(st.integers(-1000, 1000).filter(bool), max_size=6),
)
def test_with_its_transfer_each_resolution_has_equal_sums(mine, yours):
    items = [ours(each, number) for number, each in enumerate(mine)]
    items += [theirs(each, number) for number, each in enumerate(yours)]
    resolution = BreakResolution.WRITE_OFF if sum(mine) != sum(yours) else BreakResolution.MATCH
    if not items:
        return
    correction = check_resolution(head(BreakKind.AMBIGUOUS), resolution, items)
    posted = [ours(correction.minor, "posted")] if correction else []
    assert difference_minor([*items, *posted]) == 0


@pytest.mark.parametrize(
    "items",
    [
        [ours(500), theirs(500)],
        [ours(500, 1), ours(300, 2), theirs(800)],
        [theirs(500, 1), theirs(-500, 2)],
        [ours(700, 1), ours(-200, 2), theirs(300, 1), theirs(200, 2)],
    ],
)
def test_an_exact_match_posts_nothing(items):
    assert check_resolution(head(BreakKind.AMBIGUOUS), BreakResolution.MATCH, items) is None
    for other in DESTINATIONS.keys() - {BreakResolution.FUNDING, BreakResolution.RETURN}:
        assert "equal sums" in fault_of(BreakKind.AMBIGUOUS, other, items)


@pytest.mark.parametrize(
    ("resolution", "items", "said"),
    [
        (BreakResolution.MATCH, [], "at least one"),
        (BreakResolution.MATCH, [ours(500), theirs(499)], "differ by -1 minor units"),
        (BreakResolution.MATCH, [ours(5), ours(5), theirs(10)], "an item twice"),
        (BreakResolution.MATCH, [ours(5), theirs(5, account=6)], "of the break's account"),
        (BreakResolution.MATCH, [ours(5), theirs(5, currency="EUR")], "in the account's currency"),
        (BreakResolution.CHARGES, [theirs(-5)], "of both sides"),
        (BreakResolution.EXCHANGE, [ours(5, 1), ours(6, 2)], "of both sides"),
        (BreakResolution.FUNDING, [theirs(-5)], "are a debit"),
    ],
)
def test_items_that_do_not_belong_together_are_refused(resolution, items, said):
    kind = BreakKind.MISSING_OURS
    assert said in fault_of(kind, resolution, items)


def test_a_resolution_has_a_bounded_number_of_items():
    many = [ours(1, number) for number in range(ITEMS_MAX + 1)]
    assert "at most" in fault_of(BreakKind.AMBIGUOUS, BreakResolution.WRITE_OFF, many)


@pytest.mark.parametrize("kind", [*BreakKind, OPENING_DIFFERENCE])
@pytest.mark.parametrize("resolution", BreakResolution)
def test_each_kind_is_closed_by_these_resolutions_only(kind, resolution):
    items = [theirs(500)]
    if resolution is BreakResolution.MATCH:
        items = [theirs(5, 1), theirs(-5, 2)]
    if resolution in (BreakResolution.CHARGES, BreakResolution.EXCHANGE):
        items.append(ours(3))
    if kind == OPENING_DIFFERENCE:
        items = []
    if kind in CLOSED_BY[resolution]:
        check_resolution(head(kind, 500), resolution, items)
        return
    with pytest.raises(WrongState) as raised:
        check_resolution(head(kind, 500), resolution, items)
    assert "Choose one of: " in raised.value.todo


@pytest.mark.parametrize(
    ("resolution", "minor", "posts"),
    [
        (BreakResolution.FUNDING, 500, True),
        (BreakResolution.SUSPENSE, -500, True),
        (BreakResolution.WRITE_OFF, 5, True),
        (BreakResolution.EXPLANATION, -500, False),
    ],
)
def test_an_opening_difference_is_posted_before_the_first_statement_or_explained(
    resolution, minor, posts
):
    found = check_resolution(head(OPENING_DIFFERENCE, minor), resolution, [])
    assert found is not None
    assert (found.minor, found.leg) == (minor, Leg.OPENING_CORRECTION)
    assert (found.destination is not None) == posts


def test_an_opening_difference_has_no_items_and_a_debit_is_no_funding():
    with pytest.raises(InvalidInstruction):
        check_resolution(head(OPENING_DIFFERENCE, 5), BreakResolution.SUSPENSE, [theirs(5)])
    with pytest.raises(InvalidInstruction):
        check_resolution(head(OPENING_DIFFERENCE, -5), BreakResolution.FUNDING, [])


def test_each_resolution_but_the_exact_match_names_an_account_of_another_kind():
    without = {BreakResolution.MATCH, BreakResolution.EXPLANATION}
    assert set(DESTINATIONS) == set(BreakResolution) - without
    assert len(set(DESTINATIONS.values())) == len(DESTINATIONS)
    kinds = {each.kind for each in DESTINATIONS.values()}
    assert kinds.isdisjoint({AccountKind.NOSTRO, AccountKind.VOSTRO, AccountKind.SETTLEMENT})


def test_a_signature_is_of_everything_that_was_proposed():
    items = [ours(500), theirs(499)]
    own = (
        7,
        BreakResolution.WRITE_OFF,
        items,
        "one cent",
        EvidenceDigest.of("advice.pdf", b"bytes"),
        "anna",
    )
    signed = resolution_sha256(*own)
    assert signed == resolution_sha256(7, BreakResolution.WRITE_OFF, items[::-1], *own[3:])
    others = [
        (8, *own[1:]),
        (*own[:1], BreakResolution.SUSPENSE, *own[2:]),
        (*own[:2], [ours(500), theirs(498)], *own[3:]),
        (*own[:3], "two cents", *own[4:]),
        (*own[:4], EvidenceDigest.of("advice.pdf", b"other"), own[5]),
        (*own[:4], EvidenceDigest.of("other.pdf", b"bytes"), own[5]),
        (*own[:5], "ben"),
    ]
    assert len({signed, *(resolution_sha256(*each) for each in others)}) == len(others) + 1
