"""What the driver raises, and what becomes of it."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from settlement_engine.errors import Unavailable
from settlement_engine.store.failures import translated


async def rolled_back(begun: asyncio.Event) -> None:
    """Wait in a transaction whose rollback fails: its connection is gone."""
    with translated():
        try:
            begun.set()
            await asyncio.Event().wait()
        finally:
            raise asyncpg.InterfaceError("the connection is closed")


async def test_a_cancelled_task_ends_although_its_rollback_fails():
    begun = asyncio.Event()
    task = asyncio.create_task(rolled_back(begun))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_error_that_was_not_cancelled_is_translated():
    with pytest.raises(Unavailable), translated():
        raise asyncpg.InterfaceError("the connection is closed")
