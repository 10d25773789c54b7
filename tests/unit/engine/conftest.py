"""The engine's own tests run on a clock of their own: none of them is about the machine's."""

from __future__ import annotations

from tests.support.jumpingloop import JumpingLoop


def pytest_asyncio_loop_factories(config, item):
    return {"jumping": JumpingLoop}
