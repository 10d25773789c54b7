"""The relay against a real NATS server: each announcement once, in order, whatever dies."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import time
from typing import Any

import asyncpg
import nats
import pytest
from nats.js.api import ConsumerConfig, StreamConfig

from settlement_client import PostgresInbox
from settlement_engine.domain.announcement import event_id
from settlement_engine.domain.backoff import Backoff
from settlement_engine.embedded import EmbeddedNats, EmbeddedPostgres
from settlement_engine.errors import Unavailable
from settlement_engine.events import NatsAccess, Relay, RelaySettings, StreamSpec
from settlement_engine.events.announce import Announcer
from settlement_engine.events.appending import append_each
from settlement_engine.events.connection import NatsLink, connect
from settlement_engine.events.publisher import Conflict, Publisher
from tests.support.waiting import until
from tests.unit.events.fakes import CountingMeter, MemoryOutbox

STREAM = "settlement-events"
TIMEOUT_SECONDS = 20.0


@pytest.fixture
def server(tmp_path):
    server = EmbeddedNats(tmp_path / "nats")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def outbox():
    return MemoryOutbox()


@pytest.fixture
def meter():
    return CountingMeter()


def settings(**changes):
    defaults = {
        "stream": StreamSpec(name=STREAM),
        "poll_seconds": 0.02,
        "standby_poll_seconds": 0.02,
        "ack_timeout_seconds": 2.0,
        "mark_seconds": 0.0,
        "reconnect": Backoff(first_seconds=0.02, max_seconds=0.1),
    }
    return RelaySettings(**{**defaults, **changes})


def make_relay(
    url,
    outbox,
    meter,
    *,
    leadership=None,
    notifier=None,
    database_run=None,
    notices=None,
    **changes,
):
    return Relay(
        outbox=outbox,
        nats=NatsAccess(servers=(url,)),
        meter=meter,
        settings=settings(**changes),
        leadership=leadership,
        notifier=notifier,
        database_run=database_run,
        notices=notices,
    )


@contextlib.asynccontextmanager
async def running(relay):
    task = asyncio.create_task(relay.run())
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@contextlib.asynccontextmanager
async def jetstream(url):
    connection = await nats.connect(url, allow_reconnect=False)
    try:
        yield connection.jetstream()
    finally:
        await connection.close()


async def until_published(outbox, count=None, *, seconds=TIMEOUT_SECONDS):
    wanted = len(outbox.announcements) if count is None else count
    await until(lambda: outbox.marked >= wanted, seconds=seconds)


async def stored(url):
    """Read the whole stream, in the order of its sequence numbers."""
    async with jetstream(url) as js:
        count = (await js.stream_info(STREAM)).state.messages
        subscription = await js.pull_subscribe(
            "", stream=STREAM, config=ConsumerConfig(max_ack_pending=100_000)
        )
        messages = await subscription.fetch(1, timeout=5) if count else []
        while len(messages) < count:
            messages += await subscription.fetch(1000, timeout=5)
        await subscription.unsubscribe()
        return messages


async def check_exact(url, outbox):
    """Each announcement is there once, in order, under its own position as sequence number."""
    messages = await stored(url)
    wanted = [event_id(one.moved) for one in outbox.announcements]
    assert [message.headers["ce-id"] for message in messages] == wanted
    positions = [int(message.headers["ce-sequence"]) for message in messages]
    assert positions == list(range(1, len(wanted) + 1))
    assert [message.metadata.sequence.stream for message in messages] == positions


async def test_announcements_arrive_once_and_in_order(server, outbox, meter):
    outbox.add(1234)
    async with running(make_relay(server.url(), outbox, meter)):
        await until_published(outbox)
        outbox.add(1)
        await until_published(outbox)
    await check_exact(server.url(), outbox)
    assert not meter.invariant_warnings


async def test_a_message_carries_cloudevents_headers_and_the_facts(server, outbox, meter):
    outbox.add(4)
    async with running(make_relay(server.url(), outbox, meter)):
        await until_published(outbox)
    messages = await stored(server.url())
    subjects = [message.subject for message in messages]
    assert subjects == [
        "settlement.accepted",
        "settlement.locked",
        "settlement.sent",
        "settlement.completed",
    ]
    last = messages[-1]
    assert last.headers["Nats-Msg-Id"] == last.headers["ce-id"]
    assert last.headers["ce-specversion"] == "1.0"
    assert last.headers["ce-type"] == "settlement.completed"
    assert last.headers["ce-datacontenttype"] == "application/json"
    body = json.loads(last.data)
    assert body["event_id"] == last.headers["ce-id"]
    assert body["settlement_id"] == last.headers["ce-subject"]
    assert body["time"] == last.headers["ce-time"]
    assert (body["sequence"], body["seq"]) == (4, 4)
    assert (body["status"], body["amount"], body["currency"]) == ("COMPLETED", "12.50", "EUR")


async def test_a_relay_that_dies_between_publishing_and_marking_leaves_no_double(
    server, outbox, meter
):
    outbox.may_mark.clear()
    outbox.add(300)
    async with running(make_relay(server.url(), outbox, meter)):
        await outbox.marking.wait()
    assert outbox.marked == 0
    outbox.may_mark.set()
    outbox.add(200)
    async with running(make_relay(server.url(), outbox, meter)):
        await until_published(outbox)
    await check_exact(server.url(), outbox)


async def test_nothing_is_doubled_when_the_duplicate_window_has_passed(server, outbox, meter):
    window_seconds = 0.1
    spec = StreamSpec(name=STREAM, duplicate_window_seconds=window_seconds)
    outbox.may_mark.clear()
    outbox.add(300)
    async with running(make_relay(server.url(), outbox, meter, stream=spec)):
        await outbox.marking.wait()
    outbox.may_mark.set()
    await until_forgotten(server.url(), window_seconds)
    async with running(make_relay(server.url(), outbox, meter, stream=spec)):
        await until_published(outbox)
    await check_exact(server.url(), outbox)


async def until_forgotten(url, window_seconds):
    """Wait until NATS no longer recognises an id that is published now, in a stream with this window."""
    async with jetstream(url) as js:
        await js.add_stream(
            name="forgetting", subjects=["forgetting"], duplicate_window=window_seconds
        )

        async def is_accepted():
            ack = await js.publish("forgetting", b"", headers={"Nats-Msg-Id": "one"})
            return not ack.duplicate

        assert await is_accepted()
        await until(is_accepted)


class Proxy:
    """Stands before NATS; while ``swallows`` is true, the server's answers get lost on the way.

    ``swallow_from`` names the number of bytes from the client after which answers are swallowed.
    """

    def __init__(self, port):
        self._port = port
        self.swallow_from = None
        self.is_swallowing = False
        self.client_bytes = 0
        self._writers = []

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_):
        self._server.close()
        for writer in self._writers:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        await self._server.wait_closed()

    def url(self, direct):
        port = self._server.sockets[0].getsockname()[1]
        return f"{direct.rpartition(':')[0]}:{port}"

    async def _serve(self, reader, writer):
        upstream_reader, upstream_writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers += [writer, upstream_writer]
        await asyncio.gather(
            self._pump(reader, upstream_writer, from_client=True),
            self._pump(upstream_reader, writer, from_client=False),
        )

    async def _pump(self, reader, writer, *, from_client):
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if from_client:
                    self.client_bytes += len(data)
                    if self.swallow_from is not None and self.client_bytes > self.swallow_from:
                        self.is_swallowing = True
                elif self.is_swallowing:
                    continue
                writer.write(data)
                await writer.drain()
        writer.close()


async def test_a_lost_acknowledgement_makes_no_double(server, outbox, meter):
    outbox.add(10)
    async with Proxy(server.port) as proxy:
        relay = make_relay(proxy.url(server.url()), outbox, meter, ack_timeout_seconds=0.3)
        async with running(relay):
            await until_published(outbox)
            proxy.swallow_from = proxy.client_bytes + 100_000
            outbox.add(500)
            await until(lambda: proxy.is_swallowing)
            await until(lambda: not relay.is_connected)
            proxy.swallow_from, proxy.is_swallowing = None, False
            outbox.add(100)
            await until_published(outbox)
    await check_exact(server.url(), outbox)


@pytest.mark.kill
async def test_nats_killed_and_restarted_under_load_loses_and_doubles_nothing(
    server, outbox, meter
):
    relay = make_relay(server.url(), outbox, meter, batch_max=50)
    async with running(relay):
        for kill in range(3):
            outbox.add(1000)
            await until(lambda kill=kill: outbox.marked >= 1000 * kill + 200)
            os.kill(server.pid, signal.SIGKILL)
            await until(lambda: not relay.is_connected)
            outbox.add(0 if kill else 500)
            server.restart_if_dead()
            await until_published(outbox)
    await check_exact(server.url(), outbox)
    assert "stream_disagrees" not in meter.invariant_warnings


@pytest.mark.kill
@pytest.mark.parametrize("is_leader", [True, False])
async def test_a_relay_with_nothing_to_do_notices_that_nats_is_gone(
    server, outbox, meter, is_leader
):
    throne = Throne()
    throne.holder = "it" if is_leader else "another"
    relay = make_relay(server.url(), outbox, meter, leadership=throne.claim("it"))
    async with running(relay):
        await until(lambda: relay.is_connected)
        os.kill(server.pid, signal.SIGKILL)
        await until(lambda: not relay.is_connected, seconds=5)
        server.restart_if_dead()
        await until(lambda: relay.is_connected)


async def test_a_relay_waits_for_a_server_that_is_not_there_yet(tmp_path, outbox, meter):
    server = EmbeddedNats(tmp_path / "nats")
    server.start()
    url = server.url()
    server.stop()
    outbox.add(7)
    relay = make_relay(url, outbox, meter)
    async with running(relay):
        await until(lambda: relay.backlog == 7)
        assert not relay.is_connected
        server.start()
        try:
            await until_published(outbox)
            await until(lambda: relay.backlog == 0)
            await check_exact(url, outbox)
        finally:
            server.stop()


async def test_a_frozen_server_is_waited_out(server, outbox, meter):
    relay = make_relay(server.url(), outbox, meter, ack_timeout_seconds=0.3)
    async with running(relay):
        outbox.add(10)
        await until_published(outbox)
        os.kill(server.pid, signal.SIGSTOP)
        try:
            outbox.add(500)
            await until(lambda: not relay.is_connected)
            await until(lambda: relay.backlog == 500)
        finally:
            os.kill(server.pid, signal.SIGCONT)
        await until_published(outbox)
    await check_exact(server.url(), outbox)


async def test_the_next_batch_is_read_while_a_full_one_is_published(server, outbox, meter):
    relay = make_relay(server.url(), outbox, meter, batch_max=10)
    async with running(relay):
        outbox.add(3)
        await until_published(outbox)
        os.kill(server.pid, signal.SIGSTOP)
        try:
            outbox.add(14)
            await until(lambda: (13, 10) in outbox.readings)
            assert outbox.marked == 3
            outbox.add(9)
        finally:
            os.kill(server.pid, signal.SIGCONT)
        await until_published(outbox)
        # What was read ahead is not read again: the batch is filled up with what has come since.
        assert (17, 6) in outbox.readings
        assert outbox.readings.count((13, 10)) == 1
    await check_exact(server.url(), outbox)


@pytest.mark.parametrize(
    "trouble", [Unavailable("PostgreSQL cannot be reached"), ValueError("a bug")]
)
async def test_a_failed_read_ahead_does_not_affect_the_batch_in_flight(
    server, outbox, meter, trouble
):
    relay = make_relay(server.url(), outbox, meter, batch_max=10)
    outbox.ahead_trouble = trouble
    async with running(relay):
        outbox.add(25)
        await until_published(outbox)
    assert outbox.ahead_trouble is None, "it was met"
    await check_exact(server.url(), outbox)


async def test_a_deleted_stream_is_written_again_from_the_outbox(server, outbox, meter):
    outbox.add(700)
    async with running(make_relay(server.url(), outbox, meter)):
        await until_published(outbox)
        async with jetstream(server.url()) as js:
            await js.delete_stream(STREAM)
        outbox.add(1)
        await until_published(outbox)
    await check_exact(server.url(), outbox)
    assert meter.invariant_warnings["stream_behind"] == 700


async def test_a_deleted_stream_is_noticed_without_anything_new(server, outbox, meter):
    outbox.add(20)
    async with running(make_relay(server.url(), outbox, meter, check_seconds=0.05)):
        await until_published(outbox)
        async with jetstream(server.url()) as js:
            await js.delete_stream(STREAM)
        await until(lambda: meter.invariant_warnings["stream_behind"] == 20)
        outbox.add(1)
        await until_published(outbox)
    await check_exact(server.url(), outbox)


async def test_a_stream_to_which_nothing_was_added_has_nothing_foreign(server, outbox, meter):
    outbox.add(20)
    looks: list[None] = []

    def run() -> int:
        looks.append(None)  # each look begins with this question
        return 1

    relay = make_relay(server.url(), outbox, meter, check_seconds=0.05, database_run=run)
    async with running(relay):
        await until_published(outbox)
        before = len(looks)
        await until(lambda: len(looks) > before + 20)
    assert meter.invariant_warnings["stream_foreign"] == 0


async def test_a_stream_that_lost_its_tail_gets_it_back(server, outbox, meter):
    spec = StreamSpec(name=STREAM, duplicate_window_seconds=0.1)
    outbox.add(500)
    async with running(make_relay(server.url(), outbox, meter, stream=spec)):
        await until_published(outbox)
    # As after a power cut with a server that does not sync: the same stream, but shorter.
    whole = list(outbox.announcements)
    async with jetstream(server.url()) as js:
        await js.delete_stream(STREAM)
    shorter = MemoryOutbox()
    shorter.announcements = whole[:321]
    async with running(make_relay(server.url(), shorter, meter, stream=spec)):
        await until_published(shorter)
    async with running(make_relay(server.url(), outbox, meter, stream=spec)):
        await until(lambda: meter.invariant_warnings["stream_behind"] == 179)
        outbox.add(1)
        await until_published(outbox)
    await check_exact(server.url(), outbox)


class SwallowingOutbox(MemoryOutbox):
    """Answers in the very moment in which the relay is cancelled, and so swallows the cancellation.

    ``asyncio.wait_for`` does that to nats-py's waits, before Python 3.12.
    """

    def __init__(self) -> None:
        super().__init__()
        self.is_read = asyncio.Event()
        self.swallowed = 0

    async def read(self, after, limit, settlement_id=None):
        if not self.swallowed:
            self.is_read.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.swallowed += 1
        return await super().read(after, limit, settlement_id)


async def test_a_relay_ends_although_its_cancellation_was_swallowed(server, meter):
    outbox = SwallowingOutbox()
    task = asyncio.create_task(make_relay(server.url(), outbox, meter).run())
    await outbox.is_read.wait()
    task.cancel()
    done, _ = await asyncio.wait([task], timeout=TIMEOUT_SECONDS)
    ended = task in done
    task.cancel()
    await asyncio.wait([task])
    assert outbox.swallowed == 1
    assert ended, "the relay goes on, although it was cancelled"


async def test_two_relays_at_once_make_neither_double_nor_gap(server, outbox, meter):
    first = make_relay(server.url(), outbox, meter, batch_max=20, poll_seconds=0.005)
    second = make_relay(server.url(), outbox, meter, batch_max=30, poll_seconds=0.005)
    async with running(first), running(second):
        for _ in range(20):
            outbox.add(100)
            await until(lambda: outbox.marked >= len(outbox.announcements) - 150)
        await until_published(outbox)
    await check_exact(server.url(), outbox)


async def test_a_server_without_atomic_batches_gets_single_messages(server, outbox, meter):
    async with jetstream(server.url()) as js:
        await js.add_stream(StreamConfig(name=STREAM, subjects=["settlement.>"]))
    first = make_relay(server.url(), outbox, meter)
    second = make_relay(server.url(), outbox, meter, batch_max=300)
    async with running(first), running(second):
        outbox.add(2000)
        await until_published(outbox)
    await check_exact(server.url(), outbox)
    assert "Nats-Batch-Id" not in (await stored(server.url()))[0].headers


async def test_atomic_batches_taken_away_while_running_are_done_without(server, outbox, meter):
    async with running(make_relay(server.url(), outbox, meter)):
        outbox.add(100)
        await until_published(outbox)
        async with jetstream(server.url()) as js:
            config = (await js.stream_info(STREAM)).config
            await js.update_stream(config.evolve(allow_atomic=False))
        outbox.add(100)
        await until_published(outbox)
    await check_exact(server.url(), outbox)


async def test_a_foreign_message_on_our_subjects_stops_nothing(server, outbox, meter):
    async with running(make_relay(server.url(), outbox, meter)):
        outbox.add(10)
        await until_published(outbox)
        async with jetstream(server.url()) as js:
            await js.publish("settlement.foreign", b"{}")
        outbox.add(10)
        await until_published(outbox)
    ours = [one for one in await stored(server.url()) if "ce-id" in (one.headers or {})]
    assert [int(one.headers["ce-sequence"]) for one in ours] == list(range(1, 21))


async def test_a_restored_database_has_its_new_moves_announced(server, outbox, meter):
    outbox.add(100)
    async with running(make_relay(server.url(), outbox, meter)):
        await until_published(outbox)
    outbox.restore(61)
    outbox.add(80, timeline=1)
    async with running(make_relay(server.url(), outbox, meter)):
        await until_published(outbox)
    ids = [message.headers["ce-id"] for message in await stored(server.url())]
    wanted = [event_id(one.moved) for one in outbox.announcements]
    assert [one for one in ids if one in set(wanted)] == wanted
    assert len(ids) == 100 + 80
    assert meter.invariant_warnings["stream_disagrees"] == 1


async def test_a_purged_stream_goes_on_where_the_outbox_says(server, outbox, meter):
    outbox.add(50)
    async with running(make_relay(server.url(), outbox, meter)):
        await until_published(outbox)
    async with jetstream(server.url()) as js:
        await js.purge_stream(STREAM)
    outbox.add(10)
    async with running(make_relay(server.url(), outbox, meter)):
        await until_published(outbox)
    positions = [int(one.headers["ce-sequence"]) for one in await stored(server.url())]
    assert positions == list(range(51, 61))


async def test_a_message_that_was_deleted_by_hand_stops_nothing(server, outbox, meter):
    outbox.add(10)
    async with running(make_relay(server.url(), outbox, meter)):
        await until_published(outbox)
    async with jetstream(server.url()) as js:
        await js.delete_msg(STREAM, 10)
    outbox.add(10)
    # Its id is still known to the server: a batch with it is refused whole.
    async with running(make_relay(server.url(), outbox, meter)):
        await until_published(outbox)
    positions = [int(one.headers["ce-sequence"]) for one in await stored(server.url())]
    assert positions == [*range(1, 10), *range(11, 21)]


async def test_a_full_stream_makes_announcements_wait_and_pushes_none_out(server, outbox, meter):
    spec = StreamSpec(name=STREAM, max_bytes=100_000)
    relay = make_relay(server.url(), outbox, meter, stream=spec, batch_max=10)
    async with running(relay):
        outbox.add(300)
        await until(lambda: outbox.marked > 50)
        await until(lambda: relay._failures > 3)
        assert relay.backlog > 0
        async with jetstream(server.url()) as js:
            config = (await js.stream_info(STREAM)).config
            await js.update_stream(config.evolve(max_bytes=-1))
        await until_published(outbox)
    await check_exact(server.url(), outbox)


async def test_a_full_server_makes_announcements_wait_and_pushes_none_out(tmp_path, outbox, meter):
    """The bound is the server's, not the stream's: it says so with another error."""
    small = EmbeddedNats(tmp_path / "nats", max_file="100K")
    small.start()
    relay = make_relay(small.url(), outbox, meter, batch_max=10)
    try:
        async with running(relay):
            outbox.add(300)
            await until(lambda: outbox.marked > 50)
            await until(lambda: relay._failures > 3)
            assert relay.backlog > 0
    finally:
        small.stop()
    roomy = EmbeddedNats(tmp_path / "nats")
    roomy.start()
    try:
        async with running(make_relay(roomy.url(), outbox, meter)):
            await until_published(outbox)
        await check_exact(roomy.url(), outbox)
    finally:
        roomy.stop()


async def test_a_position_that_is_missing_is_waited_for(server, outbox, meter):
    outbox.add(10)
    missing = outbox.announcements.pop(4)
    async with running(make_relay(server.url(), outbox, meter)):
        await until_published(outbox, 4)
        await until(lambda: meter.invariant_warnings["outbox_gap"] == 1)
        assert outbox.marked == 4
        outbox.announcements.insert(4, missing)
        await until_published(outbox)
    await check_exact(server.url(), outbox)


async def test_a_store_that_is_away_is_waited_for(server, outbox, meter):
    relay = make_relay(server.url(), outbox, meter)
    async with running(relay):
        outbox.add(5)
        await until_published(outbox)
        outbox.trouble = Unavailable("PostgreSQL cannot be reached")
        await until(lambda: relay._failures > 1)
        outbox.add(5)
        outbox.trouble = None
        await until_published(outbox)
    await check_exact(server.url(), outbox)


class Throne:
    def __init__(self):
        self.holder = None

    def claim(self, name):
        throne = self

        class Claim:
            async def is_leader(self):
                return throne.holder == name

        return Claim()


async def test_only_the_leader_publishes_and_the_next_one_goes_on(server, outbox, meter):
    throne = Throne()
    first = make_relay(server.url(), outbox, meter, leadership=throne.claim("first"))
    second = make_relay(server.url(), outbox, meter, leadership=throne.claim("second"))
    async with running(first), running(second):
        outbox.add(100)
        await until(lambda: first.is_connected and second.is_connected)
        assert outbox.marked == 0
        for holder in ("first", "second", "first"):
            throne.holder = holder
            outbox.add(100)
            await until_published(outbox)
    await check_exact(server.url(), outbox)


async def test_stop_publishes_the_rest_first(server, outbox, meter):
    relay = make_relay(server.url(), outbox, meter, batch_max=100, mark_seconds=60.0)
    async with running(relay) as task:
        outbox.add(10)
        await until(lambda: relay.is_connected)
        outbox.add(3000)
        begun = time.monotonic()
        await relay.stop()
        await task
    assert time.monotonic() - begun < RelaySettings().drain_seconds
    assert outbox.marked == 3010
    await check_exact(server.url(), outbox)


async def test_stop_does_not_wait_for_a_server_that_is_away(outbox, meter):
    outbox.add(10)
    relay = make_relay("nats://127.0.0.1:1", outbox, meter)
    async with running(relay) as task:
        await until(lambda: relay._failures > 0)
        begun = time.monotonic()
        await relay.stop()
        await task
    assert time.monotonic() - begun < 2


class PollNotifier:
    def __init__(self):
        self._rung = asyncio.Event()

    def notify(self):
        self._rung.set()

    async def wait(self, timeout_seconds):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                await self._rung.wait()
        self._rung.clear()


async def test_the_notifier_wakes_the_relay_at_once(server, outbox, meter):
    notifier = PollNotifier()
    relay = make_relay(server.url(), outbox, meter, notifier=notifier, poll_seconds=60.0)
    async with running(relay):
        outbox.add(1)
        await until_published(outbox)
        for _ in range(5):
            outbox.add(1)
            notifier.notify()
            await until_published(outbox, seconds=5)


async def test_announcements_linger_and_are_published_together(server, outbox, meter, monkeypatch):
    notifier = PollNotifier()
    relay = make_relay(
        server.url(), outbox, meter, notifier=notifier, poll_seconds=60.0, linger_seconds=7.0
    )
    sizes: list[int] = []
    read = outbox.read

    async def counted(after, limit, settlement_id=None):
        found = await read(after, limit, settlement_id)
        sizes.append(len(found))
        return found

    async def rest(seconds):
        if seconds == 7.0 and len(outbox.announcements) == 1:  # Company comes meanwhile.
            outbox.add(2)
        await asyncio.sleep(0)

    monkeypatch.setattr(outbox, "read", counted)
    monkeypatch.setattr(relay, "_rest", rest)
    async with running(relay):
        await until(lambda: sizes == [0])
        outbox.add(1)
        notifier.notify()
        await until_published(outbox, 3)
    assert [size for size in sizes if size] == [3]
    await check_exact(server.url(), outbox)


async def test_a_batch_with_a_known_id_is_refused_whole_and_sent_one_by_one(server, outbox):
    outbox.add(30)
    announcer = Announcer(prefix="settlement", source="/test")
    messages = [announcer.message(one) for one in outbox.announcements]
    async with connect(NatsAccess(servers=(server.url(),))) as connection:
        js = connection.jetstream()
        await js.add_stream(StreamSpec(name=STREAM).config())
        publisher = Publisher(connection, stream=STREAM, ack_timeout_seconds=5, is_atomic=True)
        await publisher.start()
        assert await publisher.append(messages[:12], 0) == (12, 12)
        with pytest.raises(Conflict) as caught:
            await publisher.append(messages[11:], 12)
        assert caught.value.is_known_id
        assert (await js.stream_info(STREAM)).state.last_seq == 12
        with pytest.raises(Conflict) as caught:
            await publisher.append(messages[12:], 11)
        assert not caught.value.is_known_id
        looked_at: list[int] = []

        async def is_held(sequence, message):
            looked_at.append(sequence)
            return message is messages[11]

        assert await append_each(publisher, messages[11:], 12, is_held) == (19, 30)
        assert looked_at == [12]
    await check_exact(server.url(), outbox)


async def test_a_wrong_password_is_reported_without_the_password(server, outbox, meter, capsys):
    relay = make_relay(f"nats://settlement:not-it@{server.address}", outbox, meter)
    async with running(relay):
        await until(lambda: relay._failures > 3)
    reported = capsys.readouterr().out
    assert reported.count("relay.waiting") == 1
    assert "not-it" not in reported


@pytest.mark.parametrize("is_atomic", [True, False])
async def test_ten_thousand_announcements_are_published_in_seconds(
    server, outbox, meter, is_atomic
):
    if not is_atomic:
        async with jetstream(server.url()) as js:
            await js.add_stream(StreamConfig(name=STREAM, subjects=["settlement.>"]))
    outbox.add(10_000)
    begun = time.monotonic()
    cpu = time.process_time()
    async with running(make_relay(server.url(), outbox, meter, mark_seconds=0.25)):
        await until_published(outbox, seconds=60)
    seconds = time.monotonic() - begun
    cpu = time.process_time() - cpu
    print(f"atomic={is_atomic}: {10_000 / seconds:,.0f}/s, {cpu * 100:.1f} us of CPU each")
    assert seconds < 60


async def test_a_connection_whose_closing_is_cancelled_leaves_no_socket_open(server, monkeypatch):
    closing = asyncio.Event()
    opened: list[NatsLink] = []

    async def close(connection):
        closing.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(NatsLink, "close", close)

    async def use():
        async with connect(NatsAccess(servers=(server.url(),))) as connection:
            opened.append(connection)

    task = asyncio.create_task(use())
    await closing.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    transport: Any = opened[0]._transport
    assert transport._io_writer.is_closing()
    monkeypatch.undo()
    await opened[0].close()


class ConsumerDied(Exception):
    pass


async def consume(url, database_url, *, dies_at=None):
    """An idempotent consumer: counts each announcement in the transaction of its inbox."""
    database = await asyncpg.connect(database_url)
    try:
        async with jetstream(url) as js:
            subscription = await js.pull_subscribe("settlement.>", durable="counter")
            for number in range(100):
                with contextlib.suppress(nats.errors.TimeoutError):
                    for message in await subscription.fetch(50, timeout=0.5):
                        async with database.transaction():
                            inbox = PostgresInbox(database, consumer="counter")
                            if await inbox.take(message.headers["ce-id"]):
                                await database.execute("UPDATE seen SET count = count + 1")
                        if number == dies_at:
                            raise ConsumerDied  # after its commit, before its acknowledgement
                        await message.ack_sync()
                if (await subscription.consumer_info()).ack_floor.stream_seq == 200:
                    return
    finally:
        await database.close()


async def test_a_consumer_with_an_inbox_acts_once_on_each(server, outbox, meter, tmp_path):
    outbox.add(200)
    async with running(make_relay(server.url(), outbox, meter)):
        await until_published(outbox)
    async with jetstream(server.url()) as js:
        await js.add_consumer(STREAM, ConsumerConfig(durable_name="counter", ack_wait=0.5))
    postgres = EmbeddedPostgres(tmp_path / "postgres")
    postgres.start()
    try:
        database = await asyncpg.connect(postgres.url())
        await PostgresInbox(database, consumer="counter").create()
        await database.execute("CREATE TABLE seen AS SELECT 0 AS count")
        for dies_at in (0, 1, 2):
            with pytest.raises(ConsumerDied):
                await consume(server.url(), postgres.url(), dies_at=dies_at)
        await consume(server.url(), postgres.url())
        assert await database.fetchval("SELECT count FROM seen") == 200
        assert await database.fetchval("SELECT count(*) FROM event_inbox") == 200
        await database.close()
    finally:
        postgres.stop()
