"""The fault proxy causes the network faults that it names, and counts them: the other tests rely on that."""

from __future__ import annotations

import asyncio
import contextlib
import random

import pytest

from tests.support.faultproxy import FaultProxy, Lost, Way

TIMEOUT_SECONDS = 5.0
SHORT_SECONDS = 0.1


class Echo:
    """A server that records what it received, and answers each line with ``did`` and the line."""

    def __init__(self) -> None:
        self.received = b""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.readline():
                self.received += data
                writer.write(b"did " + data)
                await writer.drain()
        writer.close()


@pytest.fixture
def echo():
    return Echo()


@pytest.fixture
async def proxy(echo):
    server = await asyncio.start_server(echo.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with FaultProxy("127.0.0.1", port, random.Random(1)) as made:
        yield made
    server.close()


class Client:
    def __init__(self, reader, writer) -> None:
        self.reader, self.writer = reader, writer

    async def say(self, line: bytes, seconds: float = TIMEOUT_SECONDS) -> bytes:
        self.writer.write(line + b"\n")
        async with asyncio.timeout(seconds):
            answer: bytes = await self.reader.readline()
            return answer

    async def is_refused(self) -> bool:
        try:
            return not await self.say(b"anybody?")
        except ConnectionError:
            return True


@contextlib.asynccontextmanager
async def connected(proxy):
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    try:
        yield Client(reader, writer)
    finally:
        writer.transport.abort()


async def until(truth):
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while not truth():  # noqa: ASYNC110 - a predicate cannot be awaited
            await asyncio.sleep(0.001)


async def test_the_proxy_without_faults_is_transparent(proxy):
    async with connected(proxy) as client:
        big = b"x" * 60_000
        assert await client.say(b"one") == b"did one\n"
        assert await client.say(big) == b"did " + big + b"\n"
    assert proxy.hits == 0


async def test_latency_and_jitter_delay_and_keep_the_order(proxy):
    proxy.latency_seconds, proxy.jitter_seconds = 0.03, 0.02
    loop = asyncio.get_running_loop()
    async with connected(proxy) as client:
        started_at = loop.time()
        assert await client.say(b"one") == b"did one\n"
        assert loop.time() - started_at >= 0.06
        client.writer.write(b"".join(b"%d\n" % number for number in range(50)))
        answers = [await client.reader.readline() for _ in range(50)]
    assert answers == [b"did %d\n" % number for number in range(50)]


async def test_a_limited_bandwidth_delays_data(proxy):
    proxy.bytes_per_second = 20_000
    loop = asyncio.get_running_loop()
    async with connected(proxy) as client:
        started_at = loop.time()
        await client.say(b"x" * 2_000)
        assert loop.time() - started_at >= 0.15


async def test_data_sent_in_slices_arrives_complete(proxy, echo):
    proxy.slice_bytes = 3
    async with connected(proxy) as client:
        assert await client.say(b"abcdefghij") == b"did abcdefghij\n"
    assert echo.received == b"abcdefghij\n"


async def test_a_black_hole_drops_one_direction_and_keeps_the_connection(proxy, echo):
    async with connected(proxy) as client:
        proxy.black_hole(Way.TO_CLIENT)
        with pytest.raises(TimeoutError):
            await client.say(b"one", SHORT_SECONDS)
        assert echo.received == b"one\n", "the other direction is open"
        proxy.clear()
        assert await client.reader.readline() == b"did one\n", "nothing was lost, only kept"
        proxy.black_hole(Way.TO_SERVER)
        with pytest.raises(TimeoutError):
            await client.say(b"two", SHORT_SECONDS)
        assert echo.received == b"one\n"


async def test_a_reset_is_seen_as_a_reset(proxy):
    async with connected(proxy) as client:
        await client.say(b"one")
        proxy.reset_all()
        with pytest.raises(ConnectionResetError):
            await client.say(b"two")
    assert proxy.resets == 1


async def test_refusing_affects_new_connections_only(proxy):
    async with connected(proxy) as client:
        await client.say(b"one")
        proxy.is_refusing = True
        async with connected(proxy) as other:
            assert await other.is_refused()
        assert await client.say(b"three") == b"did three\n"


async def test_a_lost_request_never_arrives(proxy, echo):
    proxy.cut(Lost.REQUEST, b"pay")
    async with connected(proxy) as client:
        await client.say(b"one")
        with pytest.raises(ConnectionResetError):
            await client.say(b"pay 5")
    assert echo.received == b"one\n"
    assert proxy.hits == 1
    async with connected(proxy) as client:
        assert await client.say(b"pay 5") == b"did pay 5\n", "once only"


async def test_a_lost_reply_loses_the_answer_but_not_the_work(proxy, echo):
    calls = []
    proxy.cut(Lost.REPLY, b"pay", until=b"\n", on_hit=lambda: calls.append(echo.received))
    async with connected(proxy) as client:
        with pytest.raises(ConnectionResetError):
            await client.say(b"pay 5")
    assert calls == [b"pay 5\n"]
    assert proxy.hits == 1


async def test_a_withheld_reply_is_withheld_completely(proxy):
    proxy.cut(Lost.REPLY, b"pay", until=b"second\n")
    async with connected(proxy) as client:
        client.writer.write(b"pay first\n")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(SHORT_SECONDS):
                await client.reader.readline()
        assert proxy.hits == 0
        with pytest.raises(ConnectionResetError):
            await client.say(b"pay second")
    assert proxy.hits == 1


async def test_a_reply_is_lost_by_its_content(proxy, echo):
    proxy.cut(Lost.ANSWER, b"did pay", times=2)
    for _ in range(2):
        async with connected(proxy) as client:
            await client.say(b"one")
            with pytest.raises(ConnectionResetError):
                await client.say(b"pay 5")
    assert proxy.hits == 2
    assert echo.received.count(b"pay 5") == 2


async def test_a_pattern_is_found_across_two_chunks(proxy, echo):
    proxy.cut(Lost.REQUEST, b"needle")
    async with connected(proxy) as client:
        client.writer.write(b"nee")
        await until(lambda: proxy.carried_bytes[Way.TO_SERVER] == 3)
        with pytest.raises(ConnectionResetError):
            await client.say(b"dle")
    assert proxy.hits == 1
    assert echo.received == b""


async def test_an_address_keeps_its_login_and_path(proxy):
    url = proxy.through("postgresql://me:secret@db.example:5432/books")
    assert url == f"postgresql://me:secret@127.0.0.1:{proxy.port}/books"
