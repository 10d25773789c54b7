"""Which rule closes a difference: one place decides it for matching and for the evidence of statements."""

from __future__ import annotations

import random
from datetime import date

import pytest

from settlement_engine.domain.matching.closing import CLOSING, closing, may_close
from settlement_engine.domain.matching.run import match_items
from settlement_engine.domain.matching.values import (
    TOLERANCE_MINOR_MAX,
    Charge,
    Ours,
    Pass,
    Rules,
    Theirs,
    Tolerance,
)
from settlement_engine.domain.mention_counts import MentionCounts
from settlement_engine.domain.statement_evidence import EntryRow, EntrySays, mentions_of
from tests.unit.domain.test_statement_evidence import ID, NAMES, entry, payment

DAY = date(2026, 1, 5)
RULES = Rules(
    version="test",
    charges=(Charge("EUR", 150, "fees control"), Charge("EUR", 99, "fees BANKB", "BANKB")),
    tolerances=(Tolerance("EUR", 2, "fx rounding"), Tolerance("EUR", 5, "fx BANKB", "BANKB")),
)


def closed(ours: int, theirs: int, counterparty: str = "", currency: str = "EUR"):
    return closing(RULES, (ours, theirs), currency, DAY, counterparty)


def test_a_charge_is_exact_and_a_tolerance_a_limit():
    assert closed(-1_000, -1_150) == (Pass.TARIFF, {"fees control"})
    assert closed(1_000, 850) == (Pass.TARIFF, {"fees control"})
    assert closed(-1_000, -850) is None  # the bank took less: that is no charge
    assert closed(-1_000, -1_149) is None
    assert closed(-1_000, -998) == closed(-1_000, -1_002) == (Pass.TOLERANCE, {"fx rounding"})
    assert closed(-1_000, -1_003) is None
    assert closed(-1_000, -1_000) is None
    assert closed(-1_000, -1_002, currency="USD") is None


def test_the_rules_of_the_bank_come_first():
    assert closed(-1_000, -1_099, "BANKB") == (Pass.TARIFF, {"fees BANKB"})
    assert closed(-1_000, -1_150, "BANKB") == (Pass.TARIFF, {"fees control"})
    assert closed(-1_000, -1_002, "BANKB") == (Pass.TOLERANCE, {"fx BANKB"})
    assert closed(-1_000, -1_004, "BANKC") is None


def test_two_accounts_are_no_answer():
    both = Rules(version="1", charges=(Charge("EUR", 150, "fees a"), Charge("EUR", 150, "fees b")))
    found = closing(both, (-1_000, -1_150), "EUR", DAY)
    assert found is not None
    assert not found.is_sure


def test_a_difference_of_half_the_payment_is_no_rounding():
    """A charge that was booked alone is not taken for the payment itself, whatever the tolerance is."""
    wide = Rules(version="1", tolerances=(Tolerance("EUR", TOLERANCE_MINOR_MAX, "fx rounding"),))
    assert closing(wide, (-500, -150), "EUR", DAY) is None
    assert closing(wide, (-500, -750), "EUR", DAY) is None
    assert closing(wide, (-500, -749), "EUR", DAY) is not None
    assert closing(wide, (-10_000, -11_000), "EUR", DAY) is not None
    assert not may_close(Pass.TOLERANCE, (-10_000, -11_001))


@pytest.mark.parametrize("by", sorted(CLOSING))
@pytest.mark.parametrize("amounts", [(-100, 100), (0, -1), (-100, 0), (-100, -100), (100, -101)])
def test_two_amounts_without_one_sign_or_difference_have_nothing_to_close(by, amounts):
    assert not may_close(by, amounts)


def test_the_evidence_believes_exactly_what_matching_closes():
    chance = random.Random(7)
    seen = set()
    for _ in range(3_000):
        sent = chance.choice((1, 3, 5, 100, 10_000))
        booked = -max(sent + chance.choice((-3, -2, -1, 0, 1, 2, 3, 149, 150, 151)), 1)
        said = entry(booked)
        [mention] = mentions_of([EntryRow(entry=said)])
        found = MentionCounts(RULES).evidence(mention, payment(amount_minor=sent), 17, counts=True)
        ours = Ours(
            id=f"{ID}/1/1",
            account="1",
            minor=-sent,
            currency="EUR",
            value_date=DAY,
            end_to_end=NAMES.end_to_end_id,
        )
        theirs = Theirs(
            id="0/000001",
            account="1",
            minor=booked,
            currency="EUR",
            value_date=DAY,
            end_to_end=NAMES.end_to_end_id,
        )
        matches = match_items([ours], [theirs], RULES).matches
        is_matched = bool(matches)
        assert (found.found.says is EntrySays.DEBIT) is is_matched, (sent, booked)
        by = matches[0].matched_by.value if is_matched else ""
        assert found.found.closed_by == (by if sent != -booked else "")
        seen.add((is_matched, found.found.closed_by))
    assert len(seen) == 4
