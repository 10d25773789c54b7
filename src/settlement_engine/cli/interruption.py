"""SIGTERM and Ctrl-C: both ask the command to clean up and end."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def termination_interrupts() -> Iterator[None]:
    """Let SIGTERM raise KeyboardInterrupt, as Ctrl-C does."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def collect_stop_signals() -> list[int]:
    """From now on only record both signals in the returned list; nothing is interrupted."""
    received: list[int] = []
    for number in SIGNALS:
        signal.signal(number, lambda found, _frame: received.append(found))
    return received
