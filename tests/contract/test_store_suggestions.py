"""What matching suggests about a break, on both stores: a person sees it, and may match it."""

from __future__ import annotations

import pytest

from settlement_engine.domain.matching.values import Pass
from settlement_engine.domain.reconciliation import UNNAMED_ITEMS_MAX, AccountOutcome
from tests.contract.test_store_break_work import Work
from tests.support.bank_statements import Booked, debit, take

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_amounts_that_add_up_without_a_reference_are_suggested_and_a_person_matches_them(
    stores,
):
    work = await Work.open(stores)
    paid = await work.books.settled(300, 450)
    await take(stores, await work.books.day(Booked(minor=-750, text="your orders of today")))
    await work.books.reconcile()
    break_id = await work.only("UNKNOWN_DEBIT")
    [found] = (await work.file(break_id)).suggestions
    assert found.matched_by == Pass.SUM
    assert found.ours == tuple(sorted(f"{each.id}/1/1" for each in paid))
    assert found.theirs == (await work.file(break_id)).theirs
    assert "2 amounts within 5 days add up to -750" in found.explanation
    for item in found.ours:  # it is shown with each of its items
        [missing] = [each for each in await work.books.breaks() if each.ours == (item,)]
        assert (await work.file(missing.id)).suggestions == (found,)
    await work.match(break_id, found.ours, found.theirs)
    assert (await work.file(break_id)).suggestions == ()
    await work.books.reconcile()
    assert await work.books.kinds() == ["MISSING_THEIRS"]  # the funding


async def test_what_is_ambiguous_shows_its_candidates(stores):
    work = await Work.open(stores)
    one, other = await work.books.settled(300, 300)
    names = f"{debit(one).end_to_end} {debit(other).end_to_end}"
    await take(stores, await work.books.day(Booked(minor=-300, text=names)))
    await work.books.reconcile()
    break_id = await work.only("AMBIGUOUS")
    [found] = (await work.file(break_id)).suggestions
    assert found.ours == tuple(sorted(f"{each.id}/1/1" for each in (one, other)))
    chosen = found.ours[:1]
    await work.match(break_id, chosen, found.theirs)
    await work.books.reconcile()
    assert (await work.file(break_id)).suggestions == ()


async def test_a_match_that_a_person_took_back_is_suggested(stores):
    work = await Work.open(stores)
    [paid] = await work.books.settled(300)
    await take(stores, await work.books.day(debit(paid, end_to_end="")))
    await work.books.reconcile()
    break_id = await work.only("UNKNOWN_DEBIT")
    theirs = (await work.file(break_id)).theirs
    match_id = await work.match(break_id, [f"{paid.id}/1/1"], theirs)
    await work.unmatch(match_id)
    await work.books.reconcile()
    assert (await work.file(break_id)).suggestions == ()  # a person's match is no rule's


async def test_a_sum_of_which_a_part_is_gone_is_suggested_no_more(stores):
    work = await Work.open(stores)
    paid = await work.books.settled(300, 450)
    first = await work.books.day(Booked(minor=-750, text="your orders of today"))
    await take(stores, first)
    await work.books.reconcile()
    break_id = await work.only("UNKNOWN_DEBIT")
    await take(stores, first.next(debit(paid[0])))
    await work.books.reconcile()
    assert (await work.file(break_id)).suggestions == ()


async def test_no_sums_are_searched_among_too_many_postings(stores):
    work = await Work.open(stores)
    await work.books.settled(*range(1_000, 1_000 + UNNAMED_ITEMS_MAX), 300, 450)
    await take(stores, await work.books.day(Booked(minor=-750, text="your orders of today")))
    result = await work.books.reconcile()
    assert result.outcome is not AccountOutcome.FAILED
    [found] = await work.books.breaks(kind="UNKNOWN_DEBIT")
    assert (await work.file(found.id)).suggestions == ()
