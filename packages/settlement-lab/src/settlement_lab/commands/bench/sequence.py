"""One run of the bench: which installations it starts, what it measures on each, what it prints."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from settlement_engine.embedded.binaries import find_nats, find_postgres, nats_version
from settlement_lab.bench import report
from settlement_lab.bench.limit import Limit, measure_pgbench
from settlement_lab.bench.machine import Machine, describe
from settlement_lab.bench.scenarios import ABOUT, MAIN, QUICK, MeasurementPlan, Table
from settlement_lab.bench.stress import StressResult
from settlement_lab.bench.trials import LONG, TRIALS
from settlement_lab.bench.workload import LoadSpread
from settlement_lab.commands.bench.ground import started

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from settlement_lab.bench.measure import Figures
    from settlement_lab.bench.trials import Trial
    from settlement_lab.commands.bench.ground import WorldGround

PGBENCH_SECONDS: Final = 3
CHANNELS_PER_ENGINE: Final = 4


def all_scenarios() -> tuple[str, ...]:
    """Return all scenarios except those that take an hour."""
    return tuple(name for name, _ in known_scenarios() if name not in LONG)


def known_scenarios() -> list[tuple[str, str]]:
    """Return all scenarios with their descriptions."""
    return [*ABOUT.items(), *((trial.name, trial.about) for trial in TRIALS.values())]


@dataclass(kw_only=True)
class BenchSequence:
    """One run of the bench. ``tell`` gets a line for each step."""

    scenarios: Sequence[str]
    spreads: Sequence[str]
    seconds: float
    is_quick: bool
    engines: int
    tell: Callable[[str], None]
    machine: Machine | None = None
    pgbench_per_second: float | None = None
    limits: list[Limit] = field(default_factory=list)
    rows: list[Figures] = field(default_factory=list)
    outcomes: list[StressResult] = field(default_factory=list)

    @property
    def has_faults(self) -> bool:
        """Whether any call failed for another reason than overload."""
        return any(row.faults for row in self.rows) or any(not one.is_good for one in self.outcomes)

    def run(self, place: Path) -> None:
        """Measure the chosen scenarios; the data is stored below ``place``."""
        trials = [TRIALS[name] for name in self.scenarios if name in TRIALS]
        names = [name for name in self.scenarios if name in MAIN]
        if not self.scenarios:
            names = list(QUICK if self.is_quick else MAIN)
        self._describe(place)
        if names:
            with started(place / "table", engines=self.engines, tell=self.tell) as ground:
                self._measure_pgbench(ground)
                table = Table(ground, self._plan(names), self._tell_row)
                asyncio.run(table.run(CHANNELS_PER_ENGINE * self.engines))
                self.rows, self.limits = table.rows, list(table.limits.values())
        for trial in trials:
            self._try(trial, place / trial.name)

    def _plan(self, names: Sequence[str]) -> MeasurementPlan:
        spreads = [LoadSpread(name) for name in self.spreads]
        if not spreads:
            spreads = [LoadSpread.MANY, LoadSpread.HOT] if self.is_quick else list(LoadSpread)
        return MeasurementPlan(names=names, spreads=spreads, seconds=self.seconds)

    def _describe(self, place: Path) -> None:
        versions = {"postgres": find_postgres().version, "nats": nats_version(find_nats())}
        self.machine = describe(place, versions)
        for line in report.machine_lines(self.machine):
            self.tell(line)

    def _measure_pgbench(self, ground: WorldGround) -> None:
        programs = find_postgres().directory
        found = measure_pgbench(ground.database_url, programs, PGBENCH_SECONDS)
        self.pgbench_per_second = found
        self.tell(f"pgbench {found:,.0f}/s" if found else "pgbench is not installed")

    def _try(self, trial: Trial, place: Path) -> None:
        """Run a scenario that needs installations of its own."""
        for number, variant in enumerate(trial.variants, start=1):
            reason = variant.skipped()
            if reason:
                self.outcomes.append(StressResult(name=trial.name, lines=[f"skipped: {reason}"]))
            else:
                with started(
                    place / str(number),
                    engines=variant.engines,
                    settings=variant.settings,
                    has_simulator=variant.has_simulator,
                    tell=self.tell,
                ) as ground:
                    self.outcomes.append(asyncio.run(variant.run(ground, self.seconds)))
            for line in self.outcomes[-1].lines:
                self.tell(f"  {trial.name}: {line}")

    def _tell_row(self, found: Figures) -> None:
        self.tell(
            f"  {found.name}/{found.spread}: completed {found.completed_per_second:,.0f}/s,"
            f" {found.ratio:.2f} of the limit"
        )

    def print(self, table: Callable[..., None], say: Callable[[str], None]) -> None:
        """Print the tables."""
        if self.limits:
            say("")
            say("The limit: the minimal durable SQL of a settlement, on the same server.")
            limits = [report.limit_row(limit) for limit in self.limits]
            table(report.LIMIT_COLUMNS, limits, right=report.LIMIT_COLUMNS[2:])
        if self.rows:
            say("")
            say("The engine. CPU time, commits and WAL are per settlement.")
            rows = [report.row(found) for found in self.rows]
            table(report.COLUMNS, rows, right=report.COLUMNS[2:])
        for line in report.fault_lines(self.rows):
            say(f"! {line}")
        for outcome in self.outcomes:
            say("")
            say(f"{outcome.name}: {'passed' if outcome.is_good else 'FAILED'}")
            for line in outcome.lines:
                say(f"  {line}")

    def print_markdown(self, say: Callable[[str], None]) -> None:
        """Print everything as Markdown; docs/performance.md contains this output."""
        assert self.machine is not None, "run it first"
        pgbench = self.pgbench_per_second
        lines = [
            *report.machine_lines(self.machine),
            f"pgbench {pgbench:,.0f}/s" if pgbench else "",
        ]
        say("\n".join(f"{line}  " for line in lines if line))
        limits = [report.limit_row(limit) for limit in self.limits]
        rows = [report.row(found) for found in self.rows]
        for columns, cells, right in (
            (report.LIMIT_COLUMNS, limits, report.LIMIT_COLUMNS[2:]),
            (report.COLUMNS, rows, report.COLUMNS[2:]),
            (report.OUTCOME_COLUMNS, report.outcome_rows(self.outcomes), ()),
        ):
            if cells:
                say("")
                say("\n".join(report.markdown_table(columns, cells, right)))

    def document(self) -> dict[str, Any]:
        """Return everything for JSON."""
        assert self.machine is not None, "run it first"
        trials = [outcome.document() for outcome in self.outcomes]
        return report.document(
            self.machine, self.pgbench_per_second, self.limits, self.rows, trials
        )
