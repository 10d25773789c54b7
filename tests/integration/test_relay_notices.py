"""Notices among the moves, on a real NATS server: each once and in order, whatever dies, and foreign stays foreign."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import pytest

from settlement_client import MemoryInbox
from settlement_engine.domain.announcement import event_id
from settlement_engine.domain.notices import notice_id
from settlement_engine.embedded import EmbeddedNats
from settlement_engine.errors import WrongState
from settlement_engine.events import NatsAccess, NoticeLane, Replay, ReplaySettings, StreamSpec
from settlement_engine.events.notice_messages import NoticeAnnouncer
from settlement_engine.events.notice_position import NoticePlace
from settlement_engine.events.stream_check import LOOKED_AT_MAX, NatsEventStreamCheck
from tests.integration.test_relay import STREAM, jetstream, make_relay, running, stored
from tests.support.waiting import turns, until
from tests.unit.events.fakes import CountingMeter, MemoryNoticeOutbox, MemoryOutbox

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from settlement_engine.events.announce import Message

ANNOUNCER = NoticeAnnouncer(prefix="settlement", source="/settlement-engine")
SECONDS = 30.0


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedNats]:
    server = EmbeddedNats(tmp_path_factory.mktemp("nats"))
    server.start()
    yield server
    server.stop()


class Ground:
    """A server, both outboxes, and what the stream holds of them."""

    def __init__(self, server: EmbeddedNats) -> None:
        self.url = server.url()
        self.moves, self.notices = MemoryOutbox(), MemoryNoticeOutbox()
        self.meter = CountingMeter()

    def relay(self, **changes: Any) -> contextlib.AbstractAsyncContextManager[Any]:
        made = make_relay(self.url, self.moves, self.meter, notices=self.notices, **changes)
        return running(made)

    def add(self, moves: int, notices: int) -> None:
        self.moves.add(moves)
        self.notices.add(notices)

    async def until_published(self) -> None:
        wanted = (len(self.moves.announcements), len(self.notices.notices))
        await until(lambda: (self.moves.marked, self.notices.marked[0]) == wanted, seconds=SECONDS)

    def ids(self) -> tuple[list[str], list[str]]:
        moves = [event_id(each.moved) for each in self.moves.announcements]
        return moves, [notice_id(each) for each in self.notices.notices]

    async def held(self) -> tuple[list[str], list[str]]:
        """Return the ids in the stream: those of moves, and those of notices."""
        found: tuple[list[str], list[str]] = ([], [])
        for message in await stored(self.url):
            headers = message.headers or {}
            if "ce-id" in headers:
                found["ce-noticesequence" in headers].append(headers["ce-id"])
        return found

    async def check_exact(self) -> None:
        assert await self.held() == self.ids()
        assert not self.meter.invariant_warnings

    async def publish(self, subject: str, body: bytes, headers: dict[str, str]) -> None:
        async with jetstream(self.url) as js:
            await js.publish(subject, body, headers=headers)


@pytest.fixture
async def ground(shared: EmbeddedNats) -> AsyncIterator[Ground]:
    yield Ground(shared)
    async with jetstream(shared.url()) as js:
        await js.delete_stream(STREAM)


def lines(message: Message) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in message.headers.split("\r\n") if line)


async def test_moves_and_notices_arrive_once_and_each_in_its_order(ground):
    ground.add(300, 150)
    async with ground.relay():
        await ground.until_published()
        for moves, notices in ((1, 0), (0, 1), (3, 2)):
            ground.add(moves, notices)
            await ground.until_published()
    await ground.check_exact()
    [first, *_] = [each for each in await stored(ground.url) if "recall" in each.subject]
    assert first.subject == "settlement.recall.requested"
    body = json.loads(first.data)
    assert first.headers["ce-noticesequence"] == str(body["notice_sequence"]) == "1"
    assert "ce-sequence" not in first.headers
    assert "sequence" not in body, "nobody takes it for the number of a move"
    assert (body["state"], body["amount"], body["currency"]) == ("REQUESTED", "12.50", "EUR")


async def test_a_relay_that_is_killed_again_and_again_loses_nothing_and_repeats_nothing(ground):
    """Tasks are cancelled at any await: in the middle of a batch, before its mark, and while looking."""
    inbox = MemoryInbox()
    effects: list[str] = []
    for kill in range(25):
        ground.add(7, 5)
        async with ground.relay():
            if kill % 2:
                await turns(40 * kill)
            else:
                reached = len(ground.notices.notices) - kill % 5
                await until(lambda: ground.notices.marked[0] >= reached, seconds=SECONDS)  # noqa: B023
    async with ground.relay():
        await ground.until_published()
    await ground.check_exact()
    for name in [message.headers["ce-id"] for message in await stored(ground.url)]:
        effects += [name] if await inbox.take(name) else []
    assert sorted(effects) == sorted([*ground.ids()[0], *ground.ids()[1]])


async def test_two_relays_at_the_same_time_write_nothing_twice(ground):
    ground.add(120, 120)
    async with ground.relay(), ground.relay():
        for _ in range(20):
            ground.add(3, 3)
            await turns()
        await ground.until_published()
    assert await ground.held() == ground.ids()


async def test_a_mark_that_was_lost_is_found_in_the_stream(ground):
    ground.add(5, 40)
    async with ground.relay():
        await ground.until_published()
    ground.notices.marked = (12, 12 + 5)
    ground.add(0, 1)
    async with ground.relay():
        await ground.until_published()
    await ground.check_exact()


@pytest.mark.parametrize("mark", [(40, 45), (40, 3), (40, 0), (12, 17)])
async def test_a_stream_that_was_deleted_is_written_again(ground, mark):
    ground.add(5, 40)
    async with ground.relay():
        await ground.until_published()
    async with jetstream(ground.url) as js:
        await js.delete_stream(STREAM)
    ground.notices.marked = mark
    async with ground.relay(check_seconds=0.05):
        await until(lambda: _has(ground, 45), seconds=SECONDS)
    assert await ground.held() == ground.ids()
    assert ground.meter.invariant_warnings["stream_behind"] > 0


async def _has(ground: Ground, count: int) -> bool:
    async with jetstream(ground.url) as js:
        with contextlib.suppress(Exception):
            return bool((await js.stream_info(STREAM)).state.messages >= count)
    return False


async def test_a_lost_end_is_written_again(ground):
    ground.add(5, 40)
    async with ground.relay():
        await ground.until_published()
    async with jetstream(ground.url) as js:
        for sequence in range(30, 46):
            await js.delete_msg(STREAM, sequence)
    async with ground.relay():
        await until(lambda: _has(ground, 45), seconds=SECONDS)
    assert [sorted(each) for each in await ground.held()] == [sorted(each) for each in ground.ids()]


async def test_what_was_purged_on_purpose_stays_away(ground):
    ground.add(5, 40)
    async with ground.relay():
        await ground.until_published()
    async with jetstream(ground.url) as js:
        await js.purge_stream(STREAM)
    ground.add(1, 1)
    async with ground.relay():
        await ground.until_published()
    moves, notices = ground.ids()
    assert await ground.held() == (moves[5:], notices[40:])


async def test_thousands_of_notices_behind_the_moves_hide_no_move(ground):
    """The last move is found behind more notices than are read one by one, and a restart repeats nothing."""
    ground.add(20, 1_500)
    async with ground.relay():
        await ground.until_published()
    ground.moves.marked = 3
    ground.add(2, 0)
    async with ground.relay():
        await ground.until_published()
    await ground.check_exact()
    ground.add(0, LOOKED_AT_MAX + 1)
    async with ground.relay():
        await ground.until_published()
    last = await NatsEventStreamCheck(
        NatsAccess(servers=(ground.url,)), STREAM, "settlement"
    ).last_announced()
    assert last is not None
    assert last.position == 22


# --- somebody else ----------------------------------------------------------------------------------


async def test_foreign_messages_under_our_subjects_stay_foreign(ground):
    """Whatever somebody writes there, also a forgery of the next notice: each of ours follows it."""
    ground.add(4, 3)
    async with ground.relay():
        await ground.until_published()
    ground.notices.add(3)
    fourth, fifth, sixth = ANNOUNCER.messages(ground.notices.notices[3:])
    await ground.publish("settlement.anything.else", b"{}", {})
    await ground.publish(fourth.subject, b"{}", {"ce-noticesequence": "4"})
    await ground.publish(fourth.subject, b'{"a": "lie"}', lines(fourth))
    await ground.publish("settlement.recall.other", fifth.body.encode(), lines(fifth))
    async with ground.relay(check_seconds=0.05):
        await ground.until_published()
    ours = {each.event_id: each for each in (fourth, fifth, sixth)}
    found = [
        message.headers["ce-id"]
        for message in await stored(ground.url)
        if (mine := ours.get((message.headers or {}).get("ce-id", ""))) is not None
        and (mine.subject, mine.body.encode()) == (message.subject, message.data)
    ]
    assert found == list(ours)
    assert ground.meter.invariant_warnings["stream_foreign"] > 0
    assert (await ground.held())[0] == ground.ids()[0]
    warned = ground.meter.invariant_warnings["stream_foreign"]
    ground.notices.marked = NoticePlace(*ground.notices.marked)
    looks = ground.notices.looks
    async with ground.relay(check_seconds=0.05):
        await until(lambda: ground.notices.looks >= looks + 3, seconds=SECONDS)
    assert ground.meter.invariant_warnings["stream_foreign"] == warned, "it is behind what is known"


async def test_a_relay_without_notices_leaves_them_alone(ground):
    """An engine of the version before: to it they are foreign, and it publishes every move behind them."""
    ground.add(3, 3)
    async with ground.relay():
        await ground.until_published()
    ground.moves.add(20)
    async with running(make_relay(ground.url, ground.moves, ground.meter)):
        await until(lambda: ground.moves.marked == 23, seconds=SECONDS)
    ground.notices.add(2)
    async with ground.relay():
        await ground.until_published()
    await ground.check_exact()


async def test_a_gap_is_never_skipped(ground):
    ground.add(1, 3)
    missing = ground.notices.notices.pop(1)
    async with ground.relay():
        await until(lambda: ground.meter.invariant_warnings["outbox_gap"] > 0, seconds=SECONDS)
        assert (await ground.held())[1] == ground.ids()[1][:1]
        ground.notices.notices.insert(1, missing)
        await ground.until_published()
    assert await ground.held() == ground.ids()


# --- replay -----------------------------------------------------------------------------------------


def replay(ground: Ground, first: int, spec: StreamSpec, *, is_of_notices: bool) -> Replay:
    settings = ReplaySettings(stream=spec, first=first, batch_max=20)
    notices = NoticeLane(ground.notices, spec, settings.source, ground.meter)
    return Replay(
        outbox=notices if is_of_notices else ground.moves,
        nats=NatsAccess(servers=(ground.url,)),
        meter=ground.meter,
        settings=settings,
    )


async def test_both_outboxes_are_replayed_into_a_stream_that_was_purged(ground):
    ground.add(50, 45)
    spec = StreamSpec(name=STREAM, duplicate_window_seconds=0.3)
    async with ground.relay(stream=spec):
        await ground.until_published()
    async with jetstream(ground.url) as js:
        await js.purge_stream(STREAM)
    for is_of_notices in (False, True):
        for _ in range(2):  # the second time it is all there
            await replay(ground, 1, spec, is_of_notices=is_of_notices).run(lambda _: None)
    await ground.check_exact()
    ground.add(2, 2)
    async with ground.relay(stream=spec):
        await ground.until_published()
    await ground.check_exact()


async def test_notices_are_replayed_into_another_stream_and_the_order_is_kept(ground):
    ground.add(3, 30)
    async with ground.relay():
        await ground.until_published()
    other = StreamSpec(name="again", prefix="again")
    try:
        plan = await replay(ground, 11, other, is_of_notices=True).run(lambda _: None)
        assert (plan.after, plan.count) == (10, 20)
        with pytest.raises(WrongState):
            await replay(ground, 5, other, is_of_notices=True).plan()
        async with jetstream(ground.url) as js:
            first = await js.get_msg("again", seq=1)
        assert first.subject == "again.recall.requested"
        assert first.headers["ce-id"] == ground.ids()[1][10]
    finally:
        async with jetstream(ground.url) as js:
            await js.delete_stream("again")
