"""Start and end of the program in production: ``serve`` and ``migrate`` on external servers."""

from __future__ import annotations

import asyncio
import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import urllib.request
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from functools import partial
from http import HTTPStatus
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Self

import asyncpg
import grpc
import pytest
from cryptography import x509
from google.protobuf.json_format import MessageToJson

from settlement_engine.cli.failures import ExitCode
from settlement_engine.proto import settlement_pb2 as pb
from settlement_engine.proto import settlement_pb2_grpc as rpc
from tests.e2e.world import payment_request, until
from tests.unit.api.test_tls import SERVER_AUTH, client_context, issue

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

TIMEOUT_SECONDS = 30.0
NONE: Mapping[str, str] = MappingProxyType({})
READY = re.compile(r"✓ ready: gRPC [0-9.]+:(\d+) · HTTP [0-9.]+:(\d+) · metrics (\d+)")
PROGRAM = (sys.executable, "-m", "settlement_engine")
REHEARSAL = (
    *("--set", "banks.mock_allowed_in_production=true"),
    *("--set", "banks.directory_required=false"),
)
OPEN_ALL_DAY = "INSERT INTO settlement_windows VALUES (DEFAULT, 'EUR', 'UTC', '0:00', '0:00', $1)"


# The default ports are among those from which the system takes the ports of outgoing connections:
# a command that expects another failure would find them in use once in a while.
FREE_PORTS = {
    "SETTLEMENT_SERVER__GRPC_PORT": "0",
    "SETTLEMENT_SERVER__HTTP_PORT": "0",
    "SETTLEMENT_MONITORING__METRICS_PORT": "0",
}


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Return our environment without the engine's variables, with free ports and the given ones."""
    kept = {name: value for name, value in os.environ.items() if "SETTLEMENT_" not in name}
    return {**kept, **FREE_PORTS, "NO_COLOR": "1", **variables}


def run(
    folder: Path, *words: str, variables: Mapping[str, str] = NONE, python: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, in a directory without a configuration file."""
    return subprocess.run(
        [sys.executable, *python, "-m", "settlement_engine", *words],
        cwd=folder,
        env=environment(variables),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )


@pytest.fixture
def urls(empty_database_url: str, nats_url: str) -> dict[str, str]:
    """Return the variables for an empty database and a stream of this test's own."""
    name = f"start-{uuid.uuid4().hex}"
    return {
        "SETTLEMENT_DATABASE__URL": empty_database_url,
        "SETTLEMENT_NATS__URL": nats_url,
        "SETTLEMENT_NATS__STREAM": name,
        "SETTLEMENT_NATS__SUBJECT_PREFIX": name,
    }


def do(url: str, statement: str, *arguments: object) -> None:
    async def inner() -> None:
        connection = await asyncpg.connect(url)
        try:
            await connection.execute(statement, *arguments)
        finally:
            await connection.close()

    asyncio.run(inner())


def fetch(url: str, statement: str) -> list[tuple[object, ...]]:
    async def inner() -> list[tuple[object, ...]]:
        connection = await asyncpg.connect(url)
        try:
            return [tuple(row) for row in await connection.fetch(statement)]
        finally:
            await connection.close()

    return asyncio.run(inner())


class Serve:
    """One ``serve`` in a process of its own."""

    def __init__(
        self,
        folder: Path,
        *words: str,
        variables: Mapping[str, str],
        limits: tuple[int, tuple[int, int]] | None = None,
    ) -> None:
        self._log_path = folder / "serve.log"
        book = ("--set", f"banks.mock_book_file={folder / 'mock.book'}")
        with self._log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [*PROGRAM, "serve", *REHEARSAL, *book, *words],
                cwd=folder,
                env=environment(variables),
                stdout=log,
                stderr=log,
                preexec_fn=partial(resource.setrlimit, *limits) if limits else None,  # noqa: PLW1509
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait(timeout=TIMEOUT_SECONDS)

    @property
    def said(self) -> str:
        return self._log_path.read_text(encoding="utf-8")

    def ports(self) -> tuple[int, int, int]:
        """Wait until it is ready; return the ports of gRPC, HTTP and metrics."""

        def look() -> re.Match[str] | None:
            assert self.process.poll() is None, self.said
            return READY.search(self.said)

        found = until(look, TIMEOUT_SECONDS, "serve to be ready")
        grpc_port, http_port, metrics_port = found.groups()
        return int(grpc_port), int(http_port), int(metrics_port)

    def terminate(self) -> int:
        """Send SIGTERM, and return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=TIMEOUT_SECONDS)


# --- before anything begins -----------------------------------------------------------------------


@pytest.mark.parametrize("command", ["doctor", "serve", "engine-process", "--help"])
def test_every_command_refuses_to_run_without_assertions(tmp_path: Path, command: str) -> None:
    done = run(tmp_path, command, python=("-O",))
    assert done.returncode == ExitCode.MISCONFIGURED
    assert done.stdout == ""
    what, why, todo = done.stderr.splitlines()
    assert "assertions" in what
    assert "-O" in why
    assert "-O" in todo


def test_assertions_cannot_be_switched_off_by_the_environment(tmp_path: Path) -> None:
    done = run(tmp_path, "doctor", variables={"PYTHONOPTIMIZE": "2"})
    assert done.returncode == ExitCode.MISCONFIGURED


def test_serve_refuses_unsafe_settings_all_named_at_once(tmp_path: Path) -> None:
    unsafe = ("server.host=0.0.0.0", "server.reflection=true", "settlement.real_windows=false")
    done = run(tmp_path, "serve", *[word for each in unsafe for word in ("--set", each)])
    assert done.returncode == ExitCode.MISCONFIGURED
    assert done.stdout == ""
    for name in (
        *("database.url", "nats.url", "banks.mock_enabled"),
        *("server.tls_cert_file", "server.reflection", "settlement.real_windows"),
    ):
        assert name in done.stderr
    assert "Traceback" not in done.stderr


def test_serve_always_uses_the_production_profile(tmp_path: Path) -> None:
    done = run(tmp_path, "serve", "--set", "profile=dev", variables={"SETTLEMENT_PROFILE": "dev"})
    assert done.returncode == ExitCode.MISCONFIGURED
    assert "database.url is empty" in done.stderr


@pytest.mark.parametrize("command", ["serve", "migrate", "prove"])
def test_commands_exit_with_four_without_postgresql(tmp_path: Path, command: str) -> None:
    settings = [*REHEARSAL, "--set", f"banks.mock_book_file={tmp_path / 'mock.book'}"]
    done = run(
        tmp_path,
        *(command, *settings),
        variables={  # no server can listen on port 0
            "SETTLEMENT_DATABASE__URL": "postgresql://engine:hunter2@127.0.0.1:0/settlement",
            "SETTLEMENT_NATS__URL": "nats://127.0.0.1:0",
        },
    )
    assert done.returncode == ExitCode.UNAVAILABLE, done.stderr
    assert "✗ PostgreSQL cannot be reached\n" in done.stderr
    assert "hunter2" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


# --- a whole run ----------------------------------------------------------------------------------


def test_serve_refuses_an_unmigrated_database(tmp_path: Path, urls: dict[str, str]) -> None:
    """It does not change the schema itself; after ``migrate`` it starts."""
    with Serve(tmp_path, variables=urls) as early:
        assert early.process.wait(timeout=TIMEOUT_SECONDS) == ExitCode.MISCONFIGURED
        assert "Run: settlement-engine migrate" in early.said
    first = run(tmp_path, "migrate", variables=urls)
    assert first.returncode == ExitCode.OK, first.stderr
    assert "✓ applied 0001_first_settlement" in first.stdout
    again = run(tmp_path, "migrate", variables=urls)
    assert again.stdout == "✓ the schema is up to date\n"
    with Serve(tmp_path, variables=urls) as serving:
        assert all(serving.ports())
        assert serving.terminate() == ExitCode.OK


def test_serve_may_be_allowed_to_migrate_by_itself(tmp_path: Path, urls: dict[str, str]) -> None:
    with Serve(tmp_path, "--set", "database.auto_migrate=true", variables=urls) as serving:
        assert all(serving.ports())
        assert serving.terminate() == ExitCode.OK
    assert run(tmp_path, "migrate", variables=urls).stdout == "✓ the schema is up to date\n"


def test_serve_answers_a_call_in_progress_before_it_ends(
    tmp_path: Path, urls: dict[str, str]
) -> None:
    """SIGTERM during a settlement: it completes, its callers get the answer, the ledger is right.

    The bank takes longer than the grace period of calls at shutdown (``process.CALLS_GRACE_SECONDS``), so
    that it is the drain that waits for it.
    """
    assert run(tmp_path, "migrate", variables=urls).returncode == ExitCode.OK
    do(urls["SETTLEMENT_DATABASE__URL"], OPEN_ALL_DAY, [1, 2, 3, 4, 5, 6, 7])
    slow = (
        *("--set", "banks.mock_latency_ms=4000"),
        *("--set", "banks.mock_answer_timeout_ms=20000"),
        *("--set", "banks.mock_success_rate=1"),
    )
    with Serve(tmp_path, *slow, variables=urls) as serving:
        grpc_port, http_port, _ = serving.ports()
        with (
            grpc.insecure_channel(f"127.0.0.1:{grpc_port}") as channel,
            ThreadPoolExecutor() as pool,
        ):
            open_accounts(rpc.AccountServiceStub(channel))
            settlements = rpc.SettlementServiceStub(channel)
            asked = settlements.ExecuteSettlement.future(payment_request(), timeout=TIMEOUT_SECONDS)
            in_json = pool.submit(execute_in_json, http_port)
            executing = pb.ListSettlementsRequest(statuses=[pb.EXECUTING])
            until(
                lambda: len(settlements.ListSettlements(executing, timeout=10).settlements) == 2,
                TIMEOUT_SECONDS,
                "both settlements to be sent",
            )
            serving.process.send_signal(signal.SIGTERM)
            assert asked.result().status == pb.COMPLETED
            assert in_json.result() == "COMPLETED"
        assert serving.process.wait(timeout=TIMEOUT_SECONDS) == ExitCode.OK
        assert "Traceback" not in serving.said
    proof = run(tmp_path, "prove", variables=urls)
    assert proof.returncode == ExitCode.OK, proof.stdout
    assert "open: 0 settlements, 0 holds" in proof.stdout


def execute_in_json(port: int, context: ssl.SSLContext | None = None) -> str:
    scheme = "https" if context else "http"
    request = urllib.request.Request(
        f"{scheme}://localhost:{port}/settlement.SettlementService/ExecuteSettlement",
        MessageToJson(payment_request()).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS, context=context) as answer:
        return str(json.load(answer)["status"])


ALICE = x509.UniformResourceIdentifier("SPIFFE://bank/alice/")


def test_a_public_address_requires_a_client_certificate(
    tmp_path: Path, urls: dict[str, str]
) -> None:
    """Both for gRPC and JSON; health and metrics need none, and are on loopback."""
    authority = issue("authority")
    server = issue("server", x509.DNSName("localhost"), by=authority, use=SERVER_AUTH)
    files = {
        "cert": server.pem()[0],
        "key": server.pem()[1],
        "client_ca": authority.pem()[0],
    }
    settings = ["server.host=0.0.0.0"]
    for name, content in files.items():
        (tmp_path / f"{name}.pem").write_bytes(content)
        (tmp_path / f"{name}.pem").chmod(0o600)
        settings.append(f"server.tls_{name}_file={tmp_path / f'{name}.pem'}")
    words = [word for each in settings for word in ("--set", each)]
    refused = run(tmp_path, "serve", *REHEARSAL, *words[:2], variables=urls)
    assert refused.returncode == ExitCode.MISCONFIGURED
    assert "server.tls_client_ca_file is empty" in refused.stderr
    assert run(tmp_path, "migrate", variables=urls).returncode == ExitCode.OK
    do(urls["SETTLEMENT_DATABASE__URL"], OPEN_ALL_DAY, [1, 2, 3, 4, 5, 6, 7])
    quick = ("--set", "banks.mock_latency_ms=1", "--set", "banks.mock_success_rate=1")
    with Serve(tmp_path, *words, *quick, variables=urls) as serving:
        grpc_port, http_port, metrics_port = serving.ports()
        certificate, key = issue("alice", ALICE, by=authority).pem()
        known = grpc.ssl_channel_credentials(authority.pem()[0], key, certificate)
        unknown = grpc.ssl_channel_credentials(authority.pem()[0])
        with grpc.secure_channel(f"localhost:{grpc_port}", known) as channel:
            open_accounts(rpc.AccountServiceStub(channel))
        with (
            grpc.secure_channel(f"localhost:{grpc_port}", unknown) as channel,
            pytest.raises(grpc.RpcError),
        ):
            rpc.SettlementServiceStub(channel).ExecuteSettlement(payment_request(), timeout=10)
        context = client_context(authority, tmp_path)
        for stranger in (None, context):
            with pytest.raises(OSError, match=r".*"):
                execute_in_json(http_port, stranger)
        alice = issue("alice", ALICE, by=authority)
        known_here = client_context(authority, tmp_path, alice)
        assert execute_in_json(http_port, known_here) == "COMPLETED"
        for path in ("metrics", "healthz", "readyz"):
            url = f"http://127.0.0.1:{metrics_port}/{path}"
            with urllib.request.urlopen(url, timeout=10) as answer:
                assert answer.status == HTTPStatus.OK
        assert serving.terminate() == ExitCode.OK
    callers = fetch(urls["SETTLEMENT_DATABASE__URL"], "SELECT caller FROM settlement_transactions")
    assert callers == [("spiffe://bank/alice",)]


HALF_A_REQUEST = (
    b"POST /settlement.SettlementService/ExecuteSettlement HTTP/1.1\r\nHost: localhost\r\n"
    b"Content-Type: application/json\r\nContent-Length: 400\r\n\r\n{"
)


def test_idle_callers_do_not_delay_shutdown(tmp_path: Path, urls: dict[str, str]) -> None:
    """SIGTERM with five incomplete bodies and other idle connections: this once took a minute."""
    assert run(tmp_path, "migrate", variables=urls).returncode == ExitCode.OK
    with Serve(tmp_path, variables=urls) as serving, ExitStack() as held:
        for port in serving.ports():
            for said in (HALF_A_REQUEST, HALF_A_REQUEST, b"POST", b""):
                connection = socket.create_connection(("127.0.0.1", port))
                held.enter_context(connection).sendall(said)
        assert serving.terminate() == ExitCode.OK  # within TIMEOUT_SECONDS
        assert "Traceback" not in serving.said
    lease = fetch(urls["SETTLEMENT_DATABASE__URL"], "SELECT gone_at IS NOT NULL FROM engines")
    assert lease == [(True,)]


@pytest.mark.slow
def test_callers_connections_do_not_exhaust_the_engines_file_descriptors(
    tmp_path: Path, urls: dict[str, str]
) -> None:
    """With a limit of 1,024 open files and 1,100 idle connections on each port, payments continue."""
    assert run(tmp_path, "migrate", variables=urls).returncode == ExitCode.OK
    do(urls["SETTLEMENT_DATABASE__URL"], OPEN_ALL_DAY, [1, 2, 3, 4, 5, 6, 7])
    quick = ("--set", "banks.mock_latency_ms=1", "--set", "banks.mock_success_rate=1")
    limits = (resource.RLIMIT_NOFILE, (1024, 1024))
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    try:
        with (
            Serve(tmp_path, *quick, variables=urls, limits=limits) as serving,
            ExitStack() as held,
        ):
            ports = serving.ports()
            channel = held.enter_context(grpc.insecure_channel(f"127.0.0.1:{ports[0]}"))
            open_accounts(rpc.AccountServiceStub(channel))
            for port in ports:
                for _ in range(1_100):
                    with suppress(OSError):
                        held.enter_context(socket.create_connection(("127.0.0.1", port)))
            settlements = rpc.SettlementServiceStub(channel)
            for _ in range(5):
                answer = settlements.ExecuteSettlement(payment_request(), timeout=TIMEOUT_SECONDS)
                assert answer.status == pb.COMPLETED
                assert execute_in_json(ports[1]) == "COMPLETED"
            opened = len(list(Path(f"/proc/{serving.process.pid}/fd").iterdir()))
            assert opened < 1024 - 64
            assert "Traceback" not in serving.said
            assert "Too many open files" not in serving.said
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def open_accounts(accounts: rpc.AccountServiceStub) -> None:
    for bank in ("DEUTDEFF", "CHASUS33"):
        for kind in (pb.NOSTRO, pb.VOSTRO):
            request = pb.OpenAccountRequest(kind=kind, bank=bank, currency="EUR")
            accounts.OpenAccount(request, timeout=10)
    funding = pb.FundAccountRequest(
        bank="DEUTDEFF", currency="EUR", amount="10.00", idempotency_key="funds"
    )
    accounts.FundAccount(funding, timeout=10)
