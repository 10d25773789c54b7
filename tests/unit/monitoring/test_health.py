"""Health: the latest results of checks, and the routes that report them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from settlement_engine.monitoring.health import HealthBoard
from settlement_engine.monitoring.metrics import Metrics
from settlement_engine.monitoring.routes import health_routes, metrics_routes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SECRET = "hunter2"


class HandMonotonic:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


async def fine() -> str:
    return "connected"


async def hangs() -> str:
    await asyncio.Event().wait()
    return "never"


async def fails() -> str:
    message = f"no way to postgres://engine:{SECRET}@host/db"
    raise ConnectionError(message)


@pytest.fixture
def now() -> HandMonotonic:
    return HandMonotonic()


@pytest.fixture
def board(now: HandMonotonic) -> HealthBoard:
    return HealthBoard(
        {"database": fine}, timeout_seconds=0.05, stale_after_seconds=30.0, monotonic=now
    )


async def test_nothing_is_ready_before_it_was_checked(board: HealthBoard) -> None:
    assert not board.is_ready
    assert board.snapshot() == {
        "ready": False,
        "draining": False,
        "checks": {
            "database": {"ok": False, "text": "not checked yet", "age_seconds": None},
        },
    }
    await board.refresh()
    assert board.is_ready


async def test_a_result_is_reported_with_its_age(board: HealthBoard, now: HandMonotonic) -> None:
    await board.refresh()
    now.seconds += 12.5
    assert board.snapshot()["checks"] == {
        "database": {"ok": True, "text": "connected", "age_seconds": 12.5}
    }


async def test_a_check_without_recent_results_fails(board: HealthBoard, now: HandMonotonic) -> None:
    await board.refresh()
    now.seconds += 30.5
    assert not board.is_ready
    await board.refresh()
    assert board.is_ready


@pytest.mark.parametrize(
    ("check", "text"), [(hangs, "no answer within 0.05 s"), (fails, "ConnectionError: no way to")]
)
async def test_one_bad_check_is_enough_and_stops_no_other(
    board: HealthBoard, check: object, text: str
) -> None:
    board.add("bad", check)  # type: ignore[arg-type]
    await board.refresh()
    assert not board.is_ready
    checks = board.snapshot()["checks"]
    assert checks["database"]["ok"] is True  # type: ignore[index]
    assert text in checks["bad"]["text"]  # type: ignore[index]
    assert SECRET not in str(checks)


async def test_a_check_that_recovers_is_ready_again(board: HealthBoard) -> None:
    is_up = False

    async def moody() -> str:
        if not is_up:
            message = "down"
            raise OSError(message)
        return "up"

    board.add("moody", moody)
    await board.refresh()
    assert not board.is_ready
    is_up = True
    await board.refresh()
    assert board.is_ready


async def test_a_draining_process_is_not_ready(board: HealthBoard) -> None:
    await board.refresh()
    board.drain()
    assert not board.is_ready
    assert board.snapshot()["draining"] is True


async def test_checks_go_on_by_themselves(board: HealthBoard) -> None:
    made = asyncio.Event()
    times = 0

    async def counted() -> str:
        nonlocal times
        times += 1
        if times == 3:
            made.set()
        return str(times)

    board.add("counted", counted)
    running = asyncio.ensure_future(board.run(0.001))
    async with asyncio.timeout(5):
        await made.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


@pytest.fixture
async def client(board: HealthBoard) -> AsyncIterator[TestClient[web.Request, web.Application]]:
    app = web.Application()
    app.add_routes(health_routes(board, {"name": "settlement-engine", "version": "1.2.3"}))
    app.add_routes(metrics_routes(Metrics("1.2.3")))
    async with TestClient(TestServer(app)) as made:
        yield made


async def test_the_process_is_alive_whatever_its_checks_say(
    client: TestClient[web.Request, web.Application], board: HealthBoard
) -> None:
    board.add("bad", hangs)
    for path in ("/healthz", "/livez"):
        async with client.get(path) as response:
            assert response.status == 200
            assert await response.text() == "ok\n"


async def test_readiness_is_json_and_a_status(
    client: TestClient[web.Request, web.Application], board: HealthBoard
) -> None:
    async with client.get("/readyz") as response:
        assert response.status == 503
    await board.refresh()
    async with client.get("/readyz") as response:
        assert response.status == 200
        assert (await response.json())["checks"]["database"]["text"] == "connected"
    board.drain()
    async with client.get("/readyz") as response:
        assert response.status == 503
        assert (await response.json())["draining"] is True


async def test_the_version_route_returns_the_version(
    client: TestClient[web.Request, web.Application],
) -> None:
    async with client.get("/version") as response:
        assert await response.json() == {"name": "settlement-engine", "version": "1.2.3"}


async def test_concurrent_requests_share_one_rendering_of_metrics(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written = 0
    metrics = Metrics("1.2.3")
    write = metrics.text

    def counting() -> bytes:
        nonlocal written
        written += 1
        return write()

    monkeypatch.setattr(metrics, "text", counting)
    app = web.Application()
    app.add_routes(metrics_routes(metrics))
    async with TestClient(TestServer(app)) as client:

        async def get() -> str:
            async with client.get("/metrics") as response:
                assert response.status == 200
                assert response.headers["Content-Type"].startswith("text/plain; version=")
                return await response.text()

        texts = await asyncio.gather(*(get() for _ in range(10)))
    assert all('build_info{version="1.2.3"} 1.0' in text for text in texts)
    assert written == 1


async def test_a_check_without_a_query_is_always_current(
    board: HealthBoard,
) -> None:
    why = ["era 0 waits"]

    def opening() -> str:
        if why:
            raise RuntimeError(why[0])
        return "open"

    board.add_known("opening", opening)
    await board.refresh()
    assert not board.is_ready
    assert "era 0 waits" in str(board.snapshot()["checks"])
    why.clear()
    assert board.is_ready, "no check has to be made for it"
