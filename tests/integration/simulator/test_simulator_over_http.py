"""The bank as a process, reached by the transport that rails use."""

from __future__ import annotations

import asyncio
import json
import signal
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from settlement_engine.app.simulated_payment import ledger_entry
from settlement_engine.domain.lifecycle import Event
from settlement_engine.ports import PaymentReferences
from settlement_engine.rails.classification import Asked, Purpose, classify
from settlement_engine.rails.transport.certificates import BankCertificateFiles
from settlement_engine.rails.transport.http import HttpSettings, HttpTransport
from settlement_engine.rails.transport.results import NoResponse, NothingSent, Response
from tests.support.bank_messages import Sent, enquiry, recall, transfer
from tests.support.certificates import Authority
from tests.support.cover_messages import COVER, PAYMENT, REPAIRED, cover, customer_payment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

XML = {"content-type": "application/xml"}
ONE = Sent(number=1)


@asynccontextmanager
async def reaching(address: str, **settings) -> AsyncIterator[HttpTransport]:
    settings.setdefault("timeout_seconds", 10.0)
    made = HttpTransport(HttpSettings(endpoint=address, **settings))
    await made.start()
    try:
        yield made
    finally:
        await made.stop()


async def put(bank, body: bytes, **settings):
    async with reaching(bank.address, **settings) as made:
        return await made.post("/messages", body, XML)


def named(sent: Sent) -> PaymentReferences:
    return PaymentReferences(
        uetr=UUID(sent.uetr), end_to_end_id=sent.end_to_end_id, message_id=sent.message_id
    )


def sent(result, payment: Sent = ONE, *, is_again: bool = False) -> list[Event]:
    asked = Asked(purpose=Purpose.SEND, payment=named(payment), is_possible_duplicate=is_again)
    return [report.event for report in classify(asked, result).reports]


def enquired(result, payment: Sent = ONE) -> list[Event]:
    asked = Asked(purpose=Purpose.ENQUIRE, payment=named(payment), question_id="Q1")
    return [report.event for report in classify(asked, result).reports]


async def rule(bank, scenario: str, reference: str) -> None:
    await bank.call("POST", "/admin/rules", {"scenario": scenario, "reference": reference})


# Per scenario: what the transport has, what the sending means, what an enquiry then says, and the debits.
ROWS = [
    ("settle", Response, [Event.SETTLED], [Event.SETTLED], 1),
    ("reject", Response, [Event.REJECTED], [Event.REJECTED], 0),
    ("lost_request", NoResponse, [], [Event.NOT_FOUND], None),
    ("lost_answer", NoResponse, [], [Event.SETTLED], 1),
    ("half_response", NoResponse, [], [Event.SETTLED], 1),
    ("wrong_reference", Response, [], [Event.SETTLED], 1),
    ("server_error", Response, [], [], None),
    ("unknown_at_first", NoResponse, [], [Event.NOT_FOUND], 1),
    ("other_amount", Response, [Event.SETTLED], [Event.SETTLED], 1),
    ("recall_refused", Response, [Event.ACKNOWLEDGED], [Event.ACKNOWLEDGED], 0),
]


async def test_each_scenario_over_the_wire(start_bank) -> None:
    bank = await start_bank()
    for number, (scenario, result_type, sending, enquiring, debits) in enumerate(ROWS, start=1):
        payment = Sent(number=number)
        await rule(bank, scenario, payment.end_to_end_id)
        result = await put(bank, transfer(payment))
        assert isinstance(result, result_type), scenario
        assert sent(result, payment) == sending, scenario
        assert enquired(await put(bank, enquiry(payment)), payment) == enquiring, scenario
        found = [line for line in await bank.ledger() if line["end_to_end_id"] == f"E{number}"]
        assert [line["times_debited"] for line in found] == ([] if debits is None else [debits])


async def test_a_resend_takes_the_first_result(start_bank) -> None:
    bank = await start_bank()
    await rule(bank, "lost_answer", "E1")
    assert sent(await put(bank, transfer(ONE))) == []
    again = await put(bank, transfer(ONE, is_possible_duplicate=True))
    assert (again.status, sent(again, is_again=True)) == (200, [Event.SETTLED])
    unmarked = await put(bank, transfer(ONE))
    assert (unmarked.status, sent(unmarked)) == (409, [Event.SETTLED])
    (line,) = await bank.ledger()
    assert (line["times_received"], line["times_debited"]) == (3, 1)


async def test_the_legs_of_a_cover_payment_are_two_lines(start_bank, listener) -> None:
    bank = await start_bank("--callback-url", listener.url)
    await bank.call(
        "POST", "/admin/rules", {"scenario": "reject", "leg": "cover", "reference": "M9"}
    )
    assert sent(await put(bank, customer_payment()), PAYMENT) == [Event.ACKNOWLEDGED]
    assert sent(await put(bank, cover()), COVER) == [Event.REJECTED]
    assert sent(await put(bank, cover(REPAIRED)), REPAIRED) == [Event.SETTLED]
    (told,) = await listener.wait_for(1)
    assert told.content.transactions[0].group.message_id == PAYMENT.message_id
    assert [
        (line["leg"], line["state"], line["times_debited"]) for line in await bank.ledger()
    ] == [
        ("payment", "settled", 0),
        ("cover", "rejected", 0),
        ("cover", "settled", 1),
    ]
    entry = await asyncio.to_thread(ledger_entry, bank.address, PAYMENT.end_to_end_id)
    assert entry is not None
    assert (entry["leg"], entry["message_id"]) == ("cover", REPAIRED.message_id)


async def test_the_ledger_has_the_shape_of_the_mocks(start_bank) -> None:
    bank = await start_bank()
    await put(bank, transfer(ONE))
    (line,) = await bank.ledger()
    first = [
        *("reference", "settlement_id", "obligation_id", "from_bank", "to_bank"),
        *("amount", "currency", "state", "times_received", "times_debited"),
    ]
    assert list(line)[: len(first)] == first
    assert (line["from_bank"], line["to_bank"], line["amount"]) == (
        "DEUTDEFF",
        "CHASUS33",
        "1000.00",
    )
    assert (line["uetr"], line["reference"]) == (ONE.uetr, "E1")


@pytest.mark.kill
async def test_a_killed_bank_forgets_no_debit_and_no_call_back(start_bank, listener) -> None:
    bank = await start_bank("--callback-url", listener.url)
    listener.is_refusing = True
    await rule(bank, "twice", "E1")
    for number in range(1, 6):
        await put(bank, transfer(Sent(number=number)))
    before = await bank.ledger()
    assert await bank.end(signal.SIGKILL) == -signal.SIGKILL
    await bank.start()
    after = await bank.ledger()
    keys = ("end_to_end_id", "times_received")
    assert [[line[k] for k in keys] for line in after] == [[x[k] for k in keys] for x in before]
    assert [line["times_debited"] for line in after][1:] == [1] * 4
    again = await put(bank, transfer(Sent(number=2), is_possible_duplicate=True))
    assert sent(again, Sent(number=2), is_again=True) == [Event.SETTLED]
    listener.is_refusing = False
    listener.bodies.clear()
    said = await listener.wait_for(4)  # two statuses, each of them twice
    statuses = sorted(each.content.transactions[0].status for each in said)
    assert statuses == ["ACSC", "ACSC", "ACSP", "ACSP"]


async def test_call_backs_are_repeated_until_they_are_taken(start_bank, listener) -> None:
    bank = await start_bank("--callback-url", listener.url)
    await rule(bank, "settle_by_callback", "*")
    listener.is_refusing = True
    result = await put(bank, transfer(ONE))
    assert (result.status, sent(result)) == (202, [Event.ACKNOWLEDGED])
    await listener.wait_for(2)
    listener.is_refusing = False
    said = await listener.wait_for(4)
    assert listener.bodies.count(listener.bodies[0]) > 1  # the same bytes again
    assert {each.content.transactions[0].status for each in said} == {"ACSP", "ACSC"}


async def test_a_silent_day_passes_when_it_is_told_to(start_bank) -> None:
    bank = await start_bank()
    await rule(bank, "silent_for_a_day", "E1")
    short = {"timeout_seconds": 0.5, "connect_timeout_seconds": 0.5}
    assert isinstance(await put(bank, transfer(ONE), **short), NoResponse)
    assert isinstance(await put(bank, enquiry(ONE), **short), NoResponse)
    await bank.call("POST", "/admin/clock", {"seconds": 86_400})
    assert enquired(await put(bank, enquiry(ONE))) == [Event.SETTLED]


async def test_a_recall_ends_in_a_return(start_bank, listener) -> None:
    bank = await start_bank("--callback-url", listener.url)
    await put(bank, transfer(ONE))
    asked = Asked(purpose=Purpose.RECALL, payment=named(ONE), question_id="R1")
    answer = classify(asked, await put(bank, recall(ONE)))
    assert [report.event for report in answer.reports] == [Event.SETTLED]  # a promise to return it
    (message,) = await listener.wait_for(1)
    assert message.kind == "pacs.004"
    (line,) = await bank.ledger()
    assert (line["state"], line["returned_amount"]) == ("returned", "1000.00")


async def test_dropped_call_backs_are_never_delivered(start_bank, listener) -> None:
    bank = await start_bank("--callback-url", listener.url)
    listener.is_refusing = True
    await rule(bank, "settle_by_callback", "E1")
    await put(bank, transfer(ONE))
    await listener.wait_for(1)
    await bank.call("POST", "/admin/clock", {"seconds": 10})
    assert len(json.loads(await bank.call("GET", "/admin/callbacks"))) == 2
    assert json.loads(await bank.call("POST", "/admin/callbacks/drop")) == {"dropped": 2}
    assert json.loads(await bank.call("GET", "/admin/callbacks")) == []
    assert enquired(await put(bank, enquiry(ONE))) == [Event.SETTLED]


async def test_outages_and_their_end(start_bank) -> None:
    bank = await start_bank()
    kinds = [("server_error", Response), ("lost_requests", NoResponse)]
    for kind, result_type in kinds:
        await bank.call("PUT", "/admin/outage", {"kind": kind, "seconds": 60})
        result = await put(bank, transfer(ONE))
        assert isinstance(result, result_type)
        assert sent(result) == []
        assert await bank.ledger() == []
        await bank.call("DELETE", "/admin/outage")
    await bank.call("PUT", "/admin/outage", {"kind": "server_error", "seconds": 60})
    await bank.call("POST", "/admin/clock", {"seconds": 60})
    assert sent(await put(bank, transfer(ONE))) == [Event.SETTLED]
    refused = json.loads(await bank.call("PUT", "/admin/outage", {"kind": "tls_failure"}))
    assert "without TLS" in refused["error"]


async def test_mutual_tls_and_its_failure(start_bank, tmp_path) -> None:
    authority = Authority.make(tmp_path / "authority")
    server = authority.issue(tmp_path / "server", "bank", is_server=True)
    ours = authority.issue(tmp_path / "client", "engine")
    bank = await start_bank(
        *("--cert", str(server.certificate), "--key", str(server.key)),
        *("--client-ca", str(authority.file)),
    )
    files = BankCertificateFiles(
        authority=authority.file, certificate=ours.certificate, key=ours.key
    )
    assert sent(await put(bank, transfer(ONE), certificates=files)) == [Event.SETTLED]
    stranger = BankCertificateFiles(authority=authority.file)
    result = await put(bank, transfer(Sent(number=2)), certificates=stranger)
    assert not isinstance(result, Response)
    context = ssl.create_default_context(cafile=str(authority.file))
    context.load_cert_chain(ours.certificate, ours.key)
    outage = {"kind": "tls_failure"}
    await bank.call("PUT", "/admin/outage", outage, ssl=context)
    failed = await put(bank, transfer(Sent(number=3)), certificates=files)
    assert isinstance(failed, NothingSent)
    assert sent(failed, Sent(number=3)) == [Event.UNDELIVERED]


async def test_a_script_is_set_and_a_wrong_one_refused(start_bank, tmp_path) -> None:
    script = tmp_path / "script.yaml"
    script.write_text("rules: [{reference: E1, scenario: reject}]")
    bank = await start_bank("--script", str(script))
    assert sent(await put(bank, transfer(ONE))) == [Event.REJECTED]
    answer = json.loads(await bank.call("PUT", "/admin/script", b"default: no_such"))
    assert "no scenario 'no_such'" in answer["error"]
    await bank.call("PUT", "/admin/script", b"default: settle")
    two = Sent(number=2)
    assert sent(await put(bank, transfer(two)), two) == [Event.SETTLED]


async def test_sigterm_ends_it_well(start_bank) -> None:
    bank = await start_bank()
    assert await bank.end() == 0
