"""Ten thousand schedules on real PostgreSQL, two processes with a server each (10 minutes at most)."""

from __future__ import annotations

import os

import pytest

from settlement_lab.schedules.runs import run

pytestmark = pytest.mark.timeout(3_600)

SCHEDULES = int(os.environ.get("SETTLEMENT_SCHEDULES", "10000"))
JOBS = 2


def test_ten_thousand_schedules() -> None:
    report = run(range(SCHEDULES), jobs=JOBS)
    print(
        f"{report.schedules:,} schedules in {report.wall_seconds:.0f} s, {report.points:,} points,"
        f" {report.invariant_warnings['stale_step']:,} stale steps refused"
    )
    assert not report.broken, [(each.seed, each.violations) for each in report.broken[:5]]
    assert report.never_fired == []
