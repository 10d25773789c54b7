"""Batches on a virtual clock: flush when idle, linger under load, and never wait without a bound."""

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
"""The batch linger, in seconds."""


def written(
    arrivals: Sequence[float], *, in_flight: int, gap: float = GAP
) -> list[tuple[float, int]]:
    """Add items at these times; return when each batch was written and how many items it had."""
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


def test_a_single_item_is_written_at_once() -> None:
    assert written([0.5], in_flight=1) == [(0.5, 1)]


def test_few_items_in_flight_do_not_linger() -> None:
    assert written([0.5, 0.6], in_flight=3) == [(0.5, 1), (0.6, 1)]


def test_items_that_keep_arriving_under_load_share_a_batch() -> None:
    arrivals = [0.5 + 0.001 * number for number in range(8)]
    assert written(arrivals, in_flight=64) == [(0.51, 8)]


def test_under_load_without_arrivals_a_batch_lingers_once() -> None:
    assert written([0.5], in_flight=10_000) == [(0.5 + GAP, 1)]


def test_a_batch_is_written_when_its_share_of_those_in_flight_has_arrived() -> None:
    arrivals = [0.5 + 0.0001 * number for number in range(16)]
    [(at, count), *_] = written(arrivals, in_flight=16)
    assert count >= 8
    assert at <= 0.5 + 2 * GAP


def test_no_item_waits_longer_than_the_bound_however_many_arrive() -> None:
    arrivals = [0.5 + 0.001 * number for number in range(100)]
    batches = written(arrivals, in_flight=10_000)
    assert batches[0][0] == round(0.5 + LINGERS_MAX * GAP, 4)
    assert sum(count for _, count in batches) == len(arrivals)
    assert len(batches) < len(arrivals) / 10


def test_without_linger_no_item_waits() -> None:
    assert written([0.5, 0.501], in_flight=64, gap=0.0) == [
        (0.5, 1),
        (0.501, 1),
    ]


def test_an_item_that_is_cancelled_while_it_waits_is_not_written() -> None:
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
"""How long a write takes, in seconds."""


def begun(arrivals: Sequence[tuple[float, int]], *, workers: int) -> list[tuple[float, int]]:
    """Add so many items at each of these times to slow writers; return when each batch was begun."""
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


def test_a_full_batch_starts_while_another_is_written() -> None:
    assert begun([(0.5, 15)], workers=2) == [(0.5, 5), (0.5, 5), (0.51, 5)]
    assert begun([(0.5, 15)], workers=1) == [(0.5, 5), (0.51, 5), (0.52, 5)]


def test_a_batch_that_is_not_full_waits_for_the_one_being_written() -> None:
    assert begun([(0.5, 2), (0.501, 4)], workers=2) == [(0.5, 2), (0.51, 4)]


def test_a_batch_that_becomes_full_while_another_is_written_starts() -> None:
    assert begun([(0.5, 2), (0.501, 4), (0.503, 1)], workers=2) == [(0.5, 2), (0.503, 5)]


def test_an_error_of_a_write_ends_all_workers() -> None:
    async def main() -> None:
        async def write(batch: list[int]) -> None:
            raise ZeroDivisionError(batch)

        batcher = Batcher(write, batch_max=5, workers=2)
        batcher.offer([1])
        with pytest.raises(ExceptionGroup):
            await batcher.run()

    run(VirtualLoop(random.Random(1)), main(), [])
