"""The loops of an engine run until it drains: one that ends before is a bug, and ends the engine."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

from settlement_engine.engine.external_timeout import is_cancelled

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine


class Draining(Protocol):
    """What says whether the engine is about to stop."""

    @property
    def is_draining(self) -> bool:
        """Whether nothing more is accepted."""
        ...


async def unending(work: Callable[[], Coroutine[Any, Any, None]], engine: Draining) -> None:
    """Run a loop of the engine; one that ends by itself is a bug, and ends the engine.

    A task group does not report a member that was cancelled from inside, or that has returned.
    """
    try:
        await work()
    except asyncio.CancelledError:
        if is_cancelled():
            raise
    if not engine.is_draining:
        message = f"{work!r} has stopped unexpectedly"
        raise AssertionError(message)
