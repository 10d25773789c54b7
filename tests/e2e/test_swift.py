"""``serve`` moves payments over the rail swift: real servers, mutual TLS on both sides, no mock anywhere.

The bank is a process of its own, which demands our certificate, calls back with its own, and whose ledger is the
judge of every end: never two debits, and nothing released that it has debited.
"""

from __future__ import annotations

import json
import signal
import socket
import ssl
import subprocess
import urllib.error
import urllib.request
import uuid
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import grpc
import pytest

from settlement_engine.cli.failures import ExitCode
from settlement_engine.proto import settlement_pb2 as pb
from settlement_engine.proto import settlement_pb2_grpc as rpc
from tests.e2e.test_start import (
    OPEN_ALL_DAY,
    PROGRAM,
    Serve,
    do,
    environment,
    fetch,
    open_accounts,
    run,
)
from tests.e2e.world import ENDED, payment_request, until
from tests.support.certificates import Authority, CertificateFiles

if TYPE_CHECKING:
    from collections.abc import Iterator

TIMEOUT_SECONDS = 40.0
BANK_NAME = "spiffe://bank/deutdeff"
SHIPPED = Path(__file__).parents[2] / "src/settlement_engine/rails/iso20022/profiles/swift.toml"
AGREED = {
    'rail_class = "D"': 'rail_class = "B"',
    "is_not_found_definite = false": "is_not_found_definite = true",
    "deduplicates_seconds = 0": "deduplicates_seconds = 86400",
}
"""What this bank has agreed to: it knows a payment that was sent twice, and what it does not know never came."""

SCRIPT = {
    "default": "settle",
    "rules": [
        {"scenario": "reject", "amount": "1.01"},
        {"scenario": "lost_answer", "amount": "1.02"},
        {"scenario": "settle_by_callback", "amount": "1.03"},
        {"scenario": "very_slow", "amount": "1.04"},
        {"scenario": "lost_request", "amount": "1.05"},
        {"scenario": "silent_for_a_day", "amount": "1.06"},
    ],
    "scenarios": {"very_slow": {"reply_delay_ms": 60_000}},
}


@dataclass(frozen=True, slots=True)
class Files:
    """Two authorities, and whom each has certified."""

    bank_authority: Authority
    our_authority: Authority
    bank: CertificateFiles
    we_at_the_bank: CertificateFiles
    server: CertificateFiles
    alice: CertificateFiles
    both_authorities: Path

    @classmethod
    def make(cls, folder: Path) -> Files:
        theirs = Authority.make(folder, "bank-authority")
        ours = Authority.make(folder, "our-authority")
        both = folder / "both.pem"
        both.write_bytes(theirs.file.read_bytes() + ours.file.read_bytes())
        return cls(
            bank_authority=theirs,
            our_authority=ours,
            bank=theirs.issue(folder, "bank", is_server=True, uri=BANK_NAME),
            we_at_the_bank=theirs.issue(folder, "we"),
            server=ours.issue(folder, "server", is_server=True),
            alice=ours.issue(folder, "alice"),
            both_authorities=both,
        )


@contextmanager
def simulator(folder: Path, files: Files, engine_port: int) -> Iterator[str]:
    """The bank in a process of its own; yields its address."""
    script = folder / "script.yaml"
    script.write_text(json.dumps(SCRIPT), "utf-8")
    bank = files.bank
    words = [
        *("bank-simulator", "--json", "--ledger", str(folder / "bank.db")),
        *("--script", str(script), "--cert", str(bank.certificate), "--key", str(bank.key)),
        *("--client-ca", str(files.bank_authority.file)),
        *("--callback-url", f"https://localhost:{engine_port}/rails/swift/inbound"),
        *("--callback-ca", str(files.our_authority.file)),
    ]
    with (folder / "bank.log").open("wb") as log:
        process = subprocess.Popen(
            [*PROGRAM, *words], stdout=subprocess.PIPE, stderr=log, env=environment({})
        )
    assert process.stdout is not None
    try:
        yield str(json.loads(process.stdout.readline())["simulator"])
    finally:
        process.kill()
        process.wait(timeout=TIMEOUT_SECONDS)
        process.stdout.close()


def configuration(folder: Path, files: Files, endpoint: str, engine_port: int) -> Path:
    profile = SHIPPED.read_text("utf-8")
    for old, new in AGREED.items():
        profile = profile.replace(old, new)
    (folder / "profile.toml").write_text(profile, "utf-8")
    path = folder / "config.toml"
    path.write_text(
        f"""
[server]
http_port = {engine_port}
tls_cert_file = "{files.server.certificate}"
tls_key_file = "{files.server.key}"
tls_client_ca_file = "{files.both_authorities}"
[settlement]
enquiry_first_delay_seconds = 0.2
enquiry_max_delay_seconds = 1
retry_delay_seconds = 1
[institution]
bic = "SETTGB2L"
[banks]
mock_enabled = false
[[banks.swift]]
enabled = true
endpoint = "{endpoint}"
timeout_seconds = 5
profile_file = "{folder / "profile.toml"}"
ca_file = "{files.bank_authority.file}"
cert_file = "{files.we_at_the_bank.certificate}"
key_file = "{files.we_at_the_bank.key}"
callback_name = "{BANK_NAME}"
""",
        "utf-8",
    )
    return path


class Scene:
    """The bank, the files, and an engine that can be killed and started again."""

    def __init__(
        self, folder: Path, files: Files, urls: dict[str, str], bank: str, http_port: int
    ) -> None:
        self.folder, self.files, self.urls, self.bank = folder, files, urls, bank
        self.http_port = http_port
        self.serving: Serve | None = None
        self._channel: grpc.Channel | None = None

    def start(self) -> None:
        ports = ("--set", "server.grpc_port=0", "--set", "monitoring.metrics_port=0")
        self.serving = Serve(
            self.folder,
            *("--set", f"server.http_port={self.http_port}", *ports),
            *("--config", str(self.folder / "config.toml")),
            *("--set", "banks.directory_required=true"),
            variables=self.urls,
        )
        grpc_port, _, _ = self.serving.ports()
        alice, authority = self.files.alice, self.files.our_authority
        known = grpc.ssl_channel_credentials(
            authority.file.read_bytes(), alice.key.read_bytes(), alice.certificate.read_bytes()
        )
        self._channel = grpc.secure_channel(f"localhost:{grpc_port}", known)

    def kill(self) -> None:
        """End the engine as a power cut does."""
        assert self.serving is not None
        self.close()
        self.serving.process.send_signal(signal.SIGKILL)
        self.serving.process.wait(timeout=TIMEOUT_SECONDS)

    def close(self) -> None:
        if self._channel is not None:
            self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        if self.serving is not None:
            self.serving.__exit__()

    # --- what is asked of both sides ----------------------------------------------------------------

    @property
    def channel(self) -> grpc.Channel:
        assert self._channel is not None, "the engine is started first"
        return self._channel

    @property
    def settlements(self) -> rpc.SettlementServiceStub:
        return rpc.SettlementServiceStub(self.channel)

    @property
    def accounts(self) -> rpc.AccountServiceStub:
        return rpc.AccountServiceStub(self.channel)

    @property
    def banks(self) -> rpc.BankServiceStub:
        return rpc.BankServiceStub(self.channel)

    def ends(self, settlement_id: str) -> pb.SettlementStatusResponse:
        """Wait for the end of a settlement."""
        asked = pb.SettlementStatusRequest(settlement_id=settlement_id)

        def look() -> pb.SettlementStatusResponse | None:
            found = self.settlements.GetSettlementStatus(asked, timeout=10)
            return found if found.status in ENDED else None

        found = until(look, TIMEOUT_SECONDS, "the settlement to end")
        assert isinstance(found, pb.SettlementStatusResponse)
        return found

    def ledger(self, **names: str) -> list[dict[str, Any]]:
        """What the bank received of a payment; it tells this only to its customers."""
        context = ssl.create_default_context(cafile=str(self.files.bank_authority.file))
        we = self.files.we_at_the_bank
        context.load_cert_chain(we.certificate, we.key)
        with urllib.request.urlopen(f"{self.bank}/ledger", timeout=10, context=context) as answer:
            lines = [json.loads(line) for line in answer.read().splitlines() if line]
        return [line for line in lines if names.items() <= line.items()]

    def held(self) -> str:
        request = pb.ListAccountsRequest(kind=pb.NOSTRO, bank="DEUTDEFF", currency="EUR")
        return str(self.accounts.ListAccounts(request, timeout=10).accounts[0].held)


@pytest.fixture
def urls(database_url: str, nats_url: str) -> dict[str, str]:
    name = f"swift-{uuid.uuid4().hex}"
    return {
        "SETTLEMENT_DATABASE__URL": database_url,
        "SETTLEMENT_NATS__URL": nats_url,
        "SETTLEMENT_NATS__STREAM": name,
        "SETTLEMENT_NATS__SUBJECT_PREFIX": name,
    }


@pytest.fixture
def scene(tmp_path: Path, urls: dict[str, str]) -> Iterator[Scene]:
    files = Files.make(tmp_path / "certificates")
    with socket.create_server(("127.0.0.1", 0)) as free:
        http_port = free.getsockname()[1]
    do(urls["SETTLEMENT_DATABASE__URL"], OPEN_ALL_DAY, [1, 2, 3, 4, 5, 6, 7])
    with ExitStack() as stack:
        bank = stack.enter_context(simulator(tmp_path, files, http_port))
        configuration(tmp_path, files, bank, http_port)
        made = stack.enter_context(Scene(tmp_path, files, urls, bank, http_port))
        made.start()
        for code in ("DEUTDEFF", "CHASUS33"):
            made.banks.PutBank(pb.PutBankRequest(bank=pb.Bank(code=code, name=code)), timeout=10)
        open_accounts(made.accounts)
        yield made


def test_every_end_is_that_of_the_banks_ledger(scene: Scene, tmp_path: Path) -> None:
    rows = {
        "1.00": (pb.COMPLETED, 1),
        "1.01": (pb.ROLLED_BACK, 0),
        "1.02": (pb.COMPLETED, 1),  # the answer was lost: in doubt, until an enquiry ends it
        "1.03": (pb.COMPLETED, 1),  # told by call-back only
        "1.05": (pb.COMPLETED, 1),  # the request was lost: not found, and sent again
    }
    for amount, (status, debits) in rows.items():
        sent = scene.settlements.ExecuteSettlement(payment_request(amount=amount), timeout=30)
        assert scene.ends(sent.settlement_id).status == status, amount
        (line,) = scene.ledger(settlement_id=sent.settlement_id)
        assert (line["times_debited"], line["times_received"]) == (debits, 1), amount
    doubted = scene.ledger(amount="1.02")[0]["settlement_id"]
    assert "in_doubt" in [transition.to_state.lower() for transition in scene.ends(doubted).moves]
    stored = fetch(scene.urls["SETTLEMENT_DATABASE__URL"], "SELECT source FROM inbound_messages")
    assert ("callback",) in stored
    assert scene.held() in {"0", "0.00"}
    assert scene.serving is not None
    assert "Traceback" not in scene.serving.said
    proof = run(tmp_path, "prove", variables=scene.urls)
    assert proof.returncode == ExitCode.OK, proof.stdout + proof.stderr
    assert "open: 0 settlements, 0 holds" in proof.stdout


def test_an_engine_that_is_killed_while_the_bank_works_pays_once(
    scene: Scene, tmp_path: Path
) -> None:
    """The bank has the money's order and has not answered: nobody but the bank knows what became of it."""
    request = payment_request(amount="1.04")
    sent = scene.settlements.ExecuteSettlement.future(request, timeout=30)
    until(lambda: scene.ledger(amount="1.04"), TIMEOUT_SECONDS, "the bank to have it")
    scene.kill()
    sent.cancel()
    scene.start()
    (line,) = scene.ledger(amount="1.04")
    assert scene.ends(line["settlement_id"]).status == pb.COMPLETED
    again = scene.settlements.ExecuteSettlement(request, timeout=30)
    assert (again.settlement_id, again.status) == (line["settlement_id"], pb.COMPLETED)
    (line,) = scene.ledger(amount="1.04")
    assert line["times_debited"] == 1
    proof = run(tmp_path, "prove", variables=scene.urls)
    assert proof.returncode == ExitCode.OK, proof.stdout + proof.stderr


def test_in_production_accounts_and_settlements_name_only_banks_of_the_directory(
    scene: Scene,
) -> None:
    """The certificate says who entered a bank; what is not entered is refused, and the field is named."""
    found = scene.banks.GetBank(pb.GetBankRequest(code="DEUTDEFF"), timeout=10)
    assert (found.version, found.changed_by) == (1, "alice.example")
    account = pb.OpenAccountRequest(kind=pb.VOSTRO, bank="BNPAFRPP", currency="EUR")
    request = payment_request(to_bank="BNPAFRPP")
    calls: list[tuple[Any, Any]] = [
        (scene.accounts.OpenAccount, account),
        (scene.settlements.ExecuteSettlement, request),
    ]
    for call, asked in calls:
        with pytest.raises(grpc.RpcError, match="bank directory") as refused:
            call(asked, timeout=30)
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    entry = pb.Bank(code="BNPAFRPP", name="BNP Paribas")
    scene.banks.PutBank(pb.PutBankRequest(bank=entry), timeout=10)
    scene.accounts.OpenAccount(account, timeout=30)
    sent = scene.settlements.ExecuteSettlement(request, timeout=30)
    assert scene.ends(sent.settlement_id).status == pb.COMPLETED


def test_a_completed_settlement_is_recalled_and_the_banks_return_is_the_money(
    scene: Scene, tmp_path: Path
) -> None:
    sent = scene.settlements.ExecuteSettlement(payment_request(amount="1.00"), timeout=30)
    assert scene.ends(sent.settlement_id).status == pb.COMPLETED
    request = pb.RecallSettlementRequest(settlement_id=sent.settlement_id, reason="paid twice")
    recall = scene.settlements.RecallSettlement(request, timeout=10)
    assert (recall.requested_by, recall.replayed) == ("alice.example", False)
    asked = pb.SettlementStatusRequest(settlement_id=sent.settlement_id)

    def returned() -> pb.SettlementStatusResponse | None:
        found = scene.settlements.GetSettlementStatus(asked, timeout=10)
        return found if found.recall.state == pb.RECALL_STATE_RETURNED else None

    found = until(returned, TIMEOUT_SECONDS, "the money to come back")
    assert isinstance(found, pb.SettlementStatusResponse)
    assert (found.status, found.is_frozen) == (pb.RETURNED, False)
    assert scene.settlements.RecallSettlement(request, timeout=10).replayed
    proof = run(tmp_path, "prove", variables=scene.urls)
    assert proof.returncode == ExitCode.OK, proof.stdout + proof.stderr


def test_a_stranger_reaches_neither_the_bank_nor_the_call_backs(scene: Scene) -> None:
    """Alice may pay; that makes her no bank. The bank may call back; that makes it no caller."""
    context = ssl.create_default_context(cafile=str(scene.files.bank_authority.file))
    with pytest.raises(OSError, match=r".*"):
        urllib.request.urlopen(f"{scene.bank}/ledger", timeout=10, context=context)
    alice, bank = scene.files.alice, scene.files.bank
    assert post(scene, alice, "/rails/swift/inbound", b"<a/>", "application/xml") == 403
    assert post(scene, bank, "/rails/swift/inbound", b"<a/>", "application/xml") == 400
    execute = "/settlement.SettlementService/ExecuteSettlement"
    assert post(scene, bank, execute, b"{}", "application/json") == 403
    assert post(scene, alice, execute, b"{}", "application/json") == 400


def post(scene: Scene, shown: CertificateFiles, path: str, body: bytes, kind: str) -> int:
    context = ssl.create_default_context(cafile=str(scene.files.our_authority.file))
    context.load_cert_chain(shown.certificate, shown.key)
    request = urllib.request.Request(
        f"https://localhost:{scene.http_port}{path}", body, {"Content-Type": kind}
    )
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=10, context=context)
    caught.value.close()
    return caught.value.code
