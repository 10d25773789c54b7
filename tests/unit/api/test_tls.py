from __future__ import annotations

import os
import shutil
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import aiohttp
import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from settlement_engine.api.gateway import Gateway
from settlement_engine.api.http_server import HttpServer
from settlement_engine.api.server import GrpcServer
from settlement_engine.api.settings import ApiSettings, TlsFiles
from settlement_engine.api.tls import Certificates, caller_of, caller_of_certificate
from settlement_engine.errors import Misconfigured, NotAuthenticated
from settlement_engine.proto import settlement_pb2_grpc as rpc
from tests.unit.api import fakes
from tests.unit.api.test_gateway import GOOD
from tests.unit.api.test_grpc import payment_request

if TYPE_CHECKING:
    from pathlib import Path

SERVER_AUTH = ExtendedKeyUsageOID.SERVER_AUTH
LOCALHOST = x509.DNSName("localhost")


@dataclass(frozen=True, slots=True)
class Pair:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def pem(self) -> tuple[bytes, bytes]:
        key = self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return self.certificate.public_bytes(serialization.Encoding.PEM), key


def issue(
    name: str,
    *alternatives: x509.GeneralName,
    by: Pair | None = None,
    use: x509.ObjectIdentifier | None = ExtendedKeyUsageOID.CLIENT_AUTH,
) -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.certificate.subject if by else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=by is None, path_length=None), critical=True)
    )
    if alternatives:
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    if by is not None and use is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([use]), critical=False)
    return Pair(builder.sign(by.key if by else key, hashes.SHA256()), key)


@pytest.fixture(scope="module")
def authority() -> Pair:
    return issue("authority")


@pytest.fixture
def files(tmp_path: Path, authority: Pair) -> TlsFiles:
    files = TlsFiles(
        certificate=tmp_path / "cert.pem", key=tmp_path / "key.pem", client_ca=tmp_path / "ca.pem"
    )
    write(files, issue("server", LOCALHOST, by=authority, use=SERVER_AUTH))
    (tmp_path / "ca.pem").write_bytes(authority.pem()[0])
    return files


def write(files: TlsFiles, pair: Pair) -> None:
    certificate, key = pair.pem()
    files.certificate.write_bytes(certificate)
    files.key.write_bytes(key)


async def execute(port: int, roots: bytes, client: Pair | None = None) -> None:
    certificate, key = client.pem() if client else (None, None)
    credentials = grpc.ssl_channel_credentials(roots, key, certificate)
    async with grpc.aio.secure_channel(f"localhost:{port}", credentials) as channel:
        await rpc.SettlementServiceStub(channel).ExecuteSettlement(payment_request(), timeout=5)


@pytest.fixture
async def serve(world: fakes.World):
    made: list[GrpcServer] = []

    async def start(files: TlsFiles) -> int:
        settings = ApiSettings(host="localhost", grpc_port=0, tls=files)
        made.append(GrpcServer(fakes.calls(world, settings), settings))
        return await made[-1].start()

    yield start
    for server in made:
        await server.stop(0)


@pytest.mark.parametrize(
    ("names", "caller"),
    [
        ([x509.DNSName("clearing.example")], "clearing.example"),
        (
            [
                x509.DNSName("clearing.example"),
                x509.UniformResourceIdentifier("spiffe://ours/clearing"),
            ],
            "spiffe://ours/clearing",
        ),
    ],
)
async def test_grpc_names_the_caller_by_the_certificate(
    serve, world, authority: Pair, files: TlsFiles, names, caller: str
) -> None:
    port = await serve(files)
    await execute(port, authority.pem()[0], issue("client", *names, by=authority))
    [settlement] = world.settlements.values()
    assert settlement.instruction.caller == caller


async def test_grpc_refuses_calls_without_a_certificate(serve, world, authority, files) -> None:
    port = await serve(files)
    for client in (None, issue("stranger", LOCALHOST)):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await execute(port, authority.pem()[0], client)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert not world.settlements


async def test_a_certificate_without_a_name_is_refused(serve, authority, files) -> None:
    port = await serve(files)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await execute(port, authority.pem()[0], issue("nameless", by=authority))
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_without_a_client_authority_the_caller_is_local(
    serve, world, authority: Pair, files: TlsFiles
) -> None:
    port = await serve(TlsFiles(certificate=files.certificate, key=files.key))
    await execute(port, authority.pem()[0])
    [settlement] = world.settlements.values()
    assert settlement.instruction.caller == "local"


async def test_a_certificate_is_rotated_without_a_restart(serve, authority, files) -> None:
    port = await serve(files)
    client = issue("client", LOCALHOST, by=authority)
    await execute(port, authority.pem()[0], client)
    newer = issue("newer")
    write(files, issue("server", LOCALHOST, by=newer, use=SERVER_AUTH))
    later = files.certificate.stat().st_mtime + 10
    os.utime(files.certificate, (later, later))
    await execute(port, newer.pem()[0], client)


async def test_the_certificate_stays_in_use_when_its_files_disappear(
    serve, authority, files
) -> None:
    port = await serve(files)
    files.key.unlink()
    await execute(port, authority.pem()[0], issue("client", LOCALHOST, by=authority))


async def test_unreadable_tls_files_are_reported_for_grpc(serve, files) -> None:
    shutil.rmtree(files.key.parent)
    with pytest.raises(Misconfigured, match="TLS"):
        await serve(files)


# --- who a certificate names ----------------------------------------------------------------------


URI, DNS = x509.UniformResourceIdentifier, x509.DNSName
ALICE = "spiffe://bank/alice"


def named(authority: Pair, *names: x509.GeneralName, **options) -> str:
    """Return the caller's name from a certificate, and check that gRPC and HTTP agree."""
    certificate = issue("client", *names, by=authority, **options).certificate
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    shown = caller_of({"transport_security_type": [b"ssl"], "x509_pem_cert": [pem]})
    assert shown == caller_of_certificate(certificate.public_bytes(serialization.Encoding.DER))
    return shown


@pytest.mark.parametrize(
    "spelling",
    [
        "spiffe://bank/alice",
        "spiffe://bank/alice/",
        "spiffe://bank/alice//",
        "SPIFFE://BANK/alice",
        "spiffe://bank/%61lice",
        "spiffe://b%41nk/alic%65/",
    ],
)
def test_spellings_of_one_uri_give_the_same_caller(authority, spelling: str) -> None:
    assert named(authority, URI(spelling)) == ALICE
    assert named(authority, DNS("x.example"), URI(spelling), URI(ALICE)) == ALICE


def test_a_dns_name_is_compared_in_lower_case(authority) -> None:
    assert named(authority, DNS("Clearing.EXAMPLE")) == "clearing.example"


@pytest.mark.parametrize(
    "names",
    [
        [],
        [URI(ALICE), URI("spiffe://bank/bob")],
        [DNS("a.example"), DNS("b.example")],
        [DNS("*.example")],
        [DNS(ALICE)],
        [DNS("spiffe:bank")],
        [URI("alice")],
        [URI("spiffe://bank/a/../alice")],
        [URI("spiffe://bank/./alice")],
        [URI("spiffe://bank//alice")],
        [URI("spiffe://bank/alice?x=1")],
        [URI("spiffe://bank/alice#x")],
        [URI("spiffe://x@bank/alice")],
        [URI("spiffe://bank:443/alice")],
        [URI("spiffe://bank/a%2Flice")],
        [URI("spiffe:///alice")],
        [URI("spiffe://bank/alice%00")],
        [URI("spiffe://bank/" + "a" * 256)],
    ],
)
def test_a_certificate_needs_exactly_one_plain_name(authority, names) -> None:
    with pytest.raises(NotAuthenticated, match="contains no identity"):
        named(authority, *names)


@pytest.mark.parametrize("use", [None, ExtendedKeyUsageOID.SERVER_AUTH])
def test_a_certificate_must_be_meant_for_clients(authority, use) -> None:
    with pytest.raises(NotAuthenticated, match="not a client certificate"):
        named(authority, URI(ALICE), use=use)


async def test_grpc_refuses_a_certificate_not_meant_for_clients(serve, world, authority, files):
    port = await serve(files)
    for use in (None, ExtendedKeyUsageOID.SERVER_AUTH):
        client = issue("client", URI(ALICE), by=authority, use=use)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await execute(port, authority.pem()[0], client)
        assert caught.value.code() in (
            grpc.StatusCode.UNAUTHENTICATED,
            grpc.StatusCode.UNAVAILABLE,  # not even the handshake
        )
    assert not world.settlements


def test_without_a_certificate_the_caller_is_local() -> None:
    assert caller_of({}) == "local"
    with pytest.raises(NotAuthenticated):
        caller_of({"transport_security_type": [b"ssl"], "x509_common_name": [b"x"]})
    with pytest.raises(NotAuthenticated):
        caller_of_certificate(b"no certificate")


@pytest.mark.parametrize("name", ["local", "LOCAL", "engine", "nobody", "l%6Fcal", " "])
def test_a_certificate_cannot_have_a_reserved_name(authority, name: str) -> None:
    """Otherwise its owner would count as a caller without a certificate, who may act under any name."""
    for kind in (URI, DNS):
        with pytest.raises(NotAuthenticated):
            named(authority, kind(name))


# --- HTTP -----------------------------------------------------------------------------------------


def client_context(authority: Pair, folder: Path, client: Pair | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=authority.pem()[0].decode())
    context.verify_flags &= (
        ~ssl.VERIFY_X509_STRICT
    )  # the test certificates have only what matters here
    if client is not None:
        certificate, key = client.pem()
        (folder / "client.pem").write_bytes(certificate + key)
        context.load_cert_chain(folder / "client.pem")
    return context


async def post(port: int, context: ssl.SSLContext | None) -> int:
    scheme = "https" if context else "http"
    url = f"{scheme}://localhost:{port}/settlement.SettlementService/ExecuteSettlement"
    connector = aiohttp.TCPConnector(ssl=context or False)
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.post(url, json=GOOD) as got,
    ):
        await got.read()
        return got.status


@pytest.fixture
async def serve_http(world: fakes.World):
    made: list[HttpServer] = []

    async def start(files: TlsFiles) -> int:
        settings = ApiSettings(tls=files)
        gateway = Gateway(fakes.calls(world, settings), settings)
        context = Certificates(files).context()
        made.append(HttpServer(gateway.routes(), settings.http, tls=context))
        return await made[-1].listen("localhost", 0)

    yield start
    for server in made:
        await server.stop()


async def test_http_names_the_caller_by_the_certificate(
    serve_http, world, authority, files, tmp_path
) -> None:
    port = await serve_http(files)
    client = issue("client", URI("spiffe://bank/alice/"), by=authority)
    assert await post(port, client_context(authority, tmp_path, client)) == 200
    [settlement] = world.settlements.values()
    assert settlement.instruction.caller == ALICE


async def test_http_refuses_calls_without_a_valid_certificate(
    serve_http, world, authority, files, tmp_path
) -> None:
    port = await serve_http(files)
    useless = issue("client", URI(ALICE), by=authority, use=None)
    assert await post(port, client_context(authority, tmp_path, useless)) == 401
    server_only = issue("client", URI(ALICE), by=authority, use=SERVER_AUTH)
    stranger = issue("stranger", URI(ALICE))
    contexts = [client_context(authority, tmp_path, each) for each in (None, server_only, stranger)]
    for context in (None, *contexts):
        with pytest.raises((aiohttp.ClientError, OSError)):
            await post(port, context)
    assert not world.settlements


async def test_over_http_certificates_and_their_authority_are_renewed(
    serve_http, authority, files, tmp_path
) -> None:
    port = await serve_http(files)
    client = issue("client", URI(ALICE), by=authority)
    assert await post(port, client_context(authority, tmp_path, client)) == 200
    newer = issue("newer")
    write(files, issue("server", LOCALHOST, by=newer, use=SERVER_AUTH))
    assert files.client_ca is not None
    files.client_ca.write_bytes(newer.pem()[0])
    later = files.certificate.stat().st_mtime + 10
    os.utime(files.certificate, (later, later))
    with pytest.raises((aiohttp.ClientError, OSError)):
        await post(port, client_context(newer, tmp_path, client))
    fresh = issue("client", URI(ALICE), by=newer)
    assert await post(port, client_context(newer, tmp_path, fresh)) == 200
    files.key.unlink()
    assert await post(port, client_context(newer, tmp_path, fresh)) == 200


async def test_unreadable_tls_files_are_reported_for_http(files) -> None:
    files.key.write_text("no key")
    with pytest.raises(Misconfigured, match="TLS"):
        Certificates(files).context()
