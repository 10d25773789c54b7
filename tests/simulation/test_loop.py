"""The event loop with virtual time: deterministic, closed, and without clean-up for killed processes."""

from __future__ import annotations

import asyncio
import random

import pytest

from settlement_lab.worlds.loop import Endless, Escaped, Process, StuckLoop, VirtualLoop, run


def world(main, seed=1):
    """Run a coroutine function in a new world; it gets the loop and the list of processes."""
    loop, processes = VirtualLoop(random.Random(seed)), list[Process]()
    return run(loop, main(loop, processes), processes)


def test_virtual_hours_take_no_real_time():
    async def main(loop, _processes):
        await asyncio.sleep(7_200)
        return loop.time()

    assert world(main) == pytest.approx(7_200)


def test_the_seed_chooses_the_order():
    def order(seed):
        async def main(_loop, _processes):
            found = []

            async def note(number):
                await asyncio.sleep(0)
                found.append(number)

            await asyncio.gather(*(note(number) for number in range(8)))
            return tuple(found)

        return world(main, seed)

    assert order(1) == order(1)
    assert len({order(seed) for seed in range(10)}) > 5


def test_a_wait_that_cannot_end_is_detected():
    async def main(loop, _processes):
        await loop.create_future()

    with pytest.raises(StuckLoop):
        world(main)


def test_a_world_that_never_becomes_quiescent_is_detected():
    async def main(loop, _processes):
        loop._turns_max = 1_000
        for _ in range(2_000):
            await asyncio.sleep(1)

    with pytest.raises(Endless):
        world(main)


@pytest.mark.parametrize(
    "escape",
    [
        lambda loop: loop.run_in_executor(None, print),
        lambda loop: asyncio.to_thread(print),
        lambda loop: asyncio.open_connection("localhost", 1),
        lambda loop: loop.getaddrinfo("localhost", 1),
        lambda loop: asyncio.create_subprocess_exec("true"),
    ],
)
def test_threads_sockets_and_signals_are_refused(escape):
    async def main(loop, _processes):
        await escape(loop)

    with pytest.raises(Escaped):
        world(main)


def test_a_killed_process_does_not_even_clean_up():
    seen = []

    async def main(loop, processes):
        process = Process("engine")
        processes.append(process)

        async def work():
            try:
                while True:
                    await asyncio.sleep(1)
                    seen.append("worked")
            finally:
                seen.append("cleaned up")

        loop.create_task(work(), context=process.context)
        await asyncio.sleep(2.5)
        process.kill()
        await asyncio.sleep(100)
        assert seen == ["worked", "worked"]

    world(main)


def test_tasks_of_a_killed_process_are_killed_too():
    async def main(loop, processes):
        process = Process("engine")
        processes.append(process)
        seen = []

        async def child():
            await asyncio.sleep(5)
            seen.append("child")

        async def parent():
            async with asyncio.TaskGroup() as group:
                group.create_task(child())

        loop.create_task(parent(), context=process.context)
        await asyncio.sleep(1)
        process.kill()
        await asyncio.sleep(100)
        return seen

    assert world(main) == []


def test_a_frozen_process_continues_where_it_stopped():
    async def main(loop, processes):
        process = Process("engine")
        processes.append(process)
        seen = []

        async def work():
            for _ in range(3):
                await asyncio.sleep(1)
                seen.append(loop.time())

        loop.create_task(work(), context=process.context)
        await asyncio.sleep(1.5)
        process.freeze()
        await asyncio.sleep(50)
        assert seen == [pytest.approx(1.0)]
        loop.thaw(process)
        await asyncio.sleep(10)
        return seen

    assert world(main) == [pytest.approx(1.0), pytest.approx(51.5), pytest.approx(52.5)]


def test_a_killed_process_cannot_be_resumed():
    async def main(loop, processes):
        process = Process("engine")
        processes.append(process)
        seen = []

        async def work():
            await asyncio.sleep(1)
            seen.append("alive")

        loop.create_task(work(), context=process.context)
        process.freeze()
        await asyncio.sleep(5)
        process.kill()
        loop.thaw(process)
        await asyncio.sleep(5)
        return seen

    assert world(main) == []


def test_failures_in_the_background_are_recorded():
    async def main(loop, _processes):
        loop.call_later(1, lambda: 1 / 0)
        await asyncio.sleep(2)
        return loop.failures

    [failure] = world(main)
    assert isinstance(failure, ZeroDivisionError)
