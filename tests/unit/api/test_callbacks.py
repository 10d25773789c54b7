"""Call-backs of banks: who is heard, what is refused, and that nothing is acknowledged before it is stored."""

from __future__ import annotations

import asyncio
import json
import ssl
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import aiohttp
import pytest

from settlement_engine.api.callbacks import CallbackRoutes, refuse_banks
from settlement_engine.api.gateway import Gateway
from settlement_engine.api.http_server import HttpServer
from settlement_engine.api.settings import ApiSettings, CallbackAccess, TlsFiles
from settlement_engine.api.tls import Certificates
from settlement_engine.errors import NotPermitted, Unavailable
from settlement_engine.messages.errors import MessageError
from settlement_engine.ports.inbound import CONTENT_BYTES_MAX
from tests.support.certificates import Authority, CertificateFiles
from tests.unit.api import fakes
from tests.unit.api.test_gateway import GOOD

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

TOKEN = "a-token-nobody-guesses"
BANK = "bank.example"
PATH = "/rails/swift/inbound"
XML = {"content-type": "application/xml"}
WITH_TOKEN = {**XML, "authorization": f"Bearer {TOKEN}"}
EXECUTE = "/settlement.SettlementService/ExecuteSettlement"


class Rail:
    """Takes what it is given, or fails as a test says."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.senders: list[frozenset[str]] = []
        self.fails: Exception | None = None

    async def take(self, body: bytes, senders: frozenset[str]) -> None:
        if self.fails is not None:
            raise self.fails
        self.taken.append(body)
        self.senders.append(senders)


@pytest.fixture
def rail() -> Rail:
    return Rail()


@asynccontextmanager
async def listening(rail: Rail, settings: ApiSettings) -> AsyncIterator[str]:
    """The HTTP port with the API and the call-backs; yields its address."""
    routes = [
        *Gateway(fakes.calls(fakes.World(), settings), settings).routes(),
        *CallbackRoutes(settings, {"swift": rail.take}).routes(),
    ]
    tls = Certificates(settings.tls).context() if settings.tls else None
    server = HttpServer(routes, settings.http, tls=tls, grace_seconds=0.1)
    port = await server.listen("127.0.0.1", 0)
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{port}"
    finally:
        await server.stop()


def with_token(settings: ApiSettings) -> ApiSettings:
    return replace(settings, callbacks=(CallbackAccess(rail="swift", token=TOKEN),))


async def post(
    url: str, body: bytes, headers: dict[str, str], tls: ssl.SSLContext | None = None
) -> tuple[int, dict[str, object]]:
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, data=body, headers=headers, ssl=tls or True) as response,
    ):
        return response.status, await response.json()


# --- with a token -----------------------------------------------------------------------------------


async def test_what_the_bank_says_is_stored_and_then_acknowledged(rail, settings) -> None:
    async with listening(rail, with_token(settings)) as url:
        assert await post(url + PATH, b"<a/>", WITH_TOKEN) == (200, {})
        text = {**WITH_TOKEN, "content-type": "text/xml; charset=utf-8"}
        assert (await post(url + PATH, b"<b/>", text))[0] == 200
    assert rail.taken == [b"<a/>", b"<b/>"]


async def test_of_several_banks_of_a_rail_each_is_known_as_itself(rail, settings) -> None:
    """One that is configured twice, with one token, is known as both."""
    accesses = (
        CallbackAccess(rail="swift", sender="one", token=TOKEN),
        CallbackAccess(rail="swift", sender="two", token=f"{TOKEN}-2"),
        CallbackAccess(rail="swift", sender="three", token=TOKEN),
        CallbackAccess(rail="sepa_sct", sender="four", token=f"{TOKEN}-4"),
    )
    async with listening(rail, replace(settings, callbacks=accesses)) as url:
        for token, status in ((TOKEN, 200), (f"{TOKEN}-2", 200), (f"{TOKEN}-4", 401)):
            headers = {**XML, "authorization": f"Bearer {token}"}
            assert (await post(url + PATH, b"<a/>", headers))[0] == status
    assert rail.senders == [{"one", "three"}, {"two"}]


@pytest.mark.parametrize(
    "given",
    [None, "", "Bearer", "Bearer wrong", f"Bearer {TOKEN}x", f"Basic {TOKEN}", TOKEN, "Bearer ü"],
)
async def test_nobody_else_is_heard(rail, settings, given) -> None:
    headers = XML if given is None else {**XML, "authorization": given}
    async with listening(rail, with_token(settings)) as url:
        status, answer = await post(url + PATH, b"<a/>", headers)
    assert (status, answer["reason"]) == (401, "NOT_AUTHENTICATED")
    assert TOKEN not in str(answer)
    assert rail.taken == []


@pytest.mark.parametrize(
    ("method", "path", "kind", "size", "status"),
    [
        ("GET", PATH, "application/xml", 0, 405),
        ("PUT", PATH, "application/xml", 4, 405),
        ("POST", PATH, "application/json", 4, 415),
        ("POST", "/rails/mock/inbound", "application/xml", 4, 404),
        ("POST", "/rails/swift%2F/inbound", "application/xml", 4, 404),
        ("POST", PATH + "/x", "application/xml", 4, 404),
    ],
)
async def test_what_is_no_call_back_is_refused(  # noqa: PLR0917 -- a row of the table
    rail, settings, method, path, kind, size, status
) -> None:
    headers, body = {**WITH_TOKEN, "content-type": kind}, b"x" * size
    async with (
        listening(rail, with_token(settings)) as url,
        aiohttp.ClientSession() as session,
        session.request(method, url + path, data=body, headers=headers) as response,
    ):
        assert response.status == status
    assert rail.taken == []


@pytest.mark.parametrize(
    ("token", "size", "status"),
    [("wrong", CONTENT_BYTES_MAX, b" 401 "), (TOKEN, CONTENT_BYTES_MAX + 1, b" 413 ")],
)
async def test_a_stranger_and_a_large_message_are_refused_before_the_body_is_read(
    rail, settings, token, size, status
) -> None:
    head = (
        f"POST {PATH} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/xml\r\n"
        f"authorization: Bearer {token}\r\ncontent-length: {size}\r\n\r\n"
    )
    async with listening(rail, with_token(settings)) as url:
        port = int(url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head.encode())
        assert status in await reader.readline()
        writer.close()
    assert rail.taken == []


async def test_a_message_that_nobody_can_read_is_refused_with_its_place(rail, settings) -> None:
    rail.fails = MessageError("Document", "is no message")
    async with listening(rail, with_token(settings)) as url:
        status, answer = await post(url + PATH, b"<a/>", WITH_TOKEN)
    assert (status, answer["reason"]) == (400, "MESSAGE_NOT_READABLE")
    assert "Document: is no message" in str(answer["message"])


async def test_a_message_about_a_payment_of_another_bank_is_refused(rail, settings) -> None:
    rail.fails = NotPermitted("the message names a payment that was not sent to this bank")
    async with listening(rail, with_token(settings)) as url:
        status, answer = await post(url + PATH, b"<a/>", WITH_TOKEN)
    assert (status, answer["reason"]) == (403, "NOT_PERMITTED")


@pytest.mark.parametrize(
    ("fails", "status"), [(Unavailable("PostgreSQL is away"), 503), (ZeroDivisionError(), 500)]
)
async def test_what_was_not_stored_is_not_acknowledged(rail, settings, fails, status) -> None:
    rail.fails = fails
    async with listening(rail, with_token(settings)) as url:
        assert (await post(url + PATH, b"<a/>", WITH_TOKEN))[0] == status
        rail.fails = None
        assert (await post(url + PATH, b"<a/>", WITH_TOKEN))[0] == 200


async def test_a_rail_without_a_known_bank_has_no_call_backs(rail, settings) -> None:
    async with (
        listening(rail, settings) as url,
        aiohttp.ClientSession() as session,
        session.post(url + PATH, data=b"<a/>", headers=WITH_TOKEN) as response,
    ):
        assert response.status == 404


# --- with certificates ------------------------------------------------------------------------------


def with_certificates(settings: ApiSettings, folder: Path, authority: Authority) -> ApiSettings:
    server = authority.issue(folder, "server", is_server=True)
    tls = TlsFiles(certificate=server.certificate, key=server.key, client_ca=authority.file)
    access = CallbackAccess(rail="swift", certificate_name=BANK)
    return replace(settings, tls=tls, callbacks=(access,))


def client(authority: Authority, shown: CertificateFiles) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(authority.file))
    context.load_cert_chain(shown.certificate, shown.key)
    return context


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.make(tmp_path)


async def test_the_bank_is_known_by_its_certificate(tmp_path, rail, settings, authority) -> None:
    bank = client(authority, authority.issue(tmp_path, "bank"))
    async with listening(rail, with_certificates(settings, tmp_path, authority)) as url:
        assert (await post(url + PATH, b"<a/>", XML, bank))[0] == 200
    assert rail.taken == [b"<a/>"]


@pytest.mark.parametrize("headers", [XML, WITH_TOKEN])
async def test_another_caller_with_a_certificate_is_not_the_bank(
    tmp_path, rail, settings, authority, headers
) -> None:
    other = client(authority, authority.issue(tmp_path, "alice"))
    async with listening(rail, with_certificates(settings, tmp_path, authority)) as url:
        assert (await post(url + PATH, b"<a/>", headers, other))[0] in {401, 403}
    assert rail.taken == []


async def test_the_bank_may_only_call_back(tmp_path, rail, settings, authority) -> None:
    """The authority that certifies it is one whose certificates the API accepts."""
    bank = client(authority, authority.issue(tmp_path, "bank"))
    other = client(authority, authority.issue(tmp_path, "alice"))
    headers = {"content-type": "application/json"}
    body = json.dumps(GOOD).encode()
    async with listening(rail, with_certificates(settings, tmp_path, authority)) as url:
        status, answer = await post(url + EXECUTE, body, headers, bank)
        assert (status, answer["reason"]) == (403, "NOT_PERMITTED")
        assert (await post(url + EXECUTE, body, headers, other))[0] == 200


@pytest.mark.parametrize("spelling", ["bank.example", "BANK.example"])
def test_over_grpc_too_a_bank_is_no_caller(settings, spelling) -> None:
    access = CallbackAccess(rail="swift", certificate_name=BANK)
    with pytest.raises(NotPermitted):
        refuse_banks(replace(settings, callbacks=(access,)), spelling)
    refuse_banks(replace(settings, callbacks=(access,)), "alice.example")
