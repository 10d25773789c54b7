"""Speed, measured by the bench: over 1,000 settlements a second in batches, a single one in under 50 ms.

Absolute figures depend on the machine and on its load, so this is not part of `make test`. Run it alone, on an
idle machine: `make soak ARGS="-k speed -s"`. What should hold on every machine is in `tests/performance`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

SECONDS = 20
PER_SECOND_MIN = 1_000
ALONE_MS_MAX = 50.0
SOAK_SECONDS = 120
WAL_BYTES_MAX = 6 * 1024
COMMITS_MAX = 0.1
COST_GROWTH_MAX = 1.3


def bench(place: Path, *arguments: str) -> dict[str, Any]:
    """Run the bench and return its report."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "settlement_engine",
            "bench",
            "--json",
            *arguments,
            "--data-dir",
            str(place),
        ],
        capture_output=True,
        timeout=1_800,
        check=False,
        text=True,
    )
    assert done.returncode in (0, 1), done.stdout[-3000:] + done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the rows of the report by scenario and account spread."""
    names = ["alone", "unary-64", "batch", "stream"]
    chosen = [word for name in names for word in ("--scenario", name)]
    spreads = ["--accounts", "many", "--accounts", "hot"]
    found = bench(tmp_path_factory.mktemp("bench"), *chosen, *spreads, "--seconds", str(SECONDS))
    for row in found["rows"]:
        print(
            f"\n{row['name']}/{row['spread']}: completed {row['completed_per_second']:,.0f}/s,"
            f" announced {row['announced_per_second']:,.0f}/s, {row['ratio']:.2f} of the limit,"
            f" p50 {row['latency_ms'].get('p50', 0):.1f} ms",
            end="",
        )
    return {(row["name"], row["spread"]): row for row in found["rows"]}


def test_batches_are_completed_and_announced_beyond_a_thousand_a_second(rows):
    for spread in ("many", "hot"):
        row = rows["batch", spread]
        assert row["completed_per_second"] > PER_SECOND_MIN
        assert row["announced_per_second"] > PER_SECOND_MIN
        assert row["wal_bytes"] <= WAL_BYTES_MAX
        assert row["commits"] <= COMMITS_MAX


def test_a_single_settlement_is_fast(rows):
    assert rows["alone", "many"]["latency_ms"]["p50"] < ALONE_MS_MAX


def test_no_scenario_reports_a_failure(rows):
    assert {key: row["faults"] for key, row in rows.items() if row["faults"]} == {}


@pytest.mark.parametrize("name", ["overload-2x", "overload-10x", "slow-rail", "recovery"])
def test_the_stress_trials_meet_their_targets(name, tmp_path):
    found = bench(tmp_path, "--scenario", name, "--seconds", str(SECONDS))
    [trial] = found["trials"]
    print(f"\n{name}: {trial['lines']}", end="")
    assert trial["is_good"], trial["lines"]


@pytest.mark.parametrize("name", ["books", "books-long"])
def test_every_planted_difference_among_many_entries_is_named(name, tmp_path):
    """Ten thousand, a hundred thousand and a million entries: for nearly the same cost each, in bounded memory."""
    found = bench(tmp_path, "--scenario", name)
    print("".join(f"\n{trial['lines']}" for trial in found["trials"]), end="")
    assert all(trial["is_good"] for trial in found["trials"])
    costs = [
        each["figures"]["engine_us"] + each["figures"]["postgres_us"] for each in found["trials"]
    ]
    assert costs[-1] <= COST_GROWTH_MAX * costs[0]


def test_only_the_history_grows(tmp_path):
    found = bench(tmp_path, "--scenario", "soak", "--seconds", str(SOAK_SECONDS))
    [trial] = found["trials"]
    print(f"\nsoak: {trial['lines'][-1]}", end="")
    assert trial["is_good"], trial["lines"]
