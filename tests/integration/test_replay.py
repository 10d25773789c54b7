"""Announcements written again on a real NATS server: in order, without a gap, and acted on once."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import asyncpg
import nats
import pytest
from nats.js.api import ConsumerConfig

from settlement_client import Inbox, PostgresInbox
from settlement_engine.domain.announcement import POSITIONS_PER_EPOCH, event_id
from settlement_engine.embedded import EmbeddedNats
from settlement_engine.errors import Misconfigured, WrongState
from settlement_engine.events import (
    NatsAccess,
    Relay,
    RelaySettings,
    Replay,
    ReplaySettings,
    StreamSpec,
)
from tests.support.waiting import until
from tests.unit.events.fakes import CountingMeter, MemoryOutbox, announcement

if TYPE_CHECKING:
    from nats.aio.msg import Msg

LIVE = "settlement-events"
OTHER = "settlement-again"
WINDOW_SECONDS = 0.3
TIMEOUT_SECONDS = 20.0
LIVE_SPEC = StreamSpec(name=LIVE, duplicate_window_seconds=WINDOW_SECONDS)
OTHER_SPEC = StreamSpec(name=OTHER, prefix="again", duplicate_window_seconds=WINDOW_SECONDS)


@pytest.fixture
def server(tmp_path):
    server = EmbeddedNats(tmp_path / "nats")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def outbox():
    made = MemoryOutbox()
    made.add(1234)
    return made


def replay(server, outbox, first=1, last=0, spec=LIVE_SPEC):
    return Replay(
        outbox=outbox,
        nats=NatsAccess(servers=(server.url(),)),
        meter=CountingMeter(),
        settings=ReplaySettings(stream=spec, first=first, last=last, batch_max=100),
    )


@contextlib.asynccontextmanager
async def jetstream(server):
    connection = await nats.connect(server.url(), allow_reconnect=False)
    try:
        yield connection.jetstream()
    finally:
        await connection.close()


@contextlib.asynccontextmanager
async def relaying(server, outbox):
    relay = Relay(
        outbox=outbox,
        nats=NatsAccess(servers=(server.url(),)),
        meter=CountingMeter(),
        settings=RelaySettings(
            stream=LIVE_SPEC, poll_seconds=0.02, mark_seconds=0.0, check_seconds=0.1
        ),
    )
    task = asyncio.create_task(relay.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def published(server, outbox):
    """Let a relay publish everything, and stop it."""
    async with relaying(server, outbox):
        await until(lambda: outbox.marked >= len(outbox.announcements))


async def stored(server, stream):
    async with jetstream(server) as js:
        count = (await js.stream_info(stream)).state.messages
        subscription = await js.pull_subscribe(
            "", stream=stream, config=ConsumerConfig(max_ack_pending=100_000)
        )
        messages: list[Msg] = []
        while len(messages) < count:
            messages += await subscription.fetch(1000, timeout=5)
        await subscription.unsubscribe()
        return messages


async def ids(server, stream=LIVE):
    return [message.headers["ce-id"] for message in await stored(server, stream)]


def wanted(outbox, first=1, last=0):
    last = last or outbox.announcements[-1].moved.position
    return [
        event_id(each.moved)
        for each in outbox.announcements
        if first <= each.moved.position <= last
    ]


async def purge(server, **options):
    async with jetstream(server) as js:
        await js.purge_stream(LIVE, **options)


def ignore(_position):
    pass


# --- into the live stream -----------------------------------------------------------------------------


async def test_a_purged_stream_gets_back_what_is_asked_for(server, outbox):
    await published(server, outbox)
    await purge(server)
    reported: list[int] = []
    plan = await replay(server, outbox, first=101).run(reported.append)
    assert (plan.first, plan.last, plan.count, plan.is_made) == (101, 1234, 1134, False)
    assert await ids(server) == wanted(outbox, 101)
    assert reported[-1] == 1234
    assert reported == sorted(reported)


async def test_a_stream_that_still_remembers_purged_ids_is_waited_for(server, outbox):
    """Otherwise the server takes each of them for a repeat and keeps none."""
    await published(server, outbox)
    await purge(server)
    plan = await replay(server, outbox).plan()
    assert 0 < plan.wait_seconds <= WINDOW_SECONDS + 0.5
    await replay(server, outbox).run(ignore)
    assert await ids(server) == wanted(outbox)


async def test_a_stream_that_does_not_exist_is_made_and_filled(server, outbox):
    plan = await replay(server, outbox).plan()
    assert (plan.is_made, plan.holds, plan.count) == (True, 0, 1234)
    await replay(server, outbox).run(ignore)
    assert await ids(server) == wanted(outbox)


async def test_a_plan_writes_nothing(server, outbox):
    await replay(server, outbox).plan()
    async with jetstream(server) as js:
        with pytest.raises(nats.js.errors.NotFoundError):
            await js.stream_info(LIVE)


async def test_a_relay_that_joins_in_leaves_neither_gap_nor_double(server, outbox):
    await published(server, outbox)
    await purge(server)
    async with relaying(server, outbox):
        await replay(server, outbox, first=1).run(ignore)
        outbox.add(50)
        await until(lambda: outbox.marked >= len(outbox.announcements))
    assert await ids(server) == wanted(outbox)


async def test_a_replay_that_was_cut_short_goes_on_where_it_was(server, outbox):
    class Cut(Exception):
        pass

    def cut(position):
        if position >= 500:
            raise Cut

    with pytest.raises(Cut):
        await replay(server, outbox).run(cut)
    plan = await replay(server, outbox).run(ignore)
    assert plan.after == plan.holds == 500
    assert await ids(server) == wanted(outbox)
    again = await replay(server, outbox).run(ignore)
    assert (again.count, again.holds) == (0, 1234)
    assert await ids(server) == wanted(outbox)


async def test_a_stream_that_is_whole_is_left_alone(server, outbox):
    await published(server, outbox)
    assert (await replay(server, outbox, first=7, last=20).run(ignore)).count == 0
    assert await ids(server) == wanted(outbox)


async def test_nothing_is_put_in_front_of_what_a_stream_holds(server, outbox):
    await published(server, outbox)
    await purge(server, keep=100)
    for attempt in (replay(server, outbox).plan, lambda: replay(server, outbox).run(ignore)):
        with pytest.raises(WrongState, match="cannot be put in front") as refused:
            await attempt()
        assert "--stream" in refused.value.todo
    assert await ids(server) == wanted(outbox, 1135)


async def test_no_gap_is_left_behind_what_a_stream_holds(server, outbox):
    await replay(server, outbox, first=1, last=100).run(ignore)
    with pytest.raises(WrongState, match="would be missing"):
        await replay(server, outbox, first=201).run(ignore)
    assert await ids(server) == wanted(outbox, 1, 100)


async def test_a_stream_that_ends_with_a_foreign_message_is_left_alone(server, outbox):
    await published(server, outbox)
    async with jetstream(server) as js:
        await js.publish("settlement.odd", b"not ours")
    with pytest.raises(WrongState, match="not in the database"):
        await replay(server, outbox).run(ignore)


@pytest.mark.parametrize(("first", "last"), [(1235, 0), (5, 4), (1, 1235), (10**6, 0)])
async def test_places_that_do_not_exist_are_refused(server, outbox, first, last):
    with pytest.raises(WrongState):
        await replay(server, outbox, first=first, last=last).plan()


# --- into a stream of its own -------------------------------------------------------------------------


async def test_a_range_goes_into_a_stream_of_its_own_while_the_relay_works(server, outbox):
    async with relaying(server, outbox):
        await until(lambda: outbox.marked == 1234)
        plan = await replay(server, outbox, first=200, last=900, spec=OTHER_SPEC).run(ignore)
        outbox.add(10)
        await until(lambda: outbox.marked == 1244)
    assert (plan.is_made, plan.count) == (True, 701)
    assert await ids(server, OTHER) == wanted(outbox, 200, 900)
    assert await ids(server) == wanted(outbox)
    messages = await stored(server, OTHER)
    assert {message.subject.partition(".")[0] for message in messages} == {"again"}
    live = {message.headers["ce-id"]: message.data for message in await stored(server, LIVE)}
    assert all(live[message.headers["ce-id"]] == message.data for message in messages)


async def test_subjects_that_another_stream_has_are_refused(server, outbox):
    await published(server, outbox)
    with pytest.raises(Misconfigured, match="cannot be made"):
        await replay(server, outbox, spec=StreamSpec(name=OTHER)).run(ignore)


async def test_a_later_epoch_begins_with_its_marker(server):
    outbox = MemoryOutbox()
    outbox.add(10)
    outbox.announcements.append(announcement(POSITIONS_PER_EPOCH + 1, settlement=77))
    vars(outbox)["read"] = read_by_place(outbox)
    plan = await replay(server, outbox, spec=OTHER_SPEC).run(ignore)
    assert plan.count == 11
    assert await ids(server, OTHER) == [*wanted(outbox, 1, 10), "reopened.1", *wanted(outbox, 11)]
    assert (await replay(server, outbox, spec=OTHER_SPEC).run(ignore)).count == 0


def read_by_place(outbox):
    async def read(after, limit, settlement_id=None):
        assert settlement_id is None
        return [each for each in outbox.announcements if each.moved.position > after][:limit]

    return read


# --- consumers ------------------------------------------------------------------------------------------


async def consume(server, stream, database, *, dies_at=None):
    """Count each announcement in the transaction of its inbox; die after the effect if told to."""
    inbox: Inbox = PostgresInbox(database, consumer="counter")
    async with jetstream(server) as js:
        count = (await js.stream_info(stream)).state.messages
        subscription = await js.pull_subscribe("", stream=stream, durable="counter")
        handled = 0
        while handled < count:
            for message in await subscription.fetch(min(100, count - handled), timeout=5):
                handled += 1
                async with database.transaction():
                    if await inbox.take(message.headers["ce-id"]):
                        await database.execute(
                            "INSERT INTO effects VALUES ($1)", message.headers["ce-id"]
                        )
                if handled == dies_at:
                    return  # after its commit, before its acknowledgement
                await message.ack()


@pytest.fixture
async def database(empty_database_url):
    connection = await asyncpg.connect(empty_database_url)
    await PostgresInbox(connection, consumer="counter").create()
    # Not unique: a second effect would show.
    await connection.execute("CREATE TABLE effects (event_id text NOT NULL)")
    yield connection
    await connection.close()


async def effects(database):
    rows = await database.fetch("SELECT event_id FROM effects ORDER BY event_id")
    return [row["event_id"] for row in rows]


async def test_a_consumer_applies_each_event_once_over_deletion_purge_and_replay(
    server, outbox, database
):
    await published(server, outbox)
    await consume(server, LIVE, database, dies_at=700)
    async with jetstream(server) as js:
        await js.delete_stream(LIVE)  # and its consumers with it
    await replay(server, outbox).run(ignore)
    await consume(server, LIVE, database, dies_at=900)
    await purge(server)
    await replay(server, outbox, first=301).run(ignore)
    await consume(server, LIVE, database)
    await replay(server, outbox, spec=OTHER_SPEC).run(ignore)
    await consume(server, OTHER, database)
    assert await effects(database) == sorted(wanted(outbox))
