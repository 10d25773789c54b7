"""Both banks of a cover payment: FROM, which is debited for the cover, and TO, which pays out once it is covered."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime

import msgspec
import pytest

from settlement_engine.domain.money import Money
from settlement_engine.messages.envelope import opened
from settlement_engine.messages.statements import read_statements
from settlement_engine.simulator.bank import FAILED, LOST, SILENT
from settlement_engine.simulator.ledger import Names, _statements
from settlement_engine.simulator.ledger_lines import ledger_line
from settlement_engine.simulator.scenarios import (
    ACCEPTED,
    RecallReply,
    Reply,
    Rule,
    Scenario,
    ScenarioStep,
)
from settlement_engine.simulator.statement_issuing import StatementFormat, StatementWanted, written
from tests.support.bank_messages import Sent, enquiry, transfer
from tests.support.bank_world import DAY_MS, World, confirmation, statuses
from tests.support.cover_messages import (
    COVER,
    COVERS,
    CUSTOMERS,
    PAYMENT,
    REPAIRED,
    cover,
    customer_payment,
    enquiry_about,
    group_of,
    recall_of,
    without_id,
)

WAITS = [("ACSP", "G004")]
PAID = [("ACCC", None)]
SETTLED = [("ACSC", None)]
REJECTED = [("RJCT", "AC04")]


def rows(bank: World):
    """Return leg, message id, state and debit of each payment."""
    page = bank.ledger.page(0)
    return [(each.leg, each.message_id, each.state, each.debited_minor) for each in page]


def called_back(bank: World) -> list[tuple[str, str, str]]:
    """Return what the bank reports on its own: message id, message name and status."""
    reports = [each.content.transactions[0] for each in bank.called_back()]
    return [(each.group.message_id, each.group.message_name, each.status) for each in reports]


def test_the_customers_payment_waits_for_its_cover_and_both_settle(world) -> None:
    bank = world()
    assert statuses(bank.says(customer_payment())) == WAITS
    bank.later(DAY_MS)
    assert rows(bank) == [("payment", "M8", "acknowledged", None)]
    assert statuses(bank.says(cover())) == SETTLED
    assert rows(bank) == [("payment", "M8", "settled", None), ("cover", "M9", "settled", 100_000)]
    assert called_back(bank) == [("M8", CUSTOMERS, "ACCC")]
    assert statuses(bank.says(enquiry_about(PAYMENT))) == PAID


def test_a_cover_that_settles_later_pays_out_then(world) -> None:
    bank = world(rules=(Rule(scenario="accept_then_settle", leg="cover"),))
    bank.says(customer_payment())
    bank.says(cover())
    bank.later(299)
    assert statuses(bank.says(enquiry_about(PAYMENT))) == WAITS
    bank.later(1)
    assert sorted(called_back(bank)) == [("M8", CUSTOMERS, "ACCC"), ("M9", COVERS, "ACSC")]


def test_a_cover_that_comes_first_is_waiting_for_the_payment(world) -> None:
    bank = world()
    assert statuses(bank.says(cover())) == SETTLED
    assert statuses(bank.says(customer_payment())) == PAID
    assert bank.called_back() == []


def test_a_cover_whose_money_came_back_covers_nothing(world) -> None:
    bank = world(rules=(Rule(scenario="late_return", leg="cover"),))
    bank.says(cover())
    bank.later(DAY_MS)
    assert rows(bank) == [("cover", "M9", "returned", 100_000)]
    assert statuses(bank.says(customer_payment())) == WAITS


def test_one_cover_pays_out_one_payment(world) -> None:
    bank = world()
    again = Sent(number=1, message_number=11)
    bank.says(customer_payment())
    bank.says(customer_payment(again))
    bank.says(cover())
    assert [row[2] for row in rows(bank)] == ["settled", "acknowledged", "settled"]
    bank.says(cover(REPAIRED))
    assert [row[2] for row in rows(bank)] == ["settled"] * 4


def test_a_rejected_cover_is_followed_by_another_one_which_is_debited_once(world) -> None:
    bank = world(rules=(Rule(scenario="reject", reference="M9", leg="cover"),))
    bank.says(customer_payment())
    assert statuses(bank.says(cover())) == REJECTED
    assert statuses(bank.says(enquiry_about(PAYMENT))) == WAITS
    assert statuses(bank.says(cover(REPAIRED))) == SETTLED
    assert rows(bank) == [
        ("payment", "M8", "settled", None),
        ("cover", "M9", "rejected", None),
        ("cover", "M10", "settled", 100_000),
    ]
    assert statuses(bank.says(enquiry_about(COVER))) == REJECTED
    assert statuses(bank.says(enquiry_about(REPAIRED))) == SETTLED


@pytest.mark.parametrize(
    ("make", "status"), [(customer_payment, WAITS), (cover, SETTLED)], ids=["payment", "cover"]
)
def test_the_same_message_id_is_a_repetition(world, make, status) -> None:
    bank = world()
    bank.says(make())
    unmarked, marked = bank.says(make()), bank.says(make(is_again=True))
    assert (unmarked.status, statuses(unmarked)) == (409, status)
    assert (marked.status, statuses(marked)) == (200, status)
    (line,) = map(ledger_line, bank.ledger.page(0))
    assert (line.times_received, line.times_debited) == (3, 1 if make is cover else 0)


def test_an_ordinary_payment_is_known_by_its_uetr_alone(world) -> None:
    bank = world()
    bank.says(transfer(Sent(number=1, message_number=1)))
    assert bank.says(transfer(Sent(number=1, message_number=2))).status == 409
    other = enquiry(Sent(number=1, message_number=2))
    assert statuses(bank.says(other)) == SETTLED, "whatever message the enquiry names"


# --- one leg or the other --------------------------------------------------------------------------


@pytest.mark.parametrize("name", [group_of, without_id], ids=["by its id", "by its kind"])
def test_an_enquiry_is_answered_about_the_leg_that_it_names(world, name) -> None:
    bank = world(rules=(Rule(scenario="reject", leg="cover"),))
    bank.says(customer_payment())
    bank.says(cover())
    for leg, status in ((PAYMENT, "ACSP"), (COVER, "RJCT")):
        answer = bank.says(enquiry_about(leg, name(leg)))
        (told,) = opened(answer.body).content.transactions
        assert (told.status, told.group) == (status, group_of(leg))
        assert told.instruction_id == f"I{leg.message_id}"


@pytest.mark.parametrize(("there", "missing"), [(PAYMENT, COVER), (COVER, PAYMENT)])
def test_a_leg_that_did_not_arrive_is_not_found(world, there, missing) -> None:
    bank = world()
    bank.says(customer_payment() if there is PAYMENT else cover())
    for group in (group_of(missing), without_id(missing)):
        answer = bank.says(enquiry_about(missing, group))
        assert (answer.status, opened(answer.body).kind) == (404, "admi.002")
    assert bank.says(enquiry_about(there)).status == 200


def test_a_server_error_is_one_legs(world) -> None:
    bank = world(rules=(Rule(scenario="server_error", leg="cover"),))
    assert statuses(bank.says(customer_payment())) == WAITS
    assert bank.says(cover()) == FAILED
    assert bank.says(enquiry_about(COVER)) == FAILED
    assert statuses(bank.says(enquiry_about(PAYMENT))) == WAITS


def test_call_backs_name_the_message_of_their_leg(world) -> None:
    told_later = Scenario(reply=Reply.CALLBACK)
    own = {"leg_defaults": {"payment": "told_later"}, "scenarios": {"told_later": told_later}}
    bank = world("settle_by_callback", **own)
    bank.says(customer_payment())
    bank.says(cover())
    bank.later(300)
    assert sorted(called_back(bank)) == [
        ("M8", CUSTOMERS, "ACCC"),
        ("M8", CUSTOMERS, "ACSP"),
        ("M9", COVERS, "ACSC"),
        ("M9", COVERS, "ACSP"),
    ]


# --- recalls ---------------------------------------------------------------------------------------


def test_a_payment_that_waits_is_recalled_and_its_cover_is_processed_all_the_same(world) -> None:
    bank = world()
    bank.says(customer_payment())
    answer = bank.says(recall_of(PAYMENT))
    assert confirmation(answer) == ("CNCL", None)
    assert opened(answer.body).content.details[0].answers[0].group == group_of(PAYMENT)
    assert statuses(bank.says(cover())) == SETTLED
    assert rows(bank) == [("payment", "M8", "recalled", None), ("cover", "M9", "settled", 100_000)]


def test_a_cover_is_recalled_and_its_money_comes_back(world) -> None:
    bank = world()
    bank.says(customer_payment())
    bank.says(cover())
    answer = bank.says(recall_of(COVER))
    (said,) = opened(answer.body).content.details[0].answers
    assert (said.group, said.settled.amount) == (group_of(COVER), Money(100_000, "EUR"))
    bank.called_back()
    bank.later(1)
    (returned,) = bank.called_back()
    assert returned.content.returns[0].group == group_of(COVER)
    assert rows(bank) == [("payment", "M8", "settled", None), ("cover", "M9", "returned", 100_000)]


def test_what_the_creditor_has_been_paid_is_not_given_back(world) -> None:
    bank = world()
    bank.says(customer_payment())
    bank.says(cover())
    assert confirmation(bank.says(recall_of(PAYMENT))) == ("RJCR", "CUST")
    bank.later(DAY_MS)
    assert [each.returned_minor for each in bank.ledger.page(0)] == [0, 0]


def test_a_recall_that_is_decided_after_the_pay_out_is_refused(world) -> None:
    slowly = Scenario(recall=RecallReply.PENDING, recall_after_ms=600)
    bank = world(leg_defaults={"payment": "slowly"}, scenarios={"slowly": slowly})
    bank.says(customer_payment())
    assert confirmation(bank.says(recall_of(PAYMENT))) == ("PDCR", None)
    bank.says(cover())
    bank.later(600)
    settled, resolved = bank.called_back()
    assert settled.content.transactions[0].status == "ACCC"
    assert resolved.content.confirmation == "RJCR"


def test_a_recalled_cover_that_did_not_arrive_is_barred_and_no_other_message(world) -> None:
    bank = world(bars_recalled=True)
    bank.says(customer_payment())
    assert confirmation(bank.says(recall_of(COVER))) == ("CNCL", None)
    bank.crash()
    assert statuses(bank.says(cover())) == [("RJCT", "CUST")]
    assert confirmation(bank.says(recall_of(COVER))) == ("CNCL", None)
    assert statuses(bank.says(cover(REPAIRED))) == SETTLED
    assert [row[2] for row in rows(bank)] == ["settled", "rejected", "settled"]


def test_a_recalled_payment_that_did_not_arrive_is_barred_and_its_cover_is_not(world) -> None:
    bank = world(bars_recalled=True)
    bank.says(recall_of(PAYMENT))
    assert statuses(bank.says(cover())) == SETTLED
    assert statuses(bank.says(customer_payment())) == [("RJCT", "CUST")]


def test_a_recall_bars_as_much_as_it_names(world) -> None:
    by_kind = world(bars_recalled=True)
    by_kind.says(recall_of(COVER, without_id(COVER)))
    assert statuses(by_kind.says(customer_payment())) == WAITS
    assert statuses(by_kind.says(cover(REPAIRED))) == [("RJCT", "CUST")]
    by_uetr = world(bars_recalled=True)
    by_uetr.says(recall_of(COVER, names_message=False))
    assert statuses(by_uetr.says(customer_payment())) == [("RJCT", "CUST")]
    assert statuses(by_uetr.says(cover())) == [("RJCT", "CUST")]


# --- scenarios -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["settle_twice", "other_amount", "late_return", "partial_return", "settle"]
)
def test_scenarios_about_money_are_the_covers(world, name) -> None:
    bank = world(name)
    assert statuses(bank.says(customer_payment())) == WAITS
    bank.says(cover())
    bank.later(DAY_MS)
    said = [(each.kind, each.content) for each in bank.called_back()]
    ids = {
        (content.transactions if kind == "pacs.002" else content.returns)[0].group.message_id
        for kind, content in said
        if "ACCC" not in str(content)
    }
    assert ids <= {"M9"}
    payment, covered = bank.ledger.page(0)
    assert (payment.state, payment.debited_minor, payment.returned_minor) == ("settled", None, 0)
    assert covered.debited_minor == (99_999 if name == "other_amount" else 100_000)


@pytest.mark.parametrize(
    ("name", "states"),
    [
        ("reject", ["rejected", "rejected"]),
        ("accept_then_reject", ["rejected", "rejected"]),
        ("accept_then_settle", ["settled", "settled"]),
        ("recall_accepted", ["acknowledged", "acknowledged"]),
    ],
)
def test_steps_are_carried_out_as_written_and_without_a_debit(world, name, states) -> None:
    bank = world(name)
    bank.says(customer_payment())
    bank.later(DAY_MS)
    assert [row[2] for row in rows(bank)] == states[:1]
    assert bank.ledger.page(0)[0].debited_minor is None
    bank.says(cover())
    bank.later(DAY_MS)
    assert [row[2] for row in rows(bank)] == states


@pytest.mark.parametrize(
    ("name", "response"), [("lost_answer", LOST), ("silent_for_a_day", SILENT)]
)
def test_a_lost_or_silent_response_waits_for_the_cover_too(world, name, response) -> None:
    bank = world(rules=(Rule(scenario=name, leg="payment"),))
    assert bank.says(customer_payment()) == response
    bank.says(cover())
    assert bank.ledger.page(0)[0].state == "settled"
    bank.later(DAY_MS)
    assert called_back(bank) == [("M8", CUSTOMERS, "ACCC")]
    assert statuses(bank.says(customer_payment(is_again=True))) == PAID


def test_a_rejected_payment_stays_rejected_and_its_cover_is_debited(world) -> None:
    bank = world(rules=(Rule(scenario="reject", leg="payment"),))
    assert statuses(bank.says(customer_payment())) == REJECTED
    assert statuses(bank.says(cover())) == SETTLED
    assert rows(bank) == [("payment", "M8", "rejected", None), ("cover", "M9", "settled", 100_000)]


@pytest.mark.parametrize(("cover_after_ms", "state"), [(500, "settled"), (1_000, "rejected")])
def test_a_payment_may_wait_for_its_cover_until_a_time(world, cover_after_ms, state) -> None:
    late = ScenarioStep(status="RJCT", code="AM04", after_ms=1_000)
    patient = Scenario(steps=(ACCEPTED, late), settles_with_cover=True)
    bank = world(leg_defaults={"payment": "patient"}, scenarios={"patient": patient})
    bank.says(customer_payment())
    bank.later(cover_after_ms)
    bank.says(cover())
    bank.later(DAY_MS)
    assert [row[2] for row in rows(bank)] == [state, "settled"]


# --- the books, and the file -----------------------------------------------------------------------


@pytest.mark.parametrize("form", StatementFormat)
def test_the_statement_has_the_cover_and_nothing_of_the_payment(world, form) -> None:
    bank = world()
    bank.says(customer_payment())
    bank.says(cover())
    day = datetime.fromtimestamp(bank.now_ms / 1_000, UTC).date()
    wanted = StatementWanted("DEUTDEFF", "", "EUR", day)
    with bank.ledger.writing():
        found = bank.bank.issuer.statement(wanted, bank.script, bank.now_ms)
    (read,) = read_statements(written(found, form)).statements
    (entry,) = read.entries
    assert entry.minor == -100_000
    if form is StatementFormat.CAMT053:
        named = entry.references
        assert (named.message, named.end_to_end, named.uetr) == ("M9", "E1", COVER.uetr)
    balance = bank.bank.teller.report(wanted, bank.script, bank.now_ms).balances[0]
    assert balance.minor == -100_000
    assert bank.bank.books.find("CHASUS33", "", None) == []


def test_the_ledger_lists_each_leg_with_its_debits(world) -> None:
    bank = world()
    bank.says(customer_payment())
    bank.says(cover())
    bank.says(transfer(Sent(number=2)))
    lines = map(ledger_line, bank.ledger.page(0))
    assert [(each.leg, each.times_debited, each.debited_amount) for each in lines] == [
        ("payment", 0, "0.00"),
        ("cover", 1, "1000.00"),
        ("", 1, "1000.00"),
    ]


def test_a_restart_keeps_the_legs_apart(world) -> None:
    bank = world()
    bank.says(customer_payment())
    bank.crash()
    bank.says(cover())
    bank.crash()
    assert bank.says(cover()).status == bank.says(customer_payment()).status == 409
    assert called_back(bank) == [("M8", CUSTOMERS, "ACCC")]
    assert [row[2:] for row in rows(bank)] == [("settled", None), ("settled", 100_000)]


def test_the_ledger_refuses_a_second_row_of_a_message_or_of_an_ordinary_payment(world) -> None:
    bank = world()
    bank.says(cover())
    bank.says(transfer(Sent(number=2)))
    for payment in bank.ledger.page(0):
        values = msgspec.structs.asdict(payment)
        with pytest.raises(sqlite3.IntegrityError):
            bank.ledger.enter(values)
    ordinary = msgspec.structs.asdict(bank.ledger.page(0)[1])
    with pytest.raises(sqlite3.IntegrityError):
        bank.ledger.enter({**ordinary, "message_id": "M77"})


# What version 5 made its table of payments with.
VERSION_5 = """
CREATE TABLE payments (
    id INTEGER PRIMARY KEY, rail TEXT NOT NULL, uetr TEXT UNIQUE, message_name TEXT NOT NULL,
    message_id TEXT NOT NULL, instruction_id TEXT NOT NULL, end_to_end_id TEXT NOT NULL,
    trace TEXT UNIQUE, from_bank TEXT NOT NULL, to_bank TEXT NOT NULL, amount_minor INTEGER NOT NULL,
    currency TEXT NOT NULL, value_date TEXT NOT NULL, content_hash TEXT NOT NULL, original TEXT NOT NULL,
    scenario TEXT NOT NULL, plan TEXT NOT NULL, state TEXT NOT NULL, status TEXT NOT NULL,
    code TEXT NOT NULL, times_received INTEGER NOT NULL, returned_minor INTEGER NOT NULL DEFAULT 0,
    received_at_ms INTEGER NOT NULL, credited_account TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX payments_message ON payments (message_id);
CREATE INDEX payments_end_to_end ON payments (end_to_end_id);
CREATE TRIGGER payments_stay BEFORE DELETE ON payments
    BEGIN SELECT RAISE(ABORT, 'payments are never deleted'); END;
"""


def make_version_5(bank: World) -> None:
    database = bank.ledger._db
    columns = [row["name"] for row in database.execute("PRAGMA table_info(payments)")]
    names = ", ".join(column for column in columns if column != "leg")
    database.executescript(
        "PRAGMA foreign_keys = OFF; CREATE TEMPORARY TABLE kept AS SELECT * FROM payments;"
        f"DROP TABLE payments; {VERSION_5} INSERT INTO payments SELECT {names} FROM kept;"
        "DROP TABLE kept; PRAGMA user_version = 5; PRAGMA foreign_keys = ON;"
    )


TABLES = ("payments", "debits", "steps", "callbacks", "bookings", "arrivals")


def content(bank: World):
    return {
        table: [tuple(row) for row in bank.ledger._db.execute(f"SELECT * FROM {table} ORDER BY 1")]
        for table in TABLES
    }


def test_a_ledger_of_version_5_keeps_its_content_and_takes_cover_payments(world) -> None:
    bank = world("late_return")
    for number in (5, 6):
        bank.says(transfer(Sent(number=number)))
    before = content(bank)
    make_version_5(bank)
    with pytest.raises(sqlite3.OperationalError):
        bank.says(customer_payment())
    bank.crash()
    assert content(bank) == before
    database = bank.ledger._db
    assert database.execute("PRAGMA user_version").fetchone()[0] == 6
    assert database.execute("PRAGMA foreign_key_check").fetchall() == []
    assert database.execute("PRAGMA foreign_keys").fetchone()[0] == 1
    with pytest.raises(sqlite3.IntegrityError, match="never deleted"):
        database.execute("DELETE FROM payments")
    bank.later(DAY_MS)
    assert [row[2] for row in rows(bank)] == ["returned", "returned"]
    assert bank.says(transfer(Sent(number=5))).status == 409
    bank.says(customer_payment())
    bank.says(cover())
    assert [row[0] for row in rows(bank)] == ["", "", "payment", "cover"]


def test_references_are_found_by_an_index(world) -> None:
    bank = world()
    statement = _statements()["find"].partition("SELECT")[2]
    values = {**msgspec.structs.asdict(Names()), "limit": 1}
    plan = bank.ledger._db.execute(f"EXPLAIN QUERY PLAN SELECT {statement}", values).fetchall()
    searched = [row["detail"] for row in plan if " payments " in f"{row['detail']} "]
    assert len(searched) == 4, "by UETR, end-to-end id, message id and trace number"
    assert all(each.startswith("SEARCH payments USING INDEX") for each in searched)
