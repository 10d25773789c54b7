"""Patience with the world outside: with rails, banks' lists and screening.

Promises: what does not answer in time, or was cancelled on its own side (a pool that closes its connections
cancels whoever waits on them), is a TimeoutError here. Only a cancellation of our own task goes through, so
that a stranger's never ends one of our loops in silence.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


def is_cancelled() -> bool:
    """Say whether it is the task that runs here which somebody wants to end."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


@asynccontextmanager
async def external_timeout(seconds: float) -> AsyncIterator[None]:
    """Wait for somebody outside; raises TimeoutError."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except asyncio.CancelledError as error:
        if is_cancelled():
            raise
        message = "whoever was asked has cancelled the answer"
        raise TimeoutError(message) from error
