from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest
from nats.aio.msg import Msg

from settlement_engine.errors import Unavailable
from settlement_engine.events.announce import Announcer
from settlement_engine.events.connection import NatsLink
from settlement_engine.events.publisher import BATCH_MIN, WINDOW_MAX, Conflict, Publisher
from tests.unit.events.fakes import announcement

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

ANNOUNCER = Announcer(prefix="settlement", source="/test")
MESSAGES = [ANNOUNCER.message(announcement(number)) for number in range(1, BATCH_MIN + 1)]


class Wire(NatsLink):
    """A connection without a server: ``answer`` is called with the reply subjects of each write."""

    def __init__(self, answer):
        super().__init__()
        self.answer = answer
        self.written = b""
        self.hear: Callable[[Msg], Awaitable[None]]

    async def subscribe(self, subject, cb):  # type: ignore[override] # as much as is used
        self.hear = cb

    async def write(self, frames):
        self.written = frames
        starts = [line.decode().split() for line in frames.split(b"\r\n") if line[:5] == b"HPUB "]
        await self.answer(self, [start[2] for start in starts if len(start) == 5])

    async def reply(self, subject, body, headers=None):
        data = json.dumps(body).encode() if body else b""
        await self.hear(Msg(self, subject, "", data, headers))


async def make_publisher(answer, *, is_atomic=True, ack_timeout_seconds=5.0):
    wire = Wire(answer)
    publisher = Publisher(
        wire, stream="s", ack_timeout_seconds=ack_timeout_seconds, is_atomic=is_atomic
    )
    await publisher.start()
    return publisher, wire


def failure(code):
    return {"error": {"code": 400, "err_code": code, "description": "no"}, "stream": "s", "seq": 0}


async def test_a_batch_names_its_predecessor_once_and_asks_for_one_answer():
    async def answer(wire, replies):
        (reply,) = replies
        await wire.reply(reply, {"stream": "s", "seq": 16, "batch": "x", "count": 9})

    publisher, wire = await make_publisher(answer)
    assert await publisher.append(MESSAGES, 7) == (9, 16)
    assert wire.written.count(b"Nats-Expected-Last-Sequence: 7\r\n") == 1
    assert wire.written.count(b"Nats-Batch-Commit: 1\r\n") == 1
    assert wire.written.endswith(MESSAGES[-1].body.encode() + b"\r\n")


async def test_sizes_count_bytes_and_not_characters():
    async def answer(wire, replies):
        await wire.reply(replies[0], {"stream": "s", "seq": 8})

    publisher, wire = await make_publisher(answer)
    message = MESSAGES[0]._replace(body='{"text":"Ärger \u2028 €"}')
    await publisher.append([message], 7)
    start, _, rest = wire.written.partition(b"\r\n")
    head, total = (int(size) for size in start.split()[-2:])
    assert rest[:head].endswith(b"\r\n\r\n")
    assert rest[head:total] == message.body.encode()
    assert rest[total:] == b"\r\n"


@pytest.mark.parametrize("count", [1, 3, BATCH_MIN - 1])
async def test_a_few_messages_are_no_batch_and_each_names_its_predecessor(count):
    async def answer(wire, replies):
        for number, reply in enumerate(replies):
            await wire.reply(reply, {"stream": "s", "seq": 8 + number})

    publisher, wire = await make_publisher(answer)
    messages = [one._replace(event_id=str(number)) for number, one in enumerate(MESSAGES, 1)]
    assert await publisher.append(messages[:count], 7) == (count, 7 + count)
    assert b"Nats-Batch" not in wire.written
    for number in range(count):
        assert wire.written.count(b"Nats-Expected-Last-Sequence: %d\r\n" % (7 + number)) == 1
    frames = wire.written.split(b"HPUB ")[1:]
    for number, frame in enumerate(frames):
        named = b"Nats-Expected-Last-Msg-Id: %d\r\n" % number
        assert (named in frame) == (number > 0)


async def test_of_single_messages_only_what_comes_before_the_first_refusal_counts():
    async def answer(wire, replies):
        assert len(replies) == 4
        for reply, body in zip(
            reversed(replies),
            [failure(10071), {"seq": 3, "duplicate": True}, {"seq": 10}, {"seq": 9}],
            strict=True,
        ):
            await wire.reply(reply, body)

    publisher, _ = await make_publisher(answer, is_atomic=False)
    assert await publisher.append(MESSAGES[:4], 8) == (2, 10)


async def test_a_message_whose_id_the_stream_knows_was_not_stored_now():
    async def answer(wire, replies):
        await wire.reply(replies[0], {"seq": 3, "duplicate": True})

    publisher, _ = await make_publisher(answer)
    with pytest.raises(Conflict) as caught:
        await publisher.append(MESSAGES[:1], 8)
    assert caught.value.is_known_id
    assert caught.value.known_sequence == 3


@pytest.mark.parametrize(
    ("code", "is_known_id"),
    [(10070, False), (10071, False), (10176, False), (10174, False), (10201, True)],
)
async def test_a_stream_that_is_not_as_it_was_seen_is_a_conflict(code, is_known_id):
    async def answer(wire, replies):
        await wire.reply(replies[0], failure(code))

    publisher, _ = await make_publisher(answer)
    with pytest.raises(Conflict) as caught:
        await publisher.append(MESSAGES, 7)
    assert caught.value.is_known_id == is_known_id
    assert publisher.is_atomic == (code != 10174)


async def test_any_other_refusal_is_waited_out():
    async def answer(wire, replies):
        await wire.reply(replies[0], failure(10077))

    publisher, _ = await make_publisher(answer)
    with pytest.raises(Unavailable):
        await publisher.append(MESSAGES, 7)


async def test_a_subject_that_no_stream_takes_is_noticed_at_once():
    async def answer(wire, replies):
        await wire.reply(replies[0], None, {"Status": "503"})

    publisher, _ = await make_publisher(answer)
    with pytest.raises(Unavailable, match="does not take"):
        await publisher.append(MESSAGES, 7)


async def test_an_answer_to_an_earlier_batch_does_not_count():
    earlier: list[str] = []

    async def answer(wire, replies):
        if earlier:
            await wire.reply(earlier[0], {"seq": 11})
        earlier.extend(replies)

    publisher, _ = await make_publisher(answer, ack_timeout_seconds=0.05)
    for _ in range(2):
        with pytest.raises(Unavailable, match="in time"):
            await publisher.append(MESSAGES, 7)


async def test_a_lost_connection_ends_the_wait_at_once():
    async def answer(wire, replies):
        asyncio.get_running_loop().call_soon(asyncio.ensure_future, wire.note_end())

    publisher, _ = await make_publisher(answer, ack_timeout_seconds=60.0)
    with pytest.raises(Unavailable, match="lost"):
        await publisher.append(MESSAGES, 7)
    with pytest.raises(Unavailable, match="lost"):
        await publisher.append(MESSAGES, 7)


async def test_of_many_single_messages_what_was_acknowledged_in_time_counts():
    """A slow server acknowledges the first window; the second one's answer never comes."""
    sizes = []

    async def answer(wire, replies):
        sizes.append(len(replies))
        for number, reply in enumerate(replies if len(sizes) == 1 else []):
            await wire.reply(reply, {"stream": "s", "seq": 8 + number})

    publisher, _ = await make_publisher(answer, is_atomic=False, ack_timeout_seconds=0.05)
    messages = [ANNOUNCER.message(announcement(number)) for number in range(1, WINDOW_MAX + 8)]
    assert await publisher.append(messages, 7) == (WINDOW_MAX, 7 + WINDOW_MAX)
    assert sizes == [WINDOW_MAX, 7]
    with pytest.raises(Unavailable):
        await publisher.append(messages[WINDOW_MAX:], 7 + WINDOW_MAX)
