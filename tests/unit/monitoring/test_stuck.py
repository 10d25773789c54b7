from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.domain.stuck import Stuck, StuckLimits, StuckReason, StuckReport
from settlement_engine.errors import Unavailable
from settlement_engine.monitoring.metrics import Metrics
from settlement_engine.monitoring.stuck import NAMED_MAX, NOTHING, StuckWatch
from tests.support.histories import Scene
from tests.support.stores import MemoryStores

BEGAN = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)


class Finder:
    """A finder that returns the report it was given."""

    def __init__(self):
        self.found = []
        self.counts = None
        self.trouble = None
        self.limits = []

    def plant(self, *numbers, reason=StuckReason.PAST_LIMIT):
        self.found = [
            Stuck(
                settlement_id=UUID(int=number),
                obligation_id=f"OBL-{number}",
                state=State.SENT,
                reason=reason,
                since=BEGAN + timedelta(seconds=number),
            )
            for number in numbers
        ]

    async def stuck(self, limits, limit):
        if self.trouble is not None:
            raise self.trouble
        self.limits.append((limits, limit))
        counts: dict[StuckReason, int] = {}
        for each in self.found:
            counts[each.reason] = counts.get(each.reason, 0) + 1
        return StuckReport(at=BEGAN, counts=counts, found=self.found[:limit])


@pytest.fixture
def finder():
    return Finder()


@pytest.fixture
def metrics():
    return Metrics("0")


def shown(metrics):
    return {
        line.split('"')[1]: float(line.rpartition(" ")[2])
        for line in metrics.text().decode().splitlines()
        if line.startswith("settlement_stuck{")
    }


async def test_stuck_settlements_are_counted_listed_and_logged_once(finder, metrics, capsys):
    watch = StuckWatch(finder, StuckLimits(), metrics.show_stuck)
    reasons = ("no_next_action", "unattended", "past_limit", "not_filed")
    assert shown(metrics) == dict.fromkeys(reasons, 0)
    await watch.refresh()
    assert watch.text == NOTHING
    assert "stuck" not in capsys.readouterr().out
    finder.plant(1, 2)
    await watch.refresh()
    await watch.refresh()
    told = capsys.readouterr().out
    assert told.count("settlements_stuck") == 1
    assert str(UUID(int=1)) in told
    assert shown(metrics)["past_limit"] == 2
    assert watch.text == (f"2 settlements are stuck (2 past_limit): {UUID(int=1)}, {UUID(int=2)}")
    finder.plant(2, 3)
    await watch.refresh()
    assert capsys.readouterr().out.count("settlements_stuck") == 1
    finder.plant()
    await watch.refresh()
    assert "settlements_no_longer_stuck" in capsys.readouterr().out
    assert watch.text == NOTHING
    assert set(shown(metrics).values()) == {0}


async def test_the_number_of_logged_ids_is_limited(finder, metrics):
    watch = StuckWatch(finder, StuckLimits(), metrics.show_stuck)
    finder.plant(*range(1, 1000))
    await watch.refresh()
    assert watch.text.startswith("999 settlements are stuck")
    assert watch.text.count(", ") == NAMED_MAX - 1
    assert finder.limits == [(StuckLimits(), NAMED_MAX)]


async def test_the_latest_finding_stays_while_the_store_is_away(finder, metrics):
    watch = StuckWatch(finder, StuckLimits(), metrics.show_stuck)
    finder.plant(1)
    await watch.refresh()
    finder.trouble = Unavailable("PostgreSQL cannot be reached")
    with pytest.raises(Unavailable):
        await watch.refresh()
    assert watch.text.startswith("1 settlements are stuck")
    assert shown(metrics)["past_limit"] == 1


async def test_a_stuck_settlement_raises_the_alert(metrics):
    stores = MemoryStores()
    scene = await Scene.open(stores)
    planted = await scene.move(
        await scene.bring(State.LOCKED), Event.NO_ANSWER, due_seconds=math.inf
    )
    watch = StuckWatch(stores.finder, StuckLimits(), metrics.show_stuck)
    await watch.refresh()
    assert shown(metrics)["no_next_action"] == 1
    assert str(planted.id) in watch.text
