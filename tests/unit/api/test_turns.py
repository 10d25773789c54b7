from __future__ import annotations

import asyncio
import itertools
import time
from typing import TYPE_CHECKING

import pytest

from settlement_engine.api.turns import CALLS_REST, SLICE_SECONDS, STREAMS_REST, Turns, finish

if TYPE_CHECKING:
    from collections.abc import Generator

STEP_SECONDS = 0.001
SLICE_STEPS_MAX = int(SLICE_SECONDS / STEP_SECONDS) + 1


class Work:
    """Work that takes its time, and notes when who did it."""

    def __init__(self) -> None:
        self.done: list[tuple[str, float, float]] = []

    def steps(self, name: str, count: int) -> Generator[None, None, str]:
        yield
        for _ in range(count):
            began = time.monotonic()
            time.sleep(STEP_SECONDS)
            self.done.append((name, began, time.monotonic()))
            yield
        return name

    def slices(self) -> list[tuple[str, float, float]]:
        """Put the steps together that one worker did before another came."""
        found: list[tuple[str, float, float]] = []
        for name, began, ended in self.done:
            if found and found[-1][0] == name:
                found[-1] = (name, found[-1][1], ended)
            else:
                found.append((name, began, ended))
        return found


async def test_what_is_small_is_done_at_once() -> None:
    def small() -> Generator[None, None, int]:
        return 7
        yield

    turns = Turns(CALLS_REST)
    await turns._lane.acquire()
    assert await turns.run(small()) == 7


@pytest.mark.parametrize("rest", [CALLS_REST, STREAMS_REST])
async def test_large_work_takes_turns_and_leaves_the_loop_to_others(rest: float) -> None:
    turns, work = Turns(rest), Work()
    others = 0

    async def other() -> None:
        nonlocal others
        while len(work.done) < 60:
            others += 1
            await asyncio.sleep(0)

    names = ["a", "b", "c"]
    watching = asyncio.gather(other())
    got = await asyncio.gather(*(turns.run(work.steps(name, 20)) for name in names))
    await watching
    assert got == names
    slices = work.slices()
    order = [name for name, _, _ in slices]
    assert order[:6] == [*names, *names], "each has a turn before anybody has a second one"
    for (_, began, ended), (_, following, _) in itertools.pairwise(slices):
        assert following - ended >= (ended - began) * rest * 0.5
    assert others > len(slices)


async def test_a_slice_has_an_end() -> None:
    turns, work = Turns(CALLS_REST), Work()
    await asyncio.gather(turns.run(work.steps("a", 12)), turns.run(work.steps("b", 12)))
    run = 0
    last = ""
    for name, _, _ in work.done[:12]:
        run = run + 1 if name == last else 1
        last = name
        assert run <= SLICE_STEPS_MAX


async def test_work_that_fails_gives_its_turn_back() -> None:
    def failing() -> Generator[None, None, int]:
        yield
        raise ValueError("wrong")

    turns, work = Turns(CALLS_REST), Work()
    with pytest.raises(ValueError, match="wrong"):
        await turns.run(failing())
    assert await turns.run(work.steps("a", 1)) == "a"


async def test_whoever_goes_away_gives_his_turn_back() -> None:
    turns, work = Turns(CALLS_REST), Work()
    going = asyncio.create_task(turns.run(work.steps("a", 10_000)))
    staying = asyncio.create_task(turns.run(work.steps("b", 3)))
    await asyncio.sleep(0.01)
    going.cancel()
    with pytest.raises(asyncio.CancelledError):
        await going
    assert await staying == "b"


def test_where_nobody_waits_it_is_done_in_one_go() -> None:
    assert finish(Work().steps("a", 2)) == "a"
