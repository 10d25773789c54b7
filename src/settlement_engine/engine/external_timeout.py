"""The time-out for calls outside: to rails, banks' lists and screening.

Promises: a call that does not answer in time, or that was cancelled on its own side (a pool that closes its
connections cancels its waiters), raises TimeoutError. Must never: let a cancellation from outside end one of our
loops unnoticed; only a cancellation of our own task is propagated.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


def is_cancelled() -> bool:
    """Say whether the current task itself is being cancelled."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


@asynccontextmanager
async def external_timeout(seconds: float) -> AsyncIterator[None]:
    """Await a call outside, at most that long. Raises TimeoutError."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except asyncio.CancelledError as error:
        if is_cancelled():
            raise
        message = "whoever was asked has cancelled the answer"
        raise TimeoutError(message) from error
