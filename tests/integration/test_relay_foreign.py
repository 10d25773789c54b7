"""Somebody else publishes among our announcements: whatever it looks like, none of ours is left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from settlement_engine.domain.announcement import POSITIONS_PER_EPOCH
from settlement_engine.embedded import EmbeddedNats
from settlement_engine.events import NatsAccess, StreamSpec
from settlement_engine.events.announce import Announcer, Message
from settlement_engine.events.connection import connect
from settlement_engine.events.publisher import BATCH_MIN, Conflict, Publisher
from tests.integration.test_relay import STREAM, jetstream, make_relay, running, stored
from tests.integration.test_relay_epochs import EpochOutbox
from tests.integration.test_relay_epochs import make_relay as relay_on
from tests.support.waiting import until
from tests.unit.events.fakes import CountingMeter, MemoryOutbox

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    from settlement_engine.events.connection import NatsLink

FEW = 4
assert FEW < BATCH_MIN, "so many go one by one"
ANNOUNCER = Announcer(prefix="settlement", source="/settlement-engine")
CHAINED = 6
"""So many announcements, of which the forged one names the third or the last."""

STORM_ROUNDS = 7


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedNats]:
    server = EmbeddedNats(tmp_path_factory.mktemp("nats"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def server(shared: EmbeddedNats) -> AsyncIterator[EmbeddedNats]:
    yield shared
    async with jetstream(shared.url()) as js:
        await js.delete_stream(STREAM)


@dataclass
class Foreign:
    """A message of somebody else."""

    body: bytes = b"{}"
    headers: dict[str, str] | None = None
    subject: str = "settlement.completed"


def header_lines(message: Message) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in message.headers.split("\r\n") if line)


def without_headers(_: Message) -> Foreign:
    return Foreign()


def with_the_name(message: Message) -> Foreign:
    return Foreign(headers={"Nats-Msg-Id": message.event_id})


def with_the_place(message: Message) -> Foreign:
    return Foreign(headers={"ce-sequence": str(message.position)})


def with_all_headers(message: Message) -> Foreign:
    return Foreign(headers=header_lines(message))


def with_all_headers_but_the_name(message: Message) -> Foreign:
    headers = header_lines(message)
    del headers["Nats-Msg-Id"]
    return Foreign(headers=headers)


def with_another_body(message: Message) -> Foreign:
    body = message.body.replace("12.50", "99.50").encode()
    return Foreign(body=body, headers=header_lines(message), subject=message.subject)


def under_another_subject(message: Message) -> Foreign:
    return Foreign(body=message.body.encode(), headers=header_lines(message))


def to_the_letter(message: Message) -> Foreign:
    return Foreign(message.body.encode(), header_lines(message), message.subject)


KINDS = (
    *(without_headers, with_the_name, with_the_place, with_all_headers),
    *(with_all_headers_but_the_name, with_another_body, under_another_subject, to_the_letter),
)
USES_THE_ID = (with_the_name, with_all_headers, with_another_body, under_another_subject)


async def publish(server: EmbeddedNats, *messages: Foreign) -> None:
    async with jetstream(server.url()) as js:
        for each in messages:
            await js.publish(each.subject, each.body, headers=each.headers)


async def ours(server: EmbeddedNats, outbox: MemoryOutbox) -> list[int]:
    """Return the positions of what is ours to the letter, as the stream holds it."""
    wanted = {one.position: one for one in ANNOUNCER.messages(outbox.announcements, 0)}
    found = []
    for message in await stored(server.url()):
        headers = dict(message.headers or {})
        position = int(headers.get("ce-sequence", "0"))
        mine = wanted.get(position)
        if mine is None or (mine.subject, mine.body.encode()) != (message.subject, message.data):
            continue
        lines = header_lines(mine)
        del lines["Nats-Msg-Id"]
        if all(headers.get(name) == text for name, text in lines.items()):
            found.append(position)
    return found


async def check_all_told(server: EmbeddedNats, outbox: MemoryOutbox, kind: Any) -> None:
    """Check that each is there; once but for copies, in order unless somebody used an id before us."""
    positions = await ours(server, outbox)
    wanted = [one.moved.position for one in outbox.announcements]
    if kind is to_the_letter:
        positions = sorted(set(positions))
    elif kind in USES_THE_ID:
        positions = sorted(positions)
    assert positions == wanted


# --- the publisher ------------------------------------------------------------------------------


class Interrupted:
    """A connection on which something else arrives after so many frames of a write."""

    def __init__(self, connection: NatsLink, after: int, interrupt: Callable[[], Any]) -> None:
        self._connection = connection
        self._after = after
        self._interrupt = interrupt

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    async def write(self, frames: bytes) -> None:
        starts = [0]
        while (position := frames.find(b"\r\nHPUB ", starts[-1])) >= 0:
            starts.append(position + 2)
        cut = [*starts, len(frames)][self._after]
        if cut:
            await self._connection.write(frames[:cut])
            await self._connection.flush()
        await self._interrupt()
        await self._connection.write(frames[cut:])


@pytest.mark.parametrize("is_named", [True, False])
@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("before", range(FEW))
async def test_nothing_is_stored_whose_predecessor_was_not(server, before, count, is_named):
    """However many foreign messages get in between: one of ours must not take them for its predecessor."""
    outbox = MemoryOutbox()
    outbox.add(FEW)
    messages = ANNOUNCER.messages(outbox.announcements, 0)
    headers = {"Nats-Msg-Id": "somebody"} if is_named else None

    async def interrupt() -> None:
        foreign = [
            Foreign(headers=headers and {"Nats-Msg-Id": f"somebody.{number}"})
            for number in range(count)
        ]
        await publish(server, *foreign)

    async with connect(NatsAccess(servers=(server.url(),))) as connection:
        await connection.jetstream().add_stream(StreamSpec(name=STREAM).config())
        publisher = Publisher(
            Interrupted(connection, before, interrupt),  # type: ignore[arg-type] # one in its stead
            stream=STREAM,
            ack_timeout_seconds=5,
            is_atomic=True,
        )
        await publisher.start()
        if before:
            assert await publisher.append(messages, 0) == (before, before)
        else:
            with pytest.raises(Conflict):
                await publisher.append(messages, 0)
    assert await ours(server, outbox) == list(range(1, before + 1))


# --- the relay ----------------------------------------------------------------------------------


class HookedOutbox(EpochOutbox):
    """Something happens between the relay's look at the stream and its next append."""

    def __init__(self) -> None:
        super().__init__()
        self.hooks: list[Callable[[], Any]] = []

    async def read(self, after, limit, settlement_id=None):
        found = await super().read(after, limit)
        if found and limit > 1 and self.hooks:
            await self.hooks.pop(0)()
        return found


def chosen(outbox: MemoryOutbox, number: int) -> Message:
    return ANNOUNCER.messages(outbox.announcements, 0)[number - 1]


@pytest.mark.parametrize("is_atomic", [True, False], ids=["batches", "singles"])
@pytest.mark.parametrize("number", [1, 3])
@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
async def test_what_comes_before_the_first_announcement_leaves_none_out(
    server, kind, count, number, is_atomic
):
    """Between the look at the stream's end and the append, as if a race was lost each time."""
    outbox = HookedOutbox()
    outbox.add(CHAINED)
    foreign = [kind(chosen(outbox, number)), *[Foreign()] * (count - 1)]
    outbox.hooks = [lambda: publish(server, *foreign)] * 2
    relay = make_relay(server.url(), outbox, CountingMeter(), batch_min=2 if is_atomic else 9)
    async with running(relay):
        await until(lambda: outbox.marked >= CHAINED)
    await check_all_told(server, outbox, kind)


@pytest.mark.parametrize("number", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
async def test_what_waits_in_the_stream_before_an_engine_has_begun_leaves_none_out(
    server, kind, number
):
    outbox = EpochOutbox()
    outbox.add(CHAINED)
    async with jetstream(server.url()) as js:
        await js.add_stream(StreamSpec(name=STREAM).config())
    await publish(server, kind(chosen(outbox, number)))
    async with running(make_relay(server.url(), outbox, CountingMeter())):
        await until(lambda: outbox.marked >= CHAINED)
    await check_all_told(server, outbox, kind)


@pytest.mark.parametrize("is_marked", [True, False], ids=["marked", "killed before the mark"])
@pytest.mark.parametrize("number", [3, 4, CHAINED])
@pytest.mark.parametrize("kind", KINDS)
async def test_what_comes_between_announcements_leaves_none_out(server, kind, number, is_marked):
    """Three are published, and marked or not when the engine dies; the next one finds somebody else's."""
    outbox = EpochOutbox()
    outbox.add(3)
    if not is_marked:
        outbox.may_mark.clear()
    async with running(make_relay(server.url(), outbox, CountingMeter())):
        await outbox.marking.wait()
        if is_marked:
            await until(lambda: outbox.marked == 3)
    outbox.may_mark.set()
    outbox.add(CHAINED - 3)
    await publish(server, kind(chosen(outbox, number)), Foreign())
    async with running(make_relay(server.url(), outbox, CountingMeter())):
        await until(lambda: outbox.marked >= CHAINED)
    await check_all_told(server, outbox, kind)


async def test_a_forged_marker_ends_no_epoch_before_all_of_it_was_announced(server):
    outbox = EpochOutbox()
    outbox.add(5)
    outbox.begin(1)
    outbox.add(2)
    marker = ANNOUNCER.marker(1, 0)
    true_marker = ANNOUNCER.marker(1, 5)
    async with jetstream(server.url()) as js:
        await js.add_stream(StreamSpec(name=STREAM).config())
    await publish(server, to_the_letter(marker), to_the_letter(true_marker))
    async with running(make_relay(server.url(), outbox, CountingMeter())):
        await until(lambda: outbox.marked >= POSITIONS_PER_EPOCH + 2)
    assert (await ours(server, outbox))[-8:] == [
        *range(1, 6),
        *range(POSITIONS_PER_EPOCH, POSITIONS_PER_EPOCH + 3),
    ]


async def test_the_marker_of_an_empty_epoch_is_not_written_again(server):
    """Its successor's names it as the last one, and a relay that died has not noted either."""
    outbox = EpochOutbox()
    outbox.add(3)
    async with running(make_relay(server.url(), outbox, CountingMeter())):
        await until(lambda: outbox.marked >= 3)
        outbox.may_mark.clear()
        outbox.marking.clear()
        outbox.begin(1)
        await outbox.marking.wait()
    await until_names(server, 4)
    outbox.begin(2)
    outbox.add(2)
    outbox.marking.clear()
    async with running(make_relay(server.url(), outbox, CountingMeter())):
        await outbox.marking.wait()
    outbox.may_mark.set()
    async with running(make_relay(server.url(), outbox, CountingMeter())):
        await until(lambda: outbox.marked >= 2 * POSITIONS_PER_EPOCH + 2)
    places = [int(each.headers["ce-sequence"]) for each in await stored(server.url())]
    second = 2 * POSITIONS_PER_EPOCH
    assert places == [1, 2, 3, POSITIONS_PER_EPOCH, second, second + 1, second + 2]


async def until_names(server: EmbeddedNats, count: int) -> None:
    assert len(await stored(server.url())) == count


async def storm(
    url: str, outbox: EpochOutbox, kinds: Sequence[Callable[[Message], Foreign]]
) -> None:
    """Publish forgeries of the last announcements, of one kind after the other; then it is over."""
    number = 0
    async with jetstream(url) as js:
        for _ in range(STORM_ROUNDS):
            for one in outbox.announcements[-3:]:
                each = kinds[number % len(kinds)](ANNOUNCER.message(one))
                number += 1
                await js.publish(each.subject, each.body, headers=each.headers)


async def test_under_a_storm_of_foreign_messages_none_is_left_out(server):
    """While it lasts the relay may lose every race. It is a number of messages, and no time, that ends it."""
    outbox = EpochOutbox()
    relay = relay_on(server, outbox, [], database_run=lambda: 1, poll_seconds=0.001)
    async with running(relay):
        outbox.add(1)
        await until(lambda: outbox.marked >= 1)
        for _ in range(4):
            outbox.add(3)
            await storm(server.url(), outbox, KINDS[:-1])
        await until(lambda: outbox.marked >= len(outbox.announcements), seconds=60)
    await check_all_told(server, outbox, with_the_name)
