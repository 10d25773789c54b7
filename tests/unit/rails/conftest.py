"""Tests of what only waits, and asks no thread, run on a virtual clock, independent of the machine's."""

from __future__ import annotations

import asyncio

from tests.support.jumpingloop import JumpingLoop

ON_A_VIRTUAL_CLOCK = frozenset({"test_ach_open_file.py"})


def pytest_asyncio_loop_factories(config, item):
    if item.path.name in ON_A_VIRTUAL_CLOCK:
        return {"jumping": JumpingLoop}
    return {"ordinary": asyncio.new_event_loop}
