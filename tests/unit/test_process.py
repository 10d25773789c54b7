"""The order in which a process drains and ends."""

from __future__ import annotations

import asyncio
from typing import Any

from settlement_engine.api.call import Undisturbed
from settlement_engine.app.process import EngineProcess


class Recorder:
    """Records the calls that it receives; what it awaits is parked at once."""

    def __init__(self, name: str, told: list[str]) -> None:
        self._name = name
        self._told = told

    def __getattr__(self, what: str) -> Any:
        async def later(*_: object) -> bool:
            self._told.append(f"{self._name}.{what}")
            return True

        return later


class Board:
    """A health board that reports at once that the process drains."""

    def __init__(self, told: list[str]) -> None:
        self._told = told

    def drain(self) -> None:
        self._told.append("board.drain")


class Whole:
    """An application whose parts record their calls."""

    def __init__(self, told: list[str]) -> None:
        self._told = told
        for name in ("engine", "relay", "clearing"):
            setattr(self, name, Recorder(name, told))
        self.calls = self
        self.undisturbed = Recorder("undisturbed", told)

    async def close(self) -> None:
        self._told.append("close")


def process() -> tuple[EngineProcess, list[str]]:
    told: list[str] = []
    made = EngineProcess.__new__(EngineProcess)
    vars(made).update(
        _application=Whole(told),
        _board=Board(told),
        _grpc=Recorder("grpc", told),
        _http=Recorder("http", told),
        _tasks=[],
    )
    return made, told


async def test_draining_stops_intake_before_it_parks_open_settlements() -> None:
    draining, told = process()
    await draining.drain()
    assert told == [
        *("board.drain", "grpc.drain", "http.drain", "engine.drain"),
        *("grpc.stop", "clearing.stop", "relay.stop"),
    ]


async def test_at_the_end_the_engine_leaves_before_any_connection_is_closed() -> None:
    """Other engines wait for it to leave, and a caller that holds a connection must not delay that."""
    ending, told = process()
    await ending.end()
    assert told == ["engine.leave", "grpc.stop", "http.stop", "undisturbed.finished", "close"]


async def test_shutdown_does_not_wait_for_ever() -> None:
    undisturbed = Undisturbed()
    assert await undisturbed.finished()
    never = asyncio.create_task(undisturbed.run(asyncio.Event().wait()))
    await asyncio.sleep(0)
    assert not await undisturbed.finished(0.01)
    for task in (never, *undisturbed._tasks):
        task.cancel()
