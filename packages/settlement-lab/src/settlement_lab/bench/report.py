"""The results as tables for people, and as JSON for programs."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from settlement_lab.bench.limit import Limit
    from settlement_lab.bench.machine import Machine
    from settlement_lab.bench.measure import Figures
    from settlement_lab.bench.stress import StressResult

GIGA: Final = 1024**3
MEGA: Final = 1024**2
KILO: Final = 1024

COLUMNS: Final = (
    *("scenario", "accounts", "accepted/s", "completed/s", "announced/s", "of limit"),
    *("p50 ms", "p99 ms", "engine µs", "PostgreSQL µs", "NATS µs", "client µs"),
    *("commits", "WAL kB", "peak MB", "refused"),
)
OUTCOME_COLUMNS: Final = ("further scenario", "", "what came of it")
LIMIT_COLUMNS: Final = (
    *("batch", "accounts", "settled/s", "PostgreSQL µs", "client µs", "commits", "WAL kB"),
)


def machine_lines(machine: Machine) -> list[str]:
    """Describe the machine."""
    return [
        (
            f"{machine.processor} · {machine.cores} cores · {machine.memory_bytes / GIGA:.0f} GB"
            f" · Linux {machine.kernel} · load {machine.load_before:.1f} before"
        ),
        (
            f"PostgreSQL {machine.postgres} (fsync on) · NATS {machine.nats} (sync_interval always)"
            f" · Python {machine.python}"
        ),
        f"fsync {machine.fsyncs_per_second:,.0f}/s one by one",
    ]


def row(found: Figures) -> list[str]:
    """Make one row of the table."""
    latency = found.latency_ms
    return [
        found.name,
        found.spread,
        _rate(found.accepted_per_second),
        _rate(found.completed_per_second),
        _rate(found.announced_per_second),
        f"{found.ratio:.2f}" if found.limit_per_second else "-",
        _short(latency["p50"]) if latency else "-",
        _short(latency["p99"]) if latency else "-",
        f"{found.engine_us:,.0f}",
        f"{found.postgres_us:,.0f}",
        f"{found.nats_us:,.0f}",
        f"{found.client_us:,.0f}",
        f"{found.commits:.3f}",
        f"{found.wal_bytes / KILO:.1f}",
        f"{found.engine_peak_bytes / MEGA:,.0f}",
        f"{found.refused:,}",
    ]


def limit_row(limit: Limit) -> list[str]:
    """Make one row of the limit's table."""
    return [
        f"{limit.batch}",
        limit.spread,
        _rate(limit.per_second),
        f"{limit.postgres_us:,.0f}",
        f"{limit.client_us:,.0f}",
        f"{limit.commits:.3f}",
        f"{limit.wal_bytes / KILO:.1f}",
    ]


def fault_lines(rows: Iterable[Figures]) -> list[str]:
    """Describe the faults, if there are any."""
    return [
        f"{found.name}/{found.spread}: {times:,} times {fault}"
        for found in rows
        for fault, times in found.faults.items()
    ]


def document(
    machine: Machine,
    pgbench_per_second: float | None,
    limits: Sequence[Limit],
    rows: Sequence[Figures],
    trials: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Return everything as a JSON document."""
    return {
        "machine": asdict(machine),
        "pgbench_per_second": pgbench_per_second,
        "limits": [asdict(limit) for limit in limits],
        "rows": [{**asdict(found), "ratio": found.ratio} for found in rows],
        "trials": list(trials),
    }


def markdown_table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[str] = ()
) -> list[str]:
    """Make a Markdown table; the columns named in ``right`` are numbers."""
    sides = ["---:" if column in right else "---" for column in columns]
    cells = [[cell.replace("|", "\\|") for cell in row] for row in (columns, sides, *rows)]
    return [f"| {' | '.join(row)} |" for row in cells]


def outcome_rows(outcomes: Iterable[StressResult]) -> list[list[str]]:
    """Make one row for each further scenario."""
    return [
        [
            one.name,
            "as it should be" if one.is_good else "NOT as it should be",
            "; ".join(one.lines),
        ]
        for one in outcomes
    ]


def _rate(per_second: float) -> str:
    return f"{per_second:,.0f}" if per_second else "-"


def _short(milliseconds: float) -> str:
    return f"{milliseconds:.1f}" if milliseconds < KILO else f"{milliseconds:,.0f}"
