"""The items of a past day on both stores: they add up to the proof of the day, whatever has become of them since."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from settlement_engine.domain.open_items import (
    ItemPart,
    ItemSide,
    ItemSums,
    OpenItem,
    added_up,
    read_place,
    sums_of,
)
from settlement_engine.domain.proof import NOT_COVERED
from settlement_engine.engine.reconciliation import Reconciliation
from settlement_engine.ports import OpenItemFilter, Zones
from tests.contract.test_store_reconciliation import FUNDED, ONE_DAY, Books, on, run_of
from tests.support.bank_statements import BankDay, Booked, debit, take, today

if TYPE_CHECKING:
    from datetime import date

    from settlement_engine.domain.open_items import ProofAsOf
    from settlement_engine.domain.settlement import Settlement
    from tests.support.stores import Stores

pytestmark = pytest.mark.asyncio(loop_scope="module")

PAGES_MAX = 1_000


async def items_of(books: Books, day: date, at_once: int = 3) -> tuple[ProofAsOf, list[OpenItem]]:
    """Read the items of a day page by page, as a caller does who only has the text of a place."""
    reader = books.stores.reconciled
    as_of = await reader.proof_as_of(books.id, day)
    assert as_of is not None
    wanted = OpenItemFilter(account_id=books.id, day=day, begins=as_of.begins, limit=at_once)
    found: list[OpenItem] = []
    for _ in range(PAGES_MAX):
        page = await reader.open_items(wanted)
        found += page
        if len(page) < at_once:
            break
        wanted = replace(wanted, after=read_place(page[-1].place.text()))
        assert wanted.after == page[-1].place
    whole = await reader.open_items(replace(wanted, after=None, limit=10_000))
    assert found == whole
    keys = [each.place.key() for each in found]
    assert keys == sorted(keys)
    assert len({(each.side, each.name) for each in found}) == len(found)
    for each in found:
        assert each.booked_on <= day
        assert each.matched_on is None or each.matched_on > day
        is_open = each.place.part in (ItemPart.THEIRS_OPEN, ItemPart.OURS_OPEN)
        assert is_open == (each.match_id is None) == (each.matched_at is None)
    return as_of, found


async def a_week(books: Books) -> tuple[date, list[Settlement]]:
    """A bank that books the first payment two days later, the second one never, and what nobody knows."""
    paid = await books.settled(100, 200)
    first = today()
    entries = (
        on(FUNDED, first),
        on(Booked(minor=-7, text="what is this"), first + ONE_DAY),
        on(debit(paid[0]), first + 2 * ONE_DAY),
    )
    week = await books.day(*entries)
    await take(books.stores, replace(week, opened_on=first, day=first + 6 * ONE_DAY))
    await books.reconcile()
    return first, paid


async def test_what_was_matched_later_was_open_on_the_days_before(stores):
    books = await Books.open(stores)
    first, paid = await a_week(books)
    as_of, items = await items_of(books, first + ONE_DAY)
    assert as_of.is_current
    assert added_up(items) == sums_of(as_of.proof) == ItemSums(-7, -300, 1, 2)
    theirs, late = items[0], items[-1]
    assert (theirs.side, theirs.minor, theirs.matched_on) == (ItemSide.THEIRS, -7, None)
    assert (theirs.booked_on, theirs.text) == (first + ONE_DAY, "what is this")
    assert late.name.startswith(str(paid[0].id))
    assert (late.minor, late.currency, late.booked_on) == (-100, "EUR", first)
    assert (late.matched_on, late.matched_by) == (first + 2 * ONE_DAY, "end-to-end-and-amount")
    match = await stores.reconciled.match(late.match_id)
    assert (match.at, match.ours) == (late.matched_at, (late.name,))
    assert paid[0].attempt is not None
    assert paid[0].attempt.references.end_to_end_id in late.references
    _, after = await items_of(books, first + 2 * ONE_DAY)
    assert [each.minor for each in after] == [-7, -200]


async def test_a_match_that_was_taken_back_leaves_its_items_open(stores):
    books = await Books.open(stores)
    first, _ = await a_week(books)
    _, items = await items_of(books, first + ONE_DAY)
    await stores.reconciliation.unmatch(items[-1].match_id, who="ada", reason="another one")
    as_of, items = await items_of(books, first + 2 * ONE_DAY)
    assert not as_of.is_current
    assert added_up(items) == ItemSums(-107, -300, 2, 2)
    assert added_up(items) != sums_of(as_of.proof)
    await books.reconcile()
    as_of, items = await items_of(books, first + 2 * ONE_DAY)
    assert as_of.is_current
    assert added_up(items) == sums_of(as_of.proof) == ItemSums(-107, -300, 2, 2)
    assert all(each.match_id is None for each in items)


async def test_what_is_booked_later_changes_no_day_before(stores):
    books = await Books.open(stores)
    first, _ = await a_week(books)
    await books.settled(70)
    while await stores.reconciliation.take_in_postings(Zones(by_account={})):
        pass
    as_of, items = await items_of(books, first)
    assert not as_of.is_current
    assert added_up(items) == ItemSums(0, -370, 0, 3)
    assert (await stores.reconciled.proof_as_of(books.id, first - ONE_DAY)) is None


async def test_what_is_open_from_before_the_first_statement_is_in_its_opening_balance(stores):
    books = await Books.open(stores)
    paid = await books.settled(100, 200)
    first = today() + ONE_DAY
    statement = await books.day(on(debit(paid[0]), first), opening=10**9)
    await take(stores, replace(statement, day=first))
    await books.reconcile()
    as_of, items = await items_of(books, first)
    assert as_of.begins == first
    assert added_up(items) == sums_of(as_of.proof) == ItemSums()
    assert as_of.is_current


async def test_a_day_without_a_proof_has_no_items(stores):
    books = await Books.open(stores)
    reader = stores.reconciled
    assert await reader.proof_as_of(books.id, today()) is None
    first, _ = await a_week(books)
    assert await reader.proof_as_of(books.id, first + 7 * ONE_DAY) is None
    assert await reader.proof_as_of(10**9, first) is None


# --- random histories ----------------------------------------------------------------------------------

ZONES = ("Etc/GMT+12", "UTC", "Etc/GMT-14")
"""In the first and the last one it is never the same day: postings of one moment are booked on different days."""

STEPS = 14


class History:
    """An account whose bank and books are out of step, at random."""

    def __init__(self, books: Books, dice: random.Random) -> None:
        self.books, self.dice = books, dice
        self.stores: Stores = books.stores
        self.unbooked: list[Settlement] = []
        self.last: BankDay | None = None
        self.begins = today() + dice.randint(-3, 1) * ONE_DAY
        self.seen: set[ItemPart] = set()

    async def step(self) -> None:
        steps = (self.pay, self.state, self.state, self.reconcile, self.take_back, self.correct)
        await self.dice.choice(steps)()

    async def pay(self) -> None:
        amounts = [self.dice.randint(1, 4) * 100 for _ in range(self.dice.randint(1, 3))]
        self.unbooked += await self.books.settled(*amounts)

    async def state(self) -> None:
        """The next statement of the bank, of a few days."""
        last = self.last
        opened_on = self.begins if last is None else last.day
        first = opened_on if last is None else opened_on + ONE_DAY
        days = [first + number * ONE_DAY for number in range(self.dice.randint(1, 3))]
        booked = self.dice.sample(self.unbooked, self.dice.randint(0, len(self.unbooked)))
        self.unbooked = [each for each in self.unbooked if each not in booked]
        entries = [on(debit(each), self.dice.choice(days)) for each in booked]
        if last is None:
            entries.append(on(FUNDED, self.dice.choice(days)))
        unknown = [Booked(minor=self.dice.choice((-7, 9))) for _ in range(self.dice.randint(0, 2))]
        entries += [on(each, self.dice.choice(days)) for each in unknown]
        self.last = BankDay(
            account=await self.books.scene.source(),
            opening=0 if last is None else last.closing,
            entries=entries,
            number=1 if last is None else last.number + 1,
            opened_on=opened_on,
            day=days[-1],
        )
        await take(self.stores, self.last)

    async def correct(self) -> None:
        """The last statement once more, with other dates and one entry less or more."""
        if self.last is None or self.last.made > 22:
            return
        begins, ends = self.last.opened_on, self.last.day
        assert begins is not None
        first = min(ends, begins + (self.last.number > 1) * ONE_DAY)
        days = [first + number * ONE_DAY for number in range((ends - first).days + 1)]
        entries = [on(each, self.dice.choice(days)) for each in self.last.entries]
        entries += [on(Booked(minor=5), self.dice.choice(days))] * self.dice.randint(0, 1)
        self.last = replace(self.last, entries=entries, made=23)
        await take(self.stores, self.last)

    async def reconcile(self) -> None:
        zone = self.dice.choice(ZONES)
        await Reconciliation(self.stores.reconciliation, zone=zone).reconcile(run_of(self.books.id))

    async def take_back(self) -> None:
        """A person takes back a match of an item that is listed."""
        days = [self.begins + number * ONE_DAY for number in range(12)]
        listed = [each for day in days for each in await self.items(day)]
        matches = sorted({each.match_id for each in listed if each.match_id is not None})
        if matches:
            match_id = self.dice.choice(matches)
            await self.stores.reconciliation.unmatch(match_id, who="ada", reason="not this one")

    async def items(self, day: date) -> list[OpenItem]:
        """Read and judge the items of a day."""
        as_of = await self.stores.reconciled.proof_as_of(self.books.id, day)
        if as_of is None:
            assert await self.stores.reconciled.proofs(day, self.books.id, 0, 1) == []
            return []
        [(_, currency, proof)] = await self.stores.reconciled.proofs(day, self.books.id, 0, 1)
        assert (as_of.currency, as_of.proof) == (currency, proof)
        as_of, found = await items_of(self.books, day, self.dice.randint(1, 5))
        if as_of.is_current:
            assert added_up(found) == sums_of(as_of.proof), day
        self.seen |= {each.place.part for each in found}
        return found

    async def judge(self) -> None:
        """After a run each proof is that of the items as they are, unless no statement covers its day any more."""
        await self.reconcile()
        for number in range(-4, 40):
            day = self.begins + number * ONE_DAY
            await self.items(day)
            as_of = await self.stores.reconciled.proof_as_of(self.books.id, day)
            if as_of is not None:
                assert as_of.is_current == (as_of.proof.held_back_by != NOT_COVERED)


@pytest.mark.parametrize("seed", range(8))
async def test_the_items_of_every_day_add_up_to_its_proof(stores, seed):
    history = History(await Books.open(stores), random.Random(seed))
    await history.pay()
    for _ in range(STEPS):
        await history.step()
    await history.state()
    await history.judge()


async def test_the_histories_have_every_kind_of_item(stores):
    """Otherwise the test above would say nothing."""
    seen: set[ItemPart] = set()
    for seed in range(100, 104):
        history = History(await Books.open(stores), random.Random(seed))
        for _ in range(STEPS):
            await history.step()
        await history.judge()
        seen |= history.seen
    assert seen == set(ItemPart)
