"""The bank's statements: what is in them, that they never change, and that they follow one another."""

from __future__ import annotations

import sqlite3
from datetime import UTC, date, datetime, timedelta

import msgspec
import pytest

from settlement_engine.domain.money import Money
from settlement_engine.domain.statements import Source
from settlement_engine.messages.camt060 import ReportAsked, ReportRequest
from settlement_engine.messages.envelope import built, opened
from settlement_engine.messages.parties import Agent, PartyAccount
from settlement_engine.messages.statements import read_statements
from settlement_engine.simulator.bank import ScriptedBank
from settlement_engine.simulator.differences import DifferenceKind, DifferenceRule
from settlement_engine.simulator.ledger import Ledger
from settlement_engine.simulator.scenarios import Rule, ScenarioScript
from settlement_engine.simulator.statement_issuing import (
    NoStatement,
    StatementFormat,
    StatementWanted,
    written,
)
from tests.support.bank_messages import Sent, customer_transfer, transfer

START = datetime(2026, 11, 27, 9, tzinfo=UTC)
DAY = START.date()
START_MS = int(START.timestamp() * 1_000)
DAY_MS = 86_400_000
AMOUNT = Money(100_000, "EUR")
OUR_IBAN = "DE89370400440532013000"


class World:
    """A bank whose clock is moved by the test."""

    def __init__(self, file):
        self.file, self.now_ms = file, START_MS
        self.script = ScenarioScript()
        self.open()

    def open(self):
        self.ledger = Ledger(self.file)
        self.ledger.open()
        self.bank = ScriptedBank(self.ledger, self.script, calls_back=True)

    def use(self, **script):
        self.script = self.bank.script = ScenarioScript(**script)

    def pays(self, *numbers, amount=AMOUNT):
        for number in numbers:
            self.bank.receive(transfer(Sent(number=number, amount=amount)), self.now_ms)

    def later(self, ms):
        self.now_ms += ms
        self.bank.work(self.now_ms)

    def statement(self, day=DAY, number="", currency="EUR", bank="DEUTDEFF", form="camt053"):
        wanted = StatementWanted(bank, number, currency, day)
        with self.ledger.writing():
            found = self.bank.issuer.statement(wanted, self.script, self.now_ms)
        file = read_statements(written(found, StatementFormat(form)))
        assert file.faults == ()
        (read,) = file.statements
        assert read.balances[0].minor + read.booked_minor() == read.balances[1].minor
        return read

    def planted(self):
        return self.bank.issuer.planted(0)[0]


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path / "bank.db")
    yield made
    made.ledger.close()


def test_a_statement_has_what_was_debited_with_our_references(world):
    world.pays(1, 2)
    found = world.statement(number=OUR_IBAN)
    assert (found.source, found.sequence, found.id) == (Source.CAMT053, 1, "STM20261127")
    account = found.account
    assert (account.scheme, account.identifier) == ("IBAN", OUR_IBAN)
    assert (account.currency, account.servicer) == ("EUR", "DEUTDEFF")
    assert [each.minor for each in found.entries] == [-100_000, -100_000]
    first = found.entries[0].references
    sent = Sent(number=1)
    assert (first.end_to_end, first.uetr) == (sent.end_to_end_id, sent.uetr)
    assert (first.message, first.instruction) == (sent.message_id, "I1")
    assert first.servicer == "BANK1", "the reference that its status report states"
    assert found.entries[0].booking_date == DAY
    assert found.entries[0].value_date == date(2026, 11, 30), "as the order says"


def test_the_same_statement_is_given_out_again_and_later_bookings_are_in_the_next(world):
    world.pays(1)
    first = world.statement()
    world.pays(2)
    world.later(1_000)
    assert world.statement() == first
    world.later(DAY_MS)
    second = world.statement(DAY + timedelta(days=1))
    assert second.sequence == 2
    assert second.opening().minor == first.closing().minor
    assert [each.references.end_to_end for each in second.entries] == ["E2"]


def test_days_without_bookings_have_statements_and_numbers_too(world):
    world.pays(1)
    world.later(3 * DAY_MS)
    last = world.statement(DAY + timedelta(days=3))
    assert (last.sequence, last.entries) == (4, ())
    assert world.statement(DAY + timedelta(days=1)).sequence == 2
    assert world.statement().entries[0].minor == -100_000


def test_a_return_is_a_credit_and_its_charges_are_stated(world):
    world.use(default="partial_return")
    world.pays(1)
    world.later(5_000)
    found = world.statement()
    assert [each.minor for each in found.entries] == [-100_000, 40_000, 59_999]
    assert found.entries[2].details[0].charges_minor == 1
    assert found.entries[1].text == "RETURN AM09"
    assert {each.references.end_to_end for each in found.entries} == {"E1"}
    assert len({each.references.servicer for each in found.entries}) == 3


def test_a_rejected_payment_is_in_no_statement(world):
    world.use(rules=(Rule(scenario="reject", reference="E1"),))
    world.pays(1, 2)
    assert [each.references.end_to_end for each in world.statement().entries] == ["E2"]


def own_transfer(number):
    """Order our own money to our account at the settlement agent."""
    message = opened(transfer(Sent(number=number)))
    one = msgspec.structs.replace(
        message.content.transfers[0],
        creditor=Agent(bic="SETTGB2L"),
        creditor_agent=Agent(bic="MARKDEFF"),
        creditor_account=PartyAccount(iban="DE02500105170137075030"),
    )
    content = msgspec.structs.replace(message.content, transfers=(one,))
    return built(message.definition, content)


def test_what_goes_to_our_account_at_the_agent_is_credited_there(world):
    world.bank.receive(own_transfer(1), world.now_ms)
    debited = world.statement()
    credited = world.statement(bank="MARKDEFF", number="DE02500105170137075030")
    assert [each.minor for each in debited.entries] == [-100_000]
    assert [each.minor for each in credited.entries] == [100_000]
    references = credited.entries[0].references
    assert (references.end_to_end, references.message) == ("E1", ""), "only what goes through"


def test_a_return_is_debited_where_it_was_credited(world):
    world.use(default="late_return")
    world.bank.receive(own_transfer(1), world.now_ms)
    world.later(5_000)
    credited = world.statement(bank="MARKDEFF", number="DE02500105170137075030")
    assert [each.minor for each in credited.entries] == [100_000, -100_000]


def test_an_mt940_has_the_same_entries(world):
    world.pays(1, 2)
    found = world.statement(form="mt940")
    assert found.source is Source.MT940
    assert [each.minor for each in found.entries] == [-100_000, -100_000]
    assert found.entries[0].references.customer == "E1"


def test_another_code_of_a_bank_names_its_accounts(world):
    world.use(banks={"DEUTDEFF": "DEUT"})
    world.pays(1)
    assert len(world.statement(bank="DEUT").entries) == 1
    assert len(world.statement(bank="DEUTDEFF").entries) == 1


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        ({"bank": "NOBODY"}, "no such account"),
        ({"currency": "USD"}, "no such account"),
        ({"currency": None}, "name the currency"),
        ({"day": DAY + timedelta(days=1)}, "not begun"),
        ({"day": DAY - timedelta(days=1)}, "not open"),
    ],
)
def test_what_does_not_exist_is_said(world, wanted, why):
    world.pays(1)
    world.pays(2, amount=Money(100, "GBP"))
    with pytest.raises(NoStatement, match=why):
        world.statement(**wanted)


def test_an_account_begins_with_its_opening_balance_which_a_statement_makes_final(world):
    books = world.bank.books
    account_id = books.account("DEUTDEFF", "", "EUR")
    books.set_opening(account_id, 5_000_000)
    world.pays(1)
    books.by_hand(account_id, 700, "FUNDING", world.now_ms)
    found = world.statement()
    assert (found.opening().minor, found.closing().minor) == (5_000_000, 4_900_700)
    assert found.entries[1].text == "FUNDING"
    with pytest.raises(ValueError, match="no longer changes"):
        books.set_opening(account_id, 1)


def test_differences_are_put_in_and_told_and_the_chain_still_adds_up(world):
    world.use(
        differences=tuple(DifferenceRule(kind=kind, most=1) for kind in DifferenceKind), seed=7
    )
    world.pays(*range(1, 41))
    first = world.statement()
    told = world.planted()
    assert {each.kind for each in told} == {kind.value for kind in DifferenceKind}
    assert {(each.bank, each.account, each.date) for each in told} == {
        ("DEUTDEFF", "", DAY.isoformat())
    }
    missing = next(each for each in told if each.kind == "missing")
    assert missing.amount == "-1000.00"
    names = {each.references.end_to_end for each in first.entries}
    assert missing.references[0] not in names
    world.later(DAY_MS)
    assert world.statement(DAY + timedelta(days=1)).opening().minor == first.closing().minor


def test_a_bank_that_crashed_gives_out_the_same_statement(world):
    world.use(differences=(DifferenceRule(kind=DifferenceKind.AMOUNT, one_in=2),))
    world.pays(*range(1, 11))
    first, told = world.statement(), world.planted()
    world.ledger.close()
    world.open()
    assert (world.statement(), world.planted()) == (first, told)


@pytest.mark.parametrize("table", ["bookings", "issued"])
def test_neither_bookings_nor_statements_ever_change(world, table):
    world.pays(1)
    world.statement()
    column = "amount_minor" if table == "bookings" else "closing_minor"
    for change in (f"DELETE FROM {table}", f"UPDATE {table} SET {column} = 1"):
        with pytest.raises(sqlite3.IntegrityError):
            world.ledger._db.execute(change)


def request(day=DAY, name="camt.053.001.08", to_date=None, currency="EUR", servicer="DEUTDEFF"):
    asked = ReportAsked(
        message_name=name,
        account=PartyAccount(iban=OUR_IBAN, currency=currency),
        owner_institution=Agent(bic="SETTGB2L"),
        servicer=Agent(bic=servicer),
        from_date=day,
        to_date=to_date or day,
        from_time="00:00:00Z",
        query="ALLL",
    )
    content = ReportRequest(message_id="ASK1", created_at=START, reports=(asked,))
    return built("camt.060.001.05", content)


def test_a_camt060_is_answered_with_the_statement(world):
    world.pays(1)
    answer = world.bank.receive(request(), world.now_ms)
    assert answer.status == 200
    (found,) = read_statements(answer.body).statements
    assert (found.account.identifier, len(found.entries)) == (OUR_IBAN, 1)
    again = world.bank.receive(request(), world.now_ms + 1)
    assert again.body == answer.body


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "camt.052.001.08", "servicer": "CHASUS33"},
        {"servicer": "CHASUS33"},
        {"day": DAY + timedelta(days=2)},
        {"to_date": DAY + timedelta(days=1)},
    ],
)
def test_a_camt060_without_a_statement_is_answered_with_the_reason(world, wrong):
    world.pays(1)
    answer = world.bank.receive(request(**wrong), world.now_ms)
    assert answer.status == 404
    said = opened(answer.body)
    assert (said.kind, said.content.related_reference) == ("admi.002", "ASK1")


def test_a_ledger_of_the_version_before_has_its_bookings_afterwards(world):
    world.use(default="late_return")
    world.pays(1, 2)
    world.later(5_000)
    database = world.ledger._db
    database.executescript(
        "DROP TABLE bookings; DROP TABLE issued; DROP TABLE planted; DROP TABLE delivered_statements;"
        "DROP TABLE bank_accounts; ALTER TABLE payments DROP COLUMN credited_account;"
        "PRAGMA user_version = 4;"
    )
    world.ledger.close()
    world.open()
    assert [each.minor for each in world.statement().entries] == [-100_000] * 2 + [100_000] * 2
    world.ledger.close()
    world.open()
    world.pays(3)
    assert len(world.statement().entries) == 4


def test_a_customers_account_is_credited_too(world):
    world.bank.receive(customer_transfer(Sent(number=1)), world.now_ms)
    assert len(world.statement().entries) == 1


def test_statements_of_accounts_that_pay_files_are_due_in_the_folder_once(world):
    world.pays(1)
    with world.ledger.writing():
        assert world.bank.issuer.for_folder(world.script, world.now_ms + DAY_MS) == []
