"""Requests of web pages in browsers: under another host name, from another origin, with a body that is no JSON."""

from __future__ import annotations

import asyncio
import json

import pytest

from settlement_engine.api.http_guard import host_guard
from tests.unit.api.test_gateway import GOOD

PATH = "/settlement.SettlementService/ExecuteSettlement"


async def post(edge, **headers: str) -> int:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    named = {"Content-Type": "application/json", **named}
    async with edge.session.post(PATH, json=GOOD, headers=named) as got:
        await got.read()
        return int(got.status)


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:{}",
        "127.0.0.1.evil.example",
        "10.9.8.7",
        "localhost@evil",
        "",
        "[",
    ],
)
async def test_dns_rebinding_is_refused(edge, host: str) -> None:
    """DNS rebinding: Host and Origin agree, and both are the name of an attacker's page."""
    host = host.format(edge.http_port)
    assert await post(edge, Host=host) == 403
    assert await post(edge, Host=host, Origin=f"http://{host}") == 403
    assert not edge.world.settlements


async def test_every_path_is_protected_against_dns_rebinding(edge) -> None:
    async with edge.session.get("/dev/bank-ledger", headers={"Host": "evil.example"}) as got:
        assert got.status == 403


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST.", "127.0.0.1:{}", "localhost:9", "[::1]:{}", "127.0.0.7"]
)
async def test_a_name_of_this_machine_is_served(edge, host: str) -> None:
    assert await post(edge, Host=host.format(edge.http_port)) == 200


async def test_an_absolute_request_target_overrides_the_host_header(edge) -> None:
    """With an absolute-form target, its host counts, whatever the Host header says."""
    body = json.dumps(GOOD)
    for target, status in (
        ("http://evil.example", 403),
        (f"http://localhost:{edge.http_port}", 200),
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", edge.http_port)
        lines = [
            f"POST {target}{PATH} HTTP/1.1",
            "Host: localhost",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
        ]
        writer.write("\r\n".join([*lines, "", body]).encode())
        assert int((await reader.readline()).split()[1]) == status
        writer.close()


async def test_other_names_are_served_once_they_are_configured(make_edge) -> None:
    edge = await make_edge(allowed_hosts=("settlement.bank.example", "10.9.8.7", "fd00::7"))
    for host in (
        "settlement.bank.example",
        "Settlement.Bank.Example:443",
        "10.9.8.7",
        "[fd00::7]:1",
    ):
        assert await post(edge, Host=host) == 200
    assert await post(edge, Host="settlement.bank.example", Origin="https://evil.example") == 403
    page = "https://settlement.bank.example"
    assert await post(edge, Host="settlement.bank.example", Origin=page) == 200
    assert await post(edge, Host="bank.example") == 403


class Reached:
    """A transport that reports the address at which it was reached."""

    def __init__(self, address: object) -> None:
        self.address = address

    def get_extra_info(self, name: str) -> object:
        return self.address if name == "sockname" else None


async def test_the_address_reached_is_an_accepted_host() -> None:
    from aiohttp import web
    from aiohttp.test_utils import make_mocked_request

    async def handler(_: web.Request) -> web.Response:
        return web.Response()

    async def status(host: str, reached: object) -> int:
        request = make_mocked_request("GET", "/", {"Host": host}, transport=Reached(reached))
        return (await host_guard(())(request, handler)).status

    assert await status("10.0.0.5:8086", ("10.0.0.5", 8086)) == 200
    assert await status("10.0.0.5", ("::ffff:10.0.0.5", 8086, 0, 0)) == 200
    assert await status("10.0.0.6", ("10.0.0.5", 8086)) == 403
    assert await status("evil.example", ("10.0.0.5", 8086)) == 403
    assert await status("whatever", "/run/engine.sock") == 200


@pytest.mark.parametrize(
    "kind",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/octet-stream",
        "application/json; charset=utf-16",
        "text/plain; application/json",
        "",
    ],
)
async def test_a_body_must_be_declared_as_json(edge, kind: str) -> None:
    assert await post(edge, Content_Type=kind) == 415
    assert not edge.world.settlements


@pytest.mark.parametrize(
    "kind", ["application/json", "Application/JSON; charset=UTF-8", "application/json;charset=utf8"]
)
async def test_spellings_of_the_json_content_type_are_accepted(edge, kind: str) -> None:
    assert await post(edge, Content_Type=kind) == 200
