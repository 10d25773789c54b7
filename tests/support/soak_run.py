"""One long run: engines, servers and a consumer are killed and frozen under load, then all is checked.

The plan of faults is determined by a seed. Processes are ended by their id only, each by whoever started
it.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import asyncpg

from settlement_engine.config import Config
from tests.support.soak_checks import NOT_YET, broken_promises, until_announced, until_quiet
from tests.support.soak_consumer import Consumer
from tests.support.soak_installation import Installation
from tests.support.soak_load import Load
from tests.support.soak_probe import PROBE_SECONDS_MAX, Probe
from tests.support.takeover import owner_of, percentiles, watch_takeover

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from pathlib import Path

LOOK_SECONDS = 0.02
SAMPLE_SECONDS = 2.0
ENGINES = 3
CALM_SHARE = 0.05
"""The last part of the time has no faults."""

FROZEN_SECONDS = (2.0, 3.5)
FINISH_SECONDS_MAX = 120.0
QUIET_SECONDS_MAX = 120.0
SPIES = 4
DOWN = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
LEASE_SECONDS = Config().engine.lease_seconds

STUCK = """
    SELECT count(*) FROM open_settlements AS w JOIN settlement_transactions AS s
    ON s.id = w.settlement_id WHERE w.owner = 0 AND w.due_at = 'infinity' AND s.state <> 'held'
"""

assert FROZEN_SECONDS[0] > LEASE_SECONDS, "a frozen engine outlasts its lease"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How long the run lasts, and how often each fault occurs."""

    seconds: float
    seed: int
    engine_kills: int
    zombies: int
    postgres_kills: int
    nats_kills: int
    consumer_kills: int

    @classmethod
    def lasting(cls, seconds: float, seed: int) -> Plan:
        """Make a plan with the faults of thirty minutes, in proportion to the time."""
        share = seconds / 1800

        def times(count: int) -> int:
            return max(1, round(count * share))

        return cls(
            seconds=seconds,
            seed=seed,
            engine_kills=max(2, times(112)),
            zombies=max(2, times(46)),
            postgres_kills=times(18),
            nats_kills=times(12),
            consumer_kills=times(40),
        )


@dataclass(slots=True, kw_only=True)
class Findings:
    """What was done, how long it took, and what was found."""

    done: Counter[str] = field(default_factory=Counter)
    killed: list[float] = field(default_factory=list)
    frozen: list[float] = field(default_factory=list)
    postgres_back: list[float] = field(default_factory=list)
    settling_again: list[float] = field(default_factory=list)
    taken_over: int = 0
    without_next_action_max: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    broken: dict[str, list[str]] = field(default_factory=dict)
    seconds: float = 0.0

    def table(self) -> str:
        """Write the findings as text."""
        lines = [f"{self.seconds:.0f} s, {ENGINES} engines"]
        lines += [f"  {count:>9,}  {what}" for what, count in self.done.items()]
        lines += [f"  {self.taken_over:>9,}  settlements taken over"]
        lines += [f"  {count:>9,}  {what}" for what, count in self.counts.items()]
        lines += [
            f"  {count:>9,}  calls that failed: {code}" for code, count in self.failures.items()
        ]
        lines += [
            f"  work of a killed engine taken over: {percentiles(self.killed)}",
            f"  work of a frozen engine taken over: {percentiles(self.frozen)}",
            f"  PostgreSQL killed, answers again:   {percentiles(self.postgres_back)}",
            f"  PostgreSQL killed, settles again:   {percentiles(self.settling_again)}",
            f"  without a next action, at most:     {self.without_next_action_max}",
        ]
        for name, found in self.broken.items():
            lines.append(f"  {'ok' if not found else 'BROKEN':>9}  {name}")
            lines += [f"             {each}" for each in found[:10]]
        lines += [f"  {'not yet':>9}  {name}: {why}" for name, why in NOT_YET.items()]
        return "\n".join(lines)


class Soak:
    """The run."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        self._folder = folder
        self._plan = plan
        self._chance = random.Random(plan.seed)
        self._found = Findings()
        self._tasks: set[asyncio.Task[None]] = set()
        self._probes: list[Probe] = []
        self._thaws: list[tuple[float, int]] = []
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        self._owners: dict[int, int] = {}

    def run(self) -> Findings:
        """Do the whole run; the servers and engines are stopped when it returns."""
        with (
            Installation(self._folder, engines=ENGINES) as self._installation,
            Consumer(self._installation) as self._consumer,
        ):
            load = Load(
                self._installation.targets,
                seed=self._plan.seed,
                pause_seconds=0.2,
            )
            self._load = load
            try:
                asyncio.run(self._strike_all())
            finally:
                self._watch_the_callers_finish()
                load.stop()
            asyncio.run(self._conclude())
        return self._found

    def _watch_the_callers_finish(self) -> None:
        """Restart what died while the callers finish: they need the engines."""
        self._load.begin_stop()
        deadline = time.monotonic() + FINISH_SECONDS_MAX
        while self._load.is_busy and time.monotonic() < deadline:
            self._installation.watch()
            time.sleep(LOOK_SECONDS)

    # --- faults ---------------------------------------------------------------------------------

    def _schedule(self) -> list[tuple[float, str]]:
        plan = self._plan
        acts = {
            "engine killed": plan.engine_kills,
            "engine frozen": plan.zombies,
            "PostgreSQL killed": plan.postgres_kills,
            "NATS killed": plan.nats_kills,
            "consumer killed": plan.consumer_kills,
        }
        until = plan.seconds * (1 - CALM_SHARE)
        times = [
            (self._chance.uniform(1.0, until), act)
            for act, count in acts.items()
            for _ in range(count)
        ]
        return sorted(times)

    async def _strike_all(self) -> None:
        await self._sample()
        began = time.monotonic()
        schedule = self._schedule()
        sampled_at = began
        while (now := time.monotonic() - began) < self._plan.seconds or schedule or self._thaws:
            if schedule and schedule[0][0] <= now and self._strike(schedule[0][1]):
                schedule.pop(0)
            while self._thaws and self._thaws[0][0] <= time.monotonic():
                self._installation.thaw(self._thaws.pop(0)[1])
            self._installation.watch()
            if not self._consumer.is_running:
                self._consumer.begin()
            if time.monotonic() - sampled_at > SAMPLE_SECONDS:
                sampled_at = time.monotonic()
                self._begin(self._sample())
            await asyncio.sleep(LOOK_SECONDS)
            assert now < self._plan.seconds * 2 + PROBE_SECONDS_MAX, "the plan cannot be kept"
        await asyncio.gather(*self._tasks)
        if self._pool is not None:
            self._pool.terminate()
        for probe in self._probes:
            probe.join(timeout=PROBE_SECONDS_MAX)
            self._found.postgres_back.append(probe.answered_seconds)
            self._found.settling_again.append(probe.settled_seconds)
        self._found.seconds = time.monotonic() - began

    def _strike(self, act: str) -> bool:
        """Inject one fault; False if no process is available for it now."""
        match act:
            case "engine killed":
                is_done = self._kill_engine()
            case "engine frozen":
                is_done = self._freeze()
            case "PostgreSQL killed":
                is_done = self._kill_postgres()
            case "NATS killed":
                is_done = self._installation.servers.nats.pid is not None
                if is_done:
                    self._installation.kill_nats()
            case _:
                self._consumer.kill()
                is_done = True
        self._found.done[act] += int(is_done)
        return is_done

    def _engines(self) -> list[int]:
        """Return the numbers of the engines that run and are not frozen."""
        there = self._installation
        return [
            number
            for number, engine in enumerate(there.engines)
            if engine.pid is not None and engine.is_ready and number not in there.frozen
        ]

    def _kill_engine(self) -> bool:
        there = self._engines()
        if not there:
            return False
        number = self._chance.choice(there)
        pid = self._installation.engines[number].pid
        assert pid is not None
        self._begin(self._measure(pid, self._found.killed, time.monotonic()))
        self._installation.kill_engine(number)
        return True

    def _freeze(self) -> bool:
        there = self._engines()
        if len(there) <= 1:
            return False
        number = self._chance.choice(there)
        pid = self._installation.freeze(number)
        now = time.monotonic()
        self._begin(self._measure(pid, self._found.frozen, now))
        self._thaws.append((now + self._chance.uniform(*FROZEN_SECONDS), number))
        self._thaws.sort()
        return True

    def _kill_postgres(self) -> bool:
        if self._installation.servers.postgres.pid is None:
            return False
        self._installation.kill_postgres()
        probe = Probe(self._installation, f"probe-{len(self._probes)}")
        probe.start()
        self._probes.append(probe)
        return True

    # --- measurements ---------------------------------------------------------------------------

    def _begin(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _measure(self, pid: int, seconds: list[float], began: float) -> None:
        """Measure a takeover; if PostgreSQL is killed meanwhile there is nothing to measure."""
        with suppress(*DOWN):
            spy = await self._spy()
            engine_id = self._owners.get(pid) or await owner_of(spy, pid)
            found = await watch_takeover(spy, engine_id, began, is_ended_awaited=False)
            seconds.append(found.taken_seconds)
            self._found.taken_over += found.settlements

    async def _sample(self) -> None:
        with suppress(*DOWN):
            spy = await self._spy()
            rows = await spy.fetch("SELECT pid, max(id) AS id FROM engines GROUP BY pid")
            self._owners = {row["pid"]: row["id"] for row in rows}
            most = max(self._found.without_next_action_max, int(await spy.fetchval(STUCK)))
            self._found.without_next_action_max = most

    async def _spy(self) -> asyncpg.Pool[asyncpg.Record]:
        """Return connections that are already open: a kill is timed from its first instant."""
        if self._pool is None:
            url = self._installation.database_url
            self._pool = await asyncpg.create_pool(url, min_size=SPIES, max_size=SPIES)
        return self._pool

    # --- the end --------------------------------------------------------------------------------

    async def _conclude(self) -> None:
        """Wait until everything has ended, then check."""
        load, found = self._load, self._found
        if not self._consumer.is_running:
            self._consumer.begin()
        await until_quiet(self._installation, QUIET_SECONDS_MAX)
        await until_announced(self._installation, self._consumer)
        found.broken = await broken_promises(self._installation, load, self._consumer)
        found.counts = Counter({"settlements accepted": len(load.accepted)}) + load.counts
        found.failures = load.failures
        connection = await self._installation.connect()
        try:
            found.counts["announcements"] = await connection.fetchval(
                "SELECT position FROM stream_head"
            )
            rows = await connection.fetch(
                "SELECT state::text AS state, count(*) AS n FROM settlement_transactions GROUP BY 1"
            )
            for row in rows:
                found.counts[f"ended {row['state']}"] = row["n"]
            found.counts["contradictions for a person"] = await connection.fetchval(
                "SELECT count(*) FROM exceptions"
            )
        finally:
            await connection.close()
