from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import aiohttp
import grpc.aio
import pytest

from settlement_engine.api.gateway import Gateway
from settlement_engine.api.http_server import HttpServer
from settlement_engine.api.server import GrpcServer
from settlement_engine.api.settings import ApiSettings
from settlement_engine.proto import settlement_pb2 as pb
from settlement_engine.proto import settlement_pb2_grpc as rpc
from tests.unit.api import fakes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
def settings() -> ApiSettings:
    return ApiSettings(grpc_port=0, has_reflection=True, disconnect_poll_seconds=0.01)


@pytest.fixture
def world() -> fakes.World:
    return fakes.World()


def service_of(call: str) -> str:
    """Return the name of the service that has the call."""
    services = pb.DESCRIPTOR.services_by_name
    found = [name for name, each in services.items() if call in each.methods_by_name]
    return found[0] if found else "SettlementService"


class Edge:
    """Both servers over one fake engine, and a client of each."""

    def __init__(self, world: fakes.World, settings: ApiSettings) -> None:
        self.world = world
        self.calls = fakes.calls(world, settings)
        self.server = GrpcServer(self.calls, settings)
        self.gateway = Gateway(self.calls, settings)
        self.http_server = HttpServer(
            self.gateway.routes(), settings.http, allowed_hosts=settings.allowed_hosts
        )

    async def start(self) -> None:
        self.port = await self.server.start()
        self.http_port = await self.http_server.listen("127.0.0.1", 0)
        self.http = f"http://127.0.0.1:{self.http_port}"
        self.session = aiohttp.ClientSession(self.http)
        self.channel = grpc.aio.insecure_channel(f"127.0.0.1:{self.port}")
        self.settlements = rpc.SettlementServiceStub(self.channel)
        self.accounts = rpc.AccountServiceStub(self.channel)
        self.banks = rpc.BankServiceStub(self.channel)
        self.intake = rpc.IntakeServiceStub(self.channel)
        self.exceptions = rpc.ExceptionServiceStub(self.channel)
        self.rails = rpc.RailServiceStub(self.channel)
        self.statements = rpc.StatementServiceStub(self.channel)
        self.reconciliation = rpc.ReconciliationServiceStub(self.channel)
        self.reports = rpc.ReportServiceStub(self.channel)

    async def stop(self) -> None:
        await self.channel.close()
        await self.session.close()
        await self.server.stop(0)
        await self.http_server.stop()

    async def post(self, call: str, body: object = None, **options):
        """Post JSON, or raw bytes; return the status, the body and the headers."""
        service = service_of(call)
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        path = f"/settlement.{service}/{call}"
        headers = {"Content-Type": "application/json", **options.pop("headers", {})}
        async with self.session.post(
            path, data=io.BytesIO(data), headers=headers, **options
        ) as got:
            return got.status, await got.json(), got.headers


@pytest.fixture
async def edge(world: fakes.World, settings: ApiSettings) -> AsyncIterator[Edge]:
    edge = Edge(world, settings)
    await edge.start()
    yield edge
    await edge.stop()


@pytest.fixture
async def make_edge(world: fakes.World, settings: ApiSettings):
    """Create servers with other limits."""
    made: list[Edge] = []

    async def make(**bounds) -> Edge:
        edge = Edge(world, replace(settings, **bounds))
        await edge.start()
        made.append(edge)
        return edge

    yield make
    for edge in made:
        await edge.stop()
