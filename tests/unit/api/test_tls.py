from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from settlement_engine.api.server import GrpcServer
from settlement_engine.api.settings import ApiSettings, TlsFiles
from settlement_engine.api.tls import caller_of, caller_of_certificate
from settlement_engine.errors import Misconfigured, NotAuthenticated
from settlement_engine.proto import settlement_pb2_grpc as rpc
from tests.unit.api import fakes
from tests.unit.api.test_grpc import wish

if TYPE_CHECKING:
    from pathlib import Path

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


def issue(name: str, *alternatives: x509.GeneralName, by: Pair | None = None) -> Pair:
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
    return Pair(builder.sign(by.key if by else key, hashes.SHA256()), key)


@pytest.fixture(scope="module")
def authority() -> Pair:
    return issue("authority")


@pytest.fixture
def files(tmp_path: Path, authority: Pair) -> TlsFiles:
    files = TlsFiles(
        certificate=tmp_path / "cert.pem", key=tmp_path / "key.pem", client_ca=tmp_path / "ca.pem"
    )
    write(files, issue("server", LOCALHOST, by=authority))
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
        await rpc.SettlementServiceStub(channel).ExecuteSettlement(wish(), timeout=5)


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
async def test_the_caller_is_who_the_certificate_says(
    serve, world, authority: Pair, files: TlsFiles, names, caller: str
) -> None:
    port = await serve(files)
    await execute(port, authority.pem()[0], issue("client", *names, by=authority))
    [settlement] = world.settlements.values()
    assert settlement.instruction.caller == caller


async def test_without_a_certificate_nobody_gets_in(serve, world, authority, files) -> None:
    port = await serve(files)
    for client in (None, issue("stranger", LOCALHOST)):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await execute(port, authority.pem()[0], client)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert not world.settlements


async def test_a_certificate_that_names_nobody_is_refused(serve, authority, files) -> None:
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
    write(files, issue("server", LOCALHOST, by=newer))
    later = files.certificate.stat().st_mtime + 10
    os.utime(files.certificate, (later, later))
    await execute(port, newer.pem()[0], client)


async def test_files_that_vanish_leave_the_certificate_in_force(serve, authority, files) -> None:
    port = await serve(files)
    files.key.unlink()
    await execute(port, authority.pem()[0], issue("client", LOCALHOST, by=authority))


async def test_files_that_cannot_be_read_are_a_clear_error(serve, files) -> None:
    shutil.rmtree(files.key.parent)
    with pytest.raises(Misconfigured, match="TLS"):
        await serve(files)


def test_a_caller_over_http_has_the_same_name() -> None:
    names = {"subjectAltName": (("DNS", "a.example"), ("URI", "spiffe://ours/a"))}
    assert caller_of_certificate(names) == "spiffe://ours/a"
    assert caller_of_certificate({"subjectAltName": (("DNS", "a.example"),)}) == "a.example"
    assert caller_of_certificate(None) == caller_of({}) == "local"
    with pytest.raises(NotAuthenticated):
        caller_of_certificate({"subject": ()})


@pytest.mark.parametrize("name", ["local", "LOCAL", "engine", "nobody", " "])
def test_a_certificate_cannot_bear_a_name_of_ours(name: str) -> None:
    """Else its bearer would count as one without a certificate, who may say any name."""
    secure = {"transport_security_type": [b"ssl"], "x509_common_name": [b"x"]}
    for kind in ("peer_uri", "peer_dns"):
        with pytest.raises(NotAuthenticated):
            caller_of({**secure, kind: [name.encode()]})
    for kind in ("URI", "DNS"):
        with pytest.raises(NotAuthenticated):
            caller_of_certificate({"subjectAltName": ((kind, name),)})
