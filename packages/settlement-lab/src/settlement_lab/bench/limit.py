"""The limit: what this machine could do if a settlement were only its minimal durable SQL.

It is measured in the same run on the same server, because a figure without its limit says nothing about
the engine: other programs, the disk and the processor influence both.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from settlement_engine.store.database import DatabaseSettings
from settlement_lab.baseline.server import Baseline, BaselineRequest, ServerMeter
from settlement_lab.bench import processes
from settlement_lab.bench.workload import BANKS_MAX, LoadSpread, Workload

if TYPE_CHECKING:
    from pathlib import Path

    from settlement_lab.bench.ground import Ground

CONNECTIONS: Final = 2
"""The engine also writes on two connections: one for admission, one for transitions."""

ACCOUNTS: Final = 2 * BANKS_MAX
AMOUNT_MINOR: Final = 100
MICRO: Final = 1e6
PGBENCH_DATABASE: Final = "pgbench"
PGBENCH_SCALE: Final = 10
PGBENCH_CLIENTS: Final = 8
PROGRAM_SECONDS: Final = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """The result of the baseline at one batch size. Costs are per settlement."""

    spread: str
    batch: int
    per_second: float
    postgres_us: float
    client_us: float
    commits: float
    wal_bytes: float

    @property
    def cpu_us(self) -> float:
        """The CPU time of the server and of its driver for one settlement, in microseconds."""
        return self.postgres_us + self.client_us


async def measure_limit(ground: Ground, spread: LoadSpread, batch: int, seconds: float) -> Limit:
    """Settle batches on a few connections, one batch after the other on each."""
    settings = DatabaseSettings(url=ground.database_url)
    sticks = [Baseline(settings) for _ in range(CONNECTIONS)]
    meter = ServerMeter(settings)
    counted = 0
    try:
        await sticks[0].install(ACCOUNTS)
        workload = Workload(spread, seed=batch)
        await sticks[1].settle(make_batch(workload, 1))
        pids = ground.pids()
        counters, used = await meter.read(), processes.spent(pids)
        began = time.monotonic()

        async def settle(stick: Baseline) -> None:
            nonlocal counted
            while time.monotonic() - began < seconds:
                await stick.settle(make_batch(workload, batch))
                counted += batch

        await asyncio.gather(*(settle(stick) for stick in sticks))
        took = time.monotonic() - began
        counters_after, used_after = await meter.read(), processes.spent(pids)
    finally:
        for stick in sticks:
            await stick.close()
        await meter.close()
    return Limit(
        spread=spread,
        batch=batch,
        per_second=counted / took,
        postgres_us=(used_after.postgres - used.postgres) / counted * MICRO,
        client_us=(used_after.client - used.client) / counted * MICRO,
        commits=(counters_after.transactions - counters.transactions) / counted,
        wal_bytes=(counters_after.wal_bytes - counters.wal_bytes) / counted,
    )


def make_batch(workload: Workload, count: int) -> BaselineRequest:
    """Make a batch for the baseline; source and target accounts are different accounts."""
    sources, targets = workload.places(count)
    return BaselineRequest(
        ids=[uuid.uuid4() for _ in range(count)],
        obligations=[uuid.uuid4().hex for _ in range(count)],
        sources=[place + 1 for place in sources],
        targets=[BANKS_MAX + place + 1 for place in targets],
        amounts=[AMOUNT_MINOR] * count,
    )


def measure_pgbench(database_url: str, programs: Path, seconds: int) -> float | None:
    """Run PostgreSQL's own benchmark (like TPC-B, prepared); None if it is not installed."""
    if not (programs / "pgbench").is_file():
        return None
    parts = urlsplit(database_url)
    where = [f"--host={parts.hostname}", f"--port={parts.port}", f"--username={parts.username}"]
    environment = {
        **{name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ},
        "PGPASSWORD": parts.password or "",
    }

    def run(program: str, *arguments: str) -> str:
        done = subprocess.run(  # noqa: S603 - PostgreSQL's own programs
            [programs / program, *where, *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=PROGRAM_SECONDS + seconds,
            check=True,
        )
        return done.stdout

    run("dropdb", "--if-exists", PGBENCH_DATABASE)
    run("createdb", PGBENCH_DATABASE)
    try:
        run("pgbench", "--initialize", "--quiet", f"--scale={PGBENCH_SCALE}", PGBENCH_DATABASE)
        said = run(
            "pgbench",
            "--protocol=prepared",
            f"--client={PGBENCH_CLIENTS}",
            f"--time={seconds}",
            PGBENCH_DATABASE,
        )
    finally:
        run("dropdb", PGBENCH_DATABASE)
    found = re.search(r"^tps = ([0-9.]+)", said, re.MULTILINE)
    return float(found[1]) if found else None
