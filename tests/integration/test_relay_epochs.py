"""System epochs in the stream: what was announced before a restore stays, and is never overwritten."""

from __future__ import annotations

import json
from bisect import bisect_right
from datetime import timedelta
from operator import attrgetter
from typing import TYPE_CHECKING

import msgspec
import pytest

from settlement_engine.domain.announcement import POSITIONS_PER_EPOCH, event_id
from settlement_engine.embedded import EmbeddedNats
from settlement_engine.events import NatsAccess, Relay, StreamSpec
from settlement_engine.events.stream_check import NatsEventStreamCheck
from tests.integration.test_relay import (
    STREAM,
    jetstream,
    running,
    settings,
    stored,
    until_forgotten,
)
from tests.support.waiting import until
from tests.unit.events.fakes import CountingMeter, MemoryOutbox, announcement

if TYPE_CHECKING:
    from settlement_engine.ports import StaleDatabase


class EpochOutbox(MemoryOutbox):
    """An outbox whose positions may start again in a later epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.system_epoch = 0

    def begin(self, system_epoch: int) -> None:
        self.system_epoch = system_epoch

    def add(self, count, *, timeline=0):
        """Add moves; those of another timeline have the same names, and happened at another time."""
        for _ in range(count):
            number = len(self.announcements)
            last = self.announcements[-1].moved.position if self.announcements else 0
            position = max(last, self.system_epoch * POSITIONS_PER_EPOCH) + 1
            made = announcement(position, settlement=number + 1)
            at = made.moved.at + timedelta(hours=timeline)
            moved = msgspec.structs.replace(made.moved, at=at)
            self.announcements.append(msgspec.structs.replace(made, moved=moved))

    async def read(self, after, limit, settlement_id=None):
        self._fail()
        key = attrgetter("moved.position")
        start = bisect_right(self.announcements, after, key=key)
        return self.announcements[start : start + limit]

    async def head(self):
        return max(await super().head(), self.system_epoch * POSITIONS_PER_EPOCH)


@pytest.fixture
def server(tmp_path):
    server = EmbeddedNats(tmp_path / "nats")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def outbox():
    return EpochOutbox()


def make_relay(server, outbox, stale_reports, meter=None, database_run=None, **changes):
    return Relay(
        outbox=outbox,
        nats=NatsAccess(servers=(server.url(),)),
        meter=CountingMeter() if meter is None else meter,
        settings=settings(**changes),
        report_stale=stale_reports.append,
        database_run=database_run,
    )


async def names(server):
    return [message.headers["ce-id"] for message in await stored(server.url())]


def wanted(outbox, start=0):
    return [event_id(one.moved) for one in outbox.announcements[start:]]


async def publish_all(server, outbox, stale_reports, **changes):
    async with running(make_relay(server, outbox, stale_reports, **changes)):
        last = outbox.announcements[-1].moved.position
        await until(lambda: outbox.marked >= last)


async def test_a_new_epoch_follows_its_marker(server, outbox):
    stale_reports: list[StaleDatabase] = []
    outbox.add(30)
    await publish_all(server, outbox, stale_reports)
    outbox.begin(1)
    outbox.add(30)
    await publish_all(server, outbox, stale_reports)
    assert await names(server) == [*wanted(outbox)[:30], "reopened.1", *wanted(outbox, 30)]
    assert stale_reports == []
    marker = (await stored(server.url()))[30]
    assert marker.subject == "settlement.reopened"
    assert json.loads(marker.data) == {
        "event_id": "reopened.1",
        "sequence": POSITIONS_PER_EPOCH,
        "event_type": "settlement.reopened",
        "era": 1,
        "last_sequence": 30,
    }


@pytest.mark.parametrize("batch_max", [1, 7, 500])
async def test_epochs_may_begin_within_a_batch_and_stay_empty(server, outbox, batch_max):
    outbox.add(5)
    for system_epoch in (1, 3, 4):
        outbox.begin(system_epoch)
        outbox.add(0 if system_epoch == 3 else 5)
    await publish_all(server, outbox, [], batch_max=batch_max)
    found = await names(server)
    places = wanted(outbox)
    assert found == [*places[:5], "reopened.1", *places[5:10], "reopened.4", *places[10:]]


async def test_an_epochs_marker_is_published_without_transitions(server, outbox):
    outbox.add(3)
    async with running(make_relay(server, outbox, [])) as _:
        await until(lambda: outbox.marked >= 3)
        outbox.begin(2)
        await until(lambda: outbox.marked >= 2 * POSITIONS_PER_EPOCH)
        assert await names(server) == [*wanted(outbox), "reopened.2"]
        marker = (await stored(server.url()))[3]
        assert json.loads(marker.data)["last_sequence"] == 3
        outbox.add(3)
        await until(lambda: outbox.marked >= 2 * POSITIONS_PER_EPOCH + 3)
    places = wanted(outbox)
    assert await names(server) == [*places[:3], "reopened.2", *places[3:]]
    outbox.begin(3)
    async with running(make_relay(server, outbox, [])):
        await until(lambda: outbox.marked >= 3 * POSITIONS_PER_EPOCH)
    assert (await names(server))[-1] == "reopened.3"


class LateOutbox(EpochOutbox):
    """A move is committed between the relay's look at the moves and its look at the head."""

    def __init__(self) -> None:
        super().__init__()
        self.is_late = False

    async def head(self):
        if self.is_late:
            self.is_late = False
            self.add(1)
            self.begin(1)
        return await super().head()


async def test_earlier_commits_are_published_before_an_epochs_marker(server):
    outbox = LateOutbox()
    outbox.add(3)
    async with running(make_relay(server, outbox, [], mark_seconds=0.0)):
        await until(lambda: outbox.marked >= 3)
        outbox.is_late = True
        await until(lambda: outbox.marked >= POSITIONS_PER_EPOCH)
    assert await names(server) == [*wanted(outbox), "reopened.1"]
    assert json.loads((await stored(server.url()))[4].data)["last_sequence"] == 4


async def test_a_relay_that_dies_behind_the_marker_goes_on_from_it(server, outbox):
    outbox.add(3)
    outbox.begin(1)
    outbox.add(3)
    relay = make_relay(server, outbox, [], batch_max=1)
    async with running(relay):
        await until(lambda: relay._position >= POSITIONS_PER_EPOCH)
    await publish_all(server, outbox, [])
    places = wanted(outbox)
    assert await names(server) == [*places[:3], "reopened.1", *places[3:]]


async def test_a_stream_ahead_of_its_epoch_stops_the_relay_until_a_new_epoch(server, outbox):
    stale_reports: list[StaleDatabase] = []
    outbox.add(100)
    await publish_all(server, outbox, stale_reports)
    before = await names(server)
    outbox.restore(61)
    outbox.add(10, timeline=1)
    meter = CountingMeter()
    async with running(make_relay(server, outbox, stale_reports, meter)):
        await until(lambda: len(stale_reports) > 2)
        assert await names(server) == before, "nothing is published before an epoch has begun"
        assert {each.why for each in stale_reports} == {"stream_ahead"}
        assert {each.system_epoch_min for each in stale_reports} == {1}
        assert meter.invariant_warnings["stream_disagrees"] > 0
        outbox.begin(1)
        outbox.add(5)
        last = outbox.announcements[-1].moved.position
        await until(lambda: outbox.marked >= last)
    found = await names(server)
    assert found[:100] == before
    assert found[-6:] == ["reopened.1", *wanted(outbox, 71)]


async def test_lost_announcements_of_an_earlier_epoch_are_not_overwritten(server, outbox):
    stale_reports: list[StaleDatabase] = []
    outbox.add(100)
    await publish_all(server, outbox, stale_reports)
    before = await names(server)
    outbox.restore(61)
    outbox.begin(1)
    outbox.add(39)
    await publish_all(server, outbox, stale_reports)
    found = await names(server)
    assert found == [*before, "reopened.1", *wanted(outbox, 61)]
    assert len(set(found)) == len(found), "the same move of another time has another name"
    assert stale_reports == []
    marker = (await stored(server.url()))[100]
    assert json.loads(marker.data)["last_sequence"] == 61, (
        "what follows it in the stream is forgotten"
    )


async def test_a_second_restore_of_the_same_backup_skips_the_epoch_of_the_first(server, outbox):
    stale_reports: list[StaleDatabase] = []
    outbox.add(10)
    await publish_all(server, outbox, stale_reports)
    outbox.begin(1)
    outbox.add(10)
    await publish_all(server, outbox, stale_reports)
    outbox.restore(10)  # an engine that has does not know epoch 1 begins it again
    outbox.add(4, timeline=2)
    async with running(make_relay(server, outbox, stale_reports)):
        await until(lambda: stale_reports)
    assert stale_reports[-1].system_epoch_min == 2
    assert stale_reports[-1].known_to == POSITIONS_PER_EPOCH, "the marker of the epoch is the same"


FOREIGN = {
    "beyond every bound": {"ce-sequence": "23000000000000001"},
    "well formed, and beyond every bound": {
        "ce-sequence": "23000000000000001",
        "Nats-Msg-Id": "01900000-0000-7000-8000-000000000001.1.2300",
        "ce-time": "2026-01-31T09:30:00.000000Z",
    },
    "more than 64 bits": {"ce-sequence": "9" * 30, "Nats-Msg-Id": "reopened.9"},
    "more digits than Python reads": {"ce-sequence": "1" * 5_000},
    "of our epoch, under a name that no announcement has": {
        "ce-sequence": "31",
        "Nats-Msg-Id": "something",
        "ce-time": "2026-01-31T09:30:00.000000Z",
    },
    "without a time": {
        "ce-sequence": "31",
        "Nats-Msg-Id": "01900000-0000-7000-8000-000000000001.1",
    },
    "a marker beyond every bound": {
        "ce-sequence": str(2300 * 10**13),
        "Nats-Msg-Id": "reopened.2300",
    },
}
FORGED = {
    "ce-sequence": "31",
    "Nats-Msg-Id": "01900000-0000-7000-8000-000000000001.1",
    "ce-time": "2026-01-31T09:30:00.000000Z",
}


async def publish(server, *headers):
    async with jetstream(server.url()) as js:
        for each in headers:
            await js.publish("settlement.completed", b"{}", headers=each)


@pytest.mark.parametrize("is_running", [True, False])
@pytest.mark.parametrize("headers", FOREIGN.values(), ids=FOREIGN)
async def test_a_foreign_message_begins_no_epoch_and_stops_nothing(
    server, outbox, headers, is_running
):
    stale_reports: list[StaleDatabase] = []
    meter = CountingMeter()
    outbox.add(30)
    if not is_running:
        await publish_all(server, outbox, stale_reports)
        await publish(server, headers)
    async with running(make_relay(server, outbox, stale_reports, meter)):
        await until(lambda: outbox.marked >= 30)
        if is_running:
            await publish(server, headers)
        outbox.add(30)
        await until(lambda: outbox.marked >= 60)
    ours = [name for name in await raw_names(server) if name in set(wanted(outbox))]
    assert ours == wanted(outbox)
    assert stale_reports == []
    assert meter.invariant_warnings["stream_foreign"] == 1
    reported = await NatsEventStreamCheck(
        NatsAccess(servers=(server.url(),)), STREAM, "settlement"
    ).last_announced()
    assert reported is not None
    assert reported.name == ours[-1]


async def raw_names(server):
    return [(message.headers or {}).get("ce-id") for message in await stored(server.url())]


async def test_a_forged_announcement_does_not_mislead_an_engine_that_verified_the_stream(
    server, outbox
):
    stale_reports: list[StaleDatabase] = []
    outbox.add(30)
    runs = [1]
    relay = make_relay(server, outbox, stale_reports, database_run=lambda: runs[-1])
    async with running(relay):
        await until(lambda: outbox.marked >= 30)
        await publish(server, FORGED)
        outbox.add(30)
        await until(lambda: outbox.marked >= 60)
        assert stale_reports == []
        runs.append(2)  # the database may be another one since
        await publish(server, {**FORGED, "Nats-Msg-Id": FORGED["Nats-Msg-Id"] + "0"})
        outbox.add(1)
        await until(lambda: stale_reports)
    assert {each.system_epoch_min for each in stale_reports} == {1}


async def test_lost_transitions_are_detected_behind_foreign_messages(server, outbox):
    stale_reports: list[StaleDatabase] = []
    outbox.add(100)
    await publish_all(server, outbox, stale_reports)
    await publish(server, *FOREIGN.values())
    outbox.restore(61)
    async with running(make_relay(server, outbox, stale_reports)):
        await until(lambda: stale_reports)
    assert stale_reports[0].system_epoch_min == 1
    assert stale_reports[0].known_to == 61


async def test_nothing_is_written_twice_because_of_foreign_messages_between(server, outbox):
    """Every second message is somebody else's, and the last but one is a copy of our first."""
    stale_reports: list[StaleDatabase] = []
    spec = StreamSpec(name=STREAM, duplicate_window_seconds=0.1)
    relay = make_relay(server, outbox, stale_reports, stream=spec, database_run=lambda: 1)
    async with running(relay):
        for number in range(1, 13):
            outbox.add(1)
            await until(lambda wanted=number: outbox.marked >= wanted)
            await publish(server, FORGED if number % 2 else FOREIGN["beyond every bound"])
    first = (await stored(server.url()))[0]
    await until_forgotten(server.url(), 0.1)
    copied = {key: first.headers[key] for key in ("ce-sequence", "Nats-Msg-Id", "ce-id", "ce-time")}
    await publish(server, copied, FOREIGN["beyond every bound"])
    outbox.add(5)
    async with running(make_relay(server, outbox, stale_reports, stream=spec)):
        await until(lambda: outbox.marked >= 17)
    ours = [name for name in await raw_names(server) if name in set(wanted(outbox))]
    assert ours == [*wanted(outbox)[:12], wanted(outbox)[0], *wanted(outbox)[12:]]
    assert stale_reports == []
