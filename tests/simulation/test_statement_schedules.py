"""Schedules with the bank's statements on real PostgreSQL, in the short form; `make nightly` runs many more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from settlement_engine.messages.statements import read_statements
from settlement_lab.schedules.bank_account import StatedAccount, StatedBooking, file_of
from settlement_lab.schedules.runs import OF_STATEMENTS, WITH_STATEMENTS, run_on
from settlement_lab.schedules.schedule import play
from tests.simulation.statement_mutants import MUTANTS
from tests.simulation.test_schedules import fresh

if TYPE_CHECKING:
    from collections.abc import Iterator

    from settlement_lab.schedules.postgres_ground import PostgresGround
    from tests.simulation.statement_mutants import StatementMutant
    from tests.support.databases import Databases

SCHEDULES = 8
POINTS_MIN = 300
MUTE = {**WITH_STATEMENTS, "answer_lost": 1.0, "bank_rejects": 0.0}
"""No confirmation arrives while there are faults: only statements end a doubt."""
RARE_MAX = 2
"""So many kinds of what happens may be missing in so few schedules."""

TRIES_MAX = 40
"""A change in the code moves what a seed means; then the following seeds are tried."""


@pytest.fixture
def ground(databases: Databases) -> Iterator[PostgresGround]:
    with fresh(databases) as made:
        yield made


@pytest.mark.slow
def test_no_schedule_with_statements_violates_a_guarantee(ground: PostgresGround) -> None:
    report = run_on(ground, range(SCHEDULES), WITH_STATEMENTS)
    report.take(run_on(ground, range(100, 100 + SCHEDULES), MUTE))
    assert not report.broken, "\n".join(
        line for each in report.broken[:2] for line in (f"seed {each.seed}", *each.violations)
    )
    assert report.points >= POINTS_MIN * report.schedules
    assert len([name for name in OF_STATEMENTS if not report.fired[name]]) <= RARE_MAX


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_safeguard_of_statements_that_is_removed_is_detected(
    mutant: StatementMutant,
    ground: PostgresGround,
    databases: Databases,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is detected in the recorded schedule, or one soon after it, and there only because of the mutant."""
    if mutant.statement:
        ground.change(mutant.statement)
    with monkeypatch.context() as patching:
        mutant.apply(patching)
        seeds = range(mutant.seed, mutant.seed + TRIES_MAX)
        caught = (
            seed for seed in seeds if play(seed, ground, mutant.emphasis, is_proved=True).violations
        )
        seed = next(caught, None)
    assert seed is not None
    with fresh(databases) as whole:
        assert not play(seed, whole, mutant.emphasis, is_proved=True).violations


def test_a_seed_gives_the_same_history_with_statements(databases: Databases) -> None:
    digests = []
    for _ in range(2):
        with fresh(databases) as ground:
            digests.append([play(seed, ground, WITH_STATEMENTS).digest for seed in range(2)])
    assert digests[0] == digests[1]


def test_the_bank_states_each_booking_once() -> None:
    account = StatedAccount(
        "schedule A1", "EUR", StatedBooking(minor=1_000, reference="schedule A1")
    )
    first = account.write()
    account.book(StatedBooking(minor=-100, reference="E" + "0" * 34))
    account.book(StatedBooking(minor=60, reference="E" + "0" * 34, charges_minor=2))
    assert not account.is_stated
    second = account.write()
    read = read_statements(file_of([first, second]))
    assert (read.faults, account.is_stated) == ((), True)
    said = [(each.id, [entry.minor for entry in each.entries]) for each in read.statements]
    assert said == [("S1", [1_000]), ("S2", [-100, 60])]
    assert read.statements[1].entries[1].details[0].charges_minor == 2
    assert [each.minor for each in read.statements[1].balances] == [1_000, 960]
