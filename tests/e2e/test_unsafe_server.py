"""A server whose settings could lose acknowledged commits: nothing is accepted or sent until it is safe."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from settlement_engine.embedded import EmbeddedPostgres
from settlement_engine.proto import settlement_pb2 as pb
from tests.e2e.world import World, payment_request, until
from tests.support.failover import tell

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TIMEOUT_SECONDS = 30.0
DATABASE = "SETTLEMENT_DATABASE__URL"
REFUSED = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


@contextmanager
def engine_on_a_server(folder: Path) -> Iterator[tuple[World, EmbeddedPostgres]]:
    server = EmbeddedPostgres(folder / "server")
    server.start()
    try:
        (folder / "dev").mkdir()
        options = ("--set", "nats.enabled=false")
        with World(folder / "dev", *options, variables={DATABASE: server.url()}) as world:
            world.open_bank("DEUTDEFF", "EUR", "1000.00")
            world.open_bank("CHASUS33", "EUR")
            yield world, server
    finally:
        server.stop()


def readiness(world: World) -> tuple[int, dict[str, Any]]:
    try:
        with urllib.request.urlopen(f"{world.address['http']}/readyz", timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def is_ready(world: World) -> bool:
    return readiness(world)[0] == 200


def alter(server: EmbeddedPostgres, change: str) -> None:
    tell(server, f"ALTER SYSTEM {change}", "SELECT pg_reload_conf()")


@pytest.mark.parametrize("setting", ["fsync", "full_page_writes"])
def test_an_unsafe_setting_stops_the_engine_until_it_is_corrected(
    tmp_path: Path, setting: str
) -> None:
    with engine_on_a_server(tmp_path) as (world, server):
        until(lambda: is_ready(world), TIMEOUT_SECONDS, "the engine to be ready")
        assert world.execute(amount="1.00").status == pb.COMPLETED
        before = tell(server, "SELECT count(*) FROM settlement_transactions")
        alter(server, f"SET {setting} = off")
        sending = lambda: readiness(world)[1]["checks"]["sending"]  # noqa: E731
        until(
            lambda: f"{setting} is off" in sending()["text"],
            TIMEOUT_SECONDS,
            "the engine to notice",
        )
        assert not is_ready(world)
        assert sending()["ok"] is False, "an engine that is not open is not ready"
        refused = payment_request(amount="2.00")
        with pytest.raises(grpc.RpcError) as caught:
            world.settlements.ExecuteSettlement(refused, timeout=3)
        assert caught.value.code() in REFUSED
        assert tell(server, "SELECT count(*) FROM settlement_transactions") == before
        alter(server, f"RESET {setting}")
        until(lambda: is_ready(world), TIMEOUT_SECONDS, "the engine to go on")
        assert world.settlements.ExecuteSettlement(refused, timeout=20).status == pb.COMPLETED
        assert world.nostro("DEUTDEFF", "EUR").available == "997.00"
