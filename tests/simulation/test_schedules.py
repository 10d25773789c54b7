"""Seeded schedules on real PostgreSQL, the short form; the long one is in the soak."""

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
"""A change of the world around the schedules moves what a seed means; then the next ones are tried."""

POINTS_MIN = 80
SEEDS_FILE = Path(__file__).with_name("schedule_seeds.toml")


@contextmanager
def fresh(databases: Databases) -> Iterator[PostgresGround]:
    url = asyncio.run(databases.migrated())
    made = PostgresGround(url)
    made.prepare()
    yield made
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
def test_no_schedule_breaks_a_promise(ground: PostgresGround) -> None:
    report = run_on(ground, range(SCHEDULES))
    assert not report.broken, told(report)
    assert report.points >= POINTS_MIN * SCHEDULES
    assert report.anomalies["stale_step"], "no write of a zombie was refused"
    assert len([name for name in EXPECTED if not report.fired[name]]) <= RARE_MAX


def test_schedules_that_once_failed_do_not_fail_again(ground: PostgresGround) -> None:
    known = tomllib.loads(SEEDS_FILE.read_text())["schedule"]
    for each in known:
        history = play(each["seed"], ground, is_proved=True)
        assert not history.violations, each["why"]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_what_is_taken_out_of_the_database_is_missed(
    mutant: SqlMutant, ground: PostgresGround, databases: Databases
) -> None:
    """In the schedule that is known, or one soon after it: and in that only because of the mutant."""
    ground.change(mutant.sql())
    seeds = range(mutant.seed, mutant.seed + TRIES_MAX)
    caught = (
        seed for seed in seeds if play(seed, ground, mutant.emphasis, is_proved=True).violations
    )
    seed = next(caught, None)
    assert seed is not None
    with fresh(databases) as whole:
        assert not play(seed, whole, mutant.emphasis, is_proved=True).violations


def test_a_seed_is_a_history(databases: Databases) -> None:
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


def test_the_databases_clock_is_the_worlds(ground: PostgresGround) -> None:
    ground._clock = FixedClock()
    wire = ground.take()
    [[now]] = wire.fetch(ground.now(), query("database_time"))
    assert now == FixedClock().now()
    ground.give_back(wire)


def test_a_row_lock_of_another_engine_is_met_at_once(ground: PostgresGround) -> None:
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


def test_the_functions_are_found() -> None:
    names = [text.split("(")[0].split()[-1] for text in functions()]
    assert len(names) == len(set(names)), "of each function there is the newest text alone"
    assert {"admit_settlements", "apply_steps", "claim_settlements"} <= set(names)
    assert set(calls()) == {"end_session", "bury_engines", "set_aside", "open_house"}
