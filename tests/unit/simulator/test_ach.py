"""The bank as an operator of the ACH: what it says of files, and what its ledger says it did."""

from __future__ import annotations

import json

import pytest

from settlement_engine.messages.nacha.building import build_file
from settlement_engine.messages.nacha.model import EntryKind
from settlement_engine.messages.nacha.reading import read_file
from settlement_engine.simulator.ach_files import return_code
from settlement_engine.simulator.bank import ScriptedBank
from settlement_engine.simulator.ledger import Ledger
from settlement_engine.simulator.scenarios import Rule, ScenarioScript
from tests.support import nacha

START_MS = 1_800_000_000_000


def content(*entries, modifier: str = "A") -> bytes:
    batch = nacha.batch(*(entries or (nacha.entry(1), nacha.entry(2))))
    return build_file(nacha.file(batch, modifier=modifier)).data


class Operator:
    def __init__(self, file, script: ScenarioScript) -> None:
        self.ledger = Ledger(file)
        self.ledger.open()
        self.bank = ScriptedBank(self.ledger, script, calls_back=False)
        self.now_ms = START_MS

    def takes(self, data: bytes, name: str = "a.ach"):
        said = self.bank.receive_file(name, data, self.now_ms)
        return None if said is None else json.loads(said)

    def later(self, ms: int) -> list[bytes]:
        self.now_ms += ms
        self.bank.work(self.now_ms)
        due = self.ledger.due_callbacks(self.now_ms)
        for row in due:
            self.ledger.callback_delivered(row["id"])
        return [row["content"] for row in due]

    def debits(self) -> list[bool]:
        return [payment.debited_minor is not None for payment in self.ledger.page(0)]


@pytest.fixture
def operator(tmp_path):
    made: list[Operator] = []

    def make(**script) -> Operator:
        made.append(Operator(tmp_path / f"{len(made)}.db", ScenarioScript(**script)))
        return made[-1]

    yield make
    for each in made:
        each.ledger.close()


def test_a_file_is_acknowledged_and_settles_later(operator) -> None:
    ach = operator()
    said = ach.takes(content())
    assert (said["status"], [item["status"] for item in said["items"]]) == (
        "accepted",
        ["accepted", "accepted"],
    )
    assert ach.debits() == [False, False]
    advices = [json.loads(each) for each in ach.later(1_000)]
    assert [each["items"][0]["status"] for each in advices] == ["settled", "settled"]
    assert [each["items"][0]["trace"] for each in advices] == [
        item["trace"] for item in said["items"]
    ]
    assert ach.debits() == [True, True]


def test_the_same_file_is_taken_in_once_and_acknowledged_in_the_same_words(operator) -> None:
    ach = operator()
    first = ach.takes(content())
    ach.later(1_000)
    assert [item["trace"] for item in ach.takes(content())["items"]] == [
        item["trace"] for item in first["items"]
    ]
    assert ach.later(5_000) == []
    assert [payment.times_received for payment in ach.ledger.page(0)] == [2, 2]


def test_another_file_with_the_same_modifier_is_refused(operator) -> None:
    ach = operator()
    ach.takes(content())
    said = ach.takes(content(nacha.entry(3)))
    assert (said["status"], said["reason"]) == (
        "rejected",
        "another file of this day has the same modifier",
    )
    assert len(ach.ledger.page(0)) == 2


def test_an_entry_is_debited_once_whatever_file_it_comes_in(operator) -> None:
    ach = operator()
    ach.takes(content())
    second = ach.takes(content(nacha.entry(2), nacha.entry(3), modifier="B"))
    assert len(second["items"]) == 1
    third = ach.takes(content(nacha.entry(1), modifier="C"))
    assert (third["status"], third["reason"]) == ("rejected", "its entries came in another file")
    ach.later(1_000)
    assert ach.debits() == [True] * 3


def test_a_file_may_be_refused_in_parts(operator) -> None:
    trace = nacha.entry(2).trace_number
    ach = operator(rules=(Rule(scenario="reject", reference=trace),))
    said = ach.takes(content())
    assert said["status"] == "partly accepted"
    assert [(item["status"], item["code"]) for item in said["items"]] == [
        ("accepted", ""),
        ("rejected", "AC04"),
    ]
    ach.later(1_000)
    assert ach.debits() == [True, False]


@pytest.mark.parametrize(("scenario", "debited"), [("lost_request", False), ("lost_answer", True)])
def test_a_file_or_its_acknowledgement_may_be_lost(operator, scenario, debited) -> None:
    ach = operator(default=scenario)
    assert ach.takes(content()) is None
    ach.later(1_000)
    assert any(ach.debits()) is debited
    assert ach.takes(content())["status"] == "accepted"
    ach.later(1_000)
    assert ach.debits() == [True, True]


def test_what_a_lost_acknowledgement_rejects_is_advised_as_a_settlement_is(operator) -> None:
    lost, rejected = nacha.entry(1).trace_number, nacha.entry(2).trace_number
    rules = (
        Rule(scenario="lost_answer", reference=lost),
        Rule(scenario="reject", reference=rejected),
    )
    ach = operator(rules=rules)
    assert ach.takes(content()) is None
    advices = [json.loads(each) for each in ach.later(1_000)]
    items = {each["items"][0]["trace"]: each["items"][0] for each in advices}
    assert {trace: (item["status"], item["code"]) for trace, item in items.items()} == {
        lost: ("settled", ""),
        rejected: ("rejected", "AC04"),
    }
    assert ach.later(10_000) == []


def test_an_entry_comes_back_in_a_file_of_its_own(operator) -> None:
    ach = operator(default="late_return")
    ach.takes(content(nacha.entry(1)))
    advice, returned = ach.later(10_000)
    assert json.loads(advice)["items"][0]["status"] == "settled"
    (entry,) = read_file(returned).entries(EntryKind.RETURN)
    assert entry.returned is not None
    assert (entry.returned.code, entry.returned.original_trace) == (
        "R02",
        nacha.entry(1).trace_number,
    )
    assert (entry.amount_cents, entry.receiver) == (123_456, nacha.OUR_ROUTING)
    (payment,) = ach.ledger.page(0)
    assert (payment.state, payment.returned_minor) == ("returned", 123_456)


def test_what_is_no_file_is_refused(operator) -> None:
    assert operator().takes(b"nothing")["status"] == "rejected"


@pytest.mark.parametrize(("code", "nachas"), [("AC04", "R02"), ("R29", "R29"), ("ZZ", "R17")])
def test_reasons_have_codes_of_nacha(code, nachas) -> None:
    assert return_code(code) == nachas
