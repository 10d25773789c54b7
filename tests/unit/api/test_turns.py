from __future__ import annotations

import asyncio
import itertools
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from settlement_engine.api import turns as module
from settlement_engine.api.turns import (
    BUSY_SECONDS,
    CALLS_IDLE_RATIO,
    PART_ITEMS,
    ROUNDS,
    SLICE_SECONDS,
    STREAMS_IDLE_RATIO,
    Turns,
    finish,
    in_parts,
)
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Generator

STEP_SECONDS = SLICE_SECONDS / 3
SLICE_STEPS_MAX = 4  # rounding may add one


class Ground:
    """A virtual clock that records which task ran; idle times are recorded and take no time."""

    def __init__(self) -> None:
        self.now = 0.0
        self.order: list[str] = []
        self.idles: list[float] = []

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        if seconds > 0:
            self.idles.append(seconds)
            self.now += seconds
        await asyncio.sleep(0)

    def work(self, name: str, count: int) -> Generator[None, None, str]:
        yield
        for _ in range(count):
            self.now += STEP_SECONDS
            self.order.append(name)
            yield
        return name

    async def others(self, seconds: float) -> None:
        """Run in each iteration of the event loop."""
        while True:
            self.order.append("others")
            self.now += seconds
            await asyncio.sleep(0)

    def slices(self, *names: str) -> list[tuple[str, int]]:
        """Return the lengths of uninterrupted runs, by task name."""
        runs = ((name, len(list(run))) for name, run in itertools.groupby(self.order))
        return [(name, count) for name, count in runs if name in names]


@pytest.fixture
def ground(monkeypatch) -> Ground:
    ground = Ground()
    monkeypatch.setattr(module, "time", ground)
    monkeypatch.setattr(module, "asyncio", SimpleNamespace(Lock=asyncio.Lock, sleep=ground.sleep))
    return ground


async def test_small_work_runs_at_once() -> None:
    def small() -> Generator[None, None, int]:
        return 7
        yield

    turns = Turns(CALLS_IDLE_RATIO)
    await turns._lane.acquire()
    assert await turns.run(small()) == 7


async def test_slices_alternate_between_waiting_tasks(ground: Ground) -> None:
    turns, names = Turns(CALLS_IDLE_RATIO), ["a", "b", "c"]
    got = await asyncio.gather(*(turns.run(ground.work(name, 20)) for name in names))
    assert got == names
    slices = ground.slices(*names)
    assert [name for name, _ in slices[:12]] == names * 4
    assert max(count for _, count in slices[:12]) <= SLICE_STEPS_MAX


@pytest.mark.parametrize("idle_ratio", [CALLS_IDLE_RATIO, STREAMS_IDLE_RATIO])
async def test_the_lane_idles_while_other_tasks_are_busy(ground: Ground, idle_ratio: float) -> None:
    turns = Turns(idle_ratio)
    busy = asyncio.create_task(ground.others(BUSY_SECONDS))
    await turns.run(ground.work("a", 30))
    busy.cancel()
    slices = ground.slices("a")
    assert len(slices) >= 30 / SLICE_STEPS_MAX
    assert len(ground.idles) >= len(slices) - 1, "after each slice but the last"
    for seconds in ground.idles:
        passed = (ROUNDS + 1) * BUSY_SECONDS
        assert seconds >= SLICE_SECONDS * idle_ratio - passed


async def test_without_other_work_the_lane_yields_but_does_not_idle(
    ground: Ground,
) -> None:
    idle = asyncio.create_task(ground.others(0.0))
    await Turns(STREAMS_IDLE_RATIO).run(ground.work("a", 30))
    idle.cancel()
    assert not ground.idles
    assert max(count for _, count in ground.slices("a")) <= SLICE_STEPS_MAX


async def test_failing_work_releases_the_lane(ground: Ground) -> None:
    def failing() -> Generator[None, None, int]:
        yield
        raise ValueError("wrong")

    turns = Turns(CALLS_IDLE_RATIO)
    with pytest.raises(ValueError, match="wrong"):
        await turns.run(failing())
    assert await turns.run(ground.work("a", 1)) == "a"


async def test_cancelled_work_releases_the_lane(ground: Ground) -> None:
    turns = Turns(CALLS_IDLE_RATIO)
    going = asyncio.create_task(turns.run(ground.work("a", 1_000_000)))
    staying = asyncio.create_task(turns.run(ground.work("b", 30)))
    await until(lambda: "b" in ground.order, "both have had a turn")
    going.cancel()
    with pytest.raises(asyncio.CancelledError):
        await going
    assert await staying == "b"


async def test_converting_a_long_list_page_yields_to_other_tasks(ground: Ground) -> None:
    others = asyncio.create_task(ground.others(0.0))
    items = list(range(5 * PART_ITEMS))

    def write(item: int) -> int:
        ground.order.append("page")
        return -item

    assert await in_parts(items, write) == [-item for item in items]
    others.cancel()
    assert max(count for _, count in ground.slices("page")) == PART_ITEMS


def test_finish_runs_all_steps_at_once() -> None:
    assert finish(Ground().work("a", 2)) == "a"
