"""A loop of the engine that ends by itself ends the engine; one that is cancelled, or drained, does not."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from settlement_engine.engine.unending import unending


async def ends() -> None:
    await asyncio.sleep(0)


async def cancelled_inside() -> None:
    raise asyncio.CancelledError


@pytest.mark.parametrize("work", [ends, cancelled_inside])
async def test_a_loop_that_ends_by_itself_is_a_bug_until_the_engine_drains(work) -> None:
    with pytest.raises(AssertionError, match="has stopped unexpectedly"):
        await unending(work, SimpleNamespace(is_draining=False))
    await unending(work, SimpleNamespace(is_draining=True))


async def test_a_loop_that_is_cancelled_from_outside_is_cancelled() -> None:
    async def waits() -> None:
        await asyncio.Event().wait()

    task = asyncio.ensure_future(unending(waits, SimpleNamespace(is_draining=False)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_the_error_of_a_loop_is_passed_on() -> None:
    async def fails() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await unending(fails, SimpleNamespace(is_draining=True))
