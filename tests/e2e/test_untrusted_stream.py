"""An engine with a JetStream that others write to, change and fill: nothing stops, and it is all reported."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import urllib.request
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import nats
import pytest

from settlement_engine.domain.announcement import POSITIONS_PER_EPOCH
from settlement_engine.proto import settlement_pb2 as pb
from settlement_engine.store.hosts import addresses
from tests.e2e.world import World, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from nats.js import JetStreamContext

QUICK = ("--set", "banks.mock_latency_ms=5", "--set", "banks.mock_success_rate=1")
MEASURED = ("--set", "monitoring.gauges_interval_seconds=0.2")
CHECKED = ("--set", "monitoring.health_check_interval=0.2")
STREAM = "settlement-events"
TIMEOUT_SECONDS = 30.0
REFUSED_SECONDS = 1.0


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("stream"), *QUICK, *MEASURED, *CHECKED) as world:
        for bank in ("DEUTDEFF", "CHASUS33"):
            world.open_bank(bank, "EUR", "1000000.00")
        yield world


@asynccontextmanager
async def jetstream(world: World) -> AsyncIterator[JetStreamContext]:
    connection = await nats.connect(addresses(world.address["nats_url"]), allow_reconnect=False)
    try:
        yield connection.jetstream()
    finally:
        await connection.close()


async def headers(world: World) -> list[dict[str, str]]:
    async with jetstream(world) as stream:
        last = (await stream.stream_info(STREAM)).state.last_seq
        messages = [await stream.get_msg(STREAM, seq=number) for number in range(1, last + 1)]
    return [dict(message.headers or {}) for message in messages]


async def sequences(world: World) -> list[str]:
    return [each["ce-sequence"] for each in await headers(world)]


def metric(world: World, name: str) -> float:
    with urllib.request.urlopen(world.address["metrics"], timeout=30) as answer:
        found = re.search(rf"^{re.escape(name)} (\S+)$", answer.read().decode(), re.MULTILINE)
    return float(found[1]) if found else 0.0


def check(world: World, name: str) -> dict[str, Any]:
    _, text = world.get("/readyz")
    found: dict[str, Any] = json.loads(text)["checks"][name]
    return found


def settle(world: World) -> None:
    """Settle one, and wait until the stream holds its end: a backlog is 0 before it is measured, too."""
    done = world.execute()
    assert done.status == pb.COMPLETED

    def is_announced() -> bool:
        ended = ("settlement.completed", done.settlement_id)
        shown = asyncio.run(headers(world))
        return ended in [(each.get("ce-type"), each.get("ce-subject")) for each in shown]

    until(is_announced, TIMEOUT_SECONDS, "its end to be announced")


@pytest.mark.parametrize("is_before", [False, True], ids=["after", "before"])
def test_a_foreign_sequence_neither_begins_an_epoch_nor_blocks_an_engine(
    world: World, is_before: bool
) -> None:
    """The messages come after our announcements, or before and between those of a payment."""
    if is_before:
        assert world.execute().status == pb.COMPLETED
    else:
        settle(world)

    async def attack() -> None:
        async with jetstream(world) as stream:
            for sequence in ("23000000000000001", "9" * 30, "1" * 5_000):
                headers = {"ce-sequence": sequence}
                await stream.publish("settlement.completed", b"{}", headers=headers)

    asyncio.run(attack())
    before = world.engine_pids()
    world.kill_engine()
    world.await_new_engine(before)
    settle(world)
    assert check(world, "sending")["text"] == "sending open (recovery 0)"
    ours = [int(each) for each in asyncio.run(sequences(world)) if len(each) < 10]
    assert ours == list(range(1, len(ours) + 1))


def test_a_full_stream_is_reported_and_payments_continue(
    world: World,
) -> None:
    async def bound(spare_bytes: int) -> None:
        async with jetstream(world) as stream:
            info = await stream.stream_info(STREAM)
            limit = info.state.bytes + spare_bytes
            await stream.update_stream(info.config.evolve(max_bytes=limit))

    asyncio.run(bound(1))
    assert world.execute().status == pb.COMPLETED
    refused = "outbox_refused_seconds"
    until(lambda: metric(world, refused) > REFUSED_SECONDS, TIMEOUT_SECONDS, "it to be measured")
    shown = until(
        lambda: "has stored no announcement" in check(world, "events")["text"],
        TIMEOUT_SECONDS,
        "it to be told",
    )
    assert shown
    assert "maximum bytes exceeded" in check(world, "events")["text"]
    assert check(world, "events")["ok"], "payments do not depend on it"
    asyncio.run(bound(10_000_000))
    settle(world)
    until(lambda: metric(world, refused) == 0.0, TIMEOUT_SECONDS, "it to be over")


def test_each_message_is_one_dead_letter_and_all_can_be_dropped_at_once(world: World) -> None:
    async def send_and_delete() -> None:
        async with jetstream(world) as stream:
            for number in range(30):
                await stream.publish("clearing.instructions", b"rubbish %d" % (number % 3))
            await stream.publish("clearing.instructions", b"x" * 900_000)
            while await is_busy(stream):  # noqa: ASYNC110 - a consumer cannot be awaited
                await asyncio.sleep(0.05)
            await stream.delete_consumer("clearing", "settlement-engine")

    async def is_busy(stream: JetStreamContext) -> bool:
        info = await stream.consumer_info("clearing", "settlement-engine")
        return bool(info.num_pending or info.num_ack_pending)

    async def is_made_anew() -> bool:
        async with jetstream(world) as stream:
            try:
                return not await is_busy(stream)
            except nats.js.errors.NotFoundError:
                return False

    asyncio.run(send_and_delete())
    until(lambda: asyncio.run(is_made_anew()), TIMEOUT_SECONDS, "all to be handed out again")
    waiting = "dead_letters_open"
    until(lambda: metric(world, waiting) > 0, TIMEOUT_SECONDS, "them to be measured")
    letters = dead_letters(world, "list", "--limit", "100")
    assert len(letters) == 31
    assert [each["isWhole"] for each in letters if each["payloadBytes"] == 900_000] == [False]
    dry = dead_letters(world, "retry", "--all", "--dry-run")
    assert len(dry) == 30, "the one that was not kept whole cannot be tried again"
    assert len(dead_letters(world, "drop", "--all", "--reason", "a test")) == 31
    until(lambda: metric(world, waiting) == 0, TIMEOUT_SECONDS, "none to be left")


def test_a_new_epoch_is_announced_without_a_payment(world: World) -> None:
    settle(world)
    done = cli(world, "recovery", "--restored")
    assert done.returncode == 0, done.stderr
    until(
        lambda: asyncio.run(sequences(world))[-1] == str(POSITIONS_PER_EPOCH),
        TIMEOUT_SECONDS,
        "the marker",
    )
    settle(world)
    world.prove()


def cli(world: World, *words: str) -> subprocess.CompletedProcess[str]:
    variables = {
        "SETTLEMENT_ADDRESS": world.address["grpc"],
        "SETTLEMENT_DATABASE__URL": world.address["database_url"],
    }
    return subprocess.run(
        [sys.executable, "-m", "settlement_engine", *words],
        env=os.environ | variables,
        cwd=world.folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def dead_letters(world: World, *words: str) -> list[dict[str, Any]]:
    done = cli(world, "intake", "dead-letters", *words, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)["letters"]
    return found
