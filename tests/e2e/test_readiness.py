"""``/readyz`` is ready only while payments can be processed: writes work, and no recovery is pending."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import grpc
import pytest

from settlement_engine.embedded import EmbeddedPostgres
from settlement_engine.proto import settlement_pb2 as pb
from tests.e2e.test_unsafe_server import DATABASE, REFUSED, TIMEOUT_SECONDS, is_ready, readiness
from tests.e2e.world import World, payment_request, until
from tests.support.failover import tell
from tests.support.smalldisk import CannotMount, SmallDisk, small_disk

if TYPE_CHECKING:
    from pathlib import Path

DISK_MEGABYTES = 160


@pytest.fixture
def disk(tmp_path: Path):
    try:
        with small_disk(tmp_path / "disk", DISK_MEGABYTES) as made:
            yield made
    except CannotMount as reason:
        pytest.skip(f"no small disk could be mounted: {reason}")


def settle_until_refused(world: World) -> None:
    for _ in range(200):  # the free space of existing table pages is used up first
        world.settlements.ExecuteSettlement(payment_request(amount="0.01"), timeout=3)


def test_readiness_follows_the_disk_becoming_full_and_free(tmp_path: Path, disk: SmallDisk) -> None:
    server = EmbeddedPostgres(tmp_path / "server")
    server.init()
    target = disk.path / "base"
    shutil.move(server.home / "base", target)
    (server.home / "base").symlink_to(target)
    server.start()
    (tmp_path / "dev").mkdir()
    options = ("--set", "nats.enabled=false")
    try:
        with World(tmp_path / "dev", *options, variables={DATABASE: server.url()}) as world:
            world.open_bank("DEUTDEFF", "EUR", "1000.00")
            world.open_bank("CHASUS33", "EUR")
            until(lambda: is_ready(world), TIMEOUT_SECONDS, "the engine to be ready")
            for table in ("moves", "settlement_transactions", "open_settlements"):
                tell(server, f"ALTER TABLE {table} SET (fillfactor = 10)")
            disk.fill()
            with pytest.raises(grpc.RpcError) as caught:
                settle_until_refused(world)
            assert caught.value.code() in REFUSED
            until(lambda: not is_ready(world), TIMEOUT_SECONDS, "the engine not to be ready")
            shown = readiness(world)[1]["checks"]["writes"]
            assert "disk is full" in shown["text"]
            disk.free()
            until(lambda: is_ready(world), TIMEOUT_SECONDS, "the engine to be ready again")
            assert world.execute(amount="1.00").status == pb.COMPLETED
    finally:
        server.stop()
