"""What the transport says of bytes, against a peer that counts those that it got.

The claim of every row: *nothing sent* only where the peer got not one byte of the request.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from typing import TYPE_CHECKING

import pytest

from settlement_engine.domain.kept_messages import CONTENT_BYTES_MAX
from settlement_engine.errors import Misconfigured
from settlement_engine.rails.transport.certificates import BankCertificateFiles
from settlement_engine.rails.transport.http import HttpSettings, HttpTransport
from settlement_engine.rails.transport.results import (
    ExchangeProgress,
    NoResponse,
    NothingSent,
    Response,
)
from tests.support.certificates import Authority

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

BODY = b"<Document>" + b"x" * 2_000 + b"</Document>"
OK = b"HTTP/1.1 200 OK\r\nContent-Type: Application/XML; charset=utf-8\r\nContent-Length: 2\r\n\r\nok"


class Peer:
    """A server of one port that counts what arrives, and does then what a test says."""

    def __init__(self, act: Callable[[Peer, asyncio.StreamWriter], Awaitable[None]]) -> None:
        self._act = act
        self.received = b""
        self.connections = 0
        self.reads_first = True
        self.port = 0
        self.heard = asyncio.Event()
        self.closing = asyncio.Event()
        self._open: dict[asyncio.StreamWriter, asyncio.Event] = {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._open[writer] = asyncio.Event()
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                if self.reads_first:
                    head = await reader.readuntil(b"\r\n\r\n")
                    self.received += head + await reader.readexactly(len(BODY))
                    self.heard.set()
                await self._act(self, writer)
                if writer.is_closing() or not self.reads_first:
                    break
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        self._open[writer].set()

    async def close(self) -> None:
        self.closing.set()
        for writer, ended in list(self._open.items()):
            writer.transport.abort()
            await ended.wait()


async def says(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(data)
    await writer.drain()


def reset(writer: asyncio.StreamWriter) -> None:
    wire = writer.get_extra_info("socket")
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@contextlib.asynccontextmanager
async def listening(
    act: Callable[[Peer, asyncio.StreamWriter], Awaitable[None]],
    tls: ssl.SSLContext | None = None,
    *,
    reads_first: bool = True,
) -> AsyncIterator[Peer]:
    peer = Peer(act)
    peer.reads_first = reads_first
    server = await asyncio.start_server(peer.serve, "127.0.0.1", 0, ssl=tls)
    peer.port = server.sockets[0].getsockname()[1]
    try:
        yield peer
    finally:
        server.close()
        await peer.close()


@contextlib.asynccontextmanager
async def transport(port: int, **settings) -> AsyncIterator[HttpTransport]:
    scheme = "https" if "certificates" in settings else "http"
    host = settings.pop("host", "127.0.0.1")
    made = HttpTransport(HttpSettings(endpoint=f"{scheme}://{host}:{port}/bank/", **settings))
    await made.start()
    try:
        yield made
    finally:
        await made.stop()


async def post(made: HttpTransport):
    return await made.post("/messages", BODY, {"content-type": "application/xml"})


async def asked(peer: Peer, **settings):
    async with transport(peer.port, **settings) as made:
        return await post(made)


# --- whole responses --------------------------------------------------------------------------------


async def test_a_whole_response_is_told() -> None:
    async with listening(lambda _, w: says(w, OK)) as peer:
        result = await asked(peer)
    assert result == Response(status=200, body=b"ok", content_type="application/xml")
    head, _, body = peer.received.partition(b"\r\n\r\n")
    assert body == BODY
    assert head.startswith(b"POST /bank/messages HTTP/1.1\r\n")
    assert b"cookie" not in head.lower()


async def test_a_response_in_chunks_is_whole_when_its_last_chunk_came() -> None:
    chunks = b"HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
    async with listening(lambda _, w: says(w, chunks)) as peer:
        result = await asked(peer)
    assert isinstance(result, Response)
    assert (result.status, result.body) == (202, b"ok")


@pytest.mark.parametrize(
    ("said", "seconds"), [("7", 7), ("999999", None), ("3601", 3600), ("Fri", None), ("", None)]
)
async def test_a_pause_that_is_asked_for_is_bounded(said, seconds) -> None:
    text = f"HTTP/1.1 503 Busy\r\nRetry-After: {said}\r\nContent-Length: 0\r\n\r\n".encode()
    async with listening(lambda _, w: says(w, text)) as peer:
        result = await asked(peer)
    assert result == Response(
        status=503, content_type="application/octet-stream", retry_after_seconds=seconds
    )


async def test_a_banks_token_goes_with_each_request_and_is_not_shown() -> None:
    async with listening(lambda _, w: says(w, OK)) as peer:
        await asked(peer, bearer_token="s3cret")
    assert b"authorization: bearer s3cret" in peer.received.lower()
    settings = HttpSettings(endpoint="http://127.0.0.1:1", bearer_token="s3cret")
    assert "s3cret" not in repr(settings)


async def test_a_redirect_is_a_response_and_is_not_followed() -> None:
    async with listening(lambda _, w: says(w, OK)) as other:
        text = (
            f"HTTP/1.1 307 Elsewhere\r\nLocation: http://127.0.0.1:{other.port}/\r\n"
            "Content-Length: 0\r\nSet-Cookie: a=b\r\n\r\n"
        ).encode()
        async with listening(lambda _, w: says(w, text)) as peer:
            result = await asked(peer)
        assert isinstance(result, Response)
        assert (result.status, other.connections) == (307, 0)


async def test_connections_are_kept_for_the_next_request() -> None:
    async with listening(lambda _, w: says(w, OK)) as peer, transport(peer.port) as made:
        for _ in range(3):
            assert isinstance(await post(made), Response)
    assert peer.connections == 1


# --- proved: nothing was sent -----------------------------------------------------------------------


async def test_a_refused_connection_sent_nothing() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    async with transport(port) as made:
        assert isinstance(await post(made), NothingSent)


async def test_an_unknown_host_sent_nothing() -> None:
    async with transport(1, host="no-such-host.invalid") as made:
        assert isinstance(await post(made), NothingSent)


async def test_a_wait_for_a_free_connection_sent_nothing() -> None:
    release = asyncio.Event()

    async def hold(_: Peer, writer: asyncio.StreamWriter) -> None:
        await release.wait()
        await says(writer, OK)

    async with (
        listening(hold) as peer,
        transport(peer.port, connections_max=1, connect_timeout_seconds=0.2) as made,
    ):
        first = asyncio.ensure_future(post(made))
        await peer.heard.wait()
        before = len(peer.received)
        second = await post(made)
        assert isinstance(second, NothingSent)
        assert len(peer.received) == before
        release.set()
        assert isinstance(await first, Response)


async def test_a_peer_that_never_completes_the_handshake_got_nothing() -> None:
    """The listener's queue of one is full: the kernel lets no further connection come about."""
    with socket.socket() as listener, contextlib.ExitStack() as stack:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(3):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        async with transport(listener.getsockname()[1], connect_timeout_seconds=0.2) as made:
            assert isinstance(await post(made), NothingSent)


# --- nothing is proved ------------------------------------------------------------------------------


async def nothing(_: Peer, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def aborts(_: Peer, writer: asyncio.StreamWriter) -> None:
    reset(writer)


def partly(data: bytes):
    async def act(_: Peer, writer: asyncio.StreamWriter) -> None:
        await says(writer, data)
        writer.close()

    return act


@pytest.mark.parametrize(
    ("act", "reads_first"),
    [
        pytest.param(nothing, False, id="closed before the first byte was read"),
        pytest.param(aborts, False, id="reset before the first byte was read"),
        pytest.param(nothing, True, id="closed after all bytes"),
        pytest.param(aborts, True, id="reset after all bytes"),
        pytest.param(partly(b"HTTP/1.1 200"), True, id="half a status line"),
        pytest.param(partly(OK[:40]), True, id="half a head"),
        pytest.param(partly(OK[:-1]), True, id="half a body"),
        pytest.param(
            partly(b"HTTP/1.1 422 No\r\nContent-Length: 9\r\n\r\nno"), True, id="half a no"
        ),
        pytest.param(partly(b"HTTP/1.1 200 OK\r\n\r\nok"), True, id="no length"),
        pytest.param(
            partly(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nok"),
            True,
            id="half a chunk",
        ),
        pytest.param(partly(b"SSH-2.0-x\r\n\r\n"), True, id="another protocol"),
        pytest.param(
            partly(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 10_000 + b"\r\n\r\n"), True, id="a huge head"
        ),
    ],
)
async def test_whatever_ends_otherwise_is_no_response(act, reads_first) -> None:
    async with listening(act, reads_first=reads_first) as peer:
        result = await asked(peer, timeout_seconds=10.0)
    assert isinstance(result, NoResponse)
    assert result.why


@pytest.mark.parametrize("begun", [b"", OK[:20], OK[:-1]])
async def test_a_slow_bank_is_no_response(begun) -> None:
    async def stall(peer: Peer, writer: asyncio.StreamWriter) -> None:
        await says(writer, begun)
        await peer.closing.wait()

    async with listening(stall) as peer:
        result = await asked(peer, timeout_seconds=0.3, connect_timeout_seconds=0.2)
        assert isinstance(result, NoResponse)
        assert peer.received


@pytest.mark.parametrize("head", ["Content-Length: 100000000", "Transfer-Encoding: chunked"])
async def test_a_huge_body_is_no_response_and_is_not_read(head) -> None:
    sent = 0

    async def flood(_: Peer, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await says(writer, f"HTTP/1.1 200 OK\r\n{head}\r\n\r\n".encode())
        piece = b"x" * 65_536
        for _piece in range(1_500):
            await says(writer, b"10000\r\n" + piece + b"\r\n" if "chunked" in head else piece)
            sent += len(piece)

    async with listening(flood) as peer:
        result = await asked(peer, response_bytes_max=100_000)
    assert result == NoResponse("the response has more than 100000 bytes")
    assert sent < 50_000_000  # what the kernels buffer, not all of it


async def test_a_kept_connection_that_the_bank_has_closed_is_never_used_to_send_twice() -> None:
    async def once(_: Peer, writer: asyncio.StreamWriter) -> None:
        await says(writer, OK)
        writer.close()

    async with listening(once) as peer, transport(peer.port) as made:
        for _ in range(20):
            result = await post(made)
            assert isinstance(result, (Response, NoResponse))
    assert peer.received.count(BODY) <= 20


# --- cancelled --------------------------------------------------------------------------------------


async def test_a_cancelled_request_knows_whether_it_had_begun() -> None:
    async def hold(peer: Peer, _writer: asyncio.StreamWriter) -> None:
        await peer.closing.wait()

    async with (
        listening(hold) as peer,
        transport(peer.port, connections_max=1) as made,
    ):
        notes = [ExchangeProgress(), ExchangeProgress()]
        calls = [asyncio.ensure_future(made.post("/m", BODY, {}, note)) for note in notes]
        await peer.heard.wait()
        for call in calls:
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
        assert [note.has_begun for note in notes] == [True, False]


# --- TLS --------------------------------------------------------------------------------------------


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.make(tmp_path / "authority")


def server_context(
    tmp_path: Path, by: Authority, *, clients: Authority | None = None, tls12: bool = False
) -> ssl.SSLContext:
    files = by.issue(tmp_path / "server", "bank", is_server=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)
    if tls12:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    if clients is not None:
        context.load_verify_locations(clients.file)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


async def answers(_: Peer, writer: asyncio.StreamWriter) -> None:
    await says(writer, OK)


async def test_a_bank_is_known_by_its_own_authority(tmp_path, authority) -> None:
    trusted = BankCertificateFiles(authority=authority.file)
    stranger = Authority.make(tmp_path, "stranger")
    async with listening(answers, server_context(tmp_path, authority)) as peer:
        assert isinstance(await asked(peer, certificates=trusted), Response)
        before = len(peer.received)
        other = BankCertificateFiles(authority=stranger.file)
        assert isinstance(await asked(peer, certificates=other), NothingSent)
        assert len(peer.received) == before


async def test_a_bank_of_another_name_got_nothing(tmp_path, authority) -> None:
    files = authority.issue(tmp_path, "client")  # certified for client.example, not for localhost
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)
    trusted = BankCertificateFiles(authority=authority.file)
    async with listening(answers, context) as peer:
        assert isinstance(await asked(peer, certificates=trusted), NothingSent)
        assert not peer.received


async def test_a_peer_without_tls_got_nothing(authority) -> None:
    trusted = BankCertificateFiles(authority=authority.file)
    async with listening(partly(b"HTTP/1.1 400 Bad\r\n\r\n"), reads_first=False) as peer:
        assert isinstance(await asked(peer, certificates=trusted), NothingSent)


async def test_our_certificate_is_shown_where_it_is_asked_for(tmp_path, authority) -> None:
    ours = authority.issue(tmp_path, "engine")
    files = BankCertificateFiles(
        authority=authority.file, certificate=ours.certificate, key=ours.key
    )
    context = server_context(tmp_path, authority, clients=authority)
    async with listening(answers, context) as peer:
        assert isinstance(await asked(peer, certificates=files), Response)


@pytest.mark.parametrize(
    ("tls12", "told"),
    [pytest.param(True, NothingSent, id="TLS 1.2"), pytest.param(False, NoResponse, id="TLS 1.3")],
)
async def test_a_bank_that_refuses_our_certificate_reads_nothing(
    tmp_path, authority, tls12, told
) -> None:
    """With TLS 1.3 its refusal can come after our first bytes: then nothing is claimed."""
    context = server_context(tmp_path, authority, clients=authority, tls12=tls12)
    trusted = BankCertificateFiles(authority=authority.file)
    async with listening(answers, context) as peer:
        assert isinstance(await asked(peer, certificates=trusted), told)
        assert not peer.received


async def test_changed_certificates_are_used_from_the_next_request_on(tmp_path, authority) -> None:
    context = server_context(tmp_path, authority, clients=authority)
    seen = []

    async def note(peer: Peer, writer: asyncio.StreamWriter) -> None:
        shown = writer.get_extra_info("peercert")
        seen.append(shown["serialNumber"])
        await answers(peer, writer)

    ours = authority.issue(tmp_path, "engine")
    files = BankCertificateFiles(
        authority=authority.file, certificate=ours.certificate, key=ours.key
    )
    async with listening(note, context) as peer, transport(peer.port, certificates=files) as made:
        assert isinstance(await post(made), Response)
        authority.issue(tmp_path, "engine")
        assert isinstance(await post(made), Response)
        ours.key.write_text("no key")
        assert isinstance(await post(made), Response)  # the good ones stay in force
        assert isinstance(await post(made), Response)
    assert seen[0] != seen[1]
    assert seen[1] == seen[2] == seen[3]


# --- settings ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        {"endpoint": "ftp://bank"},
        {"endpoint": "http://"},
        {"endpoint": "https://bank/"},
        {"endpoint": "http://user:secret@bank/"},
        {"endpoint": "http://bank/?key=1"},
        {"endpoint": "http://bank/", "connect_timeout_seconds": 31.0},
        {"endpoint": "http://bank/", "connect_timeout_seconds": 0.0},
    ],
)
def test_settings_that_reach_no_bank_are_refused(settings) -> None:
    with pytest.raises(Misconfigured) as caught:
        HttpSettings(**settings)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("token", ["two words", "line\nbreak", "ü"])
def test_a_token_that_is_no_header_is_refused(token) -> None:
    with pytest.raises(Misconfigured, match="token"):
        HttpSettings(endpoint="http://127.0.0.1:1", bearer_token=token)


def test_files_that_are_no_certificates_are_refused(tmp_path, authority) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    files = BankCertificateFiles(authority=tmp_path / "ca.pem")
    with pytest.raises(Misconfigured, match="certificates for a bank"):
        HttpTransport(HttpSettings(endpoint="https://bank/", certificates=files))
    with pytest.raises(Misconfigured, match="needs its key"):
        BankCertificateFiles(authority=authority.file, certificate=authority.file)


def test_whatever_is_received_can_be_kept() -> None:
    assert HttpSettings(endpoint="http://bank").response_bytes_max <= CONTENT_BYTES_MAX
