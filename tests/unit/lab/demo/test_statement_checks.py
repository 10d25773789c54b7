"""The demo's checks of the statements can fail: each is shown evidence in which its guarantee is violated."""

from __future__ import annotations

from dataclasses import replace

import pytest
from msgspec.structs import replace as replace_told

from settlement_engine.domain.money import format_amount
from settlement_engine.simulator.differences import TARIFF_MINOR, DifferenceKind
from settlement_lab.bench.planted_differences import BREAK_KINDS
from settlement_lab.commands.demo.command import SETTINGS
from settlement_lab.commands.demo.statement_checks import (
    AccountProof,
    ClosedDifference,
    FoundDifference,
    StatementEvidence,
    ToldDifference,
    check_statements,
)
from settlement_lab.commands.demo.statements import CURRENCIES, DIFFERENCES

PLANTED = ToldDifference(
    bank="DEUTDEFF",
    account="",
    date="2026-01-31",
    kind="missing",
    references=("E1",),
    amount="-7.5",
    currency="EUR",
)
BATCH = ToldDifference(
    bank="DEUTDEFF",
    account="",
    date="2026-01-31",
    kind="batch",
    references=("E2", "E3"),
    amount="-9.00",
    currency="EUR",
)
ROUNDING = replace_told(BATCH, kind="rounding")
TARIFF = replace_told(BATCH, kind="tariff")
ROUNDED = ClosedDifference(bank="DEUTDEFF", currency="EUR", account="fx rounding", amount="0.01")
CHARGED = ClosedDifference(bank="DEUTDEFF", currency="EUR", account="fees control", amount="1.50")
FOUND = FoundDifference(bank="DEUTDEFF", currency="EUR", kind="MISSING_THEIRS", amount="-7.50")
PROOF = AccountProof(account="DEUTDEFF EUR", day="2026-01-31", is_zero=True, reason="")
GOOD = StatementEvidence(
    outcomes=["STATEMENT_OUTCOME_IMPORTED"],
    entries=3,
    planted=[PLANTED, BATCH, ROUNDING, TARIFF],
    found=[FOUND],
    closed=[CHARGED, ROUNDED],
    proofs=[PROOF],
)
IMPORTED = "the bank's statements of the day were imported"
NAMED = "every planted difference is named, and nothing else"
CLOSED = "charges of the tariff and roundings are closed by rule"
PROVED = "the proof is zero for every account at the bank"


def broken(evidence: StatementEvidence) -> list[str]:
    return [check.promise for check in check_statements(evidence) if not check.is_true]


def test_what_was_planted_and_found_alike_passes_every_check() -> None:
    assert broken(GOOD) == []


@pytest.mark.parametrize(
    ("changes", "violated"),
    [
        ({"outcomes": ["STATEMENT_OUTCOME_GAP"]}, [IMPORTED]),
        ({"entries": 0}, [IMPORTED]),
        ({"found": []}, [NAMED]),
        ({"found": [FOUND, FOUND]}, [NAMED]),
        ({"found": [replace(FOUND, kind="AMOUNT")]}, [NAMED]),
        ({"found": [replace(FOUND, amount="7.50")]}, [NAMED]),
        ({"found": [replace(FOUND, bank="CHASUS33")]}, [NAMED]),
        ({"planted": [], "found": [], "closed": []}, [NAMED, CLOSED]),
        ({"planted": [PLANTED, BATCH], "closed": []}, [CLOSED]),
        ({"closed": []}, [CLOSED]),
        ({"closed": [CHARGED, CHARGED, ROUNDED]}, [CLOSED]),
        ({"closed": [replace(CHARGED, amount="1.49"), ROUNDED]}, [CLOSED]),
        ({"closed": [replace(CHARGED, account="fx rounding"), ROUNDED]}, [CLOSED]),
        ({"closed": [replace(CHARGED, bank="CHASUS33"), ROUNDED]}, [CLOSED]),
        ({"proofs": [replace(PROOF, is_zero=False, reason="0.01 is not explained")]}, [PROVED]),
        ({"proofs": []}, [PROVED]),
    ],
)
def test_each_violation_is_found(changes: dict[str, object], violated: list[str]) -> None:
    assert broken(replace(GOOD, **changes)) == violated  # type: ignore[arg-type]


def test_the_demo_says_how_many_were_closed_and_where() -> None:
    [closed] = [check for check in check_statements(GOOD) if check.promise == CLOSED]
    assert closed.detail == "2 closed: 1 to fees control, 1 to fx rounding"


def test_the_demo_knows_the_tariff_of_the_simulated_bank() -> None:
    charge = format_amount(TARIFF_MINOR, "EUR")
    expected = [{"currency": currency, "charge": charge} for currency in CURRENCIES]
    assert SETTINGS["reconciliation.tariffs"] == expected


def test_the_demo_plants_every_kind_of_difference_and_knows_its_breaks() -> None:
    kinds = {kind.value for kind in DifferenceKind}
    assert set(DIFFERENCES) == kinds
    assert set(BREAK_KINDS) == kinds
