"""Three NATS servers replicate the stream: one is killed, then the leader, under load."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from typing import TYPE_CHECKING

import nats
import nats.errors
import pytest

from settlement_engine.embedded.nats import USER
from tests.e2e.test_crashes import Load
from tests.e2e.world import until
from tests.support.failover import check_everything, engine_on
from tests.support.replicas import ClusteredNats, nats_cluster

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from settlement_engine.embedded import EmbeddedPostgres

pytestmark = pytest.mark.timeout(300)

STREAM = "settlement-events"
LOAD = 100


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[list[ClusteredNats]]:
    """Three servers that have formed a cluster."""
    servers = nats_cluster(tmp_path / "nats")
    try:
        for server in servers:
            server.start()
        until(lambda: asyncio.run(has_leader(servers)), 30, "the cluster to have a leader")
        yield servers
    finally:
        for server in servers:
            server.stop()


TROUBLE = (nats.errors.Error, OSError, TimeoutError)


async def has_leader(servers: list[ClusteredNats]) -> bool:
    """Return whether JetStream answers."""
    try:
        connection = await nats.connect(servers[0].url(), allow_reconnect=False)
    except TROUBLE:
        return False
    try:
        await connection.jetstream(timeout=1).account_info()
    except TROUBLE:
        return False
    finally:
        await connection.close()
    return True


async def leader_of(servers: list[ClusteredNats], stream: str) -> str:
    """Return the name of the server that leads the stream; empty while there is none."""
    living = [server.url() for server in servers if server.is_running]
    try:
        connection = await nats.connect(living, allow_reconnect=False)
    except TROUBLE:
        return ""
    try:
        info = await connection.jetstream(timeout=1).stream_info(stream)
    except TROUBLE:
        return ""
    finally:
        await connection.close()
    return (info.cluster.leader if info.cluster else "") or ""


def url_of(servers: list[ClusteredNats]) -> str:
    hosts = ",".join(server.address for server in servers)
    return f"nats://{USER}:{servers[0].password}@{hosts}"


def kill(server: ClusteredNats) -> None:
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    until(lambda: not server.is_running, 10, "the server to be dead")


@pytest.mark.kill
def test_the_stream_survives_the_loss_of_a_server_and_of_the_leader(
    tmp_path: Path, server: EmbeddedPostgres, cluster: list[ClusteredNats]
) -> None:
    more = ("--set", "nats.stream_replicas=3")
    nats_url = url_of(cluster)
    with engine_on(tmp_path / "dev", server.url(), *more, nats_url=nats_url) as world:
        load = Load(world, seed=3)
        until(lambda: len(load.accepted) > LOAD, 60, "some load")
        for is_leader in (False, True):
            leader = until(
                lambda: asyncio.run(leader_of(cluster, STREAM)), 30, "the stream to have a leader"
            )
            victim = next(each for each in cluster if (each.name == leader) is is_leader)
            kill(victim)
            known = len(load.accepted)
            until(lambda: len(load.accepted) > known + LOAD, 60, "settlements to go on")  # noqa: B023 - used at once
            time.sleep(0.5)  # announcements meet the two that are left
            victim.start()
        accepted = load.stop()
        check_everything(world, accepted)
        until(lambda: asyncio.run(leader_of(cluster, STREAM)), 30, "the stream to have a leader")
