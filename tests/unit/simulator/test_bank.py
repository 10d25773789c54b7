"""The scripted bank without a network: what it says, and what its ledger says it did."""

from __future__ import annotations

import sqlite3

import pytest

from settlement_engine.domain.money import Money
from settlement_engine.errors import Misconfigured
from settlement_engine.messages.envelope import opened
from settlement_engine.simulator.bank import (
    FAILED,
    LOST,
    SILENT,
    Manner,
    ReceivedMessage,
)
from settlement_engine.simulator.ledger import Ledger
from settlement_engine.simulator.scenarios import (
    ACCEPTED,
    SCENARIOS,
    MoneyBack,
    RecallReply,
    Reply,
    Rule,
    Scenario,
    ScenarioScript,
    parts_of,
)
from tests.support.bank_messages import Sent, customer_transfer, enquiry, recall, transfer
from tests.support.bank_world import DAY_MS, ONE, START_MS, confirmation, statuses, told

TWO = Sent(number=2)


def test_a_payment_is_debited_once_and_its_first_result_repeated(world) -> None:
    bank = world()
    first = bank.says(transfer(ONE))
    assert (first.status, statuses(first)) == (200, [("ACSC", None)])
    marked = bank.says(transfer(ONE, is_possible_duplicate=True))
    assert (marked.status, statuses(marked)) == (200, [("ACSC", None)])
    unmarked = bank.says(transfer(ONE))
    assert (unmarked.status, statuses(unmarked)) == (409, [("ACSC", None)])
    row = bank.row()
    assert (row.state, row.times_received, row.debited_minor) == ("settled", 3, 100_000)


def test_messages_that_come_together_are_dealt_with_one_after_the_other(world) -> None:
    bank = world()
    bodies = [transfer(ONE), b"<", transfer(ONE), transfer(TWO)]
    answers = bank.bank.receive_all([ReceivedMessage(each) for each in bodies], bank.now_ms)
    assert [answer.status for answer in answers] == [200, 400, 409, 200]
    assert [row.times_received for row in bank.ledger.page(0)] == [2, 1]


def test_other_content_under_the_same_names_is_a_conflict(world) -> None:
    bank = world()
    bank.says(transfer(ONE))
    other = Sent(number=1, amount=Money(5, "EUR"))
    answer = bank.says(transfer(other, is_possible_duplicate=True))
    assert (answer.status, statuses(answer)) == (409, [("ACSC", None)])
    assert bank.row().debited_minor == 100_000


def test_a_payment_without_a_uetr_is_known_by_its_other_names(world) -> None:
    bank = world()
    assert bank.says(customer_transfer(ONE)).status == 200
    assert bank.says(customer_transfer(ONE)).status == 409
    assert bank.says(customer_transfer(TWO)).status == 200


def test_the_ledger_refuses_a_second_debit_and_forgets_nothing(world) -> None:
    bank = world()
    bank.says(transfer(ONE))
    row = bank.row()
    with pytest.raises(sqlite3.IntegrityError):
        bank.ledger.debit(row, 1, 0)
    for table in ("payments", "debits"):
        with pytest.raises(sqlite3.IntegrityError, match="never deleted"):
            bank.ledger._db.execute(f"DELETE FROM {table}")


@pytest.mark.parametrize("name", [name for name in SCENARIOS if name != "lost_request"])
def test_a_crash_forgets_neither_debit_nor_plan(world, name) -> None:
    bank = world(name)
    bank.says(transfer(ONE))
    bank.crash()
    bank.says(transfer(ONE, is_possible_duplicate=True))
    bank.later(2 * DAY_MS)
    bank.crash()
    bank.says(transfer(ONE, is_possible_duplicate=True))
    row = bank.row()
    rejected = {"reject", "accept_then_reject", "refuse_message"}
    open_still = {"recall_refused", "recall_delayed", "recall_accepted"}
    assert (row.debited_minor is None) == (name in rejected | open_still)


def test_a_lost_request_is_not_received(world) -> None:
    bank = world("lost_request")
    assert bank.says(transfer(ONE)) == LOST
    assert bank.says(enquiry(ONE)).status == 404
    assert statuses(bank.says(transfer(ONE, is_possible_duplicate=True))) == [("ACSC", None)]
    assert bank.row().times_received == 1


def test_a_refused_message_is_no_payment(world) -> None:
    bank = world("refuse_message")
    answer = bank.says(transfer(ONE))
    assert (answer.status, opened(answer.body).kind) == (422, "admi.002")
    assert (bank.row().state, bank.row().debited_minor) == ("rejected", None)
    assert statuses(bank.says(enquiry(ONE))) == [("RJCT", "NARR")]


def test_a_recall_that_is_pending_stays_so_unless_its_end_is_planned(world) -> None:
    bank = world(Scenario(steps=(ACCEPTED,), recall=RecallReply.PENDING))
    bank.says(transfer(ONE))
    for _ in range(2):
        assert opened(bank.says(recall(ONE)).body).content.confirmation == "PDCR"
        bank.later(DAY_MS)


def test_a_lost_answer_is_found_by_an_enquiry(world) -> None:
    bank = world("lost_answer")
    assert bank.says(transfer(ONE)) == LOST
    assert statuses(bank.says(enquiry(ONE))) == [("ACSC", None)]


@pytest.mark.parametrize(
    ("name", "manner", "delay_ms"),
    [("slow", Manner.WHOLE, 3_000), ("half_response", Manner.HALF, 0)],
)
def test_how_a_response_travels(world, name, manner, delay_ms) -> None:
    answer = world(name).says(transfer(ONE))
    assert (answer.manner, answer.delay_ms, statuses(answer)) == (
        manner,
        delay_ms,
        [("ACSC", None)],
    )


def test_an_unreadable_message_is_refused(world) -> None:
    bank = world()
    assert bank.says(b"<").status == 400
    assert bank.says(opened_return()).status == 422


def opened_return() -> bytes:
    """A message that is no question: an admi.002."""
    from settlement_engine.simulator.answers import message_reject

    return message_reject("M1", "X", "no", START_MS)


def test_call_backs_come_when_their_time_has_come(world) -> None:
    bank = world("settle_by_callback")
    answer = bank.says(transfer(ONE))
    assert (answer.status, answer.body) == (202, b"")
    assert told(bank) == ["ACSP"]
    bank.later(299)
    assert told(bank) == []
    assert bank.row().debited_minor is None
    bank.later(1)
    assert told(bank) == ["ACSC"]


def test_twice_is_each_status_twice(world) -> None:
    bank = world("twice")
    assert statuses(bank.says(transfer(ONE))) == [("ACSP", None)]
    bank.later(300)
    assert sorted(told(bank)) == ["ACSC", "ACSC", "ACSP", "ACSP"]


def test_out_of_order_tells_the_later_first(world) -> None:
    bank = world("out_of_order")
    bank.says(transfer(ONE))
    bank.later(600)
    assert told(bank) == ["ACSC", "ACSP"]


@pytest.mark.parametrize(
    ("name", "first", "then", "state"),
    [
        ("accept_then_reject", ("ACSP", None), ["RJCT"], "rejected"),
        ("reject_then_settle", ("RJCT", "AC04"), ["ACSC"], "settled"),
        ("settle_then_reject", ("ACSC", None), ["RJCT"], "settled"),
    ],
)
def test_contradictions_are_words_and_the_ledger_is_true(world, name, first, then, state) -> None:
    bank = world(name)
    assert statuses(bank.says(transfer(ONE))) == [first]
    bank.later(300)
    assert told(bank) == then
    row = bank.row()
    assert (row.state, row.debited_minor is None) == (state, state == "rejected")


def test_another_amount_is_debited_and_named(world) -> None:
    bank = world("other_amount")
    content = opened(bank.says(transfer(ONE)).body).content
    assert content.transactions[0].original.settlement_amount == Money(99_999, "EUR")
    assert bank.row().debited_minor == 99_999


def test_a_return_comes_later_in_parts_that_make_the_whole(world) -> None:
    bank = world("partial_return")
    bank.says(transfer(ONE))
    bank.later(300)
    assert bank.row().state == "settled"
    bank.later(300)
    returns = [each.content.returns[0] for each in bank.called_back()]
    assert [each.amount.minor for each in returns] == [40_000, 59_999]
    assert [sum(c.amount.minor for c in each.charges) for each in returns] == [0, 1]
    assert len({each.return_id for each in returns}) == 2
    row = bank.row()
    assert (row.state, row.returned_minor, row.debited_minor) == ("returned", 99_999, 100_000)


def test_a_return_may_be_booked_and_not_told(world) -> None:
    untold = Scenario(returns=(MoneyBack(after_ms=100, is_told=False),))
    bank = world("untold", scenarios={"untold": untold})
    bank.says(transfer(ONE))
    bank.later(100)
    assert bank.called_back() == []
    assert (bank.row().state, bank.row().returned_minor) == ("returned", 100_000)


def test_parts_make_the_whole() -> None:
    three = [MoneyBack(after_ms=0, percent=percent) for percent in (33, 33, 34)]
    assert parts_of(101, three) == [33, 33, 35]
    assert parts_of(101, three[:2]) == [33, 33]
    assert parts_of(101, []) == []


def test_unknown_before_its_visibility_delay(world) -> None:
    bank = world("unknown_at_first")
    assert bank.says(transfer(ONE)) == LOST
    answer = bank.says(enquiry(ONE, "Q7"))
    assert answer.status == 404
    assert opened(answer.body).content.related_reference == "Q7"
    bank.later(2_000)
    assert statuses(bank.says(enquiry(ONE))) == [("ACSC", None)]
    assert bank.row().debited_minor == 100_000


def test_silent_for_a_day(world) -> None:
    bank = world("silent_for_a_day")
    for body in (transfer(ONE), enquiry(ONE), recall(ONE), transfer(ONE)):
        assert bank.says(body) == SILENT
        bank.later(1_000)
    bank.later(DAY_MS)
    assert statuses(bank.says(enquiry(ONE))) == [("ACSC", None)]
    assert bank.row().debited_minor == 100_000


def test_a_server_error_for_a_minute_receives_nothing(world) -> None:
    bank = world("server_error")
    assert bank.says(transfer(ONE)) == FAILED
    assert bank.says(enquiry(ONE)) == FAILED
    bank.later(59_999)
    assert bank.says(transfer(ONE)) == FAILED
    assert bank.ledger.page(0) == []
    bank.later(1)
    assert bank.says(enquiry(ONE)).status == 404
    assert statuses(bank.says(transfer(ONE))) == [("ACSC", None)]


def test_an_answer_with_somebody_elses_reference(world) -> None:
    bank = world(rules=(Rule(scenario="wrong_reference", reference="E2"),))
    bank.says(transfer(ONE))
    (other,) = opened(bank.says(transfer(TWO)).body).content.transactions
    assert (other.uetr, other.end_to_end_id) == (ONE.uetr, "E1")
    assert bank.row(TWO).debited_minor == 100_000
    lonely = world("wrong_reference")
    (nobody,) = opened(lonely.says(transfer(ONE)).body).content.transactions
    assert nobody.end_to_end_id != "E1"


def test_several_payments_of_a_message_have_each_their_status(world) -> None:
    bank = world(rules=(Rule(scenario="reject", reference="E2"),))
    both = (Sent(number=1, message_number=9), Sent(number=2, message_number=9))
    content = opened(bank.says(transfer(*both)).body).content
    assert [each.status for each in content.transactions] == ["ACSC", "RJCT"]
    assert [group.status for group in content.groups] == ["PART"]


def test_a_recall_before_settlement_cancels(world) -> None:
    bank = world("recall_accepted")
    bank.says(transfer(ONE))
    for _ in range(2):
        assert confirmation(bank.says(recall(ONE))) == ("CNCL", None)
    assert statuses(bank.says(enquiry(ONE))) == [("CANC", None)]
    assert bank.row().state == "recalled"


def test_a_recall_after_settlement_is_a_promise_that_a_return_keeps(world) -> None:
    bank = world("settle")
    bank.says(transfer(ONE))
    promise = bank.says(recall(ONE))
    assert confirmation(promise) == ("CNCL", None)
    (answer,) = opened(promise.body).content.details[0].answers
    assert answer.settled.amount == Money(100_000, "EUR")
    assert bank.row().returned_minor == 0
    bank.later(1)
    (message,) = bank.called_back()
    assert message.kind == "pacs.004"
    row = bank.row()
    assert (row.state, row.returned_minor) == ("returned", 100_000)
    assert confirmation(bank.says(recall(ONE))) == ("RJCR", "ARDT")


def test_a_recall_may_be_refused(world) -> None:
    bank = world("recall_refused")
    assert confirmation(bank.says(recall(ONE))) == ("RJCR", "NOOR")  # before it has come
    bank.says(transfer(ONE))
    assert confirmation(bank.says(recall(ONE))) == ("RJCR", "LEGL")


def test_a_recall_of_what_was_rejected_is_answered_by_that_status(world) -> None:
    bank = world("reject")
    bank.says(transfer(ONE))
    assert statuses(bank.says(recall(ONE))) == [("RJCT", "AC04")]


def test_a_bank_may_bar_what_is_recalled_before_it_comes(world) -> None:
    bank = world(bars_recalled=True)
    assert confirmation(bank.says(recall(ONE))) == ("CNCL", None)
    bank.crash()
    assert statuses(bank.says(transfer(ONE))) == [("RJCT", "CUST")]
    assert confirmation(bank.says(recall(ONE))) == ("CNCL", None)
    assert bank.row().debited_minor is None


def test_a_recall_may_be_worked_on_for_a_while(world) -> None:
    bank = world("recall_delayed")
    bank.says(transfer(ONE))
    for _ in range(3):
        assert confirmation(bank.says(recall(ONE))) == ("PDCR", None)
    bank.later(600)
    (message,) = bank.called_back()
    assert message.content.confirmation == "CNCL"
    assert bank.row().state == "recalled"


def test_the_same_script_and_seed_have_the_same_ledger(world) -> None:
    rules = (Rule(scenario="reject", one_in=3), Rule(scenario="late_return", one_in=3))
    ledgers = []
    for _ in range(2):
        bank = world(rules=rules, seed=5)
        for number in range(1, 61):
            bank.says(transfer(Sent(number=number)))
        bank.later(DAY_MS)
        ledgers.append(bank.ledger.page(0))
    assert ledgers[0] == ledgers[1]
    assert {row.state for row in ledgers[0]} == {"settled", "rejected", "returned"}


def test_a_new_script_does_not_change_what_was_received(world) -> None:
    bank = world(Scenario(steps=SCENARIOS["twice"].steps, reply=Reply.CALLBACK))
    bank.says(transfer(ONE))
    bank.bank.script = ScenarioScript(default="reject")
    bank.later(300)
    assert bank.row().state == "settled"


def test_call_backs_are_tried_again_and_given_up_and_dropped(world) -> None:
    bank = world("settle_by_callback")
    for number in (1, 2, 3):
        bank.says(transfer(Sent(number=number)))
    first, *_ = bank.ledger.due_callbacks(bank.now_ms)
    for attempt in range(3):
        bank.ledger.callback_failed(first["id"], bank.now_ms, attempts_max=3)
        waiting = [row["id"] for row in bank.ledger.due_callbacks(bank.now_ms)]
        assert (first["id"] in waiting) == (attempt < 2)
    assert bank.ledger.drop_callbacks("E2") == 1
    assert [row["end_to_end_id"] for row in bank.ledger.waiting_callbacks()] == ["E3"]
    third = bank.ledger.due_callbacks(bank.now_ms)[0]
    assert bank.ledger.drop_callbacks("") == 1
    bank.ledger.callback_failed(third["id"], bank.now_ms, attempts_max=3)
    assert bank.ledger.waiting_callbacks() == []  # dropped while it was on its way


def test_a_file_of_another_kind_is_no_ledger(tmp_path) -> None:
    (tmp_path / "text").write_text("no database, and longer than a header of one" * 100)
    with pytest.raises(Misconfigured, match="is no ledger"):
        Ledger(tmp_path / "text").open()
    with sqlite3.connect(tmp_path / "other") as other:
        other.execute("PRAGMA user_version = 77")
    other.close()
    with pytest.raises(Misconfigured, match="version 77"):
        Ledger(tmp_path / "other").open()
