"""Clearing's intake against a real NATS server: each instruction once, nothing lost, and what cannot be processed is a dead letter."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from datetime import UTC, date, datetime
from hashlib import sha256
from uuid import UUID, uuid4

import nats
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, StreamConfig

from settlement_engine.domain.backoff import Backoff
from settlement_engine.domain.lifecycle import State
from settlement_engine.domain.money import Money
from settlement_engine.domain.settlement import Instruction, Priority, Settlement
from settlement_engine.embedded import EmbeddedNats
from settlement_engine.errors import (
    Broken,
    IdempotencyConflict,
    InvalidInstruction,
    NotPermitted,
    Overloaded,
    Unavailable,
)
from settlement_engine.events import ClearingIntake, ClearingSettings, NatsAccess
from settlement_engine.events.clearing import _Parsed
from tests.support.waiting import until
from tests.unit.events.fakes import MemoryDeadLetters

TIMEOUT_SECONDS = 20.0


@pytest.fixture
def server(tmp_path):
    server = EmbeddedNats(tmp_path / "nats")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def engine():
    return RecordingEngine()


@pytest.fixture
def dead_letter_queue():
    return MemoryDeadLetters()


class RecordingEngine:
    """The engine's ``submit`` in memory. ``say`` maps obligations to what is answered for them."""

    def __init__(self):
        self.accepted: dict[str, UUID] = {}
        self.submitted = []
        self.calls = []
        self.say = {}
        self.raises: list[Exception] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def submit(self, instructions):
        await self.gate.wait()
        self.calls.append(len(instructions))
        if self.raises:
            raise self.raises.pop(0)
        self.submitted += [one.obligation_id for one in instructions]
        return [self._admit(one) for one in instructions]

    def _admit(self, instruction):
        said = self.say.get(instruction.obligation_id)
        if isinstance(said, list):
            said = said.pop(0) if said else None
        if isinstance(said, ZeroDivisionError):
            raise said
        if said is not None:
            return said
        is_replay = instruction.obligation_id in self.accepted
        key = self.accepted.setdefault(instruction.obligation_id, uuid4())
        now = datetime(2026, 1, 31, tzinfo=UTC)
        return Settlement(
            id=key,
            instruction=instruction,
            state=State.VALIDATING,
            seq=1,
            fencing_token=1,
            created_at=now,
            value_date=date(2026, 1, 31),
            is_replay=is_replay,
        )


def parse(payload):
    try:
        fields = json.loads(payload)
        return Instruction(
            caller="clearing",
            idempotency_key=fields.get("idempotency_key", fields["obligation_id"]),
            obligation_id=fields["obligation_id"],
            from_bank="ALPHA",
            to_bank="BETA",
            amount=Money(100, "EUR"),
            value_date=None,
            priority=Priority.NORMAL,
            metadata={},
        )
    except (ValueError, KeyError) as fault:
        raise InvalidInstruction([("obligation_id", f"cannot be read: {fault}")]) from fault


def make_intake(url, engine, dead_letter_queue, **changes):
    defaults = {
        "makes_stream": True,
        "fetch_seconds": 0.2,
        "again_after_seconds": 0.05,
        "ack_wait_seconds": 1.0,
        "reconnect": Backoff(first_seconds=0.02, max_seconds=0.1),
    }
    return ClearingIntake(
        nats=NatsAccess(servers=(url,)),
        parse=parse,
        engine=engine,
        dead_letter_queue=dead_letter_queue,
        settings=ClearingSettings(**{**defaults, **changes}),
    )


@contextlib.asynccontextmanager
async def running(intake):
    task = asyncio.create_task(intake.run())
    try:
        await until(lambda: intake.is_connected)
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


async def send(url, *payloads):
    async with jetstream(url) as js:
        for payload in payloads:
            text = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
            await js.publish("clearing.instructions", text)


def obligations(first, last):
    return [{"obligation_id": f"OBL-{number}"} for number in range(first, last)]


async def until_settled(url):
    """Wait until NATS has an answer for every message."""
    async with jetstream(url) as js:

        async def settled():
            info = await js.consumer_info("clearing", "settlement-engine")
            return info if info.num_pending == 0 and info.num_ack_pending == 0 else None

        return await until(settled)


async def test_instructions_are_submitted_in_batches_and_acknowledged(
    server, engine, dead_letter_queue
):
    async with running(make_intake(server.url(), engine, dead_letter_queue)):
        await send(server.url(), *obligations(0, 300))
        await until(lambda: len(engine.accepted) == 300)
        await until_settled(server.url())
    assert engine.submitted == [f"OBL-{number}" for number in range(300)]
    assert not dead_letter_queue.kept


async def test_nothing_is_acknowledged_before_it_is_written_down(server, engine, dead_letter_queue):
    async with running(make_intake(server.url(), engine, dead_letter_queue)):
        engine.gate.clear()
        await send(server.url(), *obligations(0, 3))
        async with jetstream(server.url()) as js:

            async def are_delivered():
                return (await js.consumer_info("clearing", "settlement-engine")).num_ack_pending

            await until(are_delivered)
        assert not engine.accepted
        # The intake dies here, before the commit.
    engine.gate.set()
    async with running(make_intake(server.url(), engine, dead_letter_queue)):
        await until_settled(server.url())
    assert set(engine.accepted) == {"OBL-0", "OBL-1", "OBL-2"}


async def test_an_unreadable_message_becomes_a_dead_letter_with_the_reason(
    server, engine, dead_letter_queue
):
    big = json.dumps({"obligation_id": "x" * 70_000}).encode()
    rubbish = [b"", b"{", b"\xff\xfe", b"{}", big]
    async with running(make_intake(server.url(), engine, dead_letter_queue)):
        await send(server.url(), *obligations(0, 2), *rubbish, *obligations(2, 4))
        await until_settled(server.url())
    assert len(engine.accepted) == 4
    assert [dead_letter.payload for dead_letter in dead_letter_queue.kept] == [
        each[:65_536] for each in rubbish
    ]
    assert [dead_letter.payload_bytes for dead_letter in dead_letter_queue.kept] == [
        len(each) for each in rubbish
    ]
    assert {dead_letter.subject for dead_letter in dead_letter_queue.kept} == {
        "clearing.instructions"
    }
    assert all("obligation_id" in dead_letter.why for dead_letter in dead_letter_queue.kept[:4])
    assert "65536 bytes" in dead_letter_queue.kept[4].why


@pytest.mark.parametrize(
    "fault",
    [
        IdempotencyConflict("the key stands for another amount", field="amount"),
        NotPermitted("clearing may not do this"),
    ],
)
async def test_a_permanently_refused_instruction_becomes_a_dead_letter(
    server, engine, dead_letter_queue, fault
):
    engine.say["OBL-1"] = fault
    async with running(make_intake(server.url(), engine, dead_letter_queue)):
        await send(server.url(), *obligations(0, 3))
        await until_settled(server.url())
    assert set(engine.accepted) == {"OBL-0", "OBL-2"}
    assert engine.submitted.count("OBL-1") == 1
    assert len(dead_letter_queue.kept) == 1
    assert str(fault) in dead_letter_queue.kept[0].why


@pytest.mark.parametrize(
    "fault",
    [
        Overloaded("draining", retry_after_seconds=0.05),
        Unavailable("PostgreSQL cannot be reached"),
    ],
)
async def test_a_temporarily_refused_message_is_redelivered_until_accepted(
    server, engine, dead_letter_queue, fault
):
    engine.raises = [fault] * 8
    engine.say["OBL-1"] = [fault] * 7
    async with running(make_intake(server.url(), engine, dead_letter_queue, faults_max=2)):
        await send(server.url(), *obligations(0, 3))
        await until_settled(server.url())
    assert len(engine.accepted) == 3
    assert not dead_letter_queue.kept


async def test_a_batch_that_meets_an_overload_is_not_cut_up(engine, dead_letter_queue):
    intake = make_intake("nats://127.0.0.1:1", engine, dead_letter_queue)
    fault = Overloaded("draining", retry_after_seconds=0.05)
    engine.raises = [fault]
    instructions = [parse(json.dumps(one)) for one in obligations(0, 3)]
    parsed = [_Parsed(Msg(Client()), one) for one in instructions]
    assert await intake._submit(parsed) == [fault] * 3
    assert engine.calls == [3]


async def test_an_instruction_that_fails_its_batch_becomes_a_dead_letter(
    server, engine, dead_letter_queue
):
    engine.say["OBL-5"] = ZeroDivisionError("a bug of ours")
    engine.say["OBL-6"] = Broken("damaged")
    async with running(make_intake(server.url(), engine, dead_letter_queue, faults_max=3)):
        await send(server.url(), *obligations(0, 10))
        await until_settled(server.url())
    assert len(engine.accepted) == 8
    assert {json.loads(one.payload)["obligation_id"] for one in dead_letter_queue.kept} == {
        "OBL-5",
        "OBL-6",
    }


async def test_a_temporary_fault_stores_no_dead_letter(server, engine, dead_letter_queue):
    engine.say["OBL-1"] = [Broken("for a moment")] * 2
    async with running(make_intake(server.url(), engine, dead_letter_queue)):
        await send(server.url(), *obligations(0, 3))
        await until_settled(server.url())
    assert len(engine.accepted) == 3
    assert not dead_letter_queue.kept


async def test_an_unreadable_message_waits_while_dead_letters_cannot_be_stored(
    server, engine, dead_letter_queue, capsys
):
    dead_letter_queue.trouble = Unavailable("PostgreSQL cannot be reached")
    async with running(make_intake(server.url(), engine, dead_letter_queue)):
        await send(server.url(), b"rubbish", *obligations(0, 1))
        await until(lambda: engine.accepted)
        async with jetstream(server.url()) as js:
            info = await js.consumer_info("clearing", "settlement-engine")
            assert info.num_ack_pending == 1
        dead_letter_queue.trouble = None
        await until_settled(server.url())
    assert "clearing.waiting" not in capsys.readouterr().out, "the connection has no part in it"
    assert [dead_letter.payload for dead_letter in dead_letter_queue.kept] == [b"rubbish"]


@pytest.mark.parametrize("is_running", [True, False])
async def test_a_recreated_consumer_stores_no_dead_letter_twice(
    server, engine, dead_letter_queue, is_running
):
    rubbish = [b"rubbish", b"rubbish", b"{"]
    intake = make_intake(server.url(), engine, dead_letter_queue)
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(running(intake))
        await send(server.url(), *rubbish, *obligations(0, 2))
        await until_settled(server.url())
        if not is_running:
            await stack.aclose()
        async with jetstream(server.url()) as js:
            await js.delete_consumer("clearing", "settlement-engine")
        if not is_running:
            await stack.enter_async_context(running(intake))
        await send(server.url(), b"more", *obligations(2, 3))
        await until(lambda: len(engine.accepted) == 3)
        await until_settled(server.url())
    assert [dead_letter.payload for dead_letter in dead_letter_queue.kept] == [*rubbish, b"more"]
    assert [dead_letter.origin.sequence for dead_letter in dead_letter_queue.kept] == [1, 2, 3, 6]
    assert engine.submitted.count("OBL-0") == 2, "it was handed out again"


async def test_nothing_to_do_is_no_reason_to_connect_anew(
    server, engine, dead_letter_queue, monkeypatch
):
    """nats-py says in several ways that there was nothing, one of them a bare TimeoutError."""
    quiet = [TimeoutError(), nats.errors.TimeoutError()] * 3
    fetch = JetStreamContext.PullSubscription.fetch

    async def fetch_nothing(self, *arguments, **named):
        if quiet:
            raise quiet.pop()
        return await fetch(self, *arguments, **named)

    monkeypatch.setattr(JetStreamContext.PullSubscription, "fetch", fetch_nothing)
    intake = make_intake(server.url(), engine, dead_letter_queue)
    async with running(intake):
        await send(server.url(), *obligations(0, 1))
        await until(lambda: engine.accepted)
    assert quiet == []
    assert intake._failures == 0
    assert intake._sessions == 1


async def test_dead_letters_are_stored_up_to_their_limits(server, engine, dead_letter_queue):
    intake = make_intake(
        server.url(), engine, dead_letter_queue, kept_bytes_max=10, open_dead_letters_max=3
    )
    async with running(intake):
        await send(server.url(), b"x" * 100_000, b"short", b"third", b"fourth")
        await until_settled(server.url())
    assert [each.payload for each in dead_letter_queue.kept] == [
        b"x" * 10,
        b"short",
        b"third",
        b"",
    ]
    assert [each.payload_bytes for each in dead_letter_queue.kept] == [100_000, 5, 5, 6]
    assert [each.is_whole for each in dead_letter_queue.kept] == [False, True, True, False]
    assert dead_letter_queue.kept[3].payload_hash == sha256(b"fourth").digest()
    assert dead_letter_queue.counted == 1, "they are not counted for each"


@pytest.mark.kill
async def test_nats_killed_and_restarted_loses_no_instruction(server, engine, dead_letter_queue):
    intake = make_intake(server.url(), engine, dead_letter_queue)
    async with running(intake):
        await send(server.url(), *obligations(0, 200))
        await until(lambda: engine.accepted)
        os.kill(server.pid, signal.SIGKILL)
        await until(lambda: not intake.is_connected)
        server.restart_if_dead()
        await send(server.url(), *obligations(200, 300))
        await until(lambda: len(engine.accepted) == 300)
        await until_settled(server.url())
    assert not dead_letter_queue.kept


async def test_two_engines_share_the_work(server, dead_letter_queue):
    first, second = RecordingEngine(), RecordingEngine()
    async with (
        running(make_intake(server.url(), first, dead_letter_queue, batch_max=5)),
        running(make_intake(server.url(), second, dead_letter_queue, batch_max=5)),
    ):
        await send(server.url(), *obligations(0, 200))
        await until_settled(server.url())
    assert len(set(first.accepted) | set(second.accepted)) == 200


async def test_stop_finishes_the_batch_in_hand(server, engine, dead_letter_queue):
    intake = make_intake(server.url(), engine, dead_letter_queue)
    async with running(intake) as task:
        engine.gate.clear()
        await send(server.url(), *obligations(0, 1))
        stopping = asyncio.create_task(intake.stop())
        engine.gate.set()
        await stopping
        await task
    assert set(engine.submitted) == set(engine.accepted)


async def test_a_stream_that_belongs_to_others_is_waited_for(server, engine, dead_letter_queue):
    intake = make_intake(server.url(), engine, dead_letter_queue, makes_stream=False)
    task = asyncio.create_task(intake.run())
    try:
        await until(lambda: intake._failures > 2)
        async with jetstream(server.url()) as js:
            await js.add_stream(StreamConfig(name="clearing", subjects=["clearing.>"]))
        await send(server.url(), *obligations(0, 1))
        await until(lambda: engine.accepted)
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_a_consumer_that_would_lose_instructions_is_not_used(
    server, engine, dead_letter_queue, capsys
):
    async with jetstream(server.url()) as js:
        await js.add_stream(StreamConfig(name="clearing", subjects=["clearing.>"]))
        await js.add_consumer(
            "clearing", ConsumerConfig(durable_name="settlement-engine", ack_policy=AckPolicy.NONE)
        )
    intake = make_intake(server.url(), engine, dead_letter_queue)
    task = asyncio.create_task(intake.run())
    try:
        await until(lambda: intake._failures > 0)
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    assert "explicit acknowledgement" in capsys.readouterr().out


class SwallowingEngine(RecordingEngine):
    """Answers in the very moment in which the intake is cancelled, and so swallows the cancellation.

    ``asyncio.wait_for`` does that to nats-py's waits, before Python 3.12.
    """

    def __init__(self):
        super().__init__()
        self.is_asked = asyncio.Event()
        self.swallowed = 0

    async def submit(self, instructions):
        if not self.swallowed:
            self.is_asked.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.swallowed += 1
        return await super().submit(instructions)


async def test_an_intake_ends_although_its_cancellation_was_swallowed(server, dead_letter_queue):
    engine = SwallowingEngine()
    task = asyncio.create_task(make_intake(server.url(), engine, dead_letter_queue).run())

    async def is_sent():
        with contextlib.suppress(nats.js.errors.NoStreamResponseError):
            await send(server.url(), *obligations(0, 1))
            return True
        return task.done()

    await until(is_sent)
    async with asyncio.timeout(TIMEOUT_SECONDS):
        await engine.is_asked.wait()
    task.cancel()
    done, _ = await asyncio.wait([task], timeout=TIMEOUT_SECONDS)
    ended = task in done
    task.cancel()
    await asyncio.wait([task])
    assert engine.swallowed == 1
    assert ended, "the intake goes on, although it was cancelled"
