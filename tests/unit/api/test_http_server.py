"""Callers that send slowly, nothing, or too much: each has a limit, and none delays the others."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import socket
import tracemalloc
from contextlib import asynccontextmanager
from dataclasses import replace

import aiohttp
import pytest

from settlement_engine.api.http_body import FREE_BYTES, BodyBudget
from settlement_engine.api.http_server import HttpServer, _caller
from settlement_engine.api.settings import HttpBounds
from settlement_engine.errors import Misconfigured
from tests.support.waiting import until
from tests.unit.api.test_gateway import GOOD

PATH = "/settlement.SettlementService/ExecuteSettlement"
BATCH = "/settlement.SettlementService/SubmitSettlements"
SHORT, LONG = 0.1, 60.0
CALM = HttpBounds(header_seconds=LONG, body_seconds=LONG, idle_seconds=LONG)


def head(length: int, path: str = PATH) -> bytes:
    lines = ["Host: localhost", "Content-Type: application/json", f"Content-Length: {length}"]
    return "\r\n".join([f"POST {path} HTTP/1.1", *lines, "", ""]).encode()


HALF = head(400) + b'{"obligationId":'


class Caller:
    """A connection on which single bytes can be sent."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def say(self, data: bytes) -> None:
        self.writer.write(data)

    async def received(self) -> bytes:
        """Return everything that is received until the server closes."""
        try:
            return await self.reader.read()
        except ConnectionError:
            return b""

    async def status(self) -> int:
        return int((await self.reader.readline()).split()[1])


@asynccontextmanager
async def calling(edge, *data: bytes):
    """Open connections, one for each piece of data, and send it."""
    made = []
    try:
        for each in data:
            made.append(Caller(*await asyncio.open_connection("127.0.0.1", edge.http_port)))
            made[-1].say(each)
        yield made
    finally:
        for caller in made:
            caller.writer.close()


def counted(edge) -> int:
    return int(edge.http_server._connections.count)


async def execute(edge, number: int = 1) -> int:
    status, *_ = await edge.post("ExecuteSettlement", GOOD | {"obligationId": f"OBL-{number}"})
    return int(status)


# --- time -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("said", [b"", b"POST /x HT", b"POST /x HTTP/1.1\r\nHost: localhost\r\n"])
async def test_a_connection_without_headers_times_out(make_edge, said: bytes) -> None:
    edge = await make_edge(http=replace(CALM, header_seconds=SHORT))
    async with calling(edge, said) as [caller]:
        assert await caller.received() == b""
    assert await execute(edge) == 200


async def test_idle_and_half_sent_headers_have_their_own_timeouts(make_edge):
    for bounds in (
        replace(CALM, idle_seconds=SHORT),
        replace(CALM, header_seconds=SHORT),
    ):
        edge = await make_edge(http=bounds)
        async with calling(edge, b"GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n") as [caller]:
            assert await caller.status() == 404
            if bounds.header_seconds == SHORT:
                caller.say(b"GET")
            await caller.received()
        await until(lambda edge=edge: counted(edge) == 0, "the connection is gone")


async def test_a_body_that_does_not_arrive_times_out(make_edge) -> None:
    edge = await make_edge(http=replace(CALM, body_seconds=SHORT))
    async with calling(edge, HALF) as [caller]:
        assert await caller.status() == 408
        shown = await caller.reader.readuntil(b"violations")
        assert b"BODY_TOO_SLOW" in shown
    assert not edge.world.settlements


@pytest.mark.parametrize("is_reset", [True, False])
async def test_a_caller_that_disconnects_amid_a_body_is_not_logged_as_an_error(
    make_edge, caplog, capsys, is_reset: bool
) -> None:
    edge = await make_edge(http=CALM)
    async with calling(edge, HALF) as [caller]:
        await until(lambda: counted(edge) == 1, "it has been accepted")
        if is_reset:
            caller.writer.transport.abort()
        else:
            caller.writer.close()
        await until(lambda: counted(edge) == 0, "it is gone")
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert "rror" not in "".join(capsys.readouterr())
    assert await execute(edge) == 200


@pytest.mark.parametrize(
    "sent", [b"[" + b"7" * 500_000, b'{"settlements":"' + b"a" * 500_000 + b'"}']
)
@pytest.mark.parametrize("is_whole", [False, True])
async def test_a_refused_bodys_memory_is_freed_at_once(
    make_edge, sent: bytes, is_whole: bool
) -> None:
    """The garbage collector does not count bytes: a thousand bodies in cycles held a gigabyte for minutes."""
    edge = await make_edge(http=CALM)
    gc.disable()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(8):
            async with calling(edge, head(len(sent) + (not is_whole), BATCH) + sent) as [caller]:
                await caller.writer.drain()
                caller.writer.write_eof()
                await caller.received()
            await until(lambda: counted(edge) == 0, "it is gone")
        assert tracemalloc.get_traced_memory()[0] - before < len(sent)
    finally:
        tracemalloc.stop()
        gc.enable()


@pytest.mark.parametrize(
    "said",
    [
        b"POST /x HTTP/1.1\r\n\r\n",
        b"POST /x HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 20_000 + b"\r\n\r\n",
        head(5)[:-2] + b"Transfer-Encoding: chunked\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
async def test_invalid_http_is_answered_as_json_and_not_logged_as_an_error(
    make_edge, caplog, capsys, said: bytes
) -> None:
    """Otherwise anybody who reaches the port could fill the log with tracebacks."""
    edge = await make_edge(http=CALM)
    async with calling(edge, said) as [caller]:
        heads, _, body = (await caller.received()).partition(b"\r\n\r\n")
    assert int(heads.split()[1]) == 400
    shown = json.loads(body)
    assert shown["reason"] == "NOT_HTTP"
    assert "\n" not in shown["message"]
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert "Traceback" not in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    "said",
    [
        head(5)[:-2] + b"Content-Encoding: gzip\r\n\r\n12345",
        head(5)[:-2] + b"Content-Encoding: deflate\r\n\r\n12345",
        head(5).replace(b"Content-Length: 5", b"Transfer-Encoding: chunked")
        + b"5\r\n12345\r\nZZ\r\n",
    ],
)
async def test_a_body_that_contradicts_its_headers_is_not_logged_as_an_error(
    make_edge, caplog, capsys, said: bytes
) -> None:
    edge = await make_edge(http=CALM)
    async with calling(edge, said) as [caller]:
        assert await caller.status() == 400
        assert b"INVALID_ARGUMENT" in await caller.received()
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert "Traceback" not in "".join(capsys.readouterr())


# --- counts ---------------------------------------------------------------------------------------


async def test_incomplete_bodies_do_not_count_as_calls(make_edge) -> None:
    """One call may be in progress; four with incomplete bodies do not count."""
    edge = await make_edge(http=CALM, calls_max=1)
    async with calling(edge, *[HALF] * 4):
        await until(lambda: counted(edge) == 4, "all have been accepted")
        assert await execute(edge) == 200


async def test_idle_connections_do_not_lock_out_other_callers(make_edge, caplog, capsys) -> None:
    """The longest idle connection is closed for a new one, at the total limit and at that of one address."""
    for bounds in (
        replace(CALM, connections_max=5),
        replace(CALM, connections_per_address_max=5),
    ):
        edge = await make_edge(http=bounds)
        async with calling(edge, b"", b"GET", *[HALF] * 30) as callers:
            for number in range(3):
                assert await execute(edge, number) == 200
            assert counted(edge) <= 5
            gone = [caller.received() for caller in callers[:27]]
            assert set(await asyncio.gather(*gone)) == {b""}
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert "rror" not in "".join(capsys.readouterr())


async def test_a_request_in_progress_is_never_closed_for_a_new_connection(make_edge) -> None:
    edge = await make_edge(http=replace(CALM, connections_max=1))
    edge.world.holding = asyncio.Event()
    body = json.dumps(GOOD).encode()
    async with calling(edge, head(len(body)) + body) as [served]:
        await until(lambda: edge.world.waiting == 1, "it is being served")
        async with calling(edge, HALF) as [refused]:
            assert await refused.received() == b""
        edge.world.holding.set()
        assert await served.status() == 200


# --- bytes ----------------------------------------------------------------------------------------


async def test_large_bodies_wait_for_memory_and_small_ones_do_not(make_edge) -> None:
    """The memory suffices for one large body; four incomplete ones do not delay a small one."""
    large = head(400_000, BATCH) + b" " * 4 * FREE_BYTES
    edge = await make_edge(http=replace(CALM, body_bytes_max=500_000))
    budget = edge.gateway._bodies._budget
    async with calling(edge, *[large] * 4):
        await until(lambda: len(budget._queue) == 3, "one is read, three wait")
        assert budget._left == 100_000
        assert await execute(edge) == 200
    await until(lambda: budget._left == 500_000, "all of it has been given back")


async def test_a_large_body_without_memory_is_told_to_retry(make_edge) -> None:
    large = head(400_000, BATCH) + b" " * 4 * FREE_BYTES
    bounds = replace(CALM, body_bytes_max=500_000)
    edge = await make_edge(http=bounds)
    async with calling(edge, large) as [first]:
        await until(lambda: edge.gateway._bodies._budget._left == 100_000, "it is being read")
        edge.gateway._bodies._bounds = replace(bounds, body_seconds=SHORT)
        async with calling(edge, large) as [second]:
            assert await second.status() == 429
        first.say(b" " * 400_000)
        assert await first.status() == 400


async def test_a_small_body_of_unknown_length_needs_no_reservation(make_edge) -> None:
    edge = await make_edge(http=replace(CALM, body_bytes_max=65_536))
    edge.gateway._bodies._budget._left = 0

    async def parts():
        yield b'{"obligationId":"OBL-1","fromBank":"DEUTDEFF",'
        yield b'"toBank":"CHASUS33","amount":"1.00","currency":"EUR"}'

    kind = {"Content-Type": "application/json"}
    async with edge.session.post(PATH, data=parts(), headers=kind) as got:
        assert got.status == 200


async def test_memory_is_reserved_in_order_and_cancelled_waits_release_theirs() -> None:
    budget = BodyBudget(10)
    assert await budget.take(8) == 8
    second = asyncio.create_task(budget.take(5))
    third = asyncio.create_task(budget.take(1))
    await asyncio.sleep(0)
    assert not third.done()  # although it would fit: otherwise large ones would never get memory
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    assert await third == 1
    budget.give(8)
    fourth = asyncio.create_task(budget.take(99))
    await asyncio.sleep(0)
    budget.give(1)
    fourth.cancel()  # its reservation was granted, and it is cancelled before it resumes
    await asyncio.gather(fourth, return_exceptions=True)
    assert budget._left == 10


# --- the end --------------------------------------------------------------------------------------


async def test_draining_closes_connections_without_a_complete_request(make_edge) -> None:
    edge = await make_edge(http=CALM)
    async with calling(edge, b"", b"GET", *[HALF] * 5) as callers:
        await until(lambda: counted(edge) == 7, "all have been accepted")
        await edge.http_server.drain()
        assert set(await asyncio.gather(*(each.received() for each in callers))) == {b""}
        with pytest.raises(OSError, match="onnect"):
            await asyncio.open_connection("127.0.0.1", edge.http_port)


async def test_what_is_being_served_is_answered_and_then_closed(make_edge) -> None:
    edge = await make_edge(http=CALM)
    edge.world.holding = asyncio.Event()
    asked = asyncio.create_task(edge.post("ExecuteSettlement", GOOD))
    await until(lambda: edge.world.waiting == 1, "it is being served")
    await edge.http_server.drain()
    edge.world.holding.set()
    status, _, headers = await asked
    assert (status, headers["Connection"]) == (200, "close")


async def test_shutdown_has_a_time_limit() -> None:
    began = asyncio.Event()

    async def never(_: aiohttp.web.Request) -> aiohttp.web.Response:
        began.set()
        await asyncio.Event().wait()
        return aiohttp.web.Response()

    server = HttpServer([aiohttp.web.get("/", never)], CALM, grace_seconds=SHORT)
    port = await server.listen("localhost", 0)
    async with aiohttp.ClientSession() as session:
        asked = asyncio.create_task(session.get(f"http://localhost:{port}/"))
        await began.wait()
        await asyncio.wait_for(server.stop(), LONG / 2)
        with pytest.raises(aiohttp.ClientError):
            await asked


# --- where it listens -----------------------------------------------------------------------------


async def test_an_unavailable_address_is_reported() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        for host, port in (("127.0.0.1", taken.getsockname()[1]), ("192.0.2.1", 0)):
            server = HttpServer([], CALM)
            with pytest.raises(Misconfigured, match=f"{host}:{port}"):
                await server.listen(host, port)
            await server.stop()


@pytest.mark.parametrize(
    ("address", "caller"),
    [
        (("192.0.2.1", 9), "192.0.2.1"),
        (("::ffff:192.0.2.1", 9, 0, 0), "192.0.2.1"),
        (("2001:db8::1", 9, 0, 0), "2001:db8::/64"),
        (("2001:db8::ffff:1", 9, 0, 0), "2001:db8::/64"),
        (("2001:db8:0:1::1", 9, 0, 0), "2001:db8:0:1::/64"),
        (("fe80::1%eth0", 9, 0, 2), "fe80::/64"),
        ("", "unix"),
    ],
)
def test_connections_of_one_caller_are_counted_together(address: object, caller: str) -> None:
    assert _caller(address) == caller


async def test_a_unix_socket_is_accessible_to_its_user_only(tmp_path) -> None:
    path = tmp_path / "engine.sock"

    async def hello(_: aiohttp.web.Request) -> aiohttp.web.Response:
        return aiohttp.web.Response(text="hello")

    servers = []
    for _ in range(2):  # the second one finds the socket of the first one
        servers.append(HttpServer([aiohttp.web.get("/", hello)], CALM))
        await servers[-1].listen_unix(path)
        assert path.stat().st_mode & 0o777 == 0o600
        connector = aiohttp.UnixConnector(str(path))
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.get("http://engine/") as got,
        ):
            assert await got.text() == "hello"
        other = HttpServer([], CALM)
        with pytest.raises(Misconfigured, match=r"engine\.sock"):
            await other.listen_unix(path)
        for listening in servers[-1]._sockets:
            listening.close()
    path.unlink()
    for server in servers:
        for task in server._accepting:
            task.cancel()
    path.write_text("a file of somebody's")
    with pytest.raises(Misconfigured):
        await HttpServer([], CALM).listen_unix(path)
    assert path.read_text() == "a file of somebody's"
