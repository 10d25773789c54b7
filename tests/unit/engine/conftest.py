"""The engine's tests run on a virtual clock, independent of the machine's."""

from __future__ import annotations

from tests.support.jumpingloop import JumpingLoop


def pytest_asyncio_loop_factories(config, item):
    return {"jumping": JumpingLoop}
