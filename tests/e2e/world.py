"""A whole engine as a user starts it: ``dev`` in a process of its own, used over gRPC and HTTP."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Self

import grpc

from settlement_engine.proto import settlement_pb2 as pb
from settlement_engine.proto import settlement_pb2_grpc as rpc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

READY_SECONDS_MAX = 60.0
POLL_SECONDS = 0.02
ENDED = frozenset({pb.COMPLETED, pb.FAILED, pb.ROLLED_BACK, pb.RETURNED})


def until(truth: Callable[[], Any], seconds: float, what: str) -> Any:
    """Poll until the condition is true, and return its value."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = truth()
        if found:
            return found
        time.sleep(POLL_SECONDS)
    message = f"waited {seconds} s for {what}"
    raise AssertionError(message)


SETTLES_ALWAYS = ("--set", "banks.mock_success_rate=1")
"""By default the mock bank rejects one payment in twenty, so that unrelated tests would fail at random."""


class World:
    """One running ``dev``: its address file, its processes, its calls."""

    def __init__(
        self, folder: Path, *arguments: str, variables: Mapping[str, str] | None = None
    ) -> None:
        self.folder = folder
        self.address_file = folder / "address.json"
        self._log = (folder / "dev.log").open("ab")
        self._arguments = arguments
        self._environment = {**os.environ, **(variables or {})}
        self.process: subprocess.Popen[bytes] | None = None
        self._channel: grpc.Channel | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start ``dev`` and wait until it is ready."""
        self.address_file.unlink(missing_ok=True)
        command = [sys.executable, "-m", "settlement_engine", "dev"]
        command += ["--data-dir", str(self.folder / "data"), "--address-file"]
        command += [str(self.address_file), "--grpc-port", "0", "--http-port", "0"]
        command += ["--metrics-port", "0", *SETTLES_ALWAYS, *self._arguments]
        self.process = subprocess.Popen(
            command, env=self._environment, stdout=self._log, stderr=self._log
        )
        until(self._is_ready, READY_SECONDS_MAX, f"dev to be ready, see {self.folder}/dev.log")

    def _is_ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "dev.log").read_text()[-3000:]
        return self.address_file.exists()

    def stop(self) -> int:
        """Stop ``dev``, and return its exit code."""
        self.close_channel()
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=40)
        self._log.close()
        return code

    @property
    def address(self) -> dict[str, Any]:
        """The current content of the address file."""
        found: dict[str, Any] = json.loads(self.address_file.read_text())
        return found

    # --- gRPC -----------------------------------------------------------------------------------

    def close_channel(self) -> None:
        """Close the gRPC channel; the next call opens a new one."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    @property
    def channel(self) -> grpc.Channel:
        """A gRPC channel that reconnects when the connection is lost."""
        if self._channel is None:
            options = [
                ("grpc.initial_reconnect_backoff_ms", 100),
                ("grpc.max_reconnect_backoff_ms", 300),
            ]
            self._channel = grpc.insecure_channel(self.address["grpc"], options=options)
        return self._channel

    @property
    def settlements(self) -> rpc.SettlementServiceStub:
        """The stub of SettlementService."""
        return rpc.SettlementServiceStub(self.channel)

    @property
    def accounts(self) -> rpc.AccountServiceStub:
        """The stub of AccountService."""
        return rpc.AccountServiceStub(self.channel)

    def execute(self, **fields: Any) -> pb.SettlementResponse:
        """Execute one settlement and wait for its end."""
        return self.settlements.ExecuteSettlement(payment_request(**fields), timeout=20)

    def status(self, settlement_id: str) -> pb.SettlementStatusResponse:
        """Return a settlement's status with its history so far."""
        request = pb.SettlementStatusRequest(settlement_id=settlement_id)
        return self.settlements.GetSettlementStatus(request, timeout=10)

    def wait_for(self, settlement_id: str, *statuses: int, seconds: float = 20) -> Any:
        """Poll until a settlement has one of the statuses."""

        def look() -> pb.SettlementStatusResponse | None:
            found = self.status(settlement_id)
            return found if found.status in (statuses or ENDED) else None

        return until(look, seconds, f"{settlement_id} to be {statuses or 'ended'}")

    def open_bank(self, bank: str, currency: str, funds: str | None = None) -> None:
        """Open a nostro and a vostro, and fund the nostro."""
        for kind in (pb.NOSTRO, pb.VOSTRO):
            request = pb.OpenAccountRequest(kind=kind, bank=bank, currency=currency)
            self.accounts.OpenAccount(request, timeout=10)
        if funds is not None:
            key = f"funds-{bank}-{currency}"
            funding = pb.FundAccountRequest(
                bank=bank, currency=currency, amount=funds, idempotency_key=key
            )
            self.accounts.FundAccount(funding, timeout=10)

    def nostro(self, bank: str, currency: str) -> pb.Account:
        """Return a bank's nostro."""
        request = pb.ListAccountsRequest(kind=pb.NOSTRO, bank=bank, currency=currency)
        return self.accounts.ListAccounts(request, timeout=10).accounts[0]

    # --- HTTP -----------------------------------------------------------------------------------

    def post(self, call: str, body: object | bytes, **headers: str) -> tuple[int, dict[str, Any]]:
        """Call the JSON gateway; return the HTTP status and the body."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(
            f"{self.address['http']}/settlement.{call}",
            data=data,
            headers={"content-type": "application/json", **headers},
            method="POST",
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    def get(self, path: str) -> tuple[int, str]:
        """Request a path of the HTTP port; return the status and the text."""
        url = f"{self.address['http']}{path}"
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def bank_ledger(self) -> list[dict[str, Any]]:
        """Return the entries of the mock bank's ledger."""
        _, text = self.get("/dev/bank-ledger")
        return [json.loads(line) for line in text.splitlines() if line]

    def simulator_ledger(self) -> list[dict[str, Any]]:
        """Return the entries of the bank simulator's ledger."""
        with urllib.request.urlopen(f"{self.address['simulator']}/ledger", timeout=30) as answer:
            return [json.loads(line) for line in answer.read().splitlines() if line]

    def bank_entry(self, settlement_id: str) -> dict[str, Any] | None:
        """Return the bank's only entry of a settlement, or None."""
        found = [row for row in self.bank_ledger() if row["settlement_id"] == settlement_id]
        assert len(found) <= 1, found
        return found[0] if found else None

    # --- the command line, and violence -----------------------------------------------------------

    def prove(self) -> dict[str, Any]:
        """Run ``prove``; it must find no differences."""
        done = subprocess.run(
            [sys.executable, "-m", "settlement_engine", "prove", "--json"],
            env={**os.environ, "SETTLEMENT_DATABASE__URL": self.address["database_url"]},
            capture_output=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def engine_pids(self) -> list[int]:
        """Return the process ids of the engines."""
        return list(self.address["engine_pids"])

    def kill_engine(self) -> None:
        """Kill the engines with SIGKILL."""
        for pid in self.engine_pids():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue

    def await_new_engine(self, old: list[int], seconds: float = 20) -> None:
        """Wait until another engine process answers."""
        until(lambda: set(self.engine_pids()).isdisjoint(old), seconds, "a new engine")
        self.close_channel()
        grpc.channel_ready_future(self.channel).result(timeout=seconds)
        until(self._answers_http, seconds, "the HTTP port")

    def _answers_http(self) -> bool:
        try:
            return self.get("/healthz")[0] == HTTPStatus.OK
        except OSError:
            return False


def payment_request(**fields: Any) -> pb.SettlementRequest:
    """Build a settlement request; fields that are not given have ordinary values."""
    fields.setdefault("obligation_id", str(uuid.uuid4()))
    fields.setdefault("from_bank", "DEUTDEFF")
    fields.setdefault("to_bank", "CHASUS33")
    fields.setdefault("amount", "1.00")
    fields.setdefault("currency", "EUR")
    simulate = fields.pop("simulate", None)
    if simulate:
        fields["metadata"] = {"simulate": simulate}
    return pb.SettlementRequest(**fields)


def events(
    world: World, after: int = 0, settlement_id: str = "", timeout: float = 20
) -> Iterator[pb.SettlementEvent]:
    """Stream events from a sequence number up to the head."""
    request = pb.StreamRequest(after_sequence=after, settlement_id=settlement_id, ends_at_head=True)
    yield from world.settlements.StreamSettlementEvents(request, timeout=timeout)
