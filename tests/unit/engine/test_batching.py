"""Batches, on a loop without time: who is alone goes at once, a crowd shares, nobody waits without a bound."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import pytest

from settlement_engine.engine.batching import LINGERS_MAX, Batcher
from settlement_lab.worlds.loop import VirtualLoop, run

if TYPE_CHECKING:
    from collections.abc import Sequence

GAP = 0.002
"""A gap, in seconds."""


def written(
    arrivals: Sequence[float], *, in_flight: int, gap: float = GAP
) -> list[tuple[float, int]]:
    """Let items come at these times; return when each batch went and how many were in it."""
    found: list[tuple[float, int]] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()

        async def write(batch: list[int]) -> None:
            found.append((round(loop.time(), 4), len(batch)))

        batcher = Batcher(
            write, batch_max=500, batch_linger_seconds=gap, in_flight=lambda: in_flight
        )
        running = loop.create_task(batcher.run())
        for number, at in enumerate(arrivals):
            await asyncio.sleep(max(at - loop.time(), 0))
            batcher.offer([number])
        await asyncio.sleep(1)
        assert batcher.is_idle
        running.cancel()

    run(VirtualLoop(random.Random(1)), main(), [])
    return found


def test_who_is_alone_goes_at_once() -> None:
    assert written([0.5], in_flight=1) == [(0.5, 1)]


def test_a_few_do_not_wait_for_the_others() -> None:
    assert written([0.5, 0.6], in_flight=3) == [(0.5, 1), (0.6, 1)]


def test_a_crowd_that_keeps_coming_shares_a_batch() -> None:
    arrivals = [0.5 + 0.001 * number for number in range(8)]
    assert written(arrivals, in_flight=64) == [(0.51, 8)]


def test_a_crowd_of_which_nobody_comes_is_waited_for_one_gap() -> None:
    assert written([0.5], in_flight=10_000) == [(0.5 + GAP, 1)]


def test_when_its_share_of_the_crowd_is_there_it_goes() -> None:
    arrivals = [0.5 + 0.0001 * number for number in range(16)]
    [(at, count), *_] = written(arrivals, in_flight=16)
    assert count >= 8
    assert at <= 0.5 + 2 * GAP


def test_nobody_waits_longer_than_the_bound_however_many_come() -> None:
    arrivals = [0.5 + 0.001 * number for number in range(100)]
    batches = written(arrivals, in_flight=10_000)
    assert batches[0][0] == round(0.5 + LINGERS_MAX * GAP, 4)
    assert sum(count for _, count in batches) == len(arrivals)
    assert len(batches) < len(arrivals) / 10


def test_without_a_gap_nobody_waits() -> None:
    assert written([0.5, 0.501], in_flight=64, gap=0.0) == [
        (0.5, 1),
        (0.501, 1),
    ]


def test_what_is_given_up_while_it_waits_is_not_written() -> None:
    found: list[list[int]] = []

    async def main() -> None:
        async def write(batch: list[int]) -> None:
            found.append(batch)

        batcher = Batcher(write, batch_max=500, batch_linger_seconds=GAP, in_flight=lambda: 64)
        running = asyncio.get_running_loop().create_task(batcher.run())
        batcher.offer([1])
        await asyncio.sleep(GAP / 2)
        assert batcher.drain() == [1]
        await asyncio.sleep(1)
        assert batcher.is_idle
        running.cancel()

    run(VirtualLoop(random.Random(1)), main(), [])
    assert found == []


SLOW = 0.01
"""What a write takes, in seconds."""


def begun(arrivals: Sequence[tuple[float, int]], *, workers: int) -> list[tuple[float, int]]:
    """Let so many items come at each of these times to slow writers; return when each batch was begun."""
    found: list[tuple[float, int]] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()

        async def write(batch: list[int]) -> None:
            found.append((round(loop.time(), 4), len(batch)))
            await asyncio.sleep(SLOW)

        batcher = Batcher(write, batch_max=5, workers=workers)
        running = loop.create_task(batcher.run())
        for at, count in arrivals:
            await asyncio.sleep(at - loop.time())
            batcher.offer(range(count))
        await asyncio.sleep(1)
        assert batcher.is_idle
        running.cancel()

    run(VirtualLoop(random.Random(1)), main(), [])
    return found


def test_the_next_full_batch_is_begun_beside_the_one_that_is_written() -> None:
    assert begun([(0.5, 15)], workers=2) == [(0.5, 5), (0.5, 5), (0.51, 5)]
    assert begun([(0.5, 15)], workers=1) == [(0.5, 5), (0.51, 5), (0.52, 5)]


def test_a_batch_that_is_not_full_waits_for_the_one_that_is_written() -> None:
    assert begun([(0.5, 2), (0.501, 4)], workers=2) == [(0.5, 2), (0.51, 4)]


def test_what_fills_a_batch_while_another_is_written_sets_it_going() -> None:
    assert begun([(0.5, 2), (0.501, 4), (0.503, 1)], workers=2) == [(0.5, 2), (0.503, 5)]


def test_an_error_of_the_work_ends_all_hands() -> None:
    async def main() -> None:
        async def write(batch: list[int]) -> None:
            raise ZeroDivisionError(batch)

        batcher = Batcher(write, batch_max=5, workers=2)
        batcher.offer([1])
        with pytest.raises(ExceptionGroup):
            await batcher.run()

    run(VirtualLoop(random.Random(1)), main(), [])
