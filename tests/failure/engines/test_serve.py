"""Two ``serve`` processes on one database, as in production: each finishes what the other has begun."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import grpc
import pytest

from settlement_engine.proto import settlement_pb2 as pb
from settlement_engine.proto import settlement_pb2_grpc as rpc
from tests.e2e.test_start import OPEN_ALL_DAY, Serve, do, run
from tests.e2e.world import payment_request, until

if TYPE_CHECKING:
    from pathlib import Path

TIMEOUT_SECONDS = 30.0
CALL_SECONDS = 10.0
EVERY_DAY = [1, 2, 3, 4, 5, 6, 7]
WORDS = (
    *("--set", "banks.mock_latency_ms=5"),
    *("--set", "banks.mock_answer_timeout_ms=2000"),
    *("--set", "settlement.enquiry_first_delay_seconds=0.1"),
)


@pytest.fixture
def variables(empty_database_url: str, nats_url: str, tmp_path: Path) -> dict[str, str]:
    """Return the addresses of the shared servers; this database's windows are open all day."""
    name = f"serve-{uuid.uuid4().hex}"
    found = {
        "SETTLEMENT_DATABASE__URL": empty_database_url,
        "SETTLEMENT_NATS__URL": nats_url,
        "SETTLEMENT_NATS__STREAM": name,
        "SETTLEMENT_NATS__SUBJECT_PREFIX": name,
    }
    done = run(tmp_path, "migrate", variables=found)
    assert done.returncode == 0, done.stderr
    do(empty_database_url, OPEN_ALL_DAY, EVERY_DAY)
    return found


def begin(folder: Path, name: str, variables: dict[str, str]) -> Serve:
    """Start one of the two, in a folder of its own; they share the mock bank."""
    own = folder / name
    own.mkdir()
    book = ("--set", f"banks.mock_book_file={folder / 'mock.book'}")
    return Serve(own, *WORDS, *book, variables=variables)


@pytest.mark.kill
def test_a_settlement_begun_by_one_serve_is_ended_by_another(
    tmp_path: Path, variables: dict[str, str]
) -> None:
    """The first is killed before the bank answered; the second knows the key and the result."""
    with (
        begin(tmp_path, "first", variables) as first,
        begin(tmp_path, "second", variables) as second,
    ):
        ports = [each.ports()[0] for each in (first, second)]
        channels = [grpc.insecure_channel(f"127.0.0.1:{port}") for port in ports]
        ours, theirs = (rpc.SettlementServiceStub(channel) for channel in channels)
        open_accounts(rpc.AccountServiceStub(channels[0]))
        asked = payment_request(simulate="lost_answer")
        submitted = pb.SubmitSettlementsRequest(settlements=[asked])
        [result] = ours.SubmitSettlements(submitted, timeout=CALL_SECONDS).results
        settlement_id = result.settlement.settlement_id
        first.process.kill()
        first.process.wait(timeout=TIMEOUT_SECONDS)
        request = pb.SettlementStatusRequest(settlement_id=settlement_id)
        until(
            lambda: (
                theirs.GetSettlementStatus(request, timeout=CALL_SECONDS).status == pb.COMPLETED
            ),
            TIMEOUT_SECONDS,
            "the second to end it",
        )
        again = theirs.ExecuteSettlement(asked, timeout=CALL_SECONDS)
        assert (again.settlement_id, again.replayed) == (settlement_id, True)
        for channel in channels:
            channel.close()
        assert second.terminate() == 0


def open_accounts(accounts: rpc.AccountServiceStub) -> None:
    """Open the accounts that ``payment_request`` uses."""
    for bank in ("DEUTDEFF", "CHASUS33"):
        for kind in (pb.NOSTRO, pb.VOSTRO):
            wanted = pb.OpenAccountRequest(kind=kind, bank=bank, currency="EUR")
            accounts.OpenAccount(wanted, timeout=CALL_SECONDS)
    funding = pb.FundAccountRequest(
        bank="DEUTDEFF", currency="EUR", amount="1000.00", idempotency_key="funds"
    )
    accounts.FundAccount(funding, timeout=CALL_SECONDS)
