"""The proof of an account: each entry on its own booking date, whatever statements it comes in."""

from __future__ import annotations

import random
from collections import Counter
from datetime import date, timedelta

import pytest

from settlement_engine.domain.booking_days import (
    StatementDay,
    counted_on,
    days_of,
    first_day,
    last_day,
)
from settlement_engine.domain.matching.values import Ours, Rules, Theirs
from settlement_engine.domain.matching_pages import day_changes, match_page, settled_days
from settlement_engine.domain.proof import (
    NOT_COVERED,
    DaySums,
    ReconciledBooks,
    at_day,
    changed_proofs,
    prove,
)
from settlement_engine.domain.reconciliation import MatchingPage, OurItem, TheirItem
from settlement_engine.domain.statement_chain import StatementHead, chain_of
from settlement_engine.domain.statements import Source

MONDAY = date(2026, 3, 2)
OPENING = 1_000
RULES = Rules(version="1")


def day(number: int) -> date:
    return MONDAY + timedelta(days=number)


def head(begins: date, ends: date, opening: int, entries, *, number: int = 1, **changes):
    booked = sum(minor for _, minor in entries)
    fields = {
        "content_hash": f"{number:064x}",
        "source": Source.MT940,
        "id": f"S{number}",
        "sequence": number,
        "page": None,
        "is_last_page": None,
        "created": "",
        "begins": begins,
        "ends": ends,
        "opening_minor": opening,
        "opening_is_final": True,
        "closing_minor": opening + booked,
        "closing_is_final": True,
        "booked_minor": booked,
    }
    return StatementHead(**{**fields, **changes})


class Bank:
    """Statements, each over some days and with entries as booking dates and amounts; all are unmatched."""

    def __init__(self) -> None:
        self.heads: list[StatementHead] = []
        self.days: dict[str, tuple[StatementDay, ...]] = {}
        self.theirs: dict[date, DaySums] = {}
        self.closing = OPENING

    def state(self, begins: date, ends: date, *entries: tuple[date | None, int], opening=None):
        before = self.closing if opening is None else opening
        made = head(begins, ends, before, entries, number=len(self.heads) + 1)
        self.heads.append(made)
        self.days[made.content_hash] = days_of(made, entries)
        self.closing = made.closing_minor or 0
        for booked, minor in entries:
            on = counted_on(begins, ends, booked)
            known = self.theirs.get(on, DaySums(day=on))
            self.theirs[on] = DaySums(
                day=on, theirs_minor=known.theirs_minor + minor, theirs=known.theirs + 1
            )
        return self

    def chain(self):
        return chain_of(self.heads)

    def proofs(self, *ours: DaySums, balance_minor=None):
        sums = [*self.theirs.values(), *ours]
        books = ReconciledBooks(tuple(sums), balance_minor)
        return prove(self.chain(), books, self.heads, self.days)

    def closings(self):
        return {each.booking_date: each.their_closing_minor for each in self.proofs()}


def test_inside_of_a_statement_the_closing_balance_is_derived():
    bank = Bank().state(day(0), day(6), (day(1), 10), (day(1), 5), (day(4), -100))
    assert bank.closings() == {day(1): 1_015, day(4): 915, day(6): 915}
    assert all(each.is_zero for each in bank.proofs())


def test_an_entry_counts_on_its_booking_date_and_not_where_its_statement_ends():
    bank = (
        Bank().state(day(-1), day(0), (day(0), 10)).state(day(0), day(3), (day(2), 7), (day(3), 1))
    )
    ours = DaySums(day=day(2), ours_minor=7, ours=1)
    proof = at_day(bank.proofs(ours), day(2))
    assert proof is not None
    assert (proof.our_closing_minor, proof.unmatched_ours_minor) == (7, 7)
    assert (proof.their_closing_minor, proof.unmatched_theirs_minor) == (1_017, 17)
    assert proof.is_zero


def test_a_posting_of_ours_on_a_day_between_is_a_timing_item_of_that_day():
    bank = Bank().state(day(-1), day(0), (day(0), 10)).state(day(0), day(3), (day(3), -50))
    saturday = DaySums(day=day(1), ours_minor=-50, ours=1)
    monday = DaySums(
        day=day(3),
        matched_ours_minor=-50,
        matched_ours=1,
        matched_theirs_minor=-50,
        matched_theirs=1,
    )
    proofs = {each.booking_date: each for each in bank.proofs(saturday, monday)}
    assert (proofs[day(1)].unmatched_ours_minor, proofs[day(1)].unmatched_ours) == (-50, 1)
    assert (proofs[day(3)].unmatched_ours_minor, proofs[day(3)].unmatched_ours) == (0, 0)
    assert all(each.is_zero for each in proofs.values())


def test_a_closing_balance_dated_the_next_day_counts_for_the_day_of_its_entries():
    bank = Bank().state(day(0), day(1), (day(0), 10)).state(day(1), day(2), (day(1), 20))
    assert bank.closings()[day(0)] == 1_010
    assert bank.closings()[day(1)] == 1_030
    assert last_day(bank.chain(), bank.days) == day(1)
    assert first_day(bank.chain(), bank.days) == day(0)


def test_over_a_weekend_such_a_statement_covers_its_day_only():
    bank = Bank().state(day(4), day(7), (day(4), 10), (day(4), 1))
    assert last_day(bank.chain(), bank.days) == day(4)
    assert list(bank.closings()) == [day(4)]


@pytest.mark.parametrize("booked", [day(-9), day(20), None])
def test_a_date_outside_counts_on_the_last_day_and_is_told(booked):
    bank = Bank().state(day(0), day(2), (day(1), 10), (booked, 5))
    assert bank.closings() == {day(1): 1_010, day(2): 1_015}
    [told] = [each.misdated for each in bank.days[bank.heads[0].content_hash] if each.day == day(2)]
    assert told == (booked is not None)


def test_an_entry_that_was_booked_back_changes_the_balance_of_its_date():
    bank = (
        Bank().state(day(0), day(0), (day(0), 10)).state(day(0), day(1), (day(0), 3), (day(1), 1))
    )
    assert bank.closings() == {day(0): 1_013, day(1): 1_014}


def test_a_gap_holds_back_each_day_after_the_statement_before_it():
    bank = (
        Bank()
        .state(day(0), day(0), (day(0), 10))
        .state(day(4), day(6), (day(5), 1), (day(6), 2), opening=5_000)
    )
    late = DaySums(day=day(2), ours_minor=1, ours=1)
    proofs = {each.booking_date: each for each in bank.proofs(late)}
    assert proofs[day(0)].is_zero
    for number in (2, 5, 6):
        assert "missing" in proofs[day(number)].held_back_by, number
    assert proofs[day(6)].their_closing_minor == 5_003
    assert proofs[day(6)].difference_minor == 5_000 - 1_010


def test_what_the_balances_state_is_not_what_the_items_add_up_to():
    """The last day of a statement is proved by its balances: an entry that got lost is a difference."""
    bank = Bank().state(day(0), day(0), (day(0), 10), (day(0), 90))
    bank.theirs[day(0)] = DaySums(day=day(0), theirs_minor=10, theirs=1)
    [proof] = bank.proofs()
    assert proof.difference_minor == 90


def test_a_statement_that_was_counted_as_a_whole_counts_on_its_last_day():
    bank = Bank().state(day(0), day(2), (day(1), 10), (day(2), 5))
    bank.days.clear()
    bank.theirs = {day(2): DaySums(day=day(2), theirs_minor=15, theirs=2)}
    assert bank.closings() == {day(2): 1_015}
    assert all(each.is_zero for each in bank.proofs())


def test_a_day_without_bookings_has_the_proof_of_the_day_before():
    proofs = Bank().state(day(0), day(6), (day(1), 10)).proofs()
    found = at_day(proofs, day(4))
    assert found is not None
    assert (found.booking_date, found.their_closing_minor) == (day(4), 1_010)
    assert at_day(proofs, day(0)) is None
    assert at_day(proofs, day(7)) is None
    assert at_day([], day(1)) is None


def test_proofs_are_recorded_when_they_change():
    proofs = Bank().state(day(0), day(6), (day(1), 10), (day(4), 5)).proofs()
    known = {each.booking_date: each for each in proofs}
    assert changed_proofs({}, proofs) == proofs
    assert changed_proofs(known, proofs) == []


def test_a_day_on_which_nothing_is_booked_any_more_is_proved_as_the_day_before():
    known = {
        e.booking_date: e for e in Bank().state(day(0), day(6), (day(1), 10), (day(4), 5)).proofs()
    }
    now = Bank().state(day(0), day(6), (day(1), 10), (day(5), 5)).proofs()
    changed = {each.booking_date: each.their_closing_minor for each in changed_proofs(known, now)}
    assert changed == {day(4): 1_010, day(5): 1_015}


def test_a_day_that_no_statement_covers_any_more_is_held_back():
    proofs = Bank().state(day(0), day(6), (day(1), 10)).proofs()
    known = {each.booking_date: each for each in proofs}
    shorter = Bank().state(day(0), day(3), (day(1), 10)).proofs()
    [third, sixth] = changed_proofs(known, shorter)
    assert (third.booking_date, third.is_zero) == (day(3), True)
    assert (sixth.booking_date, sixth.held_back_by) == (day(6), NOT_COVERED)
    recorded = known | {each.booking_date: each for each in (third, sixth)}
    assert changed_proofs(recorded, shorter) == []
    assert [each.is_zero for each in changed_proofs(known, [])] == [False, False]


# --- the same entries in any statements ---------------------------------------------------------------

DAYS = 28


def month(chance):
    """Payments with the days on which we and the bank book them; None: only one side does."""

    def booked():
        return chance.choice([None, *range(1, DAYS + 1)])

    amounts = [
        chance.choice([-1, 1]) * chance.randint(1, 500) for _ in range(chance.randint(0, 25))
    ]
    return [(minor, booked(), booked()) for minor in amounts]


def split(chance):
    """Lengths of statements in days: daily, weekly, monthly or any others."""
    some = [chance.randint(1, 9) for _ in range(chance.randint(1, DAYS))]
    return chance.choice([[1], [7], [DAYS], some])


def reconciled(payments, lengths, *, opens_on_first_day):
    """Reconcile a month with statements of these lengths; returns the last proof and the matches."""
    ours = [
        OurItem(number, day(booked), our_item(number, minor, booked))
        for number, (minor, booked, _) in enumerate(payments)
        if booked is not None
    ]
    sums: Counter[tuple[date, str]] = Counter()
    for each in ours:
        sums[each.booked_on, "ours_minor"] += each.item.minor
        sums[each.booked_on, "ours"] += 1
    heads, days, theirs = [], {}, []
    begins, opening, place = 0, OPENING, 0
    while begins < DAYS:
        length = min(lengths[place % len(lengths)], DAYS - begins)
        ends = begins + length
        place += 1
        entries = [
            (number, minor, booked)
            for number, (minor, _, booked) in enumerate(payments)
            if booked is not None and begins < booked <= ends
        ]
        opened = begins + 1 if opens_on_first_day else begins
        said = [(day(booked), minor) for _, minor, booked in entries]
        made = head(day(opened), day(ends), opening, said, number=place)
        heads.append(made)
        days[made.content_hash] = days_of(made, said)
        for number, minor, booked in entries:
            on = counted_on(made.begins, made.ends, day(booked))
            theirs.append(TheirItem(place, number + 1, on, their_item(number, minor, booked)))
        begins, opening = ends, made.closing_minor
    page = MatchingPage(tuple(ours), tuple(theirs))
    found = match_page(page, RULES)
    for change in day_changes(page, found, settled_days(page, found.matches), are_new=True):
        for name in DaySums.__struct_fields__:
            if name != "day":
                sums[change.day, name] += getattr(change, name)
    by_day: dict[date, dict[str, int]] = {}
    for (on, name), value in sums.items():
        by_day.setdefault(on, {})[name] = value
    books = ReconciledBooks(
        tuple(DaySums(day=on, **found) for on, found in sorted(by_day.items())),
        sum(each.item.minor for each in ours),
    )
    proofs = prove(chain_of(heads), books, heads, days)
    return proofs, sorted((each.ours, each.theirs) for each in found.matches)


def our_item(number, minor, booked):
    return Ours(
        id=f"ours-{number}",
        account="1",
        minor=minor,
        currency="EUR",
        value_date=day(booked),
        end_to_end=f"PAYMENT-{number:08d}",
    )


def their_item(number, minor, booked):
    return Theirs(
        id=f"theirs-{number:06d}",
        account="1",
        minor=minor,
        currency="EUR",
        value_date=day(booked),
        end_to_end=f"PAYMENT-{number:08d}",
    )


@pytest.mark.parametrize("seed", range(60))
def test_any_statements_of_the_same_entries_end_in_the_same_proof(seed):
    chance = random.Random(seed)
    payments, lengths, opens = month(chance), split(chance), chance.random() < 0.5
    daily, matched = reconciled(payments, [1], opens_on_first_day=False)
    proofs, matches = reconciled(payments, lengths, opens_on_first_day=opens)
    assert matches == matched
    last = proofs[-1]
    assert last == at_day(daily, last.booking_date)
    assert last.is_zero
    if not opens:  # else all entries on the opening's date look like a closing dated the next day
        assert last.booking_date == day(DAYS)
    # Each day that both have proved is proved alike.
    known = {each.booking_date: each for each in daily}
    for each in proofs:
        assert each == known.get(each.booking_date, each)
