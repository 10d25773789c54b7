"""Reads a whole JetStream stream, as a consumer does."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import nats
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from settlement_engine.store.hosts import addresses

if TYPE_CHECKING:
    from tests.e2e.world import World

FETCH = 500


async def _read(url: str, stream: str, header: str) -> list[tuple[str, int]]:
    connection = await nats.connect(addresses(url), allow_reconnect=False)
    try:
        jetstream = connection.jetstream()
        info = await jetstream.stream_info(stream)
        subscription = await jetstream.pull_subscribe(
            "",
            stream=stream,
            config=ConsumerConfig(
                ack_policy=AckPolicy.NONE, deliver_policy=DeliverPolicy.ALL, mem_storage=True
            ),
        )
        found: list[tuple[str, int]] = []
        count = 0
        while count < info.state.messages:
            for message in await subscription.fetch(FETCH, timeout=5):
                count += 1
                headers = message.headers or {}
                if header in headers:
                    found.append((headers["ce-id"], int(headers[header])))
        return found
    finally:
        await connection.close()


def read_stream(
    world: World, stream: str = "settlement-events", header: str = "ce-sequence"
) -> list[tuple[str, int]]:
    """Return the id and the number of every event of a move in the stream, or of every notice, in order."""
    try:
        return asyncio.run(_read(world.address["nats_url"], stream, header))
    except (OSError, nats.errors.Error):
        return []


async def _publish(url: str, subject: str, bodies: tuple[bytes, ...]) -> None:
    connection = await nats.connect(url, allow_reconnect=False)
    try:
        for body in bodies:
            await connection.jetstream().publish(subject, body)
    finally:
        await connection.close()


def publish(world: World, subject: str, *bodies: bytes) -> None:
    """Publish messages and wait until JetStream has them."""
    asyncio.run(_publish(world.address["nats_url"], subject, bodies))
