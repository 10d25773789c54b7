"""``serve`` with two banks on the rail swift: each known by its own authority, paid at its own address, heard for itself.

Neither bank can see, pay or report what is the other's.
"""

from __future__ import annotations

import socket
import ssl
import urllib.error
import urllib.request
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from settlement_engine.proto import settlement_pb2 as pb
from settlement_engine.simulator import answers
from settlement_engine.simulator.ledger import Payment
from tests.e2e.test_start import OPEN_ALL_DAY, do, fetch, open_accounts
from tests.e2e.test_swift import (
    TIMEOUT_SECONDS,
    Files,
    Scene,
    configuration,
    simulator,
    urls,
)
from tests.e2e.world import ENDED, payment_request, until
from tests.support.certificates import Authority

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["urls"]
OTHER_NAME = "spiffe://bank/chasus33"
FIRST, OTHER = "DEUTDEFF", "CHASUS33"


class Two(NamedTuple):
    """The engine and its first bank; the other bank, of which only the ledger is asked."""

    scene: Scene
    other: Scene


def another_bank(folder: Path, first: Files) -> Files:
    """Make a bank with an authority of its own; we stay who we are."""
    theirs = Authority.make(folder, "other-authority")
    return replace(
        first,
        bank_authority=theirs,
        bank=theirs.issue(folder, "other", is_server=True, uri=OTHER_NAME),
        we_at_the_bank=theirs.issue(folder, "we-at-the-other"),
    )


@pytest.fixture
def two(tmp_path: Path, urls: dict[str, str]) -> Iterator[Two]:
    files = Files.make(tmp_path / "certificates")
    others = another_bank(tmp_path / "others", files)
    with files.both_authorities.open("ab") as all_authorities:
        all_authorities.write(others.bank_authority.file.read_bytes())
    with socket.create_server(("127.0.0.1", 0)) as free:
        http_port = free.getsockname()[1]
    do(urls["SETTLEMENT_DATABASE__URL"], OPEN_ALL_DAY, [1, 2, 3, 4, 5, 6, 7])
    (tmp_path / "other").mkdir()
    with ExitStack() as stack:
        bank = stack.enter_context(simulator(tmp_path, files, http_port))
        other = stack.enter_context(simulator(tmp_path / "other", others, http_port))
        path = configuration(tmp_path, files, bank, http_port)
        with path.open("a", encoding="utf-8") as file:
            file.write(f'banks = ["{FIRST}"]\n{entry_of(tmp_path, others, other)}')
        made = stack.enter_context(Scene(tmp_path, files, urls, bank, http_port))
        made.start()
        for code in (FIRST, OTHER):
            made.banks.PutBank(pb.PutBankRequest(bank=pb.Bank(code=code, name=code)), timeout=10)
        open_accounts(made.accounts)
        funding = pb.FundAccountRequest(
            bank=OTHER, currency="EUR", amount="10.00", idempotency_key="other"
        )
        made.accounts.FundAccount(funding, timeout=10)
        yield Two(made, Scene(tmp_path, others, urls, other, http_port))


def entry_of(folder: Path, files: Files, endpoint: str) -> str:
    return f"""
[[banks.swift]]
enabled = true
endpoint = "{endpoint}"
timeout_seconds = 5
profile_file = "{folder / "profile.toml"}"
ca_file = "{files.bank_authority.file}"
cert_file = "{files.we_at_the_bank.certificate}"
key_file = "{files.we_at_the_bank.key}"
callback_name = "{OTHER_NAME}"
banks = ["{OTHER}"]
"""


def test_each_bank_gets_the_orders_from_our_account_with_it(two: Two) -> None:
    for amount in ("1.00", "1.03"):
        for bank, scene, nobody in ((FIRST, two.scene, two.other), (OTHER, two.other, two.scene)):
            to_bank = OTHER if bank == FIRST else FIRST
            request = payment_request(amount=amount, from_bank=bank, to_bank=to_bank)
            sent = two.scene.settlements.ExecuteSettlement(request, timeout=30)
            assert two.scene.ends(sent.settlement_id).status == pb.COMPLETED
            (line,) = scene.ledger(settlement_id=sent.settlement_id)
            assert (line["from_bank"], line["times_debited"]) == (bank, 1)
            assert nobody.ledger(settlement_id=sent.settlement_id) == []
    assert two.scene.serving is not None
    assert "Traceback" not in two.scene.serving.said


def test_a_bank_is_not_heard_about_a_payment_of_the_other(two: Two) -> None:
    request = payment_request(amount="1.06", from_bank=FIRST, to_bank=OTHER)
    waiting = two.scene.settlements.ExecuteSettlement.future(request, timeout=30)
    (line,) = until(lambda: two.scene.ledger(amount="1.06"), TIMEOUT_SECONDS, "the bank to have it")
    settlement_id = line["settlement_id"]
    assert says_settled(two.scene, two.other.files, settlement_id, "FORGED") == 403
    database = two.scene.urls["SETTLEMENT_DATABASE__URL"]
    for table in ("inbound_messages", "inbound_reports", "exceptions"):
        assert fetch(database, f"SELECT count(*) FROM {table}") == [(0,)]
    asked = pb.SettlementStatusRequest(settlement_id=settlement_id)
    assert two.scene.settlements.GetSettlementStatus(asked, timeout=10).status not in ENDED
    assert says_settled(two.scene, two.scene.files, settlement_id, "TRUE") == 200
    assert two.scene.ends(settlement_id).status == pb.COMPLETED
    assert waiting.result().settlement_id == settlement_id


def says_settled(scene: Scene, files: Files, settlement_id: str, name: str) -> int:
    """Call back as the bank of these files: the payment has settled."""
    asked = pb.SettlementStatusRequest(settlement_id=settlement_id)
    found = scene.settlements.GetSettlementStatus(asked, timeout=10)
    said: dict[str, Any] = dict.fromkeys(set(Payment.__struct_fields__) - {"debited_minor"}, "")
    said |= {
        "id": 1,
        "uetr": found.uetr,
        "end_to_end_id": found.end_to_end_id,
        "message_name": "pacs.009.001.08",
        "message_id": scene.ledger(settlement_id=settlement_id)[0]["message_id"],
        "currency": "EUR",
    }
    status = answers.transaction_status(Payment(**said), "ACSC", "")
    body = answers.status_report(name, 0, [status])
    context = ssl.create_default_context(cafile=str(files.our_authority.file))
    context.load_cert_chain(files.bank.certificate, files.bank.key)
    url = f"https://localhost:{scene.http_port}/rails/swift/inbound"
    call = urllib.request.Request(url, body, {"Content-Type": "application/xml"})
    try:
        with urllib.request.urlopen(call, timeout=10, context=context) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as refused:
        return refused.code
