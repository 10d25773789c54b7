"""Many schedules on several processes: each process starts and removes a PostgreSQL server of its own.

Promises: a report counts the faults that occurred, lists every seed that violated a guarantee, and lists
what never occurred. The whole database is proved after every few schedules and at the end of each
process's share.
"""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from settlement_engine.embedded import EmbeddedPostgres
from settlement_engine.store.database import DatabaseSettings
from settlement_engine.store.migrate import migrate
from settlement_lab.schedules.postgres_ground import PostgresGround
from settlement_lab.schedules.schedule import play
from settlement_lab.worlds.faults import (
    OF_SCHEDULED_STATEMENTS,
    STATEMENT_RETURNS,
    STATEMENT_SECOND_DEBITS,
    STATEMENTS,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from settlement_lab.worlds.chronicle import History

PROVED_EVERY: Final = 1_000
SEEN_AFTER: Final = 1_000
"""In so many schedules every fault must have occurred."""

LINES_TOLD: Final = 40

EXPECTED: Final = (
    *("answer_late", "answer_lost", "answer_twice", "attested", "bank_acknowledges"),
    *("bank_contradicts", "bank_not_found", "bank_recognises", "bank_rejects", "bank_returns"),
    *("bank_slow", "bank_speaks_unasked", "bank_takes_back", "caller_cancels", "caller_gives_up"),
    *("caller_repeats", "caller_takes_obligation", "commit_answer_lost", "commit_never_came"),
    *("contention", "crash", "crash_in_a_call", "database_slow", "freeze", "rail_raises"),
    *("request_lingers", "request_lost", "request_twice", "restart", "network_cut"),
    *("screening_late", "screening_parks", "screening_refuses", "screening_silent"),
    *("session_lost", "session_outlives", "undelivered", "zombie"),
)
"""The faults that must occur; other faults of ``faults.FAULTS`` do not apply to schedules."""


WITH_STATEMENTS: Final = {STATEMENTS: 1.0}
"""The emphasis of schedules with statements: in each of them the bank writes some."""

OF_STATEMENTS: Final = (
    *(STATEMENTS, STATEMENT_RETURNS, STATEMENT_SECOND_DEBITS),
    *OF_SCHEDULED_STATEMENTS,
)
"""What must also occur in schedules with statements."""


@dataclass(slots=True)
class BrokenSchedule:
    """A schedule that violated a guarantee, with the last lines of its history."""

    seed: int
    violations: list[str]
    lines: list[str]


@dataclass(slots=True)
class ScheduleReport:
    """The result of many schedules."""

    schedules: int = 0
    points: int = 0
    wall_seconds: float = 0.0
    ends: Counter[str] = field(default_factory=Counter)
    fired: Counter[str] = field(default_factory=Counter)
    invariant_warnings: Counter[str] = field(default_factory=Counter)
    broken: list[BrokenSchedule] = field(default_factory=list)

    def note(self, history: History) -> None:
        """Add the result of one schedule."""
        self.schedules += 1
        self.points += history.turns
        self.ends.update(history.ends)
        self.fired.update(history.fired)
        self.invariant_warnings.update(history.invariant_warnings)
        if history.violations:
            told = history.lines[-LINES_TOLD:]
            self.broken.append(BrokenSchedule(history.seed, history.violations, told))

    def take(self, other: ScheduleReport) -> None:
        """Add the results of another process."""
        self.schedules += other.schedules
        self.points += other.points
        self.ends.update(other.ends)
        self.fired.update(other.fired)
        self.invariant_warnings.update(other.invariant_warnings)
        self.broken.extend(other.broken)

    @property
    def never_fired(self) -> list[str]:
        """Return the faults that never occurred, if there were enough schedules for all."""
        if self.schedules < SEEN_AFTER:
            return []
        of_statements = OF_STATEMENTS if self.fired[STATEMENTS] else ()
        return [name for name in (*EXPECTED, *of_statements) if not self.fired[name]]

    @property
    def is_good(self) -> bool:
        """Return whether every guarantee held and every fault occurred."""
        return not self.broken and not self.never_fired


def run_on(
    ground: PostgresGround, seeds: Sequence[int], emphasis: Mapping[str, float] | None = None
) -> ScheduleReport:
    """Run schedules on one prepared database, one after the other."""
    report = ScheduleReport()
    gc.disable()  # garbage of schedules is collected less often
    try:
        for count, seed in enumerate(seeds, start=1):
            is_proved = count % PROVED_EVERY == 0 or count == len(seeds)
            report.note(play(seed, ground, emphasis, is_proved=is_proved))
            if count % 50 == 0:
                gc.collect()
    finally:
        gc.enable()
    return report


def run_share(seeds: Sequence[int], emphasis: Mapping[str, float] | None = None) -> ScheduleReport:
    """Run schedules on a server that is started for them."""
    with tempfile.TemporaryDirectory(prefix="settlement-schedules-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # the server may run as another user
        server = EmbeddedPostgres(folder / "postgres")
        server.start()
        try:
            asyncio.run(migrate(DatabaseSettings(url=server.url())))
            ground = PostgresGround(server.url())
            try:
                ground.prepare()
                return run_on(ground, seeds, emphasis)
            finally:
                ground.close()
        finally:
            server.stop()


def run(
    seeds: Sequence[int], *, jobs: int, emphasis: Mapping[str, float] | None = None
) -> ScheduleReport:
    """Run schedules on ``jobs`` processes at once."""
    work = partial(run_share, emphasis=emphasis)
    began = time.monotonic()
    report = ScheduleReport()
    shares = [list(seeds[number::jobs]) for number in range(jobs)]
    shares = [share for share in shares if share]
    if len(shares) == 1:
        report.take(work(shares[0]))
    else:
        with multiprocessing.get_context("spawn").Pool(len(shares)) as pool:
            for part in pool.imap_unordered(work, shares):
                report.take(part)
    report.broken.sort(key=lambda each: each.seed)
    report.wall_seconds = time.monotonic() - began
    return report
