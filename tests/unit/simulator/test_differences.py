"""Differences that the bank puts into its statements: each kind, told with its references, repeatable by its seed."""

from __future__ import annotations

from datetime import date, timedelta

import msgspec
import pytest

from settlement_engine.domain.statements import (
    Entry,
    EntryDetail,
    EntryStatus,
    StatementReferences,
)
from settlement_engine.simulator.differences import (
    DifferenceKind,
    DifferenceRule,
    PlantedDifference,
    Planting,
)

DAY = date(2026, 11, 27)


def entry(number, minor=-10_000):
    own = StatementReferences(end_to_end=f"E{number}")
    return Entry(
        number=number,
        minor=minor,
        currency="EUR",
        status=EntryStatus.BOOKED,
        booking_date=DAY,
        value_date=DAY,
        is_reversal=False,
        references=msgspec.structs.replace(own, servicer=f"BANK{number}"),
        code="PMNT/ICDT/ESCT",
        text="",
        details=(EntryDetail(references=own, minor=minor),),
    )


def planted(kind, *entries, seed=1, **rule):
    planting = Planting([DifferenceRule(kind=kind, most=1, **rule)], seed)
    return planting.planted(entries), planting.told


ONE = entry(1)


def told(kind, minor, *references):
    return [PlantedDifference(kind=kind, references=references or ("E1",), amount_minor=minor)]


def test_a_missing_entry_is_told_with_the_amount_that_is_missing():
    found, said = planted(DifferenceKind.MISSING, ONE, entry(2))
    assert [each.references.servicer for each in found] == ["BANK2"]
    assert said == told(DifferenceKind.MISSING, -10_000)


def test_another_amount_is_that_of_the_entry_and_of_its_payment():
    (found,), said = planted(DifferenceKind.AMOUNT, ONE, minor=5)
    assert (found.minor, found.details[0].minor) == (-10_005, -10_005)
    assert said == told(DifferenceKind.AMOUNT, -10_005)


def test_another_date_is_the_value_date():
    (found,), said = planted(DifferenceKind.DATE, ONE)
    assert (found.booking_date, found.value_date) == (DAY, DAY + timedelta(days=10))
    assert said == told(DifferenceKind.DATE, -10_000)


def test_a_duplicate_has_another_reference_of_the_bank():
    found, said = planted(DifferenceKind.DUPLICATE, ONE)
    assert [(each.minor, each.references.servicer) for each in found] == [
        (-10_000, "BANK1"),
        (-10_000, "BANK1-2"),
    ]
    assert found[0].references.end_to_end == found[1].references.end_to_end == "E1"
    assert said == told(DifferenceKind.DUPLICATE, -10_000)


@pytest.mark.parametrize(
    ("kind", "minor"),
    [(DifferenceKind.UNKNOWN_DEBIT, -10_000), (DifferenceKind.UNKNOWN_CREDIT, 10_000)],
)
def test_an_unknown_entry_has_no_reference_of_ours(kind, minor):
    found, said = planted(kind, ONE)
    assert found[0] == ONE
    assert (found[1].minor, found[1].references.ours(), found[1].details) == (minor, (), ())
    assert said == told(kind, minor, "UBANK1")


def test_an_extra_entry_refers_to_a_payment_that_nobody_ordered():
    found, said = planted(DifferenceKind.EXTRA, ONE)
    assert found[0] == ONE
    assert (found[1].minor, found[1].references.end_to_end[:3]) == (-10_000, "NOT")
    assert said == told(DifferenceKind.EXTRA, -10_000, *found[1].references.ours())
    assert found[1].references.uetr[14] == "4"


def test_a_reversal_takes_the_entry_back():
    found, said = planted(DifferenceKind.REVERSAL, ONE)
    assert [(each.minor, each.is_reversal) for each in found] == [(-10_000, False), (10_000, True)]
    assert said == told(DifferenceKind.REVERSAL, 10_000)


def test_a_charge_is_inside_a_debit_and_stated_with_its_payment():
    credit = entry(7, 10_000)
    found, said = planted(DifferenceKind.CHARGE, credit, ONE)
    assert found[0].minor == 10_000, "no charge is taken from a credit"
    assert (found[1].minor, found[1].details[0].charges_minor) == (-10_250, 250)
    assert said == told(DifferenceKind.CHARGE, -10_250)


def test_a_charge_of_the_tariff_is_inside_a_debit_and_stated_nowhere():
    credit = entry(7, 10_000)
    found, said = planted(DifferenceKind.TARIFF, credit, ONE)
    assert found[0].minor == 10_000, "no charge is taken from a credit"
    assert (found[1].minor, found[1].details[0].minor) == (-10_150, -10_150)
    assert found[1].details[0].charges_minor == 0
    assert said == told(DifferenceKind.TARIFF, -10_150)
    (other,), _ = planted(DifferenceKind.TARIFF, ONE, minor=275)
    assert other.minor == -10_275


def test_a_batch_is_one_entry_with_its_payments_inside():
    found, said = planted(DifferenceKind.BATCH, ONE, entry(2), entry(3), entry(4))
    assert [each.minor for each in found] == [-30_000, -10_000]
    assert [each.references.end_to_end for each in found[0].details] == ["E1", "E2", "E3"]
    assert found[0].references.ours() == ()
    assert said == told(DifferenceKind.BATCH, -30_000, "E1", "E2", "E3")


def test_a_batch_holds_no_debits_and_credits_together():
    found, said = planted(DifferenceKind.BATCH, ONE, entry(2, 500))
    assert (len(found), said) == (2, [])


def test_a_split_adds_up_to_the_entry():
    found, said = planted(DifferenceKind.SPLIT, entry(1, -10_001))
    assert len(found) == 2
    assert sum(each.minor for each in found) == -10_001
    assert len({each.references.servicer for each in found}) == 2
    assert said == told(DifferenceKind.SPLIT, -10_001)


def test_the_same_seed_gives_the_same_differences_and_another_seed_others():
    rules = [DifferenceRule(kind=kind, one_in=20) for kind in DifferenceKind]
    entries = [entry(at) for at in range(1, 1_001)]

    def made(seed):
        planting = Planting(rules, seed)
        return planting.planted(entries), planting.told

    assert made(1) == made(1)
    assert made(1)[1] != made(2)[1]
    assert {each.kind for each in made(1)[1]} == set(DifferenceKind)
    assert 250 < len(made(1)[1]) < 600, "each entry is in at most one"
    names = [name for each in made(1)[1] for name in each.references if name.startswith("E")]
    assert len(names) == len(set(names))
    assert [each.number for each in made(1)[0]] == list(range(1, len(made(1)[0]) + 1))


def test_a_rule_may_be_for_entries_of_one_amount():
    entries = entry(1, -500), entry(2, 700), entry(3, -700)
    found, _ = planted(DifferenceKind.MISSING, *entries, entry_minor=700)
    assert [each.references.servicer for each in found] == ["BANK1", "BANK3"]


@pytest.mark.parametrize("wrong", [{"one_in": 0}, {"most": -1}, {"minor": -1}, {"entry_minor": -1}])
def test_numbers_of_a_rule_are_checked(wrong):
    with pytest.raises(ValueError, match="one_in"):
        DifferenceRule(kind=DifferenceKind.DATE, **wrong)
