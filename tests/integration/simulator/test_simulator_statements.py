"""Statements of the bank as a process: over HTTP, in its folder, over a kill."""

from __future__ import annotations

import json
import signal
from datetime import UTC, datetime

import pytest

from settlement_engine.messages.nacha.building import build_file
from settlement_engine.messages.statements import read_statements
from tests.support import nacha
from tests.support.bank_messages import Sent, transfer
from tests.support.waiting import until

DIFFERENCES = [{"kind": "missing", "most": 1}, {"kind": "duplicate", "most": 1}]


def today():
    return datetime.now(UTC).date().isoformat()


@pytest.mark.kill
async def test_a_statement_and_its_differences_are_the_same_after_a_kill(start_bank) -> None:
    bank = await start_bank()
    script = json.loads(await bank.call("GET", "/admin/script"))
    await bank.call("PUT", "/admin/script", {**script, "differences": DIFFERENCES})
    opening = {"bank": "DEUTDEFF", "currency": "EUR", "opening": "500000.00"}
    assert json.loads(await bank.call("PUT", "/admin/accounts", opening))["account"] == ""
    for number in range(1, 6):
        await bank.call("POST", "/messages", transfer(Sent(number=number)))
    funding = {"bank": "DEUTDEFF", "currency": "EUR", "amount": "-7.25", "text": "FEE"}
    for _ in range(2):
        await bank.call("POST", "/admin/bookings", funding | {"once": True})
    await bank.end(signal.SIGKILL)
    await bank.start()
    path = f"/statements?bank=DEUTDEFF&account=NOSTRO-1&currency=EUR&date={today()}"
    first, told = await bank.call("GET", path), await bank.call("GET", "/statements/planted")
    await bank.end(signal.SIGKILL)
    await bank.start()
    assert await bank.call("GET", path) == first
    assert await bank.call("GET", "/statements/planted") == told
    (found,) = read_statements(first).statements
    assert found.account.identifier == "NOSTRO-1"
    assert [each.minor for each in found.entries] == [-100_000] * 5 + [-725]
    assert [each.minor for each in found.balances] == [50_000_000, 49_499_275]
    lines = [json.loads(line) for line in told.splitlines()]
    assert [each["kind"] for each in lines] == ["missing", "duplicate"]
    assert [each["amount"] for each in lines] == ["-1000.00", "-1000.00"]
    assert lines[0]["references"][0] == "E1"
    mt940 = read_statements(await bank.call("GET", f"{path}&format=mt940")).statements
    assert [each.minor for each in mt940[0].entries] == [each.minor for each in found.entries]


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/statements?date=2026-11-27", "bank is missing"),
        ("/statements?bank=DEUTDEFF&date=yesterday", "yesterday"),
        ("/statements?bank=DEUTDEFF&date=2026-11-27&format=pdf", "pdf"),
        ("/statements?bank=DEUTDEFF&date=2026-11-27", "no such account"),
    ],
)
async def test_what_cannot_be_given_out_is_refused(start_bank, path, why) -> None:
    bank = await start_bank()
    assert why in json.loads(await bank.call("GET", path))["error"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/admin/bookings", {"bank": "B", "currency": "EUR", "amount": "1.234"}),
        ("/admin/bookings", {"bank": "B", "currency": "EUR"}),
        ("/admin/bookings", {"bank": "B", "currency": "XXY", "amount": "1.00"}),
    ],
)
async def test_what_cannot_be_booked_is_refused(start_bank, path, body) -> None:
    bank = await start_bank()
    assert "error" in json.loads(await bank.call("POST", path, body))


async def test_yesterdays_statement_is_in_the_folder_once(start_bank, tmp_path) -> None:
    options = ("--orders", str(tmp_path / "out"), "--reports", str(tmp_path / "in"))
    bank = await start_bank(*options)
    data = build_file(nacha.file(nacha.batch(nacha.entry(1), nacha.entry(2)))).data
    (tmp_path / "out" / ".a.tmp").write_bytes(data)
    (tmp_path / "out" / ".a.tmp").rename(tmp_path / "out" / "a.ach")

    def statements():
        return sorted((tmp_path / "in").glob("statement-*.xml"))

    async def has_settled() -> bool:
        return all(line["times_debited"] for line in await bank.ledger())

    await until(lambda: bool(list((tmp_path / "in").glob("*.ack.json"))))
    await bank.call("POST", "/admin/clock", {"seconds": 60})
    assert await has_settled()
    assert statements() == []
    await bank.call("POST", "/admin/clock", {"seconds": 86_400})
    await until(lambda: bool(statements()))
    (file,) = statements()
    (found,) = read_statements(file.read_bytes()).statements
    assert [each.minor for each in found.entries] == [-123_456, -123_456]
    assert found.entries[0].references.transaction, "the trace number"
    file.unlink()
    await bank.end(signal.SIGKILL)
    await bank.start()
    await bank.call("POST", "/admin/clock", {"seconds": 1})
    assert statements() == []


async def test_a_balance_is_stated_now_and_a_wrong_one_as_scripted(start_bank) -> None:
    bank = await start_bank()
    opening = {"bank": "DEUTDEFF", "currency": "EUR", "opening": "500.00"}
    await bank.call("PUT", "/admin/accounts", opening)
    funding = {"bank": "DEUTDEFF", "currency": "EUR", "amount": "-7.25", "text": "FEE"}
    await bank.call("POST", "/admin/bookings", funding)
    path = "/balance?bank=DEUTDEFF&currency=EUR"
    found = json.loads(await bank.call("GET", path))
    assert (found["balance"], found["currency"]) == ("492.75", "EUR")
    script = json.loads(await bank.call("GET", "/admin/script"))
    await bank.call("PUT", "/admin/script", {**script, "balances_off_minor": {"DEUTDEFF": 100}})
    assert json.loads(await bank.call("GET", path))["balance"] == "493.75"
    assert (
        "no such account" in json.loads(await bank.call("GET", "/balance?bank=CHASUS33"))["error"]
    )
    assert "bank is missing" in json.loads(await bank.call("GET", "/balance"))["error"]
