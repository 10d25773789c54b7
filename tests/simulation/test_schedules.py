"""Seeded schedules on real PostgreSQL, in the short form; the soak runs many more."""

from __future__ import annotations

import asyncio
import tomllib
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from settlement_engine.errors import Contention
from settlement_engine.store.queries import query
from settlement_lab.schedules.postgres_ground import PostgresGround, calls
from settlement_lab.schedules.runs import EXPECTED, ScheduleReport, run_on
from settlement_lab.schedules.schedule import play
from tests.simulation.schedule_mutants import MUTANTS, functions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.simulation.schedule_mutants import SqlMutant
    from tests.support.databases import Databases

SCHEDULES = 150
RARE_MAX = 6
"""So many kinds of faults may be missing in so few schedules."""

TRIES_MAX = 40
"""A change in the code moves what a seed means; then the following seeds are tried."""

POINTS_MIN = 80
SEEDS_FILE = Path(__file__).with_name("schedule_seeds.toml")


@contextmanager
def fresh(databases: Databases) -> Iterator[PostgresGround]:
    url = asyncio.run(databases.migrated())
    made = PostgresGround(url)
    made.prepare()
    try:
        yield made
    finally:
        made.close()
        asyncio.run(databases.drop(url))


@pytest.fixture
def ground(databases: Databases) -> Iterator[PostgresGround]:
    with fresh(databases) as made:
        yield made


def told(report: ScheduleReport) -> str:
    return "\n".join(
        line for each in report.broken[:2] for line in (f"seed {each.seed}", *each.violations)
    )


@pytest.mark.slow
def test_no_schedule_violates_a_guarantee(ground: PostgresGround) -> None:
    report = run_on(ground, range(SCHEDULES))
    assert not report.broken, told(report)
    assert report.points >= POINTS_MIN * SCHEDULES
    assert report.invariant_warnings["stale_step"], "no write on an expired lease was refused"
    assert len([name for name in EXPECTED if not report.fired[name]]) <= RARE_MAX


def test_schedules_that_once_failed_pass(ground: PostgresGround) -> None:
    known = tomllib.loads(SEEDS_FILE.read_text())["schedule"]
    for each in known:
        history = play(each["seed"], ground, is_proved=True)
        assert not history.violations, each["why"]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_safeguard_removed_from_the_database_is_detected(
    mutant: SqlMutant, ground: PostgresGround, databases: Databases
) -> None:
    """It is detected in the recorded schedule, or one soon after it, and there only because of the mutant."""
    ground.change(mutant.sql())
    seeds = range(mutant.seed, mutant.seed + TRIES_MAX)
    caught = (
        seed for seed in seeds if play(seed, ground, mutant.emphasis, is_proved=True).violations
    )
    seed = next(caught, None)
    assert seed is not None
    with fresh(databases) as whole:
        assert not play(seed, whole, mutant.emphasis, is_proved=True).violations


def test_a_seed_gives_the_same_history(databases: Databases) -> None:
    digests = []
    for _ in range(2):
        with fresh(databases) as ground:
            digests.append([play(seed, ground).digest for seed in range(5)])
    assert digests[0] == digests[1]
    assert len(set(digests[0])) == len(digests[0])


class FixedClock:
    def now(self):
        from datetime import UTC, datetime

        return datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)


def test_the_database_uses_the_virtual_clock(ground: PostgresGround) -> None:
    ground._clock = FixedClock()
    wire = ground.take()
    [[now]] = wire.fetch(ground.now(), query("database_time"))
    assert now == FixedClock().now()
    ground.give_back(wire)


def test_waiting_for_another_engines_row_lock_fails_at_once(ground: PostgresGround) -> None:
    ground._clock = FixedClock()
    statement = "UPDATE stream_head SET published = published RETURNING position"
    one, two = ground.take(), ground.take()
    one.begin(ground.now(), statement, ())
    with pytest.raises(Contention):
        two.begin(ground.now(), statement, ())
    two.roll_back()
    one.commit()
    assert two.begin(ground.now(), statement, ())
    ground.give_back(two)
    ground.give_back(one)


def test_the_newest_text_of_each_function_is_found() -> None:
    names = [text.split("(")[0].split()[-1] for text in functions()]
    assert len(names) == len(set(names)), "only the newest text of each function"
    assert {"admit_settlements_3", "apply_steps_2", "claim_settlements"} <= set(names)
    of_every_schedule = {"end_session", "mark_engines_gone", "set_aside", "open_accounts"}
    of_statements = {"kept_statements", "items", "last_proof", "second_debits", "unsearched"}
    assert set(calls()) == of_every_schedule | of_statements | {"set_statements_aside"}


class MovingClock:
    def __init__(self):
        self.seconds = 0

    def now(self):
        from datetime import UTC, datetime

        return datetime(2031, 5, 6, 7, 8, self.seconds, tzinfo=UTC)


def test_each_statement_of_a_transaction_has_its_own_time(ground: PostgresGround) -> None:
    """A move that waits in its transaction is not made at the time at which the transaction began."""
    clock = MovingClock()
    ground._clock = clock
    wire = ground.take()
    [[began]] = wire.begin(ground.now(), query("database_time"), ())
    clock.seconds = 9
    [[now]] = wire.go_on(ground.now(), query("database_time"), ())
    assert (now - began).total_seconds() == 9
    wire.commit()
    ground.give_back(wire)
