"""Time-outs of external calls: our own, and cancellations of others or of ourselves."""

from __future__ import annotations

import asyncio

import pytest

from settlement_engine.engine.external_timeout import external_timeout, is_cancelled

NEVER_SECONDS = 1_000.0


async def wait(seconds: float) -> None:
    async with external_timeout(seconds):
        await asyncio.get_running_loop().create_future()


async def test_a_call_without_an_answer_in_time_is_a_time_out() -> None:
    with pytest.raises(TimeoutError):
        await wait(0.5)


async def cancelled_elsewhere() -> None:
    async with external_timeout(NEVER_SECONDS):
        raise asyncio.CancelledError


async def test_a_foreign_cancellation_is_a_time_out() -> None:
    with pytest.raises(TimeoutError, match="cancelled the answer"):
        await cancelled_elsewhere()
    assert not is_cancelled()


async def test_our_own_cancellation_goes_through() -> None:
    task = asyncio.get_running_loop().create_task(wait(NEVER_SECONDS))
    await asyncio.wait([task], timeout=0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
